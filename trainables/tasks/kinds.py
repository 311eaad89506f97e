"""The kinds of tasks, and what each of them implies: form of the outputs, metrics and losses.

    classification  one label a sample, int64 [n], of k classes
    multilabel      a set of labels a sample, float32 [n, k] of 0 and 1
    dense           a field a sample, float32 [n, k, *grid], of k channels on the grid of the input
    regression      a vector a sample, float32 [n, k], of k numbers; a scalar if k = 1

k is the second of `TaskInfo.channels`. This module loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["dense", "classification", "multilabel", "regression"]


@dataclass(frozen=True, kw_only=True)
class KindFacts:
    """Facts that all tasks of a kind share."""

    outputs: Literal["labels", "label_sets", "fields", "vectors"]
    counted: str  # name of what `TaskInfo.channels` counts in the outputs, in the plural
    losses: Mapping[str, str]  # metric -> its loss, without masks; the first metric is the default

    @property
    def metric(self) -> str:
        """The default metric."""
        return next(iter(self.losses))

    @property
    def loss(self) -> str:
        """The default loss."""
        return self.losses[self.metric]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that fit the kind."""
        return tuple(self.losses)


KINDS: Mapping[Kind, KindFacts] = MappingProxyType(
    {
        "classification": KindFacts(
            outputs="labels",
            counted="classes",
            losses={"zero_one_error": "cross_entropy", "one_minus_macro_f1": "cross_entropy"},
        ),
        "multilabel": KindFacts(
            outputs="label_sets",
            counted="labels",
            losses={"one_minus_auroc": "bce", "one_minus_map": "bce"},
        ),
        "dense": KindFacts(
            outputs="fields",
            counted="channels",
            losses={"nrmse": "nrmse", "relative_l2": "relative_l2"},
        ),
        "regression": KindFacts(
            outputs="vectors",
            counted="outputs",
            losses={"rmse": "mse", "mae": "mae", "one_minus_r2": "mse", "nrmse": "mse"},
        ),
    }
)
