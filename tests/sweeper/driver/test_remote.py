"""What is said to a cluster about a sweep that is there, and what is made of its answer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli.main import run
from sweeper.console import stderr
from sweeper.driver import remote
from sweeper.errors import BackendUnreachable, SweepIsHeld
from sweeper.planning import load
from sweeper.planning.sweep_folder import Remote, note_of
from sweeper.spec.reader import parse
from tests.bad_inputs.rows import VALID
from trainables.methods.program import name_there

ADDRESS = "http://head:8265"
ERROR = {"command": "resume", "exit_code": 4, "error": {"message": "held {by another}"}}


class Jobs:
    """Stands for the jobs of a cluster, which all print the same and end alike."""

    def __init__(self) -> None:
        self.text, self.code = "", 0
        self.insecure: list[bool] = []  # of each connection
        self.labels: list[str] = []  # of each job
        self.sent: list[dict[str, str]] = []  # files of each job
        self.commands: list[str] = []
        self.modules: list[list[str]] = []  # files of the modules of each job
        self.alive: dict[str, str] = {}  # label of each running job -> its command
        self.forgotten: list[str] = []

    def connect(self, address: str, *, insecure: bool) -> "Jobs":
        assert address == ADDRESS
        self.insecure.append(insecure)
        return self

    def running(self, text: str) -> set[str]:
        return {label for label, command in self.alive.items() if text in command}

    def forget(self, job: str) -> None:
        self.forgotten.append(job)

    def submit(
        self, command: str, *, label: str, folder: Path | None = None,
        modules: Sequence[Path] = (), **_: Any,
    ) -> str:  # fmt: skip
        self.labels.append(label)
        self.commands.append(command)
        files = (file for module in modules for file in sorted(module.rglob("*.*")))
        self.modules.append([str(Path(*file.parts[-2:])) for file in files])
        self.sent.append(
            {file.name: file.read_text() for file in folder.iterdir()} if folder else {}
        )
        return "job"

    def wait(self, job: str) -> int:
        return self.code

    def printed(self, job: str) -> str:
        return self.text


@pytest.fixture
def jobs(here: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs()
    monkeypatch.setattr(remote, "jobs_at", jobs.connect)
    return jobs


def send(
    *, insecure: bool = False, address: str = ADDRESS, workdir: Path | None = None,
    text: str = VALID,
) -> Remote:  # fmt: skip
    """Send the sweep `study` to the cluster, and return the note that is here now."""
    Path("x.yaml").write_text(text)
    options = load.Options(profile="paper", address=address, insecure=insecure)
    remote.launch(Path("x.yaml"), options, workdir=workdir, detach=True, console=stderr())
    found = note_of(Path("sweeps/study"))
    assert found is not None
    return found


def test_an_address_of_the_user_hides_no_sweep_on_a_cluster(jobs, monkeypatch):
    """In a job it is `auto`, and there the sweep is at home."""
    send()
    for address, is_known in (("127.0.0.1:9", True), ("local", True), ("auto", False)):
        monkeypatch.setenv("SWEEPER_ADDRESS", address)
        assert (note_of(Path("sweeps/study")) is not None) == is_known


@pytest.mark.parametrize("insecure", [False, True])
def test_a_sweep_that_was_sent_without_a_token_is_steered_without_one(jobs, insecure):
    assert send(insecure=insecure).insecure is insecure
    assert run(["status", "study"]) == 0
    assert run(["ls"]) == 0
    assert jobs.insecure == [insecure] * 3
    assert run(["resume", "study", "--insecure"]) == 0
    assert jobs.insecure[-1]


def test_jobs_carry_the_name_of_their_sweep(jobs):
    send()
    assert run(["status", "sweeps/study"]) == 0
    assert run(["ls"]) == 0
    assert jobs.labels == ["sweeper-study", "sweeper-status-study", "sweeper-ls"]


@pytest.mark.parametrize("label", ["sweeper-study", "sweeper-resume-study"])
def test_a_sweep_that_runs_is_not_launched_in_another_folder(jobs, label):
    first, second = Path("/shared/first one"), Path("/shared/second")
    send(workdir=first)
    jobs.alive = {label: remote.shell_command(str(first), ["launch"])}
    with pytest.raises(SweepIsHeld, match=r"`study` runs at .*--workdir /shared/first one\)"):
        send(workdir=second)
    assert send(workdir=first).workdir == str(first)  # the ledger there decides
    jobs.alive = {
        "sweeper-status-study": remote.shell_command(str(first), ["status"]),
        "sweeper-study": remote.shell_command("/another user's", ["launch"]),
    }
    assert send(workdir=second).workdir == str(second)


def test_a_sweep_of_a_cluster_that_has_ended_is_launched_on_another_one(jobs, monkeypatch):
    send()

    def connect(address: str, *, insecure: bool) -> Jobs:
        if address == ADDRESS:
            raise BackendUnreachable("no answer")
        return jobs

    monkeypatch.setattr(remote, "jobs_at", connect)
    assert send(address="http://other:8265").address == "http://other:8265"


def test_commands_that_only_look_leave_no_job_behind(jobs):
    send()
    for command in ("status", "stop", "ls"):
        assert run([command, *["study"] * (command != "ls")]) == 0
    assert jobs.forgotten == ["job"] * 2  # the answer to `ls` is none
    assert run(["resume", "study"]) == 0
    assert jobs.forgotten == ["job"] * 2


def test_a_file_that_extends_a_base_is_sent_whole(jobs):
    send()
    assert jobs.sent == [{"sweep.yaml": VALID}]
    Path("base.yaml").write_text(VALID)
    send(text="extends: base.yaml\nname: other\n")
    sent = parse(jobs.sent[-1]["sweep.yaml"], "sent").plain()
    assert sent == parse(VALID, "own").plain() | {"name": "other"}


PROGRAMS = """
name: study
program: {metric: loss, steps: 1}
programs:
  ours: {function: "mine:train"}
  theirs: {command: [python, train.py], folder: theirs}
  shared: {command: [python, -m, x], folder: /shared}
  installed: {function: "json:dumps"}
