"""An epoch of contrastive training against one that only runs the embedder, at laptop size.

The plain epoch reads as many samples in batches as large, embeds them, and takes a step of the same
optimiser along the gradient of the mean token. What the stage adds is the draw of views and their
noise, the loss, and what it reports: 50 microseconds a view, most of which are calls, not numbers.
In 1D that is more than half of what embedding costs; on larger inputs it is little. The shapes that
tests check in every call are part of what is timed, as is processor time alone, which other work on
the machine does not lengthen.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.support.figures import compare
from tests.support.timed_stages import random_task, shortest_turns
from trainables.methods.contrastive_pare.config import ContrastConfig
from trainables.methods.contrastive_pare.contrast import Contrast
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import CrossModalModel, build_model
from trainables.seeding import generator
from trainables.sources.source import Domains
from trainables.spec import BackboneSpec, ModelSpec
from trainables.tasks.task import Task
from trainables.training import optim
from trainables.training.evaluation import gather, shuffled_batches
from trainables.training.state import TrainState

SAMPLES, BATCH, ROUNDS = 256, 64, 20
BACKBONES = {
    "1d": {"name": "minilm", "layers": 1, "tokens": 32},
    "2d": {"name": "dinov2_small", "layers": 1, "tokens": 64},
}
TARGETS = {"1d": ("pdebench/advection_1d", (256,)), "2d": ("pdebench/darcy_2d", (32, 32))}

AT_MOST = {"1d": 2.5, "2d": 1.5}  # of the embedder alone, with noise on inputs

pytestmark = pytest.mark.benchmark


def target(dimension: str) -> Task:
    name, grid = TARGETS[dimension]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, 1, *grid)).astype(np.float32)
    y = (x + rng.integers(10, size=(SAMPLES, 1, *[1] * len(grid)))).astype(np.float32)
    return random_task(name, x, y)


def embedder_alone(model: CrossModalModel, task: Task) -> Iterator[None]:
    """Take an epoch between two values."""
    parameters = list(model.embedder.parameters())
    optimizer = optim.make_optimizer("adamw", parameters, lr=1e-3, weight_decay=1e-5)
    while True:
        for batch in shuffled_batches(len(task.train), BATCH, generator(0)):
            x = gather(task.train.x, batch, torch.device("cpu"))
            model.embed(x).mean().backward()
            optim.clip_gradients(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield


@pytest.mark.parametrize("dimension", ["1d", "2d"])
def test_an_epoch_costs_at_most_so_much_of_one_of_the_embedder_alone(dimension, tmp_path):
    torch.set_num_threads(1)
    task = target(dimension)
    backbone = load_backbone(BackboneSpec(**BACKBONES[dimension]), tmp_path)

    def model() -> CrossModalModel:
        return build_model(backbone, task, ModelSpec(head="linear"), seed=0)

    def stage(**settings: object) -> Iterator[object]:
        config = ContrastConfig.model_validate({"measure": 0, "epochs": ROUNDS + 1, **settings})
        return Contrast("contrast", config).run(
            TrainState(model=model(), seed=0), Domains(target=task)
        )

    seconds = shortest_turns(
        {
            "embedder alone": embedder_alone(model(), task),
            "noise on inputs": stage(),
            "noise on tokens": stage(noise_space="tokens"),
        },
        ROUNDS,
    )
    plain = seconds["embedder alone"]
    for name, epoch in seconds.items():
        what, goal = f"an epoch of contrast, {dimension}, {name}", f"< {AT_MOST[dimension]}"
        compare(what, 1e3 * epoch, 1e3 * plain, peer="embedder alone", unit="ms", goal=goal)
    assert seconds["noise on inputs"] < AT_MOST[dimension] * plain
