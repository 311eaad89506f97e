"""Noisy views of samples: chains of Gaussian perturbations, at several scales.

    x_0 = x        x_t = a_k x_{t-1} + sigma_k eps_t        a_k = sqrt(1 - sigma_k^2)

with eps_t ~ N(0, I), scales sigma_1 .. sigma_K in geometric progression, and T states a chain. So
n samples have n K T views, or n (K T + 1) where each is also a view of itself. None is ever stored:
x_t = a_k^t x + e_t, and e_t = a_k e_{t-1} + sigma_k eps_t, the chain of the noise alone, is drawn
for the views of a batch.

In units in which x has mean 0 and variance 1, each view has variance 1 too, and a correlation of
a_k^t with x. `perturbed` keeps to the units that x comes in.

The chain of sample i at scale k is a pure function of (seed, i, k), and each of its states begins
with the ones before: no view depends on which others are drawn, in what order, or by whom.

Shapes: b = views in a batch; "" = scalar.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from trainables.seeding import generator

__all__ = ["View", "Views", "correlation", "perturbed"]


@dataclass(frozen=True)
class View:
    """The state `step` of the chain of `sample` at `scale`; step 0 is the sample itself."""

    sample: int
    scale: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Views:
    """All views of a sample, numbered from 0: `len` of them."""

    num_scales: int  # K
    sigma_min: float
    sigma_max: float
    steps: int  # T
    include_clean: bool = False

    def __len__(self) -> int:
        return self.num_scales * self.steps + self.include_clean

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The scales; a single one is `sigma_max`."""
        if self.num_scales == 1:
            return (self.sigma_max,)
        ratio = self.sigma_max / self.sigma_min
        shares = (k / (self.num_scales - 1) for k in range(self.num_scales))
        return tuple(self.sigma_min * ratio**share for share in shares)

    def view(self, sample: int, number: int) -> View:
        """Returns view `number` of a sample; the last is the sample itself, where that is one."""
        if number == self.num_scales * self.steps and self.include_clean:
            return View(sample, 0, 0)
        scale, step = divmod(number, self.steps)
        return View(sample, scale, step + 1)

    def signal(self, views: list[View]) -> Float32[Tensor, " b"]:
        """Returns a^t of each view: its correlation with the sample."""
        return torch.tensor([(1 - self.sigmas[v.scale] ** 2) ** (v.step / 2) for v in views])

    def noise(
        self, views: list[View], shape: tuple[int, ...], *, seed: int
    ) -> Float32[Tensor, "b ..."]:
        """Draws e_t of each view: [b, *shape], of variance 1 - a^2t."""
        drawn, fresh = torch.zeros(len(views), *shape), torch.empty(shape)
        for chain, view in zip(drawn, views, strict=True):
            chance = generator(seed, "noise", view.sample, view.scale)
            sigma = self.sigmas[view.scale]
            for _ in range(view.step):
                fresh.normal_(generator=chance)
                chain.mul_(math.sqrt(1 - sigma**2)).add_(fresh, alpha=sigma)
        return drawn


def perturbed(
    x: Float[Tensor, "b ..."],
    signal: Float[Tensor, " b"],
    noise: Float[Tensor, "b ..."],
    *,
    mean: Float[Tensor, "..."],
    std: Float[Tensor, "..."],
) -> Float[Tensor, "b ..."]:
    """Returns views of x in the units of x, given the mean and spread that these have.

    A view with signal 1 and no noise is x, bit for bit; where the spread is 0, x stays as it is.

    Args:
        mean, std: Of each number of a sample, or broadcast to it.
    """
    kept = signal.view(-1, *[1] * (x.dim() - 1))
    return kept * x + (1 - kept) * mean + std * noise


def correlation(
    x: Float[Tensor, "b ..."],
    view: Float[Tensor, "b ..."],
    *,
    mean: Float[Tensor, "..."],
    std: Float[Tensor, "..."],
) -> Float[Tensor, ""]:
    """Returns the correlation of samples and views over all their numbers, in units in which these
    have the given mean 0 and spread 1; numbers without a spread are left out."""
    scale = torch.where(std > 0, 1 / std, 0.0)
    clean, noisy = (x - mean) * scale, (view - mean) * scale
    norms = clean.norm() * noisy.norm()
    return (clean * noisy).sum() / norms.clamp_min(torch.finfo(norms.dtype).tiny)
