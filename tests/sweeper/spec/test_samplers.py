"""Grids, the choice of `auto`, and what a file is told about its sampler."""

from typing import Any

import pytest

from sweeper.spec.distributions import Choice, Float, Int
from sweeper.spec.samplers import (
    GP_TRIALS,
    MAX_POINTS,
    at_random,
    choose,
    continuous,
    grid,
    in_large_studies,
    numeric,
    values_of,
)
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files

TEXT = """\
name: s
methods: [orca, mona]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  align.distance: {values: [otdd_exact, mmd]}
  align.kernels: {min: 1, max: 4, when: {align.distance: mmd}}
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
fixed: {refine.epochs: 8}
search: {trials: 40, sampler: SAMPLER}
"""
GRID = TEXT.replace("{distribution: log_uniform_values, min: 1e-6, max: 1e-3}",
                    "{values: [1e-5, 1e-4, 1e-3]}")  # fmt: skip
LR = Float(low=1e-6, high=1e-3, log=True)


def load(sampler: str, text: str = TEXT, more: str = "", **options: Any) -> Sweep:
    return sweep_files.load(text.replace("SAMPLER", sampler) + more, **options)


def faults(sampler: str, text: str = TEXT, more: str = "") -> list[str]:
    return sweep_files.faults(text.replace("SAMPLER", sampler) + more)


def test_a_grid_has_every_combination_of_active_parameters_once():
    space = {
        "a": Choice(values=("x", "y")),
        "b": Int(low=1, high=5, step=2),
        "c": Float(low=0, high=1, step=0.25, when={"a": ("x",)}),
    }
    points = grid(space)
    assert len(points) == 3 * 5 + 3
    assert len({tuple(p.items()) for p in points}) == len(points)
    assert all(("c" in p) == (p["a"] == "x") for p in points)
    assert all(space[name].contains(value) for p in points for name, value in p.items())
    assert values_of(LR) is None
    assert continuous({**space, "refine.lr": LR}) == ("refine.lr",)
    assert grid({}) == ({},)


def test_a_huge_grid_is_not_counted_to_its_end():
    assert len(grid({str(k): Int(low=0, high=9) for k in range(12)})) == MAX_POINTS + 1


def test_a_study_has_no_more_trials_than_its_grid():
    sweep = load("grid", GRID)
    orca, mona = sweep.studies
    assert (orca.num_trials, mona.num_trials) == (2 + 3 * (1 + 4), 2 + 3)
    assert sweep.notes == (
        "`orca/pdebench/advection_1d`: the grid has 15 points, so that the study has 17 trials, "
        "and not 40.",
        "`mona/pdebench/advection_1d`: the grid has 3 points, so that the study has 5 trials, and "
        "not 40.",
    )
    fewer = load("grid", GRID, trials=10)
    assert [study.num_trials for study in fewer.studies] == [10, 5]
    assert "15 points, of which 8 are tried, in a random order" in fewer.notes[0]
    sweep_files.read_again(fewer)


def test_a_grid_without_steps_is_a_fault_of_each_parameter():
    assert faults("grid") == [
        "x.yaml:9: `parameters.refine.lr` is continuous, so that `search.sampler: grid` needs "
        "its `values` or a step `q`."
    ]
    assert faults("grid", GRID, "stages: {align: {distinct: 2}}\n") == [
        "x.yaml:12: `stages.align.distinct` is drawn at random, but `search.sampler: grid` "
        "tries every combination: take one out."
    ]
    huge = GRID.replace("[1e-5, 1e-4, 1e-3]", f"{[k / 1e7 for k in range(1, 2002)]}")
    huge = huge.replace("mmd}}", "[mmd, otdd_exact]}}")
    (fault,) = faults("grid", huge)
    assert fault.startswith("x.yaml:11: the grid of `orca` has over 10000 points: search fewer")


def test_cmaes_needs_two_numbers_and_says_what_it_draws_at_random():
    assert faults("cmaes")[0] == (
        "x.yaml:11: `search.sampler: cmaes` needs two numbers without a condition, but `orca` "
        "searches 1: write `tpe`."
    )
    text = TEXT.replace("methods: [orca, mona]", "methods: [orca]") + ("data: {samples: 64}\n")
    text = text.replace("  refine.lr", "  refine.weight_decay: {min: 0.0, max: 1.0}\n  refine.lr")
    assert load("cmaes", text).notes == (
        "`search.sampler: cmaes` draws at random, since they are choices or have a condition: "
        "`align.distance`, `align.kernels`. `tpe` learns them.",
    )
    assert load("gp", text).notes == (
        "`search.sampler: gp` draws at random, since they have a condition: `align.kernels`. "
        "`tpe` learns them.",
    )


