"""Two methods on three tasks, from the file to every place where a number is read: all agree.

Numbers are compared as they are, to the last digit: a mean that was computed twice, or a value that
was rounded on its way, would show.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_text
from pyarrow import parquet

from sweeper.results.prose import METHODS
from sweeper.text import readable
from tests.support.command import Shell
from tests.support.tiny_backbones import save_tiny_roberta, save_tiny_swin

pytestmark = [pytest.mark.timeout(1800)]

TASKS = ("pdebench/advection_1d", "pdebench/burgers_1d@hard", "pdebench/darcy_2d@hard")
TRIALS, SEEDS = 4, 2
FILE = """
name: two
experiment: pdebench
methods: [pare, mona]
tasks: [{tasks}]
backbones: {{1d: {{name: {folder}/roberta, tokens: 16}}, 2d: {{name: {folder}/swin}}}}
proxies: {{1d: python_source, 2d: digits}}
model: {{head: linear}}
data: {{samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: {{1d: 64, 2d: 16}}}}
parameters:
  meta.alpha: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0}}
  refine.lr: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}}
  replace.lr: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}}
fixed:
  meta.epochs: 1
  meta.classes: 4
  meta.per_class: 2
  meta.batch_size: 16
  refine.epochs: 3
  refine.batch_size: 16
  refine.warmup_epochs: 1
  replace.epochs: 3
  replace.batch_size: 16
  replace.warmup_epochs: 1
search: {{trials: {trials}, startup_trials: 2}}
replicate: {{top: 1, seeds: {seeds}}}
pruning: {{type: none}}
resources: {{cpu: 1, gpu: 0}}
"""
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    folder = tmp_path_factory.mktemp("two")
    save_tiny_roberta(folder / "roberta")
    save_tiny_swin(folder / "swin")
    text = FILE.format(folder=folder, tasks=", ".join(TASKS), trials=TRIALS, seeds=SEEDS)
    (folder / "two.yaml").write_text(text)
    shell = Shell(folder, {**ray_head.environment, "SWEEPER_HOME": str(data_home)})
    shell.run("launch", "two.yaml", "--address", ray_head.address, "--json", timeout=1500)
    return shell


@pytest.fixture(scope="module")
def compared(shell) -> dict[str, Any]:
    return shell.run("compare", "two", "--json").json


@pytest.fixture(scope="module")
def exported(shell) -> Rows:
    text = shell.run("export", "two").out
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def runs(shell) -> dict[str, Any]:
    """Every run in MLflow, by its name."""
    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    return {run.info.run_name: run for run in found}


def entries(compared) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Yield each task with each of its methods and that method's control."""
    for task in compared["tasks"]:
        for entry, control in zip(task["methods"], task["controls"], strict=True):
            yield task, entry, control


def run_name(row: dict[str, Any]) -> str:
    trial, origin = int(row["trial"]), row["origin"]
    name = f"{int(origin):03d} seed {row['seed']}" if row["kind"] == "replicate" else f"{trial:03d}"
    return f"{name} · {row['method']} · {row['task'].rpartition('/')[2]}"


def test_every_study_has_its_trials_and_replicates(exported):
    counts = Counter((row["study"], row["kind"], row["state"]) for row in exported)
    for study in (f"{method}/{task}" for method in ("pare", "mona") for task in TASKS):
        assert counts[study, "sampled", "complete"] == TRIALS - 2
        assert counts[study, "preset", "complete"] == counts[study, "control", "complete"] == 1
        assert counts[study, "replicate", "complete"] == 2 * SEEDS  # of the best, and the control


def test_the_comparison_is_of_what_is_exported(compared, exported):
    for _, *both in entries(compared):
        for entry in both:
            mine = [
                row for row in exported
                if (row["study"], row["kind"]) == (entry["study"], "replicate")
                and row["origin"] == str(entry["trial"])
            ]  # fmt: skip
            assert entry["values"] == {row["seed"]: float(row["test"]) for row in mine}
            assert entry["mean"] == fmean(entry["values"].values())
            assert entry["validation"] == fmean(float(row["value"]) for row in mine)


def test_both_methods_are_trained_on_the_same_seeds(compared):
    for task in compared["tasks"]:
        first, second = task["methods"]
        assert first["values"].keys() == second["values"].keys()
        (between,) = task["comparisons"]
        assert between["pairs"] == SEEDS
        assert between["verdict"] == "cannot distinguish", "two seeds can show nothing"


