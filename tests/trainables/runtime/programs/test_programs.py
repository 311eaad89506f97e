"""Programs as attempts: reports, exact resume, pauses, ends of groups, and logs of bounded size."""

import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from traceback import format_exception
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from sweeper.core.policies import classify
from tests.support.command import ROOT
from tests.support.servers.process import wait_until
from trainables.errors import ConfigError, NodeUnfit
from trainables.methods.program import SENT, name_of, name_there, text_hash
from trainables.report import Failed, Measured, StepResult
from trainables.runtime.attempt import Attempt
from trainables.runtime.attempt_log import LOG
from trainables.runtime.memory import peak_bytes
from trainables.runtime.programs import Reported, function
from trainables.seeding import derive_seed
from trainables.spec import AttemptConfig, ProgramSpec
from trainables.storage.atomic import sha256_file
from trainables.storage.checkpoint_folder import MANIFEST
from trainables.trainable import ATTEMPT, Trainable

WALK = """
import json, os, random
def train(params, trial):
    kept = trial.restore()
    step, at = json.loads(kept.read_text()) if kept else (0, 0.0)
    while step < 6:
        step += 1
        at += params["lr"] * random.Random(f"{trial.seed}{step}").random()
        path = trial.folder / "at.txt"
        path.write_text(json.dumps([step, at]))
        trial.save(path)
        trial.report(step, {"loss": at, "steps_left": 6 - step, "test/loss": -at})
    (trial.folder / "done").touch()

def seldom(params, trial):
    kept = trial.restore()
    for step in range(int(kept.read_text()) + 1 if kept else 1, 7):
        if step == 2:
            (trial.folder / "at").write_text("2")
            trial.save(trial.folder / "at")
        trial.report(step, {"loss": step})

def links(params, trial):
    if kept := trial.restore():
        text = (kept / "last" if kept.is_dir() else kept).read_text()
        trial.report(int(text) + 1, {"loss": 1.0})
        return
    state = trial.folder / "states" / "2"
    state.parent.mkdir()
    state.write_text("2")
    (state.parent / "last").symlink_to(state)
    os.mkfifo(state.parent / "pipe")  # which no checkpoint holds
    os.chdir(state.parent)
    trial.save(params["saves"])
    trial.report(2, {"loss": 1.0})

def sudden(params, trial):
    trial.report(1, {"loss": 1.0})
    raise ZeroDivisionError("sudden")

def draws(params, trial):
    import sys
    was_there = int("torch" in sys.modules)
    import numpy, torch
    drawn = {"loss": torch.rand(1), "python": random.random(), "numpy": numpy.random.random()}
    trial.report(1, {**drawn, "threads": torch.get_num_threads(), "was_there": was_there})

def idle(params, trial):
    pass

def talks(params, trial):
    for line in range(2000):
        print("y" * 999, line)
    trial.report(1, {"loss": len(trial.data)})
    print("the last word", trial.data)

def even(params, trial):
    for step in range(2, 11, 2):
        (trial.folder / "at").write_text(str(step))
        trial.save(trial.folder / "at")
        trial.report(step, {"loss": step})

def full(params, trial):
    trial.save(trial.folder)

def endless(params, trial):
    try:
        trial.report(1, {"loss": 1.0})
    finally:
        import time
        while not (trial.folder / "let go").exists():
            time.sleep(0.02)

def forgets(params, trial):
    for step in (1, 2, 3):
        trial.report(step, {"accuracy": 0.5 + step})
        if params.get("asks") and trial.should_stop:
            (trial.folder / "asked").touch()
            return
"""
SCRIPT = """
import json, os, pathlib, subprocess, sys, time
kept = os.environ["SWEEPER_CHECKPOINT"]
first = int(pathlib.Path(kept).read_text()) if kept else 0
params = json.loads(os.environ["SWEEPER_PARAMS"])
print("{not JSON}", sys.argv[1:], flush=True)
if params.get("child"):
    talks = "while sleep 0.2; do echo and on; done"  # and would for ever
    child = subprocess.Popen(["sh", "-c", talks if params.get("talks") else "sleep 600"])
    pathlib.Path(os.environ["SWEEPER_FOLDER"], "child").write_text(str(child.pid))
if params.get("holds"):
    text = "import time; x = b'x' * 2**28; print(1, flush=True); time.sleep(600)"
    held = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    held.stdout.readline()
for line in range(params.get("lines", 0)):
    print("x" * 999, line)
if params.get("writes"):
    place = pathlib.Path(sys.argv[2], "results.jsonl")
    print(json.dumps({"step": 99, "loss": 0.0}), flush=True)  # of the log, and no report
    with place.open("a") as file:
        for step in (1, 2):
            size = place.stat().st_size
            print(json.dumps({"step": step, "loss": size / step}), file=file, flush=True)
        print('{"step": 3, ', end="", file=file, flush=True)
        time.sleep(0.2)
        print('"loss": 0.25}', file=file, flush=True)
        time.sleep(0.2)
    place.write_text(" " * place.stat().st_size + '{"step": 4, "loss": 0.125}')  # in its place
    sys.exit()
for step in range(first + 1, 4):
    path = pathlib.Path(os.environ["SWEEPER_FOLDER"], f"at-{step}")
    path.write_text(str(step))
    print(json.dumps({"step": step, "loss": params["lr"] / step, "checkpoint": str(path)}))
    if step == params.get("hangs_at"):
        time.sleep(600)
print("the last word", file=sys.stderr)
sys.exit(params.get("code", 0))
"""
COMMAND = (sys.executable, "script.py", "{lr}", "a b; {lr}", "{nothing}")


