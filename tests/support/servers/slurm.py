"""A real SLURM cluster on this machine: munged, slurmctld and two slurmds, all of a test's own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeper.slurm.request import seconds_of
from tests.support.servers.ports import free_ports
from tests.support.servers.process import Process, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
PAUSE_S = 10  # between two runs of a job
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
GresTypes=gpu
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=2000
NodeName=g1 NodeHostname=elsewhere NodeAddr=127.0.0.1 Port={ports[3]} CPUs=64 Gres=gpu:a100:4 \
RealMemory=500000 State=DOWN
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=60
PartitionName=gpu Nodes=g1 MaxTime=1-00:00:00
"""


class Slurm:
    """A cluster of two nodes of one core, and a partition of one node with GPUs that is down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._processes: list[Process] = []
        self._hurried: set[tuple[str, int]] = set()  # jobs, and their numbers of restarts

    def start(self) -> None:
        """Start all daemons, and wait until both nodes take jobs."""
        for name in ("munge", "state", "n1", "n2"):
            (self.folder / name).mkdir(mode=0o700)
        key = self.folder / "munge" / "key"
        key.touch(0o400)
        key.write_bytes(secrets.token_bytes(1024))
        text = CONFIGURATION.format(
            folder=self.folder, host=socket.gethostname(), ports=free_ports(4)
        )
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        (self.folder / "gres.conf").write_text("NodeName=g1 Name=gpu Type=a100 Count=4\n")
        munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log",
                 "seed-file": "seed"}  # fmt: skip
        options = [f"--{name}={self.folder / 'munge' / file}" for name, file in munge.items()]
        self._start("munged", "--foreground", "--force", *options)
        wait_until((self.folder / "munge" / "socket").exists, timeout_s=30, what="munged")
        self._start("slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            self._start("slurmd", "-D", "-N", node)
        wait_until(
            lambda: self.ask("sinfo", "-h", "-p", "debug", "-t", "idle", "-o", "%D") == "2",
            timeout_s=60,
            what="two idle nodes",
        )

    def _start(self, program: str, *arguments: str) -> None:
        log = self.folder / f"{program}.log"
        command = [shutil.which(program, path=PLACES) or program, *arguments]
        self._processes.append(Process(command, log=log, environment=self.environment))

    def ask(self, *command: str) -> str:
        """Return what a command of SLURM prints; "" if it fails."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=120
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def jobs(self) -> dict[str, str]:
        """Return the states of the jobs that have not ended, by their numbers."""
        lines = self.ask("squeue", "-o", "%i %T").splitlines()
        assert lines[:1] == ["JOBID STATE"], "squeue does not answer"
        return dict(line.split() for line in lines[1:])

    def restarts(self, job: str) -> int:
        """Return how many times a job was queued again."""
        return int(self._fact(job, "Restarts"))

    def exit_code(self, job: str) -> str:
        """Return the exit code of a job's script, a colon, and the signal that ended it."""
        return self._fact(job, "ExitCode")

    def _fact(self, job: str, name: str) -> str:
        fields = self.ask("scontrol", "show", "job", job).split()
        return next(f.removeprefix(f"{name}=") for f in fields if f.startswith(f"{name}="))

    def seconds_left(self, job: str) -> int:
        """Return the seconds until the time limit of a running job."""
        return seconds_of(self.ask("squeue", "-h", "-j", job, "-o", "%L")) or 0

    def hurry(self, minutes: int) -> None:
        """Let jobs that were queued again begin after seconds, not two minutes, with this limit.

        Not at once: a node refuses a job that begins in the second in which it was ended.
        """
        for job, state in self.jobs().items():
            queued = (job, self.restarts(job))
            if state == "PENDING" and queued not in self._hurried:
                self._hurried.add(queued)
                self.ask("scontrol", "update", f"JobId={job}", f"StartTime=now+{PAUSE_S}",
                         f"TimeLimit={minutes}")  # fmt: skip

    def close(self) -> None:
        """Cancel all jobs, wait for their processes, and end the daemons."""
        for job in self.jobs():
            self.ask("scancel", job)
        wait_until(lambda: not self.jobs(), timeout_s=90, what="the jobs to end")
        for process in reversed(self._processes):
            process.stop()


@contextmanager
def slurm() -> Iterator[Slurm]:
    """Yield a running cluster; skip where SLURM is not installed, or this is not root."""
    if missing := [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("slurmctld and slurmd run as root here")
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as folder:
        cluster = Slurm(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()
