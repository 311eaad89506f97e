import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from trainables.errors import ConfigError, DataError
from trainables.spec import DataSpec
from trainables.tasks.generation import Generation
from trainables.tasks.loading import describe_data, is_prepared, load_task, prepare_task
from trainables.tasks.store.split import SplitData
from trainables.tasks.store.store import Store, write_store
from trainables.tasks.task import DataDescription

SMALL = DataSpec(samples=15, val_fraction=0.125, test_fraction=0.25, resolution=16)
NAME = "pdebench/advection_1d"


def test_bytes_on_disk_are_as_described(tmp_path):
    data = SMALL.model_copy(update={"resolution": 128, "samples": 125})
    folder = prepare_task(NAME, data, tmp_path)
    actual = sum(path.stat().st_size for path in folder.glob("*.arrow"))
    assert actual == pytest.approx(describe_data(NAME, data).bytes, rel=0.2)


def test_preparing_twice_generates_once(tmp_path):
    calls: list[tuple[str, int, int]] = []
    first = prepare_task(NAME, SMALL, tmp_path, progress=lambda *call: calls.append(call))
    assert calls[-1] == (NAME, 24, 24)
    calls.clear()
    assert prepare_task(NAME, SMALL, tmp_path, progress=lambda *call: calls.append(call)) == first
    assert calls == []


def test_is_prepared_tells(tmp_path):
    assert not is_prepared(NAME, SMALL, tmp_path)
    folder = prepare_task(NAME, SMALL, tmp_path)
    assert is_prepared(NAME, SMALL, tmp_path)
    assert folder.parent == tmp_path / "data" / NAME
    assert not is_prepared(NAME, SMALL.model_copy(update={"seed": 1}), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"samples": 16},
        {"resolution": 32},
        {"val_fraction": 0.2},
        {"test_fraction": 0.2},
    ],
)
def test_whatever_changes_the_data_changes_their_folder(change):
    assert (
        Generation.of(NAME, SMALL).key != Generation.of(NAME, SMALL.model_copy(update=change)).key
    )


def test_a_change_of_the_generator_changes_the_folder(monkeypatch):
    before = Generation.of(NAME, SMALL).key
    monkeypatch.setattr("trainables.tasks.pde_bench.advection_1d.Advection.version", 2)
    assert Generation.of(NAME, SMALL).key != before


def test_equal_requests_written_differently_share_a_folder():
    by_dimension = SMALL.model_copy(update={"resolution": {"1d": 16, "2d": 64}})
    assert Generation.of(NAME, SMALL).key == Generation.of(NAME, by_dimension).key


def test_defaults_are_as_published():
    name = "pdebench/burgers_1d"
    described = describe_data(name, DataSpec())
    assert described.samples == 10_000
    assert described == DataDescription(
        task=name,
        key=Generation.of(name, DataSpec()).key,
        splits={"train": 8100, "val": 900, "test": 1000},
        resolution=1024,
        x_shape=(1, 1024),
        y_shape=(1, 1024),
        bytes=2 * 4 * 1024 * 10_000,
    )


@pytest.mark.parametrize(
    ("name", "test"), [(NAME, range(6)), ("pdebench/diffusion_sorption_1d", range(18, 24))]
)
def test_splits_share_no_sample_and_test_is_at_the_published_end(name, test, tmp_path):
    store = Store(prepare_task(name, SMALL, tmp_path))
    ids = {split: store.columns(split)["sample_id"] for split in ("train", "val", "test")}
    np.testing.assert_array_equal(ids["test"], test)
    assert sorted(np.concatenate(list(ids.values()))) == list(range(24))


def test_stored_parameters_reproduce_the_stored_arrays(tmp_path):
    from trainables.tasks.pde_bench.initial_conditions import FourierFields
    from trainables.tasks.problem import cell_centres

    store = Store(prepare_task(NAME, SMALL, tmp_path))
    columns = store.columns("val")
    del columns["sample_id"]
    field = FourierFields(**columns, length=1.0)
    x = field(cell_centres(16, 0.0, 1.0))[:, None].astype(np.float32)
    np.testing.assert_array_equal(x, store.val.x)


