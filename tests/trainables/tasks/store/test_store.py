import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from trainables.errors import DataError
from trainables.tasks.store.manifest import content_hash
from trainables.tasks.store.split import SplitData
from trainables.tasks.store.store import Store, write_store


def split(n: int = 6, seed: int = 0, shape: tuple[int, ...] = (1, 8)) -> SplitData:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(n, *shape)).astype(np.float32) for _ in range(2))
    return SplitData(
        sample_id=np.arange(n) + 100 * seed,
        x=x,
        y=y,
        params={"level": rng.random(n), "phase": rng.random((n, 3))},
    )


SPLITS = {"train": split(6, 0), "val": split(2, 1), "test": split(3, 2)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "task" / "key", SPLITS, {"task": "a task", "seed": 0})
    return tmp_path / "task" / "key"


def test_what_was_written_is_read(folder):
    store = Store(folder)
    for name, data in SPLITS.items():
        np.testing.assert_array_equal(getattr(store, name).x, data.x)
        np.testing.assert_array_equal(getattr(store, name).y, data.y)
        columns = store.columns(name)
        np.testing.assert_array_equal(columns["sample_id"], data.sample_id)
        np.testing.assert_array_equal(columns["phase"], data.params["phase"])
        np.testing.assert_array_equal(columns["level"], data.params["level"])
    assert store.manifest["task"] == "a task"
    store.verify()


def test_a_slice_of_a_split_keeps_its_own_rows(tmp_path):
    whole = split(10)
    part = SplitData(
        sample_id=whole.sample_id[4:8],
        x=whole.x[4:8],
        y=whole.y[4:8],
        params={name: values[4:8] for name, values in whole.params.items()},
    )
    write_store(tmp_path / "key", {"train": part, "val": part, "test": part}, {})
    columns = Store(tmp_path / "key").columns("val")
    np.testing.assert_array_equal(columns["phase"], whole.params["phase"][4:8])
    np.testing.assert_array_equal(columns["sample_id"], [4, 5, 6, 7])


def test_reading_copies_nothing_and_is_read_only(tmp_path):
    big = split(64, shape=(1, 64, 64))
    write_store(tmp_path / "key", {"train": big, "val": split(), "test": split()}, {})
    before = pa.total_allocated_bytes()
    x = Store(tmp_path / "key").train.x
    assert pa.total_allocated_bytes() == before
    assert not x.flags.owndata
    assert not x.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 0


def test_a_split_is_mapped_once(folder):
    store = Store(folder)
    assert store.train is store.train


def test_a_store_pickles_as_its_path(folder):
    store = Store(folder)
    _ = store.train
    pickled = pickle.dumps(store)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).train.x, store.train.x)


def test_equal_data_have_equal_hashes_and_others_do_not(tmp_path, folder):
    write_store(tmp_path / "same", SPLITS, {"task": "a task", "seed": 0})
    write_store(tmp_path / "seed", SPLITS, {"task": "a task", "seed": 1})
    write_store(tmp_path / "data", SPLITS | {"val": split(2, 9)}, {"task": "a task", "seed": 0})
    first = Store(folder).content_hash
    assert Store(tmp_path / "same").content_hash == first
    assert len({first, *(Store(tmp_path / name).content_hash for name in ("seed", "data"))}) == 3


def test_a_missing_folder_says_so(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.*no data set here"):
        Store(tmp_path / "nowhere")


def test_a_file_that_was_cut_short_is_named_on_opening(folder):
    path = folder / "train.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train\.arrow: it has \d+ bytes, but the manifest says"):
        Store(folder)


def test_a_file_that_is_missing_is_named_on_opening(folder):
    (folder / "val.arrow").unlink()
    with pytest.raises(DataError, match=r"val\.arrow: it is missing"):
        Store(folder)


def test_a_file_of_noise_is_no_arrow_file(folder):
    path = folder / "train.arrow"
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    with pytest.raises(DataError, match=r"train\.arrow: it is no Arrow file"):
        _ = Store(folder).train


