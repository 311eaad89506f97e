from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.tasks import verification
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import MANIFEST, read_manifest, sha256, write_manifest
from trainables.tasks.store.split import SplitData
from trainables.tasks.store.store import write_store
from trainables.tasks.verification import all_recur, outputs_fit, verify_folder

LINE, DAMS, GESTURES = "pdebench/advection_1d", "pdebench/shallow_water_2d", "nasbench360/ninapro"
SIZES = {"train": 12, "val": 3, "test": 4}


def fields(points: tuple[int, ...] = (16,), seed: int = 0) -> dict[str, SplitData]:
    rng = np.random.default_rng(seed)
    splits, first = {}, 0
    for split, count in SIZES.items():
        x, y = rng.normal(size=(2, count, 1, *points)).astype(np.float32)
        splits[split] = SplitData(sample_id=first + np.arange(count), x=x, y=y)
        first += count
    return splits


def gestures() -> dict[str, SplitData]:
    labels = np.arange(18)
    splits = fields((16, 52))
    return {
        split: replace(data, y=labels[: len(data.x)].astype(np.int64))
        for split, data in splits.items()
    }


@pytest.fixture
def verified(tmp_path):
    """Write splits as data of a task, and verify them."""

    def verified(
        splits: Mapping[str, SplitData], name: str = LINE, source: str = "generated", **more
    ) -> verification.Verification:
        folder = tmp_path / "set"
        write_store(folder, splits, {"task": name, "data_source": source, **more})
        return verify_folder(folder, name)

    return verified


def test_sound_data_have_no_faults_and_nothing_to_tell(verified, tmp_path):
    found = verified(fields())
    assert (found.folder, found.faults, found.findings) == (tmp_path / "set", (), ())
    assert found.samples == SIZES
    assert found.nearest.keys() == {"val", "test"}
    assert found.nearest["test"]["looked_at"] == 4
    assert found.nearest["test"]["compared_with"] == 12
    assert found.nearest["test"]["smallest"] > 0.1


def test_every_fault_is_found_and_not_the_first_alone(verified):
    splits = gestures()
    for split, label in (("train", 18), ("test", -1)):
        splits[split].y[0] = label
    found = verified(splits, GESTURES, source="official")
    assert [Path(fault.where).name for fault in found.faults] == ["train.arrow", "test.arrow"]
    assert all("a label out of range" in fault.text for fault in found.faults)


def test_altered_bytes_of_two_splits_are_two_faults_and_the_third_is_looked_at(verified, tmp_path):
    verified(fields())
    for split in ("train", "test"):
        path = tmp_path / "set" / f"{split}.arrow"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    found = verify_folder(tmp_path / "set", LINE)
    assert ["sha256 differs" in fault.text for fault in found.faults] == [True, True]
    assert found.samples == {"val": 3}
    assert found.nearest == {}


def test_a_folder_without_a_manifest_or_of_another_task_is_a_fault(verified, tmp_path):
    verified(fields())
    (fault,) = verify_folder(tmp_path / "set", "pdebench/burgers_1d").faults
    assert fault == (str(tmp_path / "set"), f"these are data of {LINE}.")
    (tmp_path / "set" / MANIFEST).unlink()
    (fault,) = verify_folder(tmp_path / "set", LINE).faults
    assert fault.where == str(tmp_path / "set" / MANIFEST)
    assert fault.text.startswith("there is no data set here")


