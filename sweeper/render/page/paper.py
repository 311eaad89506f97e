"""The paper about what benchmarks measure: its figures, its tables, and what its text asks for.

The text is the template `paper.html.j2`. It has no number: each one comes from a file by way of
this module, and sentences that depend on numbers are chosen by them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sweeper.model import CONTROL_ARM
from sweeper.render.page.evidence_figures import arm_figures, curve_figures
from sweeper.render.page.figures import CONTROL_COLOUR, METHOD_COLOURS, colours
from sweeper.render.page.html import Link, Table, anchor, render, table
from sweeper.render.page.plot import Axis, Figure, Series, Symbol
from sweeper.render.page.references import REFERENCES
from sweeper.render.page.reproduction import MARKS, claim_row, conditions
from sweeper.render.page.sections import Section, ladder_section, sized
from sweeper.results.compare import DIVIDED
from sweeper.results.comparison import (
    ALPHA,
    CONTROL,
    ClaimResult,
    ClaimVerdict,
    CurvePoint,
    TaskComparison,
)
from sweeper.results.floors import TITLES
from sweeper.results.prose import listed, method, metric
from sweeper.results.reproduction.audits import (
    CLOSED_FORM,
    OTHER_PROTOCOL,
    ROUNDING,
    AuditRecord,
    Margin,
    Remarks,
    VariantRecord,
)
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.reproduction.family import after_correction, corrected
from sweeper.results.reproduction.paper import DIGITS, WARM_UP, WARM_UP_CONTRAST, Paper
from sweeper.results.reproduction.reproduction import STALE, VALID, Reproduction
from sweeper.results.statistics import fewest_pairs
from sweeper.results.verdicts import (
    beside_floor,
    interval,
    limits,
    name,
    named_entries,
    score,
)
from sweeper.text import capitalised, readable

WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen")  # fmt: skip
TAIL = 0.75  # share of the epochs from which on a fall of the validation error is told
SYMBOLS: Mapping[str, Symbol] = {"floor": "D", "fno": "s"}
PLACES: Mapping[str, float] = {"floor": -0.2, "fno": 0.2}  # in a row, to hide no other mark
BELOW, ABOVE = "below it", "above it"
MANY = 10  # a smaller ratio is told in two decimals
SMALL = 0.1  # two decimals would hide how small a ratio below it is
LARGE = 10_000  # a larger one depends on the rounding of single precision
FRAGILE = 2 / 3  # share of a margin; a smaller rest without the first seed is told
PRETRAINED, RANDOM = "weights=pretrained", "weights=random"  # in the label of an arm
EACH_SEED = "replicate"  # of `data.seed`: each seed has its own draw of the data


def paper_page(paper: Paper) -> str:
    """Return the paper as one self-contained page."""
    asked = [each.asked for each in paper.reproductions]
    p_values = corrected(asked)
    tested = sum(p is not None for p in p_values.values())
    return render(
        "paper.html.j2",
        title="What the cross-modal benchmarks measure",
        paper=paper,
        references=dict(sorted(REFERENCES.items(), key=lambda item: item[1].cited)),
        word=word,
        share=share,
        factor=factor,
        warm_up=WARM_UP,
        number=readable,
        interval=interval,
        listed=listed,
        method=method,
        predictor=lambda named: TITLES.get(named, named),
        short=short,
        anchor=anchor,
        audit=_audit(paper.audits, paper.remarks),
        variants=_variants(paper.variants, paper.questions),
        wins=[_win(each, p_values, tested, paper) for each in paper.wins],
        pretraining=_pretraining(paper.questions, p_values),
        lengths=[each.length for each in paper.reproductions if each.present and each.length],
        divided=_divided(paper.reproductions),
        questions=_questions(paper.questions, p_values),
        ladders=_ladders(paper),
        tested=tested,
        limits=_limits(paper),
        sources=_sources(paper),
    )


def _ladders(paper: Paper) -> list[Section]:
    """Return the ladders of evidence that counts today."""
    return [
        {**ladder_section(ladder), "length": each.length}
        for each in paper.questions
        if each.evidence == VALID and each.comparison is not None
        for ladder in each.comparison.ladders
    ]


def word(n: int) -> str:
    """Return a small number as a word: `six`."""
    return WORDS[n] if n < len(WORDS) else f"{n:,}"


def share(part: int, whole: int) -> str:
    """Return a part of a whole in words: `six of eight`, `all eight`, `none of eight`."""
    if part == whole > 1:
        return f"all {word(whole)}"
    return f"{word(part)} of {word(whole)}"


def factor(ratio: float) -> str:
    """Return a ratio of errors: `1.39`, `4,200`, `over 10,000`."""
    if ratio > LARGE:
        return f"over {LARGE:,}"
    if ratio < SMALL:
        return readable(ratio)
    return f"{ratio:,.{2 if ratio < MANY else 0}f}"


def short(task: str) -> str:
    """Return the name of a task without its benchmark."""
    return task.rpartition("/")[2]


# The audit


def _audit(records: Sequence[AuditRecord], remarks: Remarks) -> Section:
    known = [each for each in records if each.ratio is not None]
    beaten = [each for each in known if not each.can_rank]
    plain = [each for each in known if (each.ratio_to(each.plain) or 0) > 1]
    ratios = sorted(each.ratio or 0 for each in beaten)
    framed = [each for each in records if each.frames_floor is not None and each.ranked]
    weakest = min(beaten, key=lambda each: each.ratio or 0, default=None)
    return {
        "known": known,
        "beaten": beaten,
        "plain": plain,  # beaten without a symmetry of the equation, too
        "needs_symmetry": [each for each in beaten if each not in plain],
        "in_closed_form": [each for each in known if CLOSED_FORM in each.tests],
        "open": [each for each in known if each.can_rank],
        "lowest": ratios[0] if ratios else None,
        "highest": ratios[-1] if ratios else None,
        "weakest": weakest,
        "metric": listed(list(dict.fromkeys(metric(each.metric) for each in known))),
        "generated": [each for each in known if each.data_source == "generated"],
        "table": _audit_table(known),
        "figure": _audit_figure(known),
        "framed": framed,
        "under_frames": [each for each in framed if _beside_frames(each) == BELOW],
        "frames": _frames(framed),
        "released": [(e, remarks.frames[e.task]) for e in framed if e.task in remarks.frames],
    }


def _audit_table(known: Sequence[AuditRecord]) -> Table:
    header = ["task", "floor", "floor's error", "closed form", "best published",
              "published error", "published / floor", "verdict", "training samples here",
              "test samples here"]  # fmt: skip
    lines: list[list[object]] = []
    for each in known:
        floor, best = each.predictor or "", each.best or ""
        tied = [n for n, value in each.ranked.items() if value == each.ranked[best]]
        lines.append(
            [Link(each.title, anchor(each.task)), TITLES.get(floor, floor), each.tests.get(floor),
             each.tests.get(CLOSED_FORM), listed([method(name) for name in tied]),
             each.published.get(best), factor(each.ratio or 0),
             "none found" if each.can_rank else "cannot rank", each.samples.get("train"),
             each.samples.get("test")]
        )  # fmt: skip
    return table(header, lines)


def _audit_figure(known: Sequence[AuditRecord]) -> Figure:
    """Return the figure of the floor and of all published errors, by task."""
    methods = list(dict.fromkeys(name for each in known for name in each.published))
    palette = colours(methods)
    drawn = [_points("floor", [(i, e.floor) for i, e in enumerate(known)], CONTROL_COLOUR)]
    drawn += [
        _points(each, [(i, e.published.get(each)) for i, e in enumerate(known)], palette[each])
        for each in methods
    ]
    return Figure(
        caption="Errors by task: the floor, a predictor without a network, on our data (diamonds), "
        "and what was published. A floor below the rounding of single precision is drawn there. "
        "Published points that coincide hide one another.",
        series=tuple(drawn),
        x=Axis(title=f"test {metric(known[0].metric)}" if known else ""),
        y=Axis(names=tuple(each.title for each in known)),
        is_wide=True,
    )


def _points(named: str, found: Sequence[tuple[int, float | None]], colour: str) -> Series:
    # With an error of 0 the axis could not be logarithmic.
    known = [(row, max(value, ROUNDING), value) for row, value in found if value is not None]
    label = f"{method(named)}, another protocol" if named in OTHER_PROTOCOL else method(named)
    return Series(
        name=label,
        colour=colour,
        x=tuple(x for _, x, _ in known),
        y=tuple(row + PLACES.get(named, 0) for row, *_ in known),
        tips=tuple(f"{label}: {readable(value)}" for *_, value in known),
        symbol=SYMBOLS.get(named, "o"),
        size=5,
    )


def _frames(framed: Sequence[AuditRecord]) -> Table | None:
    """Return the table of perfect predictors of the trained frame beside published errors."""
    lines: list[list[object]] = [
        [each.title, each.frames_floor, min(each.ranked.values()), max(each.ranked.values()),
         _beside_frames(each)]
        for each in framed
    ]  # fmt: skip
    header = ["task", "perfect on the trained frame", "lowest published", "highest published",
              "published errors are"]  # fmt: skip
    return table(header, lines) if lines else None


def _beside_frames(each: AuditRecord) -> str:
    """Return where the published errors lie beside that of a perfect predictor of a frame."""
    floor = each.frames_floor or 0.0
    if max(each.ranked.values()) < floor:
        return BELOW
    return ABOVE if min(each.ranked.values()) > floor else "on both sides of it"


# The variants


def _variants(records: Sequence[VariantRecord], asked: Sequence[Reproduction]) -> Section:
    tried = [each for each in records if each.cross_modal is not None]
    clears = [each for each in tried if each.cross_modal and each.cross_modal.clears]
    minutes = [each.core_minutes for each in records]
    return {
        "all": records,
        "field": [each for each in records if each.field.clears],
        "tried": tried,
        "clears": clears,
        "not_tried": [each for each in records if each.cross_modal is None],
        "without_first": [
            each
            for each in records
            if all(m.clears_without_first for m in each.margins if m.clears)
        ],
        "solved": [
            each for each in records if each.coarse_solver < min(m.error for m in each.margins)
        ],
        "ahead": [e for e in tried if e.cross_modal and e.cross_modal.error < e.field.error],
        "fragile": [
            (each, margin)
            for each in records
            for margin in each.margins
            if margin.clears and margin.mean_without_first < FRAGILE * margin.mean
        ],
        "missed": _missed(asked, {each.task for each in records}),
        "in_closed_form": [each for each in records if each.closed_form is not None],
        "has_scratch": any(m.method == "scratch" for each in records for m in each.margins),
        "seeds": min((each.seeds for each in records), default=0),
        "minutes": readable(float(f"{sum(minutes):.3g}")),
        "table": _variants_table(records),
        "figure": _variants_figure(records),
    }


def _missed(asked: Sequence[Reproduction], variants: set[str]) -> dict[str, list[str]]:
    """Return by question on several tasks the variants on which an arm does not beat the floor."""
    found = {
        each.name: [
            short(task.task)
            for task in each.compared
            if task.task in variants
            and any(entry.floor and not entry.floor.is_beaten for entry in task.entries)
        ]
        for each in asked
        if each.evidence != STALE and len(each.compared) > 1
    }
    return {question: tasks for question, tasks in found.items() if tasks}


def _variants_table(records: Sequence[VariantRecord]) -> Table:
    header = ["variant", "training samples", "floor", "floor's error", "network of fields",
              "its error", "its margin (95 % interval)", "cross-modal method", "the method's error",
              "the method's margin (95 % interval)", "closed form", "coarse solver"]  # fmt: skip
    lines: list[list[object]] = []
    for each in records:
        floors = listed([TITLES.get(p, p) for p in each.predictors])
        lines.append(
            [short(each.task), each.samples, floors, each.floor, *_margin(each.field),
             *_margin(each.cross_modal), each.closed_form, each.coarse_solver]
        )  # fmt: skip
    return table(header, lines)


def _margin(found: Margin | None) -> tuple[str, float | None, str]:
    if found is None:
        return "not run on all seeds", None, "–"
    told = f"{found.mean:.3g}"
    if found.interval is not None:
        low, high = found.interval
        told += f" ({low:.3g} to {high:.3g})"
    return method(found.method), found.error, told


def _variants_figure(records: Sequence[VariantRecord]) -> Figure:
    """Return the figure of all margins, with a row for each variant and network."""
    rows = [(each, margin) for each in records for margin in each.margins]
    palette = colours(list(dict.fromkeys(margin.method for _, margin in rows)))
    all_above = all(margin.mean > 0 and margin.clears for _, margin in rows)
    drawn = [
        Series(
            name=method(margin.method),
            colour=palette[margin.method],
            x=(margin.mean,),
            y=(row,),
            tips=(f"{method(margin.method)} on {short(each.task)}: {readable(margin.mean)}",),
            symbol="D",
            interval=margin.interval,
        )
        for row, (each, margin) in enumerate(rows)
    ]
    return Figure(
        caption="Floor less error on the variants, mean over data seeds with 95 % intervals; a "
        "network clears the floor where its interval is above zero",
        series=tuple(drawn),
        # From zero on a linear axis, at which the rule is; below zero the axis is linear anyway.
        x=Axis(title="margin in test nRMSE", kind="amounts" if all_above else "values"),
        y=Axis(names=tuple(f"{short(each.task)}, {method(m.method)}" for each, m in rows)),
        rule=0.0,
        is_wide=True,
    )


# Methods that are tuned alike


def _win(
    each: Reproduction, p_values: Mapping[str, float | None], tested: int, paper: Paper
) -> Section:
    """Return what is to be said about one task on which methods are tuned alike."""
    p_corrected = p_values.get(each.name)
    tasks = each.compared
    known = [entry for task in tasks for entry in task.entries if entry.mean is not None]
    cleared = [e for e in known if e.floor is not None and e.floor.is_beaten]
    leader = min(known, key=lambda entry: entry.mean or 0, default=None)
    claims = _claims(each, p_corrected)
    primary = each.claims[0] if each.claims else None
    divided = (f"{capitalised(DIVIDED)}.",) * any(entry.draw.is_divided for entry in known)
    return {
        "name": each.name,
        "task": listed([short(task) for task in each.tasks]),
        "is_variant": all(task.startswith(f"{paper.benchmark}/") for task in each.tasks),
        "metric": listed(list(dict.fromkeys(metric(task.metric) for task in tasks))),
        "place": anchor(each.name),
        "state": each.evidence,
        "notes": (*each.evidence_notes, *divided),
        "known": known,
        "cleared": [name(entry.label) for entry in cleared],
        "leader": name(leader.label) if leader is not None else None,
        "reached": score(leader) if leader is not None else "",
        "floors": [line for task in tasks for line in beside_floor(task)],
        "all_pairs": [line for task in tasks if (line := limits(task.differences))],
        "table": _win_table(tasks, each.present) if known else None,
        "claims": claims,
        "holds": [c for c in claims if c["mark"] == "holds"],
        "fails": [c for c in claims if c["mark"] == "fails"],
        "open": [c for c in claims if c["mark"] == "unknown"],
        "void": [c for c in claims if c["verdict"] == ClaimVerdict.NOT_INFORMATIVE.value],
        "p_alone": primary.p_value if primary is not None else None,
        "p_corrected": p_corrected,
        # All primary claims are corrected together, so that each needs the seeds of so many tests.
        "is_out_of_reach": primary is not None
        and tested > 0
        and 0 < primary.n < fewest_pairs(tested, ALPHA),
        "pretraining": _of_contrast(each, ("nft", "scratch"), p_values),
        "has_controls": any(task.distinct_controls for task in tasks),
        "untuned": _untuned(tasks),
        "length": each.length,
        "warm_up": _warm_up(each, paper.questions, p_values),
        "figures": _win_figures(each),
        "conditions": [conditions(evidence) for evidence in each.present],
        "settings": [told for evidence in each.present if (told := _grid(evidence))],
        "registration": each.registration,
    }  # fmt: skip


def _claims(each: Reproduction, p_corrected: float | None) -> list[dict[str, object]]:
    """Return the claims of a question, the first one with its verdict after all corrections."""
    rows = [claim_row(each.name, claim, {}) for claim in each.claims]
    for row, claim in zip(rows[:1], each.claims, strict=False):
        verdict = after_correction(claim, p_corrected)
        row |= {"alone": row["verdict"], "verdict": verdict.value, "mark": MARKS[verdict]}
    return rows


def _win_figures(each: Reproduction) -> list[Figure]:
    """Return the figure of all test values, and those of the validation values by epoch."""
    found = arm_figures(each.comparison) if each.comparison is not None else []
    for evidence in each.present:
        # Curves are those of tuned methods alone.
        tuned = tuple(p for p in evidence.curves if not p.study.endswith(CONTROL_ARM))
        found += curve_figures(replace(evidence, curves=tuned))
    return found


def _of_contrast(
    each: Reproduction, contrast: tuple[str, str], p_values: Mapping[str, float | None]
) -> str:
    """Return the verdict and the size of a claim about two methods, or "" without such a claim."""
    claim = next((claim for claim in each.claims if claim.contrast == contrast), None)
    return "" if claim is None else _verdict(claim, p_values.get(each.name))


def _verdict(claim: ClaimResult, p_corrected: float | None) -> str:
    """Return the verdict and the size of a claim, of a first one after all corrections, too."""
    if claim.difference is None or claim.verdict is ClaimVerdict.NOT_INFORMATIVE:
        return claim.verdict.value
    told = f"difference {sized(claim.difference, claim)}"
    if claim.ci is not None:
        low, high = (sized(end, claim) for end in claim.ci)
        told += f", {low} to {high}"
    if not claim.is_primary:
        return f"{claim.verdict.value} ({told})"
    corrected_verdict = after_correction(claim, p_corrected)
    return (
        f"{corrected_verdict.value} ({told}; by itself {claim.verdict.value}, p = "
        f"{readable(claim.p_value)}; after the correction over all first claims p = "
        f"{readable(p_corrected)})"
    )


def _pretraining(
    asked: Sequence[Reproduction], p_values: Mapping[str, float | None]
) -> list[Section]:
    """Return the claims of questions about an arm on a pretrained and on a random body."""
    return [
        {
            "question": each.name,
            "task": listed(_tasks(each)),
            "says": claim.says.rstrip("."),
            "verdict": _verdict(claim, p_values.get(each.name)),
        }
        for each in asked
        if each.evidence == VALID
        for claim in each.claims
        if isinstance(claim.contrast, tuple)
        and PRETRAINED in claim.contrast[0]
        and claim.contrast[0].replace(PRETRAINED, RANDOM) == claim.contrast[1]
    ]


def _untuned(tasks: Sequence[TaskComparison]) -> Section | None:
    """Return the controls of one mean that lose to the floor and to all tuned methods, or None."""
    for task in tasks:
        # Without a tuned method no control loses to all of them.
        worst = max((e.mean for e in task.entries if e.mean is not None), default=math.inf)
        lost: dict[float, list[str]] = {}
        for control in task.distinct_controls:
            floor, mean = control.floor, control.mean
            if floor and not floor.is_beaten and mean is not None and mean > worst:
                lost.setdefault(mean, []).append(name(control.label))
        if lost:
            mean = max(lost, key=lambda each: len(lost[each]))
            return {"mean": mean, "of": listed(lost[mean])}
    return None


def _warm_up(
    each: Reproduction, asked: Sequence[Reproduction], p_values: Mapping[str, float | None]
) -> Section | None:
    """Return whether MoNA is better than a warm-up, or None if no claim on it holds here."""
    holds = any(
        claim.verdict is ClaimVerdict.HOLDS and claim.contrast and claim.contrast[0] == "mona"
        for claim in each.claims
    )
    # Where MoNA is not shown to be better, a warm-up has nothing to explain.
    found = next((o for o in asked if o.name == WARM_UP and o.evidence != STALE), None)
    if not holds or found is None:
        return None
    return {
        "verdict": _of_contrast(found, WARM_UP_CONTRAST, p_values),
        "task": listed(_tasks(found)),
        "is_asked_here": _tasks(found) == _tasks(each),
    }


def _win_table(tasks: Sequence[TaskComparison], present: Sequence[Evidence]) -> Table:
    """Return a line for each method, for each control and for the floor, the best first."""
    falls = {study: fall for each in present for study, fall in _falls(each.curves).items()}
    lines: list[list[object]] = []
    for task in tasks:
        told: set[float | None] = set()
        for entry, label, called in named_entries(task):
            # Controls are alike where methods have equal presets.
            if label == CONTROL and entry.mean in told:
                continue
            told |= {entry.mean} if label == CONTROL else set()
            floor = entry.floor
            ratio = None if floor is None or floor.ratio is None else factor(floor.ratio)
            lines.append(
                [called, entry.mean, interval(entry.ci), len(entry.values), ratio,
                 "–" if floor is None else "yes" if floor.is_beaten else "no", entry.validation,
                 falls.get(entry.study) if called == name(entry.label) else None]
            )  # fmt: skip
        if task.floor is not None:
            called = f"floor: {TITLES.get(task.floor.predictor, task.floor.predictor)}"
            lines.append([called, task.floor.value, "–", None, factor(1), "–", None, None])
    lines.sort(key=lambda line: line[1] if isinstance(line[1], float) else math.inf)
    what = listed(list(dict.fromkeys(metric(task.metric) for task in tasks)))
    header = ["method", f"test {what}", "95 % interval", "seeds", "error by floor",
              "clears the floor", "validation", "last fall, %"]  # fmt: skip
    return table(header, lines)


def _falls(curves: Sequence[CurvePoint]) -> dict[str, float]:
    """Return by how many percent the validation error fell over the last epochs of a study."""
    by_study: dict[str, list[CurvePoint]] = {}
    for point in curves:
        if point.metric.startswith("val/"):
            by_study.setdefault(point.study, []).append(point)
    found = {}
    for study, points in by_study.items():
        # Epochs count anew in each stage, so that a fall is one within the last stage.
        mine = [each for each in points if each.stage == points[-1].stage]
        last = max(mine, key=lambda each: each.epoch)
        before = [each for each in mine if each.epoch <= TAIL * last.epoch]
        if before and before[-1].mean:
            found[study] = float(f"{100 * (1 - last.mean / before[-1].mean):.2g}")
    return found


def _grid(evidence: Evidence) -> str:
    """Return a text on the settings that each method chose from, and on the length of trainings."""
    settings = evidence.key.settings
    parts = [
        f"{key} from {listed([readable(v) for v in space['values']])}"
        for key, space in (settings.get("parameters") or {}).items()
        if "values" in space
    ]
    fixed = settings.get("fixed") or {}
    parts += [f"{key} {value}" for key, value in fixed.items() if key.endswith(".epochs")]
    return "; ".join(parts)


# Questions


def _questions(found: Sequence[Reproduction], p_values: Mapping[str, float | None]) -> Section:
    asked = [each for each in found if each.present]
    tasks = [task for each in asked for task in each.compared]
    known = [task for task in tasks if task.floor is not None]
    valid = [each for each in asked if each.evidence != STALE]
    return {
        "all": found,
        "asked": asked,
        "valid": valid,
        "stale": [each for each in asked if each.evidence == STALE],
        "not_run": [each for each in found if not each.present],
        "pairs": known,
        "below": [task for task in known if task.floor and not task.floor.is_beaten],
        "silent": [each.name for each in asked if _is_silent(each)],
        "claims": [c for each in valid for c in each.claims if not c.is_exploratory],
        "told": [c for each in valid for c in each.claims if _is_told(each, c, p_values)],
        "told_first": [e for e in valid if e.claims and _is_told(e, e.claims[0], p_values)],
        "untested": [t for t in known if t.floor and t.floor.is_beaten and not t.floor.is_tested],
        "one_draw": [each.name for each in asked if not _has_own_draws(each)],
        "table": _questions_table(found, p_values),
        "figure": _questions_figure(asked),
    }  # fmt: skip


def _is_told(each: Reproduction, claim: ClaimResult, p_values: Mapping[str, float | None]) -> bool:
    """Return whether a planned claim is decided, a first one after all corrections."""
    if claim.is_exploratory:
        return False
    verdict = claim.verdict
    if claim.is_primary:
        verdict = after_correction(claim, p_values.get(each.name))
    return verdict in (ClaimVerdict.HOLDS, ClaimVerdict.FAILS)


def _is_silent(each: Reproduction) -> bool:
    """Return whether no arm of a question beats the floor on any of its tasks."""
    floors = [task.floor for task in each.compared if task.floor is not None]
    return bool(floors) and not any(floor.is_beaten for floor in floors)


def _tasks(each: Reproduction) -> list[str]:
    """Return the tasks of a question's evidence."""
    return [short(task.task) for task in each.compared]


