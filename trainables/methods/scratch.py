"""From scratch: vanilla fine-tuning of a backbone with random weights.

It shows what pretraining is worth: it differs from NFT in nothing but the weights with which body
and embedder begin.
"""

from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

SCRATCH = Method(
    name="scratch",
    title="From scratch",
    citation="NFT of random weights, as in Shen et al., ICML 2023",
    stages={"refine": RefineConfig},
    control={},
    backbone={"weights": "random"},
)
