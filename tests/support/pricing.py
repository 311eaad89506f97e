"""Sweeps to be priced, and calibrations of known numbers."""

from sweeper.planning.catalog import catalog
from sweeper.planning.costs.calibration import Calibration, Configuration, Pace
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep

FILE = {
    "name": "priced",
    "methods": ["mona"],
    "tasks": ["pdebench/advection_1d"],
    "backbones": {"1d": "roberta_base"},
    "proxies": {"1d": "python_source"},
    "parameters": {
        "meta.epochs": {"values": [1, 2, 6]},
        "meta.inner_params": {"values": ["all", "layernorm"]},
        "refine.batch_size": {"values": [2, 8, 16]},
        "refine.lr": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3},
    },
    "fixed": {"refine.epochs": 6, "meta.batch_size": 8},
    "search": {"trials": 8},
    "pruning": {"type": "asha", "min_epochs": 2, "eta": 2},
}


def sweep_of(**changes) -> Sweep:
    """The sweep above, with other sections."""
    return loads_sweep({**FILE, **changes}, catalog(), where="priced", profile="paper")


def configuration(
    name: str,
    *,
    begin_s: float,
    meta: tuple[float, float],
    refine: tuple[float, float],
    test_s: float,
) -> Configuration:
    paces = {"meta": meta, "refine": refine}
    return Configuration(
        name=name,
        begin_s=begin_s,
        stages={stage: Pace(first_s=a, next_s=b) for stage, (a, b) in paces.items()},
        test_s=test_s,
        files={"last.safetensors": 100, "best.safetensors": 100, "optimizer.safetensors": 200,
               "state.json": 1},
        peak_memory_bytes=1000,
    )  # fmt: skip


def calibration(*, slowest: float = 3.0, test_s: float = 0.0) -> Calibration:
    """A study whose preset takes 2 s a meta epoch and 1 s of fine-tuning, measured just now."""
    return Calibration(
        study="mona/pdebench/advection_1d",
        at=1_790_000_000.0,
        device="cpu: Z80",
        device_memory_bytes=None,
        start_s=0.0,
        configurations=(
            configuration("preset", begin_s=5.0, meta=(2.0, 2.0), refine=(1.0, 1.0), test_s=test_s),
            configuration(
                "lowest", begin_s=0.0, meta=(1.0, 1.0), refine=(slowest, slowest), test_s=test_s
            ),
        ),
        skipped={},
    )
