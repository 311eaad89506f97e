"""One driver a sweep."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing

import psutil
import pytest
from sqlalchemy import create_engine, text

from sweeper.errors import SweepIsHeld
from sweeper.ledger import Ledger
from sweeper.model import Study
from tests.support.fakes import new_ledger

HOLD = """
import sys, time
from sweeper.ledger import Ledger
with Ledger(sys.argv[1], "s").hold():
    print("held", flush=True)
    time.sleep(60)
"""
STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


@pytest.fixture
def ledger(tmp_path):
    with closing(new_ledger(tmp_path)) as ledger:
        yield ledger


def test_a_second_holder_is_refused_and_a_dead_one_is_replaced_at_once(ledger):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, ledger.url], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert ledger.holder().pid == holder.pid
        refused = pytest.raises(SweepIsHeld, match=rf"sweep `s` is running .*pid {holder.pid}")
        with refused, ledger.hold():
            pass
        os.kill(holder.pid, signal.SIGKILL)
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert ledger.holder() is None, "also while its parent has yet to reap it"
    assert ledger.holder() is None
    with ledger.hold() as lease:
        assert ledger.holder().pid == os.getpid()
        assert lease.before.pid == holder.pid, "whose leftovers may have to be ended"
    assert ledger.holder() is None


def test_a_clock_that_is_set_does_not_make_a_holder_seem_another_process(ledger, monkeypatch):
    with ledger.hold():
        booted = psutil._psplatform.boot_time()
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: booted + 3600)
        assert ledger.holder().pid == os.getpid()
        with pytest.raises(SweepIsHeld), closing(Ledger(ledger.url, "s")) as other, other.hold():
            pass


def test_a_process_that_has_the_number_of_a_dead_holder_is_another(ledger):
    with ledger.hold():
        engine = create_engine(ledger.url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE leases SET started = started - 2"))
        engine.dispose()
        assert ledger.holder() is None


def other_place(ledger, renewed_ago: float) -> None:
    """Make the lease one of another machine, renewed so many seconds ago."""
    engine = create_engine(ledger.url)
    with engine.begin() as connection:
        change = "UPDATE leases SET place = 'elsewhere', renewed = renewed - :ago"
        connection.execute(text(change), {"ago": renewed_ago})
    engine.dispose()


@pytest.mark.parametrize(("ago", "is_free"), [(5, False), (25, True)])
def test_a_holder_on_another_host_is_replaced_once_it_stopped_renewing(ledger, ago, is_free):
    with closing(Ledger(ledger.url, "s")) as theirs, theirs.hold():
        other_place(ledger, ago)
        assert (ledger.holder() is None) is is_free
        if not is_free:
            with pytest.raises(SweepIsHeld), ledger.hold():
                pass
            return
        with ledger.hold():
            before = ledger.events()
            with pytest.raises(SweepIsHeld, match="lost the lease"):
                theirs.add_study(STUDY)
            assert ledger.events() == before
            assert ledger.studies() == ()


def test_the_name_of_a_lease_lets_another_process_write(ledger):
    with closing(Ledger(ledger.url, "s")) as child, ledger.hold() as lease:
        child.act_for(lease.owner)
        child.add_study(STUDY)
    with closing(Ledger(ledger.url, "s")) as late:
        late.act_for(lease.owner)
        with pytest.raises(SweepIsHeld):
            late.start({})


@pytest.mark.slow
def test_of_twenty_that_come_at_once_one_wins(ledger):
    for _ in range(10):
        results: Counter[str] = Counter()
        together, done = threading.Barrier(20), threading.Barrier(20)

        def launch(together=together, done=done, results=results) -> None:
            with closing(Ledger(ledger.url, "s")) as mine:
                together.wait()
                try:
                    with mine.hold():
                        results["won"] += 1
                        done.wait()
                except SweepIsHeld:
                    results["refused"] += 1
                    done.wait()

        threads = [threading.Thread(target=launch) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {"won": 1, "refused": 19}
