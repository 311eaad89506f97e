"""The contract of every task in the registry.

Data are generated, or imported from files in the official layout; they train a tiny backbone for
two epochs, scored by the task's metric.
"""

from math import isfinite

import pytest

from tests.support.published.nasbench360 import WRITERS
from tests.support.tiny_trials import Trials, make_trials
from trainables.spec import DataSpec, TrialSpec
from trainables.tasks.importing import import_task
from trainables.tasks.official import is_generated
from trainables.tasks.registry import TASKS, task_info

EPOCHS = 2
PUBLISHED = [name for name in TASKS if not name.endswith("@hard")]
GENERATED = DataSpec(val_fraction=0.25, test_fraction=0.25, samples=8, resolution=16)


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Trials:
    return make_trials(tmp_path_factory.mktemp("tasks"))


def spec(trials: Trials, name: str) -> TrialSpec:
    """Return vanilla fine-tuning by the task's recipe, but for the epochs and larger batches."""
    info = task_info(name)
    refine = {**info.recipe, "epochs": EPOCHS, "batch_size": 32, "accumulation": 1}
    data = GENERATED if is_generated(name) else DataSpec()
    changes = {"task": name, "proxy": None, "data": data, "stages": {"refine": refine}}
    return trials.spec("nft", info.dimension).model_copy(update=changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_task_trains_and_is_scored_by_its_metric(trials, tmp_path, name):
    short = name.partition("/")[2]
    if not is_generated(name):
        import_task(name, [WRITERS[short](tmp_path / short)], trials.home)
    training = trials.begin(spec(trials, name))
    reports = list(training.reports())
    info = task_info(name)
    assert [(report.epoch, report.is_final) for report in reports] == [(1, False), (2, True)]
    for report in reports:
        assert report.objective == report.metrics[f"val/{info.metric}"]
        assert all(isfinite(value) for value in report.metrics.values())
    tested = {key for key in reports[-1].metrics if key.startswith("test/")}
    assert tested == {f"test/{metric}" for metric in info.metrics}
    assert training.domains.target.baselines
