import h5py
import numpy as np
import pytest
import scipy.io

from tests.support.published.nasbench360 import darcy_fields, write_darcy_flow
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.nas_bench_360.darcy_flow import read

FILES = [f"piececonst_r421_N1024_smooth{number}.mat" for number in (1, 2)]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_darcy_flow(tmp_path_factory.mktemp("darcy"))


@pytest.fixture(scope="module")
def imported(published):
    return read([published], published)


@pytest.mark.slow
def test_outputs_are_every_fifth_point_in_their_own_unit(imported):
    fields = {0: darcy_fields(12, 1)["sol"], 12: darcy_fields(4, 2)["sol"]}
    solutions = np.concatenate(list(fields.values()))[:, None, ::5, ::5]
    for data in imported.splits.values():
        assert data.y.shape[1:] == (1, 85, 85)
        np.testing.assert_array_equal(data.y, solutions[data.sample_id].astype(np.float32))


def test_the_coefficient_is_standardised_point_by_point_by_the_training_fields(imported):
    coefficient = darcy_fields(12, 1)["coeff"][:, ::5, ::5]
    train = imported.splits["train"]
    expected = coefficient[train.sample_id]
    mean, std = expected.mean(axis=0), expected.std(axis=0) + 1e-5
    for split in ("train", "val"):
        data = imported.splits[split]
        standard = (coefficient[data.sample_id] - mean) / std
        np.testing.assert_allclose(data.x[:, 0], standard, rtol=1e-4, atol=1e-4)
    normalization = imported.description["normalization"]
    np.testing.assert_allclose(normalization["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(normalization["std"], std, rtol=1e-5)


def test_the_other_channels_are_the_coordinates_across_and_down(imported):
    across, down = imported.splits["val"].x[0, 1:]
    np.testing.assert_allclose(across[40], np.arange(85) / 84, atol=1e-6)
    np.testing.assert_array_equal(down, across.T)


def test_fields_to_test_on_are_those_of_the_second_file(imported):
    sizes = {split: len(data.y) for split, data in imported.splits.items()}
    assert sizes == {"train": 11, "val": 1, "test": 4}
    assert sorted(imported.splits["test"].sample_id) == [12, 13, 14, 15]


def test_a_file_of_version_7_3_holds_the_same(imported, tmp_path):
    for number, name in enumerate(FILES, start=1):
        with h5py.File(tmp_path / name, "w", userblock_size=512) as file:
            for key, array in darcy_fields((12, 4)[number - 1], number).items():
                file[key] = array.T  # MATLAB counts columns first
        content = (tmp_path / name).read_bytes()
        head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        (tmp_path / name).write_bytes(head + content[128:])
    again = read([tmp_path], tmp_path)
    for split, data in imported.splits.items():
        np.testing.assert_array_equal(again.splits[split].x, data.x)
        np.testing.assert_array_equal(again.splits[split].y, data.y)


def test_a_broken_file_of_version_7_3_is_no_hdf5_file(tmp_path):
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    for name in FILES:
        (tmp_path / name).write_bytes(head.ljust(512))
    with pytest.raises(DataError, match=r"smooth1\.mat: it is no HDF5 file \(512 bytes\)"):
        read([tmp_path], tmp_path)


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"coeff": np.zeros((2, 421, 421))}, "it is no MATLAB file with `sol`"),
        ({"coeff": np.zeros((2, 100, 100)), "sol": np.zeros((2, 100, 100))}, r"is \[2, 20, 20\]"),
        ({"coeff": np.zeros((2, 421, 421)), "sol": np.zeros((3, 421, 421))}, "differ"),
        ({"coeff": np.zeros((4, 4)), "sol": np.zeros((4, 4))}, "it is no MATLAB file with `coeff`"),
    ],
)
def test_arrays_that_are_not_published_are_refused(tmp_path, arrays, fault):
    for name in FILES:
        scipy.io.savemat(tmp_path / name, arrays, do_compression=True)
    with pytest.raises(DataError, match=fault):
        read([tmp_path], tmp_path)


@pytest.mark.parametrize("content", [b"", b"noise", b"noise" * 100])
def test_what_is_no_matlab_file_is_named(tmp_path, content):
    for name in FILES:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"smooth1\.mat: it is no MATLAB file"):
        read([tmp_path], tmp_path)


def test_the_imported_task_has_the_baselines_of_a_field(published, tmp_path):
    import_task("nasbench360/darcy_flow", [published], tmp_path)
    task = load_task("nasbench360/darcy_flow", DataSpec(), tmp_path)
    assert task.output_shape == (1, 85, 85)
    mean = task.train.y.mean(axis=0)
    errors = [np.linalg.norm(mean - y) / np.linalg.norm(y) for y in task.test.y]
    assert task.baselines == {"mean": pytest.approx(np.mean(errors), rel=1e-5)}
    mean, std = task.output_unit
    assert mean == pytest.approx(task.train.y.mean())
    assert std == pytest.approx(task.train.y.std())
