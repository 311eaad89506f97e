"""MoNA: Modality kNowledge Alignment.

Ma et al., "Learning Modality Knowledge Alignment for Cross-Modality Transfer", ICML 2024 (arXiv
2406.18864).

1. `meta` trains the target embedder. Its loss is low if, after a virtual step of fine-tuning on the
   target, the body still separates the classes of the source.
2. `refine` is vanilla fine-tuning, which starts from that embedder.

Without epochs of `meta` the method is vanilla fine-tuning, bit for bit. The paper's code is not
public. The settings of the first trial are therefore this project's, and are called `default`.
"""

from trainables.methods.method import Method
from trainables.methods.mona.config import MetaConfig
from trainables.stages.configs import RefineConfig

MONA = Method(
    name="mona",
    title="MoNA",
    citation="Ma et al., ICML 2024, arXiv 2406.18864",
    stages={"meta": MetaConfig, "refine": RefineConfig},
    control={"meta.epochs": 0},
    preset_name="default",
    needs_source=True,
)
