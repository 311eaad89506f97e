"""The shallow-water equations over a flat bed, g = 1, by finite volumes.

    h_t + div(h u) = 0,      (h u)_t + div(h u u) + grad(h^2 / 2) = 0.

MUSCL reconstruction of (h, u), the HLL flux (Harten, Lax and van Leer, SIAM Review 25, 1983) and
Heun's strong-stability-preserving steps.

Two geometries of a flow that is symmetric about the origin: a quarter of the plane, [n, 3, m, m]
(h, h u, h v), bit-symmetric under the exchange of x and y; and a radius, [n, 2, m] (h, h u), where
the cell's area grows with r. Inner sides mirror; outer sides let waves out.
"""

from collections.abc import Callable

import numpy as np

from trainables.tasks.pde_bench.marching import march, monotonized_central

__all__ = ["evolve_quarter", "evolve_radial"]

COURANT_QUARTER = 0.4  # unsplit in two dimensions
COURANT_RADIAL = 0.8


def evolve_quarter(h: np.ndarray, *, size: float, time: float) -> np.ndarray:
    """Evolves depths h [n, m, m], at rest on [0, size]^2, to `time`."""
    spacing = size / h.shape[-1]

    def slope(state: np.ndarray) -> np.ndarray:
        along_x = _flux_difference(_extended(state))
        turned = state[:, [0, 2, 1]].swapaxes(-1, -2)
        along_y = _flux_difference(_extended(turned)).swapaxes(-1, -2)[:, [0, 2, 1]]
        change: np.ndarray = (along_x + along_y) * (-1 / spacing)
        return change

    state = np.stack([h, np.zeros_like(h), np.zeros_like(h)], axis=1)
    return march(
        state,
        end_time=time,
        stable_step=lambda s: COURANT_QUARTER * spacing / _fastest(s),
        advance=lambda s, step: _heun(s, step[:, None, None, None], slope),
    )[:, 0]


def evolve_radial(h: np.ndarray, *, radius: float, time: float) -> np.ndarray:
    """Evolves depths h [n, m], at rest on rings of [0, radius], to `time`."""
    m = h.shape[-1]
    spacing = radius / m
    face = (np.arange(m + 1) * spacing).astype(h.dtype)
    centre = 0.5 * (face[1:] + face[:-1])

    def slope(state: np.ndarray) -> np.ndarray:
        flux = _fluxes(_extended(state)) * face
        change: np.ndarray = (flux[..., :-1] - flux[..., 1:]) / (centre * spacing)
        change[:, 1] += 0.5 * state[:, 0] ** 2 / centre  # pressure on a ring's slanted sides
        return change

    return march(
        np.stack([h, np.zeros_like(h)], axis=1),
        end_time=time,
        stable_step=lambda s: COURANT_RADIAL * spacing / _fastest(s),
        advance=lambda s, step: _heun(s, step[:, None, None], slope),
    )[:, 0]


def _heun(
    state: np.ndarray, step: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    first = state + step * slope(state)
    result: np.ndarray = 0.5 * (state + first + step * slope(first))
    return result


def _fastest(state: np.ndarray) -> np.ndarray:
    """Returns the highest wave speed of each sample, [n]."""
    h, momenta = state[:, :1], state[:, 1:]
    speed = np.abs(momenta) / h + np.sqrt(h)
    highest: np.ndarray = speed.reshape(len(state), -1).max(axis=1)
    return highest


def _extended(state: np.ndarray) -> np.ndarray:
    """Adds two cells on each side of the last axis: mirrored (momentum turned) and repeated."""
    mirrored = state[..., 1::-1].copy()
    mirrored[:, 1] *= -1
    last = state[..., -1:]
    return np.concatenate([mirrored, state, last, last], axis=-1)


def _flux_difference(extended: np.ndarray) -> np.ndarray:
    return np.diff(_fluxes(extended), axis=-1)


def _fluxes(extended: np.ndarray) -> np.ndarray:
    """Returns the fluxes along the last axis through the m + 1 faces of [n, c, ..., m + 4]."""
    w = extended.copy()
    w[:, 1:] /= extended[:, :1]
    jump = np.diff(w, axis=-1)
    half = 0.5 * monotonized_central(jump[..., :-1], jump[..., 1:])
    inner = w[..., 1:-1]
    return _hll((inner + half)[..., :-1], (inner - half)[..., 1:])


def _hll(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the flux between (h, u) or (h, u, v) on either side, u being normal to the face."""
    c_l, c_r = np.sqrt(left[:, 0]), np.sqrt(right[:, 0])
    slow = np.minimum(np.minimum(left[:, 1] - c_l, right[:, 1] - c_r), 0.0)[:, None]
    fast = np.maximum(np.maximum(left[:, 1] + c_l, right[:, 1] + c_r), 0.0)[:, None]
    (u_l, f_l), (u_r, f_r) = _conserved_and_flux(left), _conserved_and_flux(right)
    flux: np.ndarray = (fast * f_l - slow * f_r + fast * slow * (u_r - u_l)) / (fast - slow)
    return flux


def _conserved_and_flux(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    conserved = w.copy()
    conserved[:, 1:] *= w[:, :1]
    flux = conserved * w[:, 1:2]
    flux[:, 1] += 0.5 * w[:, 0] ** 2
    return conserved, flux
