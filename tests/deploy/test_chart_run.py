"""The chart as rendered, run here: pods as KubeRay starts them, lost as a whole, twice.

A RayJob's retry is a new cluster with empty disks, to which the same entrypoint is submitted. The
ledger is in PostgreSQL and checkpoints are in a bucket, so that nothing else is needed.
"""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from tests.support.chart import RELEASE, Document, Pods, of_kind, render
from tests.support.command import Shell
from tests.support.servers.cluster import PATHS, short_folder
from tests.support.servers.mlflow_server import snapshot
from tests.support.servers.ports import free_port
from tests.support.servers.postgres import Postgres, postgres
from tests.support.servers.process import Process, wait_until
from tests.support.servers.s3 import place_on
from tests.support.small_sweep import EPOCHS, STUDY, TRIALS, Sweep, wait_for_epochs
from trainables.storage import artifacts

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
NAME = "charted"
WORKERS = [
    {
        "name": "cpu", "replicas": 1, "cpus": 2, "memory": "4Gi", "gpus": 0,
        "gpuResource": "nvidia.com/gpu", "sharedMemory": "1Gi", "scratch": "10Gi",
    }
]  # fmt: skip


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_home) -> Sweep:
    """The same file, launched on this machine without a chart."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = Sweep(Shell(folder, {"SWEEPER_HOME": str(data_home)}), NAME)
    sweep.shell.run("launch", str(sweep.file()), "--json", timeout=1200)
    return sweep


def rendered(folder: Path, file: Path, store: str) -> list[Document]:
    """Return the release of a sweep on a head and one worker, with its own MLflow."""
    values = {
        "ledger": {"secretName": "ledger"},
        "checkpoints": {"store": store, "secretName": "keys"},
        "mlflow": {"enabled": True},
        "auth": {"secretName": "token"},
        "head": {"cpus": 1, "memory": "4Gi"},
        "workers": WORKERS,
    }
    place = folder / "values.yaml"
    YAML().dump(values, place)
    return render("-f", str(place), "--set-file", f"sweep={file}")


@contextmanager
def mlflow_of(documents: list[Document], folder: Path) -> Iterator[str]:
    """Yield the address of the rendered MLflow server, run here."""
    (container,) = of_kind(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    port, store = free_port(), folder / "mlflow"
    store.mkdir()
    arguments = [
        word.replace("/var/lib/mlflow", str(store)).replace("=5000", f"={port}")
        for word in (*container["command"], *container["args"])
    ]
    program = shutil.which(arguments[0], path=PATHS["PATH"]) or arguments[0]
    environment = {v["name"]: v["value"] for v in container["env"] if v["name"] != "HOME"}
    process = Process([program, *arguments[1:]], log=folder / "mlflow.log", environment=environment)
    try:
        process.wait_until(lambda: answers(port, "localhost:5000") == 200, timeout_s=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()


def answers(port: int, host: str) -> int:
    """Return the status with which MLflow answers a request that names a host."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": host},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def submit(pods: Pods) -> tuple[JobSubmissionClient, str]:
    """Submit the rendered entrypoint as KubeRay's HTTPMode does."""
    job = of_kind(pods.documents, "RayJob")["spec"]
    assert job["submissionMode"] == "HTTPMode"
    client = JobSubmissionClient(pods.http, headers={"Authorization": f"Bearer {pods.token}"})
    return client, client.submit_job(entrypoint=pods.localized(job["entrypoint"]))


def wait_for_end(client: JobSubmissionClient, job: str) -> tuple[JobStatus, str]:
    wait_until(
        lambda: client.get_job_status(job).is_terminal(), timeout_s=1200, what="the job's end"
    )
    return client.get_job_status(job), client.get_job_logs(job)


