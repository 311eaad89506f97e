"""NVIDIA's MPS, played by a program that writes down its calls: when it is started and stopped, and
what its clients are told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeper.commands.upkeep.doctor import device_checks
from sweeper.driver import driver
from sweeper.driver.messages import DriverJob
from sweeper.errors import CannotSchedule
from sweeper.execution import mps
from sweeper.execution.cluster import Cluster
from sweeper.planning import gpus, resources
from tests.support.pricing import sweep_of

CONTROL = """#!/bin/sh
[ -n "$1" ] && said="$1" || read -r said
gpus=${CUDA_VISIBLE_DEVICES-every}
echo "$said $CUDA_MPS_PIPE_DIRECTORY $gpus ${WEBHOOK_PASSWORD-no}" >> %(log)s
case "$said" in
  -d) [ ! -e %(broken)s ] && touch "$CUDA_MPS_PIPE_DIRECTORY/control" ;;
  quit) rm "$CUDA_MPS_PIPE_DIRECTORY/control" ;;
  *) [ ! -e %(broken)s ] ;;
esac
"""


class Played:
    """The control program's calls, and a switch that breaks it."""

    def __init__(self, folder: Path) -> None:
        self.log, self.broken = folder / "calls", folder / "broken"

    @property
    def calls(self) -> list[list[str]]:
        """Return the words of each call: what was said, the pipes, the GPUs, a password."""
        return (
            [line.split() for line in self.log.read_text().splitlines()]
            if self.log.exists()
            else []
        )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A machine with MPS, which does not run, and a GPU."""
    played, file = Played(tmp_path), tmp_path / "nvidia-cuda-mps-control"
    file.write_text(CONTROL % {"log": played.log, "broken": played.broken})
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(mps.PIPES, str(tmp_path / "pipes"))
    monkeypatch.setenv(mps.LOGS, "")  # restored at the end
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("WEBHOOK_PASSWORD", "secret")
    monkeypatch.setattr(gpus, "listed_gpus", lambda: [gpus.Gpu(name="H100", uuid="GPU-1")])
    return played


SHARED = {"cpu": 1, "gpu": 0.5, "mps": True}


def test_a_launch_starts_it_for_its_cluster_alone_and_stops_it(here, tmp_path, monkeypatch):
    seen = {}

    @contextmanager
    def connect(*args: object, **kwargs: object) -> Iterator[Cluster]:
        seen["pipes"] = os.environ[mps.PIPES]
        assert mps.is_running()
        yield Cluster(address="", dashboard=None, token_file=None, nodes=[])

    monkeypatch.setattr(driver, "connect", connect)
    job = DriverJob(folder=str(tmp_path), storage=None, address="local", owner="", requests_after=0)
    sweep = sweep_of(resources=SHARED)
    with (
        pytest.raises(RuntimeError, match="a driver dies"),
        driver.connected(sweep, tmp_path, job, lambda is_starting: None),
    ):
        raise RuntimeError("a driver dies")
    pipes = seen["pipes"]
    assert pipes != str(tmp_path / "pipes")
    # Neither which GPUs the driver sees nor what only the driver may know.
    said = ["-d", "get_server_list", "quit"]
    assert here.calls == [[word, pipes, "every", "no"] for word in said]
    assert len(f"{pipes}/control_privileged") < 100  # a socket's path
    assert not Path(pipes).exists()
    assert (tmp_path / "mps").is_dir()


@pytest.mark.slow
def test_one_that_runs_is_used_and_left_alone(here, tmp_path):
    mps.pipes().mkdir()
    (mps.pipes() / "control").touch()
    with mps.running(tmp_path / "logs") as variables:
        assert variables == {}
    assert [said for said, *_ in here.calls] == ["get_server_list"]
    found = {what: (state, text) for what, state, text in device_checks()}
    assert found["mps"] == ("ok", f"in {mps.pipes()}: trials that share a GPU use it at once")
    here.broken.touch()  # its daemon has died, and left its pipes
    assert not mps.is_running()


def test_one_that_does_not_start_is_a_refusal(here, tmp_path):
    here.broken.touch()
    with (
        pytest.raises(CannotSchedule, match="does not start: exit code 1"),
        mps.running(tmp_path / "logs"),
    ):
        pytest.fail("it does not run")


def test_without_it_trials_take_turns_and_doctor_says_so(here, monkeypatch):
    def note() -> str:
        ((state, text),) = [(state, text) for what, state, text in device_checks() if what == "mps"]
        assert state == "note"
        assert "take turns" in text
        return text

    assert "`resources: {mps: true}` starts it" in note()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nvidia-cuda-mps-control, which would start it, is not here" in note()


def test_a_sweep_is_refused_where_it_cannot_be_started(here, monkeypatch):
    sweep = sweep_of(resources=SHARED)
    resources.check_request(sweep, "local")
    with pytest.raises(CannotSchedule, match=r"on each node before Ray .* `mps: false`"):
        resources.check_request(sweep, "10.0.0.1:6379")
    for alone in {"cpu": 1, "gpu": 1, "mps": True}, {"cpu": 1, "gpu": 0, "mps": True}:
        resources.check_request(sweep_of(resources=alone), "10.0.0.1:6379")  # it has no effect
    with monkeypatch.context() as patched:
        part = gpus.Gpu(name="H100 MIG 3g.40gb", uuid="MIG-2e", is_slice=True)
        patched.setattr(gpus, "listed_gpus", lambda: [part])
        with pytest.raises(CannotSchedule, match="slices of GPUs"):
            resources.check_request(sweep, "local")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotSchedule, match="nvidia-cuda-mps-control is not here"):
        resources.check_request(sweep, "local")


def test_it_is_part_of_the_resolved_form():
    without, with_it = sweep_of(resources={"gpu": 0.5}), sweep_of(resources=SHARED)
    assert without.resolved["resources"]["mps"] is False
    assert with_it.resolved["resources"]["mps"] is True
