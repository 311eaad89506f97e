import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.errors import ConfigError
from trainables.spec import DataSpec
from trainables.tasks.official import MIN_SCORED, describe, is_generated, missing, used_sizes
from trainables.tasks.task import DataDescription

NAME = "nasbench360/cifar100"
SPLITS = ("train", "val", "test")


@pytest.mark.parametrize(
    ("stored", "samples", "wanted"),
    [
        ((67, 20, 1029), 40, (40, 20, 1029)),  # ItalyPowerDemand: fewer than 30 validate as it is
        ((40, 10, 150), 30, (30, 10, 150)),  # GunPoint
        ((9000, 1000, 2000), 60, (60, 30, 2000)),  # the floor
        ((9000, 1000, 2000), 900, (900, 89, 2000)),
        ((9000, 1000, 2000), None, (9000, 1000, 2000)),
        ((9000, 1000, 2000), 9000, (9000, 1000, 2000)),
    ],
)
def test_only_training_samples_are_thinned(stored, samples, wanted):
    stored, wanted = (dict(zip(SPLITS, sizes, strict=True)) for sizes in (stored, wanted))
    assert used_sizes(NAME, stored, DataSpec(samples=samples)) == wanted


def test_both_fractions_are_those_of_all_samples():
    stored = {"train": 9000, "val": 400, "test": 2000}
    data = DataSpec(samples=500, val_fraction=0.2, test_fraction=0.3)
    assert used_sizes(NAME, stored, data) == {"train": 500, "val": 200, "test": 300}


@given(
    st.tuples(*[st.integers(1, 10**6)] * 3),
    st.integers(8, 10**6),
    st.tuples(st.floats(0.01, 0.49), st.none() | st.floats(0.01, 0.49)),
)
def test_a_part_has_what_was_asked_for_or_is_refused(sizes, samples, fractions):
    stored = dict(zip(SPLITS, sizes, strict=True))
    val, test = fractions
    data = DataSpec(samples=samples, val_fraction=val, test_fraction=test)
    if samples > stored["train"]:
        with pytest.raises(ConfigError, match=rf"only {stored['train']}: ask for fewer"):
            used_sizes(NAME, stored, data)
        return
    part = used_sizes(NAME, stored, data)
    assert part["train"] == samples
    assert all(
        min(MIN_SCORED, stored[split]) <= part[split] <= stored[split] for split in SPLITS[1:]
    )
    if test is None:
        assert part["test"] == stored["test"]


def test_nas_bench_360_is_described_as_published(tmp_path):
    described = describe("nasbench360/darcy_flow", DataSpec())
    assert described.samples == 1100
    assert described == DataDescription(
        task="nasbench360/darcy_flow",
        key="official",
        splits={"train": 900, "val": 100, "test": 100},
        resolution=85,
        x_shape=(3, 85, 85),
        y_shape=(1, 85, 85),
        bytes=4 * (3 + 1) * 85**2 * 1100,
    )


@pytest.mark.parametrize(
    ("name", "x", "y", "bytes_a_sample"),
    [
        ("cifar100", [3, 32, 32], [], 3 * 32 * 32 + 8),
        ("deepsea", [4, 1000], [36], 4 * 1000 + 4 * 36),
        ("psicov", [57, 512, 512], [2, 512, 512], 2 * (28 + 3 * 512) * 512 + 4 * 2 * 512**2),
        ("cosmic", [1, 128, 128], [2, 128, 128], 4 * 3 * 128**2),
    ],
)
def test_shapes_and_bytes_are_those_of_the_store(name, x, y, bytes_a_sample):
    facts = describe(f"nasbench360/{name}", DataSpec())
    assert (facts.x_shape, facts.y_shape) == (tuple(x), tuple(y))
    assert facts.bytes == bytes_a_sample * facts.samples


def test_fewer_samples_are_described_by_the_fractions():
    facts = describe("nasbench360/cifar100", DataSpec(samples=600))
    assert facts.splits == {"train": 600, "val": 59, "test": 10_000}
    facts = describe("nasbench360/cifar100", DataSpec(samples=486, test_fraction=0.1))
    assert facts.splits == {"train": 486, "val": 54, "test": 60}


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