def test_a_sweep_outlives_two_clusters_with_the_same_bits(
    bucket_server, database, undisturbed, tmp_path, monkeypatch
):
    store = str(place_on(bucket_server, "charted", monkeypatch))
    documents = rendered(tmp_path, undisturbed.file(), store)
    secrets = {
        "ledger": {"url": database.url, "password": "unused where everybody is trusted"},
        "keys": bucket_server.environment,
    }
    sweep = Sweep(undisturbed.shell, NAME, storage=database.url)
    with mlflow_of(documents, tmp_path) as uri:
        port = int(uri.rpartition(":")[2])
        assert answers(port, f"{RELEASE}-mlflow:5000") == 200  # the Service's name
        assert answers(port, "evil.example.org") == 403
        there = {f"http://{RELEASE}-mlflow:5000": uri}
        for cut_at in (3, 9, None):
            with short_folder() as folder:
                pods = Pods(documents, secrets, folder, replaced=there)
                try:
                    pods.start()
                    client, job = submit(pods)
                    if cut_at is not None:
                        wait_for_epochs(sweep, cut_at)
                        continue
                    status, logs = wait_for_end(client, job)
                    assert status is JobStatus.SUCCEEDED, logs
                    status, logs = wait_for_end(*submit(pods))
                    assert status is JobStatus.SUCCEEDED, logs
                    assert "nothing to do" in logs
                finally:
                    pods.kill()
        runs = snapshot(uri)
    measured = [(number, m["epoch"]) for number, m in sweep.events("measured")]
    assert sorted(measured) == [(n, e) for n in range(TRIALS) for e in range(1, EPOCHS + 1)]
    assert sweep.outcomes() == undisturbed.outcomes()
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    attempts = dict(sweep.rows("select number, attempt from trials"))
    assert max(attempts.values()) > 1, "no trial ran when a cluster was lost"
    assert same_weights(sweep, undisturbed, store, tmp_path)


def same_weights(sweep: Sweep, undisturbed: Sweep, store: str, scratch: Path) -> bool:
    """Return whether all checkpoints in the store have the bits of those of another sweep."""
    expected = undisturbed.weights()
    kept = {place.rpartition("/attempt-")[0]: place for place in artifacts.list_checkpoints(store)}
    assert len(expected) == len(kept) == TRIALS
    url, _, options = store.partition("?")
    for number, weights in expected.items():
        (name,) = (
            name for n, name in sweep.rows("select number, checkpoint from trials") if n == number
        )
        copy = scratch / f"fetched-{number}"
        part = f"{NAME}/{STUDY.replace('/', '-')}/{number:04d}/{name}"
        artifacts.fetch(f"{url}/{part}?{options}", copy)
        found = load_file(copy / "last.safetensors")
        assert found.keys() == weights.keys()
        if any(found[k].tobytes() != weights[k].tobytes() for k in weights):
            return False
    return True


def test_a_refused_launch_says_why_in_the_job(bucket_server, database, tmp_path, data_home):
    sweep = Sweep(Shell(tmp_path, {"SWEEPER_HOME": str(data_home)}), "refused")
    file = sweep.file()
    file.write_text(file.read_text().replace("pruning:", "prunning:"))
    documents = rendered(tmp_path, file, bucket_server.url("refused"))
    secrets = {"ledger": {"url": database.url}, "keys": bucket_server.environment}
    with short_folder() as folder:
        pods = Pods(documents, secrets, folder)
        try:
            pods.start()
            client, job = submit(pods)
            status, _ = wait_for_end(client, job)
            message = client.get_job_info(job).message
            head = pods.nodes[0].ports
            for port, path in (  # as the probes and the monitor ask
                (pods.http.rpartition(":")[2], "/api/gcs_healthz"),
                (head["dashboard-agent-listen-port"], "/api/local_raylet_healthz"),
                (head["metrics-export-port"], "/metrics"),
            ):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as page:
                    assert page.status == 200
            with pytest.raises(HTTPError) as refused:
                urllib.request.urlopen(f"{pods.http}/api/jobs/", timeout=30)
            refused.value.close()
            assert refused.value.code == 401
        finally:
            pods.kill()
    assert status is JobStatus.FAILED
    assert "exit code 2" in message
    assert "unknown key `prunning`" in message
    assert json.dumps(secrets) not in message
