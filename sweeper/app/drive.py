"""Runs what a ledger lacks of a sweep: prepare, connect, and let Ray Tune ask the runner.

Imports Ray: `cluster.set_environment` has to be called before this module is imported.
"""

import math
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from sweeper.app import resources
from sweeper.app.catalog import home
from sweeper.app.plans import make_plans
from sweeper.app.prepare import prepare
from sweeper.app.progress import Progress
from sweeper.app.tracking import check_tracking, make_recorder
from sweeper.app.trials import Retention, TrialBuilder
from sweeper.execution import ray_executor
from sweeper.execution.cluster import Cluster, connect
from sweeper.ledger import Ledger
from sweeper.policies import FailureBudget
from sweeper.provenance import collect
from sweeper.recording.mlflow_recorder import MlflowRecorder
from sweeper.runner import SweepRunner
from sweeper.space.sweep import Sweep

PATIENCE_S = 120.0  # for MLflow to take what is left, once a sweep has ended
INTERRUPTED_PATIENCE_S = 8.0  # and once a user wants it to end


def drive(
    sweep: Sweep, ledger: Ledger, folder: Path, *, address: str, planned: int, console: Console
) -> int | None:
    """Runs the sweep to its end; returns the number of the signal that ended it early, or None.

    Raises:
        FileFaults: Data, weights or a proxy cannot be had.
        BackendUnreachable: No Ray cluster, or no MLflow where the file requires it.
        CannotSchedule: A trial asks for more than the cluster has.
    """
    check_tracking(sweep)
    with console.status("preparing data, weights and source features") as status:
        facts = prepare(
            sweep, home(), lambda what, done, of: status.update(f"{what}: {done} of {of}")
        )
    with ExitStack() as stack:
        cluster = stack.enter_context(connect(address, num_gpus=resources.local_gpus()))
        resources.check_cluster(sweep, cluster.resources)
        ledger.start(collect())
        plans = make_plans(sweep, ledger, facts)
        recorder = make_recorder(ledger, sweep, lambda line: console.print(line, markup=False))
        recorder.start()
        _say_where(cluster, recorder, console)
        slots = resources.concurrency(sweep, cluster.resources)
        objectives = {plan.study.name: plan.study.objective for plan in plans}
        try:
            with Progress(console, planned, slots, objectives) as progress:
                runner = SweepRunner(
                    plans,
                    ledger,
                    max_attempts=sweep.failures.max_attempts,
                    budget=FailureBudget(max_fraction=sweep.failures.max_failed_fraction),
                    observers=[Retention(folder, sweep.checkpoints), progress],
                    out_of_time=_clock(sweep.budget.wall),
                )
                code = ray_executor.run(
                    runner,
                    TrialBuilder(sweep, folder, home()),
                    resources=resources.request(sweep),
                    max_concurrent=slots,
                    folder=folder / "ray",
                )
        except BaseException:  # a second Ctrl-C, or a ledger lost: as resumable as a crash
            recorder.stop(timeout_s=0)
            raise
        _end(ledger, runner, recorder, code, console)
    if code is None:
        shutil.rmtree(folder / "ray", ignore_errors=True)
    return code


def _end(
    ledger: Ledger,
    runner: SweepRunner,
    recorder: MlflowRecorder,
    code: int | None,
    console: Console,
) -> None:
    """Closes the sweep in the ledger, lets the recorder ship that, and says how to go on."""
    if code is not None:
        ledger.end("interrupted")
        name = signal.Signals(code).name
        console.print(f"{name}: stopped; go on with: sweeper resume {ledger.name}")
    else:
        done = all(study.is_done for study in runner.studies.values())
        ledger.end("finished" if done else "stopped")
    if runner.aborted is not None:
        console.print(f"ended early: {escape(runner.aborted)}")
    left = recorder.stop(timeout_s=PATIENCE_S if code is None else INTERRUPTED_PATIENCE_S)
    if left.pending:
        console.print(
            f"MLflow at {left.uri} lacks {left.pending} records ({left.last_error}); they are in "
            f"the ledger: run `sweeper sync {ledger.name}` once it is back.",
            markup=False,
        )


def _clock(wall_s: float | None) -> Callable[[], bool]:
    """Returns a question that is true once `wall_s` seconds have passed since now."""
    deadline = math.inf if wall_s is None else time.monotonic() + wall_s
    return lambda: time.monotonic() > deadline


def _say_where(cluster: Cluster, recorder: MlflowRecorder, console: Console) -> None:
    if cluster.dashboard is not None:
        token = f" (asks for the token in {cluster.token_file})" if cluster.token_file else ""
        console.print(f"Ray dashboard: {cluster.dashboard}{token}", markup=False, soft_wrap=True)
    how = "mlflow ui" if recorder.uri.startswith("sqlite:///") else "open it in a browser"
    console.print(f"MLflow: {recorder.uri} ({how})", markup=False, soft_wrap=True)
