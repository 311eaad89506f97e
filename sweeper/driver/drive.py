"""Runs what a ledger lacks of a sweep: connect, and let Ray Tune ask the runner.

Imports Ray: `cluster.set_environment` has to be called before this module is imported.
"""

import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeper.config.check_studies import schedule_notes
from sweeper.config.schema import Failures
from sweeper.config.sweep import Sweep
from sweeper.core.policies import Action, FailureBudget, FailurePolicy
from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.control import Control
from sweeper.driver.hooks.disk_guard import DiskGuard
from sweeper.driver.hooks.fair_share import FairShare
from sweeper.driver.hooks.gpu_memory import GpuMemory
from sweeper.driver.hooks.progress import Progress
from sweeper.driver.hooks.retention import Retention
from sweeper.driver.node_checks import check_nodes, store_notes
from sweeper.driver.preparation import Preparation
from sweeper.driver.recorder import check_tracking, how_to_look, make_recorder
from sweeper.driver.supervisor import Job
from sweeper.execution import ray_executor
from sweeper.execution.cluster import Cluster, connect
from sweeper.execution.gauges import Gauges
from sweeper.execution.memory_kills import MemoryKills
from sweeper.execution.nodes import counts_of_nodes
from sweeper.ledger import Ledger
from sweeper.planning import resources
from sweeper.planning.catalog import home
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.plans import check_same, make_plans
from sweeper.planning.prediction import price_of
from sweeper.planning.stage_store import holder_of
from sweeper.planning.trials import TrialBuilder
from sweeper.provenance import collect
from sweeper.tracking.mlflow_recorder import MlflowRecorder

PATIENCE_S = 120.0  # for stores and MLflow to take what is left, once a sweep has ended
RAY_LOG = "ray_start.log"  # in the sweep's folder: what Ray printed when it did not start
INTERRUPTED_PATIENCE_S = 8.0  # and once a user wants it to end


