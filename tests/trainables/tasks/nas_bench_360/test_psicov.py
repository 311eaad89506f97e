import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.support.published.nasbench360 import protein, write_protein, write_psicov
from trainables.errors import DataError
from trainables.tasks.nas_bench_360.psicov import read
from trainables.tasks.store.store import Store, write_store

NUM_TRAIN, NUM_TEST = 11, 3
PAD = 5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sizes = {"train": NUM_TRAIN, "test": NUM_TEST}
    return write_psicov(tmp_path / "protein", **sizes, shortest=28, longer=1)


def stored(root: Path, split: str, index: int) -> tuple[dict, np.ndarray]:
    folder = root / ("psicov" if split == "test" else "deepcov")
    name = (root / f"{folder.name}.lst").read_text().splitlines()[index].split()[0]
    features = pickle.loads((folder / "features" / f"{name}.pkl").read_bytes())
    objects = np.load(folder / "distance" / f"{name}-cb.npy", allow_pickle=True)
    return features, objects[2].astype(np.float64)


def image_of(features: dict) -> np.ndarray:
    """Return the 57 channels in the order of PDNET's loader: [57, L, L]."""
    length = len(features["seq"])
    channels = []
    for numbers in (*features["ss"], *features["pssm"].T, features["sa"], features["entropy"]):
        across = np.tile(numbers, (length, 1))
        channels += [across, across.T]
    return np.stack([*channels, features["ccmpred"], features["freecon"], features["potential"]])


def smoothed(distances: np.ndarray) -> np.ndarray:
    """Return PDNET's target: at least 1, and its diagonal the mean of the two beside it."""
    target = np.maximum(distances, 1)
    last = len(target) - 1
    target[0, 0], target[last, last] = target[0, 1], target[last, last - 1]
    for q in range(1, last):
        target[q, q] = (target[q, q - 1] + target[q, q + 1]) / 2
    return target


@pytest.mark.slow
def test_a_store_yields_the_features_of_every_pair(root, scratch, tmp_path):
    imported = read([root], scratch)
    write_store(tmp_path / "data" / "official", imported.splits, imported.description)
    store = Store(tmp_path / "data" / "official")
    store.verify()
    for split in ("train", "val", "test"):
        data = getattr(store, split)
        assert data.x.shape[1:] == (57, 512, 512)
        assert data.y.shape[1:] == (2, 512, 512)
    for split, row in (("train", 0), ("val", 0), ("test", 2)):
        data, ids = getattr(store, split), store.columns(split)["sample_id"]
        image = image_of(stored(root, split, int(ids[row]))[0])
        inside = slice(PAD, PAD + image.shape[1])
        read_image = data.x[np.array([row])][0]
        np.testing.assert_allclose(read_image[:, inside, inside], image, rtol=1e-3, atol=1e-3)
        read_image[:, inside, inside] = 0
        assert not read_image.any()


def test_targets_are_the_distances_and_clipped_only_to_train_on(root, scratch):
    splits = read([root], scratch).splits
    for split, data in splits.items():
        assert data.params["length"].tolist() == [28 + index for index in data.sample_id.tolist()]
        for row, index in enumerate(data.sample_id):
            target = smoothed(stored(root, split, int(index))[1])
            inside = slice(PAD, PAD + len(target))
            if split != "test":
                target = np.minimum(target, 16)
            np.testing.assert_allclose(data.y[row, 0, inside, inside], target, rtol=1e-6)
            assert data.y[row, 1].sum() == target.size == data.y[row, 1, inside, inside].sum()
            assert not data.y[row, 0][data.y[row, 1] == 0].any()
    assert splits["test"].y.max() > 16


def test_distances_that_are_unknown_do_not_count(root, scratch):
    features, distances = stored(root, "test", 1)
    distances[3], distances[:, 3] = np.nan, np.nan
    write_protein(root / "psicov", "psicov1", features, distances)
    data = read([root], scratch).splits["test"]
    value, known = data.y[data.sample_id.tolist().index(1)][:, PAD : PAD + 29, PAD : PAD + 29]
    unknown = np.zeros((29, 29), dtype=bool)
    unknown[3], unknown[:, 3] = True, True
    unknown[3, 3] = False  # it has a value by convention, as PDNET gives it
    np.testing.assert_array_equal(known == 0, unknown)
    np.testing.assert_array_equal(value == 0, unknown)
    assert (value[2, 2], value[3, 3]) == (value[2, 1], 1)  # of the neighbour that is known; of none


