"""The MLflow client for the experiment of a sweep.

Only this module and `logged_models` import mlflow.

MLflow is imported when a store is opened, after the client's settings are in the environment.
"""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweeper.address import sqlite_file, sqlite_url
from sweeper.errors import BackendUnreachable, NotFound
from sweeper.tracking.logged_models import ModelRecord, delete_models, keep_model
from sweeper.tracking.placing import local_folder, place
from sweeper.tracking.run_tree import FLOOR, MetricPoint

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETTINGS = {  # of MLflow's client; settings of the user have priority
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # s; an artifact store may be slow
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the recorder itself tries again
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
KIND = {"mlflow.experimentKind": "custom_model_development"}  # addresses also select this view
METRICS_A_CALL, PAIRS_A_CALL = 900, 100  # MLflow's limit is 1000 in total
# MLflow refuses longer values of tags and params.
MAX_TAG, MAX_PARAM = 8000, 6000
DATABASE_LOGGER = "mlflow.store.db.utils"  # logs the stack and SQL of errors that it raises, too
CHECK_S = 10.0
PARENT = "mlflow.parentRunId"  # tag
MARK = "sweeper.program"  # tag of runs that a program writes: sweep, trial and attempt
CHECKPOINTS = "checkpoints"  # a folder of a run's artifacts
NEVER = (
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "BAD_REQUEST",
    "INVALID_STATE",
    "ENDPOINT_NOT_FOUND",  # of a server that is older than logged models
    "NOT_IMPLEMENTED",
)


class RecordRefused(Exception):
    """MLflow refuses a change for good: the run was deleted, or a name is not allowed."""


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise RecordRefused for permanent errors of MLflow, and pass on temporary ones."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in NEVER:
            raise RecordRefused(error.message) from error
        raise


class MlflowStore:
    """The experiment `name` at `uri`, which is created if it does not exist.

    Raises:
        BackendUnreachable: The experiment was deleted in MLflow.
    """

    def __init__(self, uri: str, name: str) -> None:
        self._client, self._uri = client(uri), uri
        self._artifacts: dict[str, str] = {}  # address of artifacts, by run that was found here
        found = self._client.get_experiment_by_name(name)
        if found is None:
            root = artifact_root(uri, name)
            self._experiment = self._client.create_experiment(name, root, tags=KIND)
        elif found.lifecycle_stage == "deleted":
            raise BackendUnreachable(
                f"experiment `{name}` was deleted in MLflow: restore it (`mlflow experiments "
                f"restore -x {found.experiment_id}`) or purge it (`mlflow gc`)."
            )
        else:
            follow_move(uri)
            self._experiment = found.experiment_id

    @property
    def page(self) -> str | None:
        """The address of the experiment's runs in a browser; None without a server."""
        if not has_pages(self._uri):
            return None
        return runs_page(without_password(self._uri, self._uri), self._experiment)

    def address_of(self, run_id: str) -> str:
        """Return the address of a run's page, relative to other pages of MLflow's UI."""
        return f"#/experiments/{self._experiment}/runs/{run_id}?{TRAINING}"

    def has_run(self, run_id: str) -> bool:
        """Return whether MLflow has the run."""
        try:
            self._get_run(run_id)
        except RecordRefused:
            return False
        return True

    @_refusals()
    def _get_run(self, run_id: str) -> Any:
        return self._client.get_run(run_id)

    @_refusals()
    def find_or_create(
        self,
        unique: str,
        *,
        name: str,
        since: int,
        tags: Mapping[str, str],
        params: Mapping[str, str],
    ) -> str:
        """Return the id of the run with the tag `sweeper.id = unique`; create it if necessary.

        A ledger that was restored from its copy may have drawn another trial of the same number.
        Therefore a run whose params differ is marked as replaced, and a new run is created.

        Args:
            unique: The value of the tag.
            name: The name of a new run.
            since: The start of a new run, in milliseconds.
            tags: The tags of a new run.
            params: The params of the run.
        """
        from mlflow.entities import Param

        params = _cut(params, MAX_PARAM)
        query = f"tags.`sweeper.id` = '{unique}'"
        # Without the search, a recorder that has lost its lease could create a run twice.
        found = self._client.search_runs([self._experiment], query, max_results=1)
        # MLflow never changes a param, so another trial needs another run.
        if found and any(params.get(k, v) != v for k, v in found[0].data.params.items()):
            self._replace(found.pop(), unique)
        run = found[0] if found else self._client.create_run(
            self._experiment, since, {"sweeper.id": unique, **_cut(tags, MAX_TAG)}, name
        )  # fmt: skip
        # Otherwise `keep` would ask MLflow for this address, with one more request for each trial.
        self._artifacts[run.info.run_id] = run.info.artifact_uri
        # A run that was found may lack params, if a process died here; equal ones change nothing.
        pairs = [Param(*pair) for pair in params.items()]
        for some in _pieces(pairs, PAIRS_A_CALL):
            self._client.log_batch(run.info.run_id, params=some)
        return str(run.info.run_id)

    def _replace(self, run: Any, unique: str) -> None:
        """Change the tag of a run, and close it, so that another run can replace it."""
        tags = {"sweeper.id": f"{unique}/replaced/{run.info.run_id}", "sweeper.state": "replaced"}
        for name, value in tags.items():
            self._client.set_tag(run.info.run_id, name, value)
        if run.info.status == "RUNNING":
            self._client.set_terminated(run.info.run_id, "KILLED")

    @_refusals()
    def points(self, run_id: str, key: str) -> set[tuple[str, float, int]]:
        """Return the key, value and step of every point of a curve of the run."""
        return {(m.key, m.value, m.step) for m in self._client.get_metric_history(run_id, key)}

    @_refusals()
    def artifacts(self, run_id: str) -> set[str]:
        """Return the names of the run's artifacts at the top level."""
        return {file.path for file in self._client.list_artifacts(run_id)}

    @_refusals()
    def log(self, run_id: str, points: Sequence[MetricPoint], tags: Mapping[str, str]) -> None:
        """Add points to curves, and set tags. MLflow stores an identical point only once."""
        from mlflow.entities import Metric, RunTag

        pairs = [RunTag(*pair) for pair in _cut(tags, MAX_TAG).items()]
        *most, last = [*_pieces(points, METRICS_A_CALL)] or [[]]
        for some in most:
            self._client.log_batch(run_id, metrics=[Metric(*point) for point in some])
        self._client.log_batch(run_id, metrics=[Metric(*point) for point in last], tags=pairs)

    @_refusals()
    def keep(self, run_id: str, folder: Path) -> None:
        """Store the files of `folder` as the run's artifacts `checkpoints/`."""
        known = self._artifacts.get(run_id)
        root = local_folder(known or self._client.get_run(run_id).info.artifact_uri)
        if root is not None:
            place(folder, root / CHECKPOINTS)
        else:
            self._client.log_artifacts(run_id, str(folder), CHECKPOINTS)

    @_refusals()
    def attach(self, run_id: str, folder: Path) -> None:
        """Store the files of `folder` as artifacts of the run, under the folder's name."""
        self._client.log_artifacts(run_id, str(folder), folder.name)

    @_refusals()
    def forget_checkpoint(self, run_id: str) -> None:
        """Delete the run's artifacts `checkpoints/`, if it has any."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self._client.list_artifacts(run_id, CHECKPOINTS):
            kept: Any = get_artifact_repository(self._get_run(run_id).info.artifact_uri)
            kept.delete_artifacts(CHECKPOINTS)

    @_refusals()
    def keep_model(self, record: ModelRecord) -> str:
        """Store a model, unless it is stored already, and return its address.

        Raises:
            RecordRefused: MLflow refuses it, or is too old for logged models.
        """
        kept = replace(
            record,
            tags=_cut(record.tags, MAX_TAG),
            params=_cut(record.params, MAX_PARAM),
        )
        return keep_model(self._client, self._experiment, kept)

    @_refusals()
    def delete_models(self, sweep_id: str) -> None:
        """Delete the logged models of a sweep."""
        delete_models(self._client, self._experiment, sweep_id)

    @_refusals()
    def describe(self, run_id: str, tags: Mapping[str, str], *, prefix: str) -> None:
        """Set these tags, and delete all other tags of the run that begin with `prefix`."""
        had = self._client.get_run(run_id).data.tags
        self.clear(run_id, {name for name in had if name.startswith(prefix)} - tags.keys())
        self.log(run_id, (), tags)

    @_refusals()
    def clear(self, run_id: str, names: Set[str]) -> None:
        """Delete these tags of a run as far as it has them."""
        # Most changes delete no tag, and need no request.
        had = self._client.get_run(run_id).data.tags if names else {}
        for name in names & had.keys():
            self._client.delete_tag(run_id, name)

    @_refusals()
    def adopt(self, run_id: str, mark: str) -> None:
        """Put the runs of a program under the run of its trial, which has ended, and end them.

        Args:
            run_id: The run of the trial.
            mark: How the value of their tag begins.
        """
        everywhere = [each.experiment_id for each in self._client.search_experiments()]
        for run in self._client.search_runs(everywhere, f"tags.`{MARK}` LIKE '{mark}%'"):
            # `_` is any character to LIKE. A run that the program itself has nested stays there.
            if run.data.tags[MARK].startswith(mark):
                if PARENT not in run.data.tags:
                    self._client.set_tag(run.info.run_id, PARENT, run_id)
                if run.info.status == "RUNNING":  # the program was ended, and could not end it
                    self._client.set_terminated(run.info.run_id, "KILLED")

    def delete(self, run_id: str) -> None:
        """Delete a run and its checkpoints.

        Until `mlflow gc`, `mlflow runs restore` can restore the run, but not its checkpoints.
        """
        self.forget_checkpoint(run_id)
        self._client.delete_run(run_id)

    @_refusals()
    def write(self, run_id: str, files: Mapping[str, str]) -> None:
        """Store texts as artifacts of the run, by file name."""
        for name, text in files.items():
            self._client.log_text(run_id, text, name)

    @_refusals()
    def turn(self, run_id: str, status: str, ended_at: int | None) -> None:
        """Set the status of a run and, if the status ends it, the time (ms)."""
        if ended_at is None:
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, ended_at)


def tracking_uri(uri: str | None) -> str:
    """Return `uri`, else MLFLOW_TRACKING_URI, else MLflow's default in the current folder.

    The default is absolute, since another process may have another current folder.
    """
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(Path.cwd() / "mlflow.db")


def absolute(uri: str) -> str:
    """Return an address that is valid in any folder: an SQLite file gets its absolute path."""
    file = sqlite_file(uri)
    return uri if file is None else sqlite_url(file.absolute())


def check(uri: str | None) -> None:
    """Check that MLflow answers.

    Raises:
        BackendUnreachable: MLflow does not answer within ten seconds.
    """
    # The thread may not end in time: until it does, the message is that of the time limit.
    where, errors = tracking_uri(uri), ["no answer within ten seconds."]

    def ask() -> None:
        try:
            client(where).search_experiments(max_results=1)
            errors.clear()
        except Exception as error:  # any error of MLflow's client, its store or the network
            errors[0] = f"{type(error).__name__}: {error}".splitlines()[0]

    # The client may wait for a minute and try again. A daemon thread can be left behind.
    thread = threading.Thread(target=ask, name="mlflow check", daemon=True)
    thread.start()
    thread.join(CHECK_S)
    if errors:
        raise BackendUnreachable(
            f"MLflow at {without_password(where, where)} does not answer: "
            f"{without_password(errors[0], where)} Start it, set MLFLOW_TRACKING_URI, or leave "
            "out `tracking.required`: the sweep then runs, and `sweeper sync` ships it later."
        )


def experiments(uri: str) -> dict[str, str]:
    """Return the ids of the experiments of sweeps, by name."""
    found = client(uri).search_experiments()
    return {e.name: e.experiment_id for e in found if KIND.items() <= e.tags.items()}


def without_password(text: str, uri: str) -> str:
    """Return `text` with the password of `uri`, if it has one, replaced by `***`."""
    password = urlsplit(uri).password
    return text.replace(f":{password}@", ":***@") if password else text


def client(uri: str) -> "MlflowClient":
    """Return MLflow's client, with our settings."""
    _set_up()
    from mlflow import MlflowClient

    return MlflowClient(uri)


def _set_up() -> None:
    """Give MLflow's client its settings, before it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger(DATABASE_LOGGER).setLevel(logging.CRITICAL)


def download(uri: str, address: str) -> Path:
    """Return the folder of artifacts at `runs:/RUN/PATH` or `models:/MODEL`, or a copy of it.

    Of a logged model it is the folder of its data.

    Args:
        uri: The address of MLflow.
        address: The address of the artifacts.

    Raises:
        NotFound: MLflow has no such run, model or artifacts.
        BackendUnreachable: MLflow does not answer.
    """
    _set_up()
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        folder = Path(download_artifacts(artifact_uri=address, tracking_uri=uri))
        if not (folder / "MLmodel").is_file():
            return folder
        data = Model.load(str(folder)).flavors.get("python_function", {}).get("data")
    except MlflowException as error:
        if error.error_code in NEVER:
            raise NotFound(f"{address}: MLflow at {uri} has no such artifacts.") from error
        raise BackendUnreachable(f"{address}: MLflow at {uri}: {error.message}") from error
    # What a local store lacks is an error of the file system, not one of MLflow.
    except OSError as error:
        raise NotFound(f"{address}: MLflow at {uri} has no such artifacts.") from error
    return folder if data is None else folder / str(data)


def _cut(pairs: Mapping[str, str], longest: int) -> dict[str, str]:
    return {name: value[:longest] for name, value in pairs.items()}


def _pieces(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


WAIT_S = 10.0  # for the lock of another process


def artifact_root(uri: str, experiment: str) -> str | None:
    """Return the place of artifacts beside an SQLite file; None for a server."""
    if (file := sqlite_file(uri)) is None:
        return None
    root = file.absolute().parent / "mlruns" / experiment
    # MLflow takes a plain path for one with quoted signs.
    return root.as_uri() if {*"%#?"} & {*str(root)} else str(root)


def follow_move(uri: str) -> None:
    """Update the paths of experiments whose artifacts were moved together with the store.

    An experiment has moved if its recorded artifacts are in `mlruns/NAME` of another folder, and
    either exist beside the store now or no longer exist at the recorded place.

    Raises:
        sqlite3.Error: The store is locked for too long.
    """
    if (file := sqlite_file(uri)) is None:
        return
    # A connection as a context commits, but does not close.
    with closing(sqlite3.connect(file, timeout=WAIT_S)) as store, store:
        query = "SELECT experiment_id, name, artifact_location FROM experiments"
        for key, name, location in store.execute(query).fetchall():
            root = artifact_root(uri, name)
            if root is None or not _has_moved(location or "", root):
                continue
            store.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (root, key)
            )
            # LIKE would take `_` and `%` in a path for wildcards.
            store.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (root, len(location) + 1, key, len(location) + 1, f"{location}/"),
            )


def _has_moved(location: str, now: str) -> bool:
    former, root = local_folder(location), local_folder(now)
    if former is None or root is None or former.parts[-2:] != root.parts[-2:]:
        return False
    # A link may be another path to the same folder.
    if former == root or (former.exists() and root.exists() and former.samefile(root)):
        return False
    return root.is_dir() or not former.exists()


VIEW = "sweeper"  # key of the shared view
STUDIES = 1000  # that are read for its columns
TRAINING = "workflowType=machine_learning"
CLICK = (
    "Where MLflow shows GenAI pages (Overview, Traces) instead: click `Model training`, top left."
)


def has_pages(uri: str) -> bool:
    """Return whether a tracking URI names a server, which a browser can open."""
    return uri.lower().startswith(("http://", "https://"))


def runs_page(server: str, experiment_id: str) -> str:
    """Return the address of an experiment's runs."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{TRAINING}"


def share_view(server: str, experiment_id: str) -> str | None:
    """Store a view of the trials of an experiment, and return its address; None without studies.

    It lists the trials, the best first, with validation, test, floor, method and kind. MLflow nests
    no rows that it sorts by a metric, so that all are open.
    """
    api = client(server)
    query = "tags.`sweeper.level` = 'study'"
    studies = api.search_runs([experiment_id], query, max_results=STUDIES)
    objectives = dict.fromkeys(run.data.tags["sweeper.objective"] for run in studies)
    if not objectives:
        return None
    metrics = [m for each in objectives for m in (f"best/{each}", each.replace("val/", "test/", 1))]
    columns = [f"metrics.`{name}`" for name in (*metrics, FLOOR)]
    columns += [f"tags.`sweeper.{name}`" for name in ("method", "task", "kind", "state")]
    state = {
        "searchFilter": "tags.`sweeper.level` = 'trial'",
        "orderByKey": columns[0],
        "orderByAsc": True,
        "selectedColumns": columns,
    }
    api.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{VIEW}", json.dumps(state))
    return f"{runs_page(server, experiment_id)}&viewStateShareKey={VIEW}"


def experiments_page(server: str) -> str:
    """Return the address of the list of experiments."""
    return f"{server.rstrip('/')}/#/experiments?{TRAINING}"