def test_a_number_that_is_not_finite_is_a_fault_even_if_the_manifest_agrees(verified, tmp_path):
    verified(fields())
    path = tmp_path / "set" / "val.arrow"
    content = bytearray(path.read_bytes())
    number = fields()["val"].x[1, 0, 5].tobytes()
    at = content.index(number)
    content[at : at + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    manifest = read_manifest(tmp_path / "set")
    manifest["files"]["val.arrow"]["sha256"] = sha256(path)
    del manifest["content_hash"]
    write_manifest(tmp_path / "set", manifest)
    (fault,) = verify_folder(tmp_path / "set", LINE).faults
    assert fault.where == str(path)
    assert fault.text.startswith("`x` is not finite in 1 of 3 samples, the first in row 1")


@pytest.mark.parametrize("source", ["generated", "official"])
@pytest.mark.parametrize(("name", "points"), [(LINE, (256,)), (DAMS, (128, 128))])
def test_a_sample_in_two_splits_is_a_fault_whatever_the_task(verified, source, name, points):
    splits = fields(points)
    for column in ("x", "y", "sample_id"):
        getattr(splits["test"], column)[1] = getattr(splits["train"], column)[5]
    found = verified(splits, name, source)
    assert any(
        "1 samples are in train and in test, the first of them number 5." in fault.text
        for fault in found.faults
    )


def test_an_input_that_recurs_is_a_fault_of_generated_data(verified):
    splits = fields()
    splits["val"].x[2] = splits["train"].x[0]
    (fault,) = verified(splits).faults
    assert fault.text.startswith("1 of 3 inputs of val are in train too, bit for bit.")


@pytest.mark.parametrize(
    ("name", "points", "source", "why"),
    [
        (DAMS, (128, 128), "generated", "one of 81 pictures"),
        (DAMS, (128, 128), "official", "one of 81 pictures"),
        (LINE, (256,), "official", "so they were published"),
    ],
)
def test_where_it_is_known_to_recur_it_is_a_finding(verified, name, points, source, why):
    splits = fields(points)
    splits["test"].x[:2] = splits["train"].x[0]
    found = verified(splits, name, source)
    assert found.faults == ()
    exact, near = found.findings
    assert exact.startswith("2 of 4 inputs of test are in train too, bit for bit: ")
    assert why in exact
    assert near.startswith("test: 2 of the 4 inputs looked at are within 1% of the nearest of 12")
    assert found.nearest["test"]["smallest"] < 1e-6


def test_near_duplicates_are_told_and_are_no_fault(verified):
    splits = fields()
    splits["val"].x[0] = splits["train"].x[3] + 1e-4
    found = verified(splits)
    assert found.faults == ()
    assert found.findings[0].startswith("val: 1 of the 3 inputs")
    assert found.nearest["val"]["near"] == 1


def test_the_nearest_is_found_by_the_spread_of_the_training_inputs():
    train = np.array([[0.0], [2.0]])  # spread 1
    facts = verification.nearest_of(train, np.array([[0.5], [2.25]]))
    assert facts["smallest"] == pytest.approx(0.25)
    assert facts["median"] == pytest.approx(0.375)
    assert verification.nearest_of(100 * train, np.array([[50.0]]))["smallest"] == pytest.approx(
        0.5
    )


def test_a_part_is_looked_at_however_large_the_inputs_are(monkeypatch):
    monkeypatch.setattr(verification, "COMPARED_WITH", 5)
    monkeypatch.setattr(verification, "LOOKED_AT", 3)
    monkeypatch.setattr(verification, "POINTS", 4)
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(2, 10, 1, 9, 9))
    facts = verification.nearest_of(train, held_out)
    assert (facts["looked_at"], facts["compared_with"]) == (3, 5)
    kept = np.array([0, 26, 53, 80])
    a, b = train[:5].reshape(5, -1)[:, kept], held_out[:3].reshape(3, -1)[:, kept]
    spread = np.sqrt(((a - a.mean(axis=0)) ** 2).sum(axis=1).mean())
    distances = np.linalg.norm(a[:, None] - b, axis=-1).min(axis=0) / spread
    assert facts["smallest"] == pytest.approx(distances.min())


def test_what_an_import_noted_is_told(verified):
    found = verified(fields((256,)), source="official", notes=["a.hdf5: another issue."])
    assert found.findings == ("a.hdf5: another issue.",)


def test_a_published_set_of_another_grid_is_a_fault_and_a_generated_one_is_not(verified, tmp_path):
    assert verified(fields()).faults == ()
    folder = tmp_path / "other"
    write_store(folder, fields(), {"task": LINE, "data_source": "official"})
    faults = verify_folder(folder, LINE).faults
    assert len(faults) == 3
    assert faults[0].where == str(folder / "train.arrow")
    assert faults[0].text == "inputs are [1, 16], but the task's are [1, 256]."


@pytest.mark.parametrize(
    ("name", "y", "fits"),
    [
        ("nasbench360/ninapro", np.array([0, 17]), True),
        ("nasbench360/ninapro", np.array([0, 18]), False),
        ("nasbench360/ninapro", np.array([-1, 0]), False),
        ("nasbench360/ninapro", np.zeros((2, 18)), False),
        ("nasbench360/deepsea", np.eye(36), True),
        ("nasbench360/deepsea", 2 * np.eye(36), False),
        ("nasbench360/deepsea", np.eye(35), False),
        ("nasbench360/cosmic", np.ones((1, 2, 4, 4)), True),
        ("nasbench360/cosmic", np.full((1, 2, 4, 4), 0.5), False),
        ("nasbench360/cosmic", np.ones((1, 1, 4, 4)), False),
        ("pdebench/darcy_2d", np.full((1, 1, 4, 4), 7.0), True),
        ("pdebench/darcy_2d", np.zeros((1, 1, 4, 5)), False),
    ],
)
def test_outputs_are_of_the_task_if_their_shape_and_labels_are(name, y, fits):
    assert outputs_fit(TASKS[name], y, (4, 4)) is fits


@pytest.mark.parametrize("points", [5, 3 * verification.SHORT])
def test_rows_recur_if_each_is_among_the_others_to_the_last_bit(points):
    train, test = np.random.default_rng(0).normal(size=(2, 6, 1, points)).astype(np.float32)
    assert all_recur(train[[4, 2]], [test, train])
    assert not all_recur(np.concatenate([train, test[:1]]), [train, test[1:]])
    nearly = train.copy()
    nearly[3, 0, 0] = np.nextafter(nearly[3, 0, 0], np.float32(9))  # far from the middle
    assert not all_recur(nearly, [train])
