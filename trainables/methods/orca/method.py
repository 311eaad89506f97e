"""ORCA: align, then refine. Shen et al., "Cross-Modal Fine-Tuning: Align then Refine", ICML 2023
(arXiv 2302.05738).

1. `align` trains the target embedder alone, so that embedded target data come close to the source's
   by a distance between labelled data sets (OTDD), or by MMD or a Euclidean one.
2. `warmup` trains embedder and predictor on the task, if it has epochs; the paper's runs have none.
3. `refine` is vanilla fine-tuning from that embedder.

With no epochs of 1 and 2 it is vanilla fine-tuning, bit for bit. The preset is the official code's
but for the solver (exact transport, where it has a debiased Sinkhorn), the gradient of the label
term (whole), and the source: at most 500 samples a class, and images as they are. The alignment has
the optimiser of fine-tuning, and ten times its rate unless that is above 1e-3. It caps no gradient,
whatever fine-tuning does. It accumulates nothing, so that rate and decay are the printed ones,
where a task's recipe has those of averaged micro-batches (`tasks/nas_bench_360/benchmark.py`).
"""

from typing import Any

from trainables.methods.method import Method
from trainables.methods.orca.config import AlignConfig, WarmupConfig
from trainables.stages.configs import RefineConfig
from trainables.tasks.task import TaskInfo


def published(info: TaskInfo) -> dict[str, Any]:
    """Return the official settings of `align` and `warmup` on a task."""
    recipe = info.recipe
    optimizer, accumulation = recipe["optimizer"], recipe["accumulation"]
    printed = recipe["lr"] / (accumulation if optimizer == "sgd" else 1)
    shared = {
        "optimizer": optimizer,
        "lr": printed * (10 if printed <= 1e-3 else 1),
        "weight_decay": recipe["weight_decay"] * (1 if optimizer == "adamw" else accumulation),
    }
    if "momentum" in recipe:
        shared["momentum"] = recipe["momentum"]
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
