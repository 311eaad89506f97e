"""Where a sweep is recorded: the address resolved late, so that no secret in it is ever stored."""

import os
from collections.abc import Callable

from sweeper.analysis import pages
from sweeper.ledger import Ledger
from sweeper.recording.mlflow_recorder import MlflowRecorder, check
from sweeper.space.environment import expand
from sweeper.space.sweep import Sweep


def make_recorder(
    ledger: Ledger, sweep: Sweep, notify: Callable[[str], None] | None = None
) -> MlflowRecorder:
    """Returns the recorder that follows the ledger of `sweep`.

    Raises:
        UsageError: An environment variable that the file's address names is not set.
    """
    return MlflowRecorder(
        ledger, uri=_uri(sweep), experiment=sweep.experiment, pages=pages, notify=notify
    )


def check_tracking(sweep: Sweep) -> None:
    """Asks MLflow whether it is there, where the file requires it. Raises BackendUnreachable."""
    if sweep.tracking.required:
        check(_uri(sweep))


def _uri(sweep: Sweep) -> str | None:
    uri = sweep.tracking.uri
    return None if uri is None else expand(uri, os.environ)
