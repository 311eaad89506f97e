"""MoNA: Modality kNowledge Alignment. Ma et al., "Learning Modality Knowledge Alignment for
Cross-Modality Transfer", ICML 2024 (arXiv 2406.18864).

1. `meta` learns the target embedder so that a virtual step of fine-tuning on the target leaves the
   source data well separated by the body.
2. `refine` is vanilla fine-tuning from that embedder.

With no meta epochs it is vanilla fine-tuning, bit for bit. The paper's code is not public: the
settings tried first are our own, and are called `default`.
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
