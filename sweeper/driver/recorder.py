"""The recorder of a sweep, whose address is resolved late: no secret in it is ever stored."""

import os
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.model_export import exported
from sweeper.planning.stage_store import pin_of
from sweeper.planning.trials import runs_mark
from sweeper.spec.schema import expand, known_scheme
from sweeper.spec.sweep import Sweep
from sweeper.text import counted
from sweeper.tracking.mlflow_recorder import MlflowRecorder, Sources, SyncStatus
from sweeper.tracking.mlflow_store import CLICK, check, has_pages, tracking_uri


def make_recorder(
    ledger: Ledger,
    sweep: Sweep,
    paths: CheckpointPaths,
    say: Callable[[str], None] | None = None,
) -> MlflowRecorder:
    """Return the recorder that follows the ledger of `sweep`, whose checkpoints are in `paths`.

    `say` is called with a line when MLflow is lost, when it is back, and with the address at which
    a server shows the runs.

    Raises:
        UsageError: An environment variable that the file's address names is not set, or the
            address is of no kind that MLflow is reached by.
    """
    from sweeper.driver import pages

    def announce(page: str) -> None:
        if say is not None:
            say(f"MLflow, the runs of {sweep.experiment}: {page}")
            say(CLICK)

    return MlflowRecorder(
        ledger,
        uri=_uri(sweep),
        experiment=sweep.experiment,
        sources=Sources(
            pages=pages,
            place_of=paths.of_checkpoint,
            model_of=partial(exported, paths) if sweep.program is None else None,
            mark_of=partial(runs_mark, pin_of(ledger)) if sweep.has_own_runs else None,
        ),
        notify=say,
        announce=announce,
    )


def still_lacking(left: SyncStatus, sweep: str) -> str | None:
    """Return a line if MLflow lacks records of `sweep` after all attempts to ship them."""
    if not left.pending:
        return None
    return (
        f"MLflow at {left.uri} lacks {counted(left.pending, 'record')} ({left.last_error}), which "
        f"the ledger has: run `sweeper sync {sweep}` once it is back."
    )


def check_tracking(sweep: Sweep) -> None:
    """Check that MLflow answers, if the file requires it.

    Raises:
        BackendUnreachable: It does not answer.
        UsageError: The address cannot be used.
    """
    uri = _uri(sweep)
    if sweep.has_own_runs and urlsplit(tracking_uri(uri)).password:
        raise UsageError(
            "program.results: mlflow: programs do not get a password in the address of MLflow; "
            "leave it out there, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if sweep.tracking.required:
        check(uri)


def how_to_look(uri: str) -> str:
    """Say what shows the runs that are recorded at `uri`: here, or in a browser."""
    if has_pages(uri):
        return "the address of the runs follows once it answers"
    is_found = uri == tracking_uri(None)
    return "watch it: sweeper ui" if is_found else f"watch it: MLFLOW_TRACKING_URI={uri} sweeper ui"


def _uri(sweep: Sweep) -> str | None:
    """Return the address from the file or the environment, resolved; None: MLflow's default."""
    if sweep.tracking.uri is not None:
        place, uri = "tracking.uri", expand(sweep.tracking.uri, os.environ)
    else:
        return environment_uri()
    return _known(place, uri)


def environment_uri() -> str | None:
    """Return the address of MLflow from the environment; None: MLflow's default.

    Raises:
        UsageError: The address is of no kind that MLflow is reached by.
    """
    return _known("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI") or "")


def _known(place: str, uri: str) -> str | None:
    if not uri:
        return None
    try:
        return known_scheme(uri)
    except ValueError as error:
        raise UsageError(f"{place}: {error}.") from None
