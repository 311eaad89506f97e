"""A sweep whose alignments are few: each is computed once, though its trials are killed."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support import killing
from tests.support.command import Shell
from tests.support.small_sweep import Sweep, finish, wait_for_epochs
from tests.support.tiny_backbones import save_tiny_roberta

SAMPLED, DISTINCT, ALIGN, REFINE = 6, 2, 3, 2
STUDY = "orca/pdebench/advection_1d"
FILE = """
name: {name}
experiment: pdebench
methods: [orca]
tasks: [pdebench/advection_1d]
backbones: {{1d: {{name: {roberta}, tokens: 16}}}}
proxies: {{1d: python_source}}
model: {{head: linear}}
data: {{samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: 64}}
parameters:
  align.lr: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-1}}
  refine.lr: {{distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
fixed: {{align.epochs: 3, refine.epochs: 2, refine.batch_size: 16, refine.warmup_epochs: 1}}
stages: {{align: {{distinct: 2}}}}
search: {{trials: 8, sampler: random}}
pruning: {{type: none}}
resources: {{cpu: 1, gpu: 0, dashboard: false}}
"""


@dataclass
class SharingSweep(Sweep):
    def file(self) -> Path:
        file, weights = self.shell.folder / f"{self.name}.yaml", self.shell.folder / "roberta"
        save_tiny_roberta(weights)
        file.write_text(FILE.format(name=self.name, roberta=weights))
        return file


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    folder = tmp_path_factory.mktemp("t")
    return Shell(folder, {"SWEEPER_HOME": str(folder / "home")})


@pytest.fixture(scope="module")
def sweep(shell) -> Sweep:
    sweep = SharingSweep(shell, "sharing")
    launch = sweep.start()
    wait_for_epochs(sweep, 1)
    for trial in killing.trials_of(launch):
        killing.kill(trial)
    finish(launch)
    return sweep


def builders(sweep: Sweep) -> dict[int, str | None]:
    """The trial that computed the alignment of each sampled trial; None for itself."""
    return {
        number: measured.get("computed_by")
        for number, measured in sweep.events("measured")
        if measured["stage"] == "align" and number > 1
    }


def prefixes(sweep: Sweep) -> dict[tuple[int, float], list[int]]:
    """The sampled trials by seed and rate of their alignment."""
    found: dict[tuple[int, float], list[int]] = defaultdict(list)
    for number, seed, params in sweep.rows("select number, seed, params from trials"):
        if number > 1:
            found[seed, json.loads(params)["align.lr"]].append(number)
    return found


def test_every_epoch_of_every_trial_is_measured_though_it_was_not_computed(sweep):
    measured = {(n, m["stage"], m["epoch"]) for n, m in sweep.events("measured")}
    planned = {(n, "refine", e) for n in range(2 + SAMPLED) for e in range(1, REFINE + 1)}
    planned |= {(n, "align", e) for n in range(2 + SAMPLED) for e in range(1, ALIGN + 1)}
    assert measured == {key for key in planned if key[:2] != (1, "align")}  # not the control
    states = {state for (state,) in sweep.rows("select state from trials")}
    assert states == {"complete"}


def test_each_alignment_is_crossed_with_as_many_draws_and_computed_once(sweep):
    found = prefixes(sweep)
    assert [len(numbers) for numbers in found.values()] == [SAMPLED // DISTINCT] * DISTINCT
    by = builders(sweep)
    for numbers in found.values():
        (own,) = [number for number in numbers if by[number] is None]
        others = {by[number] for number in numbers if number != own}
        assert others == {f"sharing/{STUDY}/{own}"}
    results = list(Path(sweep.shell.environment["SWEEPER_HOME"]).glob("cache/stages/results/*"))
    assert len(results) == DISTINCT + 1  # and the preset's


def test_what_was_taken_over_is_told_and_is_not_counted_as_trained(sweep):
    cost = sweep.shell.run("status", sweep.name, "--json").json["cost"]
    others = SAMPLED - DISTINCT
    assert cost["taken_over_epochs"] == others * ALIGN
    assert cost["epochs"] == (2 + SAMPLED) * REFINE + (DISTINCT + 1) * ALIGN
    assert f"{others * ALIGN} epochs were taken over" in sweep.shell.run("status", sweep.name).out
    sweep.shell.run("report", sweep.name, "-o", "page.html")
    assert "were taken over from trials" in (sweep.shell.folder / "page.html").read_text()


def test_trials_that_share_an_alignment_differ_after_it_alone(sweep):
    curves = defaultdict(dict)
    for number, m in sweep.events("measured"):
        curves[number][m["stage"], m["epoch"]] = m["metrics"]
    for first, *others in prefixes(sweep).values():
        for other in others:
            for epoch in range(1, ALIGN + 1):
                assert curves[first]["align", epoch] == curves[other]["align", epoch]
            assert curves[first]["refine", REFINE] != curves[other]["refine", REFINE]


def test_mlflow_leads_to_the_run_that_computed_a_stage(sweep):
    client = MlflowClient(f"sqlite:///{sweep.shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    runs = {
        int(run.data.tags["sweeper.trial"]): run
        for run in client.search_runs([experiment.experiment_id])
        if "sweeper.trial" in run.data.tags
    }
    for number, builder in builders(sweep).items():
        tags = runs[number].data.tags
        if builder is None:
            assert "sweeper.stage.align" not in tags
        else:
            own = int(builder.rpartition("/")[2])
            assert tags["sweeper.stage.align.run_id"] == runs[own].info.run_id


def test_once_it_is_over_nobody_holds_the_results_and_gc_deletes_them(sweep):
    told = sweep.shell.run("gc", "--max-bytes", "0B", "--dry-run", "--json").json
    assert len(told["deleted"]) == DISTINCT + 1
    done = sweep.shell.run("gc", "--max-bytes", "0B", "--json").json
    assert (done["kept"], done["deleted_bytes"]) == ([], told["deleted_bytes"])
    assert not list(Path(done["place"]).glob("results/*"))
