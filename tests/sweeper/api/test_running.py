"""The wait for the process of a sweep: its lines, its answer, and interrupts; with short scripts
in the place of the process."""

import json
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.api import progress, running
from sweeper.api.requests import REQUESTS, LaunchAction, LaunchRequest, LaunchResult
from sweeper.api.running import run
from sweeper.errors import Fault, FileFaults, Interrupted, SweeperError, SweepIsHeld, UsageError
from sweeper.planning.load import Options

REQUEST = LaunchRequest(
    action=LaunchAction.LAUNCH, sweep="x", file="x.yaml", options=Options(sets=("a=1",))
)
SAY = "import json, sys; request = json.load(sys.stdin); "


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Run a script in the place of the sweep's process, with `request` as the request's JSON."""

    def run_script(code, request=REQUEST):
        monkeypatch.setattr(
            running.child, "command", lambda module, name: [sys.executable, "-c", SAY + code]
        )
        run(request, tmp_path / "sweeps" / "x")

    return run_script


def answered(answer):
    return f"print({json.dumps(answer.to_json())!r})"


@pytest.mark.parametrize("action", list(LaunchAction))
def test_a_request_arrives_as_it_was_sent(action):
    options = Options(sets=("a=1",), trials=3, include=(Path("tasks"),))
    request = LaunchRequest(action=action, sweep="x", options=options, trials=9, trial="m/t/1")
    assert REQUESTS.validate_json(REQUESTS.dump_json(request)) == request


def test_the_process_gets_the_request_and_the_folder_of_sweeps(script, tmp_path, capfd):
    script(
        "import os; print(os.environ['SWEEPER_SWEEPS'], request['options']['sets'], "
        f"file=sys.stderr); {answered(LaunchResult())}"
    )
    assert capfd.readouterr().err == f"{tmp_path}/sweeps ['a=1']\n"


def test_lines_are_shown_without_control_characters(script, capsys):
    script(rf"print('one\n\x1b[31mtwo', file=sys.stderr); {answered(LaunchResult())}")
    assert capsys.readouterr().err == "one\n\\x1b[31mtwo\n"


@pytest.mark.parametrize(
    "error",
    [
        SweepIsHeld("another launch"),
        FileFaults([Fault("x.yaml", 3, "no"), Fault("x.yaml", None, "neither")]),
        SweeperError("an internal one"),
    ],
)
def test_an_error_is_raised_as_it_was(script, error):
    with pytest.raises(type(error)) as caught:
        script(answered(LaunchResult(error=error)))
    assert str(caught.value) == str(error)
    assert getattr(caught.value, "faults", None) == getattr(error, "faults", None)


@pytest.mark.parametrize("code", ["sys.exit(3)", "import os; os.kill(os.getpid(), 9)"])
def test_a_process_that_dies_without_an_answer_is_an_error(script, code):
    with pytest.raises(SweeperError, match=r"died \((exit code 3|signal 9)\)"):
        script(code)


def test_a_sweep_without_a_complete_trial_is_no_error(script):
    script(answered(LaunchResult(exit_code=3)))


def test_the_function_of_an_interrupted_sweep_is_passed_again(script):
    passing = replace(REQUEST, options=Options(function="packed"))
    with pytest.raises(Interrupted, match=r"go on with: the same call of sweeper\.tune"):
        script(answered(LaunchResult(exit_code=130)), passing)


@pytest.mark.slow
def test_an_interrupt_reaches_the_process_which_ends_in_its_own_time(script, capsys):
    handler = signal.getsignal(signal.SIGINT)
    threading.Timer(0.7, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(Interrupted, match="go on with: sweeper resume x") as caught:
        script(
            "import signal, time; seen = []; "
            "signal.signal(signal.SIGINT, lambda *_: seen.append(1)); print('up', file=sys.stderr)"
            "\nwhile not seen: time.sleep(0.05)\n"
            "time.sleep(0.3); print('saved', file=sys.stderr); "
            f"{answered(LaunchResult(exit_code=130))}"
        )
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "up\nsaved\n"
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_a_second_interrupt_is_handed_on_too(script):
    for after in (0.7, 1.1):
        threading.Timer(after, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(Interrupted):
        script(
            "import signal, time; seen = []; "
            "signal.signal(signal.SIGINT, lambda *_: seen.append(1))"
            f"\nwhile len(seen) < 2: time.sleep(0.05)\n{answered(LaunchResult(exit_code=130))}"
        )


@pytest.mark.slow
def test_an_interrupt_before_the_process_is_ready_is_one(script):
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(Interrupted, match="before the sweep began"):
        script("import time; time.sleep(60)")


@pytest.mark.slow  # the process of the sweep itself
def test_a_sweep_that_a_cluster_runs_is_refused_with_the_command(here):
    folder = here / "sweeps" / "x"
    folder.mkdir(parents=True)
    note = {"name": "x", "address": "http://head:8265", "workdir": "/w", "job": "j"}
    (folder / "remote.json").write_text(json.dumps(note))
    with pytest.raises(UsageError, match="sweeper resume x"):
        run(LaunchRequest(action=LaunchAction.RESUME, sweep="x"), folder)


def test_outside_a_notebook_lines_are_shown(tmp_path):
    with progress.display(tmp_path) as shown:
        assert isinstance(shown, progress.Lines)


def test_a_notebook_shows_one_output_that_changes(tmp_path, monkeypatch):
    updates = []

    class Output:
        def update(self, view):
            updates.append(view._repr_html_())

    class IPython:
        @staticmethod
        def display(view, *, display_id):
            assert display_id
            return Output()

    monkeypatch.setattr(progress, "is_notebook", lambda: True)
    monkeypatch.setattr(progress, "import_module", lambda name: IPython)
    monkeypatch.setattr(progress, "REFRESH_S", 0.0)
    with progress.display(tmp_path / "sweeps" / "x") as shown:
        shown.add("<b>one\n")
        shown.tick()
        shown.tick()  # nothing new
        for number in range(20):
            shown.add(f"line {number}\n")
    first, last = updates
    assert "&lt;b&gt;one" in first
    assert "line 19" in last
    assert "line 11" not in last
