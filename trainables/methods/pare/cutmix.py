"""CutMix between modalities, PaRe's control: a random stretch or rectangle of a mixture is the
source's. Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features", ICCV 2019, with the heads, losses and schedule of PaRe (Cai et al., ICML 2024).
"""

from trainables.methods.method import Method
from trainables.methods.pare.config import CutmixConfig

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
