"""Metrics of fields.

    nrmse        mean_i |p_i - y_i| / |y_i|      relative L2 error over all channels
    relative_l2  the same, under NAS-Bench-360's name
    mae8         mean_i mean_{a,b} |p_ab - y_ab| over contacts: pairs of residues at a separation of
                 at least 24 in the chain, and at a distance of at most 8 angstrom. p is
                 symmetrised, and at least 0.01 (Tu et al., "NAS-Bench-360", NeurIPS 2022).
    mae8_orca    the official value (Shen et al., ICML 2023). Its code symmetrises p twice. The
                 first time is in place and leaves the lower triangle unchanged, so that the result
                 has weights of 3/4 for the lower and 1/4 for the upper triangle. It also limits
                 each protein to the number of residues of the first protein in the list.

mae8 is correct. mae8_orca is reported as well, for comparison with published numbers. The two are
equal if p is symmetric and no protein is longer than the first.

Shapes: n = samples of a batch, l = residues of a protein.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trainables.metrics.metric import FromFirst, SampleMean

__all__ = [
    "MIN_NORM",
    "ContactError",
    "NormalizedRMSE",
    "OrcaContactError",
    "RelativeL2",
    "difference",
    "relative_l2",
]

MIN_NORM = 1e-8
SEPARATION, CONTACT, MIN_DISTANCE = 24, 8.0, 0.01  # in residues, angstrom, angstrom


def difference(
    prediction: Float[Tensor, "..."], target: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Return p - y of equal shapes. Broadcasting would hide a mistake.

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
    """Return |p - y| / |y| of each sample; infinite or NaN if y is zero.

    Raises:
        ValueError: The shapes differ.
    """
    return _norm(difference(prediction, target)) / _norm(target)


class NormalizedRMSE(SampleMean):
    """Mean relative L2 error (nRMSE), without samples whose target has a norm below 1e-8."""

    name = "nrmse"

    def _values(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        is_zero = _norm(target) < MIN_NORM  # false for NaN, so that NaN reaches the result
        return relative_l2(prediction, target), ~is_zero


class RelativeL2(NormalizedRMSE):
    """Mean relative L2 error: nRMSE, under its name for fields with one channel."""

    name = "relative_l2"


class ContactError(SampleMean):
    """Mean absolute error of the distances in contact (MAE_8), in angstrom.

    Targets are [n, 2, l, l]: distances, and masks of known (1) and unknown (0) distances. Proteins
    without a contact are left out.
    """

    name = "mae8"

    def _values(
        self, prediction: Float[Tensor, "n 1 l l"], target: Float[Tensor, "n 2 l l"]
    ) -> tuple[Tensor, Tensor]:
        distance, known = target.unbind(1)
        apart = (distance <= 0) | (distance > CONTACT)  # false for NaN, which reaches the result
        # The upper triangle counts each pair once, and its offset is the separation in the chain.
        in_contact = (self._counted_pairs(known) & ~apart).triu(SEPARATION)
        errors = (self._distances(prediction[:, 0]) - distance).abs()
        # A product with the mask would keep NaN and infinity of pairs that do not count.
        total = torch.where(in_contact, errors, torch.zeros_like(errors)).sum((1, 2))
        contacts = in_contact.sum((1, 2))
        return total / contacts, contacts > 0

    def _counted_pairs(self, known: Float[Tensor, "n l l"]) -> Bool[Tensor, "n l l"]:
        """Return a mask of the pairs that may count."""
        return known > 0

    def _distances(self, prediction: Float[Tensor, "n l l"]) -> Float[Tensor, "n l l"]:
        """Return the predicted distance of each pair. Only the upper triangle is used."""
        return ((prediction + prediction.mT) / 2).clamp_min(MIN_DISTANCE)


class OrcaContactError(ContactError, FromFirst):
    """MAE_8 as in the official code. Without `begin`, all residues of each protein count."""

    name = "mae8_orca"

    def __init__(self) -> None:
        super().__init__()
        self._residues: Tensor | None = None  # [l]: mask of the first protein's residues

    def begin(self, first: Float[Tensor, "2 l l"]) -> None:
        """Set the residues of the first protein: those whose distance to themselves is known."""
        self._residues = first[1].diagonal() > 0

    def _counted_pairs(self, known: Float[Tensor, "n l l"]) -> Bool[Tensor, "n l l"]:
        if self._residues is None:
            return super()._counted_pairs(known)
        return (known > 0) & self._residues[:, None] & self._residues

    def _distances(self, prediction: Float[Tensor, "n l l"]) -> Float[Tensor, "n l l"]:
        # The upper triangle then has the weights 3/4 and 1/4 of the official code.
        return (super()._distances(prediction) + prediction.mT.clamp_min(MIN_DISTANCE)) / 2


def _norm(batch: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(batch.flatten(1), dim=1)
    return norm
