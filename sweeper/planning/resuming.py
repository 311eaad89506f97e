"""Sweeps that have begun: their records, matched with files and read back.

It is apart from `load`, which `validate` uses, because the ledger is slow to import.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.core.budget import StudyBudget
from sweeper.core.ranking import ranked
from sweeper.core.requests import obey_at_rest
from sweeper.errors import UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.model import Params
from sweeper.planning import own_tasks
from sweeper.planning.catalog import catalog, extended, with_own_tasks
from sweeper.planning.plugins import check_installed, record_of
from sweeper.planning.sweep_folder import existing, folder_of, has_ledger, started
from sweeper.spec.loader import loads_sweep
from sweeper.spec.rules.file import is_elsewhere
from sweeper.spec.schema import Claim, OneProgram
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import KEPT, Studies, WarmStart
from sweeper.text import JsonObject, differences
from trainables.methods.program import on_this_node, program_of, text_hash
from trainables.tasks.own.definition import TaskDefinition

MAX_SHOWN = 10  # differences that a message lists


@dataclass(frozen=True, kw_only=True)
class RecordedSweeps:
    """The sweeps in the folder of sweeps, as `spec.warm_start.Sources`."""

    fork_of: str | None = None  # the sweep whose ended trials count before it is finished

    def begun_with(self, sweep: str, names: Sequence[str]) -> WarmStart | None:
        """Return what `sweep` has of these sweeps in its ledger; None: it has not begun.

        A begun sweep goes on with it, whatever has become of the other sweeps since.

        Raises:
            SweeperError: The ledger cannot be read.
        """
        folder = folder_of(sweep)
        if not has_ledger(folder):
            return None
        with started(folder) as (_, record):
            recorded: WarmStart = record.resolved["search"].get("warm_start") or {}
            # Another list of sweeps is read again, so that `match` reports the change.
            is_same = record.state != "new" and list(recorded) == list(names)
            return recorded if is_same else None

    def trials_of(self, file: Path, metric: str, *, is_maximised: bool) -> Sequence[Params]:
        """Return the best parameters in a CSV file or a database of Optuna.

        Raises:
            SweeperError: It cannot be read, or has no complete trial.
        """
        from sweeper.search.other_trials import best_params  # Optuna and pandas load slowly

        return best_params(str(file), metric, is_maximised=is_maximised, count=KEPT)

    def best_of(self, name: str) -> Studies:
        """Return the best configurations of each study of a sweep, by METHOD/TASK.

        Raises:
            SweeperError: There is no such sweep, or it is not finished.
        """
        with started(existing(name)) as (ledger, record):
            if record.state != "finished" and name != self.fork_of:
                raise UsageError(
                    f"sweep `{name}` is {record.state}, but only a finished one can be a warm "
                    f"start: sweeper resume {name}"
                )
            # An arm has the method and task of its base, and would take its place here.
            studies = [study for study in ledger.studies() if study.arm is None]
            return {
                f"{study.method}/{study.task}": [
                    trial.params for trial in ranked(ledger.trials(study.name))[:KEPT]
                ]
                for study in studies
            }


def obey_requests(ledger: Ledger, sweep: Sweep) -> None:
    """Answer the open requests about trials of a sweep that no driver runs, under its lease.

    Their commands do so, unless they have died before.
    """
    obey_at_rest(ledger, {study.name: study.num_trials for study in sweep.studies})


def from_record(record: SweepRecord) -> Sweep:
    """Return the sweep of a ledger's record, and register its own tasks.

    Raises:
        UsageError: The sweep uses a plugin that is not there.
    """
    check_installed(record)
    return from_resolved(record.resolved, name=record.name, profile=record.profile)


def from_resolved(resolved: JsonObject, *, name: str, profile: str) -> Sweep:
    """Return the sweep with this resolved form, and register its own tasks."""
    own = own_tasks.of_resolved(resolved, name=name)
    own_tasks.use(own)
    return _resolved(resolved, own, name=name, profile=profile)


def as_read_now(resolved: JsonObject, *, name: str, profile: str) -> JsonObject:
    """Return a resolved form with the defaults of this version where it lacks settings.

    Raises:
        UsageError: This version knows no such sweep.
    """
    own = own_tasks.of_resolved(resolved, name=name)
    return _resolved(resolved, own, name=name, profile=profile).resolved


def _resolved(
    resolved: JsonObject, own: Mapping[str, TaskDefinition], *, name: str, profile: str
) -> Sweep:
    # A backbone in SWEEPER_HOME/weights may have been deleted since. Its dimension is all that
    # reading the file needs.
    named = {
        str(spec["name"]): dimension
        for dimension, spec in resolved.get("backbones", {}).items()
        if isinstance(spec, Mapping) and not is_elsewhere(str(spec["name"]))
    }
    known = catalog()  # the loading of a deleted backbone reports it
    others = {name: of for name, of in named.items() if name not in known.backbones}
    known = replace(known, backbones=extended(known.backbones, others))
    known = with_own_tasks(known, own)
    return loads_sweep(resolved, known, where=f"sweeps/{name}", profile=profile)


def match(ledger: Ledger, sweep: Sweep, text: str) -> Sweep:
    """Write a new sweep into the ledger, or match it with the recorded one; return the result.

    The same sweep is resumed. A sweep with more trials, or with other replicates or another budget,
    extends the recorded one. A sweep that never started is replaced. The ledger keeps the titles,
    licences and citations that own tasks had when the sweep began: a change of them is no
    difference. The claims of a question and the looks at them are fixed when a sweep begins;
    its other texts may change.

    Raises:
        UsageError: The ledger has another sweep of this name. The message lists the differences.
    """
    record = ledger.sweep()
    if record is None or record.state == "new":
        ledger.create(
            SweepRecord(
                name=sweep.name,
                experiment=sweep.experiment,
                resolved=sweep.resolved,
                config_hash=sweep.config_hash,
                profile=sweep.profile,
                text=text,
                provenance=record_of(sweep),
            )
        )
        return sweep
    own = own_tasks.of_resolved(record.resolved, name=record.name)
    begun = _resolved(record.resolved, own, name=record.name, profile=record.profile)
    sweep = _as_described(sweep, own)
    changed = differences(begun.resolved, sweep.resolved)
    # The hashes are compared with the former store and budget, which may change.
    as_begun = replace(_at_former_store(sweep, record), budget=begun.budget)
    as_begun = replace(as_begun, programs=_at_former_texts(sweep, begun))
    same = begun.config_hash == as_begun.config_hash and _fixed(begun) == _fixed(sweep)
    if changed and same and sweep.search.trials >= begun.search.trials:
        # With another budget, paused trials may be promoted after the end.
        is_other = StudyBudget.of(begun.resolved) != StudyBudget.of(sweep.resolved)
        reopens = is_other and record.state == "finished"
        ledger.extend(sweep.resolved, config_hash=sweep.config_hash, reopens=reopens)
    elif changed:
        lines = [f"  {line}" for line in changed[:MAX_SHOWN]]
        more = f"\n  and {len(changed) - MAX_SHOWN} more" if len(changed) > MAX_SHOWN else ""
        raise UsageError(
            f"sweep `{sweep.name}` was launched with other settings; only more trials, replicates "
            "and another budget can be given to it. Go on with it as it began by `sweeper resume "
            f"{sweep.name}`, launch under another --name, or undo:\n" + "\n".join(lines) + more
        )
    return sweep


def _at_former_texts(sweep: Sweep, begun: Sweep) -> dict[str, OneProgram]:
    """Return the programs of a sweep, with the texts that they began with where these may change.

    Raises:
        UsageError: A text has changed, and may not.
    """
    found = dict(sweep.programs)
    for name, now in sweep.programs.items():
        former = begun.programs.get(name, now)
        # Another function or command is a difference of settings, which `match` lists.
        is_other = (now.function, now.command) != (former.function, former.command)
        if is_other or now.code == former.code:
            continue
        if not now.may_change:
            raise _changed(sweep, name)
        found[name] = now.model_copy(update={"code": former.code})
    return found


def check_texts(sweep: Sweep) -> None:
    """Check that programs have the texts that the ledger records.

    Raises:
        UsageError: One has changed. A text that is on other nodes alone is compared there.
    """
    for name in sweep.methods:
        program = program_of(sweep.catalog.methods[name])
        found = "" if program is None else text_hash(on_this_node(program))
        if program is not None and found and program.code not in ("", found):
            raise _changed(sweep, name)


def _changed(sweep: Sweep, program: str) -> UsageError:
    return UsageError(
        f"sweep `{sweep.name}`: the text of `{program}` has changed since it began, and its trials "
        "could not be compared. Put the former one back, launch under another --name (in Python "
        "name=...), or launch again with the new one by --set program.may_change=true "
        "(may_change=True)."
    )


def _as_described(sweep: Sweep, recorded: Mapping[str, TaskDefinition]) -> Sweep:
    """Return a sweep whose own tasks have their recorded titles, licences and citations."""
    definitions = {
        name: TaskDefinition.model_validate(content).described_as(recorded[name])
        for name, content in sweep.task_files.items()
        if name in recorded
    }
    own_tasks.use(definitions)  # trials have the definition of the ledger, too
    return replace(sweep, catalog=with_own_tasks(sweep.catalog, definitions))


def _fixed(sweep: Sweep) -> tuple[tuple[Claim, ...], tuple[int, ...]]:
    """Return the claims of a sweep and its looks, which are fixed before it runs."""
    claims = () if sweep.question is None else tuple(sweep.question.claims)
    return claims, sweep.replicate.looks if sweep.replicate and sweep.replicate.until else ()


def _at_former_store(sweep: Sweep, record: SweepRecord) -> Sweep:
    """Return the sweep with the store of checkpoints that the ledger records."""
    former = (record.resolved.get("checkpoints") or {}).get("store")
    if former is None or sweep.checkpoints.store is None:
        return sweep
    checkpoints = sweep.checkpoints.model_copy(update={"store": former})
    return replace(sweep, checkpoints=checkpoints)
