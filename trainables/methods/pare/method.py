"""PaRe, and its controls Mixup and CutMix. Cai et al., "Enhancing Cross-modal Fine-Tuning with
Gradually Intermediate Modality Generation", ICML 2024 (arXiv 2406.09003).

`replace` is fine-tuning on clean target samples and on mixtures: the k target tokens with the
lowest scores are replaced by the k source tokens with the highest, and k falls from epoch to epoch.
A head of its own predicts the source label of a mixture.

With k0 = 0 it is vanilla fine-tuning, bit for bit. The preset is the official code's, which covers
NAS-Bench-360; counts and weight of Darcy's flow there serve PDEBench in 2D, for which none are
public.

The controls have PaRe's heads, losses and schedule, and no scores. In Mixup (Zhang et al., "mixup:
Beyond Empirical Risk Minimization", ICLR 2018) each token of a mixture is a weighted mean of a
target and a source token. In CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong
Classifiers with Localizable Features", ICCV 2019) a random stretch or rectangle is the source's.
"""

from typing import Any

from trainables.methods.method import Method
from trainables.methods.pare.config import CutmixConfig, MixupConfig, ReplaceConfig
from trainables.tasks.task import TaskInfo

TOKENS_2D = 3136  # of Swin, which the official counts refer to
CLASSIFIED, DENSE = (2000, 500), (1000, 500)  # counts of replaced tokens, first and last


def published(info: TaskInfo) -> dict[str, Any]:
    """Return the official settings of `replace` on a task, those of its kind where none exist."""
    dense = info.kind == "dense"
    first, last = DENSE if dense else CLASSIFIED
    settings: dict[str, Any]
    if info.dimension == "1d":  # all 32 tokens of a source window
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
    prune_after=0.3,  # early epochs are of the source as much as of the target
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
