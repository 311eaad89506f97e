"""The wheel: what it contains, and the README's commands, which run from it outside a checkout."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.command import ROOT, Shell

pytestmark = [pytest.mark.slow]

OWN_TASKS = ROOT / "trainables" / "tasks" / "README.md"
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
def installed(wheel: Path, tmp_path_factory) -> Path:
    """A folder with the wheel's modules, beside the dependencies of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*command, wheel], check=True)
    return folder


def test_it_has_sweep_files_evidence_and_types_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith("crossmodal_sweeper-")
    assert {"sweeper/py.typed", "trainables/py.typed", "search_spaces/mona_pdebench.yaml",
            "search_spaces/base/pdebench.yaml", "search_spaces/questions/freezing.yaml",
            "trainables/evidence/freezing.json"} <= names  # fmt: skip
    tops = {name.partition("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {
        "sweeper",
        "trainables",
        "search_spaces",
    }


@pytest.fixture
def shell(installed: Path, tmp_path: Path) -> Shell:
    """A folder outside the checkout, whose commands are those of the wheel."""
    return Shell(tmp_path, {"PYTHONPATH": str(installed), "SWEEPER_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["validate", "freezing"], "freezing"),
        (["ls", "--shipped"], "mona_pdebench"),
        (["init", "--from", "mona_pdebench"], "base/pdebench.yaml"),
        (["reproduce", "--list"], "freezing"),
        (["describe", "mona"], "meta.alpha"),
        (["reproduce", "freezing", "--no-run"], "holds"),
        (["audit", "pdebench/advection_1d"], "The floor is closed_form"),
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
