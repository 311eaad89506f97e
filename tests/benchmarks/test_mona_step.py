"""A step of MoNA's meta stage against one of fine-tuning, at laptop size on the real weights.

In passes of 16 samples, a step of fine-tuning is one forward and two backward (by activations, by
weights). `fd` adds the same for the source batch, and two forward and two backward passes without
those by weights: with a source batch as large as the target's that is 10 against 3. LOG.md says why
the goal of 2.7 is missed.
"""

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.support.figures import compare
from trainables.methods.mona.config import MetaConfig
from trainables.methods.mona.meta_alignment import MetaAlignment
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.report import Report
from trainables.sources.source import Domains, Source
from trainables.spec import BackboneSpec, ModelSpec
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task
from trainables.training.state import TrainState

BATCH, STEPS, ROUNDS = 16, 3, 4
TOKENS = 32
POINTS = 256

pytestmark = pytest.mark.benchmark


def noise(n: int) -> Split:
    draws = np.random.default_rng(0).standard_normal((2, n, 1, POINTS)).astype(np.float32)
    return Split(x=draws[0], y=draws[1])


@pytest.fixture(scope="module")
def seconds(tmp_path_factory) -> dict[str, float]:
    """The shortest processor time of a step, over rounds in which the contestants take turns."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    backbone = load_backbone(BackboneSpec(name="minilm", layers=2, tokens=TOKENS), home)
    task = Task(
        info=TASKS["pdebench/advection_1d"],
        train=noise(BATCH * STEPS),
        val=noise(1),
        test=noise(1),
        data_source="generated",
        content_hash="0" * 64,
        baselines={},
    )
    inputs = torch.randint(1000, 20_000, (200, TOKENS), generator=torch.Generator().manual_seed(0))
    source = Source(
        inputs=inputs,
        labels=torch.arange(200) % 10,
        features=backbone.embed_source(inputs).mean(1),
        num_classes=10,
        content_hash="1" * 64,
        embed=backbone.embed_source,
    )
    domains = Domains(target=task, source=source)

    def reports(stage) -> Iterator[Report]:
        model = build_model(backbone, task, ModelSpec(head="linear"), seed=0)
        return stage.run(TrainState(model=model, seed=0), domains)

    epochs = {"epochs": ROUNDS + 1, "batch_size": BATCH}
    contestants = {"fine-tuning": reports(FineTuning("refine", RefineConfig(**epochs)))}
    for mode in ("exact", "fd"):
        for classes, per_class in ((10, 6), (8, 2), (4, 2)):  # last: the laptop profile's
            config = MetaConfig(meta_grad=mode, classes=classes, per_class=per_class, **epochs)
            contestants[f"{mode} {classes}x{per_class}"] = reports(MetaAlignment("meta", config))
    shortest = dict.fromkeys(contestants, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, stage in contestants.items():
            began = time.process_time()
            next(stage)
            if turn:  # the first one warms up
                shortest[name] = min(shortest[name], (time.process_time() - began) / STEPS)
    return shortest


def test_a_step_of_finite_difference_costs_at_most_four_of_fine_tuning(seconds):
    plain = seconds["fine-tuning"]
    for name, step in seconds.items():
        what = f"a step of meta, {name}"
        compare(what, 1e3 * step, 1e3 * plain, peer="fine-tuning", unit="ms", goal="<= 2.7")
    assert seconds["fd 8x2"] < 4 * plain
    assert seconds["fd 4x2"] < 4 * plain
