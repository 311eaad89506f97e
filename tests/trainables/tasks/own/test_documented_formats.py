"""The table of formats in the guide: every example is a valid part of a task file."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.formats.endings import KNOWN

README = Path(__file__).parents[4] / "trainables" / "tasks" / "OWN_DATA.md"
SECTION = README.read_text(encoding="utf-8").partition("\n## Formats\n")[2].partition("\n## ")[0]
ROWS = [line.split(" | ") for line in SECTION.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("| "))
def test_the_example_of_a_format_is_valid(row):
    keys = "\n".join(re.findall(r"`(\w+: .+?\})`", row[2]))
    content = YAML(typ="safe").load(keys)
    definition = TaskDefinition.model_validate({"name": "a/b", "kind": "classification", **content})
    assert definition.input.path
    assert definition.dimension in ("1d", "2d")


def test_the_guide_names_only_endings_that_are_known():
    named = {ending for row in ROWS for ending in re.findall(r"`(\.\w+)`", row[1])}
    assert len(ROWS) == 12
    assert named <= set(KNOWN)
    assert {
        ".npz",
        ".h5",
        ".parquet",
        ".csv",
        ".ts",
        ".arff",
        ".mat",
        ".pt",
        ".wav",
        ".png",
    } <= named
