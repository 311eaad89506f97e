"""Published numbers: what methods and their rivals scored on each task, lower being better.

Both tables gather what the papers named at each row print; no deviation is given. They show where a
run of ours stands, and no run has to reach them: ORCA's code chose its epoch on the test set, which
flatters it.

ORCA's released loader passes the target frame to its training set only: four tasks of PDEBench are
trained on one frame and tested on another. `FRAMES` says which, and `FLOORS` what that costs: the
score on the tested frame of a predictor that is perfect on frame 100, measured with our generators.
On two tasks the published scores sit on that floor. That the papers' runs used this loader is an
inference; that MoNA's did is one more, its code not being public. Diffusion-reaction in 1D cannot
have been trained on the frame that the loader now has, 29, whose perfect predictor scores 0.216.

A literal table: reading it loads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["FLOORS", "TABLES", "Floor", "PublishedNumber", "PublishedTable", "published_numbers"]

PERCENT = 0.01
ORCA_SUFFIX = "@orca"  # of the tasks whose frames are paired so: the numbers are of them too
ONE_SHOT = "one-shot, {frames}"
FRAMES: Mapping[str, str] = {  # of ORCA's released loader, by task: trained on, tested on
    "advection_1d": "frame 200 of 0..200 in all splits",
    "burgers_1d": "frame 200 of 0..200 in all splits",
    "diffusion_reaction_1d": "tested on frame 99 of 0..100 (the released loader trains on "
    "frame 29, from which these scores cannot be reached)",
    "diffusion_sorption_1d": "trained on frame 100 of 0..100, tested on frame 99",
    "navier_stokes_1d": "frame 100 of 0..100 in all splits",
    "darcy_2d": "the one stored solution",
    "shallow_water_2d": "trained on frame 100 of 0..100, tested on frame 99",
    "diffusion_reaction_2d": "trained on frame 100 of 0..100, tested on frame 99",
}
ROLLED_OUT = (
    "autoregressive from ten frames, mean over all later frames (PDEBench): not to be ranked "
    "against one-shot numbers"
)
TUNED = "official test set, on which ORCA's code, which others build on, chose the epoch too"


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What a perfect predictor of the last frame scores on the frame that is tested."""

    value: float
    samples: int  # of our generators, that it was measured on
    remark: str  # how the published scores stand to it


INFERRED = "that the papers' runs used ORCA's released loader is an inference"
RANK_NOTHING = "the published scores sit on the floor of the protocol and cannot rank methods"
FLOORS: Mapping[str, Floor] = {
    "shallow_water_2d": Floor(value=5.70e-3, samples=24, remark=RANK_NOTHING),
    "diffusion_reaction_1d": Floor(value=2.735e-3, samples=256, remark=RANK_NOTHING),
    "diffusion_sorption_1d": Floor(
        value=3.04e-3,
        samples=64,
        remark="the published scores are below it, which the frames do not explain: that the epoch "
        "was chosen on the test set may",
    ),
    "diffusion_reaction_2d": Floor(
        value=6.6e-3, samples=16, remark="the published scores are far above it"
    ),
}


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """Scores by method and by task, as printed."""

    title: str
    benchmark: str
    tasks: tuple[str, ...]  # of the columns
    metrics: tuple[str, ...]  # of the columns, by our names
    rows: Mapping[str, tuple[float | None, ...]]  # by method; None where nothing is printed
    citations: Mapping[str, str]  # by method
    protocols: Mapping[str, str]  # by method; "" for the rest. May ask for the task's {frames}
    units: Mapping[str, float] = field(default_factory=dict)  # by task: printed -> ours


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """One score, in our metric's unit."""

    method: str
    task: str
    value: float
    metric: str
    protocol: str
    table: str
    citation: str
    floor: float | None = None  # what the protocol alone costs; None: nothing that is known
    remark: str = ""  # on the floor


ORCA = "Shen et al., ICML 2023"
PARE = "Cai et al., ICML 2024"
MONA = "Ma et al., ICML 2024"
NB360 = "Tu et al., NeurIPS 2022"
PDEBENCH = "Takamoto et al., NeurIPS 2022"

