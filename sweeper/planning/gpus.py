"""The GPUs of this machine: those that its driver lists, and those that torch can use.

The first are found without torch. The second need torch, and are found in a process of its own,
`python -m sweeper.planning.gpus`.
"""

import os
import re
import shutil
import subprocess
import warnings
from functools import cache

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeper.planning import child

MIB = 2**20


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    found = sum(line.startswith("GPU ") for line in _nvidia_smi("-L"))
    return min(found, len(visible.split(","))) if visible else found


def gpu_name() -> str | None:
    """Return the name of the first GPU, or None if there is no GPU."""
    gpus = _gpus()
    return gpus[0][0] if gpus else None


def gpu_memory_bytes() -> int | None:
    """Return the memory of the smallest GPU in bytes, or None if there is no GPU."""
    return min((memory for _, memory in _gpus()), default=None)


@cache
def _gpus() -> list[tuple[str, int]]:
    """Return the name and the memory in bytes of every GPU."""
    if not count_gpus():
        return []
    return parse_gpus(_nvidia_smi("--query-gpu=name,memory.total", "--format=csv,noheader,nounits"))


def parse_gpus(lines: list[str]) -> list[tuple[str, int]]:
    """Return names and bytes of memory, from lines like `NVIDIA H100 80GB HBM3, 81559` (MiB)."""
    found = (re.fullmatch(r"(.+), (\d+)", line.strip()) for line in lines)
    return [(match[1], int(match[2]) * MIB) for match in found if match]


def _nvidia_smi(*arguments: str) -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


class TorchGpus(BaseModel):
    """The GPUs that torch can use."""

    model_config = ConfigDict(frozen=True)

    version: str  # of torch
    platform: str | None  # CUDA or ROCm with its version; None: torch is built for CPUs only
    names: tuple[str, ...] = ()
    warning: str = ""  # the reason that torch itself gives if it finds none


@cache
def gpus_of_torch() -> TorchGpus | None:
    """Ask torch for its GPUs; None if torch cannot be loaded."""
    done = subprocess.run(
        child.command("sweeper.planning.gpus"), capture_output=True, env=child.environment()
    )
    try:
        return TorchGpus.model_validate_json(done.stdout)
    except ValidationError:
        return None


def fault_of_torch(listed: int, found: TorchGpus | None) -> str | None:
    """Return why trials cannot use the GPUs that the driver lists, with the way out; or None.

    Args:
        listed: The number of GPUs that the driver lists.
        found: The GPUs of torch; None if torch cannot be loaded, which concerns every trial.
    """
    if found is None or len(found.names) >= listed:
        return None
    have = f"the driver lists {listed} GPU{'s' * (listed > 1)}, and torch {found.version} finds "
    if found.names:
        return f"{have}{len(found.names)}; compare CUDA_VISIBLE_DEVICES with `nvidia-smi -L`."
    if found.platform is None:
        return (
            f"{have}none, because it is built for CPUs only; run: pip install --force-reinstall "
            "--index-url https://pypi.org/simple torch torchvision"
        )
    why = f" ({found.warning})" * bool(found.warning)
    return (
        f"{have}none, though it is built for {found.platform}{why}; update the driver, or install "
        "a torch for an older version: https://pytorch.org/get-started/previous-versions"
    )


def main() -> None:
    """Write the GPUs of torch as one line."""
    out = child.take_output()
    import torch

    cuda, rocm = torch.version.cuda, torch.version.hip
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = TorchGpus(
        version=torch.__version__,
        platform=f"CUDA {cuda}" if cuda else f"ROCm {rocm}" if rocm else None,
        names=tuple(torch.cuda.get_device_name(index) for index in range(count)),
        warning=" ".join(str(given[-1].message).split()) if given else "",
    )
    child.write_line(out, found.model_dump(mode="json"))


if __name__ == "__main__":
    main()
