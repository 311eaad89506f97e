"""Toy trials: the same numbers however often they are interrupted, and faults on demand.

What each fault does to a sweep is in `end_to_end/test_toy_faults.py`.
"""

from pathlib import Path

import pytest

from tests.support.results import report_of, trained
from tests.support.toy.curve import values
from tests.support.toy.faults import Fault
from tests.support.toy.trainable import ToyTrainable
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT

PARAMS = {"refine.lr": 3e-4, "refine.optimizer": "sgd"}


@pytest.fixture
def make_config(tmp_path):
    def make(*faults: str, attempt: int = 1, resume=()) -> dict:
        spec = {
            "study": "toy/task_0",
            "number": 3,
            "attempt": attempt,
            "params": PARAMS,
            "seed": 11,
            "stages": {"align": 2, "refine": 3},
            "epoch_s": 0.0,
            "checkpoint_bytes": 1000,
            "history": str(tmp_path),
            "faults": [vars(Fault.parse(fault)) for fault in faults],
        }
        config = AttemptConfig(
            spec=spec,
            label="toy 3",
            folder=str(tmp_path / f"attempt-{attempt}"),
            resume=tuple(str(path) for path in resume),
        )
        return {ATTEMPT: config}

    return make


def test_an_undisturbed_trial_follows_the_curve(make_config):
    reports = [report_of(result) for result in trained(ToyTrainable(make_config()))]
    assert [(r["stage"], r["epoch"]) for r in reports] == [
        ("align", 1), ("align", 2), ("refine", 1), ("refine", 2), ("refine", 3),
    ]  # fmt: skip
    expected = values(PARAMS, 11, 5)
    assert [r["objective"] for r in reports] == [None, None, *expected[2:]]
    assert [r["is_final"] for r in reports] == [False] * 4 + [True]


def test_it_goes_on_from_the_newest_whole_checkpoint(make_config):
    expected = [report_of(result) for result in trained(ToyTrainable(make_config()))]
    cut = ToyTrainable(make_config(attempt=2))
    older, newest = (Path(cut.train()["measurement"]["checkpoint"]) for _ in range(2))
    (newest / "last.safetensors").write_bytes(b"")
    again = trained(ToyTrainable(make_config(attempt=3, resume=[newest, older])))
    assert [report_of(result) for result in again] == expected[1:]


def test_an_actor_is_reused_and_saves_and_restores_as_tune_asks(make_config, tmp_path):
    expected = [report_of(result) for result in trained(ToyTrainable(make_config()))]
    actor = ToyTrainable(make_config("*@1:refuse"))
    assert actor.train()["done"]
    assert actor.reset(make_config(attempt=2))
    actor.train()
    (tmp_path / "saved").mkdir()
    actor.save_checkpoint(str(tmp_path / "saved"))
    other = ToyTrainable(make_config(attempt=3))
    other.load_checkpoint(str(tmp_path / "saved"))
    assert [report_of(result) for result in trained(other)] == expected[1:]


@pytest.mark.parametrize(("fault", "recurs"), [("3@2:raise", False), ("3@2:raise!", True)])
def test_a_fault_happens_once_or_always(make_config, fault, recurs):
    for attempt in (1, 2):
        actor = ToyTrainable(make_config(fault, attempt=attempt))
        actor.train()
        result = actor.train()
        assert (result["kind"] == "failed") is (attempt == 1 or recurs)
        assert result.get("error", "RuntimeError") == "RuntimeError"


def test_other_trials_are_spared(make_config):
    assert ToyTrainable(make_config("4@1:raise!")).train()["kind"] == "measured"


@pytest.mark.parametrize("text", ["", "3@2", "3@2:dance", "@2:kill", "3@x:kill", "3@2:kill=x"])
def test_what_is_no_fault_is_refused(text):
    with pytest.raises(ValueError, match="not a fault"):
        Fault.parse(text)
