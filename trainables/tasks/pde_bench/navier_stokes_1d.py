"""Compressible Navier-Stokes equations on the periodic [-1, 1): (rho, p, v)(0) -> (rho, p, v)(T).

    rho_t + (rho v)_x = 0
    (rho v)_t + (rho v^2 + p)_x = (mu v_x)_x
    E_t + ((E + p) v)_x = (mu v v_x)_x,     E = p / (gamma - 1) + rho v^2 / 2,  mu = nu rho.

The kinematic viscosity is nu = 4/3 eta + zeta, gamma is 5/3, and there is no heat conduction. The
initial density and pressure are random fields, scaled to [low, low + high] with log-uniform low and
high. The initial velocity is a random field. The published protocol concatenates the fields
rho | p | v in one channel. It standardises each point of this vector by the training inputs. Our
variant `RANK` has a channel for each field, so that all fields of a place are together.

The scheme is Strang splitting. The inviscid part uses a MUSCL reconstruction of (rho, v, p), the
HLLC flux (Toro, Spruce and Speares, Shock Waves 4, 1994) and Heun's strong-stability-preserving
steps. The viscous part uses the Crank-Nicolson method for v, and the same mean velocity for the
flux of energy. It conserves momentum and energy exactly, and its dissipation is never negative.

Shapes: n = samples, m = cells. A state is [n, 3, m], either conserved (rho, rho v, E) or primitive
(rho, v, p).
"""

from dataclasses import dataclass, replace

import numpy as np

from trainables.tasks.pde_bench.initial_conditions import FourierSpec, rescaled, uniforms
from trainables.tasks.pde_bench.numerics import march, monotonized_central, solve_cyclic_tridiagonal
from trainables.tasks.problem import GeneratedSamples, Problem, cell_centres

REFERENCE = 1024
LOW, HIGH = -1.0, 1.0
INITIAL = FourierSpec(num_waves=3, p_window=0.5, length=HIGH - LOW)


