from typing import get_args

from trainables.metrics import METRICS
from trainables.tasks.kinds import KINDS, Kind
from trainables.tasks.registry import TASKS
from trainables.training.losses import LOSSES


def test_every_kind_has_its_facts():
    assert set(KINDS) == set(get_args(Kind))


def test_the_default_metric_is_the_first_and_has_the_default_loss():
    regression = KINDS["regression"]
    assert (regression.metric, regression.loss) == ("rmse", "mse")
    assert regression.metrics == ("rmse", "mae", "one_minus_r2", "nrmse")
    assert (KINDS["classification"].metric, KINDS["classification"].loss) == (
        "zero_one_error",
        "cross_entropy",
    )


def test_tasks_of_benchmarks_have_metrics_of_their_kind():
    for info in TASKS.values():
        special = info.mask is not None  # masks have metrics of their own
        assert special or info.metric in KINDS[info.kind].metrics, info.name


def test_metrics_and_losses_of_every_kind_exist():
    for facts in KINDS.values():
        assert set(facts.metrics) <= set(METRICS)
        assert set(facts.losses.values()) <= set(LOSSES)
