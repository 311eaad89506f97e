"""MLflow after a damaged ledger's copy was put in its place, and after artifacts were deleted."""

import itertools
import logging
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sweeper.driver import pages
from sweeper.ledger import Ledger
from sweeper.ledger.backup import back_up, copy_of
from sweeper.tracking.mlflow_recorder import Sources
from tests.support.ledgers import NAME, START, finished_ledger, new_ledger, script
from tests.support.servers.mlflow_server import recorder, snapshot, without_ids

pytestmark = pytest.mark.slow


class Forwarding:
    """A ledger that can be exchanged for another while a script writes it."""

    def __init__(self, target: Ledger) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


def restored(folder: Path) -> Ledger:
    """Put the copy of a ledger in its place, and open it; its clock has gone on."""
    file = folder / "ledger.db"
    for part in folder.glob("ledger.db*"):
        part.unlink()
    copy_of(file).rename(file)
    ticks = itertools.count(5000)
    return Ledger(f"sqlite:///{file}", NAME, clock=lambda: START + next(ticks))


def steps_and_values(content: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return each run's status, params and points without their times, doubles included."""
    return {
        name: {
            "status": run["status"],
            "params": run["params"],
            "points": {
                key: Counter((step, value) for step, value, _ in points)
                for key, points in run["metrics"].items()
            },
        }
        for name, run in content.items()
    }


@pytest.mark.parametrize(("copied", "lost"), [(1, 30), (20, 60), (60, 1000)])
def test_a_restored_copy_leaves_no_double_of_a_run_or_a_point(
    tmp_path, new_store, expected, copied, lost
):
    live, other = tmp_path / "live", tmp_path / "other"
    live.mkdir()
    other.mkdir()
    uri, ledger = new_store(), new_ledger(live)
    written = script(ledger, tmp_path)
    list(itertools.islice(written, copied))
    recorder(ledger, uri).sync()
    back_up(live / "ledger.db")
    list(itertools.islice(written, lost - copied))
    recorder(ledger, uri).sync()
    ledger.close()
    before = {name: run["id"] for name, run in snapshot(uri).items()}

    forwarding = Forwarding(new_ledger(other))
    again = script(forwarding, tmp_path)  # type: ignore[arg-type]
    list(itertools.islice(again, copied))
    forwarding.target.close()
    forwarding.target = restored(live)
    for _ in again:
        recorder(forwarding.target, uri).sync()
    forwarding.target.close()

    found = snapshot(uri)
    assert steps_and_values(found) == steps_and_values(expected)
    assert {name: found[name]["id"] for name in before} == before


def test_another_trial_of_the_same_number_takes_the_place_of_the_one_that_was_lost(
    tmp_path, new_store
):
    ledger, uri = new_ledger(tmp_path), new_store()
    written = script(ledger, tmp_path)
    while len(ledger.trials()) < 2:
        next(written)
    back_up(tmp_path / "ledger.db")
    while len(ledger.trials()) < 3:
        next(written)
    (lost,) = [trial for trial in ledger.trials() if trial.number == 2]
    recorder(ledger, uri).sync()
    name = "002 · mona · advection_1d"
    was = snapshot(uri)[name]["id"]
    ledger.close()
    with closing(restored(tmp_path)) as again:
        again.add_trial(replace(lost, params={**lost.params, "refine.lr": 0.5}))
        status = recorder(again, uri).sync()
    assert (status.pending, status.refused) == (0, 0)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("pdebench").experiment_id
    runs = {
        run.info.run_id: run
        for run in client.search_runs([experiment])
        if run.info.run_name == name
    }
    old = runs.pop(was)
    assert old.data.tags["sweeper.state"] == "replaced"
    (new,) = runs.values()
    assert new.data.params["refine.lr"] == "0.5"
    assert new.data.tags["sweeper.state"] == "waiting"


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Plain:
    """Pages without the time at which they were written."""

    note, summary = staticmethod(pages.note), staticmethod(pages.summary)

    @staticmethod
    def files(ledger: Ledger, study: str | None) -> dict[str, str]:
        return {"page.txt": f"{ledger.name} {study}"}


def test_a_sync_puts_back_deleted_artifacts(new_store, ledger):
    uri = new_store()
    artifacts = Path(uri.removeprefix("sqlite:///")).parent / "mlruns"
    recorder(ledger, uri, sources=Sources(pages=Plain())).sync()
    before, shown = tree(artifacts), without_ids(snapshot(uri))
    assert any("failures/attempt-" in name for name in before)
    shutil.rmtree(artifacts)
    status = recorder(ledger, uri, sources=Sources(pages=Plain())).sync()
    assert tree(artifacts) == before
    assert (status.shipped, status.restored) == (0, 1 + 2 + 10)
    assert without_ids(snapshot(uri)) == shown
    assert recorder(ledger, uri, sources=Sources(pages=Plain())).sync().restored == 0


def test_a_checkpoint_that_is_gone_as_well_holds_up_no_other(tmp_path, new_store, ledger):
    uri = new_store()
    artifacts = Path(uri.removeprefix("sqlite:///")).parent / "mlruns"
    recorder(ledger, uri).sync()
    before = tree(artifacts)
    shutil.rmtree(artifacts)
    shutil.rmtree(tmp_path / "checkpoints" / "nft" / "003")
    assert recorder(ledger, uri).sync().last_error is None
    assert 0 < len(tree(artifacts)) < len(before)


def test_a_database_that_fails_is_one_line(tmp_path, new_store, capfd):
    """A locked one fails in the same place, but only after the 20 s that MLflow waits for it."""
    uri, lines = new_store(), []
    MlflowClient(uri).search_experiments()  # what MLflow prints when it opens a store comes before
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        connection.execute("alter table experiments rename to elsewhere")
        connection.commit()
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.NOTSET)
    capfd.readouterr()
    status = recorder(finished_ledger(tmp_path), uri, notify=lines.append).sync()
    error = "MlflowException: (sqlite3.OperationalError) no such table: experiments"
    assert status.last_error == error
    assert lines[0].endswith(f"({error})")
    assert len(lines) == 1
    assert capfd.readouterr().err == ""
