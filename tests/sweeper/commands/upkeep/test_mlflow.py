"""A program in the foreground ends with us, and so does what it started."""

import signal
import subprocess
import sys

import psutil
import pytest

from sweeper.cli import output
from sweeper.commands.upkeep import mlflow
from sweeper.planning import child
from tests.support.command import Result
from tests.support.servers.process import wait_until

RUNS = (
    "import sys; from sweeper.commands.upkeep import mlflow;"
    " mlflow.run_in_foreground(sys.argv[1:], {})"
)
SERVES = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'input()'])"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(number):
    command = [sys.executable, "-c", RUNS, sys.executable, "-S", "-c", SERVES]
    with subprocess.Popen(
        command, env=child.environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        leader = psutil.Process(process.pid)
        wait_until(
            lambda: len(leader.children(recursive=True)) == 2, timeout_s=60, what="both processes"
        )
        started = leader.children(recursive=True)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert told.splitlines()[-1] == f"sweeper.errors.Interrupted: {number.name}: ended."
    assert [each for each in started if each.is_running()] == []


def test_a_program_gets_the_addresses_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(mlflow, "experiments", lambda server: {"mine": "7"})
    monkeypatch.setattr(mlflow, "share_view", lambda server, experiment: None)
    output.announce(mlflow.pages_of("http://h:5000"), command="ui", as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    (place,) = Result(line, "").json["pages"].items()
    assert place == ("the runs of mine", mlflow.runs_page("http://h:5000", "7"))


def test_the_pages_tell_nothing_but_their_addresses(monkeypatch, here):
    """No access logs, and no warnings of the server: the addresses stay the last lines."""
    run, said = [], []
    monkeypatch.setattr(mlflow, "run_in_foreground", lambda *given: run.append(given))
    monkeypatch.setattr(mlflow, "announce", lambda server, say: say(server))
    mlflow.ui("127.0.0.1", 5001, insecure=False, say=said.append)
    ((command, environment),) = run
    assert command[-2:] == ["--uvicorn-opts", "--log-level error --no-access-log"]
    assert environment["MLFLOW_LOGGING_LEVEL"] == "ERROR"
    assert environment["PYTHONWARNINGS"] == "ignore"
    assert environment["MLFLOW_REGISTRY_STORE_URI"] == environment["MLFLOW_BACKEND_STORE_URI"]
    wait_until(lambda: said == ["http://127.0.0.1:5001"], timeout_s=30, what="the address")
