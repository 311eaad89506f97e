"""The contract of every task in the registry.

Data are generated, or imported from files in the official layout; they train a tiny backbone for
two epochs, scored by the task's metric.
"""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import pytest

from tests.support.published.nasbench360 import WRITERS
from tests.support.tiny_backbones import save_tiny_roberta, save_tiny_swin
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.importing import import_task
from trainables.tasks.official import is_generated
from trainables.tasks.registry import TASKS, task_info

EPOCHS = 2
PUBLISHED = [name for name in TASKS if not name.endswith("@hard")]
GENERATED = {"val_fraction": 0.25, "test_fraction": 0.25, "samples": 8, "resolution": 16}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("tasks")
    save_tiny_roberta(home / "roberta", layers=1)
    save_tiny_swin(home / "swin")
    return home


def spec(home: Path, name: str, data: Mapping[str, Any]) -> TrialSpec:
    """Vanilla fine-tuning by the task's recipe, but for the epochs and larger batches."""
    info = task_info(name)
    backbones = {"1d": {"name": str(home / "roberta"), "tokens": 8},
                 "2d": {"name": str(home / "swin")}}  # fmt: skip
    refine = {**info.recipe, "epochs": EPOCHS, "batch_size": 32, "accumulation": 1}
    return TrialSpec.model_validate(
        {
            "method": "nft",
            "task": name,
            "backbone": backbones[info.dimension],
            "data": data,
            "model": {"head": "linear"},
            "stages": {"refine": refine},
            "seed": 0,
            "home": home,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_task_trains_and_is_scored_by_its_metric(home, tmp_path, name):
    short = name.partition("/")[2]
    if not is_generated(name):
        import_task(name, [WRITERS[short](tmp_path / short)], home)
    data = GENERATED if is_generated(name) else {}
    training = Training.begin(spec(home, name, data), WarmParts())
    reports = list(training.reports())
    info = task_info(name)
    assert [(report.epoch, report.is_final) for report in reports] == [(1, False), (2, True)]
    for report in reports:
        assert report.objective == report.metrics[f"val/{info.metric}"]
        assert all(isfinite(value) for value in report.metrics.values())
    tested = {key for key in reports[-1].metrics if key.startswith("test/")}
    assert tested == {f"test/{metric}" for metric in info.metrics}
    assert training.domains.target.baselines
