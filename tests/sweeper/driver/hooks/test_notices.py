"""Pauses that last are worth one notification, and so is an MLflow that stays away."""

from types import SimpleNamespace

from sweeper.driver.hooks.notices import AWAY_S, NO_NODE_S, PAUSED_S, Notices
from sweeper.driver.notifier import Event


class Recorded:
    def __init__(self) -> None:
        self.sent: list[tuple[Event, str]] = []

    def send(self, event: Event, message: str, **facts) -> None:
        self.sent.append((event, message))


def runs(paused: str | None = None, without_node: int = 0, running: int = 2) -> SimpleNamespace:
    """A runner, as far as notices look at it."""
    return SimpleNamespace(
        paused=paused, num_without_node=without_node, num_running=running, trials=()
    )


def notices(runner, error=lambda: None):
    told, now = Recorded(), [0.0]
    hook = Notices(runner, told, error, clock=lambda: now[0])

    def wait(seconds: float) -> list[Event]:
        """Let time pass, a second a tick; return all events so far."""
        for _ in range(int(seconds)):
            now[0] += 1
            hook.tick()
        return [event for event, _ in told.sent]

    return wait, told


def test_a_pause_that_lasts_is_told_once_and_so_is_its_end() -> None:
    runner = runs()
    wait, told = notices(runner)
    assert wait(10) == []
    runner.paused = "no space left on /data"
    assert wait(PAUSED_S - 10) == []
    assert wait(5 * PAUSED_S) == [Event.PAUSED]
    assert "no space left on /data" in told.sent[0][1]
    runner.paused = None
    assert wait(60) == [Event.PAUSED, Event.RESUMED]


def test_a_short_pause_is_not_told() -> None:
    runner = runs()
    wait, _ = notices(runner)
    for _ in range(5):
        runner.paused = "checkpoints cannot be kept"
        wait(PAUSED_S - 15)
        runner.paused = None
        assert wait(10) == []


def test_mlflow_needs_a_person_once_an_outage() -> None:
    error: list[str | None] = ["Connection refused"]
    wait, told = notices(runs(), lambda: error[0])
    assert wait(AWAY_S - 10) == []
    assert wait(2 * AWAY_S) == [Event.NEEDS_PERSON]
    assert "Connection refused" in told.sent[0][1]
    error[0] = None
    wait(10)
    error[0] = "again"
    assert wait(AWAY_S + 20) == [Event.NEEDS_PERSON] * 2


def test_a_sweep_whose_trials_all_wait_for_nodes_is_paused_after_a_while() -> None:
    runner = runs(without_node=1)
    wait, told = notices(runner)
    assert wait(2 * NO_NODE_S) == [], "the other trial runs"
    runner.num_without_node = 2
    assert wait(NO_NODE_S - 10) == []
    assert wait(20) == [Event.PAUSED]
    assert "no node has room for a trial" in told.sent[0][1]
    runner.num_without_node = 0
    assert wait(10) == [Event.PAUSED, Event.RESUMED]
