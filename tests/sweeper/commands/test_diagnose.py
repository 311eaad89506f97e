"""What is said of a trial whose weights or source are not there, and by whose scores it mixes."""

import re
from pathlib import Path

import pytest
import torch

from sweeper.cli.main import run
from sweeper.commands import look
from sweeper.commands.diagnose import DIAGNOSTICS, Trained, choose_device
from sweeper.errors import UsageError
from sweeper.model import Trial, TrialKind, TrialState
from sweeper.planning.checkpoint_paths import fetched
from tests.support.pricing import sweep_of
from tests.support.tiny_trials import Trials, make_trials
from trainables.errors import ConfigError, DeviceError


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Trials:
    return make_trials(tmp_path_factory.mktemp("trials"))


def trained(trials, spec) -> Trained:
    return Trained(training=trials.begin(spec), samples=12)


def trial(checkpoint: Path | None) -> Trial:
    return Trial(study="pare/t", number=3, kind=TrialKind.SAMPLED, params={}, seed=0,
                 state=TrialState.FAILED, reason="the loss is NaN",
                 checkpoint=None if checkpoint is None else str(checkpoint))  # fmt: skip


def test_the_help_names_every_diagnostic(capsys):
    run(["diagnose", "--help"])
    assert ",".join(DIAGNOSTICS) in "".join(capsys.readouterr().out.split())


def test_a_trial_without_a_checkpoint_is_refused_with_the_reason(tmp_path):
    with (
        pytest.raises(UsageError, match="pare/t/3 is failed and has no checkpoint: the loss is"),
        fetched(trial(None)),
    ):
        pass
    with (
        pytest.raises(UsageError, match=r"no checkpoint on this machine in .*gone"),
        fetched(trial(tmp_path / "gone")),
    ):
        pass
    with fetched(trial(tmp_path)) as folder:
        assert folder == tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings", "scores"),
    [
        ("pare", {}, "trained"),
        ("pare", {"replace.k0": 0}, "random"),
        ("mixup", {}, "random"),
        ("orca", {}, "random"),
    ],
)
def test_a_trial_with_a_scorer_mixes_by_it_and_any_other_by_chance(
    trials, method, settings, scores
):
    found = DIAGNOSTICS["scatter"](trained(trials, trials.spec(method, "1d", settings)))
    assert found[1]["scores"] == scores


@pytest.mark.slow
def test_without_a_source_there_is_the_landscape_alone(trials):
    alone = trained(trials, trials.spec("nft", "1d").model_copy(update={"proxy": None}))
    columns, found = DIAGNOSTICS["landscape"](alone)
    assert len(columns["loss"]) == 21 * 21
    assert columns["loss"][220] == found["loss"]
    for name in set(DIAGNOSTICS) - {"landscape"}:
        with pytest.raises(ConfigError, match="reads no source"):
            DIAGNOSTICS[name](alone)


@pytest.mark.parametrize(
    ("gpu", "running", "has_gpu", "device", "note"),
    [
        (0, False, True, "cpu", ""),
        (0.5, False, True, "cuda", ""),
        (0.5, True, True, "cpu", "sweep other is running; .* add --device cuda"),
        (0.5, False, False, "cpu", "torch finds no GPU here"),
    ],
)
def test_the_gpu_of_a_running_sweep_is_left_to_it(gpu, running, has_gpu, device, note, monkeypatch):
    line = look.SweepLine(
        sweep="other", state="running" if running else "finished", trials={}, tags={}
    )
    monkeypatch.setattr(look, "sweeps", lambda: look.Sweeps(sweeps=(line,)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    sweep = sweep_of(resources={"gpu": gpu})
    found, notes = choose_device(sweep, None)
    assert found.type == device
    assert re.search(note, "".join(notes))
    assert len(notes) == bool(note)
    assert choose_device(sweep, "cpu")[0].type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:9", "cuda:-1", "cpu:0"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(DeviceError, match=r"^device .*cpu"):
        choose_device(sweep_of(), name)