def _divided(found: Sequence[Reproduction]) -> list[str]:
    """Return the tasks whose samples each seed of some evidence divides anew."""
    divided = (
        short(task.task)
        for each in found
        for task in each.compared
        if any(entry.draw.is_divided for entry in task.entries)
    )
    return list(dict.fromkeys(divided))


def _has_own_draws(each: Reproduction) -> bool:
    """Return whether each seed had its own draw of the data in all evidence of a question."""
    settings = [found.key.settings.get("data") or {} for found in each.present]
    return all(data.get("seed") == EACH_SEED for data in settings)


def _questions_table(found: Sequence[Reproduction], p_values: Mapping[str, float | None]) -> Table:
    lines: list[list[object]] = []
    for each in found:
        changes = [kind for part in each.parts for kind in part.changes]
        state = f"of other {listed(list(dict.fromkeys(changes)))}" if changes else each.evidence
        if not each.claims:
            lines.append([each.name, *["–"] * 8, state])
            continue
        primary, p_corrected = each.claims[0], p_values.get(each.name)
        within = "" if primary.margin is None else f" (margin {sized(primary.margin, primary)})"
        low, high = (sized(end, primary) for end in primary.ci or (None, None))
        lines.append(
            [each.name, f"{primary.says}{within}", sized(primary.difference, primary),
             "–" if primary.ci is None else f"{low} to {high}", primary.n or None,
             primary.p_value, primary.verdict.value, p_corrected,
             after_correction(primary, p_corrected).value, state]
        )  # fmt: skip
    header = ["question", "first claim", "difference", "95 % interval", "seeds or tasks", "p",
              "verdict", "p, all questions", "verdict after correction", "evidence"]  # fmt: skip
    return table(header, lines)


