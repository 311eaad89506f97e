"""Where commands look for sweeps, what they print of it, and what a shell completes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper import __version__
from sweeper.cli.main import cli, run
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write

ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d@hard"


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory) -> Path:
    """A folder whose `sweeps` holds two sweeps."""
    folder = tmp_path_factory.mktemp("work")
    scores = [Scores(method="pare", task=task, best=[0.1, 0.3]) for task in (ADVECTION, DARCY)]
    write(folder / "sweeps/first", "first", scores).close()
    write(folder / "sweeps/mona_pdebench", "mona_pdebench", scores[:1]).close()
    (folder / "below").mkdir()
    return folder


@pytest.fixture
def below(sweeps, monkeypatch) -> Path:
    """The folder below it, entered."""
    monkeypatch.chdir(sweeps / "below")
    return sweeps


@pytest.mark.parametrize("option", [["-C", ".."], ["-C.."], ["--directory=.."]])
def test_a_command_works_in_another_folder_and_comes_back(below, capsys, command, option):
    found = command(*option, "ls", "--json").json["sweeps"]
    assert [line["sweep"] for line in found] == ["first", "mona_pdebench"]
    assert Path.cwd() == below / "below"
    assert run([*option, "export", "first", "-o", "here.csv"]) == 0
    assert capsys.readouterr().out == f"wrote {below / 'here.csv'}\n"
    (below / "here.csv").unlink()


def test_an_error_in_another_folder_names_its_command(below, command):
    found = command("-C", "..", "status", "firts", "--json", code=8).json
    assert found["command"] == "status"
    assert f"Looked in {below / 'sweeps'}." in found["error"]["message"]
    assert "'nosuch' does not exist" in command("-C", "nosuch", "ls", code=2).err


def test_the_environment_names_the_folder_of_sweeps(below, command, monkeypatch):
    monkeypatch.setenv("SWEEPER_SWEEPS", str(below / "sweeps"))
    assert f"folder: {below / 'sweeps/first'};" in command("status", "first").out
    monkeypatch.setenv("SWEEPER_SWEEPS", "none")
    assert command("status", "first", code=8).err == (
        f"sweeper: unknown sweep `first`: {below / 'below/none'} does not exist. "
        f"In {below / 'sweeps'}: first; use `SWEEPER_SWEEPS={below / 'sweeps'}`.\n"
    )


def test_a_wrong_folder_says_where_it_looked_and_what_there_is_above(below, capsys, command):
    told = f"In {below / 'sweeps'}: first, mona_pdebench; use `sweeper -C {below} ...`."
    assert command("ls").out == f"no sweeps in {below / 'below/sweeps'}. {told}\n"
    assert told in command("status", "other", code=8).err
    assert run(["report", "mona_pdebench"]) == 8
    assert f"In {below / 'sweeps'}: mona_pdebench; use" in capsys.readouterr().err


def test_a_folder_amid_the_sweeps_says_where_they_are(sweeps, command, monkeypatch):
    monkeypatch.chdir(sweeps / "sweeps/first")
    assert (
        f"In {sweeps / 'sweeps'}: first; use `sweeper -C {sweeps} ...`"
        in command("status", "first", code=8).err
    )
    assert not Path("sweeps").exists()


@pytest.mark.parametrize(
    "path", ["sweeps/first", "sweeps/first/", "./sweeps//first", "{}/sweeps/first"]
)
def test_a_sweep_may_be_named_by_its_folder(sweeps, command, monkeypatch, path):
    monkeypatch.chdir(sweeps)
    path = path.format(sweeps)
    for name in ("status", "best", "compare", "logs"):
        found = command(name, path, "--json").json
        assert found.get("sweep", found.get("sweeps")) in ("first", ["first"])


@pytest.mark.slow
def test_files_are_printed_absolute(sweeps, command, monkeypatch):
    monkeypatch.chdir(sweeps)
    for words, file in (
        (["report", "first", "-o", "page.html"], "page.html"),
        (["compare", "first", "--html", "c.html"], "c.html"),
        (["export", "first", "-o", "trials.csv"], "trials.csv"),
    ):
        assert f"wrote {sweeps / file}" in command(*words).out
        (sweeps / file).unlink()


def test_the_version_and_a_short_help(command):
    assert command("--version").out == f"sweeper {__version__}\n"
    for words in (["-h"], ["launch", "-h"], ["data", "-h"], ["data", "import", "-h"]):
        assert "Usage: sweeper" in command(*words).out


COMPLETED = [
    ("sta", ["status"]),
    ("data g", ["generate"]),
    ("status ", ["first", "mona_pdebench"]),
    ("resume mo", ["mona_pdebench"]),
    ("compare first ", ["mona_pdebench"]),
    ("best first --study pare/pdebench/d", [f"pare/{DARCY}"]),
    ("rerun first ", [f"pare/{ADVECTION}/", f"pare/{DARCY}/"]),
    ("logs first pare/pdebench/d",
     [f"pare/{DARCY}/{n}" for n in (0, 1, 2, 3, 100_000, 100_001)]),
    (f"diagnose mona_pdebench pare/{ADVECTION}/2", [f"pare/{ADVECTION}/2"]),
    ("diagnose nosuch ", []),
    ("status nosuch", []),
]  # fmt: skip


@pytest.mark.parametrize("folder", [None, ".."])
@pytest.mark.parametrize(("words", "offered"), COMPLETED)
def test_a_shell_completes_commands_sweeps_studies_and_trials(
    below, capsys, monkeypatch, words, offered, folder
):
    typed = ["sweeper", *([] if folder is None else ["-C", folder]), *words.split(" ")]
    if folder is None:
        monkeypatch.chdir(below)
    monkeypatch.setenv("COMP_WORDS", " ".join(typed))
    monkeypatch.setenv("COMP_CWORD", str(len(typed) - 1))
    monkeypatch.setenv("_SWEEPER_COMPLETE", "complete_bash")
    before = sorted(below.rglob("*"))
    with pytest.raises(SystemExit):
        cli([], prog_name="sweeper")
    told = capsys.readouterr()
    assert told.out.split() == offered
    assert told.err == ""
    assert sorted(below.rglob("*")) == before


def test_the_script_for_bash_keeps_names_of_tasks_whole():
    # Typer takes the shell from the processes above, of which none may be one.
    env = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    asked = [sys.executable, "-m", "sweeper", "--show-completion", "bash"]
    script = subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout
    ends = 'echo "<$COMP_WORDBREAKS>"; complete -p sweeper'
    told = subprocess.run(["bash", "-c", f"{script}\n{ends}"], capture_output=True, text=True)
    breaks = told.stdout[told.stdout.index("<") : told.stdout.rindex(">")]
    assert "=" in breaks
    assert "@" not in breaks
    assert "-F _sweeper_completion sweeper" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (None, ("sqlalchemy", "numpy", "torch", "ray", "mlflow", "optuna")),
        (
            ["validate", "search_spaces/orca_pdebench.yaml"],
            ("sqlalchemy", "torch", "ray", "mlflow", "optuna", "scipy.fft"),
        ),
        (["ls"], ("numpy", "pyarrow", "torch", "ray", "mlflow", "optuna")),
    ],
)
def test_the_command_line_loads_nothing_heavy_before_it_needs_it(
    arguments: list[str] | None, heavy: tuple[str, ...], tmp_path, monkeypatch
):
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path))
    code = "import sys; from sweeper.cli.main import run\n"
    code += f"assert {arguments} is None or run({arguments}) == 0\n"
    code += f"print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.splitlines()[-1:] == ["[]"], told.stderr
