"""A sweep with secrets in its environment: they are nowhere afterwards, and no pickle is read."""

import os
import pickle
import signal

import pytest

from tests.support.canary import Canaries
from tests.support.command import Shell
from tests.support.servers.cluster import short_folder
from tests.support.servers.ports import free_port
from tests.support.servers.webhook import webhook
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import TRIALS, wait_for_epochs

TUNES_OWN = ("tuner.pkl", "searcher-state-1.pkl", "search_gen_state-1.json", "trainer.pkl")


class Runs:
    """A pickle of it runs a command."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def rays():
    """The files that Ray writes."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def hook():
    with webhook() as started:
        yield started


def test_neither_is_a_secret_left_nor_a_planted_pickle_read(tmp_path, rays, data_home, hook):
    canaries = Canaries.hatch()
    shell = Shell(
        tmp_path, {"SWEEPER_HOME": str(data_home), "RAY_TMPDIR": str(rays), **canaries.environment}
    )
    sweep = HeldSweep(shell, "secretive")
    sweep.hold()
    told = f"{hook.url}/${{env:SWEEPER_CANARY}}"
    dead = f"http://127.0.0.1:{free_port()}/${{env:SWEEPER_CANARY}}"
    launch = sweep.start("--set", f"notify=['{told}', '{dead}']")
    wait_for_epochs(sweep, 1)
    assert canaries.found_in_arguments() == []
    launch.send_signal(signal.SIGTERM)
    out, err = launch.communicate(timeout=120)
    assert launch.returncode == 143, err
    sweep.release()

    folders = [sweep.folder, *(path for path in sweep.folder.rglob("*") if path.is_dir())]
    for folder in folders:
        for name in TUNES_OWN:
            (folder / name).write_bytes(pickle.dumps(Runs(str(tmp_path / "ran"))))
    resumed = shell.run("resume", "secretive", "--json")
    assert resumed.json["trials"]["complete"] == TRIALS
    assert not (tmp_path / "ran").exists()
    assert hook.events() == ["paused", "finished"]
    assert set(hook.paths) == {f"/{canaries.environment['SWEEPER_CANARY']}"}
    assert hook.bodies[1]["trials"]["complete"] == TRIALS
    assert resumed.err.count("was not notified: connection refused") == 1

    shell.run("report", "secretive")
    assert canaries.found_in(tmp_path, rays, out, err, resumed.out, resumed.err) == []
