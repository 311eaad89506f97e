"""NFT: vanilla fine-tuning, the control of every other method.

The cited baseline starts from a random embedder in 2D. As for all methods here, the preset starts
from a copy of the pretrained one; `model.embedder_init: random` is the cited start.
"""

from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

NFT = Method(
    name="nft",
    title="NFT",
    citation="the baseline of Shen et al., ICML 2023, Table 2",
    stages={"refine": RefineConfig},
    control={},
)
