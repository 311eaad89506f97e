"""Projection of source, target and mixtures onto the plane of their largest variance.

The plane is that of the first two principal components of the mean tokens of all three, as the
embedders make them. Half of the tokens of a mixture are those of the source, and its class is the
target's. Cai et al., ICML 2024 (PaRe), figure 1.

Shapes: n = samples; d = features.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.decomposition import PCA

from trainables.diagnostics.intermediate import Scorer, mixture_means, pair
from trainables.models.cross_modal import CrossModalModel
from trainables.sources.source import Source
from trainables.tasks.task import Task

HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Points on the plane: `kind` is source, target or mix, `label` the class within its side."""

    kind: np.ndarray
    points: Float[np.ndarray, "n 2"]
    label: Int64[np.ndarray, " n"]
    shown: float  # share of the features' variance in the plane


def scatter(
    model: CrossModalModel, task: Task, source: Source, scorer: Scorer, *, most: int
) -> Scatter:
    """Project at most `most` samples of each kind onto the plane, and leave the model as it was."""
    pairs = pair(task, source, most)
    # A mixture without source tokens is the target sample itself.
    target, mix = mixture_means(model, task, source, pairs, scorer, shares=(0.0, HALF)).cpu()
    features = torch.cat([source.features[pairs.source], target, mix]).double().numpy()
    points, shown = plane(features)
    return Scatter(
        kind=np.repeat(["source", "target", "mix"], len(target)),
        points=points,
        label=torch.cat([pairs.source_classes, *[pairs.target_classes] * 2]).numpy(),
        shown=shown,
    )


def plane(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "n 2"], float]:
    """Return the first two principal components, and their share of the variance."""
    # By default scikit-learn may choose a solver that draws random numbers.
    pca = PCA(2, svd_solver="full")
    points = pca.fit_transform(features)
    return points, float(pca.explained_variance_ratio_.sum())
