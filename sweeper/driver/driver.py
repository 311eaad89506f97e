"""The driver of a sweep: it connects to Ray and runs what the ledger lacks.

Imports Ray: `cluster.set_environment` has to be called before this module is imported.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from sweeper.console import print_text
from sweeper.core.policies import Action, FailureBudget, FailurePolicy
from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.cluster_size import ClusterSize
from sweeper.driver.hooks.control import Control
from sweeper.driver.hooks.disk_guard import DiskGuard
from sweeper.driver.hooks.fair_share import FairShare
from sweeper.driver.hooks.gpu_memory import GpuMemory
from sweeper.driver.hooks.notices import Notices
from sweeper.driver.hooks.progress import Progress
from sweeper.driver.hooks.retention import Retention
from sweeper.driver.messages import DriverJob, Ended
from sweeper.driver.node_checks import check_nodes, store_notes
from sweeper.driver.notifier import Event, Notifier
from sweeper.driver.preparation import Preparation
from sweeper.driver.recorder import check_tracking, how_to_look, make_recorder, still_lacking
from sweeper.errors import FileFaults
from sweeper.execution import ray_executor
from sweeper.execution.cluster import Cluster, connect
from sweeper.execution.gauges import Gauges
from sweeper.execution.memory_kills import MemoryKills
from sweeper.execution.nodes import capacities, counts_of_nodes
from sweeper.execution.passing import unpacked
from sweeper.ledger import EndCause, Ledger
from sweeper.model import Study, StudyFacts, Trial
from sweeper.planning import resources
from sweeper.planning.budgets import driven_s, out_of_time
from sweeper.planning.catalog import home
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.costs.price import price_of
from sweeper.planning.data.draws import with_begun_draws
from sweeper.planning.gpus import count_gpus, slices_by_name
from sweeper.planning.plugin_path import active
from sweeper.planning.plugins import changes, record_of
from sweeper.planning.resources import MAX_CONCURRENT
from sweeper.planning.science_code import code_of
from sweeper.planning.stage_store import pin_of
from sweeper.planning.studies import (
    check_same,
    make_plans,
    with_begun_precision,
    with_begun_products,
)
from sweeper.planning.trials import TrialBuilder
from sweeper.provenance import collect
from sweeper.results.floors import beside_validation
from sweeper.spec.rules.stages import schedule_notes
from sweeper.spec.sweep import Sweep
from sweeper.text import counted
from trainables.spec import AttemptConfig, leaves

PATIENCE_S = 120.0  # for stores and MLflow to take what is left, once a sweep has ended
INTERRUPTED_PATIENCE_S = 8.0  # for MLflow, once a user wants the sweep to end
INTERRUPTED_HOOKS_S = 2.0  # for hooks, in the same case
RAY_LOG = "ray_start.log"  # in the sweep's folder: what Ray printed when it did not start
MPS_LOGS = "mps"  # folder in the sweep's


def drive(
    sweep: Sweep,
    ledger: Ledger,
    folder: Path,
    preparation: Preparation,
    *,
    job: DriverJob,
    console: Console,
    on_start: Callable[[bool], None] = lambda is_starting: None,
) -> Ended:
    """Connect to Ray, prepare and check the sweep, and run it to its end.

    `on_start` is called with True before Ray is connected to, and with False once it is.

    Raises:
        FileFaults: Data, weights or a proxy cannot be had, or some nodes lack them.
        UsageError: Data or weights are others than the sweep began with.
        BackendUnreachable: No Ray cluster, no store of checkpoints, or no MLflow where the file
            requires it.
        CannotSchedule: A trial asks for more than the cluster has.
        StorageFull: There was no room for checkpoints for too long.
    """
    say = partial(print_text, console)
    ledger.on_trouble(say)
    # Before Ray is started: without an MLflow that is required nothing can run.
    check_tracking(sweep)
    with connected(sweep, folder, job, on_start) as cluster:
        waits = resources.check_nodes(sweep, cluster.nodes, grows=cluster.grows)
        facts = _prepared(preparation, console)
        check_nodes(sweep, facts, folder, home())
        # Trials on other data or weights would be of another experiment than those in the ledger.
        check_same(ledger, facts)
        # A begun study keeps its draws, products and precision, whatever this machine would choose.
        facts, on_products = with_begun_products(ledger, with_begun_draws(ledger, facts))
        facts, on_precision = with_begun_precision(ledger, facts)
        slots = resources.slots_on(sweep, cluster.nodes)
        for note in (
            *waits,
            *resources.notes_on(sweep, cluster.nodes),
            *store_notes(sweep, pin_of(ledger)),
            *(on_products if leaves(sweep.model, "products") else ()),
            *on_precision,
        ):
            say(note)
        _start(ledger, sweep, slots, say)
        driver = Driver(sweep, ledger, folder, cluster, facts, job=job, console=console)
        ended = driver.run()
    if ended.signal is None:
        # Tune's own files are of no further use: a sweep goes on from its ledger.
        CheckpointPaths(folder, sweep.checkpoints.store).forget("ray")
    return ended


@contextmanager
def connected(
    sweep: Sweep, folder: Path, job: DriverJob, on_start: Callable[[bool], None]
) -> Iterator[Cluster]:
    """Connect to the cluster of a job, and disconnect at the end."""
    with resources.with_mps(sweep, folder / MPS_LOGS) as variables:
        on_start(job.address == "local")
        if job.address == "local":
            # Ray passes these on to the nodes it starts here. A running cluster
            # has its own environment.
            os.environ |= slices_by_name() | variables
        with connect(
            job.address,
            dashboard=sweep.resources.dashboard,
            insecure=job.insecure,
            passed_on=resources.passed_on(sweep, os.environ),
            log=folder / RAY_LOG,
            modules=active(),
            num_gpus=count_gpus(),
        ) as cluster:
            on_start(False)
            yield cluster


def _prepared(preparation: Preparation, console: Console) -> dict[str, StudyFacts]:
    """Wait for the preparation, and return the facts of each study."""
    with console.status("preparing data, weights and source features") as status:
        return preparation.facts(lambda what, done, of: status.update(f"{what}: {done} of {of}"))


def _start(ledger: Ledger, sweep: Sweep, slots: int, say: Callable[[str], None]) -> None:
    """Mark the sweep as running, with its origin and its predicted price."""
    price = price_of(sweep, home(), slots).price
    # The former provenance is read first, because the start of the sweep replaces it.
    record, provenance = ledger.sweep(), {**collect(), **record_of(sweep)}
    changed = changes(record.provenance, provenance) if record is not None else []
    prediction = asdict(price) if price else None
    ledger.start(provenance, slots=slots, prediction=prediction, code=code_of(sweep))
    for note in changed:
        say(note)
        ledger.note(note)
    for note in dict.fromkeys(schedule_notes(sweep.studies)):
        ledger.note(note)


class Driver:
    """The runner of a sweep on a cluster, its recorder and its hooks.

    Args:
        cluster: The cluster that this process is connected to.
        facts: What is recorded of each study.
    """

    def __init__(
        self,
        sweep: Sweep,
        ledger: Ledger,
        folder: Path,
        cluster: Cluster,
        facts: Mapping[str, StudyFacts],
        *,
        job: DriverJob,
        console: Console,
    ) -> None:
        self._sweep, self._ledger, self._folder, self._facts = sweep, ledger, folder, facts
        self._cluster, self._say = cluster, partial(print_text, console)
        plans = make_plans(sweep, ledger, facts)
        self._slots = resources.slots_on(sweep, cluster.nodes)
        # On a cluster of others the runner limits what runs, as its nodes come and go.
        self._most = (
            self._slots if cluster.is_ours else sweep.search.max_concurrent or MAX_CONCURRENT
        )
        self._paths = CheckpointPaths(folder, sweep.checkpoints.store)
        self._recorder = make_recorder(ledger, sweep, self._paths, self._say)
        self._builder = TrialBuilder(
            sweep,
            self._paths,
            home(),
            pin_of(ledger),
            facts,
            measurements=ledger.measurements,
            trial_of=ledger.trial,
        )
        self._builder.let_write_runs(self._recorder.uri)
        self._passed = None if job.function is None else unpacked(job.function)
        wall = sweep.budget.wall
        self._runner = SweepRunner(
            plans,
            ledger,
            policy=policy_of(sweep),
            budget=FailureBudget(max_fraction=sweep.failures.max_failed_fraction),
            out_of_time=time_limit(wall, 0.0 if wall is None else driven_s(ledger)),
            can_halve=self._builder.can_halve,
        )
        if sweep.replicate is not None and sweep.replicate.until is not None:
            self._runner.look = self._look
        # Each counter can be read on its own node alone, so other nodes are asked through Ray.
        self._kills = MemoryKills() if cluster.is_ours else MemoryKills(counts_of_nodes)
        self._control = Control(ledger, self._runner, job.requests_after, self._say)
        self._progress = self._make_progress([plan.study for plan in plans], console)
        self._notifier = Notifier(sweep.name, sweep.notify, self._say)
        self._hooks = self._make_hooks()
        self._runner.watch(*self._hooks)

    def _attempt(self, trial: Trial) -> AttemptConfig:
        # A passed function is neither in the ledger nor in a file, so each attempt gets it here.
        return replace(self._builder(trial), passed=self._passed)

    def _look(self, at: int) -> Mapping[str, int]:
        """Return the number of seeds that each study needs after the look at `at` seeds."""
        from sweeper.results.read import read_sweep
        from sweeper.results.sequential.looks import seeds_after  # slow

        needed = seeds_after(read_sweep(self._ledger).studies, at)
        more = sum(count > at for count in needed.values())
        self._say(f"look after {at} seeds: {counted(more, 'arm')} get{'s' * (more == 1)} more")
        return needed

    def _make_progress(self, studies: Sequence[Study], console: Console) -> Progress:
        """Return the display of the sweep's progress, beside the floors of its tasks."""
        floors = ((study.task, self._facts[study.name].floor_or_lowest) for study in studies)
        return Progress(
            console,
            lambda: self._runner.num_planned,
            self._slots,
            {study.name: study for study in studies},
            self._runner.num_settled,
            self._runner.trials,
            lambda: self._runner.is_ending,
            floors={task: beside_validation(floor) for task, floor in floors if floor is not None},
        )

    def _make_hooks(self) -> list[Hook]:
        """Return the hooks in the order in which they are called; they are closed from the end."""
        sweep, ledger, runner, say = self._sweep, self._ledger, self._runner, self._say
        repeated = 1 if sweep.replicate is None else sweep.replicate.top
        disk = DiskGuard(runner, self._paths, self._slots, say)

        def resized(slots: int) -> None:
            disk.slots = self._progress.max_concurrent = slots

        size = ClusterSize(
            sweep=sweep,
            runner=runner,
            ledger=ledger,
            read=capacities,
            grows=self._cluster.grows,
            resized=resized,
            joined=self._check_joined,
            say=say,
        )
        return [
            *([self._kills] if self._cluster.is_ours else []),  # other nodes are asked at need
            self._control,
            Retention(
                self._paths, sweep.checkpoints, ledger, repeated, say, lambda: runner.are_searched
            ),
            disk,
            *([] if self._cluster.is_ours else [size]),
            # It divides the slots that `size` has just counted, and so comes after it.
            FairShare(runner, self._slots, self._cluster.standing, say),
            self._progress,
            Gauges(ledger.name, runner, lambda: self._recorder.status().pending),
            GpuMemory(sweep.resources.gpu, ledger, say),
            *[Notices(runner, self._notifier, lambda: self._recorder.outage)] * bool(sweep.notify),
        ]

    def _check_joined(self) -> None:
        """Say which files the nodes lack that have joined: trials would fail there."""
        try:
            check_nodes(self._sweep, self._facts, self._folder, home())
        except FileFaults as error:
            self._say(str(error))
            self._notifier.send(Event.NEEDS_PERSON, str(error))
        except Exception as error:  # the cluster ends, or does not answer
            self._say(f"nodes that joined were not checked for data: {type(error).__name__}")

    def run(self) -> Ended:
        """Run the sweep to its end, or until a signal comes."""
        self._recorder.start()
        self._say_where()
        self._control.obey()  # before the first trial, which may be one to be skipped
        try:
            try:
                code = self._run_trials()
            except BaseException:  # a ledger lost, a disk full: as resumable as a crash
                self._recorder.stop(timeout_s=0)
                raise
            if code is None:
                # Deletions of checkpoints are events. `_end` ships them to MLflow with all others.
                self._close_hooks(PATIENCE_S)
            self._end(code)
        finally:
            self._close_hooks(INTERRUPTED_HOOKS_S)
        return Ended(signal=code, why=self._control.cancelled)

    def _run_trials(self) -> int | None:
        """Let Ray Tune run all trials; return the number of the signal that ended it, or None."""
        with self._progress:
            return ray_executor.run(
                self._runner,
                self._attempt,
                ray_executor.Placement(
                    resources=resources.request(self._sweep),
                    max_concurrent=self._most,
                    folder=self._folder / "ray",
                    storage=self._paths.storage(),
                    silence_s=self._sweep.failures.silence or math.inf,
                    grows=self._cluster.grows,
                ),
                each_second=self._tick,
                kills=self._kills,
                say=self._say,
            )

    def _tick(self) -> None:
        # If our own node is dead, this driver ends, and the supervisor starts another.
        self._cluster.check()
        for hook in self._hooks:
            hook.tick()

    def _close_hooks(self, patience_s: float) -> None:
        for hook in reversed(self._hooks):
            hook.close(patience_s)

    def _end(self, code: int | None) -> None:
        """Close the sweep in the ledger, ship the rest to MLflow, and print how to continue."""
        ledger, runner = self._ledger, self._runner
        if code is not None:
            why = self._control.cancelled or signal.Signals(code).name
            ledger.end("interrupted", why)
            passed = self._passed is not None  # which the ledger does not have
            how = "the same call of sweeper.tune" if passed else f"sweeper resume {ledger.name}"
            self._say(f"{why}: stopped; go on with: {how}")
        else:
            done = runner.are_searched
            is_late = not done and runner.is_out_of_time() and runner.aborted is None
            wall = out_of_time(self._sweep.budget.wall or 0.0) if is_late else None
            cause = None if runner.aborted is None else EndCause.ABORTED
            ledger.end("finished" if done else "stopped", runner.aborted or wall, cause=cause)
            for study in runner.studies.values():
                if (reason := study.ended_early) is not None:
                    self._say(f"{study.name}: its search ended early: {reason}")
            if wall is not None:
                self._say(f"ended: {wall}")
        if runner.aborted is not None:
            self._say(f"ended early: {runner.aborted}")
        # The end of the sweep is an event, too. So the recorder stops after it and ships it.
        left = self._recorder.stop(timeout_s=PATIENCE_S if code is None else INTERRUPTED_PATIENCE_S)
        if (lacking := still_lacking(left, ledger.name)) is not None:
            self._say(lacking)

    def _say_where(self) -> None:
        """Print the addresses of Ray's dashboard and of MLflow."""
        cluster, uri = self._cluster, self._recorder.uri
        if cluster.dashboard is not None:
            token = f" (asks for the token in {cluster.token_file})" if cluster.token_file else ""
            self._say(f"Ray dashboard: {cluster.dashboard}{token}")
        self._say(f"MLflow: {uri} ({how_to_look(uri)})")


def policy_of(sweep: Sweep) -> FailurePolicy:
    """Return the reactions to failures that a file asks for."""
    actions = {name: Action(each) for name, each in sweep.failures.actions.model_dump().items()}
    if sweep.program is not None:  # its batches are its own
        actions = {k: Action.RETRY if a is Action.HALVE else a for k, a in actions.items()}
    return FailurePolicy(
        max_attempts=sweep.failures.max_attempts,
        actions=actions,
        shares_gpu=0 < sweep.resources.gpu < 1,
    )


def time_limit(wall_s: float | None, driven_s: float) -> Callable[[], bool]:
    """Return a function that is true once the sweep has run for `wall_s` seconds.

    Args:
        wall_s: None: there is no limit.
        driven_s: The seconds for which it has run until now.
    """
    deadline = math.inf if wall_s is None else time.monotonic() + wall_s - driven_s
    return lambda: time.monotonic() > deadline
