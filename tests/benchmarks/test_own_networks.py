"""An epoch of FNO, U-Net and Perceiver IO against a plain loop over the library's own network."""

import time

import numpy as np
import pytest
import torch

from tests.support.figures import compare
from tests.support.tiny_trials import make_trials
from trainables.sources.source import Domains
from trainables.stages.stage import Stage
from trainables.training.state import TrainState

SAMPLES, RESOLUTIONS, BATCH = 128, {"1d": 256, "2d": 32}, 16
ROUNDS, SECONDS = 10, 40  # rounds at least, and CPU seconds of more of them: one scatters by 10 %
MOST = 1.2  # the aim is 1.05

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return make_trials(tmp_path_factory.mktemp("own-networks"))


def ours(stage: Stage, state: TrainState, domains: Domains) -> float:
    """Return the CPU seconds of an epoch of the stage, which has an optimiser already."""
    began = time.process_time()
    objective = stage.objective(state, domains, 0)
    stage.train_epoch(state, domains.target, [*state.model.parameters()], objective, 0)
    return time.process_time() - began


def theirs(network: torch.nn.Module, optimizer: torch.optim.Optimizer, x, y) -> float:
    """Return the CPU seconds of an epoch of PyTorch's usual loop."""
    began = time.process_time()
    network.train()
    order = torch.randperm(len(x))
    for start in range(0, len(x), BATCH):
        rows = order[start : start + BATCH]
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(network(x[rows]), y[rows]).backward()
        optimizer.step()
    return time.process_time() - began


@pytest.mark.parametrize("dimension", ["1d", "2d"])
@pytest.mark.parametrize("method", ["fno", "unet", "perceiver_io"])
def test_an_epoch_costs_what_a_plain_loop_costs(trials, method, dimension):
    spec = trials.spec(method, dimension, {"refine.batch_size": BATCH})
    data = spec.data.model_copy(
        update={"samples": 2 * SAMPLES, "resolution": RESOLUTIONS[dimension]}
    )
    training = trials.begin(spec.model_copy(update={"data": data}))
    (stage,), state, task = training.stages, training.state, training.domains.target
    next(training.reports())  # makes the optimiser
    network = state.model.body
    x, y = (torch.from_numpy(np.array(a)) for a in (task.train.x, task.train.y))
    plain = torch.optim.Adam(network.parameters(), lr=1e-4)
    spent = {"ours": [], "theirs": []}
    while len(spent["ours"]) < ROUNDS or sum(map(sum, spent.values())) < SECONDS:
        spent["ours"].append(ours(stage, state, training.domains))
        spent["theirs"].append(theirs(network, plain, x, y))
    best = {name: float(np.median(seconds)) for name, seconds in spent.items()}
    ratio = float(np.median(np.divide(spent["ours"], spent["theirs"])))
    steps = -(-len(x) // BATCH)
    ours_ms, theirs_ms = (1e3 * best[name] / steps for name in ("ours", "theirs"))
    what = f"a step of {method}, {dimension} (median of the ratios {ratio:.3f})"
    compare(what, ours_ms, theirs_ms, peer="plain loop", unit="ms", goal=f"< {MOST}")
    assert ratio < MOST
