"""Perceiver IO: attention between a sample's points and a few latents, trained from scratch.

The network is in `models/networks/perceiver_io.py`. Jaegle et al., ICLR 2022, arXiv 2107.14795.

The preset is that of NAS-Bench-360 (Tu et al., NeurIPS 2022, arXiv 2110.05668): 32 latents of width
128, three blocks of three layers, weight decay 0.01. Epochs, batches and the schedule are those of
the task's recipe, as in all methods.
"""

from pydantic import Field

from trainables.methods.method import Method, Network
from trainables.stages.configs import NetworkConfig


class PerceiverConfig(NetworkConfig):
    """Settings of the network and of its training."""

    latents: int = Field(32, ge=1, le=4096, description="Number of latents.")
    latent_width: int = Field(128, ge=1, le=4096, description="Width of the latents.")
    blocks: int = Field(
        3, ge=1, le=64, description="Times that the layers of self-attention are applied."
    )
    block_layers: int = Field(
        3, ge=1, le=64, description="Layers of self-attention, whose weights all blocks share."
    )
    bands: int = Field(
        32,
        ge=1,
        le=1024,
        description="Frequencies in each direction of the Fourier features of a point's place.",
    )


PERCEIVER_IO = Method(
    name="perceiver_io",
    title="Perceiver IO",
    citation="Jaegle et al., ICLR 2022, arXiv 2107.14795",
    stages={"refine": PerceiverConfig},
    control={},
    preset={"refine.optimizer": "adamw", "refine.lr": 1e-3, "refine.weight_decay": 0.01},
    network=Network(
        title="Perceiver IO",
        build="trainables.models.networks.perceiver_io:build_perceiver_io",
        settings=tuple(
            f"refine.{name}"
            for name in ("latents", "latent_width", "blocks", "block_layers", "bands")
        ),
    ),
)
