"""Outputs of commands on one recorded sweep, compared whole with recorded files.

`pytest tests/sweeper/cli/test_whole_outputs.py --force-regen` writes the files anew.
"""

import json
import re

import pytest

from tests.support.ledgers import NAME, finished_ledger

COMMANDS = {
    "status": ["status", NAME],
    "failed": ["status", NAME, "--failed"],
    "best": ["best", NAME],
    "compare": ["compare", NAME],
    "compare_json": ["compare", NAME, "--json"],
    "trials_csv": ["export", NAME, "--format", "csv"],
    "methods_latex": ["export", NAME, "--format", "latex"],
}


@pytest.fixture
def recorded(here, monkeypatch):
    """A folder with a finished sweep of two methods, whose numbers are all known."""
    monkeypatch.setenv("COLUMNS", "120")
    folder = here / "sweeps" / NAME
    folder.mkdir(parents=True)
    finished_ledger(folder).close()
    return here


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_is_recorded(name, recorded, command, file_regression) -> None:
    out = command(*COMMANDS[name]).out
    if name.endswith("_json"):
        out = json.dumps(json.loads(out), indent=1)
    # The last digits of an exponential are those of a processor.
    out = re.sub(r"\d+\.\d{10,}", lambda digits: f"{float(digits[0]):.9g}", out)
    file_regression.check(out.replace(str(recorded), "HERE"), encoding="utf-8", basename=name)
