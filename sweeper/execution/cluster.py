"""Local and remote Ray clusters, with explicit addresses and token authentication.

A local cluster and its trials inherit only the environment variables on an allow list. Only the
driver has all other variables, such as passwords of the ledger and of MLflow and secrets of the
user's shell. A sweep adds the names in `resources.env`, and the keys of a bucket that its trials
use.
"""

import logging
import os
import re
import secrets
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from sweeper.address import FORM, host_of, is_dashboard, is_loopback
from sweeper.errors import BackendUnreachable, UsageError

TOKEN = "ray_token"  # noqa: S105  # file in SWEEPER_HOME with the token for browsers
OURS = ("local", "auto")  # addresses of our own clusters
DRIVER = re.compile(r"\bsweeper(\.driver|/driver/__main__\.py)(\s|$)")
RETRY_S = 0.2
LOG_LINES = 30  # of each output of a raylet that did not start
ANSWER_S = 5.0  # timeout of a connection; Ray's own takes minutes
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # then the driver is started again
    "RAY_gcs_server_port_wait_time_s": "60",  # Ray's 30 s are too few on a busy machine
    "RAY_prestart_worker_first_driver": "0",  # trials take none of them
}
RAYLET_S = 120.0  # timeout of a raylet's registration; Ray's own is fixed at 30 s
LOGGING: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
# By default Ray uses the outward address of the machine and listens on all interfaces. With this
# setting it behaves as on systems without support for clusters, and uses the loopback interface.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class ClusterLost(Exception):
    """The cluster that this process started has ended. A new one is necessary."""


class NotStarted(Exception):
    """Ray did not start on this machine, which may be busy or low on memory."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Ray cluster with a connection of this process."""

    address: str
    dashboard: str | None  # URL
    token_file: str | None  # file with the token for browsers
    nodes: list[dict[str, float]]  # resources of each, by Ray's names: CPU, GPU, memory
    is_ours: bool = False  # started by this process, on this machine only
    grows: bool = False  # an autoscaler may add nodes

    def standing(self) -> tuple[int, int]:
        """Return the index of this sweep among the running sweeps on the cluster, and their number.

        All sweeps use the same order.
        """
        import ray
        from ray._private.state import jobs

        mine = ray.get_runtime_context().get_job_id()
        # Ray marks the job of a killed sweep as dead, so it stops counting by itself.
        others = {j["JobID"] for j in jobs() if not j["IsDead"] and is_driver(j["Entrypoint"])}
        order = sorted(others | {mine})
        return order.index(mine), len(order)

    def check(self) -> None:
        """Check that the node of our own cluster is alive.

        Raises:
            ClusterLost: The node has died.
        """
        import ray

        if self.is_ours and not any(node["Alive"] for node in ray.nodes()):
            raise ClusterLost("Ray's node on this machine died")


def is_driver(entrypoint: str) -> bool:
    """Return whether a command line starts a sweep's driver."""
    return DRIVER.search(entrypoint) is not None


def check_secure(address: str, *, insecure: bool) -> None:
    """Check that a cluster that others on the network can reach asks for a token.

    Raises:
        UsageError: The cluster asks for no token, and `insecure` is not set.
    """
    if insecure or address in OURS or is_loopback(host_of(address)):
        return
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        why = "RAY_AUTH_MODE=disabled"
    elif is_dashboard(address) and _lets_in(address):
        why = "it asks for no token"
    else:
        return
    raise UsageError(
        f"--address {address}: {why}: whoever reaches that cluster can run code on it. Start it "
        "with RAY_AUTH_MODE=token, or add --insecure."
    )


def _lets_in(dashboard: str) -> bool:
    """Return whether a dashboard answers a request without a token.

    The result is False, too, if the dashboard does not answer. The caller that needs an answer
    reports this later.
    """
    try:
        address = f"{dashboard.rstrip('/')}/api/version"
        with urlopen(address, timeout=ANSWER_S) as answer:  # noqa: S310  # Ray's own address
            is_it = answer.geturl().endswith("/api/version")  # not redirected to a login page
            return bool(answer.status == 200 and is_it)
    except (OSError, ValueError, HTTPException):  # 401 is an OSError
        return False


