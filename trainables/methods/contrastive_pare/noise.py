"""Noisy views of samples: chains of Gaussian perturbations, at several scales.

    x_0 = x        x_t = a_k x_{t-1} + sigma_k eps_t        a_k = sqrt(1 - sigma_k^2)

with eps_t ~ N(0, I), scales sigma_1 .. sigma_K in geometric progression, and T states a chain. So
n samples have n K T views, or n (K T + 1) where each is also a view of itself. None is ever stored:
x_t = a_k^t x + e_t, and e_t = sum_{s <= t} a_k^(t-s) sigma_k eps_s, the chain of the noise alone,
is drawn for the views of a batch.

In units in which x has mean 0 and variance 1, each view has variance 1 too, and a correlation of
a_k^t with x. What is perturbed comes and goes in units of its own, and says which these are.

The chain of sample i at scale k is a pure function of (seed, i, k), and of each two of its states
the later goes on from the earlier: no view depends on which others are drawn, in what order, or by
whom.

Shapes: b = views in a batch; "" = scalar.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from trainables.seeding import generator

__all__ = ["Units", "Views", "correlation"]


class Units(NamedTuple):
    """Mean and standard deviation of the numbers of a sample, as they broadcast to it."""

    mean: Float[Tensor, "..."]
    std: Float[Tensor, "..."]  # 0 where a number never varies; it is not perturbed


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of any sample, by number: first those of the finest scale, last the sample itself,
    where it is one."""

    num_scales: int  # K
    sigma_min: float
    sigma_max: float
    steps: int  # T
    include_clean: bool = False

    def __len__(self) -> int:
        return self.num_scales * self.steps + self.include_clean

    def place(self, number: int) -> tuple[int, int]:
        """Return k, from 0, and t of a view; t is 0 for the sample itself."""
        scale, step = divmod(number, self.steps)
        return (scale, step + 1) if scale < self.num_scales else (0, 0)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """The scales, from the finest; a single one is `sigma_max`."""
        ratio, most = self.sigma_min / self.sigma_max, max(1, self.num_scales - 1)
        finer = reversed(range(self.num_scales))
        return tuple(self.sigma_max * math.pow(ratio, k / most) for k in finer)

    @cached_property
    def decays(self) -> tuple[tuple[float, ...], ...]:
        """a_k^t by k, from 0, and t: what is left of a state t steps on."""
        powers = range(self.steps + 1)
        return tuple(tuple(math.pow(1 - s**2, t / 2) for t in powers) for s in self.sigmas)

    def signal(self, numbers: Sequence[int]) -> Float32[Tensor, " b"]:
        """Return a^t of each view: its correlation with the sample."""
        places = map(self.place, numbers)
        return torch.tensor([self.decays[scale][step] for scale, step in places])

    def noise(
        self, samples: Sequence[int], numbers: Sequence[int], shape: tuple[int, ...], *, seed: int
    ) -> Float32[Tensor, "b ..."]:
        """Draw e_t of each view: [b, *shape], of variance 1 - a^2t."""
        drawn, fresh = torch.zeros(len(samples), *shape), torch.empty(shape)
        for chain, sample, number in zip(drawn, samples, numbers, strict=True):
            scale, steps = self.place(number)
            sigma, decay = self.sigmas[scale], self.decays[scale]
            rng = generator(seed, "noise", sample, scale)
            for step in range(1, steps + 1):
                fresh.normal_(generator=rng)
                chain.add_(fresh, alpha=sigma * decay[steps - step])
        return drawn

    def perturb(
        self,
        x: Float[Tensor, "b ..."],
        units: Units,
        samples: Sequence[int],
        numbers: Sequence[int],
        *,
        seed: int,
    ) -> Float[Tensor, "b ..."]:
        """Return a view of each sample; the sample itself, bit for bit, where that is the view.

        Args:
            samples: Which samples x are, for the noise to be theirs.
        """
        noise = self.noise(samples, numbers, x.shape[1:], seed=seed).to(x.device)
        signal = self.signal(numbers).to(x.device).view(-1, *[1] * (x.dim() - 1))
        return signal * x + (1 - signal) * units.mean + units.std * noise


def correlation(
    x: Float[Tensor, "b ..."], views: Float[Tensor, "b ..."], units: Units
) -> Float[Tensor, ""]:
    """Return the correlation of samples and views over all their numbers, in units in which these
    have mean 0 and variance 1; those that never vary are left out."""
    scale = torch.where(units.std > 0, 1 / units.std, 0.0)
    clean, noisy = (scale * (z - units.mean) for z in (x, views))
    norms = (clean.norm() * noisy.norm()).clamp_min(torch.finfo(x.dtype).tiny)
    product: Tensor = (clean * noisy).sum() / norms
    return product
