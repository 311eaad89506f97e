"""Of what a job's log holds, only what its command printed is shown."""

import io
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus

from sweeper.execution.jobs import BEGINS, Job, Jobs

RAYS = "Runtime env is setting up.\n"
ENTRY = "Running entrypoint for job away-1: echo '--- sweeper ---'; exec python\n"
ORDERS = [(RAYS, ENTRY, BEGINS, "a\n", "b\n"), (RAYS, BEGINS, ENTRY, "a\n", "b\n"),
          (RAYS, BEGINS, "a\n", ENTRY, "b\n")]  # fmt: skip


def jobs_that_print(lines: Sequence[str]) -> Jobs:
    """Returns the jobs of a cluster on which each has printed these lines, and ended well."""

    async def tail(job: str) -> AsyncIterator[str]:
        for line in lines:
            yield line

    jobs = Jobs.__new__(Jobs)
    jobs._address = "http://head:8265"
    jobs._client = SimpleNamespace(
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


def test_of_a_job_that_did_not_start_all_that_ray_says_is_shown() -> None:
    jobs, out = jobs_that_print([RAYS, ENTRY]), io.StringIO()
    assert jobs.printed("away-1") == RAYS + ENTRY
    jobs.follow("away-1", out)
    assert out.getvalue() == RAYS + ENTRY
    assert jobs.look("away-1") == Job("away-1", 0)
