"""Feature-label distortion of a target by the predictions of a source predictor.

Tran et al., AISTATS 2026 (arXiv 2601.18231). q(s | x) is the probability of source label s for the
embedded target sample x. Of a target class c, q(s | c) is the mean of q(s | x) over its samples,
and p(c) is its share.

    entropy       H(S | X) = E_x H(q(. | x))
    conditional   H(S | T) = sum_c p(c) H(q(. | c))
    information   H(S | T) - H(S) = -I(S; T),  with H(S) = H(sum_c p(c) q(. | c))

H(q) = -sum_s q_s log q_s, in nats. The distortion is low if each target class has one source label.
By the concavity of H,

    0 <= H(S | X) <= H(S | T) <= H(S) <= log(number of source labels).

A predictor with the same label for all samples has H(S | T) = 0. Only `information` excludes it.

The paper's text was not at hand. The released code minimises the two forms with classes, and calls
them entropy and conditional entropy. It estimates H(S) from other samples than H(S | T); here both
are of the same samples, so that the inequalities hold in every batch. `entropy`, which needs no
classes, is our reading of the paper's summary.

Shapes: n = samples; s = source labels; c = target classes; "" = scalar.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from trainables.methods.recraft.config import Form

__all__ = ["Distortion", "distortion", "entropy"]


class Distortion(NamedTuple):
    """Entropies of the source label, in nats."""

    sample: Float[Tensor, ""]  # H(S | X)
    conditional: Float[Tensor, ""]  # H(S | T)
    marginal: Float[Tensor, ""]  # H(S)

    def loss(self, form: Form) -> Float[Tensor, ""]:
        """Return the quantity that `form` minimises."""
        if form == "entropy":
            return self.sample
        if form == "conditional":
            return self.conditional
        return self.conditional - self.marginal


def entropy(probabilities: Float[Tensor, "*n s"]) -> Float[Tensor, "*n"]:
    """Return each distribution's entropy in nats; 0 adds 0, and has a finite gradient."""
    smallest = torch.finfo(probabilities.dtype).tiny
    return -(probabilities * probabilities.clamp_min(smallest).log()).sum(-1)


def distortion(
    probabilities: Float[Tensor, "n s"], labels: Int64[Tensor, " n"], shares: Float[Tensor, " c"]
) -> Distortion:
    """Return the entropies of a batch of target samples.

    Args:
        probabilities: Probability of each source label, for each sample.
        labels: Target class of each sample.
        shares: Share p(c) of each class in the training set. Those of the classes in the batch are
            scaled to a sum of 1.
    """
    # Each sample weighs as much as its class allows, so that classes that are drawn more often than
    # they occur do not count more.
    belongs = labels[:, None] == torch.arange(len(shares), device=labels.device)
    belongs = belongs.to(probabilities.dtype)
    counts = belongs.sum(0)
    weights = shares * (counts > 0)
    weights = weights / weights.sum()
    within = (belongs / counts.clamp_min(1)).T
    of_class = within @ probabilities
    return Distortion(
        sample=weights @ (within @ entropy(probabilities)),
        conditional=weights @ entropy(of_class),
        marginal=entropy(weights @ of_class),
    )