def set_environment(token_file: Path, *, address: str = "local") -> None:
    """Set the environment variables that Ray reads at import: less output, and a token.

    A RAY_AUTH_MODE that is already set is not changed. For a remote cluster, the user provides the
    token in RAY_AUTH_TOKEN_PATH.

    Raises:
        UsageError: Other users can read the token file.
    """
    # What a user has set stays.
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if address == "local":
        os.environ |= LOOPBACK
    if "RAY_AUTH_MODE" in os.environ:
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    if address == "local":
        token_in(token_file)
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)


@contextmanager
def connect(
    address: str,
    *,
    dashboard: bool = True,
    insecure: bool = False,
    passed_on: Collection[str] = (),
    log: Path | None = None,
    modules: Sequence[Path] = (),
    **sizes: float | None,
) -> Iterator[Cluster]:
    """Start a local cluster or join a running one, and disconnect at the end.

    Args:
        address: "local" starts a cluster on this machine. "auto" joins the cluster that runs this
            process as a job. Any other value is the address of a cluster.
        dashboard: Start a local cluster with Ray's dashboard.
        insecure: Allow a cluster that others can reach and that asks for no token.
        passed_on: Environment variables that a local cluster and its trials inherit in addition to
            those of `is_allowed`.
        log: The file that keeps the output of Ray if Ray does not start.
        modules: Folders of modules that are sent to the nodes of a running cluster. The nodes of a
            local one, and of a job, have them already.
        **sizes: `num_cpus` and `num_gpus` of a local cluster; None, as by default: all.

    Raises:
        NotStarted: A local cluster did not start.
        BackendUnreachable: No cluster answers at `address`.
        UsageError: The cluster is open to others, or this process is not a job.
    """
    # The nodes of a job's cluster got the modules with the job.
    sent = () if address in OURS else modules
    if address == "auto":
        address = _of_this_job()
    check_secure(address, insecure=insecure)
    _check_answers(address)
    import ray

    isolate_workers()
    if address == "local":
        # A local cluster listens on the loopback interface only.
        here = {"dashboard_host": "127.0.0.1", "_node_ip_address": "127.0.0.1"}
        options = {**LOGGING, **sizes, **here, "include_dashboard": dashboard}
        context = _start(options, passed_on, log)
    else:
        context = _join(address, sent)
    try:
        yield _connected(getattr(context, "dashboard_url", None), is_ours=address == "local")
    finally:
        ray.shutdown()


def _connected(dashboard: str | None, *, is_ours: bool) -> Cluster:
    """Return the cluster that this process is connected to."""
    import ray

    from sweeper.execution.nodes import can_grow, capacities

    return Cluster(
        address=ray.get_runtime_context().gcs_address,
        dashboard=f"http://{dashboard}" if dashboard else None,
        token_file=os.environ.get("RAY_AUTH_TOKEN_PATH"),
        nodes=capacities(),
        is_ours=is_ours,
        grows=not is_ours and can_grow(),
    )


def _join(address: str, modules: Sequence[Path]) -> Any:
    """Connect to a running cluster, and send it modules."""
    import ray

    check_token(address)
    environment = {"runtime_env": {"py_modules": list(map(str, modules))}} if modules else {}
    try:
        return ray.init(address=address, **LOGGING, **environment)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendUnreachable(f"--address {address}: {error}") from error


def _start(options: Mapping[str, Any], passed_on: Collection[str], log: Path | None) -> Any:
    """Start a cluster on this machine, and return Ray's context.

    Raises:
        NotStarted: The cluster did not start.
        BackendUnreachable: Ray refuses the options.
    """
    import ray

    began = time.time()
    try:
        parts = _needed_parts(dashboard=options["include_dashboard"])
        with withheld(passed_on), errors_aside(log), patient(RAYLET_S), parts:
            return ray.init(address="local", **options)
    except ValueError as error:  # the options are not valid
        raise BackendUnreachable(f"--address local: {error}") from error
    except Exception as error:  # Ray also raises plain exceptions
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # A first line that ends with a colon only announces the reason.
        why = lines[-1 if lines[0].endswith(":") else 0] if lines else type(error).__name__
        why = why.rstrip(".")
        if log is not None:
            _keep_reason(log, error, began)
        where = f" (see {log})" if log is not None and log.exists() else ""
        raise NotStarted(f"{why}{where}") from error


