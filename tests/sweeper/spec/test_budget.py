"""Budgets in sweep files: limits that contradict a file, and files without them."""

from typing import Any

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.support.catalogs import make_catalog

TEXT = """\
name: s
methods: [nft]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
parameters: {refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}}
fixed: {refine.epochs: 8}
search: {trials: 40}
"""


def load(budget: str = "", **options: Any) -> Sweep:
    text = TEXT + (f"budget: {budget}\n" if budget else "")
    return loads_sweep(text, make_catalog(), **options)


def fault(budget: str, **options: Any) -> str:
    with pytest.raises(FileFaults) as caught:
        load(budget, **options)
    (found,) = map(str, caught.value.faults)
    return found


def test_a_limit_that_is_never_reached_is_a_fault_of_its_line():
    assert fault("{no_improvement: 40}") == (
        "sweep.yaml:8: `budget.no_improvement: 40` is never reached with `search.trials: 40`: "
        "write a smaller number, or take it out."
    )
    assert load("{no_improvement: 39}").notes == ()


@pytest.mark.parametrize("number", [3, 40])
def test_a_limit_of_ended_trials_is_a_fault_where_trials_pause(number):
    text = f"{{no_improvement: {number}}}\npruning: {{type: promote, min_epochs: 1, eta: 2}}"
    assert fault(text) == (
        "sweep.yaml:8: `budget.no_improvement` counts trials that have ended, but with "
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
        "sweep.yaml:8: `budget.epochs: 8` is spent by the preset of `nft/pdebench/advection_1d` "
        "alone, which has 8 epochs: raise it, or lower the epochs."
    )
    assert load("{epochs: 9}").budget.epochs == 9


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ("{epochs: 0}", "`budget.epochs` must be greater than or equal to 1, but got 0."),
        ("{epochs: 1.5}", "`budget.epochs` must be a valid integer"),
        ("{device_hours: 0}", "`budget.device_hours` must be greater than 0, but got 0."),
        ("{no_improvement: -1}", "`budget.no_improvement` must be greater than or equal to 1"),
        ("{no_improvment: 3}", "unknown key `budget.no_improvment`. Did you mean `budget.no_impr"),
        ("{trials: 3}", "unknown key `budget.trials`"),
    ],
)
def test_a_value_out_of_range_is_a_fault(budget: str, told: str):
    assert fault(budget).startswith(f"sweep.yaml:8: {told}")


def test_the_resolved_form_is_the_same_sweep():
    sweep = load("{epochs: 9, device_hours: 0.5, no_improvement: 3, wall: 2h}")
    again = loads_sweep(sweep.resolved, make_catalog())
    assert (again.budget, again.config_hash) == (sweep.budget, sweep.config_hash)
