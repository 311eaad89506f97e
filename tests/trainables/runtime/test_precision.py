"""The precision of a trial: chosen once by counts, recorded, and kept for as long as it trains.

A GPU is a card that only answers what it can; no number of a real one is checked here.
"""

from pathlib import Path

import pytest
import torch

from tests.support.tiny_trials import Trials
from trainables.errors import DeviceError
from trainables.models.cross_modal import CrossModalModel
from trainables.runtime.precision import (
    KERNELS_OF_A_WEIGHT,
    WORK_OF_A_KERNEL,
    check_precision,
    operations,
    precision_of,
)
from trainables.runtime.prediction import load_model
from trainables.runtime.training import Training
from trainables.spec import TrialSpec
from trainables.storage.stage_store import StageStore

CARD, CPU = torch.device("cuda"), torch.device("cpu")
SHAPE = (1, 32)


@pytest.fixture
def spec(trials: Trials) -> TrialSpec:
    return trials.spec("nft", "1d")


@pytest.fixture
def model(trials: Trials, spec: TrialSpec) -> CrossModalModel:
    return trials.begin(spec).state.model


def has(monkeypatch: pytest.MonkeyPatch, *, bf16: bool, tf32: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: tf32)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")


def test_bf16_on_a_gpu_without_it_is_refused(monkeypatch):
    has(monkeypatch, bf16=False, tf32=False)
    with pytest.raises(DeviceError, match=r"Tesla T4 cannot compute in bfloat16; write `fp32`"):
        check_precision(CARD, "bf16")
    for precision in ("fp32", "auto"):
        check_precision(CARD, precision)
    check_precision(CPU, "bf16")


@pytest.mark.slow
def test_the_operations_of_a_step_are_three_times_the_products_of_a_forward_pass(model):
    """Every number of every matrix multiplies each token once; on a CPU, attention is left out."""
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.dim() > 1}
    numbers = sum(n for name, n in matrices.items() if "position" not in name)  # those are added
    assert operations(model, SHAPE) == 3 * 2 * model.num_tokens * numbers
    assert model.training


@pytest.mark.parametrize(
    ("bf16", "tf32", "small", "large"),
    [
        (True, True, "tf32", "bf16"),  # from Ampere on
        (False, False, "fp32", "fp32"),  # before
        (True, False, "fp32", "bf16"),  # some of AMD's
    ],
)
def test_on_a_gpu_small_batches_are_in_tf32_and_large_ones_in_bf16_as_far_as_it_has_them(
    monkeypatch, model, bf16, tf32, small, large
):
    has(monkeypatch, bf16=bf16, tf32=tf32)
    weights = sum(1 for _ in model.body.parameters())
    enough = -(-WORK_OF_A_KERNEL * KERNELS_OF_A_WEIGHT * weights // operations(model, SHAPE))
    for samples, expected in ((1, small), (enough - 1, small), (enough, large)):
        assert precision_of("auto", model, SHAPE, int(samples), CARD) == expected
    assert precision_of("auto", model, SHAPE, int(enough), CPU) == "fp32"
    assert precision_of("bf16", model, SHAPE, 1, CARD) == "bf16"


@pytest.mark.slow
def test_by_default_a_trial_on_the_cpu_is_the_trial_in_fp32(trials, spec, tmp_path):
    assert spec.model.precision == "auto"
    store = StageStore(str(tmp_path / "stages"), tmp_path / "scratch")
    plain = spec.with_model(precision="fp32")
    begun = [Training.begin(each, trials.parts, store=store) for each in (spec, plain)]
    roots = {training.state.made_under for training in begun}
    assert len(roots) == 1
    for training in begun:
        assert training.state.precision == "fp32"
        assert training.state.origin.spec == plain


@pytest.mark.slow
def test_a_resumed_trial_keeps_the_precision_of_its_checkpoint(trials, spec, tmp_path, monkeypatch):
    """It began on a GPU, or with an older rule; this device would choose another precision."""
    whole, _ = trials.run(spec.with_model(precision="bf16"))
    begun = trials.begin(spec.with_model(precision="bf16"))
    next(begun.reports())
    begun.save(tmp_path / "checkpoint")
    resumed = trials.begin(spec)
    resumed.load(tmp_path / "checkpoint")
    assert resumed.state.precision == "bf16"
    assert resumed.state.origin.spec == spec.with_model(precision="bf16")
    assert list(resumed.reports()) == whole[1:]

    resumed.save(tmp_path / "end")
    model = load_model(tmp_path / "end", trials.home)
    assert model.spec.model.precision == "bf16"

    has(monkeypatch, bf16=False, tf32=False)
    monkeypatch.setattr(type(resumed.state), "device", CARD)
    with pytest.raises(DeviceError, match="Tesla T4 cannot compute"):
        resumed.load(tmp_path / "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_stage_that_was_begun_in_another_precision_is_not_shared(
    trials, tmp_path: Path, capsys, epochs
):
    """Its result is neither kept nor replaced by another's, in this stage and in later ones."""
    spec = trials.spec("orca", "1d", {"align.epochs": 2, "warmup.epochs": 1, "refine.epochs": 1})
    begun = trials.begin(spec.with_model(precision="bf16"))
    reports = begun.reports()
    for _ in range(epochs):
        next(reports)
    begun.save(tmp_path / "checkpoint")
    store = StageStore(str(tmp_path / "stages"), tmp_path / "scratch")
    resumed = Training.begin(spec, trials.parts, store=store, name="resumed")
    key, keys = resumed.state.made_under, resumed.shared.keys
    resumed.load(tmp_path / "checkpoint")
    # Even under the keys of this precision, as after two changes of the device.
    resumed.state.made_under = keys["warmup"] if epochs == 1 else keys["align"]
    rest = list(resumed.reports())
    assert key is not None
    assert {report.computed_by for report in rest} == {None}
    assert resumed.state.made_under is None
    assert not [*tmp_path.glob("stages/results/*")]
    assert "is not shared" in capsys.readouterr().out