parameters: {lr: {min: 0.0, max: 1.0}}
"""


def test_a_job_takes_along_the_folders_of_programs_that_nodes_lack(jobs, here):
    Path("theirs").mkdir()
    Path("mine.py").write_text("def train(params, trial): ...")
    Path("theirs/train.py").touch()
    ours, theirs = str(here), str(here / "theirs")
    assert send(text=PROGRAMS).programs == [ours, theirs]
    assert f'programs.ours.folder="{ours}"' in jobs.commands[0]
    assert f'programs.theirs.folder="{theirs}"' in jobs.commands[0]
    for name in ("shared", "installed"):
        assert f"programs.{name}.folder" not in jobs.commands[0]
    mine = [f"{name_there(ours)}/{name}" for name in ("mine.py", "x.yaml")]
    files = sorted([*mine, f"{name_there(theirs)}/train.py", "theirs/train.py"])
    assert sorted(jobs.modules[0]) == files
    for words in (["resume", "study"], ["fork", "study", "other"]):  # they run trials
        assert run(words) == 0
        assert sorted(jobs.modules[-1]) == files
    assert run(["status", "study"]) == 0
    assert jobs.modules[-1] == []
    one = "name: one\nprogram: {function: 'mine:train', metric: loss}\n"
    send(text=f"{PROGRAMS.splitlines()[-1]}\n{one.replace('one', 'study', 1)}")
    assert f'program.folder="{ours}"' in jobs.commands[-1]


@pytest.mark.parametrize("before", ["", "study: resuming\n{no object}\n"])
@pytest.mark.parametrize("after", ["", "sweeper: held {by another}\n"])
def test_a_forwarded_result_is_one_json_object_and_all_else_is_news(
    jobs, capsys, command, before, after
):
    send()
    capsys.readouterr()
    jobs.text, jobs.code = f"{before}{json.dumps(ERROR, indent=2)}\n{after}", 4
    told = command("resume", "study", "--json", code=4)
    assert json.loads(told.out) == ERROR
    assert told.err == before + after
    assert command("resume", "study", code=4).out == jobs.text


def test_a_job_without_a_result_is_a_json_error_too(jobs, capsys, command):
    send()
    capsys.readouterr()
    jobs.text, jobs.code = "python: not found\n", 127
    told = command("status", "study", "--json", code=1)
    message = "job job ended with exit code 127, and without a result."
    assert json.loads(told.out)["error"]["message"] == message
    assert told.err == f"python: not found\nsweeper: {message}\n"


def test_sweeps_on_a_cluster_are_listed_whatever_else_it_says(jobs):
    found = send()
    line = {"sweep": "study", "state": "finished"}
    jobs.text = f"a word before\n{json.dumps({'sweeps': [line]})}\nand after {{}}\n"
    assert remote.listed([found]) == [line | {"on": ADDRESS, "tags": {}}]
    jobs.text = "nothing"
    assert remote.listed([found])[0]["state"] == "not reached"
