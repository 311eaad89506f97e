"""The handle of a sweep, and the functions that return it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import psutil
from rich.console import Console

from sweeper.address import is_dashboard
from sweeper.api.requests import LaunchAction, LaunchRequest
from sweeper.api.running import run
from sweeper.api.trial import Trial
from sweeper.commands import control, look, results
from sweeper.commands import launch as commands
from sweeper.commands.control import Answer, TrialAnswers
from sweeper.commands.logs import LAUNCH_LOG
from sweeper.commands.look import Summary
from sweeper.errors import NotFound, SweeperError, UsageError, unknown
from sweeper.ledger import Ledger, RequestKind, SweepRecord
from sweeper.model import TrialKind, trial_name
from sweeper.planning.catalog import catalog, usable_home
from sweeper.planning.load import Options
from sweeper.planning.one_line import in_one_line
from sweeper.planning.plugin_path import activate
from sweeper.planning.sweep_folder import existing, has_ledger, living_state, name_of, started
from sweeper.planning.trials import find_trial
from sweeper.results.read import read_outline, read_study, read_sweep
from sweeper.results.schema import StudyResult, progress_of
from sweeper.spec.shipped import located

if TYPE_CHECKING:
    import optuna
    import pandas as pd

POLL_S = 0.5

Sets = Mapping[str, object] | Sequence[str]


class Destination(TypedDict, total=False):
    """Keywords of `launch` about the cluster that a sweep runs on, and about its ledger."""

    storage: str | None
    address: str
    insecure: bool


class Sweep:
    """A sweep that has begun: its state and its results, and the commands that steer it.

        sweep = sweeper.open("mona_pdebench")
        sweep.trials().groupby("study")["value"].min()

    Each method reads the ledger again, so it also shows what another process runs. All errors are
    those of `sweeper.errors`. In a notebook the handle shows itself as a table of its studies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def state(self) -> str:
        """The state of now: new, running, finished, stopped, interrupted or crashed."""
        with self._ledger() as (ledger, record):
            return living_state(record, ledger)

    def status(self) -> Summary:
        """Return the summary that `sweeper status` prints: `.state`, `.trials`, `.studies`."""
        return look.status_of(self.folder)

    def studies(self) -> "pd.DataFrame":
        """Return a row for each study, in the order of the file.

        Columns: study, method, task, objective, metric, trials, ended, best (a trial's number),
        validation, test, seeds, control_test, floor (of the best predictor without a network),
        floor_predictor (its name), and `baseline/NAME` of all of these predictors.

            list(sweep.studies()["study"])
        """
        from sweeper.render.frames import as_frame, study_rows

        with self._ledger() as (ledger, _):
            return as_frame(study_rows(read_sweep(ledger, histories=False).studies), {})

    def trials(self, study: str | None = None) -> "pd.DataFrame":
        """Return a row for each trial, replicates and reruns included.

        Columns: sweep, study, method, task, trial, kind, origin, state, objective, value (of
        validation), test, best_epoch, attempts, halvings, epochs, device, device_seconds,
        precision, seed, failure, reason, the last value of each metric, and each parameter as
        `stage.parameter`. Missing values are null.

            sweep.trials().nsmallest(5, "value")[["trial", "value", "refine.lr"]]

        Args:
            study: Only this study.

        Raises:
            NotFound: There is no such study.
        """
        from sweeper.render.frames import as_frame, trial_rows

        with self._ledger() as (ledger, _):
            return as_frame(trial_rows(_chosen(ledger, study)))

    def curves(self, study: str | None = None) -> "pd.DataFrame":
        """Return each metric of each epoch of each trial in long form, running trials included.

        Columns: study, trial, stage, epoch (from 1), metric, value. Of an epoch that a later
        attempt has repeated, the later values count.

            curves = sweep.curves("mona/pdebench/advection_1d")
            errors = curves[curves["metric"] == "val/nrmse"]
            errors.pivot(index="epoch", columns="trial", values="value")

        Args:
            study: Only this study.

        Raises:
            NotFound: There is no such study.
        """
        from sweeper.render.frames import CURVES, as_frame, curve_rows

        with self._ledger() as (ledger, _):
            return as_frame(curve_rows(_chosen(ledger, study)), CURVES)

    def best(self, study: str | None = None, *, objective: str | None = None) -> Trial:
        """Return the best trial of a study: that with the lowest validation value.

        Of trials with replicates, the mean over their seeds counts. The control is never the best,
        nor is a trial that breaks one of `search.constraints`.

            sweep.best("mona/pdebench/advection_1d").params

        Args:
            study: May be left out if the sweep has one study.
            objective: One of `search.objectives`, such as `seconds`; default: the first.

        Raises:
            NotFound: There is no such study, or none of its trials is complete and feasible.
            UsageError: The study does not have this objective.
        """
        with self._ledger() as (ledger, record):
            table = read_study(ledger, _one(ledger, study))
            for trial in table.ranked_by(objective or table.study.objective):
                return Trial.of(self.folder, record.resolved, trial)
        name = table.study.name
        raise NotFound(f"no trial of {name} in `{self.name}` wins: {table.why_no_best}.")

    def trial(self, name: str | int) -> Trial:
        """Return one trial.

            sweep.trial("mona/pdebench/advection_1d/3")

        Args:
            name: STUDY/NUMBER, or the number if the sweep has one study.

        Raises:
            NotFound: There is no such trial.
        """
        with self._ledger() as (ledger, record):
            return Trial.of(self.folder, record.resolved, find_trial(ledger, str(name)))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the sweep runs no more, wherever it runs; return False after the timeout."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._is_running():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _is_running(self) -> bool:
        with self._ledger() as (ledger, _):
            # The recorded state stays `running` after a driver's death, whereas a lease expires.
            return ledger.holder() is not None

    def stop(self) -> Answer:
        """Let the running trials finish, and start no others; return at once."""
        return control.stop(self.folder)

    def cancel(self) -> Answer:
        """End the sweep now; its running trials keep their last checkpoints."""
        return control.cancel(self.folder)

    def stop_trial(self, trial: str | int) -> TrialAnswers:
        """Let a running trial end after its next epoch; its value stays, as that of a pruned one.

        This call and the following three wait until the request is read, and raise `UsageError`
        with the reason if it is refused. Where no driver runs, `resume` goes on.

            sweeper.open("mona_pdebench").stop_trial("mona/pdebench/advection_1d/3")
        """
        return control.ask(self.folder, RequestKind.STOP_TRIAL, str(trial))

    def skip_trial(self, trial: str | int) -> TrialAnswers:
        """Let a trial that waits, or whose turn is yet to come, never begin."""
        return control.ask(self.folder, RequestKind.SKIP_TRIAL, str(trial))

    def retry_trial(self, trial: str | int) -> TrialAnswers:
        """Let one failed trial begin again, from its last checkpoint."""
        return control.ask(self.folder, RequestKind.RETRY_TRIAL, str(trial))

    def add_trial(self, sets: Sets, *, study: str | None = None) -> TrialAnswers:
        """Add a trial with values of yours, outside the search: the preset with these values.

            sweeper.open("mona_pdebench").add_trial({"refine.lr": 1e-3})

        Args:
            sets: Values by `stage.parameter`, or texts KEY=VALUE.
            study: None: for each study that has all of these parameters.

        Raises:
            FileFaults: They are not valid. The error has all faults.
        """
        return control.add_trial(self.folder, as_arguments(sets), study=study)

    def fork(
        self, new: str, *, sets: Sets = (), address: str = "local", insecure: bool = False
    ) -> "Sweep":
        """Run a new sweep with these settings, which begins with the best trials; return it then.

            sweeper.open("mona_pdebench").fork("wider", sets={"refine.epochs": 40})

        Raises:
            SweeperError, Interrupted: As for `launch`.
        """
        _check_driven_from_here(address)
        options = Options(sets=as_arguments(sets), address=address, insecure=insecure)
        with commands.forked(self.name, new, options) as (file, forking, _):
            return launch_file(file, forking)

    def resume(self, *, address: str = "local", insecure: bool = False) -> "Sweep":
        """Continue the sweep with its own settings, and return it once it has ended.

        Raises:
            SweepIsHeld: It runs already.
            Interrupted: The program was interrupted; the sweep is resumable.
        """
        return self._continue(LaunchAction.RESUME, address, insecure)

    def extend(self, *, trials: int, address: str = "local", insecure: bool = False) -> "Sweep":
        """Continue the sweep until each study has `trials` trials, and return it then.

            sweeper.open("mona_pdebench").extend(trials=64)

        Raises:
            UsageError: The studies have more trials already.
            SweepIsHeld, Interrupted: As for `resume`.
        """
        return self._continue(LaunchAction.EXTEND, address, insecure, trials=trials)

    def retry(self, *, address: str = "local", insecure: bool = False) -> "Sweep":
        """Run the failed trials again from their last checkpoints, and return the sweep then.

        Raises:
            SweepIsHeld, Interrupted: As for `resume`.
        """
        return self._continue(LaunchAction.RETRY, address, insecure)

    def rerun(
        self,
        trial: str | int,
        *,
        seed: int | None = None,
        address: str = "local",
        insecure: bool = False,
    ) -> Trial:
        """Run one configuration once more from the start, and return the new trial.

        Args:
            trial: STUDY/NUMBER, or the number if the sweep has one study.
            seed: None repeats the trial's own, which gives the same numbers on the same CPU.
            address: The cluster to run on.
            insecure: Allow a cluster that others can reach and that asks for no token.

        Raises:
            NotFound: There is no such trial.
            SweepIsHeld, Interrupted: As for `resume`.
        """
        study = self.trial(trial).study
        self._continue(LaunchAction.RERUN, address, insecure, trial=str(trial), seed=seed)
        with self._ledger() as (ledger, _):
            # The latest rerun: replicates that were made meanwhile may have higher numbers.
            reruns = (each for each in ledger.trials(study) if each.kind is TrialKind.RERUN)
            last = max(each.number for each in reruns)
        return self.trial(trial_name(study, last))

    def _continue(
        self, action: LaunchAction, address: str, insecure: bool, **details: Any
    ) -> "Sweep":
        _check_driven_from_here(address)
        options = Options(address=address, insecure=insecure)
        run(LaunchRequest(action=action, sweep=self.name, options=options, **details), self.folder)
        return self

    def report(self, path: str | PathLike[str] | None = None) -> Path:
        """Write the sweep's page, one HTML file, and return its path.

        Args:
            path: None writes `report.html` into the sweep's folder.

        Raises:
            UsageError: `path` is a folder, or its folder does not exist.
        """
        return results.report(self.folder, None if path is None else Path(path)).path

    def optuna_study(self, study: str | None = None) -> "optuna.Study":
        """Return a study of Optuna, in memory, with the trials of the search.

        The trials have their states, values, times, parameters with distributions, constraints,
        and the first objective of each epoch. What was not searched is in their user attributes.
        A study with several objectives has them all, and no single best trial.

            optuna.visualization.plot_slice(sweep.optuna_study("mona/pdebench/advection_1d"))

        Args:
            study: May be left out if the sweep has one study.

        Raises:
            NotFound: There is no such study.
        """
        from sweeper.commands.optuna import read_searched
        from sweeper.search.optuna_study import in_memory

        with self._ledger() as (ledger, record):
            name = _one(ledger, study)
            chosen = tuple(each for each in ledger.studies() if each.name == name)
            (searched,) = read_searched(ledger, record, chosen)
        return in_memory(searched)

    def __repr__(self) -> str:
        with self._ledger() as (ledger, record):
            state, progress = living_state(record, ledger), progress_of(read_outline(ledger))
        return f"<Sweep {self.name}: {state}, {progress}>"

    def _repr_html_(self) -> str:
        from sweeper.render.notebook import sweep_html

        with self._ledger() as (ledger, record):
            return sweep_html(read_sweep(ledger, histories=False), living_state(record, ledger))

    @contextmanager
    def _ledger(self) -> Iterator[tuple[Ledger, SweepRecord]]:
        with started(self.folder) as opened:
            yield opened


