"""Sweeps, studies and comparisons as plain data for JSON, in which seeds are text."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from sweeper.results.comparison import (
    ALPHA,
    Answer,
    Comparison,
    Difference,
    Effect,
    Entry,
    GroupGap,
    Interaction,
    TaskComparison,
    Trend,
    num_tests,
)
from sweeper.results.costs import solves
from sweeper.results.floors import FLOOR_FACTS
from sweeper.results.ladder.curves import LadderResult
from sweeper.results.ladder.sentences import ladder_lines
from sweeper.results.schema import SHORT, StudyResult, SweepResult, finite, rows
from sweeper.results.statistics import fewest_pairs
from sweeper.results.verdicts import (
    across,
    answer,
    claim_lines,
    distance_answer,
    gap_text,
    headline,
    interaction_text,
    limits_over_tasks,
    notes,
    trend_text,
)
from sweeper.text import without_nonfinite

T = TypeVar("T", Effect, GroupGap, Trend, Interaction)
NAMES_IN_JSON = {"upward_rms": "rises", "roughness": "jaggedness"}
FACTS = ("title", "dimension", "kind", "protocol", "data_source", "licence", "origin", "samples",
         *FLOOR_FACTS, "backbone", "pretrained", "products", "precision", "published_samples",
         "solver_seconds")  # fmt: skip


def sweep_as_json(table: SweepResult[StudyResult]) -> dict[str, object]:
    """Return the whole table as plain data, with null for numbers that are not finite."""
    return {
        "sweep": table.record.name,
        "experiment": table.record.experiment,
        "state": table.record.state,
        "profile": table.record.profile,
        "config_hash": table.record.config_hash,
        "studies": [study_as_json(study) for study in table.studies],
    }


def study_as_json(table: StudyResult) -> dict[str, object]:
    """Return the table of a study as plain data."""
    led = {"best": table.best, "preset": table.preset, "control": table.control}
    return {
        "study": table.study.name,
        "method": table.study.method,
        "task": table.study.task,
        "objective": table.study.objective,
        "counts": {state.value: count for state, count in table.counts().items()},
        **{k: None if t is None else table.reached(t).plain(SHORT) for k, t in led.items()},
        "baselines": {name: finite(v) for name, v in table.facts.baselines.items()},
        "facts": {name: v for name, v in table.facts.to_json().items() if name != "baselines"},
        "trials": rows(table),
    }


def json_text(content: Any) -> str:
    """Return strict JSON, with null for numbers that are not finite."""
    plain = without_nonfinite(content)
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False, default=str)


def comparison_as_json(comparison: Comparison) -> dict[str, object]:
    """Return the comparison as plain data, with a summary in `sentences`."""
    return {
        "sweeps": list(comparison.sweeps),
        "baseline": comparison.baseline,
        "alpha": ALPHA,
        "answer": headline(comparison),
        "tasks": [_task(task) for task in comparison.tasks],
        "average_ranks": dict(comparison.ranks),
        "ranked_tasks": list(comparison.ranked_tasks),
        "distance": _distance(comparison),
        "effects": _said(comparison.effects, across),
        "effect_notes": limits_over_tasks(comparison.effects),
        **({} if comparison.design is None else {"design": comparison.design}),
        **(
            {}
            if comparison.by is None
            else {
                "by": comparison.by,
                "trends": _said(comparison.trends, trend_text),
                "interactions": _said(comparison.interactions, interaction_text),
            }
        ),
        **({"ladders": list(map(_ladder, comparison.ladders))} if comparison.ladders else {}),
        **({"dimensions": _said(comparison.gaps, gap_text)} if comparison.gaps else {}),
        **({"questions": list(map(_answer, comparison.answers))} if comparison.answers else {}),
    }


def _said(found: Iterable[T], sentence: Callable[[T], str]) -> list[dict[str, object]]:
    """Return records as plain data, each with its sentence."""
    return [{**asdict(each), "sentence": sentence(each)} for each in found]


def _ladder(each: LadderResult) -> dict[str, object]:
    return {**asdict(each), "sentences": ladder_lines(each)}


def _answer(each: Answer) -> dict[str, object]:
    claims = [{**asdict(claim), "sentences": claim_lines(claim)} for claim in each.claims]
    asked = each.question.model_dump(mode="json", exclude={"claims"})
    return {"sweep": each.sweep, **asked, "claims": claims}


def _distance(comparison: Comparison) -> dict[str, object] | None:
    """Return the correlation of distances with the error; None without any measured distance."""
    if not comparison.distance_correlations:
        return None
    series = [
        {
            "label": each.label,
            "task": each.task,
            "proxy": each.proxy,
            "distance": each.distance,
            "stage": each.stage,
            "trials": len(each.trials),
            "rho": each.correlation and each.correlation.rho,
            "p_value": each.correlation and each.correlation.p_value,
            "p_holm": each.p_holm,
        }
        for each in comparison.distance_correlations
    ]
    return {"answer": distance_answer(comparison.distance_correlations), "series": series}


def _task(task: TaskComparison) -> dict[str, object]:
    facts = task.facts.to_json()
    return {
        "task": task.task,
        "metric": task.metric,
        "answer": answer(task),
        **{k: facts[k] for k in FACTS if k in facts},
        "floor": None if task.floor is None else asdict(task.floor),
        "methods": [_entry(entry) for entry in task.entries],
        "controls": [_entry(entry) for entry in task.controls],
        "budgets": [asdict(each) for each in task.budgets],
        "comparisons": [asdict(each) for each in task.differences],
        "against_control": [asdict(each) for each in task.from_control],
        "pairs_needed": {
            "comparisons": _needed(task.differences),
            "against_control": _needed(task.from_control),
        },
        "notes": notes(task),
        "costs": [{**asdict(each), "solves": solves(each)} for each in task.costs],
        "incomparable": list(task.incomparable),
        "published": [asdict(each) for each in task.published],
    }


def _needed(family: Sequence[Difference]) -> int:
    """Return the number of pairs that a significant difference of a family needs."""
    return fewest_pairs(num_tests([each.pairs for each in family]), ALPHA)


def _entry(entry: Entry) -> dict[str, object]:
    # A seed has 63 bits, which a number of JSON does not hold.
    values = {str(seed): value for seed, value in entry.values.items()}
    # asdict would copy each epoch, all of which are left out below.
    found = asdict(replace(entry, epochs=()))
    for name in ("epochs", "data", "samples", "floors", "cells"):  # for figures and differences
        del found[name]
    return {
        **entry.cells,
        **{NAMES_IN_JSON.get(name, name): value for name, value in found.items()},
        "values": values,
        "n": len(values),
    }
