"""ECG: heart rhythm, normal (N), atrial fibrillation (A), other (O) or too noisy (~).

Clifford et al., "AF Classification from a Short Single Lead ECG Recording", CinC 2017; as a task,
Hong et al., "MINA", IJCAI 2019, and Tu et al., "NAS-Bench-360", NeurIPS 2022.

    x  a window of 1000 points of a record of mean 0 and deviation 1    [1, 1000]
    y  the class of the record: N, A, O, ~                              0..3

The file is challenge2017.pkl, a pickle of {data: one series per record, label: one letter per
record}.

The test set is a tenth of the records, drawn as in official code (scikit-learn's split with seed
0). The validation split is a tenth of each class of the other records. Windows start every 500
points. Training windows of N, A, O and ~ start every 500 / (1, 6, 2, 20) points, so that rare
classes are more frequent. Official code cuts its test set in the same way, and thereby counts
records of rare classes many times. It also omits a window that ends with its record: of 9000
points, the most frequent length, it makes 16 windows, this reader 17.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.files import damaged, finds, shown
from trainables.tasks.formats.restricted_pickle import load_pickle
from trainables.tasks.splitting import hold_out_of_each, shuffled
from trainables.tasks.store.arrays import scratch_array
from trainables.tasks.store.split import SplitData

FILE = "challenge2017.pkl"
CLASSES = ("N", "A", "O", "~")
WINDOW, STRIDE = 1000, 500
DENSITIES = (1, 6, 2, 20)  # relative densities of training windows by class
TEST_SHARE = 0.1
_damaged = partial(damaged, hint=f"Fetch {FILE} again")

find = finds(FILE)


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read the records and cut them into windows. No record is in two splits.

    Raises:
        DataError: The file is missing, has another layout, or has too few records.
    """
    (path,) = find(files).values()
    records, classes = _read_records(path)
    rest, test = _split_off_test(path, len(records))
    parts = hold_out_of_each(classes[rest], seed, "ecg", "train")
    members = {"train": rest[parts["train"]], "val": rest[parts["val"]], "test": test}
    # Records are split before they are cut, so that overlapping windows stay in one split.
    first, splits = 0, {}
    for split, chosen in members.items():
        densities = DENSITIES if split == "train" else (1,) * len(CLASSES)
        # In the order of the file, so that numbers of windows do not depend on the shuffled order
        # of the records.
        strides = {int(i): STRIDE // densities[classes[i]] for i in np.sort(chosen)}
        windows = np.array([*_windows(records, strides)], dtype=np.int64).reshape(-1, 2)
        order = shuffled(len(windows), seed, "ecg", split)
        if not len(order):
            raise _damaged(path, f"no record of the {split} split has {WINDOW} points")
        of_record, start = windows[order].T
        x = scratch_array(scratch / f"ecg-{split}.raw", (len(order), 1, WINDOW), np.float32)
        for row, (record, point) in enumerate(zip(of_record, start, strict=True)):
            x[row, 0] = records[record][point : point + WINDOW]
        splits[split] = SplitData(
            sample_id=first + order,
            x=x,
            y=classes[of_record],
            params={"record": of_record, "start": start},
        )
        first += len(order)
    too_short = sum(len(record) < WINDOW for record in records)
    return ImportedSplits(splits, {"records_shorter_than_a_window": too_short})


def _read_records(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the standardised records and their classes [n]."""
    stored = load_pickle(path)
    if not isinstance(stored, dict) or not {"data", "label"} <= stored.keys():
        raise _damaged(path, "it must hold a dictionary with `data` and `label`")
    if not all(isinstance(stored[key], list | tuple | np.ndarray) for key in ("data", "label")):
        raise _damaged(path, "`data` and `label` must be lists, of as many records as letters")
    letters = [str(letter) for letter in stored["label"]]
    if len(letters) != len(stored["data"]):
        raise _damaged(path, f"{len(stored['data'])} records have {len(letters)} labels")
    if strangers := sorted(set(letters) - set(CLASSES)):
        raise _damaged(
            path, f"labels must be of {', '.join(CLASSES)}, but some are {shown(str(strangers))}"
        )
    records = []
    for index, series in enumerate(stored["data"]):
        try:
            record = np.asarray(series, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise _damaged(path, f"record {index} is no series of numbers ({error})") from error
        # An overflow gives no warning here, since the check below refuses such a record.
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = record.std() if record.ndim == 1 and len(record) else 0.0
        if not 0 < deviation < np.inf:
            raise _damaged(path, f"record {index} must be a finite series that is not constant")
        records.append(((record - record.mean()) / deviation).astype(np.float32))
    return records, np.array([CLASSES.index(letter) for letter in letters])


def _split_off_test(path: Path, records: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    if records < 2:
        raise _damaged(path, f"{records} records are too few for a training and a test set")
    rest, test = train_test_split(np.arange(records), test_size=TEST_SHARE, random_state=0)
    return rest, test


def _windows(
    records: Sequence[np.ndarray], strides: Mapping[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield (record, first point) of every complete window.

    `strides` has the distance of windows, by record.
    """
    for index, stride in strides.items():
        for start in range(0, len(records[index]) - WINDOW + 1, stride):
            yield index, start