@pytest.fixture
def config(tmp_path):
    (tmp_path / "walk.py").write_text(WALK)
    (tmp_path / "script.py").write_text(SCRIPT)

    def make(
        program: dict[str, Any], number: int = 1, resume: tuple[str, ...] = (), **options: Any
    ) -> AttemptConfig:
        spec = ProgramSpec(
            **{"metric": "loss", "folder": str(tmp_path), **program},
            name=name_of(program.get("function"), program.get("command", ())),
        )
        spec = spec.model_copy(update={"code": text_hash(spec)})
        trial = {"program": spec.model_dump(mode="json"), "params": {"lr": 0.5}, "seed": 7}
        return AttemptConfig(
            spec={**trial, **options},
            is_program=True,
            label="a program",
            folder=str(tmp_path / "trial" / f"attempt-{number}"),
            resume=resume,
        )

    return make


@pytest.fixture(autouse=True)
def _modules_are_forgotten(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("walk", None)


def run(config: AttemptConfig, most: int = 99) -> list[StepResult]:
    attempt, results = Attempt(config), []
    while len(results) < most and not (results and results[-1].is_last):
        results.append(attempt.step())
    attempt.close()
    return results


def losses(results: list[StepResult]) -> list[float | None]:
    assert all(isinstance(each, Measured) for each in results), results
    return [each.measurement.objective for each in results if isinstance(each, Measured)]


FUNCTION = {"function": "walk:train"}
BY_COMMAND = {"command": COMMAND}


IN_A_PROCESS = """
import json, sys
from trainables.runtime.attempt import Attempt
from trainables.spec import AttemptConfig
attempt = Attempt(AttemptConfig(**json.load(sys.stdin)))
print(json.dumps(attempt.step().measurement.metrics))
attempt.close()
"""


def test_generators_are_seeded_also_that_of_torch_which_a_function_may_import_late(config):
    made = config({"function": "walk:draws"})
    (here, *_) = run(made)
    there = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        input=json.dumps(vars(made)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        check=True,
    )
    late = json.loads(there.stdout.splitlines()[-1])
    assert late.pop("run/was_there") == 0
    assert here.measurement.metrics == {**late, "run/was_there": 1}
    torch.manual_seed(derive_seed(7, "program"))
    assert late["val/loss"] == torch.rand(1).item()
    assert late["run/threads"] == made.threads == 1


@pytest.mark.parametrize("steps", [6, None])
def test_a_function_reports_each_step_and_its_end(config, tmp_path, steps):
    results = run(config({**FUNCTION, "steps": steps}))
    values = losses(results)
    # Without their number the last step is known only at the end, and repeated.
    assert len(values) == (6 if steps else 7)
    assert values == sorted(values)
    last = results[-1].measurement
    assert last.is_final
    assert last.epoch == 6
    assert last.metrics == {"val/loss": values[-1], "run/steps_left": 0, "test/loss": -values[-1]}
    assert (tmp_path / "trial" / "files" / "done").exists()  # what comes after the last report


@pytest.mark.parametrize(("program", "steps"), [(FUNCTION, 6), (BY_COMMAND, 3)])
@pytest.mark.parametrize("ends", [1, 2])
def test_a_program_goes_on_from_what_it_saved_as_if_never_interrupted(config, program, steps, ends):
    program = {**program, "steps": steps}
    whole = losses(run(config(program)))
    attempt = Attempt(config(program, number=2))
    first = [attempt.step() for _ in range(ends)]
    attempt.leave()  # as on a node that drains: what was saved is on the disk
    attempt.close()
    kept = Path(config(program, number=2).folder, f"run-{ends:04d}")
    rest = run(config(program, number=3, resume=(str(kept),)))
    assert losses(first) + losses(rest) == whole
    assert not list(kept.parent.glob(".*"))


def test_a_state_that_is_older_than_its_checkpoint_goes_on_from_its_own_step(config):
    program = {"function": "walk:seldom", "steps": 6}
    attempt = Attempt(replace(config(program, number=2), checkpoint_every=5))
    for _ in range(5):
        attempt.step()
    attempt.close()
    kept = Path(config(program, number=2).folder, "run-0005")
    assert losses(run(config(program, number=3, resume=(str(kept),)))) == [3.0, 4.0, 5.0, 6.0]


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(config):
    program = {**FUNCTION, "steps": 6}
    whole = losses(run(config(program)))
    attempt = Attempt(config(program, number=2))
    for _ in range(3):
        attempt.step()
    attempt.close()
    folder = Path(config(program, number=2).folder)
    damaged, kept = folder / "run-0003", folder / "run-0002"
    (damaged / "program.tar").write_bytes(b"x")
    results = run(config(program, number=3, resume=(str(damaged), str(kept))))
    assert losses(results) == whole[2:]
    assert "went on from run-0002" in results[0].notes[0]


def test_a_state_that_its_retention_has_deleted_is_no_state(config):
    program = {**FUNCTION, "steps": 6}
    run(made := config(program, number=2))
    kept = Path(made.folder, "run-0006")
    (kept / "program.tar").unlink()
    digest = sha256_file(kept / "state.json")
    (kept / MANIFEST).write_text(json.dumps({"state.json": digest}))
    results = run(config(program, number=3, resume=(str(kept),)))
    assert len(losses(results)) == 6
    assert "what the program saved is deleted" in results[0].notes[0]


@pytest.mark.parametrize(("every", "saved"), [(3, {4, 6, 10}), (5, {6, 10})])
def test_a_checkpoint_is_due_though_the_step_of_it_is_not_reported(config, every, saved):
    program = {"function": "walk:even", "steps": 10}
    results = run(replace(config(program), checkpoint_every=every))
    named = {each.measurement.checkpoint for each in results} - {None}
    assert {int(name[-4:]) for name in named} == saved


def test_a_full_disk_is_no_fault_of_the_program(config, monkeypatch):
    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile, "open", no_space)
    (failed,) = run(config({"function": "walk:full"}))
    assert classify(failed.traceback) == "storage"


