"""The GPUs of this machine, as its driver lists them and as torch finds them."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeper.commands.upkeep.doctor import device_checks
from sweeper.errors import CannotSchedule
from sweeper.planning import gpus, resources
from sweeper.planning.gpus import Gpu, TorchGpus, fault_of_torch
from tests.support.pricing import sweep_of

H100 = Gpu(name="NVIDIA H100 80GB HBM3", uuid="GPU-1f00", memory_bytes=81559 * 2**20)
SLICED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1f00)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2e00)
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaa)
  MIG 1g.10gb     Device  1: (UUID: MIG-bbbb)
No devices were found
"""


def test_a_divided_gpu_counts_as_its_slices():
    found = gpus.parse_gpus(SLICED.splitlines(), ["GPU-1f00, 81559", "GPU-2e00, 81559", ""])
    slices = [(gpu.uuid, gpu.memory_bytes) for gpu in found if gpu.is_slice]
    assert found[0] == H100
    assert slices == [("MIG-aaaa", 40 * 2**30), ("MIG-bbbb", 10 * 2**30)]


@pytest.mark.parametrize(
    ("value", "chosen"),
    [(None, [0, 1, 2]), ("", []), ("-1", []), ("1", [1]), ("2,0", [2, 0]), ("0,9,1", [0]),
     ("GPU-2e00", [1]), ("GPU-3", [2]), ("GPU-", []), (" 0 , 1 ", [0, 1])],
)  # fmt: skip
def test_the_environment_names_the_gpus_that_are_visible(value, chosen):
    every = [Gpu(name=uuid, uuid=uuid) for uuid in ("GPU-1f00", "GPU-2e00", "GPU-3d00")]
    assert gpus.visible(every, value) == [every[index] for index in chosen]
    nameless = [Gpu(name="AMD gfx90a")] * 2  # of a driver that lists no UUIDs
    named = gpus.visible(nameless, value)
    assert len(named) == {None: 2, "1": 1, "0,9,1": 1, " 0 , 1 ": 2}.get(value, 0)


def test_gpus_are_found_without_nvidia_smi(tmp_path):
    file = tmp_path / "0000:01:00.0" / "information"
    file.parent.mkdir()
    file.write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   17\nGPU UUID: \t GPU-1f00\n")
    assert gpus.of_proc(tmp_path) == [replace(H100, memory_bytes=None)]
    assert gpus.of_proc(tmp_path / "none") == []


def test_gpus_of_amd_are_those_whose_device_is_in_the_container(tmp_path):
    facts = {0: "cpu_cores_count 64\nsimd_count 0\n"}
    for node in (1, 2, 10):
        facts[node] = f"simd_count 304\ndrm_render_minor {127 + node}\ngfx_target_version 90402\n"
    for node, text in facts.items():
        bank = tmp_path / "nodes" / str(node) / "mem_banks" / "0"
        bank.mkdir(parents=True)
        (bank / "properties").write_text("heap_type 1\nsize_in_bytes 206141652992\n")
        (bank.parents[1] / "properties").write_text(text)
    for minor in (128, 137):
        (tmp_path / f"renderD{minor}").touch()
    found = gpus.of_topology(tmp_path / "nodes", tmp_path)
    assert found == [Gpu(name="AMD gfx942", memory_bytes=206141652992)] * 2


@pytest.mark.parametrize(
    ("listed", "found", "told"),
    [
        (0, TorchGpus(version="2.9+cpu", platform=None), None),
        (2, TorchGpus(version="2.9", platform="CUDA 13.0", names=("H100", "H100")), None),
        (2, TorchGpus(version="2.9+cpu", platform=None), "2 GPUs, .*for CPUs only. Install"),
        (1, TorchGpus(version="2.9", platform="CUDA 13.0", warning="The driver is too old."),
         r"1 GPU, and torch 2.9 finds none, though .* 13.0 \(The driver is too old.\); update"),
        (2, TorchGpus(version="2.9", platform="CUDA 13.0", names=("H100",)), "finds 1; compare"),
    ],
)  # fmt: skip
def test_a_torch_that_cannot_use_what_the_driver_lists_is_a_fault_with_a_way_out(
    listed, found, told
):
    fault = fault_of_torch(listed, found)
    assert (fault is None) == (told is None)
    assert re.search(told or "", fault or "")


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a driver list two GPUs, as beside a torch for CPUs."""
    file = tmp_path / "nvidia-smi"
    file.write_text("#!/bin/sh\necho 'GPU 0: H100 (UUID: a)'\necho 'GPU 1: H100 (UUID: b)'\n")
    file.chmod(0o755)
    gpus.listed_gpus.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    gpus.listed_gpus.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")
def test_a_launch_and_doctor_ask_torch_itself(nvidia_smi):
    assert gpus.count_gpus() == 2
    with pytest.raises(CannotSchedule, match=r"lists 2 GPUs, and torch .* finds none"):
        resources.check_torch(sweep_of(resources={"gpu": 0.5}), "local")
    resources.check_torch(sweep_of(resources={"gpu": 0}), "local")
    resources.check_torch(sweep_of(resources={"gpu": 0.5}), "auto")  # other machines
    _, (what, state, found), *_ = device_checks()
    assert (what, state) == ("gpu", "bad")
    assert f"torch {torch.__version__} finds none" in found