def open(name: str | PathLike[str]) -> Sweep:
    """Return the handle of a sweep in ./sweeps, or in the folder that SWEEPER_SWEEPS names.

        sweeper.open("mona_pdebench")

    Args:
        name: The sweep's name, or its folder.

    Raises:
        NotFound: There is no such sweep.
        UsageError: Its ledger is damaged.
    """
    folder = existing(name_of(str(name)))
    # A ledger that cannot be read is a fault here, and not at the first use of the handle.
    with started(folder):
        return Sweep(folder)


def launch(
    file: str | PathLike[str],
    *,
    profile: str = "auto",
    trials: int | None = None,
    name: str | None = None,
    sets: Sets = (),
    include: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    detach: bool = False,
    **where: Unpack[Destination],
) -> Sweep:
    """Run the sweep that a file describes, and return its handle once it has ended.

    The sweep runs in processes of its own, and its progress is shown meanwhile. A launch of the
    same file again continues it. An interrupt of the program (Ctrl-C, or the notebook's button)
    saves the running trials and raises `Interrupted`; a second one ends the sweep at once.

        sweep = sweeper.launch("search_spaces/mona_pdebench.yaml", profile="laptop", trials=8,
                               sets={"tasks": ["pdebench/advection_1d"]})

    Args:
        file: The sweep file.
        profile: A profile of the file, such as paper or laptop; auto: laptop if no GPU is visible.
        trials: Trials of each study, preset and control included; None: as the file says.
        name: Another name for the sweep.
        sets: Values that replace those of the file: a mapping of keys such as `search.trials` to
            values, or texts KEY=VALUE.
        include: Task files (`*.task.yaml`) of own tasks, or folders of them.
        detach: Return as soon as the sweep runs. It then goes on without this program: see
            `Sweep.wait`, `stop` and `cancel`.
        **where: `storage` is the URL of the database that holds the ledger; None: a file in the
            sweep's folder. `address` is `local`, or HOST:PORT of a Ray cluster that runs.
            `insecure` allows a cluster that others can reach and that asks for no token.

    Raises:
        FileFaults: The file is not valid. The error has all faults, each with its line.
        SweepIsHeld: Another launch runs the sweep.
        Interrupted: The program was interrupted; the sweep is resumable.
        SweeperError: Any other reason why the sweep did not run to its end.
    """
    _check_driven_from_here(where.get("address", "local"))
    options = Options(
        profile=profile,
        sets=as_arguments(sets),
        include=tuple(map(Path, [include] if isinstance(include, str | PathLike) else include)),
        trials=trials,
        name=name,
        **where,
    )
    return launch_file(located(Path(file)), options, detach=detach)


