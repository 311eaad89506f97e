"""The services of docker/compose.yaml on this machine: a sweep runs on them, and is seen there.

Programs of Debian and PyPI take the place of those in the images; commands, settings, files, users
and mounts are those of the Compose file. There is no Grafana to install: what it would ask
Prometheus is asked here, and `test_compose.py` checks how it is set up.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pyarrow.fs import AwsStandardS3RetryStrategy, FileSelector, S3FileSystem

from tests.support import small_sweep
from tests.support.command import ROOT
from tests.support.servers.compose import Stack, stack
from tests.support.servers.ports import is_listening
from tests.support.servers.process import wait_until
from tests.support.tiny_backbones import save_tiny_roberta

pytestmark = [pytest.mark.external, pytest.mark.timeout(1800)]

DOCKER = ROOT / "docker"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "sweeper.json").read_text())
WEIGHTS = "/var/lib/sweeper/roberta"
FILE = "/etc/sweeper/sweep.yaml"
FINISHED, RUNNING = "finished", "running"
LONG = "fixed.refine.epochs=5000"  # more epochs than are waited for


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("team") / "secrets"
    make = [str(DOCKER / "compose" / "make-secrets.sh")]
    subprocess.run(make, env=os.environ | {"SWEEPER_SECRETS": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="module")
def team(tmp_path_factory, secrets) -> Iterator[Stack]:
    pytest.importorskip("boto3", reason="MLflow's server needs boto3 for artifacts in a bucket")
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("stack")
    environment = {"SWEEPER_SECRETS": str(secrets)}
    with stack(DOCKER / "compose.yaml", folder, environment, absent=["grafana"]) as services:
        services.up()
        weights = save_tiny_roberta(services["ray"].volume("/var/lib/sweeper") / "roberta")
        for file in Path(weights).iterdir():
            file.chmod(0o644)
        yield services


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The files of two sweeps, by name."""
    folder = tmp_path_factory.mktemp("files")
    written = {name: folder / f"{name}.yaml" for name in (FINISHED, RUNNING)}
    for name, file in written.items():
        file.write_text(small_sweep.text_of(name, weights=WEIGHTS))
    return written


