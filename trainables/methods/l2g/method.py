"""L2G: search the embedder, align it, then refine.

Cheng et al., "L2G: Repurposing Language Models for Genomics Tasks", TMLR 2025.

1. `search` is DASH's: a convolutional network of many kernel sizes and dilations is trained on the
   task, and the best ones are kept. A network of these becomes a part of the embedder.
2. `align` is ORCA's: the embedder and the predictor minimise a MMD + b task loss.
3. `refine` is vanilla fine-tuning of the whole model.

Without epochs of 1 and 2 the method is vanilla fine-tuning, bit for bit, which is its control: what
a user would do without it, and the same control as that of every other method. The control differs
in two things, the embedder and its training. `align.epochs: 0` measures the first alone, and
`search.epochs: 0` the second (the method is ORCA then, bit for bit). One candidate, such as
`search.sizes: [3]` with `search.dilations: [1]`, has the larger embedder without a choice.

Settings are those of the official code, with these differences:

                 official code                       ours
    candidates   ResNet, U-Net and DeepSEA: one      the wide residual network alone
                 epoch each, the best is kept
    embedder     the network alone, with batch       the plain embedder, with the network's features
                 norm                                as further channels, whose weights are 0 at
                                                     first; norms of a sample
    task loss    of a linear head on the tokens'     through the fixed body, by the model's
    of `align`   mean, without the body              predictor
    weights a    a is 0 in the first epochs of       constant
                 some runs
    settings     rate, decay and momentum are those  those of the configurations without DASH's
    of `align`   that DASH tunes                     tuning; the sweep searches them
    data         genomic sequences                   any, also in 2D

Most released configurations have a = b = 1, and that of the whole DeepSEA data a = 0.01. The preset
is called `default`, because these are not the paper's tables.
"""

from typing import Any

from trainables.methods.dash import method as dash
from trainables.methods.l2g.config import SearchConfig
from trainables.methods.method import Method, Network
from trainables.methods.orca.config import AlignConfig
from trainables.stages.configs import RefineConfig
from trainables.tasks.task import TaskInfo

ALIGN = {
    "epochs": 60,
    "distance": "mmd",
    "class_mode": "joint",
    "update_mode": "minibatch",
    "max_samples": 256,
    "align_weight": 1.0,
    "task_weight": 1.0,
    "optimizer": "sgd",
    "lr": 0.01,
    "weight_decay": 5e-6,
    "momentum": 0.99,
    "clip_norm": 1.0,
}


def published(info: TaskInfo) -> dict[str, Any]:
    """Return DASH's settings of `search` on a task, by "stage.parameter"."""
    return {k: v for k, v in dash.published(info).items() if k.startswith("search.")}


L2G = Method(
    name="l2g",
    title="L2G",
    citation="Cheng et al., TMLR 2025",
    stages={"search": SearchConfig, "align": AlignConfig, "refine": RefineConfig},
    control={"search.epochs": 0, "align.epochs": 0},
    preset_name="default",
    preset={f"align.{key}": value for key, value in ALIGN.items()},
    published=published,
    needs_source=True,
    features=Network(
        title="DASH's wide residual network",
        build="trainables.methods.l2g.embedder:build",
        settings=("search.sizes", "search.width", "search.depth"),
    ),
)
