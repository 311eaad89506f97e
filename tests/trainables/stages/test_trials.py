"""Whole trials of MoNA and NFT: controls that must agree bit for bit, and stops at every epoch."""

from functools import partial

import pytest
import torch

from trainables.methods.registry import METHODS
from trainables.runtime.training import Training
from trainables.training.evaluation import evaluate

META = {"epochs": 2, "batch_size": 4, "classes": 3, "per_class": 2, "alpha": 0.5}
REFINE = {"epochs": 3, "batch_size": 4, "warmup_epochs": 1.0, "lr": 1e-3}


@pytest.fixture
def begin(make_state, domains):
    """Begin a trial of a method, with settings for its meta stage."""

    def make(method: str = "mona", **meta) -> Training:
        settings = {"meta": META | meta, "refine": REFINE}
        stages = tuple(
            config_type.model_validate(settings[name]).build(name)
            for name, config_type in METHODS[method].stages.items()
        )
        return Training(stages, make_state(), domains)

    return make


def test_the_test_value_is_that_of_the_best_weights_not_of_the_last(begin):
    trial = begin("nft")
    reports = trial.reports()
    next(reports)
    state, task = trial.state, trial.domains.target
    state.keep_best(0.0)  # nothing that follows will be better
    best = evaluate(state, state.model, task.test, task).value
    *_, last = reports
    assert last.metrics["test/nrmse"] == best
    assert evaluate(state, state.model, task.test, task).value != best


EXACT, TF32 = (False, False), (True, False)  # of matrix products and of convolutions


def allowed() -> tuple[bool, bool]:
    """Return whether products, and convolutions, of this process may be in TF32."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture
def tf32_everywhere():
    before = allowed()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(("precision", "supervised"), [("fp32", EXACT), ("tf32", TF32)])
def test_tf32_is_for_the_body_in_supervised_steps_and_never_in_a_meta_gradient(
    begin, tf32_everywhere, precision, supervised
):
    trial, seen = begin(), {}
    trial.state.precision = precision
    model, state = trial.state.model, trial.state

    def note(part: str) -> None:
        seen.setdefault((state.stage, part), set()).add(allowed())

    def forward(part: str, output: torch.Tensor) -> None:
        note(part)
        if part == "body" and output.requires_grad:
            output.register_hook(lambda _: note("gradient of the body"))

    for part in ("embedder", "body", "predictor"):
        hook = partial(lambda part, *at: forward(part, at[-1]), part)
        model.get_submodule(part).register_forward_hook(hook)
    list(trial.reports())
    assert seen == {
        **{(0, part): {EXACT} for _, part in seen},
        (1, "embedder"): {EXACT},
        (1, "body"): {supervised},
        (1, "predictor"): {EXACT},
        (1, "gradient of the body"): {supervised},
    }
    assert allowed() == (True, True)
