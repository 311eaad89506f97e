"""How many GPUs this machine shows, without loading torch."""

import os
import shutil
import subprocess


def count_gpus() -> int:
    """Returns the number of NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    command = shutil.which("nvidia-smi")
    if command is None:
        return 0
    try:
        done = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    return min(found, len(visible.split(","))) if visible else found
