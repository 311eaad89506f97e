"""Which trials are ended for their silence, and when it is said that there is no room; no Ray."""

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from sweeper.core.policies import classify
from sweeper.execution import ray_executor
from sweeper.execution.ray_executor import DIED, LEFT, Crashes, Watch

SILENCE_S = 40.0


class Trials:
    """Tune's trials, their actors, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.said = 0.0, list[str]()
        self.all: list[Any] = []
        self.actors: dict[str, str] = {}
        self.killed: list[str] = []
        monkeypatch.setattr("ray.kill", self.killed.append)
        self.watch = Watch(
            SILENCE_S,
            lambda trial: self.actors.get(trial.trial_id),
            lambda: None,
            self.said.append,
            lambda: self.now,
        )

    def add(self, name: str, status: str, *, has_actor: bool) -> Any:
        self.all.append(SimpleNamespace(trial_id=name, status=status))
        if has_actor:
            self.actors[name] = f"actor of {name}"
        return self.all[-1]

    def pass_by(self, seconds: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        for _ in range(seconds):
            self.now += 1
            meanwhile()
            self.watch.check_trials(self.all)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Trials:
    return Trials(monkeypatch)


def test_a_trial_that_is_silent_for_too_long_is_ended_once(trials: Trials) -> None:
    trials.add("a", "RUNNING", has_actor=True)
    trials.watch.touch("a")
    trials.pass_by(40)
    assert trials.killed == []
    trials.pass_by(40)
    assert trials.killed == ["actor of a"]
    assert trials.watch.finish("a") == "silent for 40 s (failures.silence): it was ended."


def test_what_starts_has_as_long_from_when_it_has_an_actor(trials: Trials) -> None:
    trial = trials.add("a", "PENDING", has_actor=False)
    trials.pass_by(100)
    trials.actors["a"] = "actor of a"
    trials.pass_by(41)
    assert trials.killed == []
    trials.pass_by(1)
    assert trials.killed == ["actor of a"]
    reason = "silent for 40 s while it started (failures.silence): it was ended."
    assert trials.watch.finish(trial.trial_id) == reason


def test_a_trial_that_has_started_has_all_its_time_again(trials: Trials) -> None:
    trial = trials.add("a", "PENDING", has_actor=True)
    trials.pass_by(35)
    trials.watch.touch("a")
    trial.status = "RUNNING"
    trials.pass_by(40)
    assert trials.killed == []
    trials.pass_by(35, lambda: trials.watch.touch("a"))
    assert trials.killed == []


def test_a_node_has_room_for_a_trial_that_starts(trials: Trials) -> None:
    trials.add("a", "PENDING", has_actor=True)
    trials.pass_by(35)
    assert trials.said == []
    trials.actors.clear()
    trials.pass_by(35)
    assert trials.said == ["no node has had room for a trial for 30 s; waiting for one."]


def test_trials_without_a_node_are_counted_and_never_silent(trials: Trials) -> None:
    trials.add("a", "RUNNING", has_actor=True)
    for name in ("b", "c"):
        trials.add(name, "PENDING", has_actor=False)
    trials.pass_by(10 * int(SILENCE_S), lambda: trials.watch.touch("a"))
    assert (trials.killed, trials.watch.num_waiting) == ([], 2)
    trials.actors["b"] = "actor of b"
    trials.pass_by(1, lambda: trials.watch.touch("a"))
    assert trials.watch.num_waiting == 1


@pytest.mark.parametrize(
    ("error", "left", "told"),
    [
        ("trainables.trainable.NodeDrains: this node is leaving", False, LEFT),
        ("ActorDiedError: the worker died by SIGTERM", True, LEFT),
        ("ActorDiedError: the actor is dead because its worker process has died", False, DIED),
        ("RayActorError: another death", False, None),
    ],
)
def test_the_reason_of_a_death_is_told_and_a_node_that_leaves_is_no_failure_of_its_trial(
    trials: Trials, monkeypatch, tmp_path, error: str, left: bool, told: str | None
) -> None:
    failures: list[dict[str, Any]] = []
    file = tmp_path / "error.txt"
    file.write_text(error)
    trial = trials.add("a", "RUNNING", has_actor=False)
    trial.error_file = str(file)
    actor: Any = SimpleNamespace(_actor_id=bytes.fromhex("ab"))
    trials.actors["a"] = actor
    runner: Any = SimpleNamespace(on_failure=lambda trial, error, **rest: failures.append(rest))
    answers: Any = SimpleNamespace(
        trials={"a": "ours"}, folders={"a": tmp_path}, keeping_errors=nullcontext
    )
    kills: Any = SimpleNamespace(take=lambda: None)
    monkeypatch.setattr(ray_executor, "is_on_leaving_node", lambda actor: left and actor == "ab")
    crashes = Crashes(runner, answers, trials.watch, kills)
    crashes.on_trial_start(0, [], trial)
    crashes.on_trial_error(0, [], trial)
    (failure,) = failures
    assert failure["reason"] == told
    assert classify(failure["reason"] or error) == ("lost_node" if told == LEFT else "crash")


def test_an_ended_trial_gives_its_memory_back_though_its_actor_waits_for_another(trials: Trials):
    asked: list[str] = []
    trial = trials.add("a", "RUNNING", has_actor=False)
    actor: Any = SimpleNamespace(cleanup=SimpleNamespace(remote=lambda: asked.append("cleanup")))
    trials.actors["a"] = actor
    nobody: Any = None
    crashes = Crashes(nobody, nobody, trials.watch, nobody)
    crashes.on_trial_complete(1, trials.all, trial)
    assert asked == ["cleanup"]
    crashes.on_trial_complete(1, trials.all, trials.add("b", "RUNNING", has_actor=False))