def launch_file(path: Path, options: Options, *, detach: bool = False) -> Sweep:
    """Run the sweep of a file with all options of a command, as `launch` does."""
    # The process of the launch reads the file again, and prints the notes on it.
    quiet = Console(quiet=True)
    _, folder = commands.check(path, options, quiet)
    if detach:
        from sweeper.commands import background

        _await_start(folder, background.launch(path, options, console=quiet).pid)
    else:
        request = LaunchRequest(
            action=LaunchAction.LAUNCH, sweep=folder.name, file=str(path), options=options
        )
        run(request, folder)
    return Sweep(folder)


def use_plugin(path: str | PathLike[str]) -> None:
    """Make the methods, tasks and other objects of a plugin known that is not installed.

    They are known to this program and to the sweeps that it launches from now on.

        sweeper.use_plugin("my_method.py")

    Args:
        path: A folder with a pyproject.toml that has entry points, or a Python file.

    Raises:
        UsageError: There is no plugin at the path.
    """
    activate(Path(path), usable_home())
    # The cached catalog does not know the plugin.
    catalog.cache_clear()


def _await_start(folder: Path, pid: int) -> None:
    """Wait until a launch in the background holds its sweep, or has ended.

    Raises:
        SweeperError: It ended before it held the sweep. The message names its log.
    """
    while True:
        # This is asked before the ledger: of a launch that ends in between, the next round sees
        # all.
        is_alive = _is_alive(pid)
        if has_ledger(folder):
            with suppress(NotFound), started(folder, checked=None) as (ledger, _):
                if not is_alive or ledger.holder() is not None:
                    return
        if not is_alive:
            raise SweeperError(f"the launch has ended; its output: {folder / LAUNCH_LOG}")
        time.sleep(POLL_S)


