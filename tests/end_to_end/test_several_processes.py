"""A sweep whose trial trains in two processes under Ray, one of which is killed."""

from contextlib import suppress

import psutil
import pytest

from tests.support import killing
from tests.support.command import Shell
from tests.support.small_sweep import SEARCH, Sweep, finish, wait_for_epochs
from trainables.runtime.ranks.processes import PROGRAM

pytestmark = [pytest.mark.timeout(900)]
EPOCHS = 40
CHANGES = {
    "refine.epochs: 4": f"refine.epochs: {EPOCHS}",
    SEARCH: "search: {trials: 1}",
    "resources: {cpu: 1, gpu: 0,": "resources: {cpu: 2, processes: 2,",
}


def second_processes(actors: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in (below for actor in actors for below in actor.children()):
        with suppress(psutil.Error):
            if PROGRAM in process.cmdline():
                found.append(process)
    return found


def test_a_killed_process_is_a_crash_after_which_the_trial_goes_on(tmp_path):
    shell = Shell(tmp_path, {"SWEEPER_HOME": str(tmp_path / "home")})
    two = Sweep(shell, "two", on_backbone=True, changes=CHANGES)
    launch = two.start()
    wait_for_epochs(two, 2)
    (process,) = second_processes(killing.trials_of(launch))
    killing.kill(process)
    finish(launch)
    assert two.rows("select state from trials") == [("complete",)]
    assert [m["epoch"] for _, m in two.events("measured")] == [*range(1, EPOCHS + 1)]
    ends = [end for _, end in two.events("attempt_ended")]
    assert [end["failure"] for end in ends] == ["crash", None]
    assert "process 2 of 2" in ends[0]["reason"]
