import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.errors import ConfigError
from trainables.spec import DataSpec
from trainables.tasks.official import describe, in_proportion, is_generated, missing

SPLITS = ("train", "val", "test")


@given(st.tuples(*[st.integers(1, 10**6)] * 3), st.integers(8, 10**6))
def test_every_split_lends_at_least_one_and_all_together_as_many_as_asked(sizes, samples):
    by_split = dict(zip(SPLITS, sizes, strict=True))
    lent = in_proportion(by_split, samples)
    assert sum(lent.values()) == samples
    assert min(lent.values()) >= 1
    shares = {split: samples * size / sum(sizes) for split, size in by_split.items()}
    assert all(abs(lent[split] - shares[split]) <= 2 for split in SPLITS)


@given(st.tuples(*[st.integers(3, 9)] * 3), st.integers(0, 19))
def test_no_split_lends_more_than_it_has(sizes, fewer):
    by_split = dict(zip(SPLITS, sizes, strict=True))
    samples = max(8, sum(sizes) - fewer)
    lent = in_proportion(by_split, samples)
    assert all(lent[split] <= by_split[split] for split in SPLITS), (by_split, samples, lent)


def test_all_samples_are_the_splits_themselves():
    sizes = {"train": 900, "val": 100, "test": 100}
    assert in_proportion(sizes, 1100) == sizes


def test_a_third_of_the_samples_is_a_third_of_each_split():
    assert in_proportion({"train": 900, "val": 90, "test": 300}, 430) == {
        "train": 300,
        "val": 30,
        "test": 100,
    }


def test_nas_bench_360_is_described_as_published(tmp_path):
    assert describe("nasbench360/darcy_flow", DataSpec()) | {"protocol": ""} == {
        "task": "nasbench360/darcy_flow",
        "source": "auto",
        "key": "official",
        "samples": 1100,
        "splits": {"train": 900, "val": 100, "test": 100},
        "resolution": 85,
        "shapes": {"x": [3, 85, 85], "y": [1, 85, 85]},
        "bytes": 4 * (3 + 1) * 85**2 * 1100,
        "protocol": "",
    }


@pytest.mark.parametrize(
    ("name", "x", "y", "bytes_a_sample"),
    [
        ("cifar100", [3, 32, 32], [], 3 * 32 * 32 + 8),
        ("deepsea", [4, 1000], [36], 4 * 1000 + 4 * 36),
        ("cosmic", [1, 128, 128], [2, 128, 128], 4 * 3 * 128**2),
    ],
)
def test_shapes_and_bytes_are_those_of_the_store(name, x, y, bytes_a_sample):
    facts = describe(f"nasbench360/{name}", DataSpec())
    assert facts["shapes"] == {"x": x, "y": y}
    assert facts["bytes"] == bytes_a_sample * facts["samples"]


def test_fewer_samples_are_described_in_proportion():
    facts = describe("nasbench360/cifar100", DataSpec(samples=600))
    assert facts["splits"] == {"train": 450, "val": 50, "test": 100}
    assert facts["samples"] == 600


def test_what_is_missing_comes_with_the_command_that_imports_it(tmp_path):
    said = str(missing("nasbench360/ninapro", tmp_path))
    command = "sweeper data import nasbench360/ninapro {ninapro,label}_{train,val,test}.npy"
    assert said.endswith(command)
    assert "https://drive.google.com/" in said
    assert str(tmp_path / "data" / "nasbench360" / "ninapro" / "official") in said


def test_a_task_with_a_generator_can_do_without_its_published_file(tmp_path):
    said = str(missing("pdebench/darcy_2d", tmp_path))
    assert "Set `data.source: generated`, or fetch 2D_DarcyFlow_beta0.1_Train.hdf5" in said
    assert said.endswith("data import pdebench/darcy_2d 2D_DarcyFlow_beta0.1_Train.hdf5")


def test_only_pdebench_is_generated():
    assert is_generated("pdebench/darcy_2d@hard")
    assert not is_generated("nasbench360/darcy_flow")
    with pytest.raises(ConfigError, match="There is no task `nasbench360/darcy`"):
        is_generated("nasbench360/darcy")