def test_baselines_are_those_of_the_mean_and_of_the_input(tmp_path):
    task = load_task(NAME, SMALL, tmp_path)
    target = task.test.y.reshape(6, -1)
    for name, prediction in {
        "mean": task.train.y.mean(axis=0).reshape(1, -1),
        "identity": task.test.x.reshape(6, -1),
    }.items():
        errors = np.linalg.norm(prediction - target, axis=1) / np.linalg.norm(target, axis=1)
        assert task.baselines[name] == pytest.approx(errors.mean(), rel=1e-5)


def test_statistics_are_of_the_training_set(tmp_path):
    store = Store(prepare_task(NAME, SMALL, tmp_path))
    statistics = store.manifest["statistics"]["y"]
    assert statistics["mean"] == pytest.approx([store.train.y.mean()], abs=1e-6)
    assert statistics["max"] == pytest.approx([store.train.y.max()])


def test_of_two_at_once_one_builds_and_both_read_the_same(tmp_path):
    barrier = Barrier(2)

    def prepare(_: int) -> tuple[Path, bool]:
        barrier.wait(timeout=60)
        calls: list[int] = []
        name = "pdebench/diffusion_sorption_1d"
        folder = prepare_task(name, SMALL, tmp_path, progress=lambda *call: calls.append(call[1]))
        return folder, bool(calls)

    with ThreadPoolExecutor(2) as pool:  # the lock is on an open file, so it parts threads too
        reported = [*pool.map(prepare, range(2))]
    assert sorted(built for _, built in reported) == [False, True]
    (folder,) = {folder for folder, _ in reported}
    Store(folder).verify()


def test_a_build_that_died_leaves_nothing_in_the_way(tmp_path):
    folder = prepare_task(NAME, SMALL, tmp_path)
    key = folder.name
    leftover = folder.with_name(f".{key}.dead")
    folder.rename(leftover)  # as if it had died before the last step
    (leftover / "manifest.json").unlink()
    assert not is_prepared(NAME, SMALL, tmp_path)
    Store(prepare_task(NAME, SMALL, tmp_path)).verify()
    assert {path.name for path in folder.parent.iterdir()} == {key, f".{key}.lock"}


def test_a_damaged_file_is_named_and_deleting_its_folder_is_the_way_out(tmp_path):
    folder = prepare_task(NAME, SMALL, tmp_path)
    path = folder / "train.arrow"
    cut = path.read_bytes()[:-8]
    path.write_bytes(cut)
    assert prepare_task(NAME, SMALL, tmp_path) == folder
    with pytest.raises(DataError, match=rf"train\.arrow.*Delete {folder}"):
        load_task(NAME, SMALL, tmp_path)
    assert path.read_bytes() == cut


def test_official_data_that_are_not_there_say_how_to_get_them(tmp_path):
    data = SMALL.model_copy(update={"source": "official"})
    for call in (prepare_task, is_prepared, load_task):
        with pytest.raises(DataError, match=r"1D_Adv.*hdf5 .https://darus.*/255674"):
            call(NAME, data, tmp_path)


def test_a_hard_variant_has_no_official_data(tmp_path):
    data = SMALL.model_copy(update={"source": "official"})
    with pytest.raises(DataError, match="this variant is ours"):
        prepare_task(f"{NAME}@hard", data, tmp_path)


def official(home: Path, task: str = NAME, of: str = NAME) -> None:
    x = np.random.default_rng(0).normal(size=(24, 1, 16)).astype(np.float32)
    parts = {"train": slice(0, 15), "val": slice(15, 18), "test": slice(18, 24)}
    splits = {
        split: SplitData(sample_id=np.arange(24)[rows], x=x[rows], y=x[rows])
        for split, rows in parts.items()
    }
    description = {"task": task, "data_source": "official", "baselines": {"mean": 1.0}}
    write_store(home / "data" / of / "official", splits, description)


