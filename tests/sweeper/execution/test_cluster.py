"""Which clusters are started and joined, and who can reach them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from ray.core.generated import gcs_service_pb2 as messages
from ray.core.generated import gcs_service_pb2_grpc as services

from sweeper.errors import BackendUnreachable, UsageError
from sweeper.execution import cluster as clusters
from sweeper.execution.cluster import Cluster, NotStarted, check_secure, connect, set_environment
from tests.support.servers.http_server import Answer, answering


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of this test's own, in which nothing of Ray is said."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    monkeypatch.setattr(os, "environ", mine)
    return mine


def test_a_token_is_made_once_and_for_this_user_alone(environment, tmp_path):
    path, mask = tmp_path / "home" / "token", os.umask(0)
    try:
        set_environment(path)
    finally:
        os.umask(mask)
    token = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(token)) > 8
    assert len(token) == 64
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(path)
    del environment["RAY_AUTH_MODE"]
    set_environment(path)
    assert path.read_text() == token


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(environment, tmp_path, mode):
    path = tmp_path / "token"
    path.write_text("0" * 64)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"others may read this token; run: chmod 600 {path}"):
        set_environment(path)


def test_a_planted_link_is_not_written_through(environment, tmp_path):
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is no plain file; remove it"):
        set_environment(tmp_path / "token")
    assert {path.name for path in tmp_path.iterdir()} == {"token"}


def test_a_cluster_of_others_keeps_its_own_token(environment, tmp_path):
    set_environment(tmp_path / "token", address="10.0.0.1:6379")
    assert environment["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN_PATH" not in environment
    assert not (tmp_path / "token").exists()


def test_sweeps_have_one_order_whoever_asks_and_only_living_ones_count(monkeypatch):
    sweep, other = "python -m sweeper.driver", "python train.py"
    entries = [
        ("04", sweep, False),
        ("01", other, False),
        ("02", sweep, True),
        ("03", sweep, False),
    ]
    jobs = [dict(zip(("JobID", "Entrypoint", "IsDead"), entry, strict=True)) for entry in entries]
    monkeypatch.setattr("ray._private.state.jobs", lambda: jobs)
    standings = {}
    for mine in ("03", "04", "05"):
        context = SimpleNamespace(get_job_id=lambda mine=mine: mine)
        monkeypatch.setattr("ray.get_runtime_context", lambda context=context: context)
        cluster = Cluster(address="", dashboard=None, token_file=None, nodes=[])
        standings[mine] = cluster.standing()
    assert standings == {"03": (0, 2), "04": (1, 2), "05": (2, 3)}, "this one counts in any case"


OPEN = ["10.0.0.1:6379", "ray://10.0.0.1:10001", "http://head:8265", "0.0.0.0:1", "[fe80::1]:6379",
        "127.0.0.1.evil.org:6379", "head"]  # fmt: skip
CLOSED = ["local", "127.0.0.1:6379", "ray://127.0.0.1:10001", "http://localhost:8265", "[::1]:6379"]


@pytest.mark.parametrize("address", OPEN)
def test_a_cluster_that_others_reach_and_that_asks_for_no_token_is_refused(environment, address):
    check_secure(address, insecure=False)
    environment["RAY_AUTH_MODE"] = "disabled"
    with pytest.raises(UsageError, match=r"RAY_AUTH_MODE=disabled.*or add --insecure"):
        check_secure(address, insecure=False)
    check_secure(address, insecure=True)


@pytest.mark.parametrize("address", CLOSED)
def test_one_that_only_this_machine_reaches_is_not(environment, address):
    environment["RAY_AUTH_MODE"] = "disabled"
    check_secure(address, insecure=False)


@dataclass
class Dashboard:
    """Answers every request by one status, and keeps what it was asked."""

    port: str = ""
    status: int = 200
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def at(self, host: str) -> str:
        return f"http://{host}:{self.port}"


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    found = Dashboard()

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        found.asked.append((request.path, "Authorization" in request.headers))
        return found.status, {}, b""

    with answering(answer) as url:
        found.port = url.rpartition(":")[2]
        yield found


def test_a_cluster_is_asked_whether_it_asks_for_a_token_before_it_is_sent_one(
    environment, dashboard
):
    """127.1 is this machine by a name that might be another's."""
    environment["RAY_AUTH_MODE"], environment["RAY_AUTH_TOKEN_PATH"] = "token", "mine"
    address = dashboard.at("127.1")
    with pytest.raises(UsageError, match=r"it asks for no token: whoever .* or add --insecure"):
        check_secure(f"{address}/", insecure=False)
    for dashboard.status in (401, 403):
        check_secure(address, insecure=False)
    assert dashboard.asked == [("/api/version", False)] * 3
    dashboard.status = 200
    check_secure(address, insecure=True)
    check_secure(dashboard.at("127.0.0.1"), insecure=False)
    assert len(dashboard.asked) == 3