def psql(team: Stack, query: str, database: str = "sweeper") -> list[str]:
    options = ["--username=postgres", "--tuples-only", "--no-align", f"--dbname={database}"]
    done = team["postgres"].execute("psql", *options, f"--command={query}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def bucket_files(team: Stack, secrets: Path, place: str) -> list[str]:
    server = S3FileSystem(
        access_key="sweeper",
        secret_key=(secrets / "bucket_key").read_text(),
        endpoint_override=f"{team['bucket'].host.ip}:8333",
        scheme="http",
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
    )
    found = server.get_file_info(FileSelector(place, recursive=True))
    return sorted(each.path for each in found if each.is_file)


def ask(url: str, host: str | None = None, body: dict[str, Any] | None = None) -> Any:
    """Return what a server answers; it is asked as `host`, if that is given."""
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def refusal(url: str, host: str | None = None) -> int:
    """Return the status by which a server refuses."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, host)
    refused.value.close()
    return refused.value.code


def mlflow(team: Stack, path: str, body: dict[str, Any] | None = None) -> Any:
    url = f"http://{team['mlflow'].host.ip}:5000/api/2.0/mlflow/{path}"
    return ask(url, "mlflow:5000", body)


def runs_of(team: Stack, sweep: str) -> list[dict[str, Any]]:
    (experiment,) = (
        each["experiment_id"]
        for each in mlflow(team, "experiments/search", {"max_results": 10})["experiments"]
        if each["name"] == "pdebench"
    )
    only = f"tags.`sweeper.sweep` = '{sweep}'"
    asked = {"experiment_ids": [experiment], "filter": only, "max_results": 100}
    found: list[dict[str, Any]] = mlflow(team, "runs/search", asked)["runs"]
    return found


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_a_sweep_ends_with_its_ledger_checkpoints_and_runs_on_the_services(team, secrets, files):
    printed = team["launch"].run(FILE, added={files[FINISHED]: FILE})
    assert "finished" in printed
    where = f"where sweep = '{FINISHED}'"
    assert psql(team, f"select state, count(*) from trials {where} group by state") == [
        f"complete|{small_sweep.TRIALS}"
    ]
    kept = psql(team, f"select lpad(number::text, 4, '0'), checkpoint from trials {where}")
    part = f"sweeps/checkpoints/{FINISHED}/nft-pdebench-advection_1d"
    stored = bucket_files(team, secrets, f"sweeps/checkpoints/{FINISHED}")
    for line in kept:
        assert f"{part}/{line.replace('|', '/')}/manifest.json" in stored
    assert not list(team["ray"].volume("/var/lib/sweeper").rglob("ledger.db"))

    runs = runs_of(team, FINISHED)
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    trials = [tags(run) for run in runs if "sweeper.trial" in tags(run)]
    assert {each["sweeper.checkpoint"].partition("?")[0] for each in trials} == {
        f"s3://{part}/{line.replace('|', '/')}" for line in kept
    }
    (study,) = (r["info"]["run_id"] for r in runs if tags(r)["sweeper.level"] == "study")
    files = mlflow(team, f"artifacts/list?run_id={study}")["files"]
    assert files != []
    stored = bucket_files(team, secrets, "mlflow")
    for file in files:
        assert any(f"/{study}/artifacts/{file['path']}" in name for name in stored)


def expressions(sweep: str, study: str) -> dict[str, str]:
    """Return what each panel asks Prometheus, by title and letter."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }
    values = {"sweep": sweep, "study": study}
    return {
        name: re.sub(r"\$(\w+)", lambda found: values[found[1]], text)
        for name, text in found.items()
    }


def prometheus(team: Stack, path: str, **query: str) -> Any:
    url = f"http://{team['prometheus'].host.ip}:9090/api/v1/{path}?{urlencode(query)}"
    answer = ask(url)
    assert answer["status"] == "success"
    return answer["data"]


def test_every_query_of_the_dashboard_returns_data_of_a_running_sweep(team, files):
    team["launch"].run(FILE, "--detach", "--set", LONG, added={files[RUNNING]: FILE})
    study = "nft/pdebench/advection_1d"
    asked = expressions(RUNNING, study)
    assert len(asked) >= 7

    def missing() -> list[str]:
        return [name for name, text in asked.items()
                if not prometheus(team, "query", query=text)["result"]]  # fmt: skip

    try:
        wait_until(lambda: not missing(), timeout_s=600, every_s=5, what="data of every query")
    except AssertionError as error:
        state = team["sweeper"].run("status", RUNNING)
        pytest.fail(f"{error}: {missing()}\n{state}")
    everything = expressions(".*", ".*")  # `All` of both variables
    now = float(prometheus(team, "query", query="time()")["result"][0])
    window = {"start": f"{now - 600}", "end": f"{now}", "step": "10"}
    for name, text in (asked | {f"{n} of all": t for n, t in everything.items()}).items():
        for series in prometheus(team, "query_range", query=text, **window)["result"]:
            assert all(float(value) >= 0 for _, value in series["values"]), name
        assert prometheus(team, "query", query=text)["result"] != [], name

    states = prometheus(team, "query", query=asked["Trials by state A"])["result"]
    counts = {each["metric"]["state"]: float(each["value"][1]) for each in states}
    assert sum(counts.values()) == small_sweep.TRIALS
    assert counts["running"] >= 1
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] != "query":
            continue
        text = variable["query"]["query"].replace("$sweep", ".*")
        match, label = re.fullmatch(r"label_values\((.+), (\w+)\)", text).groups()
        values = prometheus(team, f"label/{label}/values", **{"match[]": match})
        assert {"sweep": RUNNING, "study": study}[label] in values

    targets = prometheus(team, "targets")["activeTargets"]
    assert [(each["labels"]["job"], each["health"]) for each in targets] == [("ray", "up")]


