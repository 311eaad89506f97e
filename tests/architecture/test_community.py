"""The files for contributors on GitHub: valid by the schemas of those who read them."""

import subprocess
import sys

import pytest

from tests.support.command import ROOT

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


def test_no_text_installs_the_project_of_another_author():
    """`sweeper` is taken on PyPI; this one is called otherwise there."""
    command = ["git", "grep", "-nE", r"pip install [^-].{0,3}\bsweeper\b", "--", ".", ":!tests"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout.splitlines() == []
