"""Sweeps as jobs of a real SLURM, cut by its time limits: the same trials, and the same numbers.

Two nodes of this machine, each with one core. The sweep is small but real; its epochs are made
longer there, so that it takes more than two slices of time. A slice in which a busy machine has
measured nothing yet is prolonged, since it would never get anywhere.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.command import Shell
from tests.support.servers.cluster import ray_cluster
from tests.support.servers.process import wait_until
from tests.support.servers.slurm import Slurm, slurm
from tests.support.small_programs import ProgramSweep, write_programs
from tests.support.small_sweep import Sweep, check_same, finish, num_measured

pytestmark = [pytest.mark.external, pytest.mark.timeout(3600)]
EPOCHS, SLOW_S = 8, 11  # of a trial, and of an epoch
MINUTES = 3  # of a slice of time
RUNNING = 2  # trials, one on each node
SETTINGS = (
    "--plugin", "slow.py", "--set", "methods=[slow]", "--set", f"refine.epochs={EPOCHS}",
    "--set", f"search.max_concurrent={RUNNING}",
)  # fmt: skip
STEPS, NAP_S = 14, 10  # of a trial of a program, and of a step
PROGRAMS = (  # a trial of each, side by side from begin to end
    "--set", "program.data=[small]", "--set", "replicate=null", "--set", "search.trials=1",
    "--set", f"program.steps={STEPS}",
)  # fmt: skip
PLUGIN = '''"""Fine-tuning whose epochs last longer, where the environment says so."""

import os
import time
from typing import ClassVar

from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig


class SlowConfig(RefineConfig):
    implementation: ClassVar[str] = "slow:Slow"


def __getattr__(name):
    if name != "Slow":
        raise AttributeError(name)
    from trainables.stages.fine_tuning import FineTuning  # it loads torch

    class Slow(FineTuning):
        def run(self, state, domains):
            for report in super().run(state, domains):
                time.sleep(float(os.environ.get("SLOW_S", "0")))
                yield report

    return Slow


METHODS = {"slow": Method(
    name="slow", title="Slow", citation="", stages={"refine": SlowConfig}, control={},
)}
'''


@dataclass
class Site:
    """A cluster, and a folder that all its nodes see."""

    cluster: Slurm
    shell: Shell
    tmp: Path  # of the nodes

    def sweep(self, name: str) -> Sweep:
        return Sweep(self.shell, name, on_backbone=True)

    def submit(self, sweep: Sweep, *options: str, settings: Sequence[str] = SETTINGS) -> str:
        """Submit a sweep to both nodes for slices of three minutes, and return its first job."""
        words = (
            "slurm",
            str(sweep.file()),
            *settings,
            "--nodes",
            "2",
            "--cpus-per-node",
            "1",
            "--time",
            "3",
            "--grace",
            "60",
            "--tmp",
            str(self.tmp),
        )
        return str(self.shell.run(*words, *options, "--json").json["job"])  # fmt: skip

    def wait(self, sweep: Sweep) -> list[tuple[str, int]]:
        """Wait until no job is left; return the slices of time: jobs, and numbers of restarts."""
        slices: dict[tuple[str, int], int] = {}
        deadline = time.monotonic() + 3000
        while jobs := self.cluster.jobs():
            assert time.monotonic() < deadline, self.printed(sweep)
            self.cluster.hurry(MINUTES)
            for job in (job for job, state in jobs.items() if state == "RUNNING"):
                done = num_measured(sweep) if sweep.folder.joinpath("ledger.db").exists() else 0
                before = slices.setdefault((job, self.cluster.restarts(job)), done)
                if done < before + 2 and self.cluster.seconds_left(job) < 110:
                    self.cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=+1")
            time.sleep(1)
        return list(slices)

    def printed(self, sweep: Sweep) -> str:
        return "\n".join(file.read_text() for file in sorted(sweep.folder.glob("slurm-*.out")))

    def leave(self, sweep: Sweep) -> None:
        """Leave what a job leaves that dies with its node."""
        sweep.folder.mkdir(parents=True)
        (sweep.folder / "slurm-99999.token").touch()
        for folder in (self.tmp / "sw.dead01", self.tmp / "sw.dead02" / "0"):
            folder.mkdir(parents=True)
            (self.tmp / folder.relative_to(self.tmp).parts[0] / "lock").touch()

    def check_clean(self, sweep: Sweep) -> None:
        """Check that no job has left anything on the nodes, nor a token."""
        assert self.left() == []
        assert list(sweep.folder.glob("*.token")) == []

    def left(self) -> list[str]:
        """Return what is left of Ray on the nodes: processes and files."""
        found = [
            " ".join(words)
            for process in psutil.process_iter(["cmdline"])
            if str(self.tmp) in " ".join(words := process.info["cmdline"] or [])
        ]
        return [*found, *map(str, self.tmp.iterdir())]


@pytest.fixture(scope="module")
def site(tmp_path_factory, data_home) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "slow.py").write_text(PLUGIN)
    with slurm() as cluster:
        tmp = cluster.folder / "t"
        tmp.mkdir()
        environment = {
            **cluster.environment, "SWEEPER_HOME": str(data_home), "SLOW_S": str(SLOW_S),
        }  # fmt: skip
        yield Site(cluster, Shell(folder, environment), tmp)


@pytest.fixture(scope="module")
def undisturbed(site) -> Sweep:
    sweep = site.sweep("calm")
    site.shell.run("launch", str(sweep.file()), *SETTINGS, timeout=1800)
    return sweep


def test_a_sweep_outlives_its_time_limits_and_another_ray_is_unharmed(site, request):
    with ray_cluster(num_cpus=1) as other:
        sweep = site.sweep("cut")
        site.leave(sweep)
        job = site.submit(sweep)
        slices = site.wait(sweep)
        assert {number for number, _ in slices} == {job}, site.printed(sweep)
        assert len(slices) >= 3, site.printed(sweep)
        check_same(sweep, request.getfixturevalue("undisturbed"), epochs=EPOCHS)
        site.check_clean(sweep)
        assert other.num_alive() == 1


def test_a_chain_of_jobs_does_the_same(site, undisturbed):
    sweep = site.sweep("chained")
    site.submit(sweep, "--chain")
    slices = site.wait(sweep)
    assert len({job for job, _ in slices}) >= 3, site.printed(sweep)
    assert {restarts for _, restarts in slices} == {0}
    check_same(sweep, undisturbed, epochs=EPOCHS)
    site.check_clean(sweep)


def test_training_programs_go_on_from_their_checkpoints(site):
    write_programs(site.shell.folder)
    calm = ProgramSweep(site.shell, "calm_programs")
    finish(calm.start(*PROGRAMS, "--set", "fixed.nap=0"))
    sweep = ProgramSweep(site.shell, "cut_programs")
    site.submit(sweep, settings=(*PROGRAMS, "--set", f"fixed.nap={NAP_S}"))
    slices = site.wait(sweep)
    assert len(slices) >= 2, site.printed(sweep)
    values = "select study, number, state, value, best_epoch, test from trials"
    assert sorted(sweep.rows(values)) == sorted(calm.rows(values))
    assert sweep.curves() == calm.curves()
    attempts = [n for (n,) in sweep.rows("select attempt from trials order by study")]
    files = sorted(sweep.folder.glob("trials/*/*/files/steps"))  # each has all steps of a trial
    for attempt, file in zip(attempts, files, strict=True):
        assert attempt > 1, site.printed(sweep)
        # A cut costs one step at most: that whose report came too late.
        assert len(file.read_text().split()) < STEPS + attempt, file
    site.check_clean(sweep)


@pytest.mark.parametrize("options", [(), ("--chain",)], ids=["requeue", "chain"])
def test_a_cancelled_job_does_not_come_back(site, options):
    sweep = site.sweep(f"cancelled{len(options)}")
    job = site.submit(sweep, "--time", "60", *options)
    wait_until(
        lambda: site.printed(sweep).count(": running [") == RUNNING, timeout_s=600, what="trials"
    )
    site.cluster.ask("scancel", job)
    wait_until(lambda: not site.cluster.jobs(), timeout_s=120, what="all jobs to end")
    assert site.cluster.restarts(job) == 0
    site.check_clean(sweep)
    assert site.cluster.exit_code(job).endswith(":0"), "SLURM has killed it after its KillWait"
    assert sweep.rows("select state, count(*) from trials group by state") == [
        ("interrupted", RUNNING)
    ]
    assert site.shell.run("status", sweep.name, "--json").json["state"] == "interrupted"


def test_what_the_cluster_cannot_run_is_refused(site):
    file = str(site.sweep("refused").file())
    for words, code, told in (
        (("--partition", "debgu"), 2, "unknown partition `debgu`. Did you mean `debug`?"),
        (("--nodes", "3"), 7, "--nodes 3: partition `debug` has 2."),
        (("--gpus-per-node", "5", "-p", "gpu"), 7, "the largest node of partition `gpu` has 4."),
        (("--set", "resources.gpu=1"), 7, "the largest node of partition `debug` has 0"),
        (("--time", "2h"), 7, "partition `debug` has a limit of 0-01:00:00."),
    ):
        refused = site.shell.run("slurm", file, "--cpus-per-node", "1", *words, code=code)
        assert told in " ".join(refused.err.split())
    assert site.cluster.jobs() == {}