def test_parquet_and_csv_are_the_same_table(shell, exported):
    shell.run("export", "two", "--format", "parquet", "-o", "two.parquet")
    table = parquet.read_table(shell.folder / "two.parquet").to_pylist()
    assert len(table) == len(exported)
    for row, text in zip(table, exported, strict=True):
        assert row.keys() == text.keys()
        for column, value in row.items():
            told = text[column]
            assert told == ("" if value is None else str(value)) or float(told) == value, column


def test_mlflow_has_every_trials_values_and_every_studys_means(compared, exported, runs):
    for row in exported:
        metrics = runs[run_name(row)].data.metrics
        assert metrics["test/nrmse"] == float(row["test"])
        assert metrics["best/val/nrmse"] == float(row["value"])
    for task, entry, control in entries(compared):
        metrics = runs[f"{entry['method']} · {task['task'].rpartition('/')[2]}"].data.metrics
        assert metrics["mean_over_seeds/test/nrmse"] == entry["mean"]
        assert metrics["mean_over_seeds/val/nrmse"] == entry["validation"]
        assert metrics["sd_over_seeds/test/nrmse"] == entry["sd"]
        assert metrics["rises/val/nrmse"] == entry["rises"]
        assert metrics["jaggedness/val/nrmse"] == entry["jaggedness"]
        assert metrics["control/mean_over_seeds/test/nrmse"] == control["mean"]
        assert metrics["seeds"] == entry["n"] == SEEDS
    ranks = {f"average_rank/{name}": rank for name, rank in compared["average_ranks"].items()}
    assert runs["two"].data.metrics == ranks


def test_the_runs_of_sweep_and_studies_hold_the_comparison(compared, runs):
    whole = json.loads(load_text(f"{runs['two'].info.artifact_uri}/comparison.json"))
    assert whole == {name: compared[name] for name in whole}
    for task, entry, _ in entries(compared):
        run = runs[f"{entry['method']} · {task['task'].rpartition('/')[2]}"]
        (found,) = json.loads(load_text(f"{run.info.artifact_uri}/comparison.json"))["tasks"]
        assert found == task
    rows = csv.DictReader(io.StringIO(load_text(f"{runs['two'].info.artifact_uri}/comparison.csv")))
    shown = {(row["task"], row["method"]): row for row in rows if row["is_control"] == "False"}
    for task, entry, _ in entries(compared):
        assert float(shown[task["task"], entry["label"]]["test"]) == entry["mean"]


class Tables(HTMLParser):
    """The rows of all tables of a page: each cell in full, and as it is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str]]] = []
        self._cell: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self._cell, self._full = "", dict(attrs).get("title")

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._cell is not None:
            self.rows[-1].append((self._full or self._cell, self._cell))
            self._cell = None


@pytest.mark.parametrize("command", [("report", "-o"), ("compare", "--html")], ids=lambda c: c[0])
def test_the_page_shows_the_same_numbers(shell, compared, command):
    name, option = command
    shell.run(name, "two", option, "page.html")
    page = Path(shell.folder, "page.html").read_text()
    assert compared["answer"] in page
    rows = Tables(page).rows
    for task, entry, control in entries(compared):
        shown = METHODS[entry["method"]]
        assert task["answer"] in page
        for mean, label in ((entry["mean"], shown), (control["mean"], f"{shown}: control")):
            mine = [row for row in rows if len(row) > 8 and (row[0][0], row[1]) == (
                label, (repr(mean), readable(mean)))]  # fmt: skip
            assert mine, f"{task['task']}: {label} {mean!r}"
            assert {row[3][0] for row in mine} == {str(SEEDS)}
    if name == "report":
        results = {(row[0][0], row[1][0]): row for row in rows if len(row) > 8}
        for task, entry, control in entries(compared):
            row = results[task["task"], METHODS[entry["method"]]]
            assert row[2] == (repr(entry["mean"]), readable(entry["mean"]))
            assert row[5][0] == repr(entry["validation"])
            assert row[8][0] == repr(control["mean"])


def test_best_and_latex_agree_too(shell, compared):
    best = {s["study"]: s["best"][0] for s in shell.run("best", "two", "--json").json["studies"]}
    table = shell.run("export", "two", "--format", "latex").out
    for _, entry, _ in entries(compared):
        found = best[entry["study"]]
        assert (found["trial"], found["test"], found["sd"], found["validation"]) == (
            entry["trial"], entry["mean"], entry["sd"], entry["validation"],
        )  # fmt: skip
        assert f"{readable(entry['mean'])} \\pm {readable(entry['sd'])}" in table
