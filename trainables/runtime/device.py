"""The device of a trial, and its share of the memory of a GPU.

A trial uses a GPU only if it asks for one. All calls of `torch.cuda` about devices and their memory
are here; those about numbers are in `precision`.
"""

import re

import torch

from trainables.errors import DeviceError

# Memory of a process on a GPU that torch's allocator does not count: the context of CUDA, its
# kernels and the handles of its libraries. An estimate for an H100.
CONTEXT_BYTES = 600 * 2**20


def device_for(gpu: float) -> torch.device:
    """Return the device of a trial that asks for `gpu` GPUs; 0 is the CPU, also beside a GPU.

    A trial that asks for a share of a GPU is kept to this share of the memory.

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
    device = torch.device("cuda")
    if gpu < 1:
        memory_bytes = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(share_for_tensors(gpu, memory_bytes), device)
    return device


def named_device(text: str) -> torch.device:
    """Return the device of a name: `cpu`, `cuda`, or `cuda:N`.

    Raises:
        DeviceError: There is no such device here.
    """
    found = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", text)
    if found is None:
        raise DeviceError(f"device {text!r}: write cpu, cuda, or cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text != "cpu" and int(found[1] or 0) >= count:
        raise DeviceError(
            f"device {text}: torch {torch.__version__} finds {count} GPUs here; write "
            f"{'cpu' if not count else f'cpu, or cuda:0 to cuda:{count - 1}'}."
        )
    return torch.device(text)


def share_for_tensors(gpu: float, memory_bytes: int) -> float:
    """Return the fraction of a GPU's memory for the tensors of a trial that has `gpu` of it.

    The context of CUDA takes its part of the share, but at most half of it.
    """
    return max(gpu - CONTEXT_BYTES / memory_bytes, gpu / 2)


def free_bytes(device: torch.device, gpu: float) -> int:
    """Return the bytes of a GPU that this process may still fill with tensors.

    Args:
        device: The GPU.
        gpu: The share of it that the trial has.
    """
    free, memory_bytes = torch.cuda.mem_get_info(device)
    share = share_for_tensors(gpu, memory_bytes) if gpu < 1 else 1.0
    # What torch's allocator has reserved is not free for other processes, but it is for this one.
    mine = free + torch.cuda.memory_reserved(device)
    return int(min(mine, share * memory_bytes)) - torch.cuda.memory_allocated(device)


def reset_gpu_peak() -> None:
    """Reset the peak of the GPU's memory to what is in use now."""
    torch.cuda.reset_peak_memory_stats()


def gpu_peak() -> int:
    """Return the most bytes of the GPU that others could not have since `reset_gpu_peak`."""
    return torch.cuda.max_memory_reserved() + CONTEXT_BYTES


def release() -> None:
    """Return memory that no tensor uses to the GPU, if this process uses one.

    Raises:
        RuntimeError: The GPU is unusable to this process.
    """
    # The calls below would create a context of CUDA in a process that computes on the CPU.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
