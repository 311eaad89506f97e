"""`sweeper delete`: what goes, what stays, and when nothing does. `tag` and `note`, too."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, func, select

from sweeper.cli import upkeep
from sweeper.cli.main import run
from sweeper.ledger import Ledger, schema
from sweeper.model import Outcome, Study, Trial, TrialKind, TrialState
from sweeper.planning import resuming, stage_store
from sweeper.planning.catalog import catalog
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import NOTE, open_ledger, remember
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID
from tests.support.servers.postgres import postgres

STUDY, SIZE = "mona/pdebench/advection_1d", 1000
TABLES = [t for t in schema.metadata.sorted_tables if t is not schema.versions]


@pytest.fixture
def work(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = here / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def begin(work: Path, name: str, storage: str | None = None, *, store: bool = True) -> Ledger:
    """Write a finished sweep of three trials, one failed, each with a checkpoint of 1,000 bytes."""
    text = VALID.replace("name: study", f"name: {name}").replace("trials: 8", "trials: 3")
    if store:
        text += f"checkpoints: {{store: {work / 'store'}}}\n"
    folder = work / "sweeps" / name
    ledger = open_ledger(folder, storage)
    resuming.match(ledger, loads_sweep(text, catalog()), text)
    if storage is not None:
        remember(folder, ledger.url)
    ledger.start({})
    task = STUDY.removeprefix("mona/")
    ledger.add_study(Study(name=STUDY, method="mona", task=task, objective="val/x", seed=0))
    places = CheckpointPaths(folder, str(work / "store") if store else None)
    for number, kind in enumerate((TrialKind.PRESET, TrialKind.CONTROL, TrialKind.SAMPLED)):
        trial = Trial(study=STUDY, number=number, kind=kind, params={}, seed=0, attempt=1)
        failed = number == 2
        outcome = Outcome(
            state=TrialState.FAILED if failed else TrialState.COMPLETE,
            failure="crash" if failed else None,
            reason="boom\x1b[31m" if failed else None,
        )
        ledger.add_trial(Trial(**{**vars(trial), "attempt": 0}), outcome)
        kept = Path(places.store_of_attempt(trial) or places.scratch(trial))
        kept.mkdir(parents=True)
        (kept / "weights").write_bytes(b" " * SIZE)
    ledger.end("finished")
    return ledger


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return all files and folders; a ledger's files may change when it is opened."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.startswith("ledger.db")
    }


def rows(url: str, name: str) -> dict[str, int]:
    """Return how many rows of a sweep each table has."""
    engine = create_engine(url)
    with engine.connect() as connection:
        columns = {t.name: t.c.name if t is schema.sweeps else t.c.sweep for t in TABLES}
        found = {
            table: connection.scalar(select(func.count()).where(column == name))
            for table, column in columns.items()
        }
    engine.dispose()
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that holds many sweeps."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'all.db'}"
    else:
        with postgres() as server:
            yield server.url


@pytest.mark.slow
def test_a_sweep_in_a_ledger_of_many_takes_its_rows_and_its_part_of_the_store_alone(
    work, database, command
):
    for name in ("study", "study-2"):
        with closing(begin(work, name, database)) as ledger:
            ledger.set_tags({"a": "b"})
            ledger.remark("c")
            ledger.request("stop")
            ledger.note_mirror("mlflow:other", {"cursor": "1"})
            with ledger.hold():
                pass
    (work / "store" / "study" / "of-another").mkdir()
    (work / "store" / "study" / "of-another" / "file").touch()
    others = rows(database, "study-2")
    assert all(others.values()), others
    assert all(rows(database, "study").values())
    found = command("delete", "study", "--yes", "--json").json
    assert (found["deleted"], found["trials"], found["store_bytes"]) == (True, 3, 3 * SIZE)

    assert rows(database, "study") == dict.fromkeys(others, 0)
    assert rows(database, "study-2") == others
    assert [f.name for f in (work / "sweeps").iterdir()] == ["study-2"]
    assert [f.name for f in (work / "store" / "study").iterdir()] == ["of-another"]
    assert len([*(work / "store" / "study-2").rglob("weights")]) == 3
    assert run(["delete", "study", "--yes"]) == 8
    assert run(["status", "study-2"]) == 0
    assert run(["delete", "study-2", "--yes"]) == 0
    assert not (work / "store" / "study-2").exists()


def test_a_running_sweep_is_not_deleted(work, command):
    with closing(begin(work, "study")) as ledger, ledger.hold():
        before = tree(work)
        assert "sweep `study` is running" in command("delete", "study", "--yes", code=4).err
        assert tree(work) == before


def test_it_says_what_goes_and_what_stays_and_asks(work, command, monkeypatch):
    begin(work, "study", store=False).close()
    weights = work / "sweeps/study/trials/mona-pdebench-advection_1d/0000/attempt-1/weights"
    os.link(weights, work / "linked")
    before = tree(work)
    command("delete", "sweeps/study/", "--json", code=2)
    told = command("delete", "sweeps/study/", code=2).err
    assert "nothing was deleted: add --yes" in told
    assert f"to be deleted: {work / 'sweeps/study'}: " in told
    assert "stays: 1.0 kB of checkpoints that are linked from elsewhere" in told
    monkeypatch.setattr(upkeep.output, "can_ask", lambda as_json: True)
    for answer, code in (("n", 130), ("y", 0)):
        assert tree(work) == before
        monkeypatch.setattr(upkeep.typer, "confirm", lambda text, err, a=answer: a == "y")
        assert run(["delete", "study"]) == code
    assert list((work / "sweeps").iterdir()) == []
    assert (work / "linked").read_bytes() == b" " * SIZE


@pytest.mark.parametrize("kind", ["link", "no sweep"])
def test_a_folder_that_is_not_its_own_is_not_deleted(work, kind, command):
    folder = work / "sweeps" / "study"
    if kind == "link":
        begin(work, "study").close()
        folder.rename(work / "moved")
        folder.symlink_to(work / "moved")
    else:
        folder.mkdir(parents=True)
        (folder / "thesis.tex").touch()
    before = tree(work)
    code = {"link": 2, "no sweep": 8}[kind]
    assert str(folder) in command("delete", "study", "--yes", code=code).err
    assert tree(work) == before


def test_links_in_its_folder_are_not_followed(work):
    begin(work, "study").close()
    (work / "kept").mkdir()
    (work / "kept" / "file").touch()
    (work / "sweeps" / "study" / "link").symlink_to(work / "kept")
    assert run(["delete", "study", "--yes"]) == 0
    assert (work / "kept" / "file").is_file()


def test_a_deletion_that_was_interrupted_is_taken_up(work, monkeypatch, command):
    begin(work, "study").close()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        assert run(["delete", "study", "--yes"]) == 130
    assert '"sweeps": []' in command("ls", "--json").out
    assert run(["delete", "study", "--yes"]) == 0
    assert list((work / "sweeps").iterdir()) == []


def test_a_store_that_is_away_leaves_all_of_it(work, command):
    begin(work, "study").close()
    shutil.rmtree(work / "store")
    (work / "store").touch()  # no folder any more
    before = tree(work)
    assert "checkpoints.store: " in command("delete", "study", "--yes", code=5).err
    assert tree(work) == before


def test_results_of_stages_that_it_holds_are_released(work):
    with closing(begin(work, "study")) as ledger:
        text = VALID.replace("trials: 8", "trials: 3") + "stages: {meta: {distinct: 1}}\n"
        sweep = loads_sweep(text, catalog())
        ledger.extend(sweep.resolved)
        holder = stage_store.pin_of(ledger)
    held = [
        Path(stage_store.default_place()) / "refs" / name / "0f3a" for name in (holder, "other-0")
    ]
    for each in held:
        each.parent.mkdir(parents=True)
        each.touch()
    assert run(["delete", "study", "--yes"]) == 0
    assert [each.exists() for each in held] == [False, True]


def test_a_sweep_that_never_started_or_is_of_another_version_can_be_deleted(work, command):
    Ledger.in_folder(work / "sweeps" / "new").close()
    assert run(["delete", "new", "--yes"]) == 0
    with closing(begin(work, "study")) as ledger:
        resolved = dict(ledger.sweep().resolved)
        ledger.extend({**resolved, "nonesuch": 1})
    assert run(["delete", "study", "--yes", "--runs"]) == 2
    assert "this version cannot read its settings" in command("delete", "study", "--yes").err
    assert not [*(work / "store").rglob("weights")]


@pytest.fixture
def uri(work: Path, new_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of MLflow's store."""
    uri = new_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.mark.slow
