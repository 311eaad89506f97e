"""The precision of a trial: that of its settings, or for `auto` one that fits its device and batch.

    auto    fp32 on a CPU, unless its sweep has chosen bf16 (`cpu_precision`)
            bf16 on a GPU that computes in it, if F >= 2e9 K
            tf32 on another GPU that has it, else fp32

F are the floating-point operations of the matrix products of a micro-batch, forward and backward; K
are the kernels of a step in bf16, at six for each weight. Autocast adds two kernels for each weight
(414 for RoBERTa-base, 932 for Swin-base), which cast it and its gradient. A host launches a kernel
in about 7 us, while a GPU such as an H100 computes 2e9 operations in TF32. Below this work the GPU
waits for launches, and more kernels cost more than they save. Counted: a step in bf16 has 910
kernels for 197 weights of RoBERTa-base, 3133 for 425 of Swin-base. Estimated, since no GPU was
measured: the two durations.

RoBERTa-base with 256 tokens is in bf16 from 19 samples, Swin-base with 224 x 224 pixels from 55.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.errors import DeviceError
from trainables.models.cross_modal import CrossModalModel
from trainables.training.evaluation import evaluating

WORK_OF_A_KERNEL = 2e9  # operations in TF32 during the launch of a kernel
KERNELS_OF_A_WEIGHT = 6  # of a step in bf16
PASSES = 3  # a backward pass has the products of two forward passes


def precision_of(
    setting: str,
    model: CrossModalModel,
    input_shape: tuple[int, ...],
    micro_batch: int,
    device: torch.device,
) -> str:
    """Return the precision of a trial on a device: `fp32`, `tf32` or `bf16`.

    Args:
        setting: `model.precision`.
        model: The model.
        input_shape: Shape of one input [C, *grid].
        micro_batch: Samples of a micro-batch of its last stage, before halvings, so that a halved
            trial keeps its precision.
        device: The device.
    """
    if setting != "auto":
        return setting
    if device.type != "cuda":
        return "fp32"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        kernels = KERNELS_OF_A_WEIGHT * sum(1 for _ in model.body.parameters())
        work = micro_batch * operations(model, input_shape)
        if work >= WORK_OF_A_KERNEL * kernels:
            return "bf16"
    return "tf32" if torch.cuda.is_tf32_supported() else "fp32"


@torch.no_grad()
def operations(model: CrossModalModel, input_shape: tuple[int, ...]) -> int:
    """Return the operations of a sample's matrix products in a step, counted in a forward pass."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, evaluating(model):
        model(torch.zeros(1, *input_shape, device=device))
    return PASSES * int(counter.get_total_flops())


def check_precision(device: torch.device, precision: str) -> None:
    """Check that a device computes in a precision.

    Raises:
        DeviceError: It does not, or only by emulation, which is slower than float32.
    """
    if precision != "bf16" or device.type != "cuda":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(
            f"`model.precision: bf16`: {torch.cuda.get_device_name(device)} cannot compute in "
            "bfloat16; write `fp32`, or use a GPU of the Ampere generation or newer."
        )