@pytest.fixture
def head() -> Iterator[str]:
    """The address of a head that takes one token alone."""

    class Head(services.NodeInfoGcsServiceServicer):
        def GetClusterId(self, request, context):
            if ("authorization", f"Bearer {'f' * 64}") not in context.invocation_metadata():
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: a wrong one")
            return messages.GetClusterIdReply()

    server = grpc.server(ThreadPoolExecutor(1))
    services.add_NodeInfoGcsServiceServicer_to_server(Head(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "told"),
    [("f" * 64, None), ("a" * 64, "InvalidAuthToken: a wrong one"), ("", "RAY_AUTH_TOKEN_PATH")],
    ids=["right", "wrong", "none"],
)
def test_a_head_that_refuses_our_token_is_said_before_ray_asks_it_without_an_end(
    head, tmp_path, token, told
):
    """In a process of its own: Ray reads a token once."""
    file = tmp_path / "token"
    file.write_text(token)
    file.chmod(0o600)
    code = "import sys; from sweeper.execution.cluster import check_token as c; c(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, head],
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)},
        capture_output=True,
        text=True,
    )
    if told is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        last = done.stderr.splitlines()[-1]
        assert last.startswith(
            f"sweeper.errors.BackendUnreachable: --address {head}: the cluster does not take our"
        )
        assert told in last


TIMED_OUT = "The current node timed out during startup. This could happen because\nit is slow."


@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (Exception(TIMED_OUT), NotStarted, "^The current node timed out during startup"),
        (RuntimeError("no room"), NotStarted, "^no room"),
        (ValueError("num_cpus"), BackendUnreachable, "^--address local: num_cpus$"),
    ],
)
def test_a_ray_that_does_not_start_here_is_said_in_one_line(
    environment, monkeypatch, capfd, tmp_path, error, raised, told
):
    raylet = tmp_path / "ray" / "session_latest" / "logs" / "raylet.out"
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))

    def init(**_: object) -> None:
        raylet.parent.mkdir(parents=True)
        (raylet.parent / "raylet.err").touch()
        raylet.write_text("Timed out waiting for file\n")
        os.write(2, b"Traceback of Ray's own\n")
        raise error

    monkeypatch.setattr("ray.init", init)
    log = tmp_path / "ray_start.log"
    with pytest.raises(raised, match=told) as found, connect("local", log=log):
        pass
    assert "\n" not in str(found.value)
    assert capfd.readouterr().err == ""
    kept = log.read_text()
    assert kept.startswith("Traceback of Ray's own\n")
    if raised is NotStarted:
        assert kept.endswith(f"\n{error}\n\n{raylet}:\nTimed out waiting for file\n")
        assert str(found.value).endswith(f"(see {log})")


def test_what_ray_prints_while_it_starts_is_not_lost(capfd, tmp_path):
    with clusters.errors_aside(tmp_path / "log"):
        os.write(2, b"a warning\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "a warning\n"
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("lives", "told"), [(True, "was not up within"), (False, "ended while")])
def test_a_raylet_is_waited_for_while_it_lives_and_for_its_time(monkeypatch, lives, told):
    from ray._private import services

    answers: list[object] = [RuntimeError("not yet"), RuntimeError("not yet"), {"labels": {}}]

    def get_node(*_: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(clusters, "RETRY_S", 0.0)
    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(clusters, "has_raylet", lambda: True)
    with clusters.patient(60):
        assert services.get_node("address", "id") == {"labels": {}}
    assert services.get_node is get_node
    answers[:] = [RuntimeError("not yet")] * 9
    monkeypatch.setattr(clusters, "has_raylet", lambda: lives)
    with pytest.raises(NotStarted, match=told), clusters.patient(-1 if lives else 60):
        services.get_node("address", "id")


def test_workers_do_not_import_from_the_drivers_current_folder():
    from ray.job_config import JobConfig

    clusters.isolate_workers()
    config = JobConfig()
    config._py_driver_sys_path.extend(["/a/folder/of/a/user"])  # as `ray.init` does
    assert config._py_driver_sys_path == [str(Path(clusters.__file__).parents[2])]
