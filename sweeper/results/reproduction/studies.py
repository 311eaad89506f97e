"""The results of a sweep from its evidence, for whatever compares sweeps."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from sweeper.ledger import SweepRecord
from sweeper.model import CONTROL_ARM, Study, TrialKind, TrialState, label_of
from sweeper.results.reproduction.evidence import Evidence, Result, StudyRecord
from sweeper.results.schema import StudyResult, TrialRow
from sweeper.spec.schema import Question
from trainables.report import Measurement

__all__ = ["studies_of"]

FIRST = (TrialKind.PRESET, TrialKind.CONTROL)  # of the repeated trials, by their numbers


def studies_of(evidence: Evidence, question: Question | None = None) -> list[StudyResult]:
    """Return the studies of a sweep as far as its evidence has them.

    Each has one configuration with a replicate for each seed. A control that is no arm is a trial
    of its method's study, as in a sweep.

    Args:
        evidence: The evidence.
        question: The question of the sweep; None: it has none.
    """
    record = SweepRecord(
        name=evidence.name,
        experiment="",
        resolved={
            **evidence.key.settings,
            **({} if question is None else {"question": question.model_dump(mode="json")}),
            "resources": {"cpu": evidence.machine.cpu, "gpu": evidence.machine.gpu},
        },
        config_hash=evidence.config_hash,
        profile=evidence.profile,
        text="",
        state="finished",
    )
    is_ablation = bool(evidence.key.settings.get("compare_by"))
    groups: dict[str, list[StudyRecord]] = {}
    for each in evidence.studies:
        is_control = not is_ablation and each.arm == CONTROL_ARM
        name = each.name.removesuffix(f"/{CONTROL_ARM}") if is_control else each.name
        groups.setdefault(name, []).append(each)
    return [_study(name, records, evidence, record) for name, records in groups.items()]


def _study(
    name: str, records: Sequence[StudyRecord], evidence: Evidence, record: SweepRecord
) -> StudyResult:
    first, trials = records[0], list[TrialRow]()
    study = Study(
        name=name, method=first.method, task=first.task, objective=first.objective, seed=0
    )
    for each in records:
        kind = TrialKind.PRESET if each.name == name else TrialKind.CONTROL
        rows = [row for row in evidence.results if row.study == each.name]
        start = len(FIRST) + len(trials)
        trials += _trials(study, kind, rows, start, evidence.machine.gpu or evidence.machine.cpu)
    return StudyResult(
        record=record,
        label=label_of(study.method, study.arm),
        study=study,
        facts=first.facts,
        trials=tuple(trials),
    )


def _trials(
    study: Study, kind: TrialKind, rows: Sequence[Result], start: int, devices: float
) -> Iterator[TrialRow]:
    """Yield a configuration, and a replicate for each of its results."""
    reached = [row.validation for row in rows if row.validation is not None]
    origin = TrialRow(
        study=study.name, number=FIRST.index(kind), kind=kind, params={}, seed=0,
        state=TrialState.COMPLETE, value=fmean(reached) if reached else None,
    )  # fmt: skip
    yield origin
    for number, row in enumerate(rows, start + 1):
        last = Measurement(
            stage="", epoch=row.epochs, num_epochs=row.epochs, metrics=row.metrics, is_final=True
        )
        yield TrialRow(
            study=study.name, number=number, kind=TrialKind.REPLICATE, params={}, seed=row.seed,
            state=TrialState.COMPLETE, attempt=1, value=row.validation, origin=origin.number,
            test={} if row.test is None else {study.test_metric: row.test},
            measurements=(last,), epochs=row.epochs, seconds=row.device_seconds / devices,
        )  # fmt: skip
