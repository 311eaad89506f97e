"""The Python interface: complete, and imported only when it is used."""

import re
import subprocess
import sys

import pytest

import sweeper
from tests.support.command import ROOT


def test_every_public_name_can_be_imported():
    names = [name for name in sweeper.__all__ if name != "__version__"]
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(sweeper, name).__name__ == name
    assert set(sweeper.__all__) <= set(dir(sweeper))


def test_every_public_name_is_on_its_page():
    page = (ROOT / ".site" / "python.md").read_text()
    said = [name for name in sweeper.__all__ if re.search(rf"auto\w+:: sweeper\.{name}\b", page)]
    assert said == sorted({*sweeper.__all__} - {"__version__", "SweeperError"})
    assert "automodule:: sweeper.errors" in page


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute `tensor`"):
        sweeper.tensor  # noqa: B018


def test_to_import_the_package_imports_nothing_else():
    code = (
        "import sys, sweeper; print(sorted(m for m in sys.modules if m.startswith('sweeper.')"
        " or m in ('torch', 'ray', 'mlflow', 'optuna', 'typer')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


NOTEBOOK = """
import sys, types
for name in ("IPython", "ipykernel.zmqshell"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["IPython"].get_ipython = object
sys.modules["ipywidgets"] = sys.modules["IPython.html"] = None
"""


@pytest.mark.parametrize(("first", "is_silent"), [("", False), ("import sweeper\n", True)])
def test_a_notebook_without_widgets_is_not_warned_of_a_bar(first: str, is_silent: bool):
    done = subprocess.run(
        [sys.executable, "-c", f"{NOTEBOOK}{first}import tqdm.auto"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stderr == "") == is_silent


def test_the_package_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"sweeper {sweeper.__version__}\n"


def test_every_command_is_in_a_panel_of_its_purpose():
    from typer.main import get_command

    from sweeper.cli.main import cli

    found: dict[str, set[str]] = {}
    for name, command in get_command(cli).commands.items():  # type: ignore[attr-defined]
        found.setdefault(command.rich_help_panel, set()).add(name)
    assert list(found) == ["Run", "Look", "Compare", "Data and sweep files", "Maintain"]
    assert {"launch", "stop", "plan"} < found["Run"]
    assert {"status", "best"} < found["Look"]
    assert found["Compare"] == {"compare", "reproduce", "site"}
    assert {"gc", "doctor"} < found["Maintain"]
