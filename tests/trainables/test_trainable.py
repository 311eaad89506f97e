"""An actor: on a node that drains it saves and takes no other trial; its modules are no garbage."""

from typing import Any

import pytest

from trainables import trainable
from trainables.spec import AttemptConfig
from trainables.trainable import LOOK_S, NodeDrains, OwnNode, Trainable


class Attempt:
    """An attempt that counts its steps, and that says what it did."""

    label, place = "x", "refine 1/3"
    passed = None  # a function of a program

    def __init__(self) -> None:
        self.done: list[str] = []

    def leave(self) -> None:
        self.done.append("saved")

    def step(self) -> Any:
        raise AssertionError("no epoch begins on a node that drains")


class Closed:
    """An attempt that ends at once."""

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_modules_are_exempt_from_collections_once_for_all_trials(monkeypatch):
    frozen: list[int] = []
    monkeypatch.setattr(trainable.gc, "freeze", lambda: frozen.append(1))
    monkeypatch.setattr("trainables.runtime.attempt.Attempt", lambda config, function: Closed())
    monkeypatch.setattr(trainable, "setproctitle", lambda title: None)
    trainable.exempt_modules.cache_clear()
    try:
        for _ in range(3):
            config = AttemptConfig(spec={}, label="x", folder="x", is_program=True)
            assert actor().reset_config({trainable.ATTEMPT: config})
        assert frozen == [1]
    finally:
        trainable.exempt_modules.cache_clear()


@pytest.fixture
def drains(monkeypatch) -> list[bool]:
    """Answer as the cluster does whether the node drains."""
    answer = [False]
    monkeypatch.setattr(trainable, "is_draining", lambda: answer[0])
    return answer


def actor() -> Trainable:
    made = Trainable.__new__(Trainable)
    made.node = OwnNode()
    return made


def test_it_saves_before_it_ends(drains):
    drains[0] = True
    mine, attempt = actor(), Attempt()
    mine.attempt = attempt  # type: ignore[assignment]
    with pytest.raises(NodeDrains, match="leaving the cluster"):
        mine.step()
    assert attempt.done == ["saved"]


def test_it_takes_no_other_trial(drains):
    drains[0] = True
    with pytest.raises(NodeDrains):
        actor().reset_config({})


def test_the_cluster_is_asked_once_a_second_and_a_node_that_drains_never_stays(drains, monkeypatch):
    now, asked = [100.0], []
    monkeypatch.setattr(trainable.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(trainable, "is_draining", lambda: asked.append(1) or drains[0])
    node = OwnNode()
    for _ in range(10):
        node.check()
    assert len(asked) == 1
    drains[0] = True
    now[0] += LOOK_S
    with pytest.raises(NodeDrains):
        node.check()
    drains[0] = False
    now[0] += LOOK_S
    with pytest.raises(NodeDrains):
        node.check()
