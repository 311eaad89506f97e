"""What sweeps hold in a store of stage results: given up once they are over, or by command."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.commands import launch
from sweeper.commands.look import Summary
from sweeper.commands.upkeep import gc
from sweeper.driver.messages import Ended
from sweeper.ledger import Ledger
from sweeper.model import TrialKind
from sweeper.planning import resuming, stage_store
from sweeper.planning.catalog import catalog
from sweeper.planning.load import Options
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID
from tests.support.command import Run
from tests.support.trials import COMPLETE, begin, sampled
from trainables.errors import StorageError
from trainables.storage import stage_gc
from trainables.storage.checkpoint_folder import MANIFEST

FILE = (
    VALID.replace("study", "sharing").replace("trials: 8", "trials: 3")
    + """\
stages: {meta: {distinct: 1}}
resources: {cpu: 1, gpu: 0}
"""
)
STUDY, KEY, SIZE = "mona/pdebench/advection_1d", "0f3a", 1000


@pytest.fixture
def store(here: Path) -> Path:
    """The store of a machine whose only result nobody holds."""
    place = Path(stage_store.default_place())
    (place / "results" / KEY).mkdir(parents=True)
    (place / "results" / KEY / MANIFEST).write_bytes(b" " * SIZE)
    return place


def hold(store: Path, holder: str) -> Path:
    held = store / "refs" / holder / KEY
    held.parent.mkdir(parents=True)
    held.touch()
    return held


@pytest.fixture
def ledger(store: Path) -> Iterator[Ledger]:
    """The ledger of a sweep that has begun, and plans three trials."""
    sweep = loads_sweep(FILE, catalog())
    with closing(Ledger.in_folder(Path("sweeps", sweep.name).resolve())) as ledger:
        resuming.match(ledger, sweep, FILE)
        ledger.start({})
        yield ledger


def complete(ledger: Ledger) -> None:
    """Have all trials of the sweep end well."""
    for number, kind in enumerate((TrialKind.PRESET, TrialKind.CONTROL, TrialKind.SAMPLED)):
        attempt = begin(ledger, sampled(STUDY, number, kind=kind))
        ledger.end_attempt(STUDY, number, attempt, COMPLETE)


def resume() -> Summary:
    return launch.resume("sharing", Options(), console=Console(quiet=True))


def collected(command: Run, *options: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = command("gc", "--max-bytes", "0", "--json", *options, code=code).json
    return found


@pytest.mark.slow
@pytest.mark.parametrize("state", ["finished", "running"])
def test_a_finished_sweep_that_still_holds_results_gives_them_up_when_it_is_resumed(
    ledger, store, state
):
    complete(ledger)
    if state == "finished":  # its driver died after it had said so
        ledger.end(state)
    held, others = hold(store, stage_store.pin_of(ledger)), hold(store, "other-0123456789ab")
    for _ in range(2):
        assert resume().state == "finished"
        assert (held.exists(), others.exists()) == (False, True)


@pytest.mark.parametrize(("state", "gone"), [("finished", True), ("stopped", False)])
def test_a_signal_after_the_end_does_not_keep_results_held(ledger, store, monkeypatch, state, gone):
    held = hold(store, stage_store.pin_of(ledger))

    def supervise(*_: object) -> Ended:  # the driver waits for MLflow, and Ctrl-C comes
        ledger.end(state)
        return Ended(signal=2)

    monkeypatch.setattr(launch, "supervise", supervise)
    assert resume().exit_code == 130
    assert held.exists() is not gone


def test_a_store_that_is_away_at_the_end_is_told_with_the_command_for_later(
    ledger, store, monkeypatch
):
    def away(*_: object) -> None:
        raise StorageError("no answer")

    monkeypatch.setattr(stage_gc, "release", away)
    said: list[str] = []
    holder = stage_store.pin_of(ledger)
    stage_store.release(loads_sweep(FILE, catalog()), holder, said.append)
    command = f"sweeper gc {store} --release {holder}"
    assert said == [f"stage results were not released (no answer); `{command}` does it later."]


def test_to_release_deletes_nothing_unless_a_size_is_given(ledger, store, monkeypatch):
    """The sweep's own file may have let the store grow beyond what is the default here."""
    monkeypatch.setattr(gc, "DEFAULT_SIZE", "0B")
    holder = stage_store.pin_of(ledger)
    hold(store, holder)
    options = {"force": False, "dry_run": False}
    told = gc.collect_garbage(None, None, **options, released=[holder])
    assert (told.max_bytes, len(told.kept), told.deleted) == (None, 1, ())
    assert gc.collect_garbage(None, None, **options).deleted_bytes == SIZE