def test_a_function_that_does_not_end_takes_no_attempt_of_the_next_trial(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(function, "PATIENCE_S", 0.1)
    plain = Trainable.__new__(Trainable)  # without Ray's logging
    plain.node, made = SimpleNamespace(check=lambda: None), config({"function": "walk:endless"})
    Trainable.setup(plain, {ATTEMPT: made})
    Trainable.step(plain)
    with pytest.raises(NodeUnfit, match="the function runs 0 s after its trial") as raised:
        Trainable.setup(plain, {ATTEMPT: made})
    (tmp_path / "trial" / "files" / "let go").touch()
    assert classify("".join(format_exception(raised.value))) == "lost_node"


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_the_memory_of_a_command_is_that_of_all_its_processes(config):
    attempt = Attempt(config(BY_COMMAND, params={"lr": 0.5, "holds": True, "hangs_at": 3}))
    peak = attempt.step().measurement.peak_memory_bytes
    attempt.close()
    assert peak - peak_bytes(on_gpu=False) > 2**28


@pytest.mark.parametrize("asks", [False, True])
def test_a_stopped_function_ends_before_its_next_step(config, tmp_path, asks):
    program = {"function": "walk:forgets", "metric": "accuracy", "goal": "maximize"}
    results = run(config(program, params={"asks": asks}), most=2)
    assert losses(results) == [-1.5, -2.5]
    assert results[0].measurement.metrics == {"val/neg_accuracy": -1.5, "run/accuracy": 1.5}
    assert (tmp_path / "trial" / "files" / "asked").exists() == asks


def test_a_program_that_saves_nothing_cannot_pause(config):
    program = {"function": "walk:forgets", "metric": "accuracy"}
    first, failed = run(config(program, pauses_at=2))
    assert isinstance(first, Measured)
    assert isinstance(failed, Failed)
    assert "it has saved no state to go on from" in failed.reason
    assert classify(failed.traceback) == "config"
    assert not failed.infeasible
    assert len(losses(run(config({**FUNCTION, "steps": 6}, pauses_at=2)))) == 6


@pytest.mark.parametrize(
    ("program", "reason", "kind"),
    [
        ({"function": "walk:sudden"}, "ZeroDivisionError: sudden", "crash"),
        ({"function": "walk:forgets"}, "step 1 reports no `loss`, but accuracy", "config"),
        ({**FUNCTION, "steps": 2}, "step 3 after 2: steps rise from 1 on, and 2 at most", "config"),
        *(
            ({"command": (sys.executable, "-c", f"print('{line}')")}, reason, kind)
            for line, reason, kind in (
                ('{"step": "1", "loss": 0.5}', "step '1' is no whole number", "config"),
                ('{"step": 0, "loss": 0.5}', "step 0: steps rise from 1 on", "config"),
                ('{"step": 1, "loss": 1, "val/loss": 2}', "two values that results call", "config"),
                ('{"step": 1, "loss": 1, "checkpoint": "no"}', "no is not there: write", "crash"),
                ('{"step": "start", "size": 9}', "ended without a report", "crash"),
            )
        ),
        (
            {"command": (sys.executable, "-c", "print(1)")},
            'ended without a report: it has to print lines such as {"step": 1, "loss": 0.5}',
            "crash",
        ),
        (
            {"command": (sys.executable, "-c", "print(1)"), "results": "results.jsonl"},
            'append lines to results.jsonl such as {"step": 1, "loss": 0.5}',
            "crash",
        ),
        ({"function": "walk:idle"}, 'it has to call trial.report(1, {"loss": 0.5})', "crash"),
        ({"command": ("no-such-command",)}, "`no-such-command` cannot be started", "config"),
    ],
)
def test_what_a_program_does_wrong_is_its_reason(config, program, reason, kind):
    failed = run(config(program))[-1]
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert classify(failed.traceback) == kind


@pytest.mark.parametrize(
    ("step", "metrics", "reason"),
    [
        (1.9, {"loss": 1}, "step 1.9 is no whole number"),
        ("1", {"loss": 1}, "step '1' is no whole number"),
        (float("inf"), {"loss": 1}, "step inf is no whole number"),
        (1, {"loss": "0.5"}, "step 1: `loss` is no number"),
        (1, {"loss": None}, "step 1: `loss` is no number"),
        (1, {"loss": 10**400}, "step 1: `loss` is no number"),
        (1, {"loss": 1, 3: 4}, "step 1: `3` is no number"),
    ],
)
def test_a_report_is_of_numbers_alone(step, metrics, reason):
    with pytest.raises(ConfigError, match=reason):
        Reported.of(step, metrics)
    assert Reported.of(np.float32(2), {"loss": np.int8(1)}) == Reported(2, {"loss": 1.0})


@pytest.mark.parametrize("saves", ["last", ".", "../states"])
def test_what_a_saved_link_leads_to_comes_back(config, monkeypatch, saves):
    monkeypatch.chdir(Path.cwd())  # the program changes it
    program = {"function": "walk:links"}
    run(config(program, params={"saves": saves}), most=1)
    kept = Path(config(program).folder, "run-0002")
    for file in (kept.parents[1] / "files" / "states").iterdir():
        file.unlink()  # as on another node
    first, _ = run(config(program, number=2, resume=(str(kept),)))
    assert isinstance(first, Measured)
    assert first.measurement.epoch == 3


def test_each_program_imports_from_its_own_folder(config, tmp_path):
    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder / "nets").mkdir(parents=True)
        (tmp_path / folder / "nets" / "size.py").write_text(f"SIZE = {value}")
        (tmp_path / folder / "walk.py").write_text(
            "from nets.size import SIZE\ndef train(params, trial): trial.report(1, {'loss': SIZE})"
        )
    for folder, value in (("a", 1.0), ("b", 2.0), ("a", 1.0)):
        program = {"function": "walk:train", "folder": str(tmp_path / folder)}
        assert losses(run(config(program, number=len(sys.modules)))) == [value, value]
    (tmp_path / "json.py").write_text("def train(params, trial): pass")
    (failed,) = run(config({"function": "json:train"}))
    assert isinstance(failed, Failed)
    assert "`json` is already imported from" in failed.reason
    assert classify(failed.traceback) == "config"


