"""`sweeper ui`: only this machine reaches it, no other site uses it, no path leaves it."""

import http.client
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from sweeper.cli.main import run
from sweeper.tracking.mlflow_store import CLICK, MlflowStore
from tests.support.canary import Canaries
from tests.support.command import ROOT
from tests.support.servers.ports import free_port, is_listening
from tests.support.servers.process import Process, wait_until

EVERYBODY = ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", "", "0"]


@pytest.mark.parametrize("host", EVERYBODY)
def test_an_address_that_others_reach_is_refused_with_the_way_out(command, host):
    port = free_port()
    told = command("ui", "--host", host, "--port", str(port), code=2).err
    assert "others on the network could read and change all that MLflow holds" in told
    assert "Leave it out (127.0.0.1), or add --insecure." in told
    assert not is_listening(port)


@dataclass(frozen=True)
class Ui:
    """The running page, and the processes that serve it."""

    port: int
    pid: int
    canaries: Canaries
    log: Path

    def ask(
        self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        """Return status and body of an answer; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """Start the page on a store whose address has a secret in it."""
    folder, port = tmp_path_factory.mktemp("ui"), free_port()
    canaries = Canaries.hatch("MLFLOW_STORE")
    store = folder / f"{canaries.environment['MLFLOW_STORE']}.db"
    MlflowStore(f"sqlite:///{store}", "pdebench")  # makes the experiment
    process = Process(
        [sys.executable, "-m", "sweeper.cli.main", "ui", "--port", str(port)],
        log=folder / "log",
        environment={"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{store}"},
        cwd=folder,
    )
    process.wait_until(lambda: is_listening(port), timeout_s=120)
    try:
        yield Ui(port, process.pid, canaries, folder / "log")
    finally:
        process.kill()


@pytest.mark.slow
def test_it_listens_to_this_machine_alone_and_shows_no_secret(ui):
    assert ui.ask("/health") == (200, b"OK")
    leader = psutil.Process(ui.pid)
    heard = {
        connection.laddr.ip
        for process in (leader, *leader.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert heard == {"127.0.0.1"}
    assert ui.canaries.found_in_arguments() == []


@pytest.mark.slow
def test_it_says_where_the_runs_are_and_what_to_click(ui):
    wait_until(lambda: CLICK in ui.log.read_text(), timeout_s=60, what="the address")
    told = ui.log.read_text()
    page = f"http://127.0.0.1:{ui.port}/#/experiments/1/runs?workflowType=machine_learning"
    assert f"MLflow, the runs of pdebench: {page}" in told.splitlines()
    assert ui.canaries.found_in(told) == []


@pytest.mark.slow
def test_a_server_that_has_its_own_page_is_named_and_none_is_started(ui, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{ui.port}")
    port = free_port()
    assert run(["ui", "--port", str(port)]) == 0
    assert f"http://127.0.0.1:{ui.port}/#/experiments/1/runs?" in capsys.readouterr().out
    assert not is_listening(port)


@pytest.mark.slow
def test_a_page_of_another_site_gets_nothing(ui):
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert ui.ask(search)[0] == 200
    assert ui.ask(search, Host="evil.example.org")[0] == 403
    create = "/api/2.0/mlflow/experiments/create"
    assert ui.ask(create, method="POST", body=b"{}", Origin="https://evil.example.org")[0] == 403


ESCAPES = [
    "/get-artifact?path=../../../../etc/passwd&run_uuid=" + "0" * 32,
    "/model-versions/get-artifact?path=../../../../etc/passwd&name=a&version=1",
    "/api/2.0/mlflow-artifacts/artifacts/../../../../../../etc/passwd",
    "/api/2.0/mlflow-artifacts/artifacts/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/api/2.0/mlflow-artifacts/artifacts/..%5c..%5c..%5cetc/passwd",
    "/static-files/../../../../../../../../etc/passwd",
    "/ajax-api/2.0/mlflow/get-trace-artifact?request_id=../../etc/passwd",
]


@pytest.mark.slow
@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_of_the_artifacts(ui, path):
    status, body = ui.ask(path)
    assert status in (400, 403, 404, 405, 500), body[:200]
    assert b"root:" not in body


@pytest.mark.slow
def test_nobody_starts_jobs_through_it(ui):
    job = b'{"job_name": "invoke_scorer", "params": {}}'
    status, body = ui.ask("/ajax-api/3.0/jobs/", method="POST", body=job)
    assert status >= 400
    assert b"JOB_EXECUTION" in body


@pytest.mark.slow
def test_sigterm_ends_the_server_too(ui):
    """Comes last: the page is gone then."""
    leader = psutil.Process(ui.pid)
    served = leader.children(recursive=True)
    assert served
    leader.terminate()
    wait_until(lambda: not is_listening(ui.port), timeout_s=30, what="the server to end")
    wait_until(
        lambda: not any(each.is_running() for each in served), timeout_s=30, what="its processes"
    )
