"""Compares the methods on one task: budgets, paired differences, and what forbids comparing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import Any

from sweeper.analysis.comparison.comparison import (
    ALPHA,
    CONTROL,
    Difference,
    Entry,
    Evenness,
    TaskComparison,
    Verdict,
)
from sweeper.analysis.comparison.contenders import Contender, control_of, entry_of
from sweeper.analysis.published import published_of
from sweeper.analysis.statistics import (
    Pairs,
    bootstrap_interval,
    holm_of_tests,
    pair,
    sign_flip,
    standardized,
    superiority,
)
from sweeper.analysis.words import listed

EVEN = 1.1  # budgets that differ by less than a tenth are even
SAME = {  # what two numbers must share to be compared at all
    "objective": "what is measured",
    "protocol": "protocol",
    "data_source": "data source",
    "content_hash": "data",
}
ALIKE = {  # what they should share
    "backbone": "backbone",
    "pretrained": "pretraining",
    "weights_hash": "weights",
}
SHOWN = ("title", "dimension", "kind", "protocol", "data_source", "samples",
         "baselines", "backbone", "pretrained", "published_samples")  # fmt: skip


def compare_task(
    task: str, contenders: Sequence[Contender], baseline: str | None
) -> TaskComparison:
    """Compares all contenders on one task.

    Args:
        baseline: The label that each is compared with, or `control`; None compares every pair.
    """
    entries = tuple(entry_of(contender) for contender in contenders)
    controls = tuple(control_of(contender) for contender in contenders)
    incomparable = tuple(_unlike(contenders, SAME))
    between = [] if incomparable else _between(entries, baseline)
    facts = contenders[0].study.facts
    return TaskComparison(
        task=task,
        metric=contenders[0].study.test_metric,
        facts={name: facts[name] for name in SHOWN if name in facts},
        entries=entries,
        controls=controls,
        budgets=_budgets(entries),
        differences=corrected(between),
        from_control=corrected(
            [
                difference(entry, replace(control, label=CONTROL))
                for entry, control in zip(entries, controls, strict=True)
            ]
        ),
        incomparable=incomparable,
        cautions=(*_unlike(contenders, ALIKE), *_unfinished(contenders, entries)),
        published=published_of(facts),
    )


def difference(first: Entry, second: Entry) -> Difference:
    """Compares two entries on the seeds that they share; two single runs as they are."""
    is_paired = first.is_replicated or second.is_replicated
    both = (first.values, second.values)
    if not is_paired and all(len(values) == 1 for values in both):
        both = tuple({0: next(iter(values.values()))} for values in both)  # type: ignore[assignment]
    pairs = pair(*both)
    named = Difference(
        first=first.label,
        second=second.label,
        pairs=len(pairs.seeds),
        missing=len(pairs.missing),
        is_paired=is_paired,
    )
    test = sign_flip(pairs.differences)
    if test is None:
        return named
    return replace(
        named,
        means=(_mean(both[0], pairs), _mean(both[1], pairs)),
        difference=fmean(pairs.differences),
        ci=bootstrap_interval(pairs.differences),
        p_value=test.p_value,
        is_exact=test.is_exact,
        d_z=standardized(pairs.differences),
        superiority=superiority(pairs.differences),
    )


def corrected(family: Sequence[Difference]) -> tuple[Difference, ...]:
    """Corrects the p-values of one family, and says what each difference amounts to."""
    p_values = holm_of_tests([each.p_value for each in family], [each.pairs for each in family])
    return tuple(
        replace(each, p_holm=p, verdict=_verdict(each, p))
        for each, p in zip(family, p_values, strict=True)
    )


def _verdict(each: Difference, p: float | None) -> Verdict:
    if p is None or each.difference is None:
        return Verdict.NOTHING
    if p >= ALPHA:
        return Verdict.UNKNOWN
    return Verdict.LOWER if each.difference < 0 else Verdict.HIGHER


def _between(entries: Sequence[Entry], baseline: str | None) -> list[Difference]:
    if baseline is None:
        return [difference(*two) for two in combinations(entries, 2)]
    against = [entry for entry in entries if entry.label == baseline]
    return [
        difference(entry, other) for other in against for entry in entries if entry is not other
    ]


def _mean(values: Mapping[int, float], pairs: Pairs) -> float:
    return fmean(values[seed] for seed in pairs.seeds)


def _budgets(entries: Sequence[Entry]) -> tuple[Evenness, ...]:
    budgets = [entry.budget for entry in entries if entry.budget is not None]
    if len(budgets) < 2:
        return ()
    reads: dict[str, Callable[[Any], float]] = {
        "trials": lambda b: float(b.trials),
        "epochs": lambda b: float(b.epochs),
        "device_seconds": lambda b: float(b.device_seconds),
    }
    found = []
    for what, read in reads.items():
        most, least = max(map(read, budgets)), min(map(read, budgets))
        ratio = most / least if least > 0 else None
        is_even = most == least or (what != "trials" and ratio is not None and ratio <= EVEN)
        if what == "device_seconds" and len({b.device for b in budgets}) > 1:
            ratio, is_even = None, False
        found.append(Evenness(what=what, is_even=is_even, ratio=ratio))
    return tuple(found)


def _unlike(contenders: Sequence[Contender], facts: Mapping[str, str]) -> list[str]:
    """Says in what of these facts the contenders differ."""
    lines = []
    for name, what in facts.items():
        values: dict[str, list[str]] = {}
        now = _in_present_words(contenders) if name == "protocol" else {}
        for each in contenders:
            value = (
                each.study.study.objective if name == "objective" else each.study.facts.get(name)
            )
            value = now.get(value, value)
            values.setdefault("unknown" if value is None else str(value)[:60], []).append(
                each.label
            )
        if len(values) > 1:
            told = [f"{listed(labels)} with {value}" for value, labels in values.items()]
            verb = "differ" if what.endswith("s") else "differs"
            lines.append(f"{what} {verb}: {'; '.join(told)}")
    return lines


def _in_present_words(contenders: Sequence[Contender]) -> dict[Any, Any]:
    """Returns, by its former words, each protocol that was only worded anew since a sweep began."""
    facts = [each.study.facts for each in contenders]
    return {f["earlier_protocol"]: f["protocol"] for f in facts if f.get("earlier_protocol")}


def _unfinished(contenders: Sequence[Contender], entries: Sequence[Entry]) -> list[str]:
    lines = []
    for contender, entry in zip(contenders, entries, strict=True):
        searched = contender.study.searched
        asked = (contender.sweep.record.resolved.get("search") or {}).get("trials") or 0
        planned = max(asked, len(searched))
        left = planned - sum(t.state.is_finished for t in searched)
        if left:
            lines.append(f"{entry.label}: {left} of {planned} trials have yet to end")
        if entry.pending:
            lines.append(f"{entry.label}: {entry.pending} replicates have yet to end")
        if entry.without:
            lines.append(f"{entry.label}: {entry.without} replicates ended without a value")
        if entry.mean is None:
            lines.append(f"{entry.label}: no trial is complete")
    return lines


def ratio_of(each: Difference) -> float | None:
    """Returns the first's mean over the second's; None where a mean is not positive."""
    if each.means is None or not all(math.isfinite(m) and m > 0 for m in each.means):
        return None
    return each.means[0] / each.means[1]
