"""A launch in the background of this machine: stopped, continued, cancelled; what it inherits."""

import os
import signal
import time
from contextlib import suppress

import psutil
import pytest

from sweeper.driver.supervisor import LEASE
from tests.support import killing
from tests.support.canary import Canaries
from tests.support.command import Shell
from tests.support.servers.process import wait_until
from tests.support.small_sweep import Sweep, num_measured, wait_for_epochs

OTHERS = ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "GITHUB_TOKEN", "OPENAI_API_KEY")
STILL_S = 3.0  # in which nothing may happen


@pytest.fixture
def canaries() -> Canaries:
    return Canaries.hatch(*OTHERS, "SWEEPER_TEST_PASSED_ON")


@pytest.fixture
def shell(tmp_path, data_home, canaries) -> Shell:
    """A folder in which a file is called like a package that trials import."""
    for name in ("ray", "torch", "pydantic"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder')\n")
    return Shell(tmp_path, {"SWEEPER_HOME": str(data_home), **canaries.environment})


def environments_of(processes: list[psutil.Process]) -> list[str]:
    """Return the environments of processes of Ray, its workers among them."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            if "sweeper.driver" not in " ".join(process.cmdline()):
                found.append(repr(process.environ()))
    return found


def test_a_launch_in_the_background_is_stopped_continued_and_cancelled(shell, canaries):
    sweep = Sweep(shell, "behind")
    words = ("--detach", "--json", "--set", "refine.epochs=400")
    asked = ("--set", "resources.env=[SWEEPER_TEST_PASSED_ON]")
    begun = shell.run("launch", str(sweep.file()), *words, *asked).json
    assert "follow it with: sweeper logs -f behind" in begun["message"]
    launch = psutil.Process(begun["pid"])
    assert os.getsid(launch.pid) == launch.pid  # no terminal of ours reaches it
    try:
        wait_for_epochs(sweep, 2)
        (driver,) = (p for p in launch.children() if "sweeper.driver" in p.cmdline())
        processes = killing.left_of(driver.environ()[LEASE])
        inherited = environments_of(processes)
        (passed_on,) = (canaries.environment[n] for n in canaries.environment if n not in OTHERS)
        assert any(passed_on in each for each in inherited)
        others = Canaries({name: canaries.environment[name] for name in OTHERS})
        assert others.found_in(*inherited) == []

        launch.send_signal(signal.SIGTSTP)
        wait_until(
            lambda: launch.status() == psutil.STATUS_STOPPED, timeout_s=30, what="it to stop"
        )
        assert {p.status() for p in processes if p.is_running()} == {psutil.STATUS_STOPPED}
        before = num_measured(sweep)
        time.sleep(STILL_S)
        assert num_measured(sweep) == before
        launch.send_signal(signal.SIGCONT)
        wait_for_epochs(sweep, before + 3)

        with shell.start("logs", "-f", "behind") as follower:
            assert "`behind` was cancelled" in shell.run("cancel", "behind").out
            lines, _ = follower.communicate(timeout=90)
        wait_until(lambda: not launch.is_running(), timeout_s=30, what="its end")
    finally:
        with suppress(psutil.Error):
            launch.kill()
    assert "the sweep is interrupted (cancelled by " in lines
    assert [p for p in processes if p.is_running()] == []
    printed = (sweep.folder / "launch.log").read_text()
    assert "stopped; go on with: sweeper resume behind" in printed
    assert "Traceback" not in printed
    assert "AssertionError" not in printed
