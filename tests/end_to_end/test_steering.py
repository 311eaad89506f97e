"""A running sweep is stopped, cancelled, signalled, launched twice, frozen, filled up; it lives."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.support import killing
from tests.support.command import Shell
from tests.support.servers.postgres import postgres
from tests.support.servers.process import wait_until
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import EPOCHS, TRIALS, Sweep, finish, plain, wait_for_epochs

BUSY = 3  # times what a quiet machine is to hold: other tests run beside these
LONG = 100  # epochs: some seconds, in which other commands come
SLOW = ("--set", f"refine.epochs={LONG}")


def states(sweep: Sweep) -> list[str]:
    return [state for (state,) in sweep.rows("select state from trials order by number")]


def wait_for_line(launch: subprocess.Popen[str], words: str) -> str:
    """Return the first line of a launch that has these words."""
    assert launch.stderr is not None
    line = next((line for line in launch.stderr if words in line), None)
    assert line is not None, f"the launch ended without: {words}"
    return line


def test_another_terminal_cancels_follows_stops_extends_and_reruns_it(shell):
    sweep = HeldSweep(shell, "steered")
    sweep.hold()
    launch = sweep.start()
    wait_for_epochs(sweep, 1)
    held = shell.run("launch", str(sweep.file()), code=4)
    assert "sweep `steered` is running (host" in held.err
    assert shell.run("status", "steered", "--json").json["state"] == "running"
    began = time.monotonic()
    assert "go on with: sweeper resume steered" in shell.run("cancel", "steered").out
    assert time.monotonic() - began < 25 * BUSY
    out, err = launch.communicate(timeout=30 * BUSY)
    assert (launch.returncode, json.loads(out)["state"]) == (130, "interrupted")
    assert "cancelled by " in err
    assert "running" not in states(sweep)

    launch = shell.start("resume", "steered", "--json")
    wait_until(lambda: "running" in states(sweep), timeout_s=240, what="a trial")
    with shell.start("logs", "-f", "steered") as follower:
        assert "to stop once its running trials have finished" in shell.run("stop", "steered").out
        wait_for_line(launch, "asked to stop: running trials finish, none starts")
        sweep.release()
        finish(launch)
        lines, _ = follower.communicate(timeout=30 * BUSY)
    assert "the sweep is stopped" in lines.splitlines()[-1]
    assert states(sweep) == ["complete"]
    assert "`steered` is not running." in shell.run("stop", "steered").out

    extended = shell.run("extend", "steered", "--trials", "5", "--json").json
    assert (extended["state"], extended["trials"]["complete"]) == ("finished", 5)
    again = shell.run("rerun", "steered", "0", "--json").json["rerun"]
    assert (again["trial"], again["value"]) == (100_000, again["origin_value"])
    printed = shell.run("logs", "steered", "0").out
    assert "attempt-1 | " in printed
    assert f"run {EPOCHS}/{EPOCHS}" in printed


def test_single_trials_are_steered_and_a_killed_driver_forgets_no_request(shell):
    sweep = HeldSweep(shell, "handled")
    sweep.hold()
    launch = sweep.start()
    wait_for_epochs(sweep, 1)
    last = str(TRIALS - 1)
    assert "will not begin" in shell.run("trial", "skip", "handled", last).out
    ((number,),) = sweep.rows("select number from trials where state = 'running'")
    shell.run("trial", "stop", "handled", str(number))
    added = shell.run("trial", "add", "handled", "--set", "lr=2e-3", "--json").json
    assert [each["state"] for each in added["trials"]] == ["obeyed"]
    killing.driver_of(launch).kill()  # the supervisor starts another one
    sweep.release()
    finish(launch)
    rows = sweep.rows("select number, kind, state, failure from trials order by number")
    assert len(rows) == TRIALS + 1
    assert rows[-1] == (100_000, "suggested", "complete", None)
    assert rows[TRIALS - 1][2:] == ("pruned", "skipped")
    assert rows[number][2:] == ("pruned", "stopped")
    others = {row[2] for row in rows[:-1] if row[0] not in (number, TRIALS - 1)}
    assert others == {"complete"}
    ends = [ended for ended, _ in sweep.events("trial_ended")]
    assert sorted(ends) == sorted({row[0] for row in rows})
    assert "it has ended: complete" in shell.run("trial", "stop", "handled", "100000", code=2).err

    wider = "parameters.lr={distribution: log_uniform_values, min: 1.0e-5, max: 0.1}"
    fork = ("fork", "handled", "wider", "--set", wider)
    summary = shell.run(*fork, "--json").json
    assert (summary["sweep"], summary["state"]) == ("wider", "finished")
    rates = "select params from trials where kind = 'suggested' and sweep = 'handled'"
    (suggested,) = (plain(params)["run.lr"] for (params,) in sweep.rows(rates))
    first = Sweep(shell, "wider").rows("select params from trials where kind = 'sampled'")
    assert suggested in [plain(params)["run.lr"] for (params,) in first]


@pytest.mark.soak
def test_a_rerun_with_another_seed_is_another_trial(shell):
    sweep = Sweep(shell, "reseeded")
    finish(sweep.start())
    other = shell.run("rerun", "reseeded", "0", "--seed", "7", "--json").json["rerun"]
    assert (other["trial"], other["state"]) == (100_000, "complete")
    assert other["value"] != other["origin_value"]


def interrupt(launch: subprocess.Popen[str], number: int, *, times: int) -> tuple[float, str]:
    began = time.monotonic()
    for _ in range(times):
        launch.send_signal(number)
        time.sleep(0.3)
    _, err = launch.communicate(timeout=60 * BUSY)
    return time.monotonic() - began, err


def statuses(sweep: Sweep) -> set[str]:
    """Return the statuses of the sweep's runs in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{sweep.shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    query = f"tags.`sweeper.sweep` = '{sweep.name}'"
    found = {run.info.status for run in client.search_runs([experiment.experiment_id], query)}
    assert found
    return found


