"""The inverse square root as a sum of poles, for matrices whose spectrum lies in a known interval.

    x^-1/2 = sum over k of w_k / (x + c_k)    for a <= x <= b, all w_k and c_k > 0

by the midpoint rule in u for x^-1/2 = (2 / pi) integral of dt / (t^2 + x), t = a^1/2 sn(u) / cn(u).
It converges geometrically, so that O(log(b / a)) poles are enough: Hale, Higham and Trefethen,
"Computing A^alpha, log(A), and related matrix functions by contour integrals", SIAM J. Numer. Anal.
46 (2008).
"""

import math

import numpy as np
from scipy.special import ellipj, ellipk

__all__ = ["inverse_root_poles"]

ACCURACY = 1e-12  # relative; past b / a = 1e7, rounding in the elliptic functions takes some
WIDEST = 1e13  # of b / a; beyond it, elliptic functions at double precision lose their digits


def inverse_root_poles(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns c and w. An x below b / 1e13 is served less well, whose root hardly counts.

    Raises:
        ValueError: Not 0 < a <= b.
    """
    if not 0 < a <= b:
        raise ValueError(f"An interval 0 < a <= b is needed, but got {a=}, {b=}.")
    a = max(a, b / WIDEST)
    number = math.ceil(math.log(4 / ACCURACY) * (math.log(b / a) + 3) / (2 * math.pi**2))
    modulus = 1 - a / b
    quarter = ellipk(modulus)
    sn, cn, dn, _ = ellipj((np.arange(number) + 0.5) * quarter / number, modulus)
    weights = 2 * math.sqrt(a) * quarter / (math.pi * number) * dn / cn**2
    return a * (sn / cn) ** 2, weights
