"""The pages of the benchmark in a folder: which files they are made of, and what they refuse."""

import json
import re
import shutil

import pytest

from sweeper.commands.benchmark import site as app
from sweeper.commands.benchmark.site import site, standings
from sweeper.errors import UsageError
from sweeper.results.reproduction.evidence import read_evidence
from sweeper.results.reproduction.files import as_files
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"


@pytest.fixture
def evidence(sweep, tmp_path):
    """Write evidence of a name into a folder of its own, and return its JSON file."""

    def write(name):
        values = [0.2 + 0.001 * k for k in range(6)]
        made = sweep(Scores(method="orca", task=TASK, best=values, control=values), name=name)
        (tmp_path / "mine").mkdir(exist_ok=True)
        for file, text in as_files(read_evidence(made)).items():
            (tmp_path / "mine" / file).write_text(text)
        return tmp_path / "mine" / f"{name}.json"

    return write


def test_all_evidence_of_the_package_is_taken_if_none_is_named(evidence, tmp_path, monkeypatch):
    file = evidence("one")
    evidence("two")
    monkeypatch.setattr(app, "committed_evidence", lambda: file.parent)
    found = site((), tmp_path / "new" / "pages")
    assert found.pages == ("index.html", "one.html", "two.html")
    written = {str(p.relative_to(found.path.parent)) for p in found.path.parent.rglob("*.*")}
    data = {f"evidence/{n}.{e}" for n in ("one", "two") for e in ("json", "csv", "curves.csv")}
    assert written == {*found.pages, *data}
    links = set(re.findall(r'href="([^"#]+)"', found.path.read_text()))
    assert links == written - {"index.html"}


def test_settings_that_no_version_knows_make_evidence_stale(evidence):
    (part,) = standings([evidence("one")]).parts  # of a toy sweep, without methods
    assert list(part.changes) == ["settings"]


def test_all_faults_of_all_files_are_told_and_nothing_is_written(evidence, tmp_path):
    files = [evidence(name) for name in ("one", "two", "three")]
    for file in files[:2]:
        content = json.loads(file.read_text())
        content["studies"][f"orca/{TASK}"]["test"] = 0.1
        file.write_text(json.dumps(content))
    files.append(shutil.copytree(tmp_path / "mine", tmp_path / "other") / "three.json")
    with pytest.raises(UsageError) as error:
        site(files, tmp_path / "pages")
    told = str(error.value).splitlines()
    for file, line in zip(files[:2], told, strict=False):
        assert line.startswith(f"{file}: orca/{TASK}: test is 0.1, but its rows give 0.20")
    assert told[2:] == ["three: two files of evidence have this name."]
    assert not (tmp_path / "pages").exists()


def test_a_question_that_is_none_is_told(evidence, tmp_path):
    file = evidence("one")
    file.write_text(json.dumps({**json.loads(file.read_text()), "question": {"title": "Which?"}}))
    with pytest.raises(UsageError, match=r"one\.json: its question is not valid: "):
        site([file], tmp_path / "pages")


def test_a_file_in_place_of_the_folder_is_told(evidence, tmp_path):
    (tmp_path / "pages").write_text("")
    with pytest.raises(UsageError, match="this is no folder; name another one"):
        site([evidence("one")], tmp_path / "pages")