@pytest.mark.slow
def test_of_a_protein_that_is_too_long_a_stretch_is_taken(root, scratch, tmp_path):
    features, distances = protein(np.random.default_rng(1), 600)
    write_protein(root / "psicov", "psicov0", features, distances)
    (root / "psicov.lst").write_text("psicov0\n")
    starts = []
    for seed in range(3):
        data = read([root], scratch, seed=seed).splits["test"]
        numbers = np.asarray(data.x[0, 25, PAD:-PAD], dtype=np.float64)  # `sa`
        windows = np.lib.stride_tricks.sliding_window_view(features["sa"], 502)
        starts.append(int(np.abs(windows - numbers).sum(1).argmin()))
        part = slice(starts[-1], starts[-1] + 502)
        np.testing.assert_allclose(numbers, features["sa"][part], atol=1e-3)
        np.testing.assert_allclose(
            data.y[0, 0, PAD:-PAD, PAD:-PAD], smoothed(distances)[part, part], rtol=1e-6
        )
        assert data.params["length"].tolist() == [600]
    assert len(set(starts)) == 3


def spoiled(key: str, value):
    def change(features: dict, distances: np.ndarray) -> None:
        features[key] = value(features[key]) if callable(value) else value

    return change


def without(features: dict, distances: np.ndarray) -> None:
    del features["ccmpred"]


def far(features: dict, distances: np.ndarray) -> None:
    distances[0, 1] = 501


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            spoiled("ss", lambda ss: ss.T),
            r"psicov0\.pkl: `ss` must have shape \[3, 28\], but .* \[28, 3\]",
        ),
        (spoiled("pssm", None), r"psicov0\.pkl: `pssm` is no array of numbers"),
        (spoiled("freecon", "x"), r"psicov0\.pkl: `freecon` is no array of numbers"),
        (spoiled("sa", lambda sa: sa + np.nan), r"psicov0\.pkl: `sa` must lie within \+-100"),
        (spoiled("potential", lambda map_: map_ + 200), r"psicov0\.pkl: `potential` must lie"),
        (spoiled("seq", "ACD"), r"psicov0\.pkl: `ss` must have shape \[3, 3\]"),
        (spoiled("seq", ""), r"psicov0\.pkl: `ss` must have shape \[3, 0\]"),
        (without, r"psicov0\.pkl: it has no `ccmpred`"),
        (far, r"psicov0-cb\.npy: distances must be at most 500"),
    ],
)
def test_a_damaged_protein_is_named(root, scratch, change, fault):
    features, distances = stored(root, "test", 0)
    change(features, distances)
    write_protein(root / "psicov", "psicov0", features, distances)
    with pytest.raises(DataError, match=rf"{fault}.*Unpack protein\.zip anew"):
        read([root], scratch)


@pytest.mark.slow
def test_features_and_distances_of_another_layout_are_named(root, scratch):
    pickled = root / "psicov" / "features" / "psicov0.pkl"
    stored_features = pickled.read_bytes()
    pickled.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match=r"psicov0\.pkl: it must be a dictionary with `seq`"):
        read([root], scratch)
    pickled.write_bytes(stored_features)
    np.save(root / "psicov" / "distance" / "psicov0-cb.npy", np.ones((28, 28)))
    with pytest.raises(DataError, match=r"psicov0-cb\.npy: it must hold three objects"):
        read([root], scratch)
    _, distances = stored(root, "test", 1)
    features, _ = stored(root, "test", 0)
    write_protein(root / "psicov", "psicov0", features, distances)
    with pytest.raises(
        DataError, match=r"`distances` must have shape \[28, 28\], but .*\[29, 29\]"
    ):
        read([root], scratch)


def test_an_empty_list_is_named(root, scratch):
    (root / "psicov.lst").write_text("\n")
    with pytest.raises(DataError, match=r"psicov\.lst: it names no protein"):
        read([root], scratch)