@dataclass(frozen=True, kw_only=True)
class NavierStokes(Problem):
    """Flow of a viscous gas from random density, pressure and velocity."""

    eta: float = 0.1  # shear viscosity
    zeta: float = 0.1  # bulk viscosity
    end_time: float = 1.0
    density_range: tuple[float, float] = (1.0, 10.0)
    pressure_range: tuple[float, float] = (10.0, 100.0)
    initial: FourierSpec = INITIAL

    chunk = 64
    normalized = True

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of three concatenated lines of cells."""
        return (3 * resolution,)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples (rho | p | v)(0) -> (rho | p | v)(end_time) of one channel, 3 m points."""
        # The draws of a sample are, in order: three fields, the scale of density, that of pressure.
        count = self.initial.num_uniforms
        drawn = uniforms(indices, seed=seed, count=3 * count + 4)
        x = cell_centres(resolution, LOW, HIGH)
        reference = cell_centres(REFERENCE, LOW, HIGH)
        fields = {
            name: self.initial.fields(drawn[:, i * count : (i + 1) * count])
            for i, name in enumerate(("density", "pressure", "velocity"))
        }
        scales = drawn[:, 3 * count :]
        density_scale = _log_uniform(scales[:, :2], self.density_range)
        pressure_scale = _log_uniform(scales[:, 2:], self.pressure_range)
        start = np.stack(
            [
                _scaled(rescaled(fields["density"], x, reference=reference), density_scale),
                _scaled(rescaled(fields["pressure"], x, reference=reference), pressure_scale),
                fields["velocity"](x),
            ],
            axis=1,
        )
        params = {"density_scale": density_scale, "pressure_scale": pressure_scale}
        for name, field in fields.items():
            params |= field.params(f"{name}_")
        x, y = (state.reshape(len(state), 1, -1) for state in (start, self.solve(start)))
        return GeneratedSamples(x=x, y=y, params=params)

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return (rho, p, v)(end_time) of (rho, p, v)(0), [n, 3, m]."""
        order = [0, 2, 1]  # density, pressure, velocity <-> density, velocity, pressure
        nu = 4 / 3 * self.eta + self.zeta
        start = x[:, order].astype(np.float32)
        return evolve(start, length=HIGH - LOW, nu=nu, time=self.end_time)[:, order]


@dataclass(frozen=True, kw_only=True)
class NavierStokesChannels(NavierStokes):
    """The same flow with a channel for each field."""

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of a line of cells."""
        return (resolution,)

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples (rho, p, v)(0) -> (rho, p, v)(end_time) of three channels, m points."""
        made = super().generate(indices, seed=seed, resolution=resolution)
        x, y = (state.reshape(len(state), 3, resolution) for state in (made.x, made.y))
        return replace(made, x=x, y=y)


def _log_uniform(uniform: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    low, high = np.log(bounds)
    values: np.ndarray = np.exp(low + (high - low) * np.ascontiguousarray(uniform))
    return values


def _scaled(unit: np.ndarray, scale: np.ndarray) -> np.ndarray:
    values: np.ndarray = unit * scale[:, :1] + scale[:, 1:]
    return values


COMPAT = NavierStokes()
HARD = NavierStokes(eta=0.01, zeta=0.01)
RANK = NavierStokesChannels(
    eta=0.01,
    zeta=0.01,
    end_time=0.1,
    initial=FourierSpec(num_waves=2, p_absolute=0.0, p_window=0.0, length=HIGH - LOW),
)


GAMMA = 5 / 3
COURANT = 0.8


def evolve(w: np.ndarray, *, length: float, nu: float, time: float) -> np.ndarray:
    """Solve the equations from primitive states (rho, v, p) [n, 3, m].

    Args:
        w: Initial states [n, 3, m].
        length: Length of the period.
        nu: Kinematic viscosity; 0: no viscous part.
        time: End time.

    Returns:
        The primitive states [n, 3, m] at the end time.
    """
    spacing = length / w.shape[-1]

    def stable_step(u: np.ndarray) -> np.ndarray:
        rho, v, p = _fields(primitive(u))
        speed = np.abs(v) + np.sqrt(GAMMA * p / rho)
        step: np.ndarray = COURANT * spacing / speed.max(axis=-1).astype(np.float64)
        return step

    def advance(u: np.ndarray, step: np.ndarray) -> np.ndarray:
        if not nu:
            return _inviscid(u, step / spacing)
        # Strang splitting: half a step of viscosity, a step of the inviscid flow, half a step of
        # viscosity.
        half = step * nu / (2 * spacing**2)
        return viscous(_inviscid(viscous(u, half), step / spacing), half)

    return primitive(march(conserved(w), end_time=time, stable_step=stable_step, advance=advance))


def conserved(w: np.ndarray) -> np.ndarray:
    """Return the conserved state (rho, rho v, E) of a primitive one (rho, v, p)."""
    rho, v, p = _fields(w)
    momentum = rho * v
    return np.stack([rho, momentum, p * (1 / (GAMMA - 1)) + 0.5 * momentum * v], axis=1)


def primitive(u: np.ndarray) -> np.ndarray:
    """Return the primitive state (rho, v, p) of a conserved one (rho, rho v, E)."""
    rho, momentum, energy = _fields(u)
    v = momentum / rho
    return np.stack([rho, v, (GAMMA - 1) * (energy - 0.5 * momentum * v)], axis=1)


def _fields(state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return state[:, 0], state[:, 1], state[:, 2]


def _inviscid(u: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Advance a conserved state by one Heun step. `ratio` [n] is step / spacing."""
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
    # Face i lies between the cells i and i + 1. Each is reconstructed linearly up to the face.
    flux = _hllc(w + slope, np.roll(w - slope, -1, axis=-1))
    change: np.ndarray = flux - np.roll(flux, 1, axis=-1)
    return change


def _hllc(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the HLLC flux [n, 3, m] through each face, from the primitive states on its sides."""
    # Estimates of the speeds of the slowest wave, the fastest wave and the contact between them.
    (rho_l, v_l, p_l), (rho_r, v_r, p_r) = _fields(left), _fields(right)
    c_l, c_r = np.sqrt(GAMMA * p_l / rho_l), np.sqrt(GAMMA * p_r / rho_r)
    slowest = np.minimum(v_l - c_l, v_r - c_r)
    fastest = np.maximum(v_l + c_l, v_r + c_r)
    inflow_l, inflow_r = rho_l * (slowest - v_l), rho_r * (fastest - v_r)
    contact = (p_r - p_l + v_l * inflow_l - v_r * inflow_r) / (inflow_l - inflow_r)

    from_left = contact >= 0  # True: the face is on the left side of the contact
    rho = np.where(from_left, rho_l, rho_r)
    v = np.where(from_left, v_l, v_r)
    p = np.where(from_left, p_l, p_r)
    # The face is inside the fan if the outer wave of its side has passed it. Otherwise speed is 0.
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


def viscous(u: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Advance a conserved state by one Crank-Nicolson step.

    `ratio` is step nu / spacing^2 [n]. In these units mu is ratio rho.
    """
    rho, momentum, energy = _fields(u)
    mu = 0.5 * ratio[:, None] * (rho + np.roll(rho, -1, axis=-1))  # at the right face
    mu_left = np.roll(mu, 1, axis=-1)
    # The mean velocity of the step solves rho (mean - v) = (mu mean_x)_x / 2.
    mean = solve_cyclic_tridiagonal(-0.5 * mu_left, rho + 0.5 * (mu + mu_left), -0.5 * mu, momentum)
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
