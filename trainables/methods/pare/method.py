"""PaRe, and its controls Mixup and CutMix.

Cai et al., "Enhancing Cross-modal Fine-Tuning with Gradually Intermediate Modality Generation",
ICML 2024 (arXiv 2406.09003).

The stage `replace` fine-tunes on clean target samples and on mixtures. In a mixture the k target
tokens with the lowest scores are replaced by the k source tokens with the highest scores, and k
decreases from epoch to epoch. A separate head predicts the source label of a mixture.

With k0 = 0 the method is vanilla fine-tuning, bit for bit. The preset is that of the official code,
which covers NAS-Bench-360. No settings for PDEBench are public: its tasks in 2D use the counts and
the weight of Darcy Flow.

The controls have PaRe's heads, losses and schedule, and no scores. In Mixup (Zhang et al., "mixup:
Beyond Empirical Risk Minimization", ICLR 2018) each token of a mixture is a weighted mean of a
target and a source token. In CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong
Classifiers with Localizable Features", ICCV 2019) a random segment or rectangle comes from the
source.
"""

from typing import Any

from trainables.methods.method import Method
from trainables.methods.pare.config import CutmixConfig, MixupConfig, ReplaceConfig
from trainables.tasks.task import TaskInfo

TOKENS_2D = 3136  # tokens of Swin, to which the official counts refer
CLASSIFIED, DENSE = (2000, 500), (1000, 500)  # counts of replaced tokens, first and last


def published(info: TaskInfo) -> dict[str, Any]:
    """Return the official settings of `replace` on a task, by "stage.parameter".

    A task without official settings has those of its kind. Regressions have those of
    classification: they too have one prediction for a whole sample.
    """
    dense = info.kind == "dense"
    first, last = DENSE if dense else CLASSIFIED
    settings: dict[str, Any]
    if info.dimension == "1d":  # at first all 32 tokens of a source window
        settings = {"k0": 1.0, "k_end": 0.0, "gamma": 0.1, "explore_epochs": 5}
    else:
        settings = {
            "k0": first / TOKENS_2D,
            "k_end": last / first,
            "gamma": 0.3 if dense else 1.0,
            "explore_epochs": 10,
        }
    settings |= {"lambda_mode": "k_over_n"}
    usual = {f"replace.{key}": value for key, value in settings.items()}
    return {**usual, **info.settings.get("pare", {})}


PARE = Method(
    name="pare",
    title="PaRe",
    citation="Cai et al., ICML 2024, arXiv 2406.09003",
    stages={"replace": ReplaceConfig},
    control={"replace.k0": 0},
    published=published,
    needs_source=True,
    prune_after=0.3,  # in early epochs the loss depends on the source as much as on the target
)


MIXUP = Method(
    name="mixup",
    title="Mixup",
    citation="Zhang et al., ICLR 2018, arXiv 1710.09412",
    stages={"mix": MixupConfig},
    control={"mix.k0": 0},
    preset_name="default",
    needs_source=True,
    prune_after=0.3,
)


CUTMIX = Method(
    name="cutmix",
    title="CutMix",
    citation="Yun et al., ICCV 2019, arXiv 1905.04899",
    stages={"mix": CutmixConfig},
    control={"mix.k0": 0},
    preset_name="default",
    needs_source=True,
    prune_after=0.3,
)
