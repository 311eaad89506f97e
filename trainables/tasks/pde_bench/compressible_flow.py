"""Compressible viscous flow in one dimension, periodic.

    rho_t + (rho v)_x = 0
    (rho v)_t + (rho v^2 + p)_x = (mu v_x)_x
    E_t + ((E + p) v)_x = (mu v v_x)_x,     E = p / (gamma - 1) + rho v^2 / 2,  mu = nu rho.

Strang splitting. The inviscid part: MUSCL reconstruction of (rho, v, p), the HLLC flux (Toro,
Spruce and Speares, Shock Waves 4, 1994) and Heun's strong-stability-preserving steps. The viscous
part: Crank and Nicolson for v, with the energy's flux of the same mean velocity, which conserves
momentum and energy exactly and only ever heats.

Shapes: n = samples, m = cells. A state is [n, 3, m], conserved (rho, rho v, E) or primitive
(rho, v, p).
"""

import numpy as np

from trainables.tasks.pde_bench import tridiagonal
from trainables.tasks.pde_bench.marching import march, monotonized_central

__all__ = ["GAMMA", "conserved", "evolve", "primitive"]

GAMMA = 5 / 3
COURANT = 0.8


def evolve(w: np.ndarray, *, length: float, nu: float, time: float) -> np.ndarray:
    """Evolves primitive states (rho, v, p) [n, 3, m] of period `length`, viscosity `nu` rho."""
    spacing = length / w.shape[-1]

    def stable_step(u: np.ndarray) -> np.ndarray:
        rho, v, p = _fields(primitive(u))
        speed = np.abs(v) + np.sqrt(GAMMA * p / rho)
        step: np.ndarray = COURANT * spacing / speed.max(axis=-1).astype(np.float64)
        return step

    def advance(u: np.ndarray, step: np.ndarray) -> np.ndarray:
        if not nu:
            return _inviscid(u, step / spacing)
        half = step * nu / (2 * spacing**2)
        return _viscous(_inviscid(_viscous(u, half), step / spacing), half)

    return primitive(march(conserved(w), end_time=time, stable_step=stable_step, advance=advance))


def conserved(w: np.ndarray) -> np.ndarray:
    """(rho, v, p) -> (rho, rho v, E)."""
    rho, v, p = _fields(w)
    momentum = rho * v
    return np.stack([rho, momentum, p * (1 / (GAMMA - 1)) + 0.5 * momentum * v], axis=1)


def primitive(u: np.ndarray) -> np.ndarray:
    """(rho, rho v, E) -> (rho, v, p)."""
    rho, momentum, energy = _fields(u)
    v = momentum / rho
    return np.stack([rho, v, (GAMMA - 1) * (energy - 0.5 * momentum * v)], axis=1)


def _fields(state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return state[:, 0], state[:, 1], state[:, 2]


def _inviscid(u: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """One Heun step; `ratio` [n] is step / spacing."""
    ratio = ratio[:, None, None]
    first: np.ndarray = u - ratio * _flux_difference(u)
    first -= ratio * _flux_difference(first)
    first += u
    first *= 0.5
    return first


def _flux_difference(u: np.ndarray) -> np.ndarray:
    w = primitive(u)
    jump = np.roll(w, -1, axis=-1) - w
    slope = monotonized_central(np.roll(jump, 1, axis=-1), jump)
    slope *= 0.5
    flux = _hllc(w + slope, np.roll(w - slope, -1, axis=-1))
    change: np.ndarray = flux - np.roll(flux, 1, axis=-1)
    return change


def _hllc(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the flux [n, 3, m] between primitive states on either side of each face."""
    (rho_l, v_l, p_l), (rho_r, v_r, p_r) = _fields(left), _fields(right)
    c_l, c_r = np.sqrt(GAMMA * p_l / rho_l), np.sqrt(GAMMA * p_r / rho_r)
    slowest = np.minimum(v_l - c_l, v_r - c_r)
    fastest = np.maximum(v_l + c_l, v_r + c_r)
    inflow_l, inflow_r = rho_l * (slowest - v_l), rho_r * (fastest - v_r)
    contact = (p_r - p_l + v_l * inflow_l - v_r * inflow_r) / (inflow_l - inflow_r)

    from_left = contact >= 0  # the side of the contact on which the face lies
    rho = np.where(from_left, rho_l, rho_r)
    v = np.where(from_left, v_l, v_r)
    p = np.where(from_left, p_l, p_r)
    # The face lies in the fan if its side's outer wave has passed it; else (speed 0) outside.
    speed = np.where(from_left, np.minimum(slowest, 0), np.maximum(fastest, 0))
    gap = speed - v
    star = gap / (speed - contact)
    total = p * (1 / (GAMMA - 1)) + 0.5 * rho * v * v
    pressure_star = p + rho * gap * (contact - v)
    rho_star = rho * star
    supersonic = speed == 0
    flux = np.empty_like(left)
    flux[:, 0] = np.where(supersonic, rho * v, rho_star * contact)
    flux[:, 1] = np.where(supersonic, rho * v * v + p, rho_star * contact * contact + pressure_star)
    energy_star = (gap * total - p * v + pressure_star * contact) / (speed - contact)
    flux[:, 2] = np.where(supersonic, (total + p) * v, (energy_star + pressure_star) * contact)
    return flux


def _viscous(u: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """One Crank-Nicolson step; `ratio` [n] is step nu / spacing^2, so that mu is ratio rho."""
    rho, momentum, energy = _fields(u)
    mu = 0.5 * ratio[:, None] * (rho + np.roll(rho, -1, axis=-1))  # at the right face
    mu_left = np.roll(mu, 1, axis=-1)
    # For the mean velocity of the step: rho (mean - v) = (mu mean_x)_x / 2.
    mean = tridiagonal.solve_cyclic(-0.5 * mu_left, rho + 0.5 * (mu + mu_left), -0.5 * mu, momentum)
    following = np.roll(mean, -1, axis=-1)
    stress = mu * (following - mean)
    work = 0.5 * stress * (mean + following)
    return np.stack(
        [
            rho,
            momentum + stress - np.roll(stress, 1, axis=-1),
            energy + work - np.roll(work, 1, axis=-1),
        ],
        axis=1,
    )
