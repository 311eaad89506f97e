"""A deterministic search on real Ray: one slot against two, of which the driver is killed."""

import pytest

from tests.support.ledgers import content_of
from tests.support.servers.process import wait_until
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import read

pytestmark = [pytest.mark.timeout(400)]
OPTIONS = ("--trials", "14", "--epochs", "9", "--align-epochs", "1", "--pruning", "promote",
           "--turns", "4", "--epoch-s", "0.05")  # fmt: skip


def test_two_slots_and_a_killed_driver_give_the_ledger_of_one_slot(tmp_path, ray_head, new_store):
    contents = []
    for slots in (1, 2):
        folder = tmp_path / str(slots) / "toy"
        options = [*OPTIONS, "--concurrent", str(slots), "--tracking", new_store()]
        for is_last in (False, True) if slots == 2 else (True,):
            driver = toy_sweep.start(
                folder, *options, "--address", ray_head.address, environment=ray_head.environment
            )
            try:
                if is_last:
                    assert driver.wait(150) == 0, driver.tail()
                else:
                    wait_until(lambda at=folder: len(read(at)) > 30, timeout_s=120, what="epochs")
            finally:
                driver.kill()
        ledger = toy_sweep.open_ledger(folder)
        contents.append(content_of(ledger))
        assert len({trial.state for trial in ledger.trials()}) == 2  # complete and paused
    assert contents[0] == contents[1]
