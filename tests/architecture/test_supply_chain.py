"""Requirements: their sources, and versions without known holes."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.command import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [
    Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines
]
FLOORS = {
    "ray": "2.60.0",  # tokens for all of its ports, DNS rebinding, its own dependencies
    "mlflow": "3.16.0",  # reading of files, permissions of uploads, jobs without a password
    "torch": "2.6",  # weights_only that holds
    "safetensors": "0.5",
    "pyarrow": "18",
    "pillow": "10",
}
SCRIPTS = [ROOT / ".ci" / "run", *(path for path in (ROOT / "docker").rglob("*") if path.is_file())]
UNSAFE = {
    r"(curl|wget)[^\n]*\|\s*(ba|z)?sh": "runs what it fetched, unseen",
    r"--(extra-)?index-url": "lets another index replace a package",
    r"--trusted-host": "trusts any certificate",
    r"\bpip install[^\n]*\bgit\+": "installs what no index holds",
    r"docker\.sock": "hands over the host",
}


def test_floors_leave_out_versions_with_known_holes() -> None:
    found = {requirement.name: requirement for requirement in REQUIREMENTS}
    for name, floor in FLOORS.items():
        (lowest,) = [s.version for s in found[name].specifier if s.operator in (">=", "==")]
        assert Version(lowest) >= Version(floor), name


@pytest.mark.parametrize("requirement", [*REQUIREMENTS, *EXTRAS], ids=lambda r: r.name)
def test_a_requirement_comes_from_an_index_and_has_a_floor(requirement: Requirement) -> None:
    assert requirement.url is None
    assert {">=", "=="} & {specifier.operator for specifier in requirement.specifier}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_what_is_installed_is_in_the_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_script_installs_what_nobody_checked(path: Path) -> None:
    text = path.read_text(errors="replace")
    assert [why for pattern, why in UNSAFE.items() if re.search(pattern, text)] == []