def test_all_services_are_stopped_and_a_cancelled_sweep_goes_on_with_them(team, files):
    epochs = f"select count(*) from events where sweep = '{RUNNING}' and kind = 'measured'"

    assert "was cancelled" in team["sweeper"].run("cancel", RUNNING)
    before = int(psql(team, epochs)[0])
    team.down()
    team.up()
    assert "finished" in team["launch"].run(FILE, added={files[FINISHED]: FILE})
    team["launch"].run(FILE, "--detach", "--set", LONG, added={files[RUNNING]: FILE})
    wait_until(
        lambda: int(psql(team, epochs)[0]) > before, timeout_s=600, every_s=2, what="more epochs"
    )
    once = epochs.replace("count(*)", "count(distinct (number, payload ->> 'epoch'))")
    assert psql(team, once) == psql(team, epochs)
    team["sweeper"].run("cancel", RUNNING)


def test_a_ledger_comes_back_from_its_backup(team):
    def run(program: str, *arguments: str) -> None:
        done = team["postgres"].execute(program, "--username=postgres", *arguments)
        assert (done.returncode, done.stderr) == (0, "")

    before = psql(team, "select count(*), max(seq) from events")
    run("pg_dump", "--format=custom", "--file=/tmp/sweeper.dump", "sweeper")
    run("psql", "--quiet", "--dbname=sweeper", "--command=truncate events")
    assert psql(team, "select count(*) from events") == ["0"]
    restored = ("--clean", "--if-exists", "--dbname=sweeper", "/tmp/sweeper.dump")
    run("pg_restore", *restored)
    assert psql(team, "select count(*), max(seq) from events") == before
    assert "finished" in team["sweeper"].run("status", FINISHED)


def test_what_is_open_asks_for_a_secret_or_a_known_name(team, secrets):
    ip = {name: service.host.ip for name, service in team.services.items()}
    for name in ("localhost:5000", "127.0.0.1:5000", "mlflow:5000"):
        ask(f"http://{ip['mlflow']}:5000/api/2.0/mlflow/experiments/search?max_results=1", name)
    assert refusal(f"http://{ip['mlflow']}:5000/api/2.0/mlflow/x", "elsewhere.example") == 403
    assert refusal(f"http://{ip['bucket']}:8333/sweeps") == 403
    assert refusal(f"http://{ip['ray']}:8265/api/version") == 401
    for port in (8080, 8888, 9333, 18080, 18888, 19333):  # of the bucket, which ask for no key
        assert not is_listening(port, ip["bucket"])
    for user, database, why in (
        ("sweeper", "sweeper", "no password supplied"),
        (f"sweeper:{(secrets / 'sweeper_password').read_text()}", "mlflow", "permission denied"),
    ):
        url = f"postgresql://{user}@postgres/{database}"
        assert why in team["mlflow"].execute("psql", "--no-password", url).stderr


def test_no_secret_is_written_down(team, secrets):
    words = [file.read_text() for file in secrets.iterdir()]
    assert len(words) == len(set(words)) == len(team.config["secrets"])
    assert not any(word in json.dumps(team.config) for word in words)
    for place in (*team.folder.glob("*.log"), *team["ray"].volume("/var/lib/sweeper").rglob("*")):
        if place.is_file():
            data = place.read_bytes()
            assert not any(word.encode() in data for word in words), place
    given = [f"--file={secret['target']}" for secret in team["ray"].settings["secrets"]]
    found = team["ray"].execute(
        "grep", "--recursive", "--files-with-matches", "--fixed-strings", *given, "/tmp"
    )
    assert found.stdout == "", "in what Ray writes"
