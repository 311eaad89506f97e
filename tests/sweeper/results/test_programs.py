"""Programs of users as methods: paired by seed and data set, beside floors, with their verdicts."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.core.runner import SweepRunner
from sweeper.driver.pages import report_of
from sweeper.driver.preparation import facts_of_programs
from sweeper.ledger import Ledger
from sweeper.model import BY_HAND
from sweeper.planning import studies
from sweeper.planning.catalog import catalog
from sweeper.planning.resuming import match
from sweeper.results.compare import compare
from sweeper.results.comparison import Comparison, Verdict
from sweeper.results.verdicts import answer, headline
from sweeper.spec.loader import loads_sweep
from tests.support.fakes import curve

TEXT = """
name: several
program: {metric: error, steps: 2, data: [small, large], floor: {small: 0.25, large: 0.375}}
programs: {ours: {command: [ours, "{lr}"]}, official: {command: [theirs, "{data}"]}}
parameters: {ours.lr: {min: 0.0, max: 0.0625}}
search: {trials: 3}
replicate: {seeds: 8}
pruning: {type: none}
"""
MAXIMISED = TEXT.replace("metric: error", "metric: accuracy, goal: maximize").replace(
    "{small: 0.25, large: 0.375}", "0.8"
)
DATA = {"small": 0.125, "large": 0.375}
ERRORS = {"ours": 0.0, "official": 0.125}


def error_of(study: str, seed: int, lr: float) -> float:
    """Return the error of a trial: of its data, program and rate, and a part of its seed alone."""
    method, data = study.split("/")[0], study.partition("@")[2]
    return DATA[data] + ERRORS[method] + lr + seed % 4 / 64


def run(folder: Path, text: str, *, has_tests: bool = True) -> Ledger:
    """Write the ledger of a sweep whose programs report what `error_of` gives."""
    sweep = loads_sweep(text, catalog())
    sign = -1 if sweep.program is not None and sweep.program.goal == "maximize" else 1
    ledger = Ledger.in_folder(folder / "several")
    sweep = match(ledger, sweep, text)
    ledger.start({})
    facts = facts_of_programs(sweep, folder, lambda *_: None)
    runner = SweepRunner(studies.make_plans(sweep, ledger, facts), ledger)
    while (trial := runner.next_trial()) is not None:
        error = error_of(trial.study, trial.seed, trial.params.get("run.ours.lr", 0.0))
        value = error if sign > 0 else error - 1  # the negative of the accuracy
        objective = "error" if sign > 0 else "neg_accuracy"
        test = {f"test/{objective}": value} if has_tests else {}
        for each in curve([value + 0.5, value], stage="run"):
            metrics = {f"val/{objective}": each.objective, **(test if each.is_final else {})}
            runner.on_report(trial, replace(each, metrics=metrics))
    ledger.end("finished")
    return ledger


def compared(folder: Path, text: str, **options: bool) -> Comparison:
    with closing(run(folder, text, **options)) as ledger:
        return compare([ledger])


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Comparison:
    return compared(tmp_path_factory.mktemp("several"), TEXT)


def test_programs_are_paired_by_seed_on_each_data_set(comparison):
    assert [task.task for task in comparison.tasks] == [
        "program/error@small",
        "program/error@large",
    ]
    for task in comparison.tasks:
        ours, official = task.entries
        assert set(ours.values) == set(official.values)
        assert len(ours.values) == 8
        # The parts of data set and seed cancel. The lowest rate is that of some trial of ours.
        (found,) = task.differences
        assert found.pairs == 8
        assert found.ci[0] == found.ci[1] == found.difference
        assert -0.125 <= found.difference < -0.0625
        assert task.from_control == ()
        assert task.incomparable == ()
    first, second = ({*task.entries[0].values} for task in comparison.tasks)
    assert not first & second  # each data set has seeds of its own


def test_a_verdict_knows_the_floor_that_was_given_by_hand(comparison):
    small, large = comparison.tasks
    assert [task.differences[0].verdict for task in (small, large)] == [
        Verdict.LOWER,
        Verdict.NOT_INFORMATIVE,
    ]
    assert [(task.floor.predictor, task.floor.value) for task in (small, large)] == [
        (BY_HAND, 0.25),
        (BY_HAND, 0.375),
    ]
    assert [task.floor.is_beaten for task in (small, large)] == [True, False]
    assert "is better than the baseline given by hand, 0.25." in _without_size(answer(small))
    assert "On 1 of 2 tasks the best method does not beat the floor: program/error@large" in (
        headline(comparison)
    )


def _without_size(text: str) -> str:
    words = text.replace(" %", "%").split()
    return " ".join(word for word in words if not word.endswith("%"))


def test_a_baseline_without_parameters_runs_once_and_is_replicated(comparison):
    for task in comparison.tasks:
        ours, official = task.entries
        assert (ours.budget.trials, official.budget.trials) == (3, 1)


def test_of_a_metric_that_is_maximised_the_larger_is_better(tmp_path):
    found = compared(tmp_path, MAXIMISED)
    small, large = found.tasks
    assert small.floor.value == large.floor.value == -0.8
    assert (small.floor.is_beaten, large.floor.is_beaten) == (True, False)
    assert small.floor.ratio is None
    assert small.differences[0].verdict is Verdict.LOWER
    assert "has the lowest test -accuracy, -0.8" in answer(small)


def test_a_lone_program_is_not_held_against_a_control(tmp_path):
    lone = TEXT.replace(', official: {command: [theirs, "{data}"]}', "")
    with closing(run(tmp_path, lone)) as ledger:
        found = compare([ledger])
        page = report_of(ledger)
    told = answer(found.tasks[0])
    assert told.startswith("On program/error@small, ours reaches a test error of ")
    assert headline(found).startswith("ours is alone on 2 tasks, and has no control. On 1 of 2 ")
    assert "vanilla" not in f"{told} {headline(found)}"
    assert "once tuned?" in page


def test_programs_that_report_no_test_values_are_told_so(tmp_path):
    found = compared(tmp_path, TEXT, has_tests=False)
    told = answer(found.tasks[0])
    assert told.startswith("No answer on program/error@small yet: trial ")
    assert told.endswith("the best, has no test/error.")
