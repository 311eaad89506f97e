"""Only what its command printed is shown of a job's log, and a server that takes none is told."""

import io
import logging
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import Distribution
from types import SimpleNamespace

import pytest
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus

from sweeper.errors import BackendUnreachable
from sweeper.execution.jobs import Jobs, write_metadata
from tests.support.servers.http_server import answering
from trainables.plugins import DISTRIBUTION

SETS_UP = "2026-11-26 08:00:00,000\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
ENTRY = 'Running entrypoint for job away-1: here="$PWD"; exec python\n'
ORDERS = [(SETS_UP, ENTRY, "a\n", "b\n"), (SETS_UP, "a\n", ENTRY, "b\n")]


def jobs_that_print(lines: Sequence[str]) -> Jobs:
    """Return the jobs of a cluster on which each has printed these lines, and ended well."""

    async def tail(job: str) -> AsyncIterator[str]:
        for line in lines:
            yield line

    jobs = Jobs.__new__(Jobs)
    jobs.address = "http://head:8265"
    jobs.client = SimpleNamespace(
        get_job_logs=lambda job: "".join(lines),
        get_job_info=lambda job: SimpleNamespace(status=JobStatus.SUCCEEDED, driver_exit_code=0),
        tail_job_logs=tail,
    )
    return jobs


@pytest.mark.parametrize("lines", ORDERS)
def test_what_ray_says_is_left_out_also_where_it_comes_late(lines: tuple[str, ...]) -> None:
    """Ray writes its line into a buffer, and starts the command before it empties that."""
    jobs, out = jobs_that_print(lines), io.StringIO()
    assert jobs.printed("away-1") == "a\nb\n"
    assert jobs.follow("away-1", out) == 0
    assert out.getvalue() == "a\nb\n"


def test_a_job_has_the_metadata_of_a_source_tree(tmp_path, monkeypatch):
    tree = tmp_path / "crossmodal_sweeper.egg-info"
    tree.mkdir()
    about = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 9.1\n"
    (tree / "PKG-INFO").write_text(about)
    (tree / "entry_points.txt").write_text("[sweeper.methods]\nx = y:Z\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sent = Distribution.at(write_metadata(tmp_path))
    assert (sent.metadata["Name"], sent.version) == (DISTRIBUTION, "9.1")
    assert [entry.name for entry in sent.entry_points] == ["x"]


def test_our_running_jobs_are_told_by_their_command():
    jobs, deleted = jobs_that_print(()), []

    def failing(job: str) -> None:
        raise RuntimeError(job)

    def job(label: str | None, command: str, status: JobStatus) -> SimpleNamespace:
        metadata = None if label is None else {"sweeper": label}
        return SimpleNamespace(metadata=metadata, entrypoint=command, status=status)

    found = [
        job("sweeper-a", "cd /w && python", JobStatus.RUNNING),
        job("sweeper-b", "cd /w && python", JobStatus.PENDING),
        job("sweeper-c", "cd /w && python", JobStatus.STOPPED),
        job("sweeper-d", "cd /w2 && python", JobStatus.RUNNING),
        job(None, "cd /w && python", JobStatus.RUNNING),
    ]
    jobs.client.list_jobs = lambda: found
    jobs.client.delete_job = deleted.append
    assert jobs.running("cd /w && ") == {"sweeper-a", "sweeper-b"}
    jobs.forget("away-1")
    assert deleted == ["away-1"]
    jobs.client.delete_job = failing  # then the job stays, and what it has printed is still here
    jobs.forget("away-1")


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, "Unauthorized: Missing authentication token", "Authentication required: Una"),
        (403, "Forbidden: Invalid authentication token", "Authentication failed: Forb"),
        (500, "x", "500 Server Error"),
        (404, "x", "Version check returned 404"),
        (200, "<html>", "Expecting value"),
        (200, "[]", "list indices"),
        (200, "null", "'NoneType' object"),
        (200, '{"a": 1}', "'ray_version'"),
        (200, '{"ray_version": 5}', "Invalid version"),
        (200, '{"ray_version": "9.9"}', ".*unexpected keyword"),
    ],
)
def test_a_server_that_takes_no_jobs_is_told_in_a_line(status: int, body: str, why: str) -> None:
    wanted = (
        rf"^--address http://127.*: no Ray dashboard takes jobs from us there \({why}.*TOKEN_PATH"
    )
    answer = status, {"Content-Type": "application/json"}, body.encode()
    with (
        answering(lambda *_: answer) as address,
        pytest.raises(BackendUnreachable, match=wanted) as told,
    ):
        Jobs(address).submit("true", label="x", environment={})
    assert "\n" not in str(told.value)


def test_a_token_that_is_nowhere_is_told_without_the_advice_of_ray() -> None:
    jobs = jobs_that_print(())

    def refused(job: str) -> str:
        raise AuthenticationError("There is no authentication token. Create one.\nThen use it.")

    jobs.client.get_job_logs = refused
    with pytest.raises(BackendUnreachable, match=r"\(There is no authentication token\)\. A clust"):
        jobs.printed("away-1")


@pytest.mark.parametrize("name", ["dashboard_sdk", "job.sdk"])
def test_ray_says_nothing_of_the_packages_that_it_sends(name):
    logger = logging.getLogger(f"ray.dashboard.modules.{name}")
    assert logger.level == logging.WARNING