def test_auto_prefers_official_data_that_are_there(tmp_path):
    official(tmp_path)
    assert load_task(NAME, SMALL, tmp_path).data_source == "official"
    explicit = SMALL.model_copy(update={"source": "generated"})
    assert load_task(NAME, explicit, tmp_path).data_source == "generated"


def test_fewer_samples_are_the_first_of_each_split_and_no_copy(tmp_path):
    official(tmp_path)
    whole = load_task(NAME, SMALL, tmp_path)
    part = load_task(NAME, SMALL.model_copy(update={"samples": 10}), tmp_path)
    assert [len(split) for split in (part.train, part.val, part.test)] == [10, 3, 6]
    for split in ("train", "val", "test"):
        few, all_ = getattr(part, split), getattr(whole, split)
        np.testing.assert_array_equal(few.x, all_.x[: len(few)])
        np.testing.assert_array_equal(few.y, all_.y[: len(few)])
        assert not few.x.flags.owndata
    assert part.content_hash != whole.content_hash
    assert part.baselines == whole.baselines


def test_official_data_of_another_size_or_task_are_refused(tmp_path):
    official(tmp_path)
    with pytest.raises(
        ConfigError, match=r"`data.samples` asks for 30 training samples, .* there are only 15"
    ):
        load_task(NAME, SMALL.model_copy(update={"samples": 30}), tmp_path)
    official(tmp_path / "other", task="pdebench/burgers_1d")
    with pytest.raises(DataError, match="these are data of pdebench/burgers_1d"):
        load_task(NAME, SMALL, tmp_path / "other")


@pytest.mark.parametrize("call", [prepare_task, load_task])
@pytest.mark.parametrize("source", ["auto", "official", "generated"])
def test_a_task_without_a_generator_says_how_to_import_it(call, source, tmp_path):
    data = DataSpec(source=source)
    with pytest.raises(DataError, match=r"Fetch s2.*https.*: sweeper data import nasbench360/sph"):
        call("nasbench360/spherical", data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_task_without_a_generator_is_prepared_once_it_is_imported(tmp_path):
    name = "nasbench360/spherical"
    assert not is_prepared(name, DataSpec(), tmp_path)
    assert describe_data(name, DataSpec()).samples == 60_000
    official(tmp_path, task=name, of=name)
    assert is_prepared(name, DataSpec(), tmp_path)
    folder = tmp_path / "data" / name / "official"
    assert prepare_task(name, DataSpec(), tmp_path) == folder
    assert prepare_task(name, DataSpec(source="official"), tmp_path) == folder
    with pytest.raises(DataError, match="cannot be generated"):
        is_prepared(name, DataSpec(source="generated"), tmp_path)


def test_impossible_requests_say_why():
    with pytest.raises(ConfigError, match=r"There is no task `pdebench/advection`\. Known: "):
        describe_data("pdebench/advection", SMALL)
    with pytest.raises(ConfigError, match=r"leaves a split empty"):
        describe_data(NAME, DataSpec(samples=8, val_fraction=0.01, test_fraction=0.2))
    with pytest.raises(ConfigError, match=r"must be below 2\^64"):
        describe_data(NAME, DataSpec(seed=2**64))
    with pytest.raises(ConfigError, match=r"must be at least 8, but got 4"):
        describe_data(NAME, DataSpec(resolution=4))


def test_a_task_is_what_was_stored_and_pickles(tmp_path):
    task = load_task(NAME, SMALL, tmp_path)
    again = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(again.train.x, task.train.x)
    manifest = json.loads(
        (prepare_task(NAME, SMALL, tmp_path) / "manifest.json").read_text(encoding="utf-8")
    )
    assert task.content_hash == manifest["content_hash"]
