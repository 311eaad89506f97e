"""`ladder`: the rungs that a file makes, the test split that they share, and what is refused."""

import numpy as np
import pytest

from sweeper.spec.arms import why_unequal, with_equal_splits
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import faults, read_again
from trainables.spec import DataSpec
from trainables.tasks.generation import Generation

TASK = "pdebench/burgers_1d"
TEXT = """\
name: ladder
methods: [nft, orca]
tasks: [pdebench/burgers_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
pruning: {type: none}
replicate: {seeds: 8}
"""
LINE = TEXT.count("\n") + 1
SAMPLES = "ladder: {data.samples: [100, 400, 1600]}\n"


def load(more: str, **options: object) -> Sweep:
    return sweep_files.load(TEXT + more, **options)


def test_every_method_is_on_every_rung_without_a_control():
    sweep = load(SAMPLES)
    assert [(study.name, study.rung) for study in sweep.studies] == [
        (f"{method}/{TASK}/data.samples={n}", rung)
        for method in ("nft", "orca") for rung, n in enumerate((100, 400, 1600))
    ]  # fmt: skip
    read_again(sweep)
    assert "ladder" not in load("search: {trials: 2}\n").resolved  # hashes of other sweeps stay


def test_keys_are_crossed_with_each_other_and_with_arms():
    sweep = load(
        "ladder: {data.samples: [100, 400], backbone.layers: [2, 4]}\n"
        "compare_by: [{method: orca}, {method: nft}, {method: nft, backbone.weights: random}]\n"
    )
    names = [study.name for study in sweep.studies]
    assert len(names) == 3 * 4
    assert f"nft/{TASK}/backbone.weights=random,data.samples=100,backbone.layers=4" in names
    assert [study.rung for study in sweep.studies if study.method == "orca"] == [0, 1, 1, 2]
    read_again(sweep)


def test_the_command_line_sets_the_levels_of_a_key():
    sweep = load(SAMPLES, sets=["ladder.data.samples=[50, 60]"])
    assert sweep.ladder == {"data.samples": [50, 60]}


def spec(n: int, *, largest: int, task: str, **data: object) -> DataSpec:
    """The data of a rung."""
    given = DataSpec(samples=n, **data).model_dump()
    return DataSpec(**with_equal_splits(task, given, {"data.samples": [n, largest]}))


@pytest.mark.parametrize("shares", [(0.09, None), (0.15, 0.2), (0.1, 0.1), (1 / 3, 0.05)])
def test_the_splits_that_score_have_the_same_size_on_all_rungs(shares):
    val, test = shares
    for largest in (64, 162, 800, 1000, 1601, 9999):
        whole = spec(largest, largest=largest, task=TASK, val_fraction=val, test_fraction=test)
        sizes = Generation.of(TASK, whole).sizes
        plain = DataSpec(samples=largest, val_fraction=val, test_fraction=test)
        assert sizes == Generation.of(TASK, plain).sizes  # the largest rung is as without a ladder
        for n in (largest // 2, largest * 3 // 4, largest - 1):
            data = spec(n, largest=largest, task=TASK, val_fraction=val, test_fraction=test)
            assert Generation.of(TASK, data).sizes == {**sizes, "train": n}


@pytest.mark.parametrize("task", ["pdebench/burgers_1d@rank", "pdebench/advection_1d@rank"])
def test_rungs_of_a_draw_have_one_test_split_and_nested_training_samples(task):
    rungs = [Generation.of(task, spec(n, largest=32, task=task, seed=7, resolution=32))
             for n in (16, 32)]  # fmt: skip
    small, large = ({split: rung.generate(part) for split, part in rung.indices().items()}
                    for rung in rungs)  # fmt: skip
    for split in ("test", "val"):
        np.testing.assert_array_equal(small[split].x, large[split].x)
        np.testing.assert_array_equal(small[split].y, large[split].y)
    np.testing.assert_array_equal(small["train"].y, large["train"].y[:16])


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("pdebench/burgers_1d@rank", None),
        ("pdebench/darcy_2d", None),
        ("pdebench/diffusion_sorption_1d", "the end of its samples"),
        ("pdebench/navier_stokes_1d", "scale its test split"),
        ("nasbench360/ecg", None),
    ],
)
def test_tasks_whose_test_split_moves_are_refused(task, why):
    found = why_unequal(task, DataSpec().model_dump())
    assert found is None if why is None else why in str(found)


def test_official_data_keep_their_test_split_on_each_rung():
    sweep = load(f"data: {{source: official}}\n{SAMPLES}")
    assert {study.data["test_fraction"] for study in sweep.studies} == {None}


def test_shares_that_an_arm_pins_are_those_of_the_ladder():
    text = "ladder: {data.samples: [100, 200]}\ncompare_by: {data.test_fraction: [0.1, 0.45]}\n"
    (told,) = faults(TEXT + text)
    assert "begins at 100 training samples, beside" in told


def test_a_share_of_a_published_test_split_is_refused():
    assert why_unequal("nasbench360/ecg", DataSpec(test_fraction=0.1).model_dump()) is not None


@pytest.mark.parametrize(
    ("levels", "fault"),
    [
        ("{refine.freeze: [none, body]}", "must be numbers above 0"),
        ("{data.samples: [true, 400]}", "must be numbers above 0"),
        ("{data.samples: [400, 100]}", "must go up"),
        ("{data.samples: [100, 100]}", "must go up"),
        ("{data.samples: [100]}", "needs 2 rungs or more"),
        ("{data.samples: []}", "needs 2 rungs or more"),
        ("{data.samples: [1, 100]}", "must be greater than or equal to 8"),
        ("{align.epochs: [5, 20]}", "`align.epochs` is of orca, but not of nft."),
        ("{data.smaples: [5, 20]}", "unknown factor `data.smaples`"),
        ("{data.samples: [16, 1600]}", "begins at 16 training samples, beside 198 that score"),
    ],
)
def test_what_is_no_ladder_is_refused(levels, fault):
    (told,) = faults(f"{TEXT}ladder: {levels}\n")
    assert told.startswith(f"x.yaml:{LINE}: ")
    assert fault in told


def test_shares_that_no_data_have_are_told_by_the_ladder_alone(tmp_path, command):
    (tmp_path / "x.yaml").write_text(f"{TEXT}ladder: {{data.samples: [50, 100, 9000]}}\n")
    told = command("validate", str(tmp_path / "x.yaml"), code=2).err
    assert "begins at 50 training samples, beside" in told


def test_a_key_of_both_a_ladder_and_arms_is_refused():
    (told,) = faults(f"{TEXT}{SAMPLES}compare_by: {{data.samples: [64, 128]}}\n")
    assert "`ladder.data.samples` is in `compare_by`, too: take one out." in told


def test_more_arms_than_allowed_are_refused():
    (told,) = faults(f"{TEXT}{SAMPLES}max_arms: 2\n")
    assert "the ladder makes 3 arms of each method and task, over `max_arms` (2)" in told
