"""The toy of the fault tests keeps the real Trainable's contract, so that what they prove holds."""

from pathlib import Path

import pytest

from tests.support.toy.trainable import ToyTrainable
from trainables.runtime import checkpoints
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT, Trainable


@pytest.fixture
def configs(trials, tmp_path):
    """The configs of a real trial and of a toy one: alike but for the spec and the folder."""
    # The real one still writes its checkpoint when its report is there.
    folders = [str(tmp_path / name / "attempt-1") for name in ("real", "toy")]
    spec = {
        "study": "toy/task_0",
        "number": 0,
        "attempt": 1,
        "params": {"refine.lr": 1e-3, "refine.optimizer": "adam"},
        "seed": 7,
        "stages": {"refine": 2},
        "epoch_s": 0.0,
        "checkpoint_bytes": 64,
        "history": str(tmp_path),
        "faults": [],
    }
    real = trials.spec("nft", "1d").model_dump(mode="json", by_alias=True)
    return tuple(
        {ATTEMPT: AttemptConfig(spec=each, label="toy", folder=folder)}
        for each, folder in zip((real, spec), folders, strict=True)
    )


@pytest.mark.slow
def test_results_have_the_same_keys(configs):
    real_config, toy_config = configs
    real, toy = Trainable(real_config).train(), ToyTrainable(toy_config).train()
    assert real.keys() == toy.keys()
    assert real["measurement"].keys() == toy["measurement"].keys()


def test_refusals_have_the_same_keys(configs):
    real_config, toy_config = configs
    real_config[ATTEMPT].spec["backbone"]["name"] = "/no-such-folder"
    toy_config[ATTEMPT].spec["params"]["refine.lr"] = -1
    real, toy = Trainable(real_config).train(), ToyTrainable(toy_config).train()
    assert real.keys() == toy.keys()
    assert real["infeasible"] is toy["infeasible"] is True


def test_a_toy_checkpoint_passes_for_a_real_one_until_it_is_damaged(configs):
    folder = Path(ToyTrainable(configs[1]).train()["measurement"]["checkpoint"])
    checkpoints.verify(folder)
    (folder / "last.safetensors").write_bytes(b"")
    with pytest.raises(checkpoints.CorruptCheckpoint, match="altered or cut short"):
        checkpoints.verify(folder)
