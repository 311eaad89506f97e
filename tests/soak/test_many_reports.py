"""Reports come as fast as two cores can make them: none is lost, and the control loop keeps up."""

import time
from contextlib import closing

import numpy as np
import psutil
import pytest

from sweeper.core.runner import SweepRunner
from sweeper.ledger import EventKind, Ledger
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from tests.support.figures import moments, pace, show
from tests.support.servers.process import wait_until
from tests.support.toy import history
from tests.support.toy import sweep as toy_sweep
from trainables.report import Measurement

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture
def run(tmp_path, ray_head, new_store):
    """Run a toy sweep to its end; return its folder and when its process ended."""

    def run(*options: str) -> tuple:
        folder = tmp_path / "toy"
        joined = ("--address", ray_head.address, "--tracking", new_store(), "--pruning", "none")
        sweep = toy_sweep.start(folder, *options, *joined, environment=ray_head.environment)
        try:
            assert sweep.wait(600) == 0, sweep.tail()
        finally:
            sweep.kill()
        assert "0 records are left to ship" in sweep.tail()
        return folder, time.time()

    return run


def test_sixteen_trials_report_ten_times_a_second(run):
    epochs, epoch_s = 300, 0.1
    folder, over = run(
        "--trials", "16", "--epochs", str(epochs), "--epoch-s", str(epoch_s),
        "--concurrent", "16", "--cpu", "0.1", "--sampler", "random",
    )  # fmt: skip
    with closing(toy_sweep.open_ledger(folder)) as ledger:
        assert history.violations(folder, ledger, planned={"toy/task_0": 16}, faults=0) == []
        assert ledger.count_events(kinds=[EventKind.MEASURED]) == 16 * epochs
        measured, (ended,) = pace(folder, ledger), moments(ledger, EventKind.SWEEP_ENDED)
    p50, p99 = np.percentile(measured.lags, [50, 99]) * 1e3
    show("L1 rate", "160 reports/s asked for", f"{measured.epochs_per_s:.0f} reports/s")
    show("L1 lost in the ledger", "0", "0")
    show("L1 lag of the control loop", "p99 <= 500 ms", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    show("L1 drained after the end", "<= 10 s", f"{over - ended:.1f} s, Ray's farewell included")
    gap = np.median(measured.gaps)
    show("L1 epoch time", "<= 105 ms", f"{gap * 1e3:.0f} ms")
    assert p99 < 500
    assert over - ended < 10


def test_an_epoch_of_a_second_takes_at_most_five_percent_longer(run):
    folder, _ = run(
        "--trials", "4", "--epochs", "30", "--epoch-s", "1.0", "--concurrent", "4", "--cpu", "0.1"
    )
    with closing(toy_sweep.open_ledger(folder)) as ledger:
        gap = float(np.median(pace(folder, ledger).gaps))
    show("L1 epoch of 1 s, 4 trials", "<= 1.05 s", f"{gap:.3f} s")
    assert gap < 1.05


def test_a_hundred_trials_report_at_once(tmp_path, new_store):
    """Run the driver's part without Ray: a hundred processes would not fit on two cores."""
    options = toy_sweep.parser().parse_args([str(tmp_path / "toy"), "--trials", "100"])
    with closing(toy_sweep.open_ledger(options.folder)) as ledger:
        ledger.start({})
        (plan,) = toy_sweep.make_plans(options)
        ledger.add_study(plan.study)
        runner = SweepRunner([plan], ledger)
        trials = [runner.next_trial() for _ in range(100)]
        recorder = MlflowRecorder(ledger, uri=new_store(), experiment="toy", poll_s=0.2)
        recorder.start()
        began = time.perf_counter()
        for trial in trials:
            assert trial is not None
            runner.on_report(trial, first_epoch(trial.number))
        took = time.perf_counter() - began
        assert ledger.count_events(kinds=[EventKind.MEASURED]) == 100
        recorder.stop(timeout_s=0)
    show("L2 burst of 100 reports", "<= 5 s", f"{took:.2f} s")
    assert took < 5


def first_epoch(number: int) -> Measurement:
    value = 1 / (number + 1)
    metrics = {"refine/train_loss": value**2, "val/loss": value, "refine/learning_rate": 1e-4}
    return Measurement(stage="refine", epoch=1, num_epochs=4, metrics=metrics, objective=value)


def test_two_hundred_trivial_trials(tmp_path, ray_head, new_store):
    """The driver takes a tenth of a core-second for each at most, on a busy machine too."""
    folder, trials = tmp_path / "toy", 200
    sweep = toy_sweep.start(
        folder, "--trials", str(trials), "--epochs", "1", "--epoch-s", "0", "--sampler", "random",
        "--address", ray_head.address, "--tracking", new_store(), "--patience", "300",
        environment=ray_head.environment,
    )  # fmt: skip
    driver = psutil.Process(sweep.pid)
    with closing(toy_sweep.open_ledger(folder)) as ledger:

        def spent_by(count: int) -> tuple[float, int]:
            """Core-seconds of the driver once so many trials have ended, and how many have."""
            wait_until(lambda: num_ended(ledger) >= count, timeout_s=300, what="trials to end")
            times = driver.cpu_times()
            return times.user + times.system, num_ended(ledger)

        try:
            (early, first), (late, last) = spent_by(5), spent_by(trials)
            assert sweep.wait(300) == 0, sweep.tail()
        finally:
            sweep.kill()
        assert history.violations(folder, ledger, planned={"toy/task_0": trials}, faults=0) == []
        ends = moments(ledger, EventKind.TRIAL_ENDED)
    assert "0 records are left to ship" in sweep.tail()
    each, rate = (late - early) / (last - first), (trials - 1) / (ends[-1] - ends[0])
    measured = f"{rate:.1f} trials/s, {each * 1e3:.0f} ms of the driver's core each"
    show("L3 trivial trials", ">= 20 trials/s", measured)
    assert each < 0.1


def num_ended(ledger: Ledger) -> int:
    return ledger.count_events(kinds=[EventKind.TRIAL_ENDED])
