"""A trial whose body is compiled is the trial without compilation, except for rounding.

One method is compiled by C++. In a soak run others are, and the graphs of every method are
captured and run by PyTorch's own operators (`aot_eager`), which takes a fraction of the time.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command import ROOT
from tests.support.tiny_trials import DIMENSIONS, ON_BACKBONES, Trials
from trainables.errors import DeviceError
from trainables.models import compilation

Case = tuple[str, str, dict[str, Any]]  # method, dimension, settings
MOST = 8  # graphs of all methods in one dimension: shapes of batches, and what has a gradient
EXACT = {"meta.meta_grad": "exact"}  # differentiates twice, which a compiled body could not
LORA = {"refine.finetune": "lora"}
compiler = pytest.mark.skipif(compilation.compiler() is None, reason="no C++ compiler is here")


def graphs_of(folder: Path, backend: str, *cases: Case) -> int:
    """Compare trials with and without compilation, and return the number of graphs."""
    command = [sys.executable, "-m", "tests.support.compiled_trials", folder, backend]
    done = subprocess.run(
        [*command, json.dumps(cases)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.soak
def test_every_method_is_the_same_with_a_body_of_few_graphs(tmp_path):
    cases = [(method, "1d", EXACT if method == "mona" else {}) for method in ON_BACKBONES]
    assert graphs_of(tmp_path, "aot_eager", *cases, ("nft", "1d", LORA)) <= MOST


@compiler
@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_compiled_trials_are_the_same_and_go_on_bit_for_bit(tmp_path, dimension):
    cases = [(method, dimension, {}) for method in ("nft", "pare", "orca")]
    cases += [("mona", dimension, EXACT), ("nft", dimension, LORA)]
    assert graphs_of(tmp_path, "inductor", *cases) <= MOST


@compiler
@pytest.mark.slow
def test_a_compiled_method_is_the_same_and_goes_on_bit_for_bit(tmp_path):
    assert graphs_of(tmp_path, "inductor", ("nft", "1d", {})) == 2  # for training and evaluation


@pytest.mark.slow
def test_what_cannot_compile_refuses_the_trial_before_its_first_step(trials: Trials, monkeypatch):
    spec = trials.spec("nft", "1d")
    graphs, inductor = (
        trials.begin(  # as a launch tries it
            spec.model_copy(update={"model": spec.model.model_copy(update={"compile": mode})})
        )
        for mode in ("graphs", "inductor")
    )
    with pytest.raises(DeviceError, match=r"`model.compile: graphs` needs a GPU"):
        next(graphs.reports())
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError, match=r"no C\+\+ compiler here; install one.*write `off`"):
        next(inductor.reports())


def test_gradients_leave_the_memory_of_graphs_and_no_other():
    body = torch.nn.Linear(2, 2)
    torch.autograd.backward(body(torch.ones(1, 2)).sum())
    before = [parameter.grad for parameter in body.parameters()]
    for mode, is_copied in (("inductor", False), ("graphs", True)):
        compilation.keep_gradients(body, mode)
        for parameter, gradient in zip(body.parameters(), before, strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, gradient)
            assert (parameter.grad is not gradient) == is_copied
