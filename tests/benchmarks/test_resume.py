"""Going on with a sweep of a thousand finished trials costs seconds, Ray's own start apart.

A sweep without any history is started beside it, on the same Ray: what both take are imports,
Ray's greeting and a trial's process.
"""

import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.core.study_runner import StudyPlan
from sweeper.ledger import Ledger
from sweeper.model import Outcome, TrialState
from tests.soak.imported import suggested
from tests.support.figures import show
from tests.support.toy import history
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.curve import values
from tests.support.trials import measured

pytestmark = pytest.mark.benchmark
FINISHED, EPOCHS, ROUNDS = 1000, 4, 2
OPTIONS = ("--trials", str(FINISHED + 4), "--epochs", str(EPOCHS))


def write_finished(folder: Path) -> None:
    """Write a thousand toy trials that have run to their end."""
    options = toy_sweep.parser().parse_args([str(folder), *OPTIONS, "--sampler", "random"])
    with closing(toy_sweep.open_ledger(folder)) as ledger:
        ledger.start({})
        (plan,) = toy_sweep.make_plans(options)
        ledger.add_study(plan.study)
        for number in range(FINISHED):
            _write(ledger, plan, number)
        ledger.end("interrupted")


def _write(ledger: Ledger, plan: StudyPlan, number: int) -> None:
    trial = suggested(plan, number)
    ledger.add_trial(trial)
    attempt = ledger.start_attempt(trial.study, number)
    curve = values(trial.params, trial.seed, EPOCHS)
    for epoch, value in enumerate(curve, start=1):
        is_final = epoch == EPOCHS
        metrics = {"refine/train_loss": value**2, "val/loss": value}
        report = measured(epoch, value, num_epochs=EPOCHS, metrics=metrics, is_final=is_final)
        outcome = Outcome(state=TrialState.COMPLETE, test={"test/loss": value * 1.1})
        ledger.measure(trial.study, number, attempt, report, outcome if is_final else None)


def test_a_thousand_finished_trials_cost_under_five_seconds(tmp_path, ray_head, new_store):
    def first_start(folder: Path) -> float:
        """Seconds from the start of the driver's process to that of the first new trial."""
        joined = ("--address", ray_head.address, "--tracking", new_store(), "--patience", "0")
        began = time.time()
        sweep = toy_sweep.start(folder, *OPTIONS, *joined, environment=ray_head.environment)
        try:
            while not (started := history.read(folder)):
                assert sweep.is_alive, sweep.tail()
                time.sleep(0.05)
        finally:
            sweep.kill()
        return started[0].time - began

    new, resumed = [], []
    for number in range(ROUNDS):
        new.append(first_start(tmp_path / f"new{number}" / "toy"))
        old = tmp_path / f"old{number}"
        if number == 0:
            write_finished(old / "toy")
            shutil.copytree(old, tmp_path / "kept")
        else:
            shutil.copytree(tmp_path / "kept", old)
        resumed.append(first_start(old / "toy"))
    cost = min(resumed) - min(new)
    show("resume of 1,000 trials", "< 5 s, Ray's own start apart",
         f"{cost:+.1f} s: {min(resumed):.1f} s, and {min(new):.1f} s without any")  # fmt: skip
    assert cost < 5
