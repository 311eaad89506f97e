"""Loss around trained weights, on a plane of two random directions.

    L(a, b) = loss of theta + a delta + b eta,   a, b in [-span, span]

Each direction is normally distributed, and each of its filters is rescaled to the norm of the same
filter of the weights (a row of a matrix, an output channel of a convolution). Biases, norms and
other vectors are unchanged. Li et al., "Visualizing the Loss Landscape of Neural Nets", NeurIPS
2018. Without the rescaling the plane depends more on the scale of the weights than on the loss.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.seeding import generator
from trainables.tasks.task import Task
from trainables.training.evaluation import evaluating, predictions
from trainables.training.losses import loss_of
from trainables.training.state import TrainState

__all__ = ["Landscape", "filter_normalized", "landscape", "validation_loss"]

SEED = 0  # seed of the samples; it belongs to the data, not to the trial
TINY = 1e-30  # norm of a direction without any weight
CURVATURE_AT = 0.25  # position, relative to the span, at which the curvature is measured


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Losses [points, points] at steps `a` (rows) and `b` (columns) along the two directions."""

    a: np.ndarray
    b: np.ndarray
    loss: np.ndarray

    @property
    def curvature(self) -> float:
        """The loss's mean increase at the points next to a quarter of the span, both directions."""
        middle = len(self.a) // 2
        off = round(CURVATURE_AT * middle)
        around = [
            self.loss[middle + off, middle],
            self.loss[middle - off, middle],
            self.loss[middle, middle + off],
            self.loss[middle, middle - off],
        ]
        return float(np.mean(around) - self.loss[middle, middle])


def landscape(
    model: nn.Module,
    loss: Callable[[], float],
    *,
    seed: int,
    span: float = 1.0,
    points: int = 21,
) -> Landscape:
    """Evaluate `loss` over the plane around the current weights.

    The model is in evaluation mode during the evaluation. Its weights are restored bit for bit.

    Args:
        model: Model whose weights are moved.
        loss: Function of the model's current weights.
        seed: Seed of the directions.
        span: Largest step along a direction, relative to the norm of the weights.
        points: Number of steps along a direction. It is odd, so that the middle is the model
            itself.

    Raises:
        ValueError: `points` is even or below 3.
    """
    if points % 2 == 0 or points < 3:
        raise ValueError(f"`points` must be odd and at least 3, but got {points=}.")
    # Both directions have their own generator, so that they are equal for all spans and points.
    steps = np.linspace(-span, span, points)
    directions = [
        filter_normalized(model, generator(seed, "landscape", name)) for name in ("delta", "eta")
    ]
    values = np.empty((points, points))
    # Every point starts from the copy: steps forth and back would leave rounding errors in the
    # weights.
    with _borrowed(model) as weights:
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                _move(model, weights, directions, (float(a), float(b)))
                values[i, j] = loss()
    return Landscape(a=steps, b=steps, loss=values)


@torch.inference_mode()
def validation_loss(state: TrainState, task: Task, *, most: int) -> float:
    """Return the task's mean loss of the current model on at most `most` validation samples.

    The samples are the same at each call.
    """
    split, loss = task.val, loss_of(task)
    order = torch.randperm(len(split), generator=generator(SEED, "landscape-samples"))
    drawn = order[:most].sort().values
    total = torch.zeros((), dtype=torch.float64, device=state.device)
    for prediction, target in predictions(state, state.model, split, drawn.numpy()):
        total += loss(prediction, target) * len(target)
    return total.item() / len(drawn)


def filter_normalized(model: nn.Module, rng: torch.Generator) -> dict[str, Tensor]:
    """Return a random direction whose filters have the norms of the model's filters."""
    direction = {}
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            continue
        kind = weight.dtype if weight.is_complex() else None
        drawn = torch.randn(weight.shape, generator=rng, dtype=kind).to(weight)
        drawn *= weight.detach() != 0  # weights that are 0 by construction, around a small kernel
        axes = tuple(range(1, weight.dim()))
        # One norm for each entry of the first axis: a row of a matrix, or an output channel.
        size = torch.linalg.vector_norm(weight.detach(), dim=axes, keepdim=True)
        length = torch.linalg.vector_norm(drawn, dim=axes, keepdim=True)
        direction[name] = drawn * (size / length.clamp_min(TINY))
    return direction


@contextmanager
def _borrowed(model: nn.Module) -> Iterator[Mapping[str, Tensor]]:
    """Yield a copy of the weights, in evaluation mode, and restore weights and mode at the end."""
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with evaluating(model):
        try:
            yield weights
        finally:
            _move(model, weights, (), ())


@torch.no_grad()
def _move(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    directions: list[dict[str, Tensor]] | tuple[()],
    steps: tuple[float, ...],
) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
        for direction, step in zip(directions, steps, strict=True):
            if name in direction:
                parameter.add_(direction[name], alpha=step)
