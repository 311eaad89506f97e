"""Budgets in sweep files: limits that contradict a file, and files without them."""

from typing import Any

import pytest

from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import faults, read_again

TEXT = """\
name: s
methods: [nft]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
parameters: {refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}}
fixed: {refine.epochs: 8}
search: {trials: 40}
"""


def load(budget: str, **options: Any) -> Sweep:
    return sweep_files.load(f"{TEXT}budget: {budget}\n", **options)


def fault(budget: str) -> str:
    (found,) = faults(f"{TEXT}budget: {budget}\n")
    return found


def test_a_limit_that_is_never_reached_is_a_fault_of_its_line():
    assert fault("{no_improvement: 40}") == (
        "x.yaml:8: `budget.no_improvement: 40` is never reached with `search.trials: 40`: "
        "write a smaller number, or take it out."
    )
    assert load("{no_improvement: 39}").notes == ()


@pytest.mark.parametrize("number", [3, 40])
def test_a_limit_of_ended_trials_is_a_fault_where_trials_pause(number):
    text = f"{{no_improvement: {number}}}\npruning: {{type: promote, min_epochs: 1, eta: 2}}"
    assert fault(text) == (
        "x.yaml:8: `budget.no_improvement` counts trials that have ended, but with "
        "`pruning.type: promote` most trials stay paused: write `budget.epochs` instead, or "
        "`pruning.type: asha`."
    )
    assert load(text.replace(f"no_improvement: {number}", "epochs: 90")).budget.epochs == 90
    asha = text.replace("promote", "asha").replace("40", "39")
    assert load(asha).budget.no_improvement == min(number, 39)


def test_fewer_trials_on_the_command_line_are_no_fault_of_the_file():
    (note,) = load("{no_improvement: 12}", trials=4).notes
    assert note == "`budget.no_improvement: 12` is never reached with `search.trials: 4`."


def test_epochs_that_the_preset_spends_alone_are_a_fault():
    assert fault("{epochs: 8}") == (
        "x.yaml:8: `budget.epochs: 8` is spent by the preset of `nft/pdebench/advection_1d` "
        "alone, which has 8 epochs: raise it, or lower the epochs."
    )
    assert load("{epochs: 9}").budget.epochs == 9


def test_of_a_program_without_steps_no_number_of_epochs_is_known():
    text = """\
name: s
program: {command: [train, "{lr}"], metric: loss}
parameters: {lr: {min: 0.1, max: 1.0}}
search: {trials: 4, constraints: {epochs: "<= 300"}}
budget: {epochs: 400}
"""
    assert sweep_files.load(text).budget.epochs == 400


def test_the_resolved_form_is_the_same_sweep():
    read_again(load("{epochs: 9, device_hours: 0.5, no_improvement: 3, wall: 2h}"))
