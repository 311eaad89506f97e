"""Where a sweep is recorded: resolved late, and at servers and databases only."""

from pathlib import Path

import pytest

from sweeper.driver.recorder import check_tracking, how_to_look, make_recorder
from sweeper.errors import UsageError
from sweeper.planning.catalog import catalog
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.bad_inputs.rows import VALID
from tests.support.ledgers import new_ledger


def sweep(uri: str | None) -> Sweep:
    text = VALID if uri is None else VALID + f"tracking: {{uri: '{uri}'}}\n"
    return loads_sweep(text, catalog(), profile="paper")


BAD = ["file:///etc", "/etc", "./mlruns", "ftp://host/x", "s3://bucket", "javascript:alert(1)", "x"]


@pytest.mark.parametrize("uri", BAD)
def test_an_address_of_another_kind_is_refused_wherever_it_comes_from(monkeypatch, tmp_path, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI: must start with one of http:,"):
        check_tracking(sweep(None))
    monkeypatch.setenv("WHERE", uri)
    with pytest.raises(UsageError, match=r"tracking\.uri: must start with one of http:,"):
        make_recorder(new_ledger(tmp_path), sweep("${env:WHERE}"), CheckpointPaths(tmp_path))


@pytest.mark.parametrize("uri", ["http://host:5000", "HTTPS://host", "sqlite:///x.db",
                                 "postgresql+psycopg://me@host/x"])  # fmt: skip
def test_servers_and_databases_are_taken(monkeypatch, tmp_path, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    check_tracking(sweep(None))
    shown = make_recorder(new_ledger(tmp_path), sweep(None), CheckpointPaths(tmp_path)).uri
    assert shown == uri.replace("sqlite:///", f"sqlite:///{Path.cwd()}/")


def test_a_secret_in_the_address_is_not_shown(monkeypatch, tmp_path):
    monkeypatch.setenv("WHERE", "http://me:canary@host:5000")
    recorder = make_recorder(new_ledger(tmp_path), sweep("${env:WHERE}"), CheckpointPaths(tmp_path))
    assert recorder.uri == "http://me:***@host:5000"


def test_what_shows_the_runs_is_named_so_that_it_finds_them(here):
    assert how_to_look(f"sqlite:///{here}/mlflow.db") == "watch it: sweeper ui"
    other = "sqlite:////else/where.db"
    assert how_to_look(other) == f"watch it: MLFLOW_TRACKING_URI={other} sweeper ui"
    assert "follows" in how_to_look("https://host")


def test_a_program_gets_no_password_of_mlflow(monkeypatch):
    program = "{command: [python], metric: loss, results: mlflow}"
    text = f"name: mine\nprogram: {program}\nsearch: {{trials: 1}}\n"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host")
    with pytest.raises(UsageError, match="set MLFLOW_TRACKING_USERNAME and") as refused:
        check_tracking(loads_sweep(text, catalog()))
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://host")
    check_tracking(loads_sweep(text, catalog()))
