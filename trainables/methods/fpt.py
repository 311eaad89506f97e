"""FPT: a frozen pretrained transformer; its embedder, predictor and layer norms alone are trained.

Lu et al., "Pretrained Transformers as Universal Computation Engines", AAAI 2022 (arXiv 2103.05247).
All norms of the body are trained, as in the paper. ORCA's code freezes the norms between Swin's
stages (six of its tensors).
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
