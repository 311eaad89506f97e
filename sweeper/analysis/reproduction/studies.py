"""Studies made of evidence, so that whatever compares tuned studies compares evidence, too."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from sweeper.analysis.comparison.entries import TunedStudy
from sweeper.analysis.reproduction.evidence import Evidence, Result, StudyRecord
from sweeper.analysis.table import NOTHING, History, StudyTable, SweepTable
from sweeper.config.question import Question
from sweeper.ledger import SweepRecord
from sweeper.model import (
    CONTROL_ARM,
    Measurement,
    Study,
    Trial,
    TrialKind,
    TrialState,
    label_of,
)

__all__ = ["studies_of"]

FIRST = {TrialKind.PRESET: 0, TrialKind.CONTROL: 1}  # numbers of the repeated trials


def studies_of(evidence: Evidence, question: Question | None = None) -> list[TunedStudy]:
    """Return the studies of a sweep as far as its evidence has them.

    Each has one configuration with a replicate for each seed. A control that is no arm is a trial
    of its method's study, as in a sweep.

    Args:
        evidence: The evidence.
        question: The question of the sweep; None: it has none.
    """
    is_ablation = bool(evidence.key.settings.get("compare_by"))
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
    results: dict[str, list[Result]] = {}
    for row in evidence.results:
        results.setdefault(row.study, []).append(row)
    groups: dict[str, list[StudyRecord]] = {}
    for each in evidence.studies:
        is_control = not is_ablation and each.arm == CONTROL_ARM
        name = each.name.removesuffix(f"/{CONTROL_ARM}") if is_control else each.name
        groups.setdefault(name, []).append(each)
    devices = evidence.machine.gpu or evidence.machine.cpu
    read = [_table(name, of, results, devices) for name, of in groups.items()]
    sweep = SweepTable(record=record, studies=tuple(table for table, _ in read))
    return [
        TunedStudy(
            label=label_of(table.study.method, table.study.arm),
            sweep=sweep,
            study=table,
            histories=histories,
        )
        for table, histories in read
    ]


def _table(
    name: str, records: Sequence[StudyRecord], results: Mapping[str, list[Result]], devices: float
) -> tuple[StudyTable, dict[int, History]]:
    trials: list[Trial] = []
    histories: dict[int, History] = {}
    first = records[0]
    metric = first.objective.replace("val/", "test/", 1)
    for each in records:
        kind = TrialKind.PRESET if each.name == name else TrialKind.CONTROL
        rows = results.get(each.name, [])
        reached = [row.validation for row in rows if row.validation is not None]
        origin = Trial(
            study=name, number=FIRST[kind], kind=kind, params={}, seed=0,
            state=TrialState.COMPLETE, value=fmean(reached) if reached else None,
        )  # fmt: skip
        trials.append(origin)
        histories[origin.number] = NOTHING
        for row in rows:
            number = len(FIRST) + len(histories)
            trials.append(_replicate(row, origin, number, metric))
            histories[number] = _history(row, devices)
    study = Study(
        name=name, method=first.method, task=first.task, objective=first.objective, seed=0
    )
    return StudyTable(study=study, facts=first.facts, trials=tuple(trials)), histories


def _replicate(row: Result, origin: Trial, number: int, metric: str) -> Trial:
    return Trial(
        study=origin.study,
        number=number,
        kind=TrialKind.REPLICATE,
        params={},
        seed=row.seed,
        state=TrialState.COMPLETE,
        attempt=1,
        value=row.validation,
        test={} if row.test is None else {metric: row.test},
        origin=origin.number,
    )


def _history(row: Result, devices: float) -> History:
    last = Measurement(
        stage="", epoch=row.epochs, num_epochs=row.epochs, metrics=row.metrics, is_final=True
    )
    seconds = row.device_seconds / devices
    return History(measurements=(last,), epochs=row.epochs, seconds=seconds, ended=None)
