"""The distance from embedded target samples to the source that an alignment minimises.

OTDD compares them with all of a class-balanced choice of source samples, drawn once by the data's
seed, whose statistics every trial of a process shares. MMD and Euclidean distances compare them
with as many samples of that choice, drawn anew each time.

Shapes: n = source samples; m = target samples; d = features; "" = scalar.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from trainables.distances.euclidean import distance_of_means, mean_paired_distance
from trainables.distances.mmd import mmd
from trainables.distances.otdd import otdd
from trainables.distances.statistics import cached_statistics
from trainables.methods.orca.config import AlignConfig
from trainables.sources.source import Source, balanced_choice

__all__ = ["SourceDistance"]


class SourceDistance:
    """A distance to the source by a stage's settings, differentiable in the target."""

    def __init__(self, source: Source, config: AlignConfig, device: torch.device) -> None:
        self.config = config
        self.method = config.distance.removeprefix("otdd_") if "otdd" in config.distance else None
        chosen = balanced_choice(source.labels, config.source_per_class)
        self.features = source.features[chosen].to(device)
        if self.method is not None:
            self.statistics = cached_statistics(
                f"{source.content_hash}/per_class={config.source_per_class}",
                self.features,
                source.labels[chosen].to(device),
                folder=source.folder and source.folder / "statistics",
                method=self.method,
                solver=config.solver,
                entreg=config.entreg,
                shrinkage=config.shrinkage,
            )

    def __call__(
        self, features: Float[Tensor, "m d"], labels: Int64[Tensor, " m"], rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], bool]:
        """Return the distance, NaN where features are not finite, and whether its solver
        converged.

        Args:
            rng: Of the source samples that MMD and Euclidean distances draw.
        """
        if not features.isfinite().all():
            return (features * torch.nan).sum(), False
        config = self.config
        if self.method is not None:
            distance = otdd(
                self.statistics,
                features,
                labels,
                label_weight=config.label_weight,
                detach_label_term=config.detach_label_term,
            )
            return distance.value, distance.converged
        drawn = torch.randperm(len(self.features), generator=rng)[: len(features)]
        source = self.features[drawn.to(self.features.device)]
        if config.distance == "mmd":
            value = mmd(
                source,
                features,
                kernel=config.mmd_kernel,
                bandwidth=config.mmd_bandwidth,
                bandwidth_scale=config.mmd_bandwidth_scale,
                num_kernels=config.mmd_kernels,
                unbiased=config.mmd_unbiased,
            )
        elif config.euclidean == "means":
            value = distance_of_means(source, features)
        else:
            value = mean_paired_distance(source, features, generator=rng)
        return value, True
