"""What a trial may report."""

import pytest

from sweeper.core.runner import SweepRunner, refusal
from sweeper.model import Decision, TrialState
from tests.support.fakes import FixedSampler, new_ledger, plan, started
from trainables.report import Measurement


@pytest.mark.parametrize(
    "name", ["val/nrmse", "refine/train_loss", "a.b-c_1", "x" * 250, "align/otdd/3"]
)
def test_names_that_every_recorder_takes(name: str) -> None:
    assert refusal({name: 0.5, "other": 3}) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "``"),
        ("../m", "`../m`"),
        ("a/../b", "`a/../b`"),
        ("./a", "`./a`"),
        ("/a", "`/a`"),
        ("a/", "`a/`"),
        ("a//b", "`a//b`"),
        ("ü", "`ü`"),
        ("a b", "`a b`"),
        ("a\nb", r"`a\nb`"),
        ("a\n", r"`a\n`"),
        ("\x1b[31m", r"`\x1b[31m`"),
        ("=cmd()", "`=cmd()`"),
        ("x" * 251, f"`{'x' * 77}...`"),
    ],
)
def test_a_name_that_is_none_is_told(name: str, shown: str) -> None:
    told = refusal({"val/nrmse": 0.1, name: 0.5})
    assert told is not None
    assert told.startswith(f"metric {shown}: a name is 1 to 250 letters, digits, _ . and -")


def test_a_metric_too_many_is_named() -> None:
    metrics = {f"m{number}": 0.0 for number in range(201)}
    assert (
        refusal(metrics) == "too many metrics in a report: metric `m200` exceeds the limit of 200."
    )
    del metrics["m200"]
    assert refusal(metrics) is None


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5], 1j])
def test_what_is_no_number_is_told(value: object) -> None:
    told = refusal({"loss": value})
    assert told is not None
    assert told.startswith("metric `loss` is ")


def test_a_trial_that_reports_too_much_fails_and_names_the_metric(tmp_path) -> None:
    runner = SweepRunner(
        [plan(FixedSampler([{"refine.lr": 0.1}]), num_trials=1)], new_ledger(tmp_path)
    )
    trial = started(runner)
    metrics = {f"m{number}": 0.0 for number in range(1000)}
    epoch = Measurement(stage="refine", epoch=1, num_epochs=2, metrics=metrics, objective=0.1)
    assert runner.on_report(trial, epoch) is Decision.PRUNE
    (ended,) = runner.trials
    assert (ended.state, ended.failure) == (TrialState.FAILED, "config")
    assert ended.reason == "too many metrics in a report: metric `m200` exceeds the limit of 200."
    assert new_ledger(tmp_path).measurements(trial.study, trial.number) == ()
