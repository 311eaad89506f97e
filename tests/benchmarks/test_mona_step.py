"""A step of MoNA's meta stage against one of fine-tuning, at laptop size on the real weights.

In passes of 16 samples, a step of fine-tuning is one forward and two backward (by activations, by
weights). `fd` adds the same for the source batch, and two forward and two backward passes without
those by weights: with a source batch as large as the target's that is 10 against 3. LOG.md says why
the goal of 2.7 is missed.
"""

from collections.abc import Iterator

import pytest
import torch

from tests.support.figures import compare
from tests.support.timed_stages import noise_task, random_source, shortest_turns
from trainables.methods.mona.config import MetaConfig
from trainables.methods.mona.meta_alignment import MetaAlignment
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.report import Report
from trainables.sources.source import Domains
from trainables.spec import BackboneSpec, ModelSpec
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.training.state import TrainState

BATCH, STEPS, ROUNDS = 16, 3, 4
TOKENS = 32
POINTS = 256

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def seconds(tmp_path_factory) -> dict[str, float]:
    """The shortest processor time of a step, over rounds in which the contestants take turns."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    backbone = load_backbone(BackboneSpec(name="minilm", layers=2, tokens=TOKENS), home)
    task = noise_task("pdebench/advection_1d", BATCH * STEPS, (1, POINTS))
    inputs = torch.randint(1000, 20_000, (200, TOKENS), generator=torch.Generator().manual_seed(0))
    source = random_source(backbone, inputs)
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
    shortest = shortest_turns(contestants, ROUNDS)
    return {name: epoch / STEPS for name, epoch in shortest.items()}


def test_a_step_of_finite_difference_costs_at_most_four_of_fine_tuning(seconds):
    plain = seconds["fine-tuning"]
    for name, step in seconds.items():
        what = f"a step of meta, {name}"
        compare(what, 1e3 * step, 1e3 * plain, peer="fine-tuning", unit="ms", goal="<= 2.7")
    assert seconds["fd 8x2"] < 4 * plain
    assert seconds["fd 4x2"] < 4 * plain
