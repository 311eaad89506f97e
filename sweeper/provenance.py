"""The provenance of a result: versions, host, processor and commit."""

import os
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from trainables.plugins import DISTRIBUTION

PACKAGES = ("sweeper", "torch", "transformers", "timm", "POT", "ray", "optuna", "mlflow", "pyarrow")
# Environment variables by which libraries choose the kernels of an older processor.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
CPUINFO = Path("/proc/cpuinfo")  # of Linux


def collect() -> dict[str, Any]:
    """Return versions, host, processor, and in a git checkout its commit and if it is dirty."""
    root = Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD")
    return {
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": processor(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_commit": commit,
        "git_dirty": bool(_git(root, "status", "--porcelain")) if commit else None,
    }


def last_commit(file: Path) -> str | None:
    """Return the commit that changed a file of this git checkout last; None: there is none."""
    root = Path(__file__).resolve().parent.parent
    return _git(root, "log", "-1", "--format=%H", "--", str(file)) or None


def processor(cpuinfo: Path = CPUINFO) -> str:
    """Return the model of this machine's processor, on which the last bits of results depend.

    Libraries choose their kernels by it. The name alone does not tell the models of virtual
    machines apart, so that the numbers of the family and the model are part of it.
    """
    try:
        lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    pairs = (line.partition(":") for line in lines)
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    numbers += [f"{key}={os.environ[key]}" for key in LIMITS if key in os.environ]
    name = facts.get("model name") or platform.processor() or platform.machine()
    return ", ".join([name, *numbers])


def _version(package: str) -> str | None:
    try:
        return metadata.version(DISTRIBUTION if package == "sweeper" else package)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    # An installed package may lie in another project's checkout, whose commit says nothing.
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
