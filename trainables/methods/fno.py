"""FNO: a Fourier neural operator trained from scratch on the target (`models/networks/fno.py`).

Li et al., ICLR 2021, arXiv 2010.08895. The preset is PDEBench's (Takamoto et al., NeurIPS 2022,
arXiv 2210.07182): 12 modes, width 20, four layers, Adam. Epochs, batches and the schedule are those
of the task's recipe, as in all methods. PDEBench's operator predicts the next of many frames from
ten earlier ones; here it maps the task's input to its output, as all methods do. So the published
numbers are of another protocol, and of a smaller operator: the package adds a channel MLP and a
gate to each layer, and keeps one frequency more than `modes`. PDEBench pads the fields of Darcy
flow, which are not periodic; this does not.
"""

from pydantic import Field

from trainables.methods.method import Method, Network
from trainables.stages.configs import NetworkConfig


class FnoConfig(NetworkConfig):
    """Settings of the operator and of its training."""

    modes: int = Field(
        12,
        ge=1,
        le=256,
        description="Frequencies of each sign that are kept in each direction; others than the "
        "grid's have no effect.",
    )
    width: int = Field(20, ge=1, le=1024, description="Channels of the layers.")
    layers: int = Field(4, ge=1, le=64, description="Number of Fourier layers.")


FNO = Method(
    name="fno",
    title="FNO",
    citation="Li et al., ICLR 2021, arXiv 2010.08895",
    stages={"refine": FnoConfig},
    control={},
    preset={"refine.optimizer": "adam", "refine.lr": 1e-3, "refine.weight_decay": 1e-4},
    network=Network(
        title="FNO",
        build="trainables.models.networks.fno:build_fno",
        settings=("refine.modes", "refine.width", "refine.layers"),
        kinds=("dense",),
        package="neuraloperator",
        extra="baselines",
    ),
)