def _keep_reason(log: Path, error: Exception, began: float) -> None:
    """Add the error of a Ray that did not start, and the end of its raylet's output, to `log`."""
    from ray._common.utils import get_default_ray_temp_dir

    texts = [str(error)]
    with suppress(OSError):  # Ray may have written nothing, which is no reason to fail
        for file in sorted(
            Path(get_default_ray_temp_dir(), "session_latest/logs").glob("raylet.*")
        ):
            lines = file.read_text(errors="replace").splitlines()[-LOG_LINES:]
            # The latest session may still be that of an earlier start.
            if file.stat().st_mtime >= began and lines:
                texts += ["", f"{file.resolve()}:", *lines]
    with suppress(OSError), log.open("a") as out:
        out.write("\n".join([*texts, ""]))


@contextmanager
def withheld(passed_on: Collection[str]) -> Iterator[None]:
    """Remove variables that a cluster must not inherit from the environment meanwhile."""
    kept = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name not in passed_on and not is_allowed(name)
    }
    try:
        yield
    finally:
        os.environ |= kept


@contextmanager
def errors_aside(log: Path | None) -> Iterator[None]:
    """Redirect standard error of this process to `log` meanwhile.

    After an error the file stays. Otherwise its content is printed.
    """
    if log is None:
        yield
        return
    with log.open("w+b") as file:
        _flush()
        # Ray's processes write to descriptor 2 themselves, which a new
        # `sys.stderr` would not change.
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(before, 2)
            os.close(before)
            if not file.tell():
                log.unlink(missing_ok=True)
        file.seek(0)
        with suppress(OSError):  # the terminal was closed
            os.write(2, file.read())
    log.unlink(missing_ok=True)


def _flush() -> None:
    with suppress(OSError):
        sys.stderr.flush()


