"""A launch that has a Ray of its own, and loses a part of it."""

import pytest

from tests.support import killing
from tests.support.command import Shell
from tests.support.small_sweep import EPOCHS, TRIALS, Sweep, finish, wait_for_epochs


@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_it_starts_another_and_goes_on(tmp_path, data_home, part):
    sweep = Sweep(Shell(tmp_path, {"SWEEPER_HOME": str(data_home)}), "local")
    launch = sweep.start()
    wait_for_epochs(sweep, 2)
    killing.kill(killing.part_of(launch, part))
    err = finish(launch)
    if part == "gcs_server":  # without a raylet, trials that run may end before anybody notices
        assert "starting it again" in err
    states = sweep.rows("select state from trials")
    assert states == [("complete",)] * TRIALS
    measured = [(number, m["epoch"]) for number, m in sweep.events("measured")]
    assert sorted(measured) == [(n, e) for n in range(TRIALS) for e in range(1, EPOCHS + 1)]
