"""Commands on a Ray cluster as Ray Jobs, which continue after the end of this process."""

import asyncio
import logging
import re
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from sweeper.console import pass_on
from sweeper.errors import BackendUnreachable
from trainables.plugins import DISTRIBUTION

POLL_S = 0.3
PACKAGES = ("sweeper", "trainables")  # a job runs the local code of these
RAYS = re.compile(  # lines of Ray's job manager in the output of a job
    r"^.*(Runtime env is setting up\.|Running entrypoint for job \S+: .*)\n", re.MULTILINE
)
# The last three: a server of another kind answers, such as with JSON that is no dashboard's.
NO_DASHBOARD = (
    RuntimeError, OSError, RayError, TypeError, LookupError, ValueError, aiohttp.ClientError
)  # fmt: skip
EXCLUDED = ["**/__pycache__", "*.pyc", "/images"]

# These loggers of Ray have levels of their own, and tell of each package that is sent.
for _name in ("dashboard_sdk", "job.sdk"):
    logging.getLogger(f"ray.dashboard.modules.{_name}").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Job:
    """A job on the cluster: its id, and its result (None while it runs)."""

    id: str
    exit_code: int | None


def write_metadata(scratch: Path) -> Path:
    """Write the metadata of the local code, whose entry points name its methods and tasks.

    Without them the job would see those of another version that is installed on the cluster.
    """
    local = distribution(DISTRIBUTION)
    folder = scratch / f"{DISTRIBUTION.replace('-', '_')}-{local.version}.dist-info"
    folder.mkdir()
    # An editable installation may lay the metadata of a source tree, PKG-INFO, before its own.
    about = local.read_text("METADATA") or local.read_text("PKG-INFO") or ""
    (folder / "METADATA").write_text(about, encoding="utf-8")
    (folder / "entry_points.txt").write_text(
        local.read_text("entry_points.txt") or "", encoding="utf-8"
    )
    return folder


class Jobs:
    """The jobs of the cluster with its dashboard at `address`, such as http://HEAD:8265.

    Raises:
        BackendUnreachable: The cluster does not answer, or refuses our token.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.client: JobSubmissionClient = self._ask(lambda: JobSubmissionClient(address))

    def submit(
        self,
        entrypoint: str,
        *,
        label: str,
        environment: Mapping[str, str],
        folder: Path | None = None,
        modules: Sequence[Path] = (),
    ) -> str:
        """Start a shell command on the head of the cluster, and return the job's id.

        Args:
            entrypoint: The command.
            label: The prefix of the id, for users of the dashboard.
            environment: Environment variables. All users of the cluster can see them, so they must
                not be secrets.
            folder: A folder to send with the job. The job starts in a copy of it.
            modules: Further folders of modules that the job imports.
        """
        root = Path(__file__).resolve().parents[2]
        with tempfile.TemporaryDirectory() as scratch:
            own = [*(root / package for package in PACKAGES), write_metadata(Path(scratch))]
            runtime: dict[str, Any] = {
                "py_modules": [str(module) for module in (*own, *modules)],
                "env_vars": dict(environment),
                "excludes": EXCLUDED,
            }
            if folder is not None:
                runtime["working_dir"] = str(folder)
            submission = f"{label}-{uuid.uuid4().hex[:8]}"
            # The call returns when all folders are sent, so that the scratch folder may go.
            started: str = self._ask(
                lambda: self.client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=submission,
                    runtime_env=runtime,
                    metadata={"sweeper": label},
                )
            )
        return started

    def look(self, job: str) -> Job:
        """Return the status of a job."""
        info = self._ask(lambda: self.client.get_job_info(job))
        if not JobStatus(info.status).is_terminal():
            return Job(job, None)
        # A job that ends before its command begins has no exit code.
        default = 0 if info.status == JobStatus.SUCCEEDED else 1
        code = info.driver_exit_code
        return Job(job, default if code is None else code)

    def running(self, text: str) -> set[str]:
        """Return the labels of our jobs that have not ended, of which the command has a text."""
        return {
            info.metadata["sweeper"]
            for info in self._ask(self.client.list_jobs)
            if "sweeper" in (info.metadata or {})
            and text in info.entrypoint
            and not JobStatus(info.status).is_terminal()
        }

    def forget(self, job: str) -> None:
        """Remove a job that has ended from the list of the cluster, if the cluster answers."""
        with suppress(BackendUnreachable):  # what the job has printed is here already
            self._ask(lambda: self.client.delete_job(job))

    def printed(self, job: str) -> str:
        """Return the output of a job so far."""
        text: str = self._ask(lambda: self.client.get_job_logs(job))
        return RAYS.sub("", text)

    def follow(self, job: str, out: TextIO) -> int:
        """Copy the output of a job to `out` until its end, and return its exit code."""

        async def copy() -> None:
            lines: AsyncIterator[str] = self.client.tail_job_logs(job)
            async for text in lines:
                pass_on(RAYS.sub("", text), out)

        self._ask(lambda: asyncio.run(copy()))
        return self.wait(job)

    def wait(self, job: str) -> int:
        """Wait for the end of a job, and return its exit code."""

        async def end() -> int:
            while (code := self.look(job).exit_code) is None:
                await asyncio.sleep(POLL_S)
            return code

        return asyncio.run(end())

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except NO_DASHBOARD as error:
            told = error.message if isinstance(error, AuthenticationError) else str(error)
            first = told.strip().partition("\n")[0].partition(". ")[0].rstrip(".")
            raise BackendUnreachable(
                f"--address {self.address}: no Ray dashboard takes jobs from us there "
                f"({first or repr(error)}). A cluster that asks for a token wants it in "
                "RAY_AUTH_TOKEN_PATH; for one that asks for none, set RAY_AUTH_MODE=disabled."
            ) from error