@contextmanager
def patient(seconds: float) -> Iterator[None]:
    """Make Ray wait up to `seconds` for its raylet, but not longer than the raylet lives."""
    from ray._private import services

    original = services.get_node

    def get_node(*args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + seconds  # all other parts of Ray are up now
        while True:
            try:
                return original(*args, **kwargs)
            except RuntimeError:
                # A dead raylet never registers, so that waiting for it is of no use.
                if not has_raylet():
                    raise NotStarted("its raylet ended while it started") from None
                if time.monotonic() > deadline:
                    raise NotStarted(f"its raylet was not up within {seconds:.0f} s") from None
            time.sleep(RETRY_S)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = original


@contextmanager
def _needed_parts(*, dashboard: bool) -> Iterator[None]:
    """Make Ray start no process that a sweep does not need, and its agent on a free port.

    On a machine with two clusters, the second agent would have no port if it were 52365: its
    dashboard could then show no log and run no job. The log monitor copies the output of workers to
    a driver that does not print it. The autoscaler's monitor and the server serve the dashboard.
    """
    from ray._private import node, parameter

    params, server = parameter.RayParams, node.Node.start_api_server
    parameter.RayParams = partial(
        params, dashboard_agent_listen_port=0, include_log_monitor=False, no_monitor=not dashboard
    )
    if not dashboard:
        node.Node.start_api_server = lambda *args, **options: None
    try:
        yield
    finally:
        parameter.RayParams, node.Node.start_api_server = params, server


def has_raylet() -> bool:
    """Return whether a raylet of this process is alive."""
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if process.name() == "raylet" and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def isolate_workers() -> None:
    """Prevent workers from importing modules in the current folder of the driver.

    Ray puts this folder first on their path and has no setting for it. Here they get the folder of
    our own package instead, unless the package is installed.
    """
    from ray.job_config import JobConfig

    root = Path(__file__).resolve().parents[2]
    paths = [] if root.name in ("site-packages", "dist-packages") else [str(root)]
    JobConfig._py_driver_sys_path = property(lambda self: list(paths), lambda self, value: None)


def _of_this_job() -> str:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        raise UsageError("--address auto: only within a Ray Job; write the cluster's address.")
    return address


def _check_answers(address: str) -> None:
    """Check that a server listens at `address` if that is a host and a port.

    Raises:
        BackendUnreachable: Nothing listens there.
    """
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


def check_token(address: str) -> None:
    """Check that the head at `address`, a host and a port, takes our token.

    Ray itself would ask again and again, without an end.

    Raises:
        BackendUnreachable: It does not, or there is no token.
    """
    if not FORM.fullmatch(address) or "://" in address:
        return
    import grpc
    from ray._private.gcs_utils import create_gcs_channel
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services
    from ray.exceptions import AuthenticationError

    with create_gcs_channel(address) as channel:
        head = services.NodeInfoGcsServiceStub(channel)
        try:
            head.GetClusterId(messages.GetClusterIdRequest(), timeout=ANSWER_S)
        except (grpc.RpcError, AuthenticationError) as error:
            is_call = isinstance(error, grpc.RpcError)
            if is_call and error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                return  # Ray waits for a head that is busy
            why = error.details() if is_call else str(error).partition(". ")[0]
            raise BackendUnreachable(
                f"--address {address}: the cluster does not take our token ({why}). Name the file "
                "with its token in RAY_AUTH_TOKEN_PATH."
            ) from error


def token_in(path: Path) -> str:
    """Return the token in a file that only this user can read, which is created if necessary.

    Safe in parallel.

    Raises:
        UsageError: Other users can read the file, or it is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file is linked when it is whole. Of two processes at once, both
    # use the token of the first.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)
    # Links are not followed: one could lead to a file of another user.
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: is no plain file; remove it, and a new token is created.")
    if mode & 0o077:
        raise UsageError(f"{path}: others may read this token; run: chmod 600 {path}")
    return path.read_text()


NAMES = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|TERM|LANG|LANGUAGE|TZ|TMPDIR|TEMP|TMP|NO_COLOR|"
    "LD_LIBRARY_PATH|LD_PRELOAD|DYLD_LIBRARY_PATH|DYLD_FALLBACK_LIBRARY_PATH|VIRTUAL_ENV|"
    "CONDA_PREFIX|CONDA_DEFAULT_ENV|XDG_CACHE_HOME|XDG_RUNTIME_DIR|NO_PROXY|no_proxy|"
    "SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|DO_NOT_TRACK|"
    "TOKENIZERS_PARALLELISM|SWEEPER_HOME|SWEEPER_LEASE|RAY_AUTH_TOKEN|RAY_AUTH_TOKEN_PATH"
)
FAMILIES = re.compile(  # prefixes, except of names that suggest a secret
    "LC_|PYTHON|RAY_|TUNE_|GRPC_|CUDA|NVIDIA_|NCCL_|CUDNN_|CUBLAS_|HIP_|HSA_|ROCR_|ROCM_|"
    "ATEN_|ONEDNN_|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|BLIS_|VECLIB_|NUMEXPR_|NUMBA_|LOKY_|JOBLIB_|MALLOC_|"
    "TORCH|PYTORCH_|TRITON_|HF_|TRANSFORMERS_|TIMM_|POT_|HDF5_|ARROW_|SKLEARN_|COVERAGE_|FAKETIME"
)
SECRET = re.compile("PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.I)
PROXIES = "HTTP_PROXY|HTTPS_PROXY|http_proxy|https_proxy"
BUCKETS = {  # scheme of a store -> variables with its keys
    "s3": re.compile(f"AWS_|{PROXIES}"),
    "gs": re.compile(f"GOOGLE_|GCLOUD_|CLOUDSDK_|STORAGE_EMULATOR_HOST|{PROXIES}"),
}


def is_allowed(name: str) -> bool:
    """Return whether trials inherit a variable of this name by default."""
    is_named = NAMES.fullmatch(name) is not None
    return is_named or bool(FAMILIES.match(name) and not SECRET.search(name))
