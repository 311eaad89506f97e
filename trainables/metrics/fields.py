"""Metrics of fields.

    nrmse        mean_i |p_i - y_i| / |y_i|      relative L2 error, all channels together
    relative_l2  the same, under NAS-Bench-360's name
    mae8         mean_i mean_{a,b} |p_ab - y_ab| over contacts: pairs of residues 24 or more apart
                 in the chain, and 8 angstrom or less in space; p made symmetric, and at least 0.01
                 (Tu et al., "NAS-Bench-360", NeurIPS 2022)

Shapes: n = samples of a batch, l = residues of a protein.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from trainables.metrics.metric import SampleMean

__all__ = [
    "SMALLEST_NORM",
    "ContactError",
    "NormalizedRMSE",
    "RelativeL2",
    "difference",
    "relative_l2",
]

SMALLEST_NORM = 1e-8
SEPARATION, CONTACT, SMALLEST_DISTANCE = 24, 8.0, 0.01  # residues, angstrom, angstrom


def difference(
    prediction: Float[Tensor, "..."], target: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Returns p - y, of equal shapes: broadcasting here is always a mistake.

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
    """Returns |p - y| / |y| of each sample; infinite or NaN where y is zero.

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
        symmetric = (prediction + prediction.transpose(2, 3))[:, 0] / 2
        apart = (distance <= 0) | (distance > CONTACT)  # a NaN is not: it counts, and shows
        in_contact = ((known > 0) & ~apart).triu(SEPARATION)
        errors = (symmetric.clamp_min(SMALLEST_DISTANCE) - distance).abs()
        total = torch.where(in_contact, errors, torch.zeros_like(errors)).sum((1, 2))
        contacts = in_contact.sum((1, 2))
        return total / contacts, contacts > 0


def _norm(batch: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(batch.flatten(1), dim=1)
    return norm
