"""A real search with two objectives and a constraint, interrupted and continued."""

import signal
from contextlib import suppress

import pytest
from mlflow import MlflowClient

import sweeper
from sweeper.errors import NotFound
from sweeper.ledger import Ledger
from sweeper.results.read import read_study
from tests.support.servers.cluster import shell_on
from tests.support.small_sweep import SEARCH, STUDY, Sweep, finish, wait_for_epochs

TRIALS = 6
FIRST = 4  # trials of the first launch, two of which the search's model draws
MOST = 1.0  # loss that keeps the constraint
# Goals that no clock decides.
GOALS = f'objectives: [val, val/loss], constraints: {{val/loss: "<= {MOST}"}}'
HOW = f"trials: {TRIALS}, sampler: nsga2, startup_trials: 2, max_concurrent: 1"
CHANGES = {SEARCH: f"search: {{{HOW}, {GOALS}}}", "samples: 48": "samples: 192"}


@pytest.fixture
def shell(tmp_path, ray_head, data_home, monkeypatch):
    monkeypatch.setenv("SWEEPER_HOME", str(data_home))
    monkeypatch.chdir(tmp_path)
    yield shell_on(ray_head, tmp_path, data_home)
    for name in ("whole", "cut"):
        with suppress(NotFound):
            sweeper.open(name).cancel()


def test_it_draws_the_same_after_a_resume_and_no_infeasible_trial_wins(shell):
    whole, cut = (Sweep(shell, name, changes=CHANGES) for name in ("whole", "cut"))
    finish(whole.start())
    # a fast machine may end the first trials before the signal comes, but never all of them
    launch = cut.start("--trials", str(FIRST))
    wait_for_epochs(cut, 1)
    launch.send_signal(signal.SIGINT)
    launch.communicate(timeout=120)
    assert 0 < len(cut.rows("select number from trials")) <= FIRST
    finish(cut.start())
    assert cut.outcomes() == whole.outcomes()

    study = read_study(Ledger.in_folder(whole.folder), STUDY)
    assert len(study.complete) == TRIALS
    for trial in study.complete:
        quantities = study.quantities[trial.number]
        assert quantities["val/nrmse"] == trial.value
        assert trial.is_feasible == (quantities["val/loss"] <= MOST)
    feasible = [trial for trial in study.complete if trial.is_feasible]
    losses = {t.number: study.quantities[t.number]["val/loss"] for t in study.complete}
    assert 0 < len(feasible) < TRIALS, losses
    assert sweeper.open("whole").best().value == min(t.value for t in feasible)
    lowest = sweeper.open("whole").best(objective="val/loss")
    assert losses[lowest.number] == min(losses[t.number] for t in feasible)

    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    assert experiment is not None
    tagged = client.search_runs(
        [experiment.experiment_id],
        "tags.`sweeper.sweep` = 'whole' and tags.`sweeper.pareto` = 'true'",
    )
    found = {int(run.data.tags["sweeper.trial"]) for run in tagged}
    assert found == {trial.number for trial in study.front}
    assert {run.data.tags["sweeper.feasible"] for run in tagged} == {"true"}
