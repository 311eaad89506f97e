"""A Ray that starts slowly, or not at all; and an installation that cannot be imported."""

import os
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from tests.support import killing
from tests.support.command import ROOT, Shell
from tests.support.servers.process import wait_until
from tests.support.small_sweep import TRIALS, Sweep, finish

pytestmark = [pytest.mark.timeout(900)]
FROZEN_S = 40.0  # Ray itself gives up after 30 s


@pytest.fixture
def shell(tmp_path, data_home) -> Shell:
    return Shell(tmp_path, {"SWEEPER_HOME": str(data_home)})


def test_a_package_that_cannot_be_imported_ends_a_launch_at_once(tmp_path, shell):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ray.py").write_text("import no_such_module\n")
    paths = os.pathsep.join([str(broken), str(ROOT)])
    sweep = Sweep(Shell(tmp_path, {**shell.environment, "PYTHONPATH": paths}), "broken")
    err = finish(sweep.start(), 1)
    told = "the installation is incomplete or damaged: No module named 'no_such_module'"
    assert err.count(told) == 1
    assert "starting it again" not in err


def freeze_raylet(launch: subprocess.Popen[str]) -> psutil.Process:
    """Stop the raylet of a launch as soon as there is one."""

    def is_there() -> bool:
        with suppress(ValueError, psutil.Error):
            killing.part_of(launch, "raylet").send_signal(signal.SIGSTOP)
            return True
        return False

    wait_until(is_there, timeout_s=120, what="a raylet")
    return killing.part_of(launch, "raylet")


@pytest.mark.soak
def test_a_raylet_that_takes_longer_than_ray_waits_for_it_is_waited_for(shell):
    sweep = Sweep(shell, "slow")
    launch = sweep.start()
    raylet = freeze_raylet(launch)
    time.sleep(FROZEN_S)
    raylet.send_signal(signal.SIGCONT)
    err = finish(launch)
    assert "Ray has not started" not in err
    assert sweep.rows("select state from trials") == [("complete",)] * TRIALS


COUNTS = """
import sys
if "sweeper.driver.preparation" in sys.orig_argv:
    print("prepared", file=open({!r}, "a"))
"""


@pytest.mark.soak
def test_a_raylet_that_dies_while_it_starts_is_started_again_after_a_pause(shell, tmp_path):
    made = tmp_path / "made"
    (tmp_path / "sitecustomize.py").write_text(COUNTS.format(str(made)))
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    sweep = Sweep(Shell(tmp_path, {**shell.environment, "PYTHONPATH": paths}), "pausing")
    launch = sweep.start()
    killing.kill(freeze_raylet(launch))
    err = finish(launch)
    assert err.count("Ray has not started on this machine: ") == 1
    assert "; trying again in 10 s." in err
    assert "the driver died" not in err
    assert made.read_text().split() == ["prepared"]  # once, for both drivers
    assert sweep.rows("select state from trials") == [("complete",)] * TRIALS