def test_a_gaussian_process_of_too_many_steps_is_a_fault():
    text = """\
name: s
program: {command: [train, "{lr}", "{data_seed}"], metric: loss}
parameters: {lr: {min: 0.1, max: 1.0}, data_seed: {min: 0, max: 2147483647}}
search: {trials: 40, sampler: SAMPLER}
"""
    (fault,) = faults("gp", text)
    assert "has over 1,000,000 steps, all of which `gp` holds in memory" in fault


def test_auto_says_what_it_chooses():
    assert load("auto").notes == (
        "`search.sampler: auto` draws `orca/pdebench/advection_1d` by `tpe`, since it prunes.",
        "`search.sampler: auto` draws `mona/pdebench/advection_1d` by `tpe`, since it prunes.",
    )
    whole = load("auto", more="pruning: {type: none}\n")
    assert whole.notes == (
        "`search.sampler: auto` draws `orca/pdebench/advection_1d` by `tpe`, since it searches "
        "choices or conditions.",
        "`search.sampler: auto` draws `mona/pdebench/advection_1d` by `gp`, since it is not pruned "
        "and searches numbers.",
    )
    long = load("auto", more="pruning: {type: none}\n", trials=GP_TRIALS + 3)
    assert long.notes[1].endswith("by `gp` for 200 trials, then by `tpe`.")


@pytest.mark.parametrize(
    ("space", "prunes", "index", "chosen"),
    [
        ({"lr": LR}, False, 0, "gp"),
        ({"lr": LR}, False, GP_TRIALS - 1, "gp"),
        ({"lr": LR}, False, GP_TRIALS, "tpe"),
        ({"lr": LR}, True, 0, "tpe"),
        ({"lr": LR, "kind": Choice(values=("a", "b"))}, False, 0, "tpe"),
        ({"lr": LR, "b": Int(low=1, high=2, when={"lr": (1.0,)})}, False, 0, "tpe"),
        ({}, False, 0, "tpe"),
        ({"seed": Int(low=0, high=10**6)}, False, 0, "gp"),
        ({"seed": Int(low=0, high=2**31)}, False, 0, "tpe"),
    ],
)
def test_auto_is_a_function_of_space_pruning_and_number(space, prunes, index, chosen):
    assert choose(space, prunes=prunes, index=index) == chosen


def test_only_some_samplers_draw_conditional_parameters_at_random():
    space = {"a": Choice(values=(1, 2)), "lr": LR, "b": Int(low=1, high=2, when={"a": (1,)})}
    assert {s: at_random(s, space) for s in ("tpe", "random", "qmc", "grid", "gp", "cmaes")} == {
        "tpe": (), "random": (), "qmc": (), "grid": (), "gp": ("b",), "cmaes": ("a", "b"),
    }  # fmt: skip
    assert list(numeric(space)) == ["lr"]


def test_a_large_study_is_said_to_be_seen_in_part():
    def seen(sampler: str, trials: int) -> list[str]:
        notes = load(sampler, more="pruning: {type: none}\n", trials=trials).notes
        return [note.partition(": ")[2] for note in notes if "ended trials" in note]

    assert seen("tpe", 2000) == seen("gp", 150) == seen("random", 10_000) == []
    assert [each.partition(": ")[2] for each in (*seen("tpe", 2001), *seen("auto", 2001))] == 2 * [
        seen("tpe", 2001)[0].partition(": ")[2]
    ]
    assert seen("tpe", 2001)[0].endswith(
        "after 2000 ended trials of a study, `tpe` learns from the latest 1500 and the best 500 "
        "earlier ones."
    )
    assert "after 150 ended trials of a study, `gp` learns from the latest 50" in seen("gp", 151)[0]
    assert in_large_studies("nsga2", 10_000, has_several=True) is None
    several = in_large_studies("gp", 221, has_several=True)
    assert several is not None
    assert "learns from the latest 25 and the best 12 earlier ones" in several
