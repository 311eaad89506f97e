"""A launch that a signal ends does not wait for a ledger that is away."""

import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.commands import launch
from sweeper.commands.launch import Where
from sweeper.config.loader import loads_sweep
from sweeper.config.sweep import Sweep
from sweeper.console import stderr
from sweeper.driver import supervisor
from sweeper.driver.messages import Ended, Refused
from sweeper.errors import BackendUnreachable, Interrupted, UsageError
from sweeper.ledger import Ledger
from sweeper.ledger.lease import Lease
from sweeper.planning import load
from sweeper.planning.catalog import catalog
from tests.bad_inputs.rows import VALID
from tests.support.servers.postgres import postgres

AWAY = BackendUnreachable("the ledger at postgresql://db?token=hunter2 does not answer.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcome", "ends", "told"),
    [
        (Ended(signal=signal.SIGINT), Interrupted, r"^SIGINT: the ledger at .* does not answer.*"
         r"Go on with: sweeper resume study$"),
        (Ended(signal=signal.SIGTERM), Interrupted, "^SIGTERM: the ledger"),
        (AWAY, BackendUnreachable, f"^{AWAY}$".replace("?", r"\?")),
    ],
)  # fmt: skip
def test_who_ends_a_sweep_does_not_wait_for_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Any, ends: type, told: str
) -> None:
    sweep = loads_sweep(VALID.replace("name: study", "name: study\nresources: {gpu: 0}"), catalog())
    with postgres() as server, closing(Ledger(server.url, "study")) as ledger:
        load.match(ledger, sweep, VALID)
        stopped: list[float] = []

        def supervise(job: Any, ledger: Ledger, lease: Lease, console: Console) -> Ended:
            ledger.start({})
            server.stop()
            stopped.append(time.monotonic())
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(launch, "supervise", supervise)
        with ledger.hold() as lease, pytest.raises(ends, match=told) as ended:
            launch.run(sweep, ledger, lease, tmp_path, Where(), stderr())
        assert time.monotonic() - stopped[0] < 20  # of a minute's patience
    number = outcome.signal if isinstance(outcome, Ended) else 5 - 128
    assert ended.value.exit_code == 128 + number


def test_what_a_driver_says_once_a_signal_came_does_not_hide_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drive(job: Any, lease: Lease, signals: Any) -> Refused:
        signals.seen += seen
        return Refused(AWAY)

    monkeypatch.setattr(supervisor, "_drive", drive)
    seen: list[int] = [signal.SIGINT]
    with closing(Ledger.in_folder(tmp_path)) as ledger, ledger.hold() as lease:
        outcome = supervisor.supervise(None, ledger, lease, stderr())
        assert outcome.signal == signal.SIGINT
        assert capsys.readouterr().err == f"{AWAY}\n".replace("hunter2", "***")
        seen = []
        with pytest.raises(BackendUnreachable):
            supervisor.supervise(None, ledger, lease, stderr())


def stored(place: str | None, *more: str) -> Sweep:
    where = [] if place is None else [f"checkpoints: {{store: {place}}}\n"]
    return loads_sweep(VALID + "".join([*where, *more]), catalog())


def test_a_sweep_whose_store_was_moved_goes_on_with_it_where_it_is(tmp_path: Path) -> None:
    """It is the same sweep, to which more trials can be added later; nothing else may change."""
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        load.match(ledger, stored("/former/store"), VALID)
        ledger.start({})
        load.match(ledger, stored("/mnt/store"), VALID)
        record = ledger.sweep()
        assert record is not None
        assert record.resolved["checkpoints"]["store"] == "/mnt/store"
        assert record.config_hash == stored("/mnt/store").config_hash
        assert load.from_record(record).checkpoints.store == "/mnt/store"
        with pytest.raises(UsageError, match=r"budget\.wall: null"):
            load.match(ledger, stored("/x", "budget: {wall: 1h}\n"), VALID)
        with pytest.raises(UsageError, match=r'checkpoints\.store: "/mnt/store" -> null'):
            load.match(ledger, stored(None), VALID)
        assert ledger.sweep() == record
        load.match(ledger, stored("s3://bucket/store"), VALID)
