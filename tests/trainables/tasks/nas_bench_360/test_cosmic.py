import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.published.nasbench360 import write_cosmic, write_images
from trainables.errors import DataError
from trainables.tasks.nas_bench_360.cosmic import read

NUM_TRAIN, NUM_TEST = 12, 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cosmic(tmp_path / "cosmic", train=NUM_TRAIN, test=NUM_TEST)


def images(root: Path, part: str) -> list[Path]:
    found = (root / f"npy_{part}").rglob("*_*.npy")
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def assert_equal(left, right) -> None:
    for split in ("train", "val", "test"):
        a, b = left.splits[split], right.splits[split]
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.sample_id, b.sample_id)
    assert left.description == right.description


def test_a_window_of_each_image_gets_its_share_of_the_sky(root, scratch):
    imported = read([root], scratch)
    scaling = imported.description["normalization"]
    for split, part in (("train", "train"), ("val", "train"), ("test", "test")):
        data = imported.splits[split]
        assert data.x.shape[1:] == (1, 128, 128)
        for row, index in enumerate(data.sample_id):
            path = images(root, part)[index]
            planes = np.load(path)[:, 64:192, 64:192]
            sky = np.load(path.with_name("sky.npy"))[int(path.name.split("_")[0]) - 1]
            added = data.params["sky_added"][row]
            assert -0.9 * sky <= added <= 3 * sky
            expected = (planes[0] + added - scaling["mean"]) / scaling["scale"]
            np.testing.assert_allclose(data.x[row, 0], expected, atol=1e-5)
            np.testing.assert_array_equal(data.y[row], planes[1:])


def test_training_pixels_have_mean_zero_and_deviation_one(root, scratch):
    imported = read([root], scratch)
    train = np.asarray(imported.splits["train"].x, dtype=np.float64)
    np.testing.assert_allclose([train.mean(), train.std()], [0, 1], atol=1e-5)
    assert abs(imported.splits["val"].x.mean()) > 1e-3  # by training pixels alone


@pytest.mark.slow
def test_archives_read_as_the_folder_does(root, scratch, tmp_path):
    archives = [tmp_path / "tars" / f"deepCR.ACS-WFC.{part}.tar" for part in ("train", "test")]
    archives[0].parent.mkdir()
    for path, part in zip(archives, ("train", "test"), strict=True):
        with tarfile.open(path, "w") as archive:
            archive.add(root / f"npy_{part}", arcname=f"./npy_{part}")
    (tmp_path / "again").mkdir()
    (tmp_path / "once more").mkdir()
    unpacked = read([root], scratch)
    assert_equal(unpacked, read(archives, tmp_path / "again"))
    assert_equal(unpacked, read([archives[0].parent], tmp_path / "once more"))


def test_other_filters_and_fields_are_left_out(root, scratch, tmp_path):
    write_images(root, "train", 4, visits=("10595/2", "10631/3"))  # a cluster, a blank field
    (root / "npy_test" / "f606w" / "10760").mkdir(parents=True)
    (root / "npy_test" / "f435w" / "10760" / "2").rename(
        root / "npy_test" / "f606w" / "10760" / "2"
    )
    splits = read([root], scratch).splits
    assert len(splits["train"].x) + len(splits["val"].x) == NUM_TRAIN
    assert len(splits["test"].x) == NUM_TEST / 2


def test_lists_are_heeded_where_the_folder_has_them(root, scratch):
    for part, count in (("train", 5), ("test", 2)):
        listed = [f"./cosmic/{path.relative_to(root)}" for path in images(root, part)[-count:]]
        np.save(root / f"{part}_dirs.npy", listed[::-1])
    splits = read([root], scratch).splits
    assert [len(splits[split].x) for split in ("train", "val", "test")] == [4, 1, 2]
    first = images(root, "test")[-2:][int(splits["test"].sample_id[0])]
    np.testing.assert_array_equal(splits["test"].y[0, 0], np.load(first)[1, 64:192, 64:192])


def test_an_image_without_an_ignored_plane_ignores_nothing(tmp_path, scratch):
    write_images(tmp_path, "train", 4, planes=2)
    write_images(tmp_path, "test", 2, planes=2)
    splits = read([tmp_path], scratch).splits
    assert not any(data.y[:, 1].any() for data in splits.values())
    assert all(data.y[:, 0].any() for data in splits.values())


def test_a_visit_without_sky_is_left_as_it_is(root, scratch):
    for path in root.rglob("sky.npy"):
        path.unlink()
    assert not any(data.params["sky_added"].any() for data in read([root], scratch).splits.values())


def damage(root: Path, change) -> Path:
    path = images(root, "test")[1]
    planes = np.load(path)
    np.save(path, change(planes))
    return path


def spoiled(plane: int, value: float):
    def change(planes: np.ndarray) -> np.ndarray:
        planes[plane, 100, 100] = value
        return planes

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (spoiled(0, np.nan), "it is not finite"),
        (spoiled(0, np.inf), "it is not finite"),
        (spoiled(1, 0.5), "other values than 0 and 1"),
        (spoiled(2, 2), "other values than 0 and 1"),
        (lambda planes: planes[:, :100], r"must be \[2 or 3, 256, 256\], but is \[3, 100, 256\]"),
        (lambda planes: planes[:1], r"but is \[1, 256, 256\]"),
        (lambda planes: planes[0], r"but is \[256, 256\]"),
        (lambda planes: planes.astype(str), "it must hold numbers, but holds <U"),
    ],
)
def test_a_damaged_image_is_named(root, scratch, change, fault):
    path = damage(root, change)
    with pytest.raises(DataError, match=rf"{path.name}: .*{fault}.*Fetch"):
        read([root], scratch)


def test_a_sky_without_the_image_is_named(root, scratch):
    for path in (root / "npy_train").rglob("sky.npy"):
        np.save(path, [1.0])
    with pytest.raises(DataError, match=r"sky\.npy: it has 1 levels, and no finite one of image"):
        read([root], scratch)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_set_that_is_missing_is_asked_for(root, scratch, part):
    (root / f"npy_{part}").rename(root / "elsewhere")
    with pytest.raises(DataError, match=rf"no image of the {part} set.*deepCR\.ACS-WFC\.{part}"):
        read([root], scratch)


def test_a_listed_image_that_is_missing_is_named(root, scratch):
    np.save(root / "train_dirs.npy", ["./cosmic/npy_train/f435w/1/2/9_x.npy"])
    with pytest.raises(DataError, match=r"lists 1 images that are not there, the first npy_train/"):
        read([root], scratch)


def test_one_image_is_no_training_set(tmp_path, scratch):
    write_images(tmp_path, "train", 1)
    write_images(tmp_path, "test", 1)
    with pytest.raises(DataError, match="1 training samples, but two at least"):
        read([tmp_path], scratch)
