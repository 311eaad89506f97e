import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from tests.support import real_data
from tests.support.published.nasbench360 import write_ecg
from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.nas_bench_360.ecg import read

LETTERS = "NAO~"


def records(n: int = 80) -> tuple[list[np.ndarray], list[str]]:
    rng = np.random.default_rng(0)
    series = [rng.normal(3, 50, size=rng.integers(1000, 3000)) for _ in range(n)]
    return series, [LETTERS[i % 4] for i in range(n)]


def standardised(series: list[np.ndarray]) -> list[np.ndarray]:
    return [(s - s.mean()) / s.std() for s in series]


@pytest.fixture
def published(tmp_path):
    return write_ecg(tmp_path / "published", *records())


def test_every_window_is_a_stretch_of_its_standardised_record(published, tmp_path):
    series, letters = records()
    expected = standardised(series)
    for data in read([published], tmp_path).splits.values():
        for row in range(0, len(data.y), 17):
            record, start = data.params["record"][row], data.params["start"][row]
            window = expected[record][start : start + 1000]
            np.testing.assert_allclose(data.x[row, 0], window, rtol=1e-5, atol=1e-6)
            assert LETTERS[data.y[row]] == letters[record]


def test_windows_to_train_on_are_denser_for_rare_classes_and_others_are_not(published, tmp_path):
    strides = {"train": {0: 500, 1: 83, 2: 250, 3: 25}, "val": dict.fromkeys(range(4), 500)}
    strides["test"] = strides["val"]
    series, letters = records()
    for split, data in read([published], tmp_path).splits.items():
        for record in np.unique(data.params["record"]):
            stride = strides[split][LETTERS.index(letters[record])]
            starts = sorted(data.params["start"][data.params["record"] == record])
            assert starts == list(range(0, len(series[record]) - 999, stride))


def test_no_record_is_in_two_splits_and_the_test_set_is_official_code_s(published, tmp_path):
    splits = read([published], tmp_path).splits
    members = {split: set(data.params["record"].tolist()) for split, data in splits.items()}
    _, test = train_test_split(list(range(80)), test_size=0.1, random_state=0)
    assert members["test"] == set(test)
    assert members["train"] | members["val"] == set(range(80)) - set(test)
    assert not members["train"] & members["val"]
    assert {records()[1][record] for record in members["val"]} == set(LETTERS)


@pytest.mark.slow
def test_the_last_window_of_a_record_counts_which_official_code_leaves_out(tmp_path):
    series, letters = records()
    series, letters = [np.resize(one, 9000) for one in series[:20]], letters[:20]
    imported = read([write_ecg(tmp_path, series, letters)], tmp_path)
    for split in ("val", "test"):
        assert imported.splits[split].params["record"].size > 0
        found = imported.splits[split].params
        starts = [found["start"][found["record"] == r] for r in np.unique(found["record"])]
        assert all(sorted(each) == list(range(0, 8001, 500)) for each in starts)  # 17 of them
        assert len(range(0, 9000 - 1000, 500)) == 16


def test_records_too_short_for_a_window_are_counted(tmp_path):
    series, letters = records()
    series[3] = series[3][:999]
    imported = read([write_ecg(tmp_path, series, letters)], tmp_path)
    assert imported.description == {"records_shorter_than_a_window": 1}
    used = np.concatenate([data.params["record"] for data in imported.splits.values()])
    assert set(used) == set(range(80)) - {3}


@pytest.mark.parametrize(
    ("index", "series", "letter", "fault"),
    [
        (5, np.zeros(2000), "N", "record 5 must be a finite series that is not constant"),
        (5, np.full(2000, np.nan), "N", "record 5 must be a finite series"),
        (5, np.array([]), "N", "record 5 must be a finite series"),
        (5, np.arange(2000.0), "X", r"labels must be of N, A, O, ~, but some are \['X'\]"),
    ],
)
def test_records_that_are_not_ecg_s_are_refused(tmp_path, index, series, letter, fault):
    all_series, letters = records()
    all_series[index], letters[index] = series, letter
    with pytest.raises(DataError, match=fault):
        read([write_ecg(tmp_path, all_series, letters)], tmp_path)


@pytest.mark.slow
def test_what_is_of_another_layout_is_named(tmp_path):
    series, letters = records()
    write_ecg(tmp_path, series, letters[:-1])
    with pytest.raises(DataError, match="80 records have 79 labels"):
        read([tmp_path], tmp_path)
    (tmp_path / "challenge2017.pkl").write_bytes(b"\x80\x04]\x94.")
    with pytest.raises(DataError, match="a dictionary with `data` and `label`"):
        read([tmp_path], tmp_path)
    with pytest.raises(DataError, match="too few"):
        read([write_ecg(tmp_path, series[:1], letters[:1])], tmp_path)
    short = [s[:500] for s in series]
    with pytest.raises(DataError, match="no record of the train split has 1000 points"):
        read([write_ecg(tmp_path, short, letters)], tmp_path)


def test_real_records_are_imported_and_lent_in_part(tmp_path):
    folder = write_ecg(tmp_path / "published", *real_data.ecg())
    import_task("nasbench360/ecg", [folder], tmp_path)
    task = load_task("nasbench360/ecg", DataSpec(), tmp_path)
    shares = np.bincount(task.train.y, minlength=4) / len(task.train)
    assert (shares > 0.05).all()
    assert set(task.test.y) <= set(range(4))
    some = task.train.x[np.arange(0, len(task.train), 50)]
    assert np.isfinite(some).all()
    assert 0.7 < some.std() < 1.3
    assert 0.5 < task.baselines["majority"] < 1
    part = load_task("nasbench360/ecg", DataSpec(samples=162), tmp_path)
    assert [len(part.train), len(part.test)] == [162, len(task.test)]
    assert len(np.unique(part.train.y)) == 4