def test_gc_gives_up_what_a_holder_holds(ledger, store, command):
    holders = stage_store.pin_of(ledger), "deleted-0123456789ab"
    held = [hold(store, holder) for holder in holders]
    told = collected(command)
    assert told["kept"][0]["holders"] == sorted(holders)
    assert "--release NAME" in told["message"]
    one = collected(command, "--release", holders[1])
    assert (one["released"], one["kept"][0]["holders"]) == ([holders[1]], [holders[0]])
    assert [path.exists() for path in held] == [True, False]
    dry = collected(command, "--release", holders[0], "--dry-run")
    assert (dry["kept"], len(dry["deleted"])) == ([], 1)
    assert held[0].exists()
    hold(store, holders[1])
    done = collected(command, *(f"--release={holder}" for holder in (*holders, holders[0])))
    assert (done["kept"], done["deleted_bytes"]) == ([], SIZE)
    assert not any((store / "refs").iterdir())


def test_gc_gives_up_nothing_of_a_sweep_that_runs(ledger, store, command):
    old, holder = "sharing-0123456789ab", stage_store.pin_of(ledger)
    held = [hold(store, each) for each in (old, holder)]
    with ledger.hold():
        told = collected(command, "--release", old, "--release", holder, code=4)
        assert "sweep `sharing` is running" in told["error"]["message"]
        assert all(path.exists() for path in held)
        collected(command, "--release", old)  # of a sweep of its name that was deleted
    collected(command, "--release", holder)
    assert not any(path.exists() for path in held)


def test_gc_tells_who_holds_something_where_a_holder_is_unknown(store, command):
    told = collected(command, "--release", "x", code=8)["error"]["message"]
    assert told == f"unknown holder `x`: {store} has none."
    hold(store, "a-0123456789ab")
    told = collected(command, "--release", "../results", code=8)["error"]["message"]
    assert told == "unknown holder `../results`. Known: a-0123456789ab."
    assert (store / "results" / KEY).exists()


@pytest.mark.slow
def test_gc_deletes_what_killed_writers_left_of_sweeps_that_do_not_run(ledger, store, command):
    trials = Path("sweeps/sharing/trials").resolve() / "mona-t" / "0003"
    partial, whole = trials / "attempt-1/.refine-0002.partial", trials / "attempt-1/refine-0001"
    for folder in (partial, whole):
        folder.mkdir(parents=True)
        (folder / "last.safetensors").write_bytes(bytes(SIZE))
    stranger = Path("sweeps/mine/trials/a/0000/attempt-1/.refine-0001.partial")
    stranger.mkdir(parents=True)
    with ledger.hold():
        assert collected(command)["leftovers"] == []
    told = collected(command, "--dry-run")
    assert (told["leftovers"], told["leftover_bytes"]) == ([str(partial)], SIZE)
    assert partial.exists()
    assert collected(command)["message"].endswith(
        "1 unfinished checkpoints in ./sweeps deleted (0.0 MiB)"
    )
    assert (partial.exists(), whole.exists(), stranger.exists()) == (False, True, True)
    assert "unfinished" not in collected(command)["message"]
    assert not Path("sweeps/mine/ledger.db").exists()
