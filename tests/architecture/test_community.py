"""The files for contributors on GitHub: valid by the schemas of those who read them."""

import subprocess
import sys
import tomllib

import pytest

import sweeper
from tests.support.command import ROOT
from trainables import plugins

SCHEMAS = {
    "workflows/*.yml": "github-workflows",
    "ISSUE_TEMPLATE/[!c]*.yml": "github-issue-forms",
    "ISSUE_TEMPLATE/config.yml": "github-issue-config",
    "dependabot.yml": "dependabot",
    "CITATION.cff": "citation-file-format",
}


@pytest.mark.parametrize("pattern", SCHEMAS)
def test_github_can_read_each_file(pattern):
    files = sorted((ROOT / ".github").glob(pattern))
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    checked = subprocess.run(
        [*command, f"vendor.{SCHEMAS[pattern]}", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def found_by(pattern: str, *paths: str) -> list[str]:
    """Return what a regular expression of Perl finds in the project's files."""
    command = ["git", "grep", "-hoP", pattern, "--", *paths]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.splitlines()


def test_no_text_installs_the_project_of_another_author():
    """`sweeper` is taken on PyPI; this one is called otherwise there, in every text."""
    installed = r"pip3? install (-\S+ )*[\"'`]?"
    assert found_by(rf"{installed}sweeper\b(?!/)", ".", ":!tests") == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = set(found_by(r"\bcrossmodal-[a-z]+", "."))
    assert names == {project["name"], plugins.DISTRIBUTION} == {plugins.DISTRIBUTION}


def test_every_file_names_this_version():
    named = r"(?<!cff-)(version: |appVersion: |version = \{|sweeper:|sweeper, tag: )\K\d+\.\d+\.\d+"
    found = found_by(named, "README.md", ".github", "docker", ":!.github/workflows")
    assert len(found) > 5
    assert set(found) == {sweeper.__version__}
