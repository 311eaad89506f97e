"""Objectives and constraints in sweep files: bounds, the front, and faults with their lines."""

import pytest
from jsonschema import Draft202012Validator

from sweeper.spec.goals import Goals, read_constraint
from sweeper.spec.json_schema import json_schema
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import faults, read_again

TEXT = """\
name: s
methods: [nft]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
  refine.batch_size: {min: 8, max: 64}
fixed: {refine.epochs: 8}
pruning: {type: none}
search:
  trials: 8
"""
KNOWN = "device_seconds, epochs, parameters, peak_memory, seconds, val, val/loss, val/nrmse"


def load(search: str = "") -> Sweep:
    return sweep_files.load(TEXT + search)


@pytest.mark.parametrize(
    ("quantity", "text", "kept", "broken"),
    [
        ("seconds", "<= 1h30m", 5400, 5401),
        ("device_seconds", "<= 2d", 172_800, 172_801),
        ("peak_memory", "<= 12GiB", 12 * 2**30, 12 * 2**30 + 1),
        ("parameters", "<= 30M", 30_000_000, 30_000_001),
        ("parameters", ">= 250K", 250_000, 249_999),
        ("epochs", "<=500", 500, 501),
        ("val/loss", "<= -0.5", -0.5, -0.499),
        ("val/loss", "<= 0", 0.0, 1e-9),
    ],
)
def test_a_bound_holds_up_to_its_value(quantity, text, kept, broken):
    constraint = read_constraint(quantity, text)
    assert constraint.violation(kept) <= 0 < constraint.violation(broken)
    assert str(constraint) == f"{quantity} {text}"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_not_measured_breaks_a_bound(value):
    goals = Goals(objectives=("val/nrmse",), constraints=(read_constraint("parameters", "<= 1K"),))
    values = {} if value is None else {"parameters": value}
    assert goals.violation(values) == 1.0
    assert goals.broken(values) == "parameters is not measured, not <= 1K"


def test_violations_are_shares_of_their_bounds_so_that_units_do_not_count():
    bounds = [read_constraint("peak_memory", "<= 1GiB"), read_constraint("seconds", "<= 10s")]
    goals = Goals(objectives=("val/nrmse",), constraints=tuple(bounds))
    assert goals.violation({"peak_memory": 1.5 * 2**30, "seconds": 12}) == pytest.approx(0.7)
    assert goals.violation({"peak_memory": 1.0, "seconds": 1.0}) == 0
    broken = "peak_memory is 1.50 GiB, not <= 1GiB, and seconds is 12 s, not <= 10s"
    assert goals.broken({"peak_memory": 1.5 * 2**30, "seconds": 12}) == broken


def test_a_file_without_goals_has_empty_ones():
    sweep = load()
    assert sweep.resolved["search"]["objectives"] == []
    assert sweep.resolved["search"]["constraints"] == {}
    assert load("  objectives: []\n  constraints: {}\n").config_hash == sweep.config_hash
    assert Goals.of(sweep.resolved, "val/nrmse").are_plain


def test_goals_are_part_of_the_resolved_sweep_and_of_its_hash():
    sweep = load('  objectives: [val, parameters]\n  constraints: {peak_memory: "<= 12GiB"}\n')
    assert sweep.config_hash != load().config_hash
    goals = Goals.of(read_again(sweep).resolved, "val/nrmse")
    assert str(goals) == "val/nrmse and parameters, with peak_memory <= 12GiB"
    assert goals.has_several
    assert goals.quantities == ("val/nrmse", "parameters", "peak_memory")


def test_a_measured_objective_is_noted_since_no_run_repeats_it():
    (note,) = load("  objectives: [val/nrmse, seconds]\n").notes
    assert note == (
        "`search.objectives`: `seconds` is measured and differs from run to run, so that another "
        "run of the sweep draws other trials; a resumed one goes on as it began."
    )
    assert load("  objectives: [val/nrmse, parameters]\n").notes == ()


