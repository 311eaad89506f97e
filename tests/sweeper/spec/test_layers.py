"""File <- profile <- --set <- --trials: what wins, what goes, and that it is told from where."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import FileFaults
from sweeper.planning.catalog import catalog
from sweeper.spec.layers import patch
from sweeper.spec.loader import loads_sweep
from sweeper.spec.node import Node
from sweeper.spec.reader import parse
from sweeper.spec.sweep import Sweep
from tests.bad_inputs.test_unnumbered import VALID
from tests.support.catalogs import make_catalog

CATALOG = make_catalog()
LAPTOP = """\
profiles:
  laptop:
    tasks: [pdebench/burgers_1d]
    backbones: {1d: {layers: 2}}
    fixed: {refine.epochs: 4, refine.lr: 0.1}
    search: {seed: 7}
  big:
    search: {trials: 99}
    fixed: {refine.epochs: null}
"""

keys = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(keys, trees, max_size=3)
changes = st.dictionaries(keys, trees | st.none(), max_size=3)


def node(tree: dict[str, Any]) -> Node:
    return parse(json.dumps(tree), "x")


def merged(*layers: dict[str, Any]) -> Any:
    result = node(layers[0])
    for layer in layers[1:]:
        result = patch(result, node(layer))
    return result.plain()


def load(text: str = VALID, **options: Any) -> Sweep:
    return loads_sweep(text, CATALOG, where="x.yaml", **options)


@given(maps)
def test_nothing_changes_nothing(tree):
    assert merged(tree, {}) == tree
    assert merged({}, tree) == tree


@given(maps, changes)
def test_a_change_made_twice_is_made_once(tree, change):
    assert merged(tree, change, change) == merged(tree, change)


tables = st.dictionaries(keys, st.dictionaries(keys, st.integers(0, 3), max_size=3), max_size=3)


@given(tables, tables, tables)
def test_without_null_layers_can_be_merged_in_any_grouping(a, b, c):
    assert merged(a, b, c) == merged(a, merged(b, c))


def test_maps_merge_lists_replace_and_null_takes_away():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [9], "e": 5}, "d": None}) == {"a": {"b": 1, "c": [9], "e": 5}}


def test_later_layers_win():
    text = VALID + LAPTOP
    assert load(text).search.trials == 8
    assert load(text, profile="big").search.trials == 99
    assert load(text, profile="big", sets=["search.trials=50"]).search.trials == 50
    assert load(text, profile="big", sets=["search.trials=50"], trials=3).search.trials == 3
    assert load(text, name="other").name == "other"


def test_auto_is_the_laptop_where_no_gpu_is_visible_and_says_so():
    text = VALID + LAPTOP
    laptop = load(text)
    assert laptop.profile == "laptop"
    assert "no GPU is visible" in laptop.notes[0]
    assert laptop.tasks == ("pdebench/burgers_1d",)
    assert load(text, profile="laptop").resolved == laptop.resolved
    assert load(text, has_gpu=True).resolved == load(text, profile="paper").resolved
    assert load(text, has_gpu=True).profile == "paper"
    assert load(VALID).profile == "paper"  # a file without profiles is as it is


def test_a_profile_called_paper_is_laid_over_like_any_other():
    sweep = load(VALID + "profiles: {paper: {search: {trials: 5}}}\n", has_gpu=True)
    assert sweep.search.trials == 5


def test_a_backbone_in_short_form_is_its_name_once_something_is_added():
    assert load(VALID + LAPTOP).backbones["1d"]["name"] == "minilm"
    assert load(VALID + LAPTOP).backbones["1d"]["layers"] == 2
    assert load(sets=["backbones.1d.tokens=16"]).backbones["1d"]["tokens"] == 16
    replaced = load(VALID + LAPTOP, sets=["backbones.1d=./tiny"]).backbones["1d"]
    assert (replaced["name"], replaced["layers"]) == ("./tiny", None)


@pytest.mark.parametrize("where", ["file", "profile", "set"])
def test_a_name_in_fixed_leaves_the_parameters(where):
    text = VALID.replace("parameters:\n", "parameters:\n  refine.lr: {min: 0.1, max: 0.9}\n")
    assert "refine.lr" in load(text).parameters
    match where:
        case "file":
            sweep = load(text.replace("refine.epochs: 8", "refine.epochs: 8, refine.lr: 0.2"))
        case "profile":
            sweep = load(text + "profiles: {p: {fixed: {refine.lr: 0.2}}}\n", profile="p")
        case _:
            sweep = load(text, sets=["refine.lr=0.2"])
    assert "refine.lr" not in sweep.parameters
    assert sweep.fixed["refine.lr"] == 0.2


def test_null_takes_a_fixed_value_back_to_the_published_one():
    assert load(VALID + LAPTOP, profile="big").studies[0].stage_epochs["refine"] == 200


def test_an_option_may_set_what_the_file_does_not_mention():
    sets = ["failures.max_attempts=5", "data.resolution.1d=64", "tasks=[pdebench/burgers_1d]",
            "parameters.refine.optimizer.values=[adam, sgd]"]  # fmt: skip
    sweep = load(sets=sets)
    assert sweep.failures.max_attempts == 5
    assert sweep.data["resolution"] == {"1d": 64}
    assert sweep.tasks == ("pdebench/burgers_1d",)
    assert sweep.parameters["refine.optimizer"].contains("sgd")


def test_an_option_finds_a_section_and_a_stage_of_the_same_name():
    text = "name: study\nmethods: [dash]\ntasks: [pdebench/advection_1d]\npruning: {type: none}\n"
    sets = ["search.trials=2", "search.epochs=5", "tune.epochs=0"]
    sweep = loads_sweep(text, catalog(), sets=sets)
    assert sweep.search.trials == 2
    assert (sweep.fixed["search.epochs"], sweep.fixed["tune.epochs"]) == (5, 0)


def test_one_bound_narrows_a_range_and_values_replace_it():
    narrow = load(sets=["parameters.meta.alpha.max=0.1"]).parameters["meta.alpha"]
    assert (narrow.contains(0.1), narrow.contains(0.2), narrow.contains(1e-4)) == (
        True,
        False,
        True,
    )
    choice = load(sets=["parameters.meta.alpha={values: [0.1, 5.0]}"]).parameters["meta.alpha"]
    assert (choice.contains(5.0), choice.contains(0.2)) == (True, False)
    back = "parameters.meta.alpha={min: 0.5, max: 0.7}"
    again = load(sets=["parameters.meta.alpha={values: [0.1, 5.0]}", back])
    assert again.parameters["meta.alpha"].contains(0.6)


def test_each_fault_names_the_layer_that_it_came_from():
    with pytest.raises(FileFaults) as caught:
        load(
            VALID.replace("trials: 8", "trials: 0") + LAPTOP.replace("seed: 7", "seed: x"),
            sets=["refine.lr=fast"],
            name="A",
        )
    told = sorted(str(fault).partition(": ")[0] for fault in caught.value.faults)
    assert told == ["--name", "--set refine.lr", "x.yaml:15", "x.yaml:9"]


def test_what_is_wrong_in_the_file_but_replaced_is_no_fault():
    assert load(VALID.replace("trials: 8", "trials: 0"), trials=4).search.trials == 4


def test_an_empty_section_is_as_good_as_none():
    assert load(VALID + "budget:\nprofiles:\n").budget.wall is None


@pytest.mark.parametrize("where", ["file", "profile", "set"])
def test_null_is_a_value_where_a_setting_may_have_none(where):
    nulls = {"failures.silence": None, "stage_store.max_bytes": None, "meta.clip_norm": None}
    sections = "failures: {silence: null}\nstage_store: {max_bytes: null}\n"
    fixed = "meta.clip_norm: null"
    match where:
        case "file":
            text = VALID.replace("refine.epochs: 8", f"refine.epochs: 8, {fixed}") + sections
            sweep = load(text)
        case "profile":
            profile = sections.replace("\n", "\n    ") + f"fixed: {{{fixed}}}\n"
            own = "failures: {silence: 30m}\nstage_store: {max_bytes: 5GiB}\n"
            sweep = load(VALID + own + f"profiles:\n  p:\n    {profile}", profile="p")
        case _:
            sweep = load(sets=[f"{key}=null" for key in nulls])
    assert sweep.failures.silence is sweep.stage_store.max_bytes is None
    assert sweep.fixed["meta.clip_norm"] is None


@pytest.mark.parametrize("where", ["profile", "set"])
def test_what_a_layer_searches_is_no_longer_fixed_below(where):
    searched = "refine.epochs: {values: [6, 12]}"
    if where == "profile":
        sweep = load(VALID + f"profiles: {{p: {{parameters: {{{searched}}}}}}}\n", profile="p")
    else:
        sweep = load(sets=["parameters.refine.epochs={values: [6, 12]}"])
    assert "refine.epochs" in sweep.parameters
    assert "refine.epochs" not in sweep.fixed


def test_an_option_names_a_factor_with_its_dots():
    sweep = load(sets=["compare_by.refine.freeze=[none, body]"])
    assert sweep.compare_by == {"refine.freeze": ["none", "body"]}


PROGRAM = """\
name: mine
program: {metric: loss, steps: 3}
programs: {ours: {command: [echo, "{lr}", "{depth}"]}, theirs: {command: [echo, "{lr}"]}}
parameters: {lr: {min: 0.001, max: 0.1}, ours.depth: {values: [1, 2]}}
search: {trials: 4}
"""


@pytest.mark.parametrize("prefix", ["", "run."])
def test_an_option_names_a_parameter_of_a_program_as_its_file_does(prefix):
    sets = [f"parameters.{prefix}lr.min=0.01", f"parameters.{prefix}ours.depth.values=[3, 4]"]
    sweep = loads_sweep(PROGRAM, catalog(), sets=sets)
    assert not sweep.parameters["run.lr"].contains(0.005)
    assert sweep.parameters["run.ours.depth"].contains(4)


def test_an_option_that_fixes_a_parameter_of_a_program_names_the_section():
    with pytest.raises(FileFaults, match=r"unknown key `lr`.*`fixed\.lr`"):
        loads_sweep(PROGRAM, catalog(), sets=["lr=0.1"])
    assert loads_sweep(PROGRAM, catalog(), sets=["fixed.lr=0.1"]).fixed["run.lr"] == 0.1
