"""FPT: a frozen pretrained transformer, of which embedder, predictor and layer norms alone train.
Lu et al., "Pretrained Transformers as Universal Computation Engines", AAAI 2022 (arXiv 2103.05247).

All norms of the body train, as the paper has it; ORCA's code leaves those between Swin's stages
frozen (six of its tensors).
"""

from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

FPT = Method(
    name="fpt",
    title="FPT",
    citation="Lu et al., AAAI 2022, arXiv 2103.05247",
    stages={"refine": RefineConfig},
    control={"refine.finetune": "all"},
    preset={"refine.finetune": "layernorm"},
)
