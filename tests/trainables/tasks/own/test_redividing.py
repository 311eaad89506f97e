import numpy as np
import pytest

from tests.support.own_data import define, labels
from trainables.errors import TaskDataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_own
from trainables.tasks.loading import has_draws, load_task
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.own.redividing import redivide
from trainables.tasks.registry import register
from trainables.tasks.store.rows import PickedRows, StoredRows
from trainables.tasks.store.split import SPLITS
from trainables.tasks.store.store import Store

N = 60


def write_data(folder):
    rng = np.random.default_rng(1)
    for name in ("data", "last"):
        groups = np.arange(N) // 5 + 100 * (name == "last")
        x = rng.normal(size=(N, 9))
        np.savez(folder / f"{name}.npz", x=x, y=labels(N), group=groups, part=part_of(N))


def part_of(count):
    return np.array(["train", "val", "test"])[np.minimum(np.arange(count) % 5, 2)]


def imported(folder, home, definition):
    files = {definition.name: folder / "t.task.yaml"}
    register(own_benchmark([definition], home, files), replace=True)
    return Store(import_own(definition.name, home))


FORMS = {
    "stratified": {},
    "at random": {"stratified": False, "val": 0.2, "test": 0.3},
    "by groups": {"group": "group"},
    "test of a file": {"train": "data.npz", "test": "last.npz", "val": 0.25},
}


def task_with(splits, *, kind="classification", seed=0):
    input_ = {"key": "x", **({} if "train" in splits else {"path": "data.npz"})}
    return define(kind, input=input_, splits={**splits, "seed": seed})


@pytest.mark.parametrize("form", FORMS)
def test_a_seed_divides_as_an_import_with_that_seed_does(form, tmp_path):
    """Law: another draw of a stored task has the samples, in the order, of another import."""
    write_data(tmp_path)
    task = task_with(FORMS[form])
    store = imported(tmp_path, tmp_path / "home", task)
    again = imported(tmp_path, tmp_path / "again", task_with(FORMS[form], seed=7))
    drawn = redivide(store, task, 7)
    for split in SPLITS:
        theirs, ours = getattr(again, split), drawn.head(split, N)
        np.testing.assert_array_equal(ours.sample_id, theirs.sample_id)
        np.testing.assert_array_equal(ours.y, theirs.y)
        assert drawn.sizes[split] == len(theirs)
    rows = {split: set(getattr(store, split).sample_id) for split in SPLITS}
    assert set(drawn.head("train", N).sample_id) != rows["train"]
    if form == "test of a file":
        assert set(drawn.head("test", N).sample_id) == rows["test"]


def test_inputs_are_those_of_their_samples_in_the_scale_of_the_import(tmp_path):
    write_data(tmp_path)
    store = imported(tmp_path, tmp_path / "home", task_with({}))
    drawn = redivide(store, task_with({}), 3)
    before, after = (
        {int(i): x for s in SPLITS for i, x in _samples(of(s))}
        for of in (lambda split: getattr(store, split), lambda split: drawn.head(split, N))
    )
    assert len(after) == N
    for number, x in after.items():
        np.testing.assert_array_equal(x, before[number])


def _samples(split):
    return zip(split.sample_id, split.x[np.arange(len(split))], strict=True)


def test_each_seed_of_the_data_has_its_own_hash_and_the_same_seed_the_same(tmp_path):
    write_data(tmp_path)
    home, task = tmp_path / "home", task_with({})
    imported(tmp_path, home, task)
    plain, one, two = (load_task(task.name, DataSpec(seed=seed), home) for seed in (0, 1, 2))
    assert len({plain.content_hash, one.content_hash, two.content_hash}) == 3
    assert load_task(task.name, DataSpec(seed=1), home).content_hash == one.content_hash
    fewer = load_task(task.name, DataSpec(seed=1, samples=10), home)
    np.testing.assert_array_equal(fewer.train.sample_id, one.train.sample_id[:10])
    assert fewer.content_hash not in (one.content_hash, plain.content_hash)
    assert has_draws(task.name, DataSpec(), home)


FIXED = {
    "by a column": {"column": "part"},
    "by files": {"train": "data.npz", "val": "last.npz", "test": "third.npz"},
}


@pytest.mark.parametrize("form", FIXED)
def test_splits_that_the_files_give_stay_as_they_are(form, tmp_path):
    write_data(tmp_path)
    np.savez(tmp_path / "third.npz", x=np.random.default_rng(3).normal(size=(N, 9)), y=labels(N))
    home, task = tmp_path / "home", task_with(FIXED[form])
    imported(tmp_path, home, task)
    hashes = {load_task(task.name, DataSpec(seed=seed), home).content_hash for seed in (0, 1)}
    assert len(hashes) == 1
    assert not has_draws(task.name, DataSpec(), home)


def test_a_division_that_is_impossible_is_refused(tmp_path):
    write_data(tmp_path)
    store = imported(tmp_path, tmp_path / "home", task_with({}))
    with pytest.raises(TaskDataError, match="too few"):
        redivide(store, task_with({"val": 0.01, "test": 0.02}), 1)


@pytest.mark.parametrize("rows", [3, slice(2, 9), np.array([4, 0, 4]), np.array([], int)])
def test_picked_rows_are_those_of_the_joined_arrays(rows):
    parts = [np.arange(12.0).reshape(6, 2), np.arange(8.0).reshape(4, 2) + 50]
    places = np.random.default_rng(0).permutation(10)
    picked = PickedRows([StoredRows(part) for part in parts], places)
    np.testing.assert_array_equal(picked[rows], np.concatenate(parts)[places][rows])
    assert (picked.shape, len(picked)) == ((10, 2), 10)
