"""Small random data of published tasks in the store, as if their files had been imported.

They have every kind of output and every normalisation of the store.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainables.tasks.registry import task_info
from trainables.tasks.store.split import SPLITS, SplitData
from trainables.tasks.store.store import write_store

SAMPLES = {"train": 12, "val": 8, "test": 12}
SIDE = 32  # of a protein: contacts are at least 24 apart
RESIDUES, MAPS = 27, 3  # of PSICOV
SCALING = {"mean": [100.0, 120.0, 90.0], "std": [50.0, 60.0, 70.0]}
NAMES = {  # tasks, and the shape of one raw input
    "nasbench360/spherical": (3, 12, 12),
    "nasbench360/satellite": (1, 46),
    "nasbench360/fsd50k": (1, 16, 12),
    "nasbench360/deepsea": (4, 40),
    "nasbench360/ecg": (1, 40),
    "nasbench360/darcy_flow": (3, 9, 9),
    "nasbench360/psicov": (RESIDUES + 1 + MAPS * SIDE, SIDE),
    "nasbench360/cosmic": (1, 16, 16),
}


def plant(name: str, home: Path, *, more: Mapping[str, Any] | None = None) -> Path:
    """Write small data of a task, unless they exist, and return their folder.

    Args:
        more: Further entries of the manifest.
    """
    folder = home / "data" / name / "official"
    if folder.exists():
        return folder
    rng = np.random.default_rng(7)
    splits = {split: _split(name, n, rng) for split, n in SAMPLES.items()}
    description = {
        "task": name,
        "data_source": "official",
        "baselines": {},
        **_normalisation(name, splits),
        **(more or {}),
    }
    write_store(folder, splits, description)
    return folder


def _split(name: str, n: int, rng: np.random.Generator) -> SplitData:
    info, shape = task_info(name), (n, *NAMES[name])
    if info.stored == "uint8":
        x = rng.integers(0, 256, shape).astype(np.uint8)
    else:
        x = rng.normal(2, 3, shape).astype(info.stored)
    if name == "nasbench360/psicov":
        x[:, RESIDUES] = 1
    grid = {"nasbench360/psicov": (SIDE, SIDE)}.get(name, NAMES[name][1:])
    if info.kind == "classification":
        y = rng.integers(0, info.channels[1], n)
    elif info.kind == "multilabel":
        y = rng.integers(0, 2, (n, info.channels[1])).astype(np.float32)
        y[0], y[1] = 0, 1  # every label has both kinds of samples
    elif info.mask is not None:
        is_known, shape = info.mask == "known", (n, 1, *grid)
        values = rng.uniform(1, 9, shape) if is_known else rng.integers(0, 2, shape)
        mask = np.full(shape, float(is_known))
        y = np.concatenate([values, mask], axis=1).astype(np.float32)
    else:
        y = rng.normal(5, 2, (n, info.channels[1], *grid)).astype(np.float32)
    groups = None
    if info.kind == "multilabel":  # the samples of a group have one target
        groups = np.arange(n) // 2
        y = y[groups]
    return SplitData(sample_id=np.arange(n), x=x, y=y, groups=groups)


def _normalisation(name: str, splits: Mapping[str, SplitData]) -> dict[str, Any]:
    if name == "nasbench360/spherical":
        return {"input_scaling": SCALING}
    if name == "nasbench360/psicov":
        return {"pair_features": {"num_maps": MAPS}}
    if name == "nasbench360/cosmic":
        for split in SPLITS:
            splits[split].x[...] = (splits[split].x - np.float32(2)) / np.float32(4)
        return {"normalization": {"kind": "of all pixels", "mean": 2.0, "scale": 4.0}}
    if name == "nasbench360/darcy_flow":
        mean, std = np.full((9, 9), 2.0, np.float32), np.full((9, 9), 4.0, np.float32)
        for split in SPLITS:
            splits[split].x[:, 0] = (splits[split].x[:, 0] - mean) / std
        return {"normalization": {"kind": "of the first channel", "mean": mean.tolist(),
                                  "std": std.tolist()}}  # fmt: skip
    return {}
