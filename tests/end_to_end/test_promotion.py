"""Pause and promotion on real Ray: a killed driver, a promotion after it, and one by `extend`."""

import os

from mlflow import MlflowClient

from tests.support import killing
from tests.support.command import Shell
from tests.support.small_sweep import EPOCHS, STUDY, Sweep, finish, wait_for_epochs

TRIALS, MORE = 5, 9  # the preset, and four or eight that are sampled
PROMOTE = ("--set", "pruning={type: promote, min_epochs: 1, eta: 2}")


def states(sweep: Sweep) -> dict[int, str]:
    return dict(sweep.rows("select number, state from trials"))


def runs(shell: Shell, name: str) -> dict[int, tuple[str, str, str]]:
    """Return id, status and state of the run of each trial in MLflow."""
    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    found = client.search_runs(["1"], f"tags.`sweeper.sweep` = '{name}'")
    return {
        int(run.data.tags["sweeper.trial"]): (
            run.info.run_id,
            run.info.status,
            run.data.tags["sweeper.state"],
        )
        for run in found
        if "sweeper.trial" in run.data.tags
    }


def check_curves(sweep: Sweep, whole: Sweep) -> None:
    """Check that each trial has the curve and bits of one that never paused, each epoch once."""
    mine, theirs = sweep.outcomes(), whole.outcomes()
    for number, (state, params, *best, curve) in mine.items():
        assert params == theirs[number][1]
        assert curve == theirs[number][-1][: len(curve)]
        if state == "complete":
            assert (*best, len(curve)) == (*theirs[number][2:-1], EPOCHS)
    measured = [(number, m["epoch"]) for number, m in sweep.events("measured")]
    assert len(measured) == len(set(measured))
    bits, expected = sweep.weights(), whole.weights()
    for number in (n for n, state in states(sweep).items() if state == "complete"):
        for name, values in expected[number].items():
            assert (bits[number][name] == values).all(), (number, name)


def test_a_promoted_trial_has_the_curve_of_one_that_never_paused(shell):
    whole = Sweep(shell, "whole")
    finish(whole.start("--trials", str(MORE)))

    sweep = Sweep(shell, "paused")
    launch = sweep.start(*PROMOTE, "--trials", str(TRIALS))
    wait_for_epochs(sweep, EPOCHS + 1)  # the first sampled trial has paused
    assert "paused" in states(sweep).values()
    killing.kill(killing.driver_of(launch))
    finish(launch)

    ended = states(sweep)
    sampled = [ended[number] for number in range(1, TRIALS)]
    assert ended[0] == "complete"
    assert sorted(set(sampled)) == ["complete", "paused"]
    check_curves(sweep, whole)
    attempts = dict(sweep.rows("select number, attempt from trials"))
    assert any(attempts[number] > 1 for number in range(1, TRIALS))  # promoted
    before = runs(shell, "paused")
    for number, state in ended.items():
        status = "FINISHED" if state == "complete" else "KILLED"
        assert before[number][1:] == (status, state)
    kept = sweep.checkpoints()
    assert kept.keys() == ended.keys()
    assert all((folder / "optimizer.safetensors").is_file() for folder in kept.values())
    for folder in (kept[n] for n, state in ended.items() if state == "paused"):
        assert [each for each in os.listdir(folder.parent) if "-00" in each] == [folder.name]

    told = shell.run("status", "paused", "--json").json
    assert (told["state"], told["trials"]["paused"]) == ("finished", sampled.count("paused"))
    assert shell.run("compare", "paused", "--json").json["tasks"]
    shell.run("report", "paused")
    page = (sweep.folder / "report.html").read_text()
    assert STUDY in page
    assert "paused" in page
    assert "nothing to do" in shell.run("resume", "paused").err

    shell.run("extend", "paused", "--trials", str(MORE))
    check_curves(sweep, whole)
    later, after = states(sweep), runs(shell, "paused")
    assert len(later) == MORE
    for number, (run, *_) in before.items():
        state = later[number]
        assert after[number] == (run, "FINISHED" if state == "complete" else "KILLED", state)
    # At the end the best half of each rung have gone on, whenever they paused.
    curves = {number: dict(outcome[-1]) for number, outcome in sweep.outcomes().items() if number}
    for rung in (1, 2):
        arrived = [number for number, curve in curves.items() if rung in curve]
        arrived.sort(key=lambda number: (curves[number][rung]["val/nrmse"], number))
        assert all(rung + 1 in curves[number] for number in arrived[: len(arrived) // 2])
