"""A catalog of the real stages, and of methods and tasks that cover what a file can relate."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from sweeper.spec.catalog import Catalog
from trainables.methods.method import Method
from trainables.methods.mona.config import MetaConfig
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import StageConfig
from trainables.tasks.kinds import Kind
from trainables.tasks.task import TaskInfo


class AlignConfig(StageConfig):
    """A stage with a choice that other parameters hang on."""

    implementation: ClassVar[str] = "none:None"

    epochs: int = Field(60, ge=0, le=1000)
    distance: Literal["otdd_exact", "otdd_gaussian", "mmd", "none"] = "otdd_exact"
    entropy: float = Field(0.1, gt=0, le=10)
    kernels: int = Field(5, ge=1, le=16)
    normalize: bool = True
    steps: tuple[int, ...] = (20, 40)


class ReplaceConfig(RefineConfig):
    """A stage with two settings that can contradict each other, one a count or a share."""

    k0: int | float = Field(32, ge=0)
    k_end: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _falls(self) -> "ReplaceConfig":
        if self.k_end > self.k0:
            raise ValueError(f"k_end {self.k_end} is over k0 {self.k0}")
        return self


class SharedReplaceConfig(ReplaceConfig):
    """The same stage before one that reports the objective."""

    reports_objective: ClassVar[bool] = False


def _method(name: str, stages: dict[str, type[StageConfig]], **settings: Any) -> Method:
    plain: dict[str, Any] = {"title": name, "citation": "", "control": {}}
    return Method(name=name, stages=stages, **plain | settings)


def _task(name: str, dimension: Literal["1d", "2d"], kind: Kind, **settings: Any) -> TaskInfo:
    return TaskInfo(name=name, title=name, dimension=dimension, kind=kind, loss="mse", samples=100,
                    resolution=16, channels=(1, 1), protocol="", **settings)  # fmt: skip


def make_catalog() -> Catalog:
    methods = [
        _method(
            "mona",
            {"meta": MetaConfig, "refine": RefineConfig},
            preset_name="default",
            control={"meta.epochs": 0},
            needs_source=True,
        ),
        _method("nft", {"refine": RefineConfig}),
        _method(
            "orca",
            {"align": AlignConfig, "refine": RefineConfig},
            preset={"align.epochs": 20, "refine.weight_decay": 0.25},
            control={"align.epochs": 0},
            needs_source=True,
        ),
        _method(
            "pare",
            {"replace": ReplaceConfig},
            control={"replace.k0": 0, "replace.k_end": 0},
            needs_source=True,
            prune_after=0.3,
        ),
    ]
    recipe = {"optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-5, "epochs": 200, "clip_norm": 1}
    tasks = [
        _task("pdebench/advection_1d", "1d", "dense", metric="nrmse", recipe=recipe),
        _task("pdebench/burgers_1d", "1d", "dense", metric="nrmse", recipe=recipe | {"lr": 1e-5}),
        _task("pdebench/darcy_2d", "2d", "dense", metric="nrmse", recipe=recipe | {"epochs": 100}),
        _task("nasbench360/cifar100", "2d", "classification", metric="zero_one_error"),
    ]
    return Catalog(
        methods={m.name: m for m in methods},
        tasks={t.name: t for t in tasks},
        backbones={"roberta_base": "1d", "minilm": "1d", "swin_base": "2d", "dinov2_small": "2d"},
        samplers=dict.fromkeys(("tpe", "cqr", "random", "grid", "cmaes", "gp", "auto")),
        pruners=dict.fromkeys(("asha", "promote", "median", "none")),
        proxies={"conll2003": "1d", "python_source": "1d", "cifar10": "2d", "digits": "2d"},
    )


def three_stages() -> Catalog:
    """The same with one method of three stages, the first two of which trials can share."""
    stages = {"align": AlignConfig, "replace": SharedReplaceConfig, "refine": RefineConfig}
    method = _method("three", stages, needs_source=True)
    return replace(make_catalog(), methods={method.name: method})
