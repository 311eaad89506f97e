"""NFT: vanilla fine-tuning, the control of every other method."""

from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

NFT = Method(
    name="nft",
    title="NFT",
    citation="the baseline of Shen et al., ICML 2023, Table 2",
    stages={"refine": RefineConfig},
    control={},
)
