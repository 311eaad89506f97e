"""What follows from a source alone is computed once a machine, and is the same numbers for all."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from trainables.distances import statistics
from trainables.distances.otdd import otdd
from trainables.distances.statistics import cached_statistics, prepare, remembered_statistics
from trainables.storage.tensors import DiskCache, join_state, split_state


def samples(seed: int, count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=drawn), torch.arange(count) % 3


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """Record each computation of the terms of one side."""
    told: list[str] = []
    original = statistics.entropic_self_costs

    def counting(*arguments):
        told.append("self cost")
        return original(*arguments)

    monkeypatch.setattr(statistics, "entropic_self_costs", counting)
    return told


@pytest.mark.parametrize("method", ["exact", "gaussian"])
def test_the_next_process_computes_nothing_of_the_source_and_finds_the_same(
    tmp_path, computed, method
):
    x, y = samples(0)
    target, labels = samples(1)
    settings = {"method": method, "solver": "sinkhorn", "entreg": 0.1, "shrinkage": 0.1}
    plain = otdd(prepare(x, y, **settings), target, labels, label_weight=1.0)
    alone = len(computed)
    found = []
    for expected in (alone, None):
        computed.clear()
        remembered_statistics.cache_clear()  # as in another process
        side = cached_statistics("hash", x, y, folder=tmp_path, **settings)
        found.append(otdd(side, target, labels, label_weight=1.0).value)
        if expected is not None:
            assert len(computed) == expected
    assert len(computed) < alone  # the target's own part is left
    assert found == [plain.value, plain.value]


def test_other_samples_and_settings_are_not_taken_for_these(tmp_path):
    x, y = samples(0)
    settings = {"method": "exact", "solver": "sinkhorn", "entreg": 0.1, "shrinkage": 0.1}
    first = cached_statistics("one", x, y, folder=tmp_path, **settings)
    other = cached_statistics("two", 2 * x, y, folder=tmp_path, **settings)
    coarse = cached_statistics("one", x, y, folder=tmp_path, **{**settings, "entreg": 1.0})
    values = [side.self_cost(1.0).values.item() for side in (first, other, coarse)]
    assert len({*values, first.self_cost(0.5).values.item()}) == 4


def compute() -> dict[str, torch.Tensor]:
    return {"values": torch.arange(3.0)}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_what_is_damaged_is_computed_again_and_replaces_what_a_killed_process_left(
    tmp_path, damage
):
    cache, path = DiskCache(tmp_path), tmp_path / "a.safetensors"
    cache("a", compute)
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.unlink()  # a mapped file is never written to: what is damaged is another
    path.write_bytes({"cut": content[:-7], "flip": content, "empty": b""}[damage])
    (tmp_path / ".a.safetensors.0123456789ab.partial").write_bytes(b"half of a fi")
    for computed in (compute, dict):  # then it is kept again
        assert torch.equal(cache("a", computed)["values"], torch.arange(3.0))
    assert {file.name for file in tmp_path.iterdir()} == {"a.safetensors", "a.lock"}


def test_what_cannot_be_kept_is_computed(tmp_path):
    (tmp_path / "file").touch()
    found = DiskCache(tmp_path / "file" / "x")("a", compute)
    assert torch.equal(found["values"], torch.arange(3.0))


class Tied:
    """A model whose layers share a weight, and states with infinity and with numbers as keys."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        self.model[1].weight = self.model[0].weight
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, patience=0)
        self.steps = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, [2, 3])

    def train(self, first: int, last: int) -> None:
        for step in range(first, last):
            self.optimizer.zero_grad()
            self.model(torch.ones(3)).square().sum().backward()
            self.optimizer.step()
            self.plateau.step(float("inf") if step < 4 else step)
            self.steps.step()


def test_a_state_of_any_depth_comes_back_from_tensors_and_json(tmp_path):
    whole, resumed = Tied(), Tied()
    whole.train(0, 2)
    rest, tensors = split_state({name: part.state_dict() for name, part in vars(whole).items()})
    save_file(tensors, tmp_path / "tensors")
    found = join_state(json.loads(json.dumps(rest)), load_file(tmp_path / "tensors"))
    for name, part in vars(resumed).items():
        part.load_state_dict(found[name])
    whole.train(2, 7)
    resumed.train(2, 7)
    assert whole.steps.get_last_lr() == resumed.steps.get_last_lr() != [0.1]
    for mine, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_counters_tuples_and_numbers_of_numpy_come_back_as_what_they_are():
    """`MultiStepLR` has a counter, whose methods a plain mapping lacks."""
    state = {"milestones": Counter({2: 1}), "betas": (0.9, [0.99]), "n": np.int64(3), "none": {}}
    rest, tensors = split_state(state)
    found = join_state(json.loads(json.dumps(rest)), tensors)
    assert found == state
    assert [type(value) for value in found.values()] == [Counter, tuple, int, dict]
