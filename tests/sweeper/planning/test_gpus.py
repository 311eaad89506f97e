"""The GPUs of this machine, as its driver lists them and as torch finds them."""

import os
import re
from pathlib import Path

import pytest
import torch

from sweeper.commands.doctor import _devices
from sweeper.errors import CannotSchedule
from sweeper.planning import gpus, resources
from sweeper.planning.gpus import TorchGpus, fault_of_torch
from tests.support.pricing import sweep_of


def test_gpus_are_read_from_what_nvidia_smi_prints():
    told = ["NVIDIA H100 80GB HBM3, 81559", " Tesla T4, 15360 ", "No devices were found"]
    assert gpus.parse_gpus(told) == [
        ("NVIDIA H100 80GB HBM3", 81559 * 2**20),
        ("Tesla T4", 15360 * 2**20),
    ]


@pytest.mark.parametrize(
    ("listed", "found", "told"),
    [
        (0, TorchGpus(version="2.9+cpu", platform=None), None),
        (2, TorchGpus(version="2.9", platform="CUDA 13.0", names=("H100", "H100")), None),
        (2, TorchGpus(version="2.9+cpu", platform=None), "2 GPUs, .*for CPUs only; run: pip ins"),
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
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a driver list two GPUs, as beside a torch for CPUs."""
    file = tmp_path / "nvidia-smi"
    file.write_text("#!/bin/sh\necho 'GPU 0: H100 (UUID: a)'\necho 'GPU 1: H100 (UUID: b)'\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")
def test_a_launch_and_doctor_ask_torch_itself(nvidia_smi):
    assert gpus.count_gpus() == 2
    with pytest.raises(CannotSchedule, match=r"lists 2 GPUs, and torch .* finds none"):
        resources.check_torch(sweep_of(resources={"gpu": 0.5}), "local")
    resources.check_torch(sweep_of(resources={"gpu": 0}), "local")
    resources.check_torch(sweep_of(resources={"gpu": 0.5}), "auto")  # other machines
    (_, (what, state, found)) = _devices()
    assert (what, state) == ("gpu", "bad")
    assert f"torch {torch.__version__} finds none" in found
