"""The choice of bf16 on a CPU: where it is faster, and where the first epochs train alike."""

import pytest

from tests.support.tiny_trials import Trials
from trainables.runtime import cpu_precision
from trainables.runtime.cpu_precision import Precisions


@pytest.fixture
def spec(trials: Trials, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_precision, "has_bf16", lambda: True)
    monkeypatch.setattr(cpu_precision, "MIN_WIDTH", 1)
    return trials.spec("nft", "1d")


@pytest.mark.parametrize(
    ("seconds", "losses", "chosen"),
    [
        (1.0, [0.9, 0.52], ("bf16", 1.5)),
        (1.2, [0.9, 0.5], (None, 1.25)),  # not fast enough
        (1.0, [0.9, 0.53], (None, 1.5)),  # the second epoch is 6 % off
    ],
)
def test_bf16_is_chosen_if_it_is_faster_and_trains_alike(
    monkeypatch, trials, spec, seconds, losses, chosen
):
    epochs = {"fp32": (1.5, [0.9, 0.5]), "bf16": (seconds, losses)}
    monkeypatch.setattr(
        cpu_precision, "first_epochs", lambda spec, *_: epochs[spec.model.precision]
    )
    assert Precisions().of(spec, trials.parts, "refine") == chosen


def test_nothing_is_trained_for_a_narrow_body_or_on_another_processor(monkeypatch, trials, spec):
    monkeypatch.setattr(cpu_precision, "MIN_WIDTH", 10_000)
    assert Precisions().of(spec, trials.parts, "refine") == (None, None)
    monkeypatch.setattr(cpu_precision, "MIN_WIDTH", 1)
    monkeypatch.setattr(cpu_precision, "has_bf16", lambda: False)
    assert Precisions().of(spec, trials.parts, "refine") == (None, None)


def test_the_pilot_trains_the_first_epochs_of_the_trial(trials, spec):
    reports, _ = trials.run(spec.with_model(precision="fp32"))
    trained = [r.metrics["refine/train_loss"] for r in reports if r.stage == "refine"]
    seconds, losses = cpu_precision.first_epochs(spec, trials.parts, "refine")
    assert seconds > 0
    assert losses == trained[: cpu_precision.EPOCHS]
    precision, gain = Precisions().of(spec, trials.parts, "refine")
    assert precision in (None, "bf16")
    assert gain is not None


def test_all_trials_on_a_task_that_leave_it_open_have_one_precision(monkeypatch, trials, spec):
    epochs = {"fp32": (1.5, [0.9]), "bf16": (1.0, [0.9])}
    monkeypatch.setattr(
        cpu_precision, "first_epochs", lambda spec, *_: epochs[spec.model.precision]
    )
    of = Precisions().of
    for setting in ({"precision": "fp32"}, {"compile": "inductor"}):
        assert of(spec.with_model(**setting), trials.parts, "refine") == (None, None)
    assert of(spec, trials.parts, "refine") == ("bf16", 1.5)
    epochs["bf16"] = (3.0, [0.9])  # it is not measured again
    other = trials.spec("mona", "1d")
    assert of(other, trials.parts, "refine") == ("bf16", 1.5)
    assert of(trials.spec("nft", "2d"), trials.parts, "refine") == (None, 0.5)
