"""The controls of two methods: trained once on real Ray, and shown in both studies."""

from contextlib import closing

import pytest
from mlflow import MlflowClient

from sweeper.ledger import Ledger
from sweeper.model import Trial, TrialKind, TrialState
from tests.support.command import Shell
from tests.support.tiny_backbones import save_tiny_roberta

FILE = """
name: once
experiment: pdebench
methods: [orca, pare]
tasks: [pdebench/advection_1d]
backbones: {{1d: {{name: {folder}/roberta, tokens: 16}}}}
proxies: {{1d: python_source}}
model: {{head: linear}}
data: {{samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: {{1d: 64}}}}
fixed:
  align.epochs: 1
  align.measure: 0
  refine.epochs: 2
  refine.lr: 1.0e-3
  refine.batch_size: 16
  replace.epochs: 2
  replace.lr: 1.0e-3
  replace.batch_size: 16
search: {{trials: 2}}
replicate: {{top: 1, seeds: 2}}
resources: {{cpu: 1, gpu: 0}}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    folder = tmp_path_factory.mktemp("once")
    save_tiny_roberta(folder / "roberta")
    (folder / "once.yaml").write_text(FILE.format(folder=folder))
    shell = Shell(folder, {**ray_head.environment, "SWEEPER_HOME": str(data_home)})
    shell.run("launch", "once.yaml", "--address", ray_head.address, "--json", timeout=600)
    return shell


def test_both_studies_have_the_numbers_of_one_training(shell):
    with closing(Ledger.in_folder(shell.folder / "sweeps" / "once")) as ledger:
        controls = [
            sorted((t for t in ledger.trials(study.name) if is_control(t)), key=lambda t: t.seed)
            for study in ledger.studies()
        ]
        assert [len(each) for each in controls] == [3, 3]
        for one, two in zip(*controls, strict=True):
            assert {one.state, two.state} == {TrialState.COMPLETE}
            assert (one.seed, one.value, one.test) == (two.seed, two.value, two.test)
            curves = [ledger.measurements(each.study, each.number) for each in (one, two)]
            assert [m.objective for m in curves[0]] == [m.objective for m in curves[1]]
            assert [{m.stage for m in each} for each in curves] == [{"refine"}, {"replace"}]
            builders = [{m.computed_by for m in each} for each in curves]
            trained = builders.index({None})
            assert builders[1 - trained] == {f"once/{(one, two)[trained].name}"}


def is_control(trial: Trial) -> bool:
    """Return whether a trial is the control of its study, or a replicate of it."""
    return trial.kind is TrialKind.CONTROL or trial.origin == 1


def test_mlflow_has_a_finished_run_of_each_trial(shell):
    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    tests = {run.info.run_name: run.data.metrics.get("test/nrmse") for run in runs}
    assert {run.info.status for run in runs} == {"FINISHED"}
    one, two = (tests[f"001 · {method} · advection_1d"] for method in ("orca", "pare"))
    assert one == two is not None


def test_a_model_of_the_other_trial_says_where_it_is(shell):
    with closing(Ledger.in_folder(shell.folder / "sweeps" / "once")) as ledger:
        (there,) = [t for s in ledger.studies() for t in ledger.trials(s.name)
                    if t.kind is TrialKind.CONTROL and t.checkpoint is None]  # fmt: skip
    refused = shell.run("export", "once", "--trial", there.name, "--model", "model", code=2)
    assert "the same training as" in refused.err