def test_runs_in_mlflow_stay_and_are_said_or_go_with_it(work, uri, command):
    def runs(name: str) -> int:
        client = MlflowClient(uri)
        found = client.search_experiments()
        query = f"tags.`sweeper.sweep` = '{name}'"
        return len(client.search_runs([e.experiment_id for e in found], query))

    for name in ("kept", "gone", "other"):
        begin(work, name).close()
        command("sync", name)
    assert [runs(n) for n in ("kept", "gone", "other")] == [5, 5, 5]
    told = f"5 runs in MLflow at {uri}"
    kept = command("delete", "kept", "--yes").err
    assert f"stays: {told} (--runs deletes them, too)" in kept
    assert f"to be deleted: {told}" in command("delete", "gone", "--yes", "--runs").err
    assert [runs(n) for n in ("kept", "gone", "other")] == [5, 0, 5]


@pytest.mark.slow
def test_tags_and_notes_are_kept_shown_and_shipped(work, uri, command):
    for name in ("one", "two"):
        begin(work, name).close()
    assert "MLflow does not show it yet" in command("tag", "one", "baseline", "stage=paper").out
    command("note", "one", "why: table 3")
    command("sync", "one")

    def shown() -> dict[str, str]:
        client = MlflowClient(uri)
        (experiment,) = client.search_experiments(filter_string="name != 'Default'")
        (found,) = client.search_runs([experiment.experiment_id], "tags.`sweeper.level` = 'sweep'")
        tags = found.data.tags
        assert tags["sweeper.notes"].endswith(": why: table 3")
        return {k: v for k, v in tags.items() if k.startswith("sweeper.tag.")}

    assert shown() == {"sweeper.tag.baseline": "", "sweeper.tag.stage": "paper"}
    command("tag", "one", "stage=draft", "--remove", "baseline")
    assert shown() == {"sweeper.tag.stage": "draft"}
    for tag, sweeps in (("stage", ["one"]), ("stage=draft", ["one"]), ("stage=paper", [])):
        found = command("ls", "--tag", tag, "--json").json["sweeps"]
        assert [line["sweep"] for line in found] == sweeps
    told = command("status", "one").out
    assert "tags: stage=draft" in told
    assert ": why: table 3" in told
    assert command("note", "one").out.endswith(": why: table 3\n")


