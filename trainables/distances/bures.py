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
              rank of A. Woodbury's identity reduces the inverses to r x r matrices B_k^-1. The same
              poles give the cross term: t^1/2 tr S^1/2 + sum over k of w_k log det B_k / 2

The poles c_k and their weights w_k, all positive, are those of

    x^-1/2 = sum over k of w_k / (x + c_k)    for a <= x <= b

by the midpoint rule in u for x^-1/2 = (2 / pi) integral of dt / (t^2 + x), t = a^1/2 sn(u) / cn(u).
The rule converges geometrically, so that O(log(b / a)) poles are sufficient: Hale, Higham and
Trefethen, "Computing A^alpha, log(A), and related matrix functions by contour integrals", SIAM J.
Numer. Anal. 46 (2008).

Matrices S are taken in batches, each with all matrices T and all poles.

Shapes: j = matrices S; c = matrices T; r = rows of A; q = rows of V; d = features; k = poles.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import ellipj, ellipk
from torch import Tensor

__all__ = ["Covariances", "Spectra", "cross_terms", "inverse_root_poles"]

DENSE = 2  # largest d / r at which C is formed

BATCH, GPU_BATCH = 2**18, 2**25  # largest number of entries of a tensor of several matrices S

ACCURACY = 1e-12  # relative; rounding in the elliptic functions reduces it above b / a = 1e7
MAX_RATIO = 1e13  # largest b / a; above it, elliptic functions in double precision are inaccurate


@dataclass(frozen=True, eq=False)
class Covariances:
    """Matrices T = A' A + t 1. Rows of zeros pad the shorter factors A."""

    factors: Float64[Tensor, "c r d"]
    ridges: Float64[Tensor, " c"]


@dataclass(frozen=True, eq=False)
class Spectra:
    """Matrices S = V' diag(l) V + s 1, the values l in descending order."""

    values: Float64[Tensor, "j q"]
    basis: Float64[Tensor, "j q d"]
    ridges: Float64[Tensor, " j"]


Map = tuple[Float64[Tensor, "j c r d"], Float64[Tensor, "j c"]]  # A M and tr M of all pairs


def cross_terms(spectra: Spectra, covariances: Covariances) -> Float64[Tensor, "j c"]:
    """Return cross(S, T) of all pairs, differentiable in `covariances`.

    The ridges s and t of a pair must be both zero or both positive, unless a whole matrix is zero.
    """
    factors, ridges = covariances.factors, covariances.ridges
    slopes, traces = _maps(spectra, Covariances(factors.detach(), ridges.detach()))
    # tr M T = tr A M A' + t tr M. The value of the sum is this trace. Its gradient is M / 2 by T
    # because `slopes` is a constant, and because one half of t tr M is detached.
    half = traces * ridges / 2
    return (slopes * factors).sum((2, 3)) + half + half.detach()


