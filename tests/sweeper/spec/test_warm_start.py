"""Warm starts in sweep files: which configurations a study begins with, and what a file is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import NotFound
from sweeper.model import Params
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import Studies, WarmStart, first_configs, sources_of
from tests.support import sweep_files
from tests.support.sweep_files import faults

TEXT = """\
name: s
methods: [mona, orca]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
  refine.batch_size: {values: [4, 8, 16]}
fixed: {refine.epochs: 8}
search: {trials: 8, warm_start: [small]}
"""
HERE, THERE = "mona/pdebench/advection_1d", "mona/pdebench/burgers_1d"
SMALL = {
    THERE: [{"refine.lr": 1e-5, "refine.batch_size": 4, "refine.epochs": 2}, {"refine.lr": 2e-5}],
    HERE: [{"refine.lr": 3e-5, "refine.batch_size": 8}, {"refine.lr": 4e-5}, {"refine.lr": 5e-5}],
}


@dataclass
class Known:
    """Sweeps in memory, in place of ledgers."""

    sweeps: dict[str, Studies] = field(default_factory=lambda: {"small": SMALL})
    begun: WarmStart | None = None
    rows: list[Params] = field(default_factory=list)  # of files
    asked: list[tuple[Path, str, bool]] = field(default_factory=list)

    def begun_with(self, sweep: str, names: Sequence[str]) -> WarmStart | None:
        return self.begun

    def best_of(self, name: str) -> Studies:
        if name not in self.sweeps:
            raise NotFound(f"unknown sweep `{name}`.")
        return self.sweeps[name]

    def trials_of(self, file: Path, metric: str, *, is_maximised: bool) -> list[Params]:
        self.asked.append((file, metric, is_maximised))
        return self.rows


def load(text: str = TEXT, sources: Known | None = None, **options: Any) -> Sweep:
    return sweep_files.load(text, sources=lambda: sources or Known(), **options)


def first(sweep: Sweep, method: str = "mona"):
    (study,) = (each for each in sweep.studies if each.method == method)
    return first_configs(study, sweep.search.warm_start)


def test_a_study_begins_with_the_best_of_each_source_in_turns_its_own_task_first():
    found = first(load())
    assert found.configs == [
        {"refine.lr": 3e-5, "refine.batch_size": 8},
        {"refine.lr": 1e-5, "refine.batch_size": 4},
        {"refine.lr": 4e-5},
    ]
    assert found.origins == (f"small:{HERE}", f"small:{THERE}")
    assert found.dropped == ()


def test_a_study_of_another_method_begins_as_without_and_that_is_told():
    sweep = load()
    assert first(sweep, "orca").configs == []
    assert sweep.notes == (
        f"`search.warm_start`: `{HERE}` begins with 3 configurations of small:{HERE}, "
        f"small:{THERE}.",
        "`search.warm_start`: `orca/pdebench/advection_1d` begins with its preset alone: no sweep "
        "has another configuration that it can draw.",
    )


def test_a_value_out_of_range_is_dropped_and_told_and_never_clipped():
    sources = Known({"small": {HERE: [{"refine.lr": 0.1, "refine.batch_size": 8}]}})
    sweep = load(sources=sources)
    assert first(sweep).configs == [{"refine.batch_size": 8}]
    assert (
        f"`search.warm_start`: out of the range of `{HERE}`, and drawn again: `refine.lr: 0.1` of "
        f"small:{HERE}." in sweep.notes
    )
    nothing = load(sources=Known({"small": {HERE: [{"refine.lr": 0.1}]}}))
    assert first(nothing).configs == []
    assert any("`refine.lr: 0.1`" in note for note in nothing.notes)


def test_the_preset_and_what_is_there_already_are_not_tried_twice():
    (study,) = (each for each in load().studies if each.method == "mona")
    preset = {name: study.preset[name] for name in study.parameters}
    configs = [preset, {"refine.lr": 1e-5}, {"refine.lr": 1e-5}]
    assert first(load(sources=Known({"small": {HERE: configs}}))).configs == [{"refine.lr": 1e-5}]


def test_a_value_is_given_as_a_sampler_would_draw_it():
    text = TEXT.replace("{distribution: log_uniform_values, min: 1e-6, max: 1e-3}",
                        "{distribution: uniform, min: 0.5, max: 2}")  # fmt: skip
    sources = Known({"small": {HERE: [{"refine.lr": 1, "refine.batch_size": 8.0}]}})
    (config,) = first(load(text, sources)).configs
    assert [type(value) for value in config.values()] == [float, int]


def test_the_resolved_form_has_the_configurations_and_needs_no_other_sweep():
    sweep = load()
    kept = sweep.resolved["search"]["warm_start"]
    assert kept["small"][THERE] == [
        {"refine.lr": 1e-5, "refine.batch_size": 4}, {"refine.lr": 2e-5},
    ]  # fmt: skip
    assert first(sweep_files.read_again(sweep)) == first(sweep)


@pytest.mark.parametrize("name", ["old.csv", "old.db#one", "/there/old.sqlite"])
def test_a_file_of_another_program_is_for_every_study(name):
    rows = [{"lr": 1e-5, "batch_size": 8.0, "other": 1}, {"refine_lr": 2e-5}, {"lr": 1.0}]
    known = Known(rows=rows)
    sweep = load(TEXT.replace("[small]", f"['{name}']"), known)
    assert known.asked == [(Path(name), "value", False)]
    for method in sweep.methods:
        found = first(sweep, method)
        assert found.configs == [{"refine.lr": 1e-5, "refine.batch_size": 8}, {"refine.lr": 2e-5}]
        assert found.dropped == (f"`refine.lr: 1.0` of {name}:{method}/pdebench/advection_1d",)


def test_a_program_has_its_metric_and_its_goal_in_a_file():
    known = Known(rows=[{"lr": 0.01}])
    text = (
        "name: s\nprogram: {command: [train], metric: acc, goal: maximize}\n"
        "parameters: {lr: {min: 0.0, max: 1.0}}\nsearch: {warm_start: [old.csv]}\n"
    )
    sweep = load(text, known)
    assert known.asked == [(Path("old.csv"), "acc", True)]
    (method,) = sweep.methods
    assert first(sweep, method).configs == [{"run.lr": 0.01}]


def test_a_file_without_a_searched_parameter_is_a_fault_of_its_line():
    text, known = TEXT.replace("small", "old.csv"), Known(rows=[{"momentum": 0.9}])
    told = "`search.warm_start[0]`: old.csv: has none of the searched parameters."
    assert faults(text, sources=lambda: known) == [f"x.yaml:10: {told}"]


def test_a_begun_sweep_keeps_what_it_began_with():
    begun = load().search.warm_start
    assert isinstance(begun, dict)
    changed = Known({}, begun)
    assert load(sources=changed).config_hash == load().config_hash


def test_names_stay_names_where_no_sweep_can_be_read():
    sweep = sweep_files.load(TEXT)
    assert sweep.search.warm_start == ["small"]
    assert first(sweep).configs == []
    assert sweep.notes == ("`search.warm_start`: small are read where the sweep is launched.",)


def test_sources_are_of_the_same_method_and_benchmark():
    studies = {HERE: [{"a": 1}], "mona/other/x": [{"a": 2}], "orca/pdebench/x": [{"a": 3}]}
    assert sources_of({"small": studies}, "mona", "pdebench/burgers_1d") == {
        f"small:{HERE}": [{"a": 1}]
    }


FAULTS = {
    "[large]": "`search.warm_start[0]`: unknown sweep `large`.",
    "[small, s]": "`search.warm_start[1]`: `s` is this sweep itself; take it out.",
    "[small, small]": "`search.warm_start[1]`: `small` is there twice; take it out.",
    "[pare]": ("`search.warm_start[0]`: sweep `pare` has pare, but not mona, orca; name one with "
               "the same method."),
    "[far]": ("`search.warm_start[0]`: sweep `far` has tasks of nasbench360 alone, but this one "
              "has those of pdebench; name another one."),
    "[empty]": "`search.warm_start[0]`: sweep `empty` has no complete trial; name another one.",
    "[small], sampler: grid": (
        "`search.warm_start` is for samplers that draw, but `search.sampler: grid` tries every "
        "combination: write `tpe`, or take `warm_start` out."),
}  # fmt: skip


@pytest.mark.parametrize(("given", "told"), FAULTS.items())
def test_a_useless_name_is_a_fault_of_its_line(given, told):
    sources = Known({
        "small": SMALL, "pare": {"pare/pdebench/advection_1d": [{"replace.lr": 1}]},
        "far": {"mona/nasbench360/ecg": [{"refine.lr": 1e-5}]}, "empty": {HERE: []},
    })  # fmt: skip
    text = TEXT.replace("[small]", given)
    if "grid" in given:
        text = text.replace("{distribution: log_uniform_values, min: 1e-6, max: 1e-3}",
                            "{values: [1e-5, 1e-4]}")  # fmt: skip
    assert faults(text, sources=lambda: sources) == [f"x.yaml:10: {told}"]


def test_an_unknown_task_makes_one_fault_and_not_two():
    text = TEXT.replace("[pdebench/advection_1d]", "[pdebench/advektion_1d]")
    (fault,) = faults(text, sources=Known)
    assert fault.startswith("x.yaml:3: unknown task")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("warm_start: [small]", "warm_start: small", "search.warm_start"),
        ("tasks: [pdebench/advection_1d]", "tasks: pdebench/advection_1d", "tasks"),
    ],
)
def test_a_name_in_place_of_a_list_of_names_is_told_how_to_write_it(old, new, key):
    (told,) = (each for each in faults(TEXT.replace(old, new)) if f"`{key}`" in each)
    name = new.partition(": ")[2]
    assert told.endswith(f", but got '{name}'. Write `[{name}]`.")
    load(TEXT.replace(old, f"{key.rpartition('.')[2]}: [{name}]"))