def replace_manifest(folder: Path, **changes) -> None:
    """Change the manifest and its own hash, so that only the change can be at fault."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(manifest | {"content_hash": content_hash(manifest)}))


def test_a_wrong_shape_is_refused_with_both_shapes(folder):
    replace_manifest(folder, shapes={"x": [1, 9], "y": [1, 8]})
    with pytest.raises(DataError, match=r"`x` is float32\[6, 1, 8\].*float32\[6, 1, 9\]"):
        _ = Store(folder).train


@pytest.mark.parametrize("version", [1, 99])
def test_another_schema_version_is_refused(folder, version):
    replace_manifest(folder, schema_version=version)
    with pytest.raises(DataError, match=f"schema version {version}, but this program reads 2"):
        Store(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": 1}', "\x00\xff"])
def test_a_broken_manifest_is_named(folder, content):
    (folder / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"manifest\.json: it is not a manifest"):
        Store(folder)


def test_an_edited_manifest_is_noticed(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"a task"', '"another task"'))
    with pytest.raises(DataError, match="does not have the hash that it states"):
        Store(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_never_written(tmp_path, value):
    bad = split(6)
    bad.y[4, 0, 3] = value
    with pytest.raises(DataError, match=r"val\.arrow: `y` is not finite in 1 of 6.*row 4"):
        write_store(tmp_path / "key", SPLITS | {"val": bad}, {})
    assert list(tmp_path.iterdir()) == []  # neither the folder nor a leftover


def test_values_that_are_not_finite_are_found_by_verify(tmp_path, monkeypatch):
    bad = split(6)
    bad.x[2, 0, 0] = np.nan
    with monkeypatch.context() as patch:  # as a writer without our check would have left it
        patch.setattr("trainables.tasks.store.store.check_finite", lambda *_: None)
        write_store(tmp_path / "key", SPLITS | {"train": bad}, {})
    with pytest.raises(DataError, match=r"train\.arrow: `x` is not finite in 1 of 6.*row 2"):
        Store(tmp_path / "key").verify()


def test_another_type_or_length_is_refused(tmp_path):
    double = SplitData(sample_id=np.arange(2), x=np.zeros((2, 1, 4)), y=np.zeros((2, 1, 4)))
    with pytest.raises(
        DataError, match="must be float32 or float16 or uint8 with 2 samples, but got float64"
    ):
        write_store(tmp_path / "key", SPLITS | {"test": double}, {})


def test_a_split_without_samples_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"val\.arrow: the split has no samples"):
        write_store(tmp_path / "key", SPLITS | {"val": split(0)}, {})


def labelled(n: int, x_dtype: str, y: np.ndarray, **other) -> SplitData:
    x = np.random.default_rng(n).integers(0, 200, size=(n, 2, 4)).astype(x_dtype)
    return SplitData(sample_id=np.arange(n), x=x, y=y, **other)


@pytest.mark.parametrize("x_dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_labels_and_small_inputs_come_back_as_they_were(tmp_path, x_dtype, shape):
    y = np.arange(12).reshape(4, 3) % 2
    outputs = y.astype(np.float32) if shape else y[:, 0].astype(np.int64)
    data = labelled(4, x_dtype, outputs)
    write_store(tmp_path / "key", {"train": data, "val": data, "test": data}, {})
    store = Store(tmp_path / "key")
    store.verify()
    assert store.manifest["dtypes"] == {"x": x_dtype, "y": str(outputs.dtype)}
    read = store.val.x[np.array([3, 1])]
    np.testing.assert_array_equal(read, data.x[[3, 1]].astype(np.float32))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(store.val.y, outputs)
    assert store.val.y.dtype == outputs.dtype
    assert store.val.groups is None


def test_groups_come_back_and_a_head_is_a_view_of_the_first_samples(tmp_path):
    data = labelled(5, "uint8", np.arange(5), groups=np.array([7, 7, 8, 8, 9]))
    scaling = {"input_scaling": {"mean": [1.0, 2.0], "std": [2.0, 3.0]}}
    write_store(tmp_path / "key", {"train": data, "val": data, "test": data}, scaling)
    store = Store(tmp_path / "key")
    np.testing.assert_array_equal(store.test.groups, data.groups)
    head = store.head("test", 3)
    assert len(head) == 3
    np.testing.assert_array_equal(head.groups, [7, 7, 8])
    np.testing.assert_array_equal(head.y, [0, 1, 2])
    np.testing.assert_array_equal(head.sample_id, data.sample_id[:3])
    np.testing.assert_array_equal(store.test.sample_id, data.sample_id)
    np.testing.assert_array_equal(head.x[np.arange(3)], store.test.x[np.arange(3)])
    assert not head.y.flags.owndata


def test_an_array_in_a_file_is_written_without_a_copy(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float16, (64, 1, 64, 64))
    x[:] = 0.5
    data = SplitData(sample_id=np.arange(64), x=x, y=np.zeros(64, dtype=np.int64))
    before = pa.total_allocated_bytes()
    write_store(tmp_path / "key", {"train": data, "val": data, "test": data}, {})
    assert pa.total_allocated_bytes() == before
    assert (Store(tmp_path / "key").train.x[np.array([5])] == 0.5).all()


def test_every_chunk_of_an_array_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.tasks.store.arrays.BLOCK_BYTES", 64)
    bad = split(20)
    bad.x[17, 0, 2] = np.nan
    with pytest.raises(DataError, match=r"train\.arrow: `x` is not finite in 1 of 20.*row 17"):
        write_store(tmp_path / "key", SPLITS | {"train": bad}, {})
