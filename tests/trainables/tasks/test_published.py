from dataclasses import replace

import pytest

from trainables.methods.registry import METHODS
from trainables.tasks.registry import BENCHMARKS, TASKS, published_numbers

TABLES = {name: each.results for name, each in BENCHMARKS.items() if each.results is not None}


@pytest.mark.parametrize("benchmark", TABLES)
def test_every_column_is_a_task_and_every_row_is_as_long(benchmark):
    table = TABLES[benchmark]
    names = [f"{benchmark}/{task}" for task in table.tasks]
    published = [name for name, info in TASKS.items() if info.benchmark == benchmark]
    assert sorted(names) == sorted(name for name in published if "@" not in name)
    assert {len(row) for row in table.rows.values()} == {len(names)}
    assert table.units.keys() <= set(table.tasks)
    assert table.citations.keys() == table.rows.keys()
    assert table.protocols.keys() <= table.rows.keys()
    assert table.floors.keys() <= table.frames.keys() <= set(table.tasks)


def test_methods_that_we_have_go_by_our_names():
    ours = {method for table in TABLES.values() for method in table.rows} & METHODS.keys()
    assert ours == {
        *("fno", "unet", "perceiver_io", "dash", "pinn"),
        *("fpt", "nft", "orca", "mona", "pare", "recraft"),
    }


def test_percents_are_read_as_the_metric_s_share():
    assert published_numbers("nasbench360/cifar100")["orca"].value == pytest.approx(0.0653)
    assert published_numbers("nasbench360/satellite")["pare"].value == pytest.approx(0.1118)
    assert published_numbers("nasbench360/darcy_flow")["nas-bench-360"].value == 2.6e-3
    assert published_numbers("nasbench360/psicov")["mona"].value == 0.99
    errors = [
        number.value
        for task in TASKS
        for number in published_numbers(task).values()
        if number.metric.startswith(("zero_one", "one_minus"))
    ]
    assert len(errors) == 8 * 9
    assert max(errors) < 1


def test_a_number_comes_with_its_metric_protocol_and_source():
    number = published_numbers("pdebench/burgers_1d")["pare"]
    assert (number.task, number.method, number.value) == ("pdebench/burgers_1d", "pare", 8.3e-3)
    assert number.metric == "nrmse"
    assert number.protocol.startswith("one-shot")
    assert number.citation == "Cai et al., ICML 2024"


def test_numbers_of_two_protocols_are_told_apart():
    numbers = published_numbers("pdebench/advection_1d")
    apart = {method for method, number in numbers.items() if "autoregressive" in number.protocol}
    assert apart == {"pinn", "fno", "unet"}


def test_numbers_that_are_not_read_in_a_paper_are_marked_so():
    number = published_numbers("nasbench360/darcy_flow")["recraft"]
    assert (number.value, number.metric) == (7.2e-3, "relative_l2")
    assert number.citation.endswith("as a leaderboard reports it")
    assert "recraft" not in published_numbers("nasbench360/ecg")


def test_what_is_not_printed_is_not_there():
    assert "unet" not in published_numbers("pdebench/darcy_2d")
    assert published_numbers("pdebench/darcy_2d@hard") == {}
    plain = [task for task in TASKS if "@" not in task]
    assert sum(len(published_numbers(task)) for task in plain) == 9 * 10 + 6 * 8 - 2 + 7


FINE_TUNED = {"orca", "mona", "pare", "recraft"}  # cross-modally, on PDEBench
FLOORS = {
    "shallow_water_2d": 5.70e-3,
    "diffusion_reaction_1d": 2.735e-3,
    "diffusion_sorption_1d": 3.04e-3,
    "diffusion_reaction_2d": 6.6e-3,
}


@pytest.mark.parametrize("problem", FLOORS)
def test_the_floor_of_the_protocol_stands_beside_the_one_shot_scores(problem):
    numbers = dict(published_numbers(f"pdebench/{problem}"))
    one_shot = {method: numbers.pop(method) for method in numbers.keys() & FINE_TUNED}
    for number in one_shot.values():
        assert number.floor == FLOORS[problem]
        assert "tested on frame 99" in number.protocol
        assert f"scores {FLOORS[problem]:g} on frame 99" in number.remark
        assert "used ORCA's released loader is an inference" in number.remark
        at_floor = abs(number.value / number.floor - 1) < 0.1
        assert at_floor == ("cannot rank methods" in number.remark)
    assert {(number.floor, number.remark) for number in numbers.values()} == {(None, "")}
    paired = published_numbers(f"pdebench/{problem}@orca")
    assert {m: replace(n, task=f"pdebench/{problem}") for m, n in paired.items()} == {
        **numbers,
        **one_shot,
    }


@pytest.mark.parametrize(
    ("problem", "frames"),
    [
        ("advection_1d", "one-shot, frame 200 of 0..200 in all splits"),
        ("navier_stokes_1d", "one-shot, frame 100 of 0..100 in all splits"),
        ("shallow_water_2d", "one-shot, trained on frame 100 of 0..100, tested on frame 99"),
        ("diffusion_reaction_1d", "one-shot, tested on frame 99 of 0..100 (the released loader"),
    ],
)
def test_one_shot_scores_name_their_frames(problem, frames):
    number = published_numbers(f"pdebench/{problem}")["orca"]
    assert number.protocol.startswith(frames)
    assert (number.floor is None) == (problem not in FLOORS)
