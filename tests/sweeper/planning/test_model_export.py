"""The model of a trial in the folder of its sweep, as the recorder of MLflow takes it."""

import json

import numpy as np
import pytest

from sweeper.errors import UsageError
from sweeper.model import TrialState
from sweeper.planning.checkpoint_paths import CheckpointPaths, folder_of_trial
from sweeper.planning.model_export import LOADER, export_trial, exported
from tests.support.tiny_trials import make_trials
from tests.support.trained_models import GENERATED, train_tiny
from tests.support.trials import sampled
from trainables.runtime.prediction import load_model

TRIAL = sampled(
    "nft/t", 3, state=TrialState.COMPLETE, value=0.25, test={"test/nrmse": 0.5},
    checkpoint="attempt-1/refine-0002",
)  # fmt: skip


@pytest.mark.slow
def test_the_model_of_a_trial_is_linked_described_and_taken_away(tmp_path, monkeypatch):
    trials = make_trials(tmp_path / "home")
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    paths = CheckpointPaths(tmp_path / "sweeps" / "tiny")
    place = folder_of_trial(paths.folder, TRIAL) / "attempt-1" / "refine-0002"
    trained = train_tiny(trials, GENERATED[0], "linear", "fp32", place)
    x = trained.store.stored("test")["x"]
    expected = load_model(place, trials.home).predict(x)
    with exported(paths, TRIAL, "val/nrmse") as files:
        assert (files.folder / "model.safetensors").samefile(place / "best.safetensors")
        assert (files.loader, files.output_dtype) == (LOADER, "float32")
        assert files.input_shape == files.output_shape == (1, 32)
        assert any(line.startswith("torch==") for line in files.requirements)
        config = json.loads((files.folder / "config.json").read_text())
        assert config["metrics"] == {"val/nrmse": 0.25, "test/nrmse": 0.5}
        assert (config["sweep"], config["trial"]) == ("tiny", "nft/t/3")
        assert np.array_equal(load_model(files.folder, tmp_path).predict(x), expected)
    assert {p.name for p in paths.folder.iterdir()} == {"trials"}
    export_trial(paths, TRIAL, "val/nrmse", tmp_path / "model")
    copy = tmp_path / "model" / "model.safetensors"
    assert not copy.samefile(place / "best.safetensors")  # a user may edit their copy


def test_a_trial_without_a_checkpoint_here_is_refused(tmp_path):
    paths = CheckpointPaths(tmp_path)
    with (
        pytest.raises(UsageError, match="no checkpoint on this machine"),
        exported(paths, TRIAL, "val/nrmse"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
