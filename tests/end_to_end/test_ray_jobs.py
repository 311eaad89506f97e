"""A sweep sent to a Ray cluster as a job, and steered from a folder that does not have it."""

import json
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.command import Shell
from tests.support.servers.process import wait_until
from tests.support.small_sweep import STUDY, Sweep

pytestmark = [pytest.mark.timeout(900)]
RAYS = ("Runtime env", "entrypoint")  # of what Ray says among what a command prints


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    environment = {**ray_head.environment, "SWEEPER_HOME": str(data_home)}
    return Shell(tmp_path_factory.mktemp("client"), environment)


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cluster") / "sweeps of all"


def test_a_sweep_sent_away_runs_there_and_is_steered_from_here(shell, there, ray_head):
    file = Sweep(shell, "away").file()
    arguments = ("--address", ray_head.http, "--detach", "--workdir", str(there), "--json")
    sent = shell.run("launch", str(file), "--trials", "2", *arguments).json
    assert (sent["sweep"], sent["address"]) == ("away", ray_head.http)
    assert "sweeper logs -f away" in sent["message"]
    assert [p.name for p in (shell.folder / "sweeps/away").iterdir()] == ["remote.json"]

    followed = shell.run("logs", "-f", "away").out
    assert f"{STUDY}/1: complete" in followed
    assert not any(word in followed for word in RAYS)
    found: dict = {}

    def is_finished() -> bool:
        found.update(shell.run("status", "away", "--json").json)
        return found["state"] == "finished"

    wait_until(is_finished, timeout_s=120, what="its end")
    assert found["trials"]["complete"] == 2
    assert (there / "sweeps/away/ledger.db").is_file()

    extended = shell.run("extend", "away", "--trials", "3", "--json").json
    assert sum(extended["trials"].values()) == 3
    (line,) = shell.run("ls", "--json").json["sweeps"]
    assert (line["sweep"], line["state"]) == ("away", "finished")
    asked = shell.run("stop", "away")
    stopped = asked.out
    assert "`away` is not running" in stopped
    assert "INFO" not in asked.err
    assert not any(word in stopped for word in RAYS)
    planned = shell.run("plan", str(file), "--address", ray_head.http, "--json").json
    assert (planned["command"], planned["cluster"]["nodes"], planned["exit_code"]) == ("plan", 1, 0)
    missing = shell.run("rerun", "away", f"{STUDY}/77", "--json", code=8)
    assert "unknown trial `77`" in missing.json["error"]["message"]
    assert "sweeper: unknown trial `77`" in missing.err


FUNCTION = """
import beside, sweeper

@sweeper.trainable
def train(params, trial):
    assert "FOLDER" not in __file__
    trial.report(1, {"loss": params["lr"] + beside.OFFSET})
"""
SCRIPT = """
import json, os, pathlib, sys

assert "FOLDER" not in os.getcwd()
offset = float(pathlib.Path("images/offset.txt").read_text())
print(json.dumps({"step": 1, "loss": float(sys.argv[1]) + offset}))
"""
PROGRAMS = """
name: own
program: {metric: loss, steps: 1}
programs:
  ours: {function: "mine:train"}
  theirs: {command: [python, train.py, '{lr}'], folder: code}
parameters:
  lr: {min: 0.0, max: 1.0}
search: {trials: 1, sampler: random}
pruning: {type: none}
resources: {cpu: 1, gpu: 0, dashboard: false}
"""


def test_a_job_takes_programs_along(shell, there, ray_head, tmp_path):
    files = {
        "mine.py": FUNCTION, "beside.py": "OFFSET = 2", "code/train.py": SCRIPT,
        "code/images/offset.txt": "3", "own.yaml": PROGRAMS,
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path)))
    launch = ("launch", str(tmp_path / "own.yaml"), "--address", ray_head.http)
    launch += ("--workdir", str(there))
    sent = shell.run(*launch, "--json")
    assert sent.json["exit_code"] == 0, sent.err
    # A continuation sends them again, as the cluster may have deleted them.
    extended = shell.run("extend", "own", "--trials", "2", "--json").json
    assert extended["trials"]["complete"] == 4
    found = {each["study"]: each["best"]["validation"] for each in extended["studies"]}
    assert 2 <= found["ours/program/loss"] < 3 <= found["theirs/program/loss"]
    (tmp_path / "mine.py").write_text(files["mine.py"] + "# changed")
    refused = shell.run(*launch, "--trials", "2", code=2)
    assert "the text of `ours` has changed since it began" in refused.err


def test_a_cluster_that_asks_for_a_token_says_so_to_who_has_none(ray_head):
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{ray_head.http}/api/version")
    assert refused.value.code == 401
    refused.value.close()


def test_what_a_cluster_does_not_take_is_said_at_once(shell, there, ray_head):
    file = str(Sweep(shell, "no").file())
    began = time.monotonic()
    unreachable = shell.run("launch", file, "--address", "http://127.0.0.1:9", "--detach", code=5)
    assert "no Ray dashboard takes jobs from us there" in unreachable.err
    assert time.monotonic() - began < 60
    wrong = there.parent / "wrong token"
    wrong.touch(0o600)
    wrong.write_text("a" * 64)
    stranger = replace(shell, environment={**shell.environment, "RAY_AUTH_TOKEN_PATH": str(wrong)})
    refused = stranger.run("launch", file, "--address", ray_head.address, code=5, timeout=120)
    assert refused.err.splitlines()[-1].startswith(
        f"sweeper: --address {ray_head.address}: the cluster does not take our token (Invalid"
    )
    address = ("--address", ray_head.http, "--detach")
    secret = "postgresql+psycopg://me:hush@db/ledger"
    refused = shell.run("launch", file, *address, "--storage", secret, code=2)
    assert "PGPASSWORD" in refused.err
    assert "hush" not in refused.err
    local = shell.run("launch", file, "--workdir", "/w", code=2)
    assert "--workdir needs --address http://" in local.err
    assert not (shell.folder / "sweeps/no").exists()
    assert json.loads((shell.folder / "sweeps/away/remote.json").read_text())["name"] == "away"