@torch.no_grad()
def _maps(spectra: Spectra, covariances: Covariances) -> Map:
    """Return A M and tr M of all pairs, which are 0 for S = 0.

    M does not exist for T = 0, and tr M is then that of another T.
    """
    factors, t = covariances.factors, covariances.ridges
    # A matrix that is zero while others have a ridge borrows the largest ridge, so that all
    # inverses exist. The maps of S = 0 are set to 0 at the end.
    is_zero = spectra.ridges == 0
    s = torch.where(is_zero, spectra.ridges.amax(), spectra.ridges)
    t = torch.where(t > 0, t, t.amax())
    # Bounds of the eigenvalues of C. They decide here how C^-1/2 is computed: a GPU is asked once.
    products = factors @ factors.mT
    has_complement = spectra.basis.shape[1] < spectra.basis.shape[2]
    least = s if has_complement else s + spectra.values[:, -1]
    smallest = least[:, None] * t
    largest = (s + spectra.values[:, 0])[:, None] * (t + _norm_bound(products))
    lowest, ratio = torch.stack([smallest.amin(), (largest / smallest).amax()]).tolist()
    # A positive ridge always gives a positive bound, so that 0 means pairs without any ridge.
    if lowest == 0:
        return _maps_of_low_rank(spectra, factors)
    covariances = Covariances(factors, t)
    (c, r, d), q = factors.shape, spectra.basis.shape[1]
    dense = d <= DENSE * r
    # One set of poles serves all pairs: `largest` scales [1 / ratio, 1] to the interval of each.
    poles = inverse_root_poles(1 / ratio, 1.0)
    costs = c * d * d if dense else c * len(poles[0]) * r * q
    size = max(1, (BATCH if factors.device.type == "cpu" else GPU_BATCH) // costs)
    maps = []
    for first in range(0, len(s), size):
        part = slice(first, first + size)
        batch = Spectra(spectra.values[part], spectra.basis[part], s[part])
        if dense:
            maps.append(_maps_by_eigenvalues(batch, covariances))
        else:
            maps.append(_maps_by_poles(batch, largest[part], covariances, products, poles))
    slopes, traces = (torch.cat(parts) for parts in zip(*maps, strict=True))
    slopes.masked_fill_(is_zero[:, None, None, None], 0)
    return slopes, traces.masked_fill_(is_zero[:, None], 0)


def _norm_bound(products: Float64[Tensor, "c r r"]) -> Float64[Tensor, " c"]:
    """Return upper bounds of the eigenvalues by |B^4|^1/4, which needs no eigenvalues of B."""
    traces = products.diagonal(dim1=1, dim2=2).sum(1)
    # Scaled by the trace, eigenvalues are at most 1, and the fourth power cannot overflow.
    powers = products / traces.clamp_min(torch.finfo(traces.dtype).tiny)[:, None, None]
    for _ in range(2):
        powers = powers @ powers
    return traces * powers.square().sum((1, 2)) ** 0.125


def _maps_of_low_rank(spectra: Spectra, factors: Tensor) -> Map:
    weighted = spectra.basis * spectra.values.sqrt()[:, :, None]
    u, sizes, vh = torch.linalg.svd(factors @ weighted[:, None].mT, full_matrices=False)
    tolerance = torch.finfo(sizes.dtype).eps * max(factors.shape[1], weighted.shape[1])
    # The gradient of the nuclear norm has singular values of 1, or 0 for those that are numerically
    # zero.
    kept = sizes > tolerance * sizes[..., :1]
    slopes = (u * kept[..., None, :]) @ vh @ weighted[:, None]
    return slopes, torch.zeros_like(slopes[:, :, 0, 0])


def _maps_by_eigenvalues(spectra: Spectra, covariances: Covariances) -> Map:
    factors, t, s = covariances.factors, covariances.ridges, spectra.ridges
    # With C = Q diag(v) Q', M = X X' for X = S^1/2 Q diag(v)^-1/4, so that M is never formed.
    eye = torch.eye(factors.shape[2], dtype=factors.dtype, device=factors.device)
    floor = s.sqrt()[:, None]
    # S^1/2 is s^1/2 in the complement of V. Within V only the difference from it is added.
    sizes = (spectra.values + s[:, None]).sqrt() - floor
    root = (spectra.basis.mT * sizes[:, None]) @ spectra.basis + floor[:, None] * eye
    root = root[:, None]
    c = root @ (factors.mT @ factors + t[:, None, None] * eye) @ root
    values, vectors = torch.linalg.eigh(c)
    smallest = s[:, None] * t  # lower bounds of the eigenvalues of C
    values = torch.maximum(values, smallest[:, :, None])
    scaled = root @ vectors / values.sqrt().sqrt()[:, :, None]
    return (factors @ scaled) @ scaled.mT, scaled.square().sum((2, 3))


def _maps_by_poles(
    spectra: Spectra,
    largest: Float64[Tensor, "j c"],
    covariances: Covariances,
    products: Float64[Tensor, "c r r"],
    inverse_root: tuple[np.ndarray, np.ndarray],
) -> Map:
    """Return the maps by poles and weights of x^-1/2 up to 1, which `largest` scales."""
    factors, t = covariances.factors, covariances.ridges[:, None]
    s, values = spectra.ridges, spectra.values + spectra.ridges[:, None]
    poles, weights = torch.from_numpy(np.stack(inverse_root)).to(factors.device)
    poles, weights = largest[:, :, None] * poles, largest[:, :, None].sqrt() * weights
    # Woodbury: (t S + c + S^1/2 A' A S^1/2)^-1 needs only the inverse of an r x r matrix. Matrices
    # are kept as their parts in V and in its complement, so that no d x d matrix is formed.
    outside = factors.shape[2] - values.shape[1]  # dimensions of the complement of V
    ridge, within_v = s[:, None, None], values[:, None, None]
    off_v = ridge / (t * ridge + poles)  # S / (t S + c) in the complement, [j, c, k]
    gap = within_v / (t[:, :, None] * within_v + poles[..., None]) - off_v[..., None]  # in V
    projected = factors @ spectra.basis[:, None].mT
    spread = (projected[:, :, None] * gap[..., None, :]).flatten(2, 3)  # [j, c, k r, q]
    inner = (spread @ projected.mT).unflatten(2, (-1, factors.shape[1]))
    inner += off_v[..., None, None] * products[:, None]
    inner.diagonal(dim1=3, dim2=4).add_(1)
    # B_k is positive definite. The variant without a check spares the wait for a GPU's answer.
    lower = torch.linalg.cholesky_ex(inner)[0]
    inverse = torch.cholesky_inverse(lower) * weights[..., None, None]
    along = inverse.transpose(2, 3).flatten(3) @ spread
    within = (inverse * off_v[..., None, None]).sum(2)
    slopes = along @ spectra.basis[:, None] + within @ factors
    # tr M follows from the cross term: t tr M = cross - tr A M A'.
    roots = values.sqrt().sum(1) + outside * s.sqrt()
    determinants = lower.diagonal(dim1=3, dim2=4).log().sum(3)  # halves of their logarithms
    cross = t.sqrt().T * roots[:, None] + (weights * determinants).sum(2)
    return slopes, (cross - (slopes * factors).sum((2, 3))) / t.T


def inverse_root_poles(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the poles c and the weights w of x^-1/2 on [a, b].

    The lower end is at least b / 1e13. Smaller x are less accurate, but their roots are negligible.

    Raises:
        ValueError: 0 < a <= b does not hold.
    """
    if not 0 < a <= b:
        raise ValueError(f"An interval 0 < a <= b is needed, but got {a=}, {b=}.")
    a = max(a, b / MAX_RATIO)
    # The number of poles follows from the convergence rate exp(-2 pi^2 n / (log(b / a) + 3)).
    number = math.ceil(math.log(4 / ACCURACY) * (math.log(b / a) + 3) / (2 * math.pi**2))
    modulus = 1 - a / b
    quarter = ellipk(modulus)
    sn, cn, dn, _ = ellipj((np.arange(number) + 0.5) * quarter / number, modulus)
    weights = 2 * math.sqrt(a) * quarter / (math.pi * number) * dn / cn**2
    return a * (sn / cn) ** 2, weights
