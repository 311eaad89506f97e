"""The reader of sweeps: results, outlines and histories from a ledger."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.core.budget import Spending, StudyBudget, ended_early
from sweeper.errors import NotFound, UsageError, unknown
from sweeper.ledger import Event, EventKind, Ledger, SweepRecord
from sweeper.model import Study, StudyFacts, TrialKind, TrialOutline, label_of
from sweeper.results.schema import (
    OWN,
    History,
    R,
    StudyOutline,
    StudyResult,
    SweepResult,
    row_of,
    with_distinct_labels,
)
from sweeper.spec.goals import Goals
from sweeper.spec.schema import Replicate
from sweeper.spec.warm_start import sources_of
from sweeper.text import JsonObject
from trainables.report import Measurement

FILES = 3  # of an own task that are named
PAGE = 10_000  # events in one query


def read_sweep(ledger: Ledger, *, histories: bool = True) -> SweepResult[StudyResult]:
    """Return the results of a sweep.

    Args:
        ledger: The ledger of the sweep.
        histories: Read the histories of trials, too. This doubles the time.

    Raises:
        NotFound: The sweep was never started.
    """
    record, found = _started(ledger), read_histories(ledger) if histories else {}
    studies = [_read_study(ledger, study, record, found) for study in ledger.studies()]
    return SweepResult(record=record, studies=_with_reasons(studies, record.resolved))


def read_outline(ledger: Ledger) -> SweepResult[StudyOutline[TrialOutline]]:
    """Return the outline of a sweep, many times faster than its results.

    Raises:
        NotFound: The sweep was never started.
    """
    record = _started(ledger)
    found = []
    for study in ledger.studies():
        trials = ledger.outlines(study.name)
        facts = _read_facts(ledger, study, trials, record.resolved)
        found.append(StudyOutline[TrialOutline](record=record, study=study, trials=trials, **facts))
    return SweepResult(record=record, studies=_with_reasons(found, record.resolved))


def read_study(ledger: Ledger, study: str) -> StudyResult:
    """Return the results of one study of a sweep, without histories.

    Raises:
        NotFound: The sweep was never started, or has no such study.
    """
    record, known = _started(ledger), {each.name: each for each in ledger.studies()}
    if study not in known:
        raise NotFound(unknown("study", study, known))
    # Why an arm has no trial depends on its base.
    base = known.get(_base_of(known[study], record.resolved) or "")
    read = [_read_study(ledger, each, record, {}) for each in (known[study], base) if each]
    return _with_reasons(read, record.resolved)[0]


def read_studies(ledgers: Sequence[Ledger]) -> list[StudyResult]:
    """Return every study of these sweeps, in their order, with distinct labels on each task.

    Args:
        ledgers: The ledgers of the sweeps.

    Raises:
        NotFound: A sweep was never started.
        UsageError: A sweep is named twice.
    """
    for name, count in Counter(ledger.name for ledger in ledgers).items():
        if count > 1:
            raise UsageError(f"sweep `{name}` is named {count} times; name it once.")
    read = [read_sweep(ledger) for ledger in ledgers]
    return with_distinct_labels([study for sweep in read for study in sweep.studies])


def _started(ledger: Ledger) -> SweepRecord:
    record = ledger.sweep()
    if record is None:
        raise NotFound(f"sweep `{ledger.name}` was never started.")
    return record


def _read_study(
    ledger: Ledger, study: Study, record: SweepRecord, histories: Mapping[tuple[str, int], History]
) -> StudyResult:
    trials = ledger.trials(study.name)
    return StudyResult(
        record=record,
        label=label_of(study.method, study.arm),
        study=study,
        trials=tuple(row_of(t, histories.get((t.study, t.number))) for t in trials),
        **_read_facts(ledger, study, trials, record.resolved),
    )


def _read_facts(
    ledger: Ledger, study: Study, trials: Sequence[TrialOutline], resolved: JsonObject
) -> dict[str, Any]:
    """Return the fields of the results of a study besides itself and its trials."""
    facts = ledger.facts(study.name)
    definition = (resolved.get("task_files") or {}).get(study.task)
    if definition is not None:  # stored as official, that is imported, data
        facts = replace(facts, data_source=OWN, **_origin(definition))
    # A grid, or an arm that is not searched, has fewer trials than the file asks for.
    trials_wanted = (resolved.get("search") or {}).get("trials", 0)
    num_trials = min(trials_wanted, facts.most_trials or trials_wanted)
    spending = Spending.read(StudyBudget.of(resolved), ledger, study.name, trials)
    reason = ended_early(trials, facts.num_leading or 0, num_trials, spending)
    # An arm has no search of its own, unless each is tuned.
    is_fixed = study.arm is not None and resolved.get("tune") != "per_arm"
    search = {} if is_fixed else resolved.get("search") or {}
    goals = Goals.of(resolved, study.objective)
    return {
        "facts": facts,
        # A search that ended early gets no more trials, so that it counts with those that it has.
        "num_planned": _num_planned(study, trials, resolved, 0 if reason else num_trials, facts),
        "ended_early": reason,
        "has_priors": bool(search.get("priors")),
        "warm_start": tuple(sources_of(search.get("warm_start") or {}, study.method, study.task)),
        "goals": goals,
        "quantities": {} if goals.are_plain else ledger.quantities(study.name),
    }


def _base_of(study: Study, resolved: JsonObject) -> str | None:
    """Return the study whose best trial gives an arm its settings, or None."""
    is_tuned = study.arm is not None and resolved.get("base") == "tuned"
    return f"{study.method}/{study.task}" if is_tuned else None


def _with_reasons(studies: Sequence[R], resolved: JsonObject) -> tuple[R, ...]:
    """Return studies with the reason why an arm has no trial."""
    known = {each.study.name: each for each in studies}
    bases = (known.get(_base_of(each.study, resolved) or "") for each in studies)
    return tuple(
        replace(each, not_begun=_not_begun(each, base))
        for each, base in zip(studies, bases, strict=True)
    )


def _not_begun(arm: StudyOutline[Any], base: StudyOutline[Any] | None) -> str | None:
    """Return why an arm has no trial, or None if it has one, or may soon."""
    if arm.trials or base is None or base.best is not None:
        return None
    return (
        f"no trial has begun: an arm has the settings of the best trial of `{base.study.name}` "
        f"(`base: tuned`), and {base.why_no_best}"
    )


def _num_planned(
    study: Study,
    trials: Sequence[TrialOutline],
    resolved: JsonObject,
    num_trials: int,
    facts: StudyFacts,
) -> int:
    """Return the number of trials that a study is to have, of which its search has `num_trials`."""
    num_searched = sum(trial.kind.is_searched for trial in trials)
    num_further = len(trials) - num_searched
    # The base of an ablation is never replicated: its arms are, in its place.
    wanted = None if resolved.get("compare_by") and study.arm is None else resolved.get("replicate")
    # All replicates are planned at once, and fewer than wanted if fewer trials are complete. The
    # control is replicated, too: it is the second of two leading trials.
    if wanted is not None and not any(trial.kind is TrialKind.REPLICATE for trial in trials):
        num_repeated = wanted["top"] + (facts.num_leading or 1) - 1
        num_further = max(num_further, num_repeated * Replicate(**wanted).looks[0])
    return max(num_trials, num_searched) + num_further


def _origin(definition: JsonObject) -> JsonObject:
    """Return the licence of an own task and the files that its definition names."""
    inputs, splits = (definition.get(key) or {} for key in ("input", "splits"))
    named = [inputs.get("path"), *(splits.get(split) for split in ("train", "val", "test"))]
    files = [name for names in named if isinstance(names, list) for name in names]
    more = f" and {len(files) - FILES} more" * (len(files) > FILES)
    origin = ", ".join(map(str, files[:FILES])) + more
    return {"licence": definition.get("licence", "not stated"), "origin": origin}


Histories = dict[tuple[str, int], History]  # (study, number) -> history


@dataclass
class _Growing:
    latest: dict[tuple[str, int], Measurement] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)  # attempt -> seconds
    epochs: int = 0
    ended: int | None = None

    def take(self, event: Event) -> None:
        if event.kind is EventKind.MEASURED:
            measurement = Measurement(**event.payload)
            # A repeated epoch replaces its former measurement, and counts again as work.
            self.latest[measurement.stage, measurement.epoch] = measurement
            self.epochs += 1
            attempt = event.attempt or 0
            # Seconds count up within an attempt: the largest is its total.
            self.seconds[attempt] = max(self.seconds.get(attempt, 0.0), measurement.seconds)
        elif event.kind is EventKind.TRIAL_ENDED:
            self.ended = event.seq

    def done(self) -> History:
        return History(
            measurements=tuple(self.latest.values()),
            epochs=self.epochs,
            seconds=sum(self.seconds.values()),
            ended=self.ended,
        )


def read_histories(ledger: Ledger) -> Histories:
    """Return the history of every trial that was measured or has ended."""
    growing: dict[tuple[str, int], _Growing] = {}
    for event in _events(ledger):
        if event.study is not None and event.number is not None:
            growing.setdefault((event.study, event.number), _Growing()).take(event)
    return {key: trial.done() for key, trial in growing.items()}


def _events(ledger: Ledger) -> Iterator[Event]:
    after = 0
    # The other kinds, most of which have the settings of a trial, take as long to read again.
    kinds = (EventKind.MEASURED, EventKind.TRIAL_ENDED)
    while page := ledger.events(after, PAGE, kinds=kinds):
        yield from page
        after = page[-1].seq