@pytest.mark.parametrize(
    ("search", "line", "message"),
    [
        ("  objectives: [val, second]\n", 12,
         "`search.objectives[1]`: unknown quantity of trials `second`. Did you mean `seconds`? "
         f"Known: {KNOWN}."),
        ("  objectives: [val/nrmse, test/nrmse]\n", 12,
         "`search.objectives[1]`: `test/nrmse` is a test value, which decides nothing: write "
         "`val`."),
        ("  objectives: [val, seconds, seconds]\n", 12,
         "`search.objectives` has `seconds` twice; keep one."),
        ("  objectives: [val, val/nrmse]\n", 12,
         "`search.objectives` has `val/nrmse` twice, which is `val` here; keep one."),
        ("  objectives: [parameters, val]\n", 12,
         "`search.objectives[0]` is `parameters`, but the first is the validation metric, by which "
         "the best weights of a trial are kept: write [val, parameters]."),
        ("  objectives: [val, 3]\n", 12,
         "`search.objectives[1]` must be a valid string, but got 3."),
        ('  constraints:\n    memory: "<= 3"\n', 13,
         f"`search.constraints`: unknown quantity of trials `memory`. Did you mean `peak_memory`? "
         f"Known: {KNOWN}."),
        ('  constraints:\n    peak_memory: "<= 12"\n', 13,
         "`search.constraints.peak_memory` must be a size with its unit, such as 500MB or 10GiB, "
         "but got '<= 12'."),
        ('  constraints:\n    seconds: "<= 12GiB"\n', 13,
         "`search.constraints.seconds` must be a duration with its unit, such as 45s, 90m, 1h30m "
         "or 2d, but got '<= 12GiB'."),
        ('  constraints:\n    parameters: "<= 30MiB"\n', 13,
         "`search.constraints.parameters` must be a number, such as 500, 250K, 30M or 1.5B, but "
         "got '<= 30MiB'."),
        ('  constraints:\n    val/loss: "<= nan"\n', 13,
         "`search.constraints.val/loss` must be a number, such as 0.1, but got '<= nan'."),
        ('  constraints:\n    peak_memory: "12GiB"\n', 13,
         '`search.constraints.peak_memory` must be a bound with <= or >=, such as "<= 12GiB", but '
         "got '12GiB'."),
        ("  constraints:\n    parameters: 30\n", 13,
         "`search.constraints.parameters` must be a valid string, but got 30."),
        ('  constraints:\n    val: "<= 1"\n    val/nrmse: "<= 1"\n', 14,
         "`search.constraints` has `val/nrmse` twice; keep one."),
        ('  sampler: cmaes\n  constraints: {parameters: "<= 1M"}\n', 12,
         "`search.sampler: cmaes` learns from one value, and so ignores `search.constraints`: "
         "write `tpe`, `cqr`, `gp` or `nsga2`."),
        ("  sampler: cmaes\n  objectives: [val, parameters]\n", 12,
         "`search.sampler: cmaes` learns from one value, and so ignores `search.objectives`: "
         "write `tpe`, `cqr`, `gp` or `nsga2`."),
    ],
)  # fmt: skip
def test_a_goal_that_cannot_be_followed_is_a_fault_of_its_line(search, line, message):
    assert faults(TEXT + search) == [f"x.yaml:{line}: {message}"]


@pytest.mark.parametrize("kind", ["asha", "promote", "median"])
def test_pruning_by_one_of_several_objectives_is_a_fault(kind):
    text = TEXT.replace("type: none", f"type: {kind}")
    message = (
        f"`search.objectives` has 2, but `pruning.type: {kind}` ends trials by the first alone, "
        "also those that are best in `parameters`: write `pruning: {type: none}`, or make the "
        "others `search.constraints`."
    )
    two = "  objectives: [val, parameters]\n"
    assert faults(text + two) == [f"x.yaml:9: {message}"]
    if kind == "asha":  # the default: the file does not name it
        text = text.replace(f"pruning: {{type: {kind}}}\n", "")
        assert faults(text + two) == [f"x.yaml:11: {message}"]
    assert sweep_files.load(text + '  constraints: {parameters: "<= 1M"}\n').notes == ()


def test_a_deterministic_search_refuses_what_differs_from_run_to_run():
    text = TEXT.replace("type: none", "type: asha") + "budget: {device_hours: 2}\n"
    search = '  deterministic: true\n  constraints: {peak_memory: "<= 2GiB"}\n'
    why = "differs from run to run, as `search.deterministic` forbids."
    assert faults(text.replace("budget", search + "budget")) == [
        "x.yaml:12: `search.deterministic`: `pruning.type: asha` judges a trial by those that have "
        "reported before it, and they differ from run to run: write `pruning: {type: promote}`, or "
        "`none`.",
        f"x.yaml:13: `search.constraints.peak_memory` {why}",
        f"x.yaml:14: `budget.device_hours` {why}",
    ]


def test_the_virtual_slots_of_a_deterministic_search_are_part_of_the_sweep():
    given = {text: load(f"  deterministic: {text}\n") for text in ("false", "true", "8", "4")}
    assert {text: sweep.search.turns for text, sweep in given.items()} == {
        "false": None, "true": 8, "8": 8, "4": 4,
    }  # fmt: skip
    assert given["false"].config_hash == load().config_hash
    assert len({given[text].config_hash for text in ("false", "true", "4")}) == 3
    assert all(read_again(sweep).search == sweep.search for sweep in given.values())


def test_editors_know_the_fields():
    schema = Draft202012Validator(json_schema(sweep_files.CATALOG))
    given = {"name": "s", "methods": ["nft"], "tasks": ["pdebench/advection_1d"]}
    goals = {"objectives": ["val", "seconds"], "constraints": {"peak_memory": "<= 12GiB"}}
    assert schema.is_valid({**given, "search": goals})
    assert not schema.is_valid({**given, "search": {"objectives": "seconds"}})
    assert not schema.is_valid({**given, "search": {"constraints": {"parameters": 30}}})
