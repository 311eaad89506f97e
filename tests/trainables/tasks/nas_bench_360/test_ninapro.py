import numpy as np
import pytest

from tests.support.published.nasbench360 import write_ninapro
from trainables.errors import DataError
from trainables.tasks.nas_bench_360.ninapro import read


def test_signals_lie_electrode_by_time_with_their_labels(tmp_path):
    folder = write_ninapro(tmp_path)
    splits = read([folder], tmp_path).splits
    signals, labels = (
        np.concatenate([np.load(folder / f"{name}_{p}.npy") for p in ("train", "val", "test")])
        for name in ("ninapro", "label")
    )
    for data in splits.values():
        expected = signals[data.sample_id].transpose(0, 2, 1)[:, None]
        np.testing.assert_array_equal(data.x, expected.astype(np.float32))
        np.testing.assert_array_equal(data.y, labels[data.sample_id])


def test_the_official_validation_set_trains_too_and_the_test_set_stays(tmp_path):
    splits = read([write_ninapro(tmp_path)], tmp_path).splits
    rest = np.concatenate([splits["train"].sample_id, splits["val"].sample_id])
    assert (rest >= 90).any()
    assert sorted(splits["test"].sample_id) == list(range(110, 135))
    assert set(splits["val"].y) == set(range(18))


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("ninapro_val", np.zeros((20, 16, 52)), r"it must be \[20, 52, 16\].*is \[20, 16, 52\]"),
        ("label_val", np.zeros(19), r"it must be \[19, 52, 16\].*is \[20, 52, 16\]"),
        (
            "label_val",
            np.zeros((20, 1), int),
            r"label_val\.npy: labels must be \[n\], one a window, but are \[20, 1\]",
        ),
        ("label_val", np.full(20, 18), r"label_val\.npy: its labels must be whole.*0\.\.17"),
        ("label_val", np.full(20, 0.5), r"its labels must be whole"),
    ],
)
def test_arrays_that_are_not_ninapro_s_are_refused(tmp_path, name, array, fault):
    folder = write_ninapro(tmp_path)
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(DataError, match=fault):
        read([folder], tmp_path)
