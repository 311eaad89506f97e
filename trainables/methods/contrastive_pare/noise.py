"""Noisy views of samples: chains of Gaussian perturbations at several scales.

    x_0 = x        x_t = a_k x_{t-1} + sigma_k eps_t        a_k = sqrt(1 - sigma_k^2)

eps_t ~ N(0, I). The K scales sigma_1 .. sigma_K form a geometric progression, and each chain has T
states. n samples therefore have n K T views, or n (K T + 1) if each sample is also a view of
itself. Views are never stored. A view is x_t = a_k^t x + e_t, and only the chain of its noise,
e_t = sum_{s <= t} a_k^(t-s) sigma_k eps_s, is drawn, for the views of a batch.

For x of mean 0 and variance 1 each view has variance 1 too, and its correlation with x is a_k^t.
Other values are standardised by the `Units` of the caller.

The chain of sample i at scale k is a pure function of (seed, i, k), and a later state of a chain
continues the earlier ones. A view therefore does not depend on other views, on the order of the
draws, or on the process. On a GPU the chains come from its own generators, with the same seeds.

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

from trainables.seeding import derive_seed, generator
from trainables.tasks.store.device_rows import moved

__all__ = ["Units", "Views", "correlation"]

CPU = torch.device("cpu")
DRAWN_AT_ONCE = 2**26  # numbers in the memory of a GPU


class Units(NamedTuple):
    """Mean and standard deviation of the values of a sample, in shapes that broadcast to it."""

    mean: Float[Tensor, "..."]
    std: Float[Tensor, "..."]  # 0 for a constant value, which is not perturbed


@dataclass(frozen=True, kw_only=True)
class Views:
    """Numbered views of any sample: the finest scale first; last the sample, if it is a view."""

    num_scales: int  # K
    sigma_min: float
    sigma_max: float
    steps: int  # T
    include_clean: bool = False

    def __len__(self) -> int:
        return self.num_scales * self.steps + self.include_clean

    def place(self, number: int) -> tuple[int, int]:
        """Return the scale k, from 0, and the state t of a view; t is 0 for the sample itself."""
        scale, step = divmod(number, self.steps)
        return (scale, step + 1) if scale < self.num_scales else (0, 0)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """The scales, from the finest to the coarsest; a single scale is `sigma_max`."""
        ratio, most = self.sigma_min / self.sigma_max, max(1, self.num_scales - 1)
        finer = reversed(range(self.num_scales))
        return tuple(self.sigma_max * math.pow(ratio, k / most) for k in finer)

    @cached_property
    def decays(self) -> tuple[tuple[float, ...], ...]:
        """a_k^t by k, from 0, and t: the factor of a state after t further steps."""
        powers = range(self.steps + 1)
        return tuple(tuple(math.pow(1 - s**2, t / 2) for t in powers) for s in self.sigmas)

    def signal(self, numbers: Sequence[int]) -> Float32[Tensor, " b"]:
        """Return a^t of each view, which is its correlation with the sample."""
        places = map(self.place, numbers)
        return torch.tensor([self.decays[scale][step] for scale, step in places])

    def noise(
        self,
        samples: Sequence[int],
        numbers: Sequence[int],
        shape: tuple[int, ...],
        *,
        seed: int,
        device: torch.device = CPU,
    ) -> Float32[Tensor, "b ..."]:
        """Draw e_t of each view.

        Args:
            samples: Index of each view's sample.
            numbers: Number of each view.
            shape: Shape of a sample.
            seed: Seed of all chains.
            device: Device of the noise. A GPU draws other numbers than a CPU.

        Returns:
            Noise [b, *shape], of variance 1 - a^2t.
        """
        if device.type != "cpu":
            return self._noise_on(device, samples, numbers, shape, seed)
        drawn, fresh = torch.zeros(len(samples), *shape), torch.empty(shape)
        for chain, sample, number in zip(drawn, samples, numbers, strict=True):
            scale, steps = self.place(number)
            sigma, decay = self.sigmas[scale], self.decays[scale]
            # e_t depends on all eps_s up to t, so the chain is drawn from its first state.
            rng = generator(seed, "noise", sample, scale)
            for step in range(1, steps + 1):
                fresh.normal_(generator=rng)
                chain.add_(fresh, alpha=sigma * decay[steps - step])
        return drawn

    def _noise_on(
        self,
        device: torch.device,
        samples: Sequence[int],
        numbers: Sequence[int],
        shape: tuple[int, ...],
        seed: int,
    ) -> Float32[Tensor, "b ..."]:
        """Draw e_t of each view on a GPU, whose generators count and so have no state to save."""
        # What a GPU draws depends on how much it draws at once. So each chain is drawn to its last
        # state, by one kernel, and those after t have weight 0.
        weights = torch.zeros(len(numbers), 1, self.steps)
        for row, (scale, steps) in zip(weights, map(self.place, numbers), strict=True):
            row[0, :steps] = self.sigmas[scale] * torch.tensor(self.decays[scale][:steps]).flip(0)
        weights = moved(weights, device)
        size, rng = math.prod(shape), torch.Generator(device)
        # The chains of a whole batch could fill the memory of a GPU.
        at_once, parts = max(1, DRAWN_AT_ONCE // max(1, self.steps * size)), []
        for start in range(0, len(samples), at_once):
            part = slice(start, start + at_once)
            fresh = torch.empty(len(samples[part]), self.steps, size, device=device)
            for chain, sample, number in zip(fresh, samples[part], numbers[part], strict=True):
                rng.manual_seed(derive_seed(seed, "noise", sample, self.place(number)[0]))
                chain.normal_(generator=rng)
            parts.append(weights[part] @ fresh)
        return torch.cat(parts).view(len(samples), *shape)

    def perturb(
        self,
        x: Float[Tensor, "b ..."],
        units: Units,
        samples: Sequence[int],
        numbers: Sequence[int],
        *,
        seed: int,
    ) -> Float[Tensor, "b ..."]:
        """Return a view of each sample. A view that is the sample itself is equal bit for bit.

        Args:
            x: Values of the samples.
            units: Mean and standard deviation of the values.
            samples: Index of each sample, which determines its noise.
            numbers: Number of each view.
            seed: Seed of all chains.
        """
        noise = self.noise(samples, numbers, x.shape[1:], seed=seed, device=x.device)
        signal = moved(self.signal(numbers), x.device).view(-1, *[1] * (x.dim() - 1))
        # The mean has weight 1 - a^t, so that a view has the same mean and variance as x.
        return signal * x + (1 - signal) * units.mean + units.std * noise


def correlation(
    x: Float[Tensor, "b ..."], views: Float[Tensor, "b ..."], units: Units
) -> Float[Tensor, ""]:
    """Return the correlation of samples and views over all values in `units` but constant ones."""
    # A constant value is never perturbed, and its deviation of 0 would be a divisor.
    scale = torch.where(units.std > 0, 1 / units.std, 0.0)
    clean, noisy = (scale * (z - units.mean) for z in (x, views))
    norms = (clean.norm() * noisy.norm()).clamp_min(torch.finfo(x.dtype).tiny)
    product: Tensor = (clean * noisy).sum() / norms
    return product