SIGNALS = [
    (signal.SIGINT, 1, 130, 15 * BUSY),
    (signal.SIGTERM, 1, 143, 25 * BUSY),
    (signal.SIGHUP, 1, 143, 25 * BUSY),
    (signal.SIGINT, 2, 130, 4 * BUSY),
]


@pytest.mark.parametrize(
    ("number", "times", "code", "within_s", "resumes"),
    [
        *(pytest.param(*each, True, marks=pytest.mark.soak) for each in SIGNALS),
        (*SIGNALS[3], False),  # test_launch has the first, test_dashboard the second
    ],
)
def test_a_signal_ends_it_in_time_leaves_no_process_and_loses_nothing(
    shell, number, times, code, within_s, resumes
):
    kind = Sweep if resumes else HeldSweep
    sweep = kind(shell, f"signal{number}x{times}" + ("-resumed" if resumes else ""))
    launch = sweep.start("--address", "local")
    wait_for_epochs(sweep, 2)
    owner = killing.owner_of(launch)
    seconds, err = interrupt(launch, number, times=times)
    assert launch.returncode == code, err
    assert seconds < within_s
    assert "Traceback" not in err
    assert "AssertionError" not in err
    assert not killing.left_of(owner)
    if times == 1:
        assert signal.Signals(number).name in err
        assert "RUNNING" not in statuses(sweep)
    measured = {(n, m["epoch"]) for n, m in sweep.events("measured")}
    assert len(measured) >= 2
    if resumes:
        assert shell.run("resume", sweep.name, "--json").json["trials"]["complete"] == TRIALS
        after = [(n, m["epoch"]) for n, m in sweep.events("measured")]
        assert len(after) == len(set(after)) == TRIALS * 4
        assert measured <= set(after)


@pytest.mark.soak
def test_a_signal_ends_it_in_time_while_its_database_is_away(shell):
    with postgres() as server:
        sweep = Sweep(shell, "cut_off", server.url)
        launch = sweep.start()
        wait_for_epochs(sweep, 1)
        server.stop()
        began = time.monotonic()
        launch.send_signal(signal.SIGINT)
        err = finish(launch, 130)
        took = time.monotonic() - began
        assert took < 15 * BUSY, took
        assert "go on with: sweeper resume cut_off".lower() in err.lower()
        server.start()
        resumed = shell.run("resume", "cut_off", "--json").json
        assert (resumed["state"], resumed["trials"]["complete"]) == ("finished", TRIALS)
        print(f"130 after {took:.1f} s")


@pytest.mark.soak
def test_a_frozen_trial_is_ended_and_tried_again(shell):
    sweep = Sweep(shell, "frozen")
    launch = sweep.start(
        "--address", "local", "--set", "refine.epochs=30", "--set", "failures.silence=15s"
    )
    wait_for_epochs(sweep, 1)
    (victim, *_) = killing.trials_of(launch)
    os.kill(victim.pid, signal.SIGSTOP)
    finish(launch)
    assert set(states(sweep)) == {"complete"}
    failures = [p for _, p in sweep.events("attempt_ended") if p["failure"]]
    assert {p["failure"] for p in failures} == {"timeout"}
    assert "silent for 15 s (failures.silence)" in failures[0]["reason"]


@pytest.mark.soak
def test_trials_that_all_need_too_much_memory_end_it_within_seconds(shell):
    sweep = Sweep(shell, "greedy")
    launch = sweep.start("--set", "resources.memory=50MB")
    _, err = launch.communicate(timeout=120)
    assert launch.returncode == 3, err
    assert "ended early: the first 3 trials all failed alike: " in err
    assert "HostOutOfMemory" in err
    assert {p["failure"] for _, p in sweep.events("attempt_ended") if p["failure"]} == {"host_oom"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.soak
def test_a_full_disk_pauses_it_and_room_lets_it_go_on(shell, small_disk):
    sweep = Sweep(Shell(small_disk, shell.environment), "full")
    launch = sweep.start("--set", f"refine.epochs={LONG}")
    wait_for_epochs(sweep, 3)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free - 2_000_000)))
    line = wait_for_line(launch, "No new trial starts until there is")
    assert f"no space left on {small_disk}" in line
    time.sleep(3)
    ballast.unlink()
    assert "there is room again; going on." in finish(launch)
    assert states(sweep) == ["complete"] * TRIALS


@pytest.mark.soak
def test_a_search_ends_with_its_budget_and_goes_on_when_it_is_raised(shell):
    sweep = HeldSweep(shell, "spent")
    file = str(sweep.file())

    def launch(budget: int):
        options = ("--trials", "5", "--set", f"budget.epochs={budget}", "--json")
        return shell.run("launch", file, *options)

    spent = launch(EPOCHS + 1)
    (study,) = spent.json["studies"]
    assert spent.json["state"] == "finished"
    assert study["ended_early"] == f"`budget.epochs: {EPOCHS + 1}` is spent"
    assert states(sweep) == ["complete"] * 2  # the second has finished, and no third has begun
    assert f"{study['study']}: its search ended early" in spent.err
    again = launch(EPOCHS + 1)
    assert "spent is finished (2 of 2 trials); nothing to do." in again.err
    assert "spent is finished (2 of 2 trials); nothing to do." in shell.run("resume", "spent").err
    (study,) = launch(100 * EPOCHS).json["studies"]
    assert (states(sweep), study["ended_early"]) == (["complete"] * 5, None)
