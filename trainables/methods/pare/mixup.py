"""Mixup between modalities, PaRe's control: each token of a mixture is a weighted mean of a target
and a source token. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, with the
heads, losses and schedule of PaRe (Cai et al., ICML 2024), and no scores.
"""

from trainables.methods.method import Method
from trainables.methods.pare.config import MixupConfig

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
