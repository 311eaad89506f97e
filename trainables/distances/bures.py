"""Cross term of the Bures distance between covariances of low rank plus a multiple of the identity.

    cross(S, T) = tr (S^1/2 T S^1/2)^1/2,    S = V' diag(l) V + s 1,    T = A' A + t 1

Let C = S^1/2 T S^1/2, and let M = S^1/2 C^-1/2 S^1/2 be the linear map that transports T to S. The
cross term is tr M T, and its gradient by T is M / 2. The gradient needs no derivative of
eigenvalues, so that it is finite if eigenvalues are equal or zero. M is computed in one of three
ways:

    low rank  s = t = 0: cross is the nuclear norm of diag(l)^1/2 V A', its gradient the norm's dual
    dense     A has nearly as many rows as columns: C^-1/2 by the eigenvalues of C
    poles     A has few rows: C^-1/2 as a sum of (C + c 1)^-1, to 1e-12. C is the sum of a matrix
              that is diagonal in V and its complement (a multiple of S), and of a matrix with the
              rank of A. Woodbury's identity reduces the inverses to r x r.

The poles c_k and their weights w_k, all positive, are those of

    x^-1/2 = sum over k of w_k / (x + c_k)    for a <= x <= b

by the midpoint rule in u for x^-1/2 = (2 / pi) integral of dt / (t^2 + x), t = a^1/2 sn(u) / cn(u).
The rule converges geometrically, so that O(log(b / a)) poles are sufficient: Hale, Higham and
Trefethen, "Computing A^alpha, log(A), and related matrix functions by contour integrals", SIAM J.
Numer. Anal. 46 (2008).

Shapes: c = matrices T; r = rows of A; q = rows of V; d = features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import ellipj, ellipk
from torch import Tensor

__all__ = ["Covariances", "Spectrum", "cross_terms", "inverse_root_poles"]

DENSE = 2  # largest d / r at which C is formed

ACCURACY = 1e-12  # relative; rounding in the elliptic functions reduces it above b / a = 1e7
WIDEST = 1e13  # largest b / a; above it, elliptic functions in double precision are inaccurate


@dataclass(frozen=True, eq=False)
class Covariances:
    """Matrices T = A' A + t 1. Rows of zeros pad the shorter factors A."""

    factors: Float64[Tensor, "c r d"]
    ridges: Float64[Tensor, " c"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Matrix S = V' diag(l) V + s 1."""

    values: Float64[Tensor, " q"]
    basis: Float64[Tensor, "q d"]
    ridge: float


def cross_terms(
    spectra: Sequence[Spectrum], covariances: Covariances
) -> Float64[Tensor, "spectra c"]:
    """Return cross(S, T) of all pairs, differentiable in `covariances`.

    The ridges s and t of a pair must be both zero or both positive, unless a whole matrix is zero.
    """
    factors, ridges = covariances.factors, covariances.ridges
    constant = Covariances(factors.detach(), ridges.detach())
    rows = []
    for spectrum in spectra:
        slopes, traces = _map(spectrum, constant)
        # tr M T = tr A M A' + t tr M. The value of the sum is this trace. Its gradient is M / 2 by
        # T because `slopes` is a constant, and because one half of t tr M is detached.
        half = traces * ridges / 2
        rows.append((slopes * factors).sum((1, 2)) + half + half.detach())
    return torch.stack(rows)


@torch.no_grad()
def _map(
    spectrum: Spectrum, covariances: Covariances
) -> tuple[Float64[Tensor, "c r d"], Float64[Tensor, " c"]]:
    """Return A M and tr M. M does not exist for T = 0, and tr M is then that of another T."""
    factors, ridges = covariances.factors, covariances.ridges
    positive = ridges > 0
    if spectrum.ridge == 0 or not positive.any():
        return _map_of_low_rank(spectrum, factors), torch.zeros_like(ridges)
    covariances = Covariances(factors, torch.where(positive, ridges, ridges.max()))
    dense = factors.shape[2] <= DENSE * factors.shape[1]
    return (_map_by_eigenvalues if dense else _map_by_poles)(spectrum, covariances)


def _map_of_low_rank(spectrum: Spectrum, factors: Tensor) -> Tensor:
    weighted = spectrum.basis * spectrum.values.sqrt()[:, None]
    u, sizes, vh = torch.linalg.svd(factors @ weighted.T, full_matrices=False)
    tolerance = torch.finfo(sizes.dtype).eps * max(*u.shape[1:], *vh.shape[1:])
    # The gradient of the nuclear norm has singular values of 1, or 0 for those that are numerically
    # zero.
    slopes: Tensor = (u * (sizes > tolerance * sizes[:, :1])[:, None]) @ vh @ weighted
    return slopes


def _map_by_eigenvalues(spectrum: Spectrum, covariances: Covariances) -> tuple[Tensor, Tensor]:
    factors, ridges = covariances.factors, covariances.ridges
    # With C = Q diag(v) Q', M = X X' for X = S^1/2 Q diag(v)^-1/4, so that M is never formed.
    eye = torch.eye(factors.shape[2], dtype=factors.dtype, device=factors.device)
    floor = spectrum.ridge**0.5
    sizes = (spectrum.values + spectrum.ridge).sqrt() - floor
    root = (spectrum.basis.T * sizes) @ spectrum.basis + floor * eye
    c = root @ (factors.mT @ factors + ridges[:, None, None] * eye) @ root
    values, vectors = torch.linalg.eigh(c)
    smallest = spectrum.ridge * ridges  # lower bound of the eigenvalues of C
    scaled = root @ vectors / values.clamp_min(smallest[:, None]).sqrt().sqrt()[:, None]
    return (factors @ scaled) @ scaled.mT, scaled.square().sum((1, 2))


def _map_by_poles(spectrum: Spectrum, covariances: Covariances) -> tuple[Tensor, Tensor]:
    factors, ridges = covariances.factors, covariances.ridges
    s, values = spectrum.ridge, spectrum.values + spectrum.ridge
    # Woodbury: (t S + c + S^1/2 A' A S^1/2)^-1 needs only the inverse of an r x r matrix. Matrices
    # are kept as their parts in V and in its complement, so that no d x d matrix is formed.
    outside = factors.shape[2] - len(values)  # dimensions of the complement of V
    projected, products = factors @ spectrum.basis.T, factors @ factors.mT
    largest = values.max() * (torch.linalg.eigvalsh(products)[:, -1].clamp_min(0) + ridges).max()
    eye = torch.eye(products.shape[1], dtype=products.dtype, device=products.device)
    along, within = torch.zeros_like(projected), torch.zeros_like(products)
    traces = torch.zeros_like(ridges)
    for pole, weight in zip(
        *inverse_root_poles(s * ridges.min().item(), largest.item()), strict=True
    ):
        in_v = values / (ridges[:, None] * values + pole)  # S / (t S + c) in V
        off_v = s / (ridges * s + pole)  # S / (t S + c) in the complement
        gap = (in_v - off_v[:, None])[:, None]
        inner = eye + off_v[:, None, None] * products + (projected * gap) @ projected.mT
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(inner))
        solved = inverse @ projected
        along += weight * solved * gap
        within += weight * off_v[:, None, None] * inverse
        removed = (solved * projected * gap * (in_v + off_v[:, None])[:, None]).sum((1, 2))
        removed += off_v.square() * (inverse * products).sum((1, 2))
        traces += weight * (in_v.sum(1) + outside * off_v - removed)
    return along @ spectrum.basis + within @ factors, traces


def inverse_root_poles(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the poles c and the weights w of x^-1/2 on [a, b].

    The lower end is at least b / 1e13. Smaller x are less accurate, but their roots are negligible.

    Raises:
        ValueError: 0 < a <= b does not hold.
    """
    if not 0 < a <= b:
        raise ValueError(f"An interval 0 < a <= b is needed, but got {a=}, {b=}.")
    a = max(a, b / WIDEST)
    # The number of poles follows from the convergence rate exp(-2 pi^2 n / (log(b / a) + 3)).
    number = math.ceil(math.log(4 / ACCURACY) * (math.log(b / a) + 3) / (2 * math.pi**2))
    modulus = 1 - a / b
    quarter = ellipk(modulus)
    sn, cn, dn, _ = ellipj((np.arange(number) + 0.5) * quarter / number, modulus)
    weights = 2 * math.sqrt(a) * quarter / (math.pi * number) * dn / cn**2
    return a * (sn / cn) ** 2, weights
