import pickle
from pathlib import Path

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.tasks.nas_bench_360.psicov import read
from trainables.tasks.store.store import Store, write_store

NUM_TRAIN, NUM_TEST = 11, 3
PAD = 5


def protein(rng: np.random.Generator, length: int) -> tuple[dict, np.ndarray]:
    """Return features and distances: of a chain that steps 3.8 angstroms in random directions."""
    features = {
        "seq": "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)),
        "ss": rng.random((3, length)),
        "pssm": rng.normal(size=(length, 22)),
        "sa": rng.random(length),
        "entropy": rng.random(length),
        "ccmpred": rng.normal(size=(length, length)),
        "freecon": rng.normal(size=(length, length)),
        "potential": rng.normal(size=(length, length)),
    }
    steps = rng.normal(size=(length, 3))
    chain = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    return features, np.linalg.norm(chain[:, None] - chain[None], axis=-1)


def write_protein(folder: Path, name: str, features: dict, distances: np.ndarray) -> None:
    for kind in ("features", "distance"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "features" / f"{name}.pkl").write_bytes(pickle.dumps(features, protocol=2))
    objects = np.empty(3, dtype=object)
    objects[:] = [len(features["seq"]), features["seq"], distances.astype(np.float32)]
    np.save(folder / "distance" / f"{name}-cb.npy", objects, allow_pickle=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("deepcov", NUM_TRAIN), ("psicov", NUM_TEST)):
        names = [f"{number}{name[0]}" for number in range(count)]
        for number, member in enumerate(names):
            write_protein(tmp_path / "protein" / name, member, *protein(rng, 28 + number))
        lines = [f"{member} {28 + number}\n" for number, member in enumerate(names)]
        (tmp_path / "protein" / f"{name}.lst").write_text("".join(lines))
    return tmp_path / "protein"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


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
        for row, index in enumerate(data.sample_id):
            target = smoothed(stored(root, split, int(index))[1])
            inside = slice(PAD, PAD + len(target))
            if split != "test":
                target = np.minimum(target, 16)
            np.testing.assert_allclose(data.y[row, 0, inside, inside], target, rtol=1e-6)
            assert data.y[row, 1].sum() == target.size == data.y[row, 1, inside, inside].sum()
            assert not data.y[row, 0][data.y[row, 1] == 0].any()
    assert splits["test"].y.max() > 16


def test_every_protein_is_in_one_split(root, scratch):
    splits = read([root], scratch).splits
    train, val, test = (splits[split].sample_id.tolist() for split in ("train", "val", "test"))
    assert sorted(train + val) == list(range(NUM_TRAIN))
    assert len(val) == 1
    assert sorted(test) == list(range(NUM_TEST))
    assert splits["train"].params["length"].tolist() == [28 + index for index in train]


@pytest.mark.slow
def test_a_seed_says_all(root, scratch, tmp_path):
    (tmp_path / "again").mkdir()
    first, again = read([root], scratch, seed=7), read([root.parent], tmp_path / "again", seed=7)
    for split, data in first.splits.items():
        np.testing.assert_array_equal(data.x, again.splits[split].x)
        np.testing.assert_array_equal(data.sample_id, again.splits[split].sample_id)
    other = read([root], scratch, seed=8).splits["train"].sample_id
    assert again.splits["train"].sample_id.tolist() != other.tolist()


def test_distances_that_are_unknown_do_not_count(root, scratch):
    features, distances = stored(root, "test", 1)
    distances[3], distances[:, 3] = np.nan, np.nan
    write_protein(root / "psicov", "1p", features, distances)
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
    write_protein(root / "psicov", "0p", features, distances)
    (root / "psicov.lst").write_text("0p\n")
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


def far(features: dict, distances: np.ndarray) -> None:
    distances[0, 1] = 501


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            spoiled("ss", lambda ss: ss.T),
            r"0p\.pkl: `ss` must have shape \[3, 28\], but .* \[28, 3\]",
        ),
        (spoiled("pssm", None), r"0p\.pkl: `pssm` is no array of numbers"),
        (spoiled("freecon", "x"), r"0p\.pkl: `freecon` is no array of numbers"),
        (spoiled("sa", lambda sa: sa + np.nan), r"0p\.pkl: `sa` must lie within \+-100"),
        (spoiled("potential", lambda map_: map_ + 200), r"0p\.pkl: `potential` must lie within"),
        (spoiled("seq", "ACD"), r"0p\.pkl: `ss` must have shape \[3, 3\]"),
        (spoiled("seq", ""), r"0p\.pkl: `ss` must have shape \[3, 0\]"),
        (far, r"0p-cb\.npy: distances must be at most 500"),
    ],
)
def test_a_damaged_protein_is_named(root, scratch, change, fault):
    features, distances = stored(root, "test", 0)
    change(features, distances)
    write_protein(root / "psicov", "0p", features, distances)
    with pytest.raises(DataError, match=rf"{fault}.*Unpack protein\.zip anew"):
        read([root], scratch)


def test_a_feature_that_is_missing_is_named(root, scratch):
    features, distances = stored(root, "test", 0)
    del features["ccmpred"]
    write_protein(root / "psicov", "0p", features, distances)
    with pytest.raises(DataError, match=r"0p\.pkl: it has no `ccmpred`"):
        read([root], scratch)


def test_features_that_are_no_dictionary_are_named(root, scratch):
    (root / "psicov" / "features" / "0p.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match=r"0p\.pkl: it must be a dictionary with `seq`"):
        read([root], scratch)


@pytest.mark.slow
def test_distances_of_another_length_are_named(root, scratch):
    np.save(root / "psicov" / "distance" / "0p-cb.npy", np.ones((28, 28)))
    with pytest.raises(DataError, match=r"0p-cb\.npy: it must hold three objects"):
        read([root], scratch)
    _, distances = stored(root, "test", 1)
    features, _ = stored(root, "test", 0)
    write_protein(root / "psicov", "0p", features, distances)
    with pytest.raises(
        DataError, match=r"`distances` must have shape \[28, 28\], but .*\[29, 29\]"
    ):
        read([root], scratch)


@pytest.mark.parametrize(
    "missing", ["psicov.lst", "psicov/features/1p.pkl", "deepcov/distance/0d-cb.npy"]
)
def test_a_file_that_is_missing_is_named(root, scratch, missing):
    (root / missing).unlink()
    with pytest.raises(DataError, match=missing):
        read([root], scratch)


def test_an_empty_list_is_named(root, scratch):
    (root / "psicov.lst").write_text("\n")
    with pytest.raises(DataError, match=r"psicov\.lst: it names no protein"):
        read([root], scratch)