def test_another_text_than_the_sweep_began_with_is_refused(config, tmp_path):
    made = config(FUNCTION)
    (tmp_path / "walk.py").write_text(WALK + "\n")
    failed = Attempt(made).step()
    assert isinstance(failed, Failed)
    assert "has changed since the sweep began" in failed.reason
    assert classify(failed.traceback) == "data"
    assert not failed.infeasible


@pytest.mark.parametrize("program", [FUNCTION, {"command": COMMAND}])
def test_a_folder_that_a_job_has_brought_counts_with_the_same_text(config, tmp_path, program):
    made = config(program)
    brought = tmp_path / "node" / SENT / name_there(str(tmp_path))
    brought.mkdir(parents=True)
    for name in ("walk.py", "script.py"):
        (tmp_path / name).rename(brought / name)
    missing = Attempt(made).step()
    assert isinstance(missing, Failed)
    assert "is not on this node" in missing.reason
    sys.path.append(str(tmp_path / "node"))
    assert not any(isinstance(result, Failed) for result in run(made))
    for name in ("walk.py", "script.py"):
        (brought / name).write_text("changed")
    changed = Attempt(made).step()
    assert isinstance(changed, Failed)
    assert "has changed since the sweep began" in changed.reason


def test_a_command_gets_whole_words_and_its_output_is_the_log(config):
    made = config(BY_COMMAND, params={"lr": 0.5, "lines": 2000, "code": 3})
    results = run(made)
    assert [each.measurement.objective for each in results[:-1]] == [0.5, 0.25, 0.5 / 3]
    failed = results[-1]
    assert isinstance(failed, Failed)
    assert failed.reason == "`script` ended with exit code 3: the last word"
    log = Path(made.folder, LOG).read_text()
    assert "{not JSON} ['0.5', 'a b; 0.5', '{nothing}']" in log
    assert "characters; the last lines of them:" in log
    assert "the last word" in log
    assert len(log) < 1.4 * 2**20


