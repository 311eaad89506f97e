import hashlib
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from tests.support.published import pdebench as official_files
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.pde_bench import reader
from trainables.tasks.pde_bench.published import PUBLISHED
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import read_manifest
from trainables.tasks.store.store import Store

SPLITS = ("train", "val", "test")


@pytest.fixture
def imported(tmp_path):
    """Write and import the file of a problem; return its store."""

    def imported(name: str, **changes) -> Store:
        path = official_files.write(tmp_path / "published", name, **changes)
        return Store(import_task(f"pdebench/{name}", [path], tmp_path / "home"))

    return imported


def ids(store: Store, split: str) -> np.ndarray:
    return store.columns(split)["sample_id"]


@pytest.mark.parametrize("name", official_files.NAMES)
def test_every_published_file_becomes_its_task(imported, tmp_path, name):
    imported(name)
    task = load_task(f"pdebench/{name}", DataSpec(source="official"), tmp_path / "home")
    assert task.data_source == "official"
    assert task.input_shape == TASKS[f"pdebench/{name}"].input_shape
    assert task.output_shape == task.input_shape
    assert [len(split) for split in (task.train, task.val, task.test)] == [16, 2, 2]
    assert task.baselines.keys() == {"mean", "identity"}


@pytest.mark.parametrize("name", official_files.NAMES)
def test_the_test_set_is_the_published_end_and_no_sample_is_in_two_splits(imported, name):
    store = imported(name)
    last = name in official_files.GROUPS
    assert set(ids(store, "test")) == ({18, 19} if last else {0, 1})
    assert sorted(np.concatenate([ids(store, split) for split in SPLITS])) == list(range(20))


def test_a_series_keeps_every_fourth_point_of_its_first_and_its_last_frame(imported):
    store = imported("advection_1d", chunks=(7, 3, 100), compression="gzip")
    for split in SPLITS:
        data = getattr(store, split)
        for frame, shift in ((data.x, 0.0), (data.y, 0.8)):
            expected = official_files.wave(20, shift=shift)[ids(store, split), None, ::4]
            np.testing.assert_array_equal(frame, expected.astype(np.float32))
    frames = {"input": 0, "output": 4, "output_time": 2.0}
    assert store.manifest["published"]["frames"] == frames


def test_frames_beyond_the_end_time_are_left_out(imported, monkeypatch):
    file, arrays, stated, _ = official_files.LINES["diffusion_reaction_1d"]
    monkeypatch.setitem(official_files.LINES, "diffusion_reaction_1d", (file, arrays, stated, 2.0))
    store = imported("diffusion_reaction_1d", frames=9)
    assert store.manifest["published"]["frames"]["output"] == 4


def test_a_flow_is_laid_end_to_end_and_standardised_by_the_training_inputs(imported):
    store = imported("navier_stokes_1d")
    first, last = (
        np.concatenate(
            [official_files.wave(20, 1024, s, k) + 10 * k for k in range(3)], axis=1
        ).astype(np.float32)
        for s in (0.0, 0.4)
    )
    train = first[ids(store, "train")].astype(np.float64)
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-5
    for split in SPLITS:
        data, rows = getattr(store, split), ids(store, split)
        np.testing.assert_allclose(data.x[:, 0], (first[rows] - mean) / scale, atol=2e-4)
        np.testing.assert_allclose(data.y[:, 0], (last[rows] - mean) / scale, atol=2e-4)
    np.testing.assert_allclose(store.train.x.mean(axis=0), 0, atol=1e-4)
    assert len(store.manifest["normalization"]["mean"][0]) == 3 * 1024


def test_darcy_keeps_every_other_point_of_coefficient_and_solution(imported):
    store = imported("darcy_2d")
    side = 2 * np.arange(64)
    field = side[:, None] + 1000 * side
    expected = field + ids(store, "test")[:, None, None, None]
    np.testing.assert_array_equal(store.test.x, expected)
    np.testing.assert_array_equal(store.test.y, -expected)


