"""The wheel: what it contains, and commands that run from it outside of a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.command import ROOT

pytestmark = [pytest.mark.slow]


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


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["validate", "search_spaces/mona_pdebench.yaml"], "mona_pdebench"),
        (["validate", "freezing"], "freezing"),
        (["reproduce", "--list"], "freezing"),
        (["describe", "mona"], "meta.alpha"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_shipped_files_are_found_from_any_folder(installed, tmp_path, arguments, printed):
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "SWEEPER_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-P", "-m", "sweeper", *arguments]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert printed in ran.stdout
    if arguments[0] == "validate":
        assert f"{arguments[1]}: the shipped file {installed}/search_spaces/" in ran.stderr
