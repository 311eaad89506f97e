"""U-Net: a convolutional network trained from scratch on the target (`models/networks/unet.py`).

Ronneberger et al., MICCAI 2015, arXiv 1505.04597. The preset is PDEBench's (Takamoto et al.,
NeurIPS 2022, arXiv 2210.07182): 32 channels, batch norm, tanh, Adam. Epochs, batches and the
schedule are those of the task's recipe, as in all methods. PDEBench's network predicts the next of
many frames; here it maps the task's input to its output.
"""

from typing import Literal

from pydantic import Field

from trainables.methods.method import Method, Network
from trainables.stages.configs import NetworkConfig


class UnetConfig(NetworkConfig):
    """Settings of the network and of its training."""

    width: int = Field(
        32,
        ge=1,
        le=256,
        description="Channels at full resolution; each of four halvings of the grid doubles them.",
    )
    norm: Literal["batch", "instance", "none"] = Field(
        "batch",
        description="After each convolution. batch: by the statistics of a micro-batch, so that "
        "halved micro-batches are as likely, but not the same. instance: of each sample, whose "
        "amplitude is lost.",
    )

    @property
    def reads_batches(self) -> bool:
        return self.norm == "batch"


UNET = Method(
    name="unet",
    title="U-Net",
    citation="Ronneberger et al., MICCAI 2015, arXiv 1505.04597",
    stages={"refine": UnetConfig},
    control={},
    preset={"refine.optimizer": "adam", "refine.lr": 1e-3, "refine.weight_decay": 1e-4},
    network=Network(
        title="U-Net",
        build="trainables.models.networks.unet:build_unet",
        settings=("refine.width", "refine.norm"),
        kinds=("dense",),
        package="monai",
        extra="baselines",
    ),
)
