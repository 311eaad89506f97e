"""Checks of a sweep file. Nothing here imports Ray, MLflow, SQLAlchemy or Optuna."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.address import is_dashboard
from sweeper.commands.result import Message, Result
from sweeper.errors import CannotSchedule
from sweeper.planning import load, resources
from sweeper.planning.catalog import as_usage_errors, catalog, home
from sweeper.planning.data import draws
from sweeper.spec.layers import whole_text
from sweeper.spec.schema import named_profile
from sweeper.spec.shipped import located
from sweeper.spec.sweep import Sweep
from sweeper.text import JsonObject, counted


@dataclass(frozen=True, kw_only=True)
class Validated(Message):
    """A valid sweep file."""

    sweep: str
    profile: str
    notes: tuple[str, ...]
    studies: tuple[str, ...]
    resolved: Mapping[str, object]  # all settings, with defaults filled in


@dataclass(frozen=True, kw_only=True)
class Schema(Result):
    """A JSON Schema."""

    json_schema: JsonObject


def validate(file: str | Path, options: load.Options, *, exploratory: bool = False) -> Validated:
    """Check a sweep file.

    Args:
        file: The sweep file, or the name of a shipped one.
        options: Changes for one command.
        exploratory: Accept a question whose claims cannot be shown.

    Raises:
        FileFaults: The file is invalid; the error holds every fault.
        UsageError: A margin is below what the planned pairs can show.
    """
    file = located(Path(file))
    sweep = load.read(file, options)
    margins = _margins(sweep, file, exploratory=exploratory)
    studies = sweep.studies
    profile = named_profile(whole_text(file, sweep.task_files), sweep.profile)
    *fewer, most = sorted({study.num_trials for study in studies})
    trials = " or ".join([*map(str, fewer), counted(most, "trial")])
    text = f"{file}: valid; {counted(len(studies), 'study')} of {trials}"
    # A cluster has weights and data of its own, of which nothing here tells.
    fetched = () if is_dashboard(options.address) else load.fetches(sweep, home())
    lacking = _missing_here(sweep, options)
    drawn = () if is_dashboard(options.address) else draws.notes_on(sweep, home())
    notes = (
        *sweep.notes, *drawn, *margins, *fetched, *lacking, *_unschedulable_here(sweep, options)
    )  # fmt: skip
    return Validated(
        message="\n".join([*notes, f"{text}{f', profile {profile}' if profile else ''}"]),
        sweep=sweep.name,
        profile=profile,
        notes=notes,
        studies=tuple(study.name for study in studies),
        resolved=sweep.resolved,
    )


def _margins(sweep: Sweep, file: Path, *, exploratory: bool) -> list[str]:
    """Check the margins of a question's claims; return lines on those that cannot be checked."""
    claims = () if sweep.question is None else sweep.question.claims
    if all(claim.margin is None for claim in claims):
        return []
    from sweeper.results.reach import (  # SciPy is slow to import
        check_margins,
        margin_notes,
        spreads_of,
    )
    from sweeper.results.reproduction.files import committed_evidence

    spreads = spreads_of(sweep, [committed_evidence()])
    if not exploratory:
        check_margins(spreads, str(file))
    return margin_notes(spreads)


def _missing_here(sweep: Sweep, options: load.Options) -> list[str]:
    """Return one line about data and weights that a launch on this machine would lack."""
    if is_dashboard(options.address):
        return []
    with as_usage_errors():
        lacking = dict.fromkeys(line.partition(": ")[0] for line in load.missing(sweep, home()))
    if not lacking:
        return []
    return [f"not ready on this machine: {', '.join(lacking)}; `sweeper plan` says what to do."]


def _unschedulable_here(sweep: Sweep, options: load.Options) -> list[str]:
    """Return why no trial of the sweep can run on this machine."""
    # A file is valid wherever its trials can run, so that this is a note and no fault.
    try:
        resources.check_request(sweep, options.address)
    except CannotSchedule as error:
        return [f"on this machine: {error}"]
    return []


def schema(*, of_task: bool = False) -> Schema:
    """Return the JSON Schema of a sweep file, or of a task file."""
    from sweeper.spec.json_schema import json_schema, task_schema
    from trainables.tasks.own.definition import TaskDefinition

    found = task_schema(TaskDefinition) if of_task else json_schema(catalog())
    return Schema(json_schema=found)
