"""The GPUs of this machine: those that its driver lists, and those that torch can use.

The first are found without torch. The second need torch, and are found in a process of its own,
`python -m sweeper.planning.gpus`.
"""

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeper.planning import child

MIB, GIB = 2**20, 2**30
# The second form, indented, is a slice of the card above it (MIG).
LISTED = re.compile(r"GPU \d+: (?P<name>.+) \(UUID: (?P<uuid>[^)]+)\)")
SLICE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>[^)]+)\)")
NVIDIA = Path("/proc/driver/nvidia/gpus")  # also in containers without nvidia-smi
AMD = Path("/sys/class/kfd/kfd/topology/nodes")
RENDERERS = Path("/dev/dri")  # those of a container


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU, or a slice of one, as its driver lists it."""

    name: str
    uuid: str = ""
    memory_bytes: int | None = None  # None: the driver does not say
    is_slice: bool = False


def count_gpus() -> int:
    """Return the number of GPUs, or slices of GPUs, that the environment leaves visible."""
    return len(_gpus())


def count_for_torch() -> int:
    """Return the number of GPUs that torch should find; a process sees a single slice of all."""
    return min(count_gpus(), 1) if has_slices() else count_gpus()


def has_slices() -> bool:
    """Return whether a GPU here is divided (MIG)."""
    return any(gpu.is_slice for gpu in _gpus())


def slices_by_name() -> dict[str, str]:
    """Return the variable that names every slice, by which Ray gives each trial its own.

    It is empty without slices, and if the user has named devices.
    """
    names = [gpu.uuid for gpu in _gpus()]
    if not has_slices() or "CUDA_VISIBLE_DEVICES" in os.environ:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}


def is_nvidia() -> bool:
    """Return whether NVIDIA's driver lists GPUs here."""
    return bool(listed_gpus() or of_proc(NVIDIA))


def gpu_name() -> str | None:
    """Return the name of the first GPU, or None if there is no GPU."""
    gpus = _gpus()
    return gpus[0].name if gpus else None


def gpu_memory_bytes() -> int | None:
    """Return the memory of the smallest GPU in bytes, or None if it is not known."""
    return min((gpu.memory_bytes for gpu in _gpus() if gpu.memory_bytes), default=None)


def _gpus() -> list[Gpu]:
    """Return every visible GPU."""
    if nvidia := listed_gpus() or of_proc(NVIDIA):
        return visible(nvidia, os.environ.get("CUDA_VISIBLE_DEVICES"))
    # ROCm heeds CUDA's variable as well, for programs that were written for CUDA.
    names = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    chosen = next((os.environ[name] for name in names if name in os.environ), None)
    return visible(of_topology(AMD, RENDERERS), chosen)


def visible(gpus: Sequence[Gpu], value: str | None) -> list[Gpu]:
    """Return the GPUs that a variable such as CUDA_VISIBLE_DEVICES names; None names all.

    As in CUDA, a name is an index or the begin of a UUID, and an unknown one hides those after it.
    """
    if value is None:
        return list(gpus)
    found = []
    for name in (part.strip() for part in value.split(",")):
        at = [gpu for i, gpu in enumerate(gpus) if name == str(i) or name == gpu.uuid != ""]
        # A bare `GPU-` or `MIG-` begins every UUID, and so names none.
        at = at or [gpu for gpu in gpus if len(name) > 4 and gpu.uuid.startswith(name)]
        if not at:
            break
        found.append(at[0])
    return found


@cache
def listed_gpus() -> list[Gpu]:
    """Return the GPUs that NVIDIA's driver lists."""
    listed = _nvidia_smi("-L")
    if not listed:
        return []
    query = ("--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits")
    return parse_gpus(listed, _nvidia_smi(*query))


def parse_gpus(listed: Sequence[str], memories: Sequence[str]) -> list[Gpu]:
    """Return the GPUs that nvidia-smi lists. A card that is divided is left out for its slices.

    Args:
        listed: Lines like `GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1f)` and
            `  MIG 3g.40gb     Device  0: (UUID: MIG-2e)`.
        memories: Lines like `GPU-1f, 81559` (MiB).
    """
    pairs = (line.strip().partition(", ") for line in memories)
    bytes_of = {uuid: int(mib) * MIB for uuid, _, mib in pairs if mib.isdigit()}
    cards: list[list[Gpu]] = []
    for line in listed:
        if found := LISTED.match(line):
            uuid = found["uuid"]
            cards.append([Gpu(name=found["name"], uuid=uuid, memory_bytes=bytes_of.get(uuid))])
        elif (found := SLICE.match(line)) and cards:
            size = re.search(r"(\d+)gb", found["profile"])
            cards[-1].append(
                Gpu(
                    name=f"{cards[-1][0].name} MIG {found['profile']}",
                    uuid=found["uuid"],
                    memory_bytes=int(size[1]) * GIB if size else None,
                    is_slice=True,
                )
            )
    return [gpu for card in cards for gpu in card[1:] or card]


def of_proc(folder: Path) -> list[Gpu]:
    """Return the GPUs that NVIDIA's driver lists in /proc, without their memory."""
    gpus = []
    for file in sorted(folder.glob("*/information")):
        facts = dict(re.findall(r"^([^:\n]+):[ \t]*(.*)$", file.read_text(), re.M))
        gpus.append(Gpu(name=facts.get("Model", "NVIDIA GPU"), uuid=facts.get("GPU UUID", "")))
    return gpus


def of_topology(folder: Path, renderers: Path) -> list[Gpu]:
    """Return the GPUs that AMD's driver lists, of those whose device this container has."""
    gpus = []
    # Indices in HIP_VISIBLE_DEVICES follow the numbers of nodes, and as text 10 sorts before 2.
    for node in sorted(folder.glob("*"), key=lambda each: int(each.name)):
        with suppress(OSError):  # of a node that another container uses
            facts = _properties(node / "properties")
            if not facts.get("simd_count"):
                continue  # a CPU
            if not (renderers / f"renderD{facts.get('drm_render_minor')}").exists():
                continue
            banks = (_properties(bank) for bank in node.glob("mem_banks/*/properties"))
            memory_bytes = sum(bank.get("size_in_bytes", 0) for bank in banks)
            # The number is 10000 major + 100 minor + step; the names write minor and step in
            # hexadecimal: 90010 is gfx90a.
            version = facts.get("gfx_target_version", 0)
            name = f"AMD gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
            gpus.append(Gpu(name=name, memory_bytes=memory_bytes or None))
    return gpus


def _properties(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in file.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


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
    """Return an error message if torch cannot use the GPUs that the driver lists, else None.

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
            f"{have}none, because it is built for CPUs only. Install a torch for CUDA or ROCm: "
            "https://pytorch.org/get-started/locally"
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
    # Why there is no GPU, torch says in a warning alone.
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