@pytest.mark.parametrize(
    ("name", "output"), [("shallow_water_2d", 0), ("diffusion_reaction_2d", 1)]
)
def test_groups_are_in_the_order_of_their_names_and_lend_one_channel(imported, name, output):
    store = imported(name)
    for split in SPLITS:
        data, rows = getattr(store, split), ids(store, split)
        np.testing.assert_array_equal(data.x[:, 0, 5, 7], rows)
        np.testing.assert_array_equal(data.y[:, 0, 5, 7], rows + 200 + 1000 * output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("diffusion_reaction_1d", 20),
        ("diffusion_sorption_1d", 20),
        ("shallow_water_2d", 10),
        ("diffusion_reaction_2d", 10),
    ],
)
def test_with_orca_s_frames_only_the_training_split_has_the_training_frame(
    tmp_path, name, samples, monkeypatch
):
    monkeypatch.setattr(
        "trainables.tasks.formats.hdf5.SLAB_BYTES", 7 * 8 * 1024
    )  # slabs of mixed splits
    path = official_files.write(tmp_path / "published", name, samples=samples, frames=101)
    task = f"pdebench/{name}@orca"
    store, published = (
        Store(import_task(each, [path], tmp_path / "home")) for each in (task, f"pdebench/{name}")
    )
    train = 29 if name == "diffusion_reaction_1d" else 100
    for split in SPLITS:
        data, rows = getattr(store, split), ids(store, split)
        frame = train if split == "train" else 99
        if name in official_files.GROUPS:
            channel = official_files.GROUPS[name][2] - 1
            expected = rows + 100 * frame + 1000 * channel
            np.testing.assert_array_equal(data.y[:, 0].reshape(len(rows), -1)[:, 5], expected)
        else:
            moved = official_files.wave(20, shift=0.4 * frame / 100)[rows, None]
            np.testing.assert_array_equal(data.y, moved.astype(np.float32))
        np.testing.assert_array_equal(data.x, getattr(published, split).x)
        np.testing.assert_array_equal(rows, ids(published, split))
    end_time = {**official_files.LINES, **official_files.GROUPS}[name][3]
    frames = store.manifest["published"]["frames"]
    assert (frames["input"], frames["output"], frames["scored_output"]) == (0, train, 99)
    assert frames["scored_output_time"] == pytest.approx(0.99 * end_time)
    assert published.manifest["published"]["frames"].keys() == {"input", "output", "output_time"}
    assert store.folder.parent.name == f"{name}@orca"
    loaded = load_task(task, DataSpec(source="official"), tmp_path / "home")
    assert (loaded.info.name, loaded.data_source) == (task, "official")


def test_a_file_without_the_frame_that_orca_trained_on_is_refused(tmp_path):
    path = official_files.write(tmp_path / "published", "diffusion_reaction_1d", frames=51)
    with pytest.raises(DataError, match=r"no first frame at time 0 and none at 0\.29"):
        import_task("pdebench/diffusion_reaction_1d@orca", [path], tmp_path)


def test_slabs_do_not_change_what_is_read(imported, tmp_path, monkeypatch):
    whole = imported("burgers_1d")
    monkeypatch.setattr("trainables.tasks.formats.hdf5.SLAB_BYTES", 3 * 8 * 1024)
    path = tmp_path / "published" / PUBLISHED["pdebench/burgers_1d"].name
    again = Store(import_task("pdebench/burgers_1d", [path], tmp_path / "again"))
    assert again.content_hash == whole.content_hash


def test_another_issue_of_the_file_is_noted_and_the_published_one_is_not(
    imported, tmp_path, monkeypatch
):
    name = "pdebench/burgers_1d"
    store = imported("burgers_1d")
    content = (tmp_path / "published" / PUBLISHED[name].name).read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    assert store.manifest["published"]["md5"] == md5
    (note,) = store.manifest["notes"]
    assert note.startswith(
        f"{PUBLISHED[name].name}: its MD5 sum is {md5}, but the file published today has"
    )
    exact = {name: replace(PUBLISHED[name], md5=md5)}
    monkeypatch.setattr(reader, "PUBLISHED", exact)
    folder = import_task(name, [tmp_path / "published"], tmp_path / "again")
    assert read_manifest(folder)["notes"] == []