def _is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        # A child that has ended stays a zombie until this program waits for it.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def as_arguments(sets: Sets) -> tuple[str, ...]:
    """Return settings as the command line has them; JSON is YAML in one line.

    Raises:
        UsageError: A value is of a type that no sweep file has.
    """
    if isinstance(sets, str):
        return (sets,)
    if not isinstance(sets, Mapping):
        return tuple(sets)
    return tuple(f"{key}={in_one_line(value, where='sets')}" for key, value in sets.items())


def _check_driven_from_here(address: str) -> None:
    """Check that a sweep would be driven by a process of this machine.

    Raises:
        UsageError: The address is that of a dashboard, where jobs run.
    """
    if is_dashboard(address):
        raise UsageError(
            f"{address}: a job of a cluster has no handle here. Send it with `sweeper launch "
            "--address`, or give HOST:PORT of a cluster that shares this folder."
        )


def _chosen(ledger: Ledger, study: str | None) -> list[StudyResult]:
    """Return all studies, or the given one."""
    name = None if study is None else _one(ledger, study)
    return [s for s in read_sweep(ledger).studies if name in (None, s.study.name)]


def _one(ledger: Ledger, study: str | None) -> str:
    """Return the name of a study; of the only one for None.

    Raises:
        NotFound: There is no such study, or there are several.
    """
    known = [each.name for each in ledger.studies()]
    if study is None and len(known) == 1:
        return known[0]
    if study is None:
        raise NotFound(f"of which study? Sweep `{ledger.name}` has: {', '.join(known) or 'none'}.")
    if study not in known:
        raise NotFound(unknown("study", study, known))
    return study