def _questions_figure(asked: Sequence[Reproduction]) -> Figure:
    """Return the figure of the best arm's error by the floor, of each question and task."""
    points = [
        (each, task.task, task.floor.ratio)
        for each in asked
        for task in each.compared
        if task.floor is not None and task.floor.ratio
    ]
    rows = list(dict.fromkeys(task for _, task, _ in points))
    return Figure(
        caption="How far the best arm of each question is from the floor of its task: error by "
        "floor, mean over seeds. Right of the dotted line no network was needed.",
        series=tuple(
            Series(
                name="", colour=METHOD_COLOURS[0], x=(ratio,), y=(float(rows.index(task)),),
                tips=(f"{each.name}: {factor(ratio)}",), symbol="o", opacity=0.7,
            )
            for each, task, ratio in points
        ),
        x=Axis(title="error of the best arm by that of the floor"),
        y=Axis(names=tuple(map(short, rows))),
        rule=1.0,
        has_legend=False,
        is_wide=True,
    )  # fmt: skip


# Limits and sources


def _limits(paper: Paper) -> Section:
    present = paper.present
    empty = [part.name for each in paper.tables for part in each.parts if part.evidence is None]
    return {
        "wins_not_run": [each.name for each in paper.wins if not each.present],
        "tables_not_run": empty,
        "no_audit": [
            each.benchmark.benchmark
            for each in paper.tables
            if each.benchmark is not None and each.benchmark.benchmark != paper.benchmark
        ],
        "present": present,
        "no_processor": [each for each in present if each.machine.processor is None],
        "scattered": [each for each in present if each.scatter],
        "bodies": listed(_bodies(present)),
        # Tasks of evidence that are of no benchmark are named one by one.
        "elsewhere": list(
            dict.fromkeys(
                short(task.task)
                for each in paper.reproductions
                for task in each.compared
                if not task.task.startswith(f"{paper.benchmark}/")
            )
        ),
    }


def _bodies(present: Sequence[Evidence]) -> list[str]:
    """Return the bodies of all evidence with their numbers of layers: `minilm (2 to 4 layers)`."""
    layers: dict[str, set[int]] = {}
    for study in (study for evidence in present for study in evidence.sweep.studies):
        if found := re.match(r"(\w+) \((\d+) layers", study.facts.backbone or ""):
            layers.setdefault(found[1], set()).add(int(found[2]))
    return [
        f"{body} ({f'{min(found)} to ' * (len(found) > 1)}{max(found)} layers)"
        for body, found in sorted(layers.items())
    ]


def _sources(paper: Paper) -> Table:
    lines: list[list[object]] = []
    for each in paper.sources:
        found = each.evidence
        finished = found.finished if found is not None else None
        commit = (found.commit or "not recorded")[:DIGITS] if found is not None else "–"
        where_run = (found.machine.processor or "not recorded") if found is not None else "–"
        lines.append([each.file, each.digest, finished or "–", commit, where_run])
    return table(["file", "SHA-256", "finished", "commit", "processor"], lines)
