"""LoRA: low-rank adapters of the pretrained body, trained with a new embedder and predictor.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022 (arXiv 2106.09685). The
adapters are those of queries and values, as in the paper (`models/adapters`); the body itself is
fixed. The control is vanilla fine-tuning of all weights with equal settings. The preset is called
`default`, because there are no published settings on these tasks; the rank is peft's, the scale 2.
"""

from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

LORA = Method(
    name="lora",
    title="LoRA",
    citation="Hu et al., ICLR 2022, arXiv 2106.09685",
    stages={"refine": RefineConfig},
    control={"refine.finetune": "all"},
    preset_name="default",
    preset={"refine.finetune": "lora"},
)
