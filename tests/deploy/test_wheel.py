"""The wheel: what it contains, and the README's commands, which run from it outside a checkout."""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.command import ROOT, Shell

pytestmark = [pytest.mark.slow]

OWN_TASKS = ROOT / "trainables" / "tasks" / "OWN_DATA.md"
TYPED = """\
from typing import assert_type

import sweeper

sweep = sweeper.launch("search_spaces/mona_pdebench.yaml", profile="laptop", trials=8)
best = sweep.best("mona/pdebench/advection_1d")
assert_type(best, sweeper.Trial)
assert_type(best.value, float | None)
sweep.nosuch()  # type: ignore[attr-defined]
sweeper.nosuch()  # type: ignore[attr-defined]
"""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SMALL = (  # the first sweep, cut to two trials of seconds
    "tasks=[pdebench/advection_1d]",
    "backbones.1d={name: minilm, layers: 1, tokens: 8}",
    "data={samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: 64}",
    "fixed.refine.epochs=2",
    "fixed.meta.measure=16",
    "search.trials=2",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    subprocess.run(["git", "-C", ROOT, "checkout-index", "-a", f"--prefix={tree}/"], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, tree]
    subprocess.run(command, check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory) -> Path:
    """A virtual environment with the wheel alone, which finds its dependencies in this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", folder / "bin" / "python"]
    subprocess.run([*pip, "install", "--ignore-installed", "--no-deps", wheel], check=True)
    subprocess.run([*pip, "check"], check=True)
    return folder


@pytest.fixture(scope="module")
def installed(environment: Path) -> Path:
    """The folder with the wheel's modules."""
    (site,) = environment.glob("lib/python*/site-packages")
    return site


def test_it_has_sweep_files_evidence_and_types_and_no_tests(wheel):
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    assert wheel.name.startswith("crossmodal_sweeper-")
    assert {"sweeper/py.typed", "trainables/py.typed", "search_spaces/mona_pdebench.yaml",
            "search_spaces/base/pdebench.yaml", "search_spaces/questions/freezing.yaml",
            "trainables/evidence/freezing.json"} <= names  # fmt: skip
    (told,) = (name for name in names if name.endswith("/top_level.txt"))
    tops = {"search_spaces", "sweeper", "trainables", told.partition("/")[0]}
    assert {name.partition("/")[0] for name in names} == tops
    assert archive.read(told).decode().split() == ["search_spaces", "sweeper", "trainables"]


def test_types_of_a_users_script_are_checked_strictly(wheel, tmp_path):
    """An unknown name is an error, as a comment that hides no error would be."""
    venv.create(tmp_path / "typed")
    (site,) = tmp_path.glob("typed/lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "mine.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache"]
    python = tmp_path / "typed" / "bin" / "python"
    checked = subprocess.run(
        [*command, f"--python-executable={python}", "mine.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


@pytest.fixture
def shell(environment: Path, tmp_path: Path) -> Shell:
    """A folder outside the checkout, whose commands are those of the wheel."""
    variables = {"PYTHONPATH": "", "SWEEPER_HOME": str(tmp_path / "home")}
    return Shell(tmp_path, variables, (environment / "bin" / "sweeper",))


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["validate", "freezing"], "freezing"),
        (["ls", "--shipped"], "mona_pdebench"),
        (["init", "--from", "mona_pdebench"], "base/pdebench.yaml"),
        (["reproduce", "--list"], "freezing"),
        (["describe", "mona"], "meta.alpha"),
        (["reproduce", "freezing", "--no-run"], "holds"),
        (["audit", "pdebench/advection_1d"], "The floor is ridge"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_shipped_files_are_found_from_any_folder(installed, shell, arguments, printed):
    ran = shell.run(*arguments)
    assert printed in " ".join(ran.out.split())
    if arguments[0] == "validate":
        assert f"{arguments[1]}: the shipped file {installed}/search_spaces/" in ran.err


def test_the_first_sweep_runs_and_is_compared(installed, shell):
    small = [word for setting in SMALL for word in ("--set", setting)]
    launched = shell.run("launch", "search_spaces/mona_pdebench.yaml", *small, "--no-dashboard")
    assert f"the shipped file {installed}/search_spaces/mona_pdebench.yaml" in launched.err
    status = shell.run("status", "mona_pdebench", "--json").json
    assert status["studies"][0]["trials"]["complete"] == 2
    shell.run("compare", "mona_pdebench", "--html", "comparison.html")
    assert "MoNA" in (shell.folder / "comparison.html").read_text()


def test_the_page_on_own_tasks_works_as_it_is_written(shell):
    text = OWN_TASKS.read_text(encoding="utf-8").partition("## Your own task\n")[2]
    blocks = [(kind, block) for kind, block in BLOCK.findall(text.partition("\n## ")[0])]
    assert [kind for kind, _ in blocks] == ["python", "yaml", "sh", "yaml", "sh"]
    (_, script), (_, task), (_, commands), (_, sweep), (_, checks) = blocks
    subprocess.run([sys.executable, "-c", script], cwd=shell.folder, check=True)
    (shell.folder / "wafer.task.yaml").write_text(task)
    (shell.folder / "wafers.yaml").write_text(sweep)
    shell.run("validate", "wafers.yaml")  # also before the import
    shell.run("plan", "wafers.yaml", code=2)
    for line in (commands + checks).splitlines():
        words = line.partition("#")[0].split()
        assert words[0] == "sweeper"
        out = shell.run(*words[1:])
        assert "mine/wafer" in out.out + out.err or "wafers" in out.out
    assert (shell.folder / "wafer.png").stat().st_size > 1000
