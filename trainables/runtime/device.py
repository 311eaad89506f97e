"""The device of a trial: a GPU if the trial asks for one, or the CPU."""

import torch

from trainables.errors import DeviceError

__all__ = ["device_for"]


def device_for(gpu: float) -> torch.device:
    """Return the device of a trial that asks for `gpu` GPUs; 0 is the CPU, also beside a GPU.

    Raises:
        DeviceError: The trial asks for a GPU, and torch finds none.
    """
    if not gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(
            f"the trial asks for a GPU (`resources.gpu: {gpu:g}`), and torch {torch.__version__} "
            "finds none here. `sweeper doctor` on this machine tells why; to train on CPUs, write "
            "`gpu: 0`."
        )
    return torch.device("cuda")
