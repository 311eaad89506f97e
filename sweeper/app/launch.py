"""Launches a sweep, or goes on with one: file -> ledger -> Ray Tune -> MLflow, then the summary."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweeper import lease
from sweeper.app import load, resources
from sweeper.app.catalog import home
from sweeper.app.folder import existing, folder_of, open_ledger
from sweeper.app.load import Options
from sweeper.app.progress import Progress
from sweeper.app.summary import summarize
from sweeper.errors import NotFound
from sweeper.ledger import Ledger
from sweeper.provenance import collect
from sweeper.space.sweep import Sweep

TOKEN = "ray_token"  # in SWEEPER_HOME; what a browser is asked for


def launch(file: Path, options: Options, *, console: Console) -> dict[str, Any]:
    """Runs the sweep of `file`, resumes it if it was begun, extends it if `--trials` grew.

    Returns its summary, with the exit code under `exit_code`.

    Raises:
        SweeperError: Nothing was started, and nothing was overwritten; the text says why.
    """
    sweep = load.read(file, options)
    for note in sweep.notes:
        console.print(escape(note), style="dim")
    folder = folder_of(sweep.name)
    with lease.hold(folder), _ledger(folder, options.storage) as ledger:
        load.match(ledger, sweep, file.read_text())
        return _drive(sweep, ledger, folder, options.address, console)


def resume(name: str, *, address: str, console: Console) -> dict[str, Any]:
    """Goes on with the sweep `name`, as its ledger has it. Raises NotFound."""
    folder = existing(name)
    with lease.hold(folder), _ledger(folder, None) as ledger:
        record = ledger.sweep()
        if record is None:
            raise NotFound(f"sweep `{name}` was never started; launch its file again.")
        return _drive(load.from_record(record), ledger, folder, address, console)


@contextmanager
def _ledger(folder: Path, storage: str | None) -> Iterator[Ledger]:
    ledger = open_ledger(folder, storage)
    try:
        yield ledger
    finally:
        ledger.close()


def _drive(
    sweep: Sweep, ledger: Ledger, folder: Path, address: str, console: Console
) -> dict[str, Any]:
    """Runs what the ledger lacks of a sweep."""
    record = ledger.sweep()
    assert record is not None
    planned = len(sweep.studies()) * sweep.search.trials
    done = sum(trial.state.is_finished for trial in ledger.trials())
    if done == planned:
        console.print(f"{sweep.name} is finished ({done} of {planned} trials); nothing to do.")
        return summarize(ledger, folder)
    if record.state != "new":
        console.print(f"{sweep.name}: resuming, {done} of {planned} trials are done.")
    resources.check_request(sweep, address)
    code = _run(sweep, ledger, folder, address, planned, console)
    if code is None:
        ledger.end("finished")
    return {**summarize(ledger, folder), **({"exit_code": 128 + code} if code else {})}


def _run(
    sweep: Sweep, ledger: Ledger, folder: Path, address: str, planned: int, console: Console
) -> int | None:
    """Prepares, connects, and lets Ray Tune run; returns the signal that ended it early."""
    from sweeper.execution import cluster as clusters

    clusters.set_environment(home() / TOKEN)
    from sweeper.app.plans import make_plans
    from sweeper.app.prepare import prepare
    from sweeper.app.tracking import check_tracking, make_recorder
    from sweeper.app.trials import Retention, TrialBuilder
    from sweeper.execution import ray_executor
    from sweeper.runner import SweepRunner

    check_tracking(sweep)
    with console.status("preparing data, weights and source features"):
        facts = prepare(sweep, home(), lambda what, done, of: None)
    ledger.start(collect())
    with ExitStack() as stack:
        cluster = stack.enter_context(clusters.connect(address, num_gpus=resources.local_gpus()))
        resources.check_cluster(sweep, cluster.resources)
        plans = make_plans(sweep, ledger, facts)
        recorder = make_recorder(ledger, sweep, lambda line: console.print(line, markup=False))
        recorder.start()
        stack.callback(lambda: recorder.stop(timeout_s=120))
        _say_where(cluster, recorder.uri, console)
        slots = resources.concurrency(sweep, cluster.resources)
        objectives = {plan.study.name: plan.study.objective for plan in plans}
        progress = stack.enter_context(Progress(console, planned, slots, objectives))
        runner = SweepRunner(
            plans,
            ledger,
            max_attempts=sweep.failures.max_attempts,
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
        if code is not None:
            ledger.end("interrupted")
            name = signal.Signals(code).name
            console.print(f"{name}: stopped; go on with: sweeper resume {sweep.name}")
        if runner.aborted is not None:
            console.print(f"ended early: {escape(runner.aborted)}", style="red")
        return code


def _clock(wall_s: float | None) -> Callable[[], bool]:
    """Returns a question that is true once `wall_s` seconds have passed since now."""
    deadline = math.inf if wall_s is None else time.monotonic() + wall_s
    return lambda: time.monotonic() > deadline


def _say_where(cluster: Any, uri: str, console: Console) -> None:
    if cluster.dashboard is not None:
        token = f" (asks for the token in {cluster.token_file})" if cluster.token_file else ""
        console.print(f"Ray dashboard: {cluster.dashboard}{token}", markup=False, soft_wrap=True)
    command = "mlflow ui" if uri.startswith("sqlite:///") else "open it in a browser"
    console.print(f"MLflow: {uri} ({command})", markup=False, soft_wrap=True)