def drive(
    sweep: Sweep,
    ledger: Ledger,
    folder: Path,
    preparation: Preparation,
    *,
    job: Job,
    console: Console,
    on_start: Callable[[bool], None] = lambda is_starting: None,
) -> dict[str, Any]:
    """Runs the sweep to its end; `signal` names the one that ended it early, and `why` says more.

    Args:
        on_start: Called with True before Ray is connected to, and with False once it is.

    Raises:
        FileFaults: Data, weights or a proxy cannot be had, or some nodes lack them.
        UsageError: Data or weights are others than the sweep began with.
        BackendUnreachable: No Ray cluster, no store of checkpoints, or no MLflow where the file
            requires it.
        CannotSchedule: A trial asks for more than the cluster has.
        StorageFull: There was no room for checkpoints for too long.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    ledger.on_trouble(say)
    check_tracking(sweep)
    with ExitStack() as stack:
        on_start(job.address == "local")
        cluster = stack.enter_context(
            connect(
                job.address,
                num_gpus=resources.local_gpus(),
                insecure=job.insecure,
                passed_on=resources.passed_on(sweep, os.environ),
                log=folder / RAY_LOG,
            )
        )
        on_start(False)
        resources.check_cluster(sweep, cluster.resources)
        with console.status("preparing data, weights and source features") as status:
            facts = preparation.facts(
                lambda what, done, of: status.update(f"{what}: {done} of {of}")
            )
        check_nodes(sweep, facts, folder, home())
        check_same(ledger, facts)
        holder = holder_of(ledger)
        for note in (*resources.notes(sweep, cluster.resources), *store_notes(sweep, holder)):
            say(note)
        slots = resources.concurrency(sweep, cluster.resources)
        price = price_of(sweep, home(), slots).price
        ledger.start(collect(), slots=slots, prediction=price)
        for note in schedule_notes(sweep.studies()):
            ledger.note(note)
        plans = make_plans(sweep, ledger, facts)
        paths = CheckpointPaths(folder, sweep.checkpoints.store)
        recorder = make_recorder(ledger, sweep, paths, say)
        recorder.start()
        _say_where(cluster, recorder, say)
        builder = TrialBuilder(sweep, paths, home(), holder, facts)
        spared = 1 if sweep.replicate is None else sweep.replicate.top
        retention = Retention(paths, sweep.checkpoints, ledger, spared, say)
        stack.callback(retention.close, 2)  # seconds, once a user wants it to end
        try:
            runner = SweepRunner(
                plans,
                ledger,
                policy=_policy(sweep.failures),
                budget=FailureBudget(max_fraction=sweep.failures.max_failed_fraction),
                out_of_time=_clock(sweep.budget.wall),
                can_halve=builder.can_halve,
            )
            control = Control(ledger, runner, job.requests_after, say)
            guard = DiskGuard(runner, paths, slots, say)
            share = FairShare(runner, slots, cluster.standing, say)
            kills = MemoryKills() if cluster.is_ours else MemoryKills(counts_of_nodes)
            gauges = Gauges(ledger.name, runner, lambda: recorder.status().pending)
            hooks: list[Hook] = [kills] if cluster.is_ours else []

            def each_second() -> None:
                cluster.check()
                for hook in hooks:
                    hook.tick()

            objectives = {plan.study.name: plan.study.objective for plan in plans}
            planned, done = runner.num_planned, runner.num_finished
            with Progress(console, planned, slots, objectives, done, runner.trials) as progress:
                memory = GpuMemory(sweep.resources.gpu, ledger, say)
                hooks += [control, retention, guard, share, progress, gauges, memory]
                runner.watch(*hooks)
                code = ray_executor.run(
                    runner,
                    builder,
                    resources=resources.request(sweep),
                    max_concurrent=slots,
                    folder=folder / "ray",
                    storage=paths.storage(),
                    silence_s=sweep.failures.silence or math.inf,
                    each_second=each_second,
                    kills=kills,
                    say=say,
                )
        except BaseException:  # a ledger lost, a disk full: as resumable as a crash
            recorder.stop(timeout_s=0)
            raise
        if code is None:
            retention.close(PATIENCE_S)
        _end(ledger, runner, recorder, code, control.cancelled, say)
    if code is None:
        paths.forget("ray")
    return {"signal": code, "why": control.cancelled}


def _policy(failures: Failures) -> FailurePolicy:
    actions = {name: Action(action) for name, action in failures.actions.model_dump().items()}
    return FailurePolicy(max_attempts=failures.max_attempts, actions=actions)


def _end(
    ledger: Ledger,
    runner: SweepRunner,
    recorder: MlflowRecorder,
    code: int | None,
    cancelled: str | None,
    say: Callable[[str], None],
) -> None:
    """Closes the sweep in the ledger, lets the recorder ship that, and says how to go on."""
    if code is not None:
        why = cancelled or signal.Signals(code).name
        ledger.end("interrupted", why)
        say(f"{why}: stopped; go on with: sweeper resume {ledger.name}")
    else:
        done = all(study.is_done for study in runner.studies.values())
        ledger.end("finished" if done else "stopped", runner.aborted)
    if runner.aborted is not None:
        say(f"ended early: {runner.aborted}")
    left = recorder.stop(timeout_s=PATIENCE_S if code is None else INTERRUPTED_PATIENCE_S)
    if left.pending:
        say(
            f"MLflow at {left.uri} lacks {left.pending} records ({left.last_error}); they are in "
            f"the ledger: run `sweeper sync {ledger.name}` once it is back."
        )


def _clock(wall_s: float | None) -> Callable[[], bool]:
    """Returns a question that is true once `wall_s` seconds have passed since now."""
    deadline = math.inf if wall_s is None else time.monotonic() + wall_s
    return lambda: time.monotonic() > deadline


def _say_where(cluster: Cluster, recorder: MlflowRecorder, say: Callable[[str], None]) -> None:
    if cluster.dashboard is not None:
        token = f" (asks for the token in {cluster.token_file})" if cluster.token_file else ""
        say(f"Ray dashboard: {cluster.dashboard}{token}")
    say(f"MLflow: {recorder.uri} ({how_to_look(recorder.uri)})")
