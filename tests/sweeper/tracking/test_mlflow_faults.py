"""What the recorder survives: crashes, lost calls, deletions, silence; and what it never shows."""

import itertools
import shutil
import socket
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeper.errors import BackendUnreachable
from sweeper.ledger import Ledger
from sweeper.tracking import mlflow_store
from sweeper.tracking.mlflow_store import MlflowStore, check
from tests.support.ledgers import new_ledger, script
from tests.support.servers.mlflow_server import recorder, snapshot, without_ids
from tests.support.stores import empty_store

pytestmark = pytest.mark.slow

PUBLIC = [n for n in vars(MlflowStore) if not n.startswith("_")]


def test_a_crash_between_batch_and_cursor_changes_nothing(ledger, new_store, monkeypatch, expected):
    uri, note = new_store(), Ledger.note_mirror

    def crash_at_cursor(self, name, refs):
        if "cursor" in refs:
            raise ConnectionError("power cut")
        note(self, name, refs)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "note_mirror", crash_at_cursor)
        status = recorder(ledger, uri).sync()
    assert status.pending == len(ledger.events())
    assert "power cut" in status.last_error
    assert recorder(ledger, uri).sync().pending == 0
    assert without_ids(snapshot(uri)) == expected


@pytest.mark.parametrize("is_done_first", [True, False], ids=["answer lost", "request lost"])
def test_calls_lost_now_and_then_lose_and_double_nothing(
    ledger, new_store, monkeypatch, expected, is_done_first
):
    uri, calls = new_store(), iter(range(10_000))
    losses = set(itertools.accumulate(range(3, 60, 2)))  # ever rarer: in every kind of call

    def unreliable(method):
        def call(self, *args, **kwargs):
            lost = next(calls) in losses
            if lost and not is_done_first:
                raise ConnectionError("lost")
            result = method(self, *args, **kwargs)
            if lost:
                raise ConnectionError("lost")
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr("sweeper.tracking.mlflow_recorder.EVENTS_A_BATCH", 4)
        for name in PUBLIC:
            patch.setattr(MlflowStore, name, unreliable(getattr(MlflowStore, name)))
        syncs = 1
        while recorder(ledger, uri).sync().pending:
            syncs += 1
            assert syncs < 200
    assert syncs > 3, "calls were lost"
    assert without_ids(snapshot(uri)) == expected


def test_a_run_deleted_by_hand_holds_up_nothing_else(tmp_path, new_store):
    ledger, uri = new_ledger(tmp_path), new_store()
    steps = script(ledger, tmp_path)
    follower = recorder(ledger, uri)
    while len(ledger.trials()) < 3:
        next(steps)
    follower.sync()
    name = "002 · mona · advection_1d"
    MlflowClient(uri).delete_run(snapshot(uri)[name]["id"])
    list(steps)
    status = follower.sync()
    assert status.pending == 0
    assert status.refused > 0
    assert "refused" in status.last_error
    found = snapshot(uri)
    assert name not in found
    assert len(found) == 12
    assert {run["status"] for run in found.values()} == {"FINISHED", "KILLED", "FAILED"}


def test_a_new_store_at_the_same_place_is_filled_from_the_first_event(ledger, new_store, expected):
    uri = new_store()
    recorder(ledger, uri).sync()
    Path(uri.removeprefix("sqlite:///")).write_bytes(empty_store().read_bytes())
    status = recorder(ledger, uri).sync()
    assert status.shipped == len(ledger.events())
    assert without_ids(snapshot(uri)) == expected


def test_a_deleted_experiment_is_reported_with_the_way_out(ledger, new_store):
    uri = new_store()
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("pdebench"))
    status = recorder(ledger, uri).sync()
    assert status.pending > 0
    assert "mlflow experiments restore -x 1" in status.last_error


def test_a_checkpoint_that_is_not_here_is_said_and_holds_up_nothing(ledger, new_store, tmp_path):
    shutil.rmtree(tmp_path / "checkpoints" / "nft" / "003")
    uri = new_store()
    assert recorder(ledger, uri).sync().pending == 0
    tags = snapshot(uri)["003 · nft · advection_1d"]["tags"]
    assert tags["sweeper.checkpoint"].startswith("not on this machine: ")


def test_the_callers_thread_meets_no_error_and_no_wait(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as hole:  # accepts, and never answers
        ledger = new_ledger(tmp_path)
        lines: list[str] = []
        uri = f"http://127.0.0.1:{hole.getsockname()[1]}"
        follower = recorder(ledger, uri, poll_s=0.01, notify=lines.append)
        begun = time.monotonic()
        follower.start()
        list(script(ledger, tmp_path))
        status = follower.stop(timeout_s=0.5)
        assert time.monotonic() - begun < 20
        assert status.pending == len(ledger.events())


def test_check_gives_up_in_time_and_says_where(monkeypatch):
    monkeypatch.setattr(mlflow_store, "CHECK_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        uri = f"http://127.0.0.1:{hole.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(BackendUnreachable, match=f"{uri} does not answer: no answer within"):
            check(uri)
        assert time.monotonic() - begun < 20
    assert mlflow_store.CHECK_S <= 10


def test_check_passes_where_mlflow_answers(new_store):
    check(new_store())


def test_a_password_is_never_shown(ledger):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    lines: list[str] = []
    uri = f"http://me:hunter2@127.0.0.1:{port}"
    follower = recorder(ledger, uri, notify=lines.append)
    status = follower.sync()
    with pytest.raises(BackendUnreachable) as error:
        check(uri)
    shown = [status.uri, status.last_error, follower.uri, *lines, str(error.value)]
    assert status.uri == f"http://me:***@127.0.0.1:{port}"
    assert not [text for text in shown if "hunter2" in text]
    assert "hunter2" not in Path(ledger.url.removeprefix("sqlite:///")).read_bytes().decode(
        "latin1"
    )