@pytest.mark.parametrize("speed", [0.4, 0.2])
def test_advection_at_half_its_speed_is_noted(imported, speed):
    store = imported("advection_1d", speed=speed)
    assert store.manifest["published"]["speed"] == speed
    is_noted = "move at 0.2, half the stated speed" in " ".join(store.manifest["notes"])
    assert is_noted == (speed == 0.2)


def test_fields_that_do_not_move_are_no_advection(imported):
    with pytest.raises(DataError, match=r"at speed 0\.4 leaves \d+% of the outputs unexplained"):
        imported("advection_1d", speed=0.0)


@pytest.mark.parametrize(
    ("name", "stated", "fault"),
    [
        ("advection_1d", {"beta": 0.1}, "it states beta = 0.1, but the task has 0.4"),
        ("burgers_1d", {"Nu": np.array([0.001])}, "it states Nu = 0.001, but the task has 1"),
        ("diffusion_reaction_1d", {"Nu": 0.5, "rho": "10"}, "states rho = 10, but the task has 1"),
        ("navier_stokes_1d", {"eta": 0.1, "zeta": 1e-8}, "it states zeta = 1e-08"),
        ("burgers_1d", {"beta": 0.4}, "it states beta, as files of another task do"),
        ("darcy_2d", None, r"it states beta = 1, but the task has 0\.1"),
    ],
)
def test_a_file_of_another_parameter_or_task_is_refused(imported, name, stated, fault):
    with pytest.raises(DataError, match=fault):
        imported(name, **({"beta": 1.0} if stated is None else {"attributes": stated}))


def test_a_parameter_that_is_not_stated_is_noted(imported):
    store = imported("burgers_1d", attributes={"Nu": "unknown"})
    assert "it does not state `Nu`" in " ".join(store.manifest["notes"])


def change(path, key, edit) -> None:
    with h5py.File(path, "a") as file:
        array = edit(file[key][()])
        del file[key]
        if array is not None:
            file[key] = array


def broken(array: np.ndarray) -> np.ndarray:
    array[7].flat[0] = np.nan
    return array


@pytest.mark.parametrize(
    ("name", "key", "edit", "fault"),
    [
        ("burgers_1d", "t-coordinate", lambda a: None, "it has no array `t-coordinate`"),
        ("burgers_1d", "tensor", lambda a: a[..., ::2], "has 1024 points, but the fields have"),
        ("burgers_1d", "t-coordinate", lambda a: a / 2, "no first frame at time 0 and none at 2"),
        ("navier_stokes_1d", "pressure", lambda a: a[:, :4], "differ in shape"),
        ("darcy_2d", "tensor", lambda a: a[:-1], "`tensor` must be"),
        ("darcy_2d", "nu", broken, "sample 7 is not finite"),
        ("diffusion_sorption_1d", "0003/data", lambda a: None, "it has no array `0003/data`"),
        ("diffusion_sorption_1d", "0000/data", lambda a: a[0, 0], "`0000/data` must have"),
        ("shallow_water_2d", "0003/data", lambda a: a[:2], "`0003/data` is .* but the first is"),
        ("diffusion_reaction_2d", "0000/data", lambda a: a[..., :1], "with 2 channels at least"),
        ("diffusion_reaction_2d", "0000/grid/t", lambda a: a + 1, "no first frame at time 0"),
    ],
)
def test_a_file_that_is_not_as_published_is_refused(tmp_path, name, key, edit, fault):
    path = official_files.write(tmp_path / "published", name, samples=10)
    change(path, key, edit)
    with pytest.raises(DataError, match=rf"{path}: .*{fault}.*Fetch the published file again"):
        import_task(f"pdebench/{name}", [path], tmp_path)
    assert [p.name for p in (tmp_path / "data" / "pdebench" / name).iterdir()] == [".official.lock"]


