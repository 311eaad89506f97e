"""A catalog of the real stages, and of methods and tasks that cover what a file can relate."""

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from sweeper.config.catalog import Catalog, MethodEntry, TaskEntry
from trainables.methods.mona.config import MetaConfig
from trainables.spec import BackboneSpec, DataSpec, ModelSpec
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import StageConfig


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


def make_catalog() -> Catalog:
    methods = [
        MethodEntry(
            name="mona",
            stages={"meta": MetaConfig, "refine": RefineConfig},
            objective_stage="refine",
            preset_name="default",
            control={"meta.epochs": 0},
            needs_source=True,
        ),
        MethodEntry(name="nft", stages={"refine": RefineConfig}, objective_stage="refine"),
        MethodEntry(
            name="orca",
            stages={"align": AlignConfig, "refine": RefineConfig},
            objective_stage="refine",
            preset={"align.epochs": 20, "refine.weight_decay": 0.25},
            control={"align.epochs": 0},
            needs_source=True,
        ),
        MethodEntry(
            name="pare",
            stages={"replace": ReplaceConfig},
            objective_stage="replace",
            control={"replace.k0": 0, "replace.k_end": 0},
            needs_source=True,
            prune_after=0.3,
        ),
    ]
    recipe = {"optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-5, "epochs": 200, "clip_norm": 1}
    tasks = [
        TaskEntry(name="pdebench/advection_1d", dimension="1d", kind="dense", metric="nrmse",
                  recipe=recipe),
        TaskEntry(name="pdebench/burgers_1d", dimension="1d", kind="dense", metric="nrmse",
                  recipe=recipe | {"lr": 1e-5}),
        TaskEntry(name="pdebench/darcy_2d", dimension="2d", kind="dense", metric="nrmse",
                  recipe=recipe | {"epochs": 100}),
        TaskEntry(name="nasbench360/cifar100", dimension="2d", kind="classification",
                  metric="zero_one_error"),
    ]  # fmt: skip
    return Catalog(
        methods={m.name: m for m in methods},
        tasks={t.name: t for t in tasks},
        backbones={"roberta_base": "1d", "minilm": "1d", "swin_base": "2d", "dinov2_small": "2d"},
        samplers={name: name for name in ("tpe", "bohb", "random", "grid", "cmaes", "gp", "auto")},
        pruners={name: name for name in ("asha", "promote", "median", "none")},
        proxies={"conll2003": "1d", "python_source": "1d", "cifar10": "2d", "digits": "2d"},
        sections={"backbone": BackboneSpec, "model": ModelSpec, "data": DataSpec},
    )


def three_stages() -> Catalog:
    """The same with one method of three stages, the first two of which trials can share."""
    method = MethodEntry(
        name="three",
        stages={"align": AlignConfig, "replace": ReplaceConfig, "refine": RefineConfig},
        objective_stage="refine",
        needs_source=True,
    )
    return replace(make_catalog(), methods={method.name: method})
