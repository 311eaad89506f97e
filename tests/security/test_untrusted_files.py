"""Files that would run code, or read others: each is refused, and nothing ran or was read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch

from tests.support.command import ROOT
from tests.support.published import pdebench as official_files
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.errors import WeightsError
from trainables.models.backbones.loading import load_backbone
from trainables.spec import BackboneSpec


class Runs:
    """A pickle of it runs a command."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command that ran would leave its mark."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plant(path: Path) -> None:
    """Write a file as torch.save does, which runs a command when it is trusted."""
    torch.save({"weight": Runs()}, path)


def test_the_planted_file_runs_where_it_is_trusted(here: Path) -> None:
    plant(here / "x.pt")
    torch.load(here / "x.pt", weights_only=False)
    assert (here / "ran").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.safetensors"])
def test_weights_that_are_a_pickle_are_not_opened(here: Path, name: str) -> None:
    folder = save_tiny_roberta(here / "weights")
    (folder / "model.safetensors").unlink()
    plant(folder / name)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_backbone(BackboneSpec(name=str(folder), tokens=8), here / "home")
    assert not (here / "ran").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("how", ["link", "storage"])
def test_no_other_file_is_opened_for_an_array(here: Path, how: str) -> None:
    secret = official_files.write(here / "secret", "burgers_1d")
    path = official_files.write(here / "published", "burgers_1d")
    with h5py.File(path, "a") as file:
        shape = file["tensor"].shape
        del file["tensor"]
        if how == "link":
            file["tensor"] = h5py.ExternalLink(secret, "tensor")
        else:
            whole = [(str(secret), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("tensor", shape, "<f4", external=whole)
    trace = here / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=open,openat", "-o", str(trace)]
    sweeper = [sys.executable, "-m", "sweeper.cli.main"]
    words = [*strace, *sweeper, "data", "import", "pdebench/burgers_1d", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SWEEPER_HOME": str(here / "home")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    opened = trace.read_text(errors="replace")
    assert str(path) in opened
    assert str(secret) not in opened