@pytest.mark.parametrize(
    ("shape", "chunk", "fault"),
    [
        ((2**62, 2, 1024), (1, 2, 1024), r"`tensor` declares 37,778,931,862,957,161,709,568 by"),
        ((10**4, 100, 1024), (10**4, 100, 1024), "a chunk of `tensor` unpacks to 4,096,000,000"),
    ],
)
def test_a_file_that_declares_more_than_was_published_is_refused_unread(
    tmp_path, shape, chunk, fault
):
    path = official_files.write(tmp_path / "published", "burgers_1d")
    with h5py.File(path, "a") as file:
        del file["tensor"]
        file.create_dataset("tensor", shape, "<f4", chunks=chunk, compression="gzip")
    with pytest.raises(DataError, match=fault):
        import_task("pdebench/burgers_1d", [path], tmp_path)


def test_a_file_of_zeros_is_refused(tmp_path):
    path = official_files.write(tmp_path / "published", "burgers_1d")
    change(path, "tensor", lambda a: 0 * a)
    told = r"burgers_1d, val split: `nrmse` of no samples.*outputs zero"
    with pytest.raises(DataError, match=told):
        import_task("pdebench/burgers_1d", [path], tmp_path)


@pytest.mark.parametrize(
    ("times", "fault"),
    [
        ([0, 0.5], "has 2 times, but there are 3 frames"),
        ([0, 1.0, 2.0], "has time 1 at frame 1, but that of the first sample at frame 2"),
        ([0, 0.2, 0.4], "no first frame at time 0 and none at 1"),
    ],
)
def test_the_times_of_every_group_are_checked(tmp_path, times, fault):
    path = official_files.write(tmp_path / "published", "shallow_water_2d")
    change(path, "0007/grid/t", lambda _: np.array(times))
    with pytest.raises(DataError, match=rf"`0007/grid/t` .*{fault}|{fault}.*`0007/grid/t`"):
        import_task("pdebench/shallow_water_2d", [path], tmp_path)


def test_a_file_without_samples_is_refused(tmp_path):
    path = official_files.write(tmp_path / "published", "shallow_water_2d", samples=0)
    with pytest.raises(DataError, match="it has no sample"):
        import_task("pdebench/shallow_water_2d", [path], tmp_path)


@pytest.mark.slow
def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing_behind(tmp_path):
    path = official_files.write(tmp_path / "published", "burgers_1d")
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from trainables.tasks.importing import import_task\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "try:\n"
        "    import_task('pdebench/burgers_1d', [Path(sys.argv[1])], Path(sys.argv[2]))\n"
        "except OSError as error:\n"
        "    print(error.strerror)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "File too large"
    assert [p.name for p in (tmp_path / "data/pdebench/burgers_1d").iterdir()] == [".official.lock"]


def test_a_chunk_that_cannot_be_read_is_a_fault_of_the_file(tmp_path):
    path = official_files.write(
        tmp_path / "published", "burgers_1d", chunks=(1, 5, 1024), compression="gzip"
    )
    with h5py.File(path) as file:
        chunk = file["tensor"].id.get_chunk_info(4)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(DataError, match="`/tensor` cannot be read"):
        import_task("pdebench/burgers_1d", [path], tmp_path)


def test_a_file_of_another_task_is_not_taken_for_the_task_s(tmp_path):
    path = official_files.write(tmp_path / "published", "burgers_1d")
    with pytest.raises(DataError, match=r"no 1D_Advection_Sols_beta0\.4\.hdf5 there"):
        import_task("pdebench/advection_1d", [path], tmp_path)
    path.rename(path.with_name(PUBLISHED["pdebench/darcy_2d"].name))
    with pytest.raises(DataError, match="it states Nu, as files of another task do"):
        import_task("pdebench/darcy_2d", [tmp_path / "published"], tmp_path)


def test_the_seed_draws_the_validation_split_but_not_the_test_set(tmp_path):
    path = official_files.write(tmp_path / "published", "darcy_2d")
    one, two = (
        Store(import_task("pdebench/darcy_2d", [path], tmp_path / str(seed), seed=seed))
        for seed in (0, 1)
    )
    assert set(ids(one, "test")) == set(ids(two, "test"))
    assert set(ids(one, "val")) != set(ids(two, "val"))


def test_every_problem_as_published_has_a_layout():
    plain = [name for name in TASKS if name.startswith("pdebench/") and "@" not in name]
    assert sorted(PUBLISHED) == sorted(plain)
    assert all(len(published.md5) == 32 for published in PUBLISHED.values())