TABLES: tuple[PublishedTable, ...] = (
    PublishedTable(
        title="NAS-Bench-360, prediction errors",
        benchmark="nasbench360",
        tasks=(
            "cifar100",
            "spherical",
            "darcy_flow",
            "psicov",
            "cosmic",
            "ninapro",
            "fsd50k",
            "ecg",
            "satellite",
            "deepsea",
        ),
        metrics=(
            "zero_one_error",
            "zero_one_error",
            "relative_l2",
            "mae8",
            "one_minus_pixel_auroc",
            "zero_one_error",
            "one_minus_map",
            "one_minus_macro_f1",
            "zero_one_error",
            "one_minus_auroc",
        ),
        units={
            "cifar100": PERCENT,
            "spherical": PERCENT,
            "ninapro": PERCENT,
            "satellite": PERCENT,
        },
        rows={
            "hand-designed": (19.39, 67.41, 8.00e-3, 3.35, 0.127, 8.73, 0.62, 0.28, 19.80, 0.30),
            "nas-bench-360": (23.39, 48.23, 2.60e-3, 2.94, 0.229, 7.34, 0.60, 0.34, 12.51, 0.32),
            "dash": (24.37, 71.28, 7.90e-3, 3.30, 0.190, 6.60, 0.60, 0.32, 12.28, 0.28),
            "perceiver-io": (70.04, 82.57, 2.40e-2, 8.06, 0.485, 22.22, 0.72, 0.66, 15.93, 0.38),
            "fpt": (10.11, 76.38, 2.10e-2, 4.66, 0.233, 15.69, 0.67, 0.50, 20.83, 0.37),
            "nft": (7.67, 55.26, 7.34e-3, 1.92, 0.170, 8.35, 0.63, 0.44, 13.86, 0.51),
            "orca": (6.53, 29.85, 7.28e-3, 1.91, 0.152, 7.54, 0.56, 0.28, 11.59, 0.29),
            "mona": (6.48, 27.13, 6.80e-3, 0.99, 0.121, 7.28, 0.55, 0.27, 11.13, 0.28),
            "pare": (6.25, 25.55, 7.00e-3, 0.99, 0.121, 6.53, 0.55, 0.28, 11.18, 0.28),
        },
        citations={
            "hand-designed": NB360,
            "nas-bench-360": NB360,
            "dash": "Shen et al., NeurIPS 2022",
            "perceiver-io": "Jaegle et al., ICLR 2022",
            "fpt": "Lu et al., AAAI 2022",
            "nft": ORCA,
            "orca": ORCA,
            "mona": MONA,
            "pare": PARE,
        },
        protocols=dict.fromkeys(("fpt", "nft", "orca", "mona", "pare"), TUNED),
    ),
    PublishedTable(
        title="PDEBench, nRMSE",
        benchmark="pdebench",
        tasks=(
            "advection_1d",
            "burgers_1d",
            "diffusion_reaction_1d",
            "diffusion_sorption_1d",
            "navier_stokes_1d",
            "darcy_2d",
            "shallow_water_2d",
            "diffusion_reaction_2d",
        ),
        metrics=("nrmse",) * 8,
        rows={
            "pinn": (6.7e-1, 3.6e-1, 6.0e-3, 1.5e-1, 7.2e-1, 1.8e-1, 8.3e-2, 8.4e-1),
            "fno": (1.1e-2, 3.1e-3, 1.4e-3, 1.7e-3, 6.8e-2, 2.2e-1, 4.4e-3, 1.2e-1),
            "u-net": (1.1e0, 9.9e-1, 8.0e-2, 2.2e-1, None, None, 1.7e-2, 1.6e0),
            "orca": (9.8e-3, 1.2e-2, 3.0e-3, 1.6e-3, 6.2e-2, 8.1e-2, 6.0e-3, 8.2e-1),
            "mona": (8.8e-3, 1.14e-2, 2.8e-3, 1.6e-3, 5.4e-2, 7.9e-2, 5.7e-3, 8.18e-1),
            "pare": (2.7e-3, 8.3e-3, 2.6e-3, 1.6e-3, 6.62e-2, 8.06e-2, 5.7e-3, 8.18e-1),
        },
        citations={
            "pinn": PDEBENCH,
            "fno": PDEBENCH,
            "u-net": PDEBENCH,
            "orca": ORCA,
            "mona": MONA,
            "pare": PARE,
        },
        protocols={
            **dict.fromkeys(("pinn", "fno", "u-net"), ROLLED_OUT),
            **dict.fromkeys(("orca", "mona", "pare"), f"{ONE_SHOT}; {TUNED}"),
        },
    ),
)


def published_numbers(task: str) -> Mapping[str, PublishedNumber]:
    """Returns what was published on a task, by method; nothing of a variant of ours."""
    benchmark, _, variant = task.partition("/")
    name = variant.removesuffix(ORCA_SUFFIX)
    found = {}
    for table in TABLES:
        if table.benchmark != benchmark or name not in table.tasks:
            continue
        column = table.tasks.index(name)
        for method, row in table.rows.items():
            printed = row[column]
            if printed is not None:
                protocol = table.protocols.get(method, "official test set")
                floor = FLOORS.get(name) if protocol.startswith(ONE_SHOT) else None
                found[method] = PublishedNumber(
                    method=method,
                    task=task,
                    value=printed * table.units.get(name, 1.0),
                    metric=table.metrics[column],
                    protocol=protocol.format(frames=FRAMES.get(name)),
                    table=table.title,
                    citation=table.citations[method],
                    floor=floor.value if floor else None,
                    remark=_remark(floor) if floor else "",
                )
    return MappingProxyType(found)


def _remark(floor: Floor) -> str:
    return (
        f"A perfect predictor of the last frame scores {floor.value:.4g} on frame 99, which is "
        f"tested (our generator, {floor.samples} samples): {floor.remark}; {INFERRED}."
    )
