"""The eight files of PDEBench as they are published, but small, written with h5py alone.

Fields are of known form, so that a test can say which number has to be where.
"""

from pathlib import Path

import h5py
import numpy as np

LINES = {  # name: (file, arrays, attributes, end time)
    "advection_1d": ("1D_Advection_Sols_beta0.4.hdf5", ["tensor"], {"beta": 0.4}, 2.0),
    "burgers_1d": ("1D_Burgers_Sols_Nu1.0.hdf5", ["tensor"], {"Nu": 1.0}, 2.0),
    "diffusion_reaction_1d": (
        "ReacDiff_Nu0.5_Rho1.0.hdf5",
        ["tensor"],
        {"Nu": 0.5, "rho": 1.0},
        1.0,
    ),
    "navier_stokes_1d": (
        "1D_CFD_Rand_Eta0.1_Zeta0.1_periodic_Train.hdf5",
        ["density", "pressure", "Vx"],
        {"eta": 0.1, "zeta": 0.1},
        1.0,
    ),
}
GROUPS = {  # name: (file, grid, channels, end time)
    "diffusion_sorption_1d": ("1D_diff-sorp_NA_NA.h5", (1024,), 1, 500.0),
    "shallow_water_2d": ("2D_rdb_NA_NA.h5", (128, 128), 1, 1.0),
    "diffusion_reaction_2d": ("2D_diff-react_NA_NA.h5", (128, 128), 2, 5.0),
}
DARCY = "2D_DarcyFlow_beta0.1_Train.hdf5"
NAMES = (*LINES, *GROUPS, "darcy_2d")


def wave(samples: int, points: int = 1024, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Smooth periodic lines [n, m], moved by a part of the domain."""
    rng = np.random.default_rng(seed)
    amplitude, phase = rng.uniform(0.2, 1, (samples, 3, 1)), rng.uniform(0, 1, (samples, 3, 1))
    x = (np.arange(points) + 0.5) / points - shift
    waves = np.arange(1, 4)[:, None]
    return (amplitude * np.sin(2 * np.pi * (waves * x + phase))).sum(axis=1)


def write(folder: Path, name: str, samples: int = 20, **changes) -> Path:
    """Write the file of a task with a few frames; `changes` replace what is written by name."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in LINES:
        return write_lines(folder, name, samples, **changes)
    if name in GROUPS:
        return write_groups(folder, name, samples, **changes)
    return write_darcy(folder, samples, **changes)


def write_lines(
    folder: Path,
    name: str,
    samples: int,
    *,
    speed: float = 0.4,
    attributes: dict | None = None,
    frames: int = 5,
    points: int = 1024,
    **storage,
) -> Path:
    """[n, t, m], with one time more than there are frames."""
    file_name, arrays, stated, end_time = LINES[name]
    times = np.linspace(0, end_time, frames)
    with h5py.File(folder / file_name, "w") as file:
        for number, key in enumerate(arrays):
            fields = np.stack(
                [wave(samples, points, speed * t, number) + 10 * number for t in times], axis=1
            )
            file.create_dataset(key, data=fields.astype("<f4"), **storage)
        file["t-coordinate"] = np.append(times, times[-1] + times[1]).astype("<f4")
        file["x-coordinate"] = np.linspace(0, 1, points, dtype="<f4")
        file.attrs.update(stated if attributes is None else attributes)
    return folder / file_name


def write_groups(folder: Path, name: str, samples: int, *, frames: int = 3) -> Path:
    """A group for each seed: value = number of the sample + 100 * frame + 1000 * channel."""
    file_name, grid, channels, end_time = GROUPS[name]
    shape = (frames, *grid, channels)
    frame = 100 * np.arange(frames).reshape(-1, *(1,) * (len(grid) + 1))
    rng = np.random.default_rng(0)
    with h5py.File(folder / file_name, "w") as file:
        for sample in rng.permutation(samples):
            group = file.create_group(f"{sample:04d}")
            data = np.zeros(shape) + sample + frame + 1000 * np.arange(channels)
            group.create_dataset("data", data=data.astype("<f4"), compression="lzf")
            group["grid/t"] = np.linspace(0, end_time, frames, dtype="<f4")
            for axis, side in zip("xy", grid, strict=False):
                group[f"grid/{axis}"] = np.linspace(-1, 1, side, dtype="<f4")
            group.attrs["config"] = "sim:\n  seed: 0\n"
    return folder / file_name


def write_darcy(folder: Path, samples: int, *, beta: float = 0.1) -> Path:
    """`nu` and `tensor`, whose value at (i, j) is i + 1000 j + the number of the sample."""
    side = np.arange(128)
    field = (side[:, None] + 1000 * side + np.arange(samples)[:, None, None]).astype("<f4")
    with h5py.File(folder / DARCY, "w") as file:
        file["nu"], file["tensor"] = field, -field[:, None]
        file["x-coordinate"] = file["y-coordinate"] = np.linspace(0, 1, 128, dtype="<f4")
        file["t-coordinate"] = np.linspace(0, 2, 10, dtype="<f4")
        file.attrs["beta"] = np.float32(beta)
    return folder / DARCY