def test_a_user_without_a_name_may_note(work, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)  # what no system has a name for
    with closing(begin(work, "one")) as ledger:
        assert run(["note", "one", "why: table 3"]) == 0
        (remark,) = ledger.remarks()
        assert remark.by.startswith("987654321@")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["tag", "one", "a b"], 2), (["tag", "one", "=x"], 2), (["tag", "one", "a=\n"], 2),
     (["tag", "one", "--remove", "nonesuch"], 8), (["note", "one", " "], 2),
     (["note", "one", "x" * 3000], 2), (["ls", "--tag", "a b"], 2), (["tag", "nosuch", "x"], 8)],
)  # fmt: skip
def test_what_makes_no_tag_or_note_is_refused(work, words, code):
    with closing(begin(work, "one")) as ledger:
        assert run(words) == code
        assert (ledger.tags(), ledger.remarks()) == ({}, ())


def test_failed_trials_are_listed_with_their_reasons(work, command):
    begin(work, "study").close()
    (line,) = command("status", "study", "--failed", "--json").json["failed"]
    assert (line["trial"], line["failure"], line["attempts"]) == (f"{STUDY}/2", "crash", 1)
    told = command("status", "study", "--failed").out
    assert f"{STUDY}/2" in told
    assert r"boom\x1b[31m" in told
    assert "1 of 3 trials failed: 1 crash" in told
    assert f"sweeper logs study {STUDY}/2" in told
    assert run(["status", "--failed"]) == 2


def test_a_sweep_on_a_cluster_is_deleted_there_and_its_note_here(work, monkeypatch):
    note = work / "sweeps" / "away" / NOTE
    note.parent.mkdir(parents=True)
    note.write_text('{"name": "away", "address": "http://h:8265", "workdir": "/w", "job": "j"}')
    asked: list[list[str]] = []

    def forward(remote: object, words: list[str], *, as_json: bool) -> int:
        asked.append(words)
        return 4 if len(asked) == 1 else 0

    monkeypatch.setattr("sweeper.driver.remote.forward", forward)
    monkeypatch.chdir(work.parent)
    assert run(["-C", "work", "delete", "sweeps/away", "--yes"]) == 4
    assert note.is_file()
    assert run(["-C", "work", "delete", "away", "--yes"]) == 0
    assert not note.parent.exists()
    assert asked == [["delete", "away", "--yes"]] * 2
    assert (work / "sweeps").is_dir()
