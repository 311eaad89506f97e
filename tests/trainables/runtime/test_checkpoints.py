"""What is read back of a checkpoint for its best weights alone, whatever was thinned of it."""

import pytest
import torch

from trainables.errors import DataError
from trainables.runtime import checkpoints
from trainables.runtime.training import Training
from trainables.storage import artifacts


@pytest.fixture
def trained(trials) -> Training:
    training = trials.begin(trials.spec("pare", "1d"))
    list(training.reports())
    return training


@pytest.mark.slow
@pytest.mark.parametrize("last", [True, False])
def test_the_best_weights_come_back_with_the_scorer_if_it_was_kept(trials, trained, tmp_path, last):
    folder = tmp_path / "checkpoint"
    name, weight = next(iter(trained.state.best.weights.items()))
    trained.state.best.weights[name] = weight + 1  # unlike the last ones
    trained.save(folder)
    artifacts.thin(str(folder), best=True, last=last)
    state = trials.begin(trials.spec("pare", "1d", seed=1)).state
    checkpoints.load_best(state, folder)
    loaded, best = state.model.state_dict(), trained.state.best.weights
    assert all(torch.equal(loaded[name], best[name]) for name in best)
    assert ("scorer" in state.extras) is last
    if last:
        ours, theirs = (s.extras.state_dict() for s in (state, trained.state))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_without_best_weights_it_says_where_they_come_from(trials, trained, tmp_path):
    folder = tmp_path / "checkpoint"
    trained.save(folder)
    artifacts.thin(str(folder), best=False, last=True)
    with pytest.raises(DataError, match=r"no best weights. .* first validation value"):
        checkpoints.load_best(trained.state, folder)


def test_a_trial_whose_best_weights_were_deleted_does_not_go_on_from_there(
    trials, trained, tmp_path
):
    folder = tmp_path / "checkpoint"
    trained.save(folder)
    artifacts.thin(str(folder), best=False, last=True)
    state = trials.begin(trials.spec("pare", "1d", seed=1)).state
    before = {name: each.clone() for name, each in state.model.state_dict().items()}
    with pytest.raises(checkpoints.CorruptCheckpoint, match=r"holds no best\.safetensors"):
        checkpoints.load(state, folder)
    assert all(torch.equal(each, before[n]) for n, each in state.model.state_dict().items())


def test_altered_weights_are_refused(trials, trained, tmp_path):
    folder = tmp_path / "checkpoint"
    trained.save(folder)
    with (folder / "best.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(checkpoints.CorruptCheckpoint, match="altered"):
        checkpoints.load_best(trained.state, folder)


@pytest.mark.parametrize("read", [checkpoints.load, checkpoints.load_best])
def test_weights_of_another_model_are_refused_and_none_of_them_taken(
    trials, trained, tmp_path, read
):
    trained.save(tmp_path / "checkpoint")
    spec = trials.spec("pare", "1d", seed=1)
    model = spec.model.model_copy(update={"head": "orca_pool"})
    state = trials.begin(spec.model_copy(update={"model": model})).state
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    rng = torch.get_rng_state()
    with pytest.raises(checkpoints.CorruptCheckpoint, match=r"of another model, .* predictor"):
        read(state, tmp_path / "checkpoint")
    assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
