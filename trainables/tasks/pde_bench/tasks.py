"""The tasks of PDEBench (Takamoto et al., NeurIPS 2022), as published and in variants of ours.

Without a suffix, a problem is as published (`compat`). With `@hard`, it is our own variant, because
several published targets are nearly constant: mean and identity fail on it. With `@rank`, it is our
own variant, made so that networks can beat every predictor without one; `evidence/audits/rank` has
the measurements, and says where that was shown. Recipes are ORCA's fine-tuning settings (Shen et
al., ICML 2023).

With `@orca`, the target frames are those of ORCA's released loader. It passes the frame to its
training set only, so the set for selecting the epoch and reporting has the default frame 99.
Without the suffix, all splits have frame 100, which is correct. The suffix exists for the four
problems in which the two differ. Their validation split is held out of the training samples, as in
all tasks, but its frame is 99: the loader scores on no other, so the same frame selects and tests a
model. No model is fitted to frame 99.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from trainables.tasks.pde_bench.published import PUBLISHED
from trainables.tasks.problem import Problem, Problems
from trainables.tasks.task import TaskInfo

__all__ = ["TASKS", "TargetFrames", "problems"]

HARD, RANK, ORCA = "@hard", "@rank", "@orca"
LAST_FRAME = 100  # of 0..100, at the end time of a problem


@dataclass(frozen=True, kw_only=True)
class TargetFrames:
    """The target frames, of 0..LAST_FRAME: in training, and in validation and test."""

    train: int
    scored: int


ORCA_FRAMES: Mapping[str, TargetFrames] = MappingProxyType(
    {
        f"pdebench/diffusion_reaction_1d{ORCA}": TargetFrames(train=29, scored=99),
        f"pdebench/diffusion_sorption_1d{ORCA}": TargetFrames(train=100, scored=99),
        f"pdebench/shallow_water_2d{ORCA}": TargetFrames(train=100, scored=99),
        f"pdebench/diffusion_reaction_2d{ORCA}": TargetFrames(train=100, scored=99),
    }
)


def _recipe(optimizer: str, lr: float, weight_decay: float, **other: Any) -> dict[str, Any]:
    return {
        "optimizer": optimizer,
        "lr": lr,
        "weight_decay": weight_decay,
        "batch_size": 4,
        "accumulation": 1,
        "epochs": 200,
        "warmup_epochs": 5.0,
        "decay_epochs": 200.0,
        "clip_norm": 1.0,
    } | other


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The changes that a variant of ours makes to a published task; None: no change."""

    protocol: str
    channels: tuple[int, int] = (1, 1)  # in, out
    samples: int | None = None  # over all splits, unless a sweep says how many
    resolution: int | None = None
    equation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A problem as published, with its variants of ours by suffix."""

    name: str
    title: str
    dimension: Literal["1d", "2d"]
    samples: int
    resolution: int
    equation: str
    recipe: Mapping[str, Any]
    compat: str  # the published protocol
    ours: Mapping[str, Ours]
    loss: str = "nrmse"
    grid: tuple[int, ...] = ()
    recurring: str = ""
    tokens: int | None = None

    def tasks(self) -> Iterator[TaskInfo]:
        """Yield the published task, its variants of ours, and that with ORCA's frames."""
        name = f"pdebench/{self.name}"
        published = TaskInfo(
            name=name,
            title=self.title,
            dimension=self.dimension,
            kind="dense",
            metric="nrmse",
            loss=self.loss,
            samples=self.samples,
            resolution=self.resolution,
            channels=(1, 1),
            protocol=self.compat,
            publication=PUBLISHED[name].publication,
            recipe=self.recipe,
            tokens=self.tokens,
            equation=self.equation,
            grid=self.grid,
            recurring=self.recurring,
        )
        yield published
        yield from (_own(published, suffix, variant) for suffix, variant in self.ours.items())
        if (frames := ORCA_FRAMES.get(f"{name}{ORCA}")) is not None:
            yield _paired(published, frames)


def _own(published: TaskInfo, suffix: str, variant: Ours) -> TaskInfo:
    """Return a variant of ours, which has no published files and no numbers."""
    return replace(
        published,
        name=f"{published.name}{suffix}",
        title=f"{published.title} ({suffix.removeprefix('@')})",
        samples=variant.samples or published.samples,
        resolution=variant.resolution or published.resolution,
        channels=variant.channels,
        protocol=variant.protocol,
        publication=None,
        equation=variant.equation or published.equation,
        grid=() if variant.resolution else published.grid,
        recurring="",
    )


