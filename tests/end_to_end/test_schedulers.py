"""Searches whose trials pause, by each scheduler on real Ray: ends, ledgers, resumes and pages."""

from collections import Counter

from tests.support.command import Shell
from tests.support.small_sweep import EPOCHS, STUDY, Sweep, finish

TRIALS = 7  # the preset, and six that are sampled
RUNGS = (1, 2)  # epochs after which trials pause; after the fourth they are complete


def search(shell: Shell, pruning: str, sampler: str = "random") -> Sweep:
    """Return a finished search in which one trial runs at a time."""
    sweep = Sweep(shell, f"{pruning}-{sampler}")
    how = f"{{trials: {TRIALS}, sampler: {sampler}, startup_trials: 2, max_concurrent: 1}}"
    rule = f"{{type: {pruning}, min_epochs: 1, eta: 2}}"
    finish(sweep.start("--set", f"search={how}", "--set", f"pruning={rule}"))
    return sweep


def check_ledger(sweep: Sweep) -> dict[int, int]:
    """Check that states, attempts, epochs and checkpoints of a finished search agree.

    Returns:
        The number of epochs of each trial.
    """
    states = dict(sweep.rows("select number, state from trials"))
    assert sorted(states) == list(range(TRIALS))
    assert states[0] == "complete"  # the preset never pauses
    assert {states[number] for number in range(1, TRIALS)} == {"complete", "paused"}

    measured = [(number, m["epoch"]) for number, m in sweep.events("measured")]
    assert len(measured) == len(set(measured))  # a promoted trial repeats no epoch
    epochs = Counter(number for number, _ in measured)
    for number, state in states.items():
        assert {epoch for n, epoch in measured if n == number} == {*range(1, epochs[number] + 1)}
        assert epochs[number] in (RUNGS if state == "paused" else (EPOCHS,))

    started = Counter(number for number, _ in sweep.events("attempt_started"))
    ended = [(number, end["state"]) for number, end in sweep.events("attempt_ended")]
    assert Counter(number for number, _ in ended) == started
    assert dict(sweep.rows("select number, attempt from trials")) == started
    assert {state for _, state in ended} == {"complete", "paused"}
    assert dict(ended) == states  # the last attempt of each trial
    assert sweep.checkpoints().keys() == states.keys()
    assert all((each / "last.safetensors").is_file() for each in sweep.checkpoints().values())
    return dict(epochs)


def check_commands(sweep: Sweep) -> None:
    """Check that a resume does nothing, and that status, comparison and page know the trials."""
    shell, before = sweep.shell, sweep.rows("select * from events order by seq")
    assert "nothing to do" in shell.run("resume", sweep.name).err
    assert sweep.rows("select * from events order by seq") == before
    states = Counter(state for (state,) in sweep.rows("select state from trials"))
    told = shell.run("status", sweep.name, "--json").json
    assert {state: count for state, count in told["trials"].items() if count} == states
    assert told["state"] == "finished"
    compared = shell.run("compare", sweep.name, "--json").json
    assert compared
    shell.run("report", sweep.name)
    page = (sweep.folder / "report.html").read_text()
    assert STUDY in page
    assert "paused" in page


def promoted(epochs: dict[int, int], rung: int) -> int:
    """Return how many sampled trials went on from a rung."""
    return sum(done > rung for number, done in epochs.items() if number)


def test_bohb_with_promotion(shell):
    sweep = search(shell, "promote", "bohb")
    epochs = check_ledger(sweep)
    # Of six at the first rung at least three go on: who was among the best need not remain so.
    first, second = (promoted(epochs, rung) for rung in RUNGS)
    assert 6 > first >= 3
    assert first >= second >= 1
    check_commands(sweep)
