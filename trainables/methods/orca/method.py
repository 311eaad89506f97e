"""ORCA: align, then refine.

Shen et al., "Cross-Modal Fine-Tuning: Align then Refine", ICML 2023 (arXiv 2302.05738).

1. `align` trains only the target embedder. It minimises the distance of embedded target data from
   the source: a distance between labelled data sets (OTDD), MMD, or a Euclidean distance.
2. `warmup` trains embedder and predictor on the task, if it has epochs. The paper's runs have none.
3. `refine` is vanilla fine-tuning, which starts from the trained embedder.

Without epochs of 1 and 2 the method is vanilla fine-tuning, bit for bit.

The preset follows the official code with three exceptions. The solver is exact transport instead of
a debiased Sinkhorn. The gradient of the label term is complete. The source has at most 500 samples
of each class, and its images are unchanged.

The alignment uses the optimiser of fine-tuning. Its learning rate is ten times that of fine-tuning
if the latter is at most 1e-3, and equal to it otherwise. It clips no gradients, even if fine-tuning
does, and accumulates none. Rate and weight decay are therefore the printed ones, while a task's
recipe holds those of averaged micro-batches (`tasks/nas_bench_360/benchmark.py`).
"""

from typing import Any

from trainables.methods.method import Method
from trainables.methods.orca.config import AlignConfig, WarmupConfig
from trainables.stages.configs import RefineConfig
from trainables.tasks.task import TaskInfo

DEFAULT_REFINE = RefineConfig()  # for a task without a recipe, or with a part of one
TAKEN = ("optimizer", "accumulation", "lr", "weight_decay")


def printed_optimisation(info: TaskInfo) -> dict[str, Any]:
    """Return a task's optimiser, rate and weight decay as the official configuration has them."""
    recipe = {**{key: getattr(DEFAULT_REFINE, key) for key in TAKEN}, **info.recipe}
    optimizer, accumulation = recipe["optimizer"], recipe["accumulation"]
    # The recipe averages over accumulated micro-batches; the alignment does not accumulate. Rate
    # and decay are converted back to the printed values of one micro-batch.
    printed = {
        "optimizer": optimizer,
        "lr": recipe["lr"] / (accumulation if optimizer == "sgd" else 1),
        "weight_decay": recipe["weight_decay"] * (1 if optimizer == "adamw" else accumulation),
    }
    if "momentum" in recipe:
        printed["momentum"] = recipe["momentum"]
    return printed


def published(info: TaskInfo) -> dict[str, Any]:
    """Return the official settings of `align` and `warmup` on a task, by "stage.parameter"."""
    printed = printed_optimisation(info)
    shared = {**printed, "lr": printed["lr"] * (10 if printed["lr"] <= 1e-3 else 1)}
    settings = {
        f"{stage}.{key}": value for stage in ("align", "warmup") for key, value in shared.items()
    }
    usual = {"align.epochs": 60, "align.max_samples": 128}
    return {**settings, **usual, **info.settings.get("orca", {})}


ORCA = Method(
    name="orca",
    title="ORCA",
    citation="Shen et al., ICML 2023, arXiv 2302.05738",
    stages={"align": AlignConfig, "warmup": WarmupConfig, "refine": RefineConfig},
    control={"align.epochs": 0, "warmup.epochs": 0},
    published=published,
    needs_source=True,
)
