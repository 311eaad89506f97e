"""Distance from embedded target samples to the source, which an alignment minimises.

OTDD compares the target samples with all samples of a class-balanced choice from the source. The
data's seed determines this choice, and all trials of a process share its statistics. All other
distances compare the target samples with an equal number of samples of the same choice, which are
drawn anew at each call.

Shapes: n = source samples; m = target samples; d = features; "" = scalar.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from trainables.distances.otdd import otdd
from trainables.distances.registry import DISTANCES
from trainables.distances.statistics import cached_statistics
from trainables.methods.orca.config import AlignConfig
from trainables.sources.source import Source, balanced_choice

__all__ = ["SourceDistance"]


class SourceDistance:
    """Distance to the source by a stage's settings, differentiable in the target features."""

    def __init__(self, source: Source, config: AlignConfig, device: torch.device) -> None:
        self.config = config
        self.entry = DISTANCES[config.distance]
        chosen = balanced_choice(source.labels, config.source_per_class)
        self.features = source.features[chosen].to(device)
        if self.entry.otdd is None:
            self.function = self.entry.load()
            self.settings = {
                name: getattr(config, key) for name, key in self.entry.settings.items()
            }
        else:
            self.statistics = cached_statistics(
                # The hash is that of the whole source, so that the key also states what was chosen
                # from it.
                f"{source.content_hash}/per_class={config.source_per_class}",
                self.features,
                source.labels[chosen].to(device),
                folder=source.folder and source.folder / "statistics",
                method=self.entry.otdd,
                solver=config.solver,
                entreg=config.entreg,
                shrinkage=config.shrinkage,
            )

    def __call__(
        self, features: Float[Tensor, "m d"], labels: Int64[Tensor, " m"], rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], bool]:
        """Return the distance, and whether its solver converged.

        The distance is NaN if a feature is not finite.

        Args:
            features: Features of target samples.
            labels: Class of each sample.
            rng: Generator of the source samples, which OTDD does not use.
        """
        # OTDD would raise here. With NaN, `check_finite` ends the trial and names the settings to
        # lower. The product has a graph, which the backward pass of the step needs.
        if not features.isfinite().all():
            return (features * torch.nan).sum(), False
        config = self.config
        if self.entry.otdd is not None:
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
        drawing = {"generator": rng} if self.entry.is_random else {}
        return self.function(source, features, **self.settings, **drawing), True