def test_reports_are_read_from_the_file_that_a_command_appends_to(config, tmp_path):
    command = (sys.executable, "script.py", "{data}", "{folder}")
    (tmp_path / "trial" / "files").mkdir(parents=True)
    (tmp_path / "trial" / "files" / "results.jsonl").write_text('{"step": 7, "loss": 1.0}\n')
    made = config(
        {"command": command, "results": "results.jsonl"}, params={"writes": True}, data="small"
    )
    first, second, *rest = losses(run(made))
    assert (first, *rest) == (0.0, 0.25, 0.125, 0.125)  # the file of an earlier attempt is gone
    assert second > 0
    log = Path(made.folder, LOG).read_text()
    assert "{not JSON} ['small'" in log
    assert '"step": 99' in log


def test_the_log_of_a_function_is_bounded_as_that_of_a_command(config):
    made = config({"function": "walk:talks"}, data="small")
    assert losses(run(made)) == [5.0, 5.0]
    log = Path(made.folder, LOG).read_text()
    assert "characters; the last lines of them:" in log
    assert "the last word small" in log
    assert len(log) < 1.4 * 2**20


@pytest.mark.parametrize(("hangs_at", "talks"), [(2, False), (None, False), (None, True)])
def test_a_group_ends_with_its_trial(config, tmp_path, hangs_at, talks):
    params = {"lr": 0.5, "child": True, "hangs_at": hangs_at, "talks": talks}
    run(config(BY_COMMAND, params=params), most=2 if hangs_at else 99)
    child = int((tmp_path / "trial" / "files" / "child").read_text())
    wait_until(lambda: not is_alive(child), timeout_s=10, what="the end of the group")


def test_a_group_ends_with_its_killed_worker_and_stands_still_before(config, tmp_path):
    made = config(BY_COMMAND, params={"lr": 0.5, "child": True, "hangs_at": 1})
    body = (
        "import json, sys; from trainables.runtime.attempt import Attempt\n"
        "from trainables.spec import AttemptConfig\n"
        "attempt = Attempt(AttemptConfig(**json.load(sys.stdin)))\n"
        "attempt.step(); print('reported', flush=True); sys.stdin.close()\n"
        "import time; time.sleep(600)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", body],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    )
    with worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(vars(made)))
        worker.stdin.close()
        wait_until(lambda: "reported" in str(worker.stdout.readline()), timeout_s=60, what="a step")
        child = int((tmp_path / "trial" / "files" / "child").read_text())
        group = [p for p in psutil.Process(worker.pid).children() if "script.py" in p.cmdline()]
        stopped = (psutil.STATUS_STOPPED,)
        wait_until(lambda: group[0].status() in stopped, timeout_s=10, what="a group that stands")
        os.kill(worker.pid, signal.SIGKILL)
    ended = [child, group[0].pid]
    wait_until(lambda: not any(map(is_alive, ended)), timeout_s=10, what="the end of the group")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
