"""Starts or joins a Ray cluster: always an explicit address, always with token authentication."""

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import BackendUnreachable, UsageError

ANSWER_S = 5.0  # for a cluster to accept a connection; Ray itself would wait for minutes
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Ray cluster that this process is connected to."""

    address: str
    dashboard: str | None  # URL
    token_file: str | None  # whose content a browser is asked for
    resources: dict[str, float]


def set_environment(token_file: Path) -> None:
    """Says, before Ray is imported, how this process uses it: quietly, and with a token.

    Ray reads these variables when it is imported. A RAY_AUTH_MODE that is set already is kept.

    Raises:
        UsageError: The token file may be read by others.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if "RAY_AUTH_MODE" not in os.environ:
        _make_token(token_file)
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)


@contextmanager
def connect(
    address: str, *, num_cpus: int | None = None, num_gpus: float | None = None
) -> Iterator[Cluster]:
    """Starts a cluster of this machine for `address="local"`, else joins the one at `address`.

    Raises:
        BackendUnreachable: No cluster answers at `address`.
    """
    _check_answers(address)
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "_node_ip_address": "127.0.0.1",
        }
    try:
        context = ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendUnreachable(f"--address {address}: {error}") from error
    try:
        url = getattr(context, "dashboard_url", None)
        yield Cluster(
            address=ray.get_runtime_context().gcs_address,
            dashboard=f"http://{url}" if url else None,
            token_file=os.environ.get("RAY_AUTH_TOKEN_PATH"),
            resources={k: float(v) for k, v in ray.cluster_resources().items()},
        )
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises BackendUnreachable if nothing listens at `address`, where that is a host and port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise BackendUnreachable(
            f"--address {address}: no Ray cluster answers there ({error}); start one with "
            "`ray start --head`, or leave --address out to use this machine."
        ) from error


def _make_token(path: Path) -> None:
    """Makes (once) a token that only this user can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path}: others may read this token; run: chmod 600 {path}")