def _paired(published: TaskInfo, frames: TargetFrames) -> TaskInfo:
    """Return the variant with the frames of ORCA's released loader."""
    return replace(
        published,
        name=f"{published.name}{ORCA}",
        title=f"{published.title} (ORCA's frames)",
        protocol=f"one-shot, trained on frame {frames.train} of 0..{LAST_FRAME}, validated and "
        f"tested on frame {frames.scored}, as ORCA's released loader pairs them; else as "
        f"{published.name}",
        published_as=published.name,
    )


_PROBLEMS = (
    Published(
        name="advection_1d",
        title="Advection 1D",
        dimension="1d",
        samples=10_000,
        resolution=256,
        equation="u_t + 0.4 u_x = 0",
        recipe=_recipe("adam", 1e-4, 1e-5),
        tokens=512,
        compat="one-shot u(0) -> u(2), last frame (ORCA)",
        ours={
            HARD: Ours(
                protocol="one-shot u(0) -> u(2), up to 8 of 16 waves, half of them windowed (ours)"
            ),
            RANK: Ours(
                protocol="one-shot (u(0), a) -> u(0.1), with a speed a that varies in x and from "
                "sample to sample (ours)",
                channels=(2, 1),
                samples=1000,
                resolution=64,
                equation="u_t + a(x) u_x = 0",
            ),
        },
    ),
    Published(
        name="burgers_1d",
        title="Burgers 1D",
        dimension="1d",
        samples=10_000,
        resolution=1024,
        equation="u_t + (u^2/2)_x = (nu/pi) u_xx; nu = 1 (hard: 0.01)",
        recipe=_recipe("adam", 1e-5, 1e-5),
        # The effective value in ORCA's runs: its configuration has 128, but for a length of 256,
        # whereas the data have 1024 points.
        tokens=512,
        loss="rmse",
        compat="one-shot u(0) -> u(2), last frame (ORCA); the target is constant in x",
        ours={
            HARD: Ours(protocol="one-shot u(0) -> u(1), nu = 0.01 (ours)"),
            RANK: Ours(
                protocol="one-shot u(0) -> u(0.025), nu = 0.03, while shocks form (ours)",
                samples=1000,
                resolution=64,
                equation="u_t + (u^2/2)_x = (nu/pi) u_xx; nu = 0.03",
            ),
        },
    ),
    Published(
        name="diffusion_reaction_1d",
        title="Diffusion-Reaction 1D",
        dimension="1d",
        samples=10_000,
        resolution=1024,
        equation="u_t = nu u_xx + rho u (1 - u); nu = 0.5, rho = 1 (hard: 0.005, 5)",
        recipe=_recipe("sgd", 1e-3, 1e-5, momentum=0.99),
        tokens=256,
        compat="one-shot u(0) -> u(1), frame 100 of 0..100 in all splits (ORCA's released loader: "
        "29 to train, 99 to test, which is @orca); the target is constant in x",
        ours={
            HARD: Ours(protocol="one-shot u(0) -> u(0.2), nu = 0.005, rho = 5 (ours)"),
            RANK: Ours(
                protocol="one-shot u(0) -> u(0.2), nu = 0.005, rho = -10: u declines, and its "
                "peaks are left (ours)",
                samples=1000,
                resolution=64,
                equation="u_t = nu u_xx + rho u (1 - u); nu = 0.005, rho = -10",
            ),
        },
    ),
    Published(
        name="diffusion_sorption_1d",
        title="Diffusion-Sorption 1D",
        dimension="1d",
        samples=10_000,
        resolution=1024,
        equation="c_t = D / R(c) c_xx",
        recipe=_recipe("adamw", 1e-4, 0.0),
        tokens=32,
        compat="one-shot c(0) -> c(500), frame 100 of 0..100 in all splits (ORCA's released "
        "loader: 100 to train, 99 to test, which is @orca); c(0) is constant in x",
        ours={
            HARD: Ours(protocol="one-shot c(0) -> c(100), c(0) a random smooth field (ours)"),
            RANK: Ours(
                protocol="one-shot c(0) -> c(300), c(0) a random smooth field, Freundlich's k = "
                "0.01 and n = 0.1, so that the first of a pollutant is sorbed (ours)",
                samples=1000,
                resolution=64,
                equation="c_t = D / R(c) c_xx; k = 0.01, n = 0.1",
            ),
        },
        recurring="an input is one number, and of 10,000 in single precision two may coincide",
    ),
    Published(
        name="navier_stokes_1d",
        title="Navier-Stokes 1D",
        dimension="1d",
        samples=10_000,
        resolution=1024,
        grid=(3 * 1024,),
        equation="compressible Navier-Stokes; eta = zeta = 0.1 (hard: 0.01)",
        recipe=_recipe("adamw", 1e-4, 1e-3),
        tokens=128,
        loss="rmse",
        compat="one-shot rho|p|v (0) -> (1), end to end in one channel, standardised by the "
        "training inputs point by point and scored so (ORCA)",
        ours={
            HARD: Ours(protocol="as published, with eta = zeta = 0.01 (ours)"),
            RANK: Ours(
                protocol="one-shot (rho, p, v)(0) -> (rho, p, v)(0.1), a channel for each field, "
                "eta = zeta = 0.01, standardised as published (ours)",
                channels=(3, 3),
                samples=1000,
                resolution=64,
            ),
        },
    ),
    Published(
        name="darcy_2d",
        title="Darcy 2D",
        dimension="2d",
        samples=10_000,
        resolution=64,
        equation="u_t = div(a grad u) + 0.1 (hard: steady)",
        recipe=_recipe("adamw", 1e-4, 1e-5, epochs=100, clip_norm=None),
        compat="one-shot a -> u(1.75), a transient snapshot (ORCA); generated data start from a "
        "constant u(0) ~ U(0.1, 10), which is not an input",
        ours={
            HARD: Ours(protocol="one-shot a -> steady u (ours)"),
            RANK: Ours(
                protocol="one-shot log a -> steady u, log a a smooth Gaussian field (ours)",
                equation="div(a grad u) + 0.1 = 0",
                samples=1250,
                resolution=32,
            ),
        },
    ),
    Published(
        name="shallow_water_2d",
        title="Shallow-Water 2D",
        dimension="2d",
        samples=1000,
        resolution=128,
        equation="shallow water, radial dam break",
        recipe=_recipe("adamw", 1e-4, 0.0, warmup_epochs=10.0),
        compat="one-shot h(0) -> h(1), frame 100 of 0..100 in all splits (ORCA's released loader: "
        "100 to train, 99 to test, which is @orca); pixelised dams recur between the splits",
        ours={
            HARD: Ours(
                protocol="one-shot h(0) -> h(1), dam of random centre, radius and depth (ours)"
            ),
            RANK: Ours(
                protocol="one-shot h(0) -> h(0.25), smooth random surface between two walls (ours)",
                equation="shallow water, smooth surface",
                samples=1000,
                resolution=32,
            ),
        },
        recurring="a round dam on 128 x 128 points is one of 81 pictures",
    ),
    Published(
        name="diffusion_reaction_2d",
        title="Diffusion-Reaction 2D",
        dimension="2d",
        samples=1000,
        resolution=128,
        equation="FitzHugh-Nagumo reaction-diffusion",
        recipe=_recipe("adam", 1e-4, 1e-3),
        compat="one-shot u(0) -> v(5), frame 100 of 0..100 in all splits (ORCA's released loader: "
        "100 to train, 99 to test, which is @orca); v(0) is not an input",
        ours={
            HARD: Ours(
                protocol="one-shot (u, v)(0) -> (u, v)(0.5) (ours)",
                channels=(2, 2),
            ),
            RANK: Ours(
                protocol="one-shot (u, v)(0) -> (u, v)(2), (u, v)(0) smooth random fields (ours)",
                channels=(2, 2),
                samples=1250,
                resolution=32,
            ),
        },
    ),
)

TASKS: tuple[TaskInfo, ...] = tuple(info for problem in _PROBLEMS for info in problem.tasks())


def problems(info: TaskInfo) -> Problems:
    """Return the problems of a task from the module of the same name.

    They are `HARD` or `RANK` of that module for these suffixes, and derive from `COMPAT` otherwise.
    Frames are evenly spaced in time.
    """
    module, _, variant = info.name.partition("/")[2].partition("@")
    variants = import_module(f"{__package__}.{module}")
    frames = ORCA_FRAMES.get(info.name)
    if frames is None:
        problem: Problem = getattr(variants, variant.upper() or "COMPAT")
        return Problems(train=problem, scored=problem)
    published = variants.COMPAT
    train, scored = (
        replace(published, end_time=published.end_time * frame / LAST_FRAME)
        for frame in (frames.train, frames.scored)
    )
    return Problems(train=train, scored=scored)
