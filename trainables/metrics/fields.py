"""Metrics of fields.

    nrmse        mean_i |p_i - y_i| / |y_i|      relative L2 error, all channels together
    relative_l2  the same, under NAS-Bench-360's name
    mae8         mean_i mean_{a,b} |p_ab - y_ab| over contacts: pairs of residues 24 or more apart
                 in the chain, and 8 angstrom or less in space; p made symmetric, and at least 0.01
                 (Tu et al., "NAS-Bench-360", NeurIPS 2022)
    mae8_orca    the official number (Shen et al., ICML 2023), which makes p symmetric twice: once
                 in place, which leaves the lower triangle as it was, and once more, so that 3/4 of
                 it count and 1/4 of the upper one; and which counts, in each protein, as many
                 residues as the first protein of the list has

mae8 is right; mae8_orca stands beside it to be compared with published numbers. They are equal
where p is symmetric and no protein is longer than the first.

Shapes: n = samples of a batch, l = residues of a protein.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trainables.metrics.metric import FromFirst, SampleMean

__all__ = [
    "SMALLEST_NORM",
    "ContactError",
    "NormalizedRMSE",
    "OrcaContactError",
    "RelativeL2",
    "difference",
    "relative_l2",
]

SMALLEST_NORM = 1e-8
SEPARATION, CONTACT, SMALLEST_DISTANCE = 24, 8.0, 0.01  # residues, angstrom, angstrom


def difference(
    prediction: Float[Tensor, "..."], target: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Return p - y, of equal shapes: broadcasting here is always a mistake.

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"A prediction must have its target's shape, but got {tuple(prediction.shape)=}, "
            f"{tuple(target.shape)=}."
        )
    return prediction - target


def relative_l2(
    prediction: Float[Tensor, "n ..."], target: Float[Tensor, "n ..."]
) -> Float[Tensor, " n"]:
    """Return |p - y| / |y| of each sample; infinite or NaN where y is zero.

    Raises:
        ValueError: The shapes differ.
    """
    return _norm(difference(prediction, target)) / _norm(target)


class NormalizedRMSE(SampleMean):
    """nRMSE: the mean relative L2 error, without samples whose target has a norm below 1e-8."""

    name = "nrmse"

    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        is_zero = _norm(target) < SMALLEST_NORM  # of a NaN it is not: that counts, and shows
        return relative_l2(prediction, target), ~is_zero


class RelativeL2(NormalizedRMSE):
    """The mean relative L2 error: nRMSE, as it is called where each field has one channel."""

    name = "relative_l2"


class ContactError(SampleMean):
    """MAE_8: the mean absolute error of the distances in contact, in angstrom.

    Targets are [n, 2, l, l]: a distance, and whether it is known (1) or not (0). Proteins without a
    contact are dropped.
    """

    name = "mae8"

    def _values(
        self, prediction: Float[Tensor, "n 1 l l"], target: Float[Tensor, "n 2 l l"]
    ) -> tuple[Tensor, Tensor]:
        distance, known = target.unbind(1)
        apart = (distance <= 0) | (distance > CONTACT)  # a NaN is not: it counts, and shows
        in_contact = (self._counted_pairs(known) & ~apart).triu(SEPARATION)
        errors = (self._distances(prediction[:, 0]) - distance).abs()
        total = torch.where(in_contact, errors, torch.zeros_like(errors)).sum((1, 2))
        contacts = in_contact.sum((1, 2))
        return total / contacts, contacts > 0

    def _counted_pairs(self, known: Float[Tensor, "n l l"]) -> Bool[Tensor, "n l l"]:
        """Return which pairs may count."""
        return known > 0

    def _distances(self, prediction: Float[Tensor, "n l l"]) -> Float[Tensor, "n l l"]:
        """Return the predicted distance of each pair, of which the upper triangle counts."""
        return ((prediction + prediction.mT) / 2).clamp_min(SMALLEST_DISTANCE)


class OrcaContactError(ContactError, FromFirst):
    """MAE_8 as official code computes it; without `begin`, each protein counts whole."""

    name = "mae8_orca"

    def __init__(self) -> None:
        super().__init__()
        self._residues: Tensor | None = None  # [l]: those of the first protein

    def begin(self, first: Float[Tensor, "2 l l"]) -> None:
        """Take the length of the first protein: the distance of a residue to itself is known."""
        self._residues = first[1].diagonal() > 0

    def _counted_pairs(self, known: Float[Tensor, "n l l"]) -> Bool[Tensor, "n l l"]:
        if self._residues is None:
            return super()._counted_pairs(known)
        return (known > 0) & self._residues[:, None] & self._residues

    def _distances(self, prediction: Float[Tensor, "n l l"]) -> Float[Tensor, "n l l"]:
        return (super()._distances(prediction) + prediction.mT.clamp_min(SMALLEST_DISTANCE)) / 2


def _norm(batch: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(batch.flatten(1), dim=1)
    return norm
