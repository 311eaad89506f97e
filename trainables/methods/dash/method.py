"""DASH: search, tune, then train.

Shen, Khodak and Talwalkar, "Efficient Architecture Search for Diverse Tasks", NeurIPS 2022 (arXiv
2204.07554).

1. `search` trains kernels and the weights of operations in a wide residual network.
2. `tune` tries settings of `train` in short trainings. By default it has no epochs, because a sweep
   searches the same settings, with the budget that every method has: a trial that tunes itself
   costs many trials. `tune.epochs: 24` is the official grid.
3. `train` trains the network of the chosen operations from new weights, and reports the objective.

Without 1 and 2 the method is a wide residual network with kernels of three points, which is its
control. Nothing is pretrained and there is no source, so that no control of another method is
equal to it.

The results of `search` are shared: all trials of a study with the same seed, settings of `search`
and `train.width` use one search, and differ in `train`.

Settings are those of the official code, with these differences. The network in 1D is the wide
residual network of 2D with convolutions in 1D; the official one has three blocks of three
convolutions (Ismail Fawaz et al., "Deep learning for time series classification", 2019), and
PDEBench has no published settings, so that its tasks have those of dense outputs. Dense outputs are
learned in units of the training outputs. The momentum of the last batch norm is PyTorch's 0.1, not
0.9. The penalty on receptive fields is the same for all kinds of tasks.
"""

from typing import Any

from trainables.methods.dash.config import SearchConfig, TrainConfig, TuneConfig
from trainables.methods.method import Method, Network
from trainables.tasks.task import TaskInfo

SIZES = {"1d": [3, 7, 11, 15, 19], "2d": [3, 5, 7, 9]}
STEPS = {"1d": [30, 60, 90, 120, 160], "2d": [60, 120, 160]}  # of the rate of `train`
BATCH_SIZE = 64  # of tasks without a published one


def published(info: TaskInfo) -> dict[str, Any]:
    """Return the official settings on a task, by "stage.parameter".

    A task without official settings has those of its dimension and kind.
    """
    dense = info.kind == "dense"
    rate, arch_rate = (1e-2, 5e-3) if dense else (0.1, 0.05)
    own = info.settings.get("dash", {})
    batch_size = own.get("search.batch_size", BATCH_SIZE)
    settings = {
        "search.sizes": SIZES[info.dimension],
        "search.lr": rate,
        "search.arch_lr": arch_rate,
        # All of a recipe is replaced: recipes are of fine-tuning a transformer.
        "train.optimizer": "sgd",
        "train.epochs": 200,
        "train.lr": rate,
        "train.weight_decay": 5e-4,
        "train.momentum": 0.9,
        "train.accumulation": 1,
        "train.warmup_epochs": 0.0,
        "train.decay_epochs": None,
        "train.clip_norm": None,
        "train.lr_steps": STEPS[info.dimension],
        # A short training ends after 80 passes, and would never reach the later steps.
        "tune.lr_steps": [each for each in STEPS[info.dimension] if each < 80],
        "train.width": 4 if info.dimension == "2d" else 1,
        **{f"{stage}.batch_size": batch_size for stage in ("search", "tune", "train")},
    }
    return {**settings, **own}


DASH = Method(
    name="dash",
    title="DASH",
    citation="Shen et al., NeurIPS 2022, arXiv 2204.07554",
    stages={"search": SearchConfig, "tune": TuneConfig, "train": TrainConfig},
    control={"search.epochs": 0, "tune.epochs": 0},
    published=published,
    network=Network(
        title="DASH's wide residual network",
        build="trainables.methods.dash.network:build",
        settings=("search.sizes", "search.depth", "train.width"),
    ),
)
