"""Figures of studies and comparisons. Methods, states of trials and stages have fixed colours.

Readers with red-green colour blindness can distinguish the colours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any

from sweeper.model import INFEASIBLE, Trial, TrialKind, TrialState
from sweeper.render.page.plot import Axis, Figure, Series, Symbol
from sweeper.results.comparison import (
    CONTROL,
    Comparison,
    Difference,
    DistanceCorrelation,
    TaskComparison,
    Verdict,
)
from sweeper.results.floors import title
from sweeper.results.importance import Parameters, axes, position, sampled_trials
from sweeper.results.prose import DISTANCES, listed, metric
from sweeper.results.schema import StudyResult
from sweeper.results.verdicts import name, named_entries, series
from sweeper.spec.distributions import Choice, Distribution, Float
from sweeper.text import readable

METHOD_COLOURS = ("#3b82c4", "#e08a1e", "#2f9e6e", "#c0549a", "#8a63d2", "#4aa6b5", "#d9534f",
                  "#9a8a3c", "#8a5a44")  # fmt: skip
OWN_COLOURS = dict(
    zip(("nft", "orca", "pare", "mona", "contrastive_pare", "scratch", "fno", "recraft", "dash"),
        METHOD_COLOURS, strict=True)
)  # fmt: skip
CONTROL_COLOUR = "#8b95a1"
INFEASIBLE_COLOUR = "#d9534f"  # of complete trials that break a constraint
DIFFERENT = METHOD_COLOURS[0]
STATE_COLOURS = {
    TrialState.COMPLETE: "#3b82c4",
    TrialState.PRUNED: "#9aa3ad",
    TrialState.FAILED: "#d9534f",
    TrialState.RUNNING: "#8a63d2",
    TrialState.INTERRUPTED: "#c08a2e",
    TrialState.WAITING: "#9aa3ad",
    TrialState.PAUSED: "#4f9d9a",
}
KIND_COLOURS = {
    TrialKind.PRESET: "#2f9e6e",
    TrialKind.CONTROL: "#e08a1e",
    TrialKind.REPLICATE: "#4aa6b5",
    TrialKind.RERUN: "#c0549a",
    TrialKind.SUGGESTED: "#b59a1e",
}
SYMBOLS: dict[TrialKind, Symbol] = {
    TrialKind.PRESET: "D",
    TrialKind.CONTROL: "s",
    TrialKind.SAMPLED: "o",
    TrialKind.SUGGESTED: "D",
}
FRONT_COLOUR = "#2f9e6e"
WORST, BEST = (170, 178, 187), (42, 125, 205)  # red, green, blue; visible on white and on black
MAX_LINES = 200  # in parallel coordinates
MAX_NARROW = 6  # axes of parallel coordinates in a narrow figure
AGAINST = {  # attribute of a point -> title of the axis, text of the caption
    "trials": ("candidates that ended", "candidates"),
    "device_seconds": ("device-seconds", "device-seconds"),
}


# One study


@dataclass(frozen=True, kw_only=True)
class TrialCurve:
    """The objective of one trial by epoch, over all stages that report it."""

    trial: Trial
    epochs: tuple[int, ...]
    values: tuple[float | None, ...]
    stages: tuple[str, ...]


def learning_curves(tuned: StudyResult) -> list[TrialCurve]:
    """Return the curve of every trial of a study that reported the objective at least once.

    Epochs are counted over all stages that report the objective, so that no curve moves back. A
    value that is not finite leaves a gap.
    """
    curves = []
    for trial in tuned.trials:
        reported = [
            (m.stage, m.objective if math.isfinite(m.objective) else None)
            for m in trial.measurements
            if m.objective is not None
        ]
        if reported:
            stages, values = zip(*reported, strict=True)
            epochs = tuple(range(1, len(values) + 1))
            curves.append(TrialCurve(trial=trial, epochs=epochs, values=values, stages=stages))
    return curves


def best_so_far(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    """Return the numbers of complete trials, and the lowest values so far.

    The control and infeasible trials are left out.
    """
    numbers: list[int] = []
    lowest: list[float] = []
    for trial in sorted(trials, key=lambda t: t.number):
        is_candidate = trial.kind is not TrialKind.CONTROL and trial.is_feasible
        if is_candidate and trial.state is TrialState.COMPLETE and trial.value is not None:
            numbers.append(trial.number)
            lowest.append(min([trial.value, *lowest[-1:]]))
    return numbers, lowest


def history(table: StudyResult) -> Figure:
    """Return the figure of validation values by number of the trial, with the lowest so far."""
    numbers, lowest = best_so_far(table.searched)
    drawn = [
        Series(
            name="lowest so far",
            colour=STATE_COLOURS[TrialState.COMPLETE],
            x=tuple(numbers),
            y=tuple(lowest),
            line="steps",
        )
    ]
    groups: dict[str, list[Trial]] = {}
    for trial in table.searched:
        if trial.value is not None and math.isfinite(trial.value):
            groups.setdefault(_label(trial), []).append(trial)
    drawn += [
        Series(
            name=label,
            colour=_colour(trials[0]),
            x=tuple(t.number for t in trials),
            y=tuple(t.value for t in trials),
            symbol=SYMBOLS[trials[0].kind],
            tips=tuple(str(t.number) for t in trials),
        )
        for label, trials in groups.items()
    ]
    return Figure(
        caption="Validation value of each trial of the search, and the lowest so far",
        series=tuple(drawn),
        x=Axis(title="trial", kind="counts"),
        y=Axis(title=_validation(table)),
        has_rows_as_tips=True,
    )


def pareto(table: StudyResult, second: str) -> Figure:
    """Return the figure of the complete trials by the first and another objective.

    The front is that of all objectives, so that with more than two a point of it may lie behind.
    """
    first, quantities = table.study.objective, table.quantities
    shown = [t for t in table.complete if {first, second} <= quantities.get(t.number, {}).keys()]
    front = sorted(
        (t for t in table.front if t in shown), key=lambda t: quantities[t.number][second]
    )

    def series(name: str, trials: Sequence[Trial], colour: str, **style: Any) -> Series:
        return Series(
            name=name,
            colour=colour,
            x=tuple(quantities[t.number][second] for t in trials),
            y=tuple(quantities[t.number][first] for t in trials),
            tips=tuple(str(t.number) for t in trials),
            **style,
        )

    others: dict[str, list[Trial]] = {}
    for trial in shown:
        if trial not in front:
            others.setdefault(_label(trial), []).append(trial)
    drawn = [
        series(label, trials, _colour(trials[0]), symbol=SYMBOLS[trials[0].kind], opacity=0.75)
        for label, trials in others.items()
    ]
    # With more than two objectives the front is no curve in this plane.
    line = "straight" if len(front) > 1 and len(table.goals.objectives) == 2 else ""
    drawn.append(series("front", front, FRONT_COLOUR, symbol="o", size=5, line=line))
    return Figure(
        caption=f"Complete trials by {first} and {second}: no other one beats those of the front",
        series=tuple(each for each in drawn if each.x),
        x=Axis(title=second.replace("_", " ")),
        y=Axis(title=_validation(table)),
        has_rows_as_tips=True,
    )


def learning(table: StudyResult, curves: Sequence[TrialCurve]) -> Figure:
    """Return the figure of validation values by epoch, with a colour for each state of trials."""
    drawn = []
    best = table.best
    # Pruned and paused trials come first, so that they are drawn below the others.
    stopped = (TrialState.PRUNED, TrialState.PAUSED)
    for curve in sorted(curves, key=lambda c: c.trial.state not in stopped):
        trial = curve.trial
        is_best = best is not None and trial.number == best.number
        stages = list(dict.fromkeys(curve.stages))
        drawn.append(
            Series(
                name=_label(trial),
                colour=_colour(trial),
                x=curve.epochs,
                y=curve.values,
                title=f"trial {trial.number}{', best' * is_best}: {listed(stages)}",
                tips=tuple(
                    f"{epoch}: {readable(value)}"
                    for epoch, value in zip(curve.epochs, curve.values, strict=True)
                ),
                line="straight" if len(curve.epochs) > 1 else "",
                symbol="" if len(curve.epochs) > 1 else "o",
                width=3 if is_best else 1.5,
                opacity=1 if is_best or trial.kind is not TrialKind.SAMPLED else 0.75,
            )
        )
    return Figure(
        caption="Validation value by epoch",
        series=tuple(drawn),
        x=Axis(title="epoch", kind="counts"),
        y=Axis(title=_validation(table)),
        tips_start="epoch ",
    )


def parallel(table: StudyResult, parameters: Parameters) -> Figure | None:
    """Return parallel coordinates: each complete sampled trial is a line from parameters to value.

    Better trials are bluer, and the study's best is thick. Only the `MAX_LINES` trials with the
    lowest values are drawn. The result is None for fewer than two trials.
    """
    trials = sorted(sampled_trials(table), key=lambda t: t.value or 0.0)[:MAX_LINES]
    along = axes(trials, parameters)
    if len(trials) < 2 or not along:
        return None
    # The value is the last axis; the best lines are drawn last, on top of the others.
    values = [trial.value or 0.0 for trial in trials]
    reached = _validation(table)
    along[reached] = Float(low=min(values), high=max(values))
    drawn = []
    for rank, trial in reversed(list(enumerate(trials))):
        is_best = table.best is not None and trial.number == table.best.number
        chosen = {n: trial.params[n] for n in trial.sampled} | {reached: trial.value}
        drawn.append(
            Series(
                name=f"trial {trial.number}",
                colour=_mixed(1 - rank / (len(trials) - 1)),
                x=tuple(range(len(along))),
                y=tuple(
                    position(chosen[n], axis) if n in chosen else None for n, axis in along.items()
                ),
                tips=(str(trial.number),),
                line="straight",
                width=3 if is_best else 1.5,
            )
        )
    return Figure(
        caption="Complete sampled trials: the bluer, the better; the study's best is thick",
        series=tuple(drawn),
        columns={name: _ticks(axis) for name, axis in along.items()},
        is_wide=len(along) > MAX_NARROW,
        has_legend=False,
        has_rows_as_tips=True,
    )


def bars(shares: Mapping[str, float]) -> Figure:
    """Return the figure of importances, with the largest on top and a colour for each stage.

    The legend has the sum over the parameters of each stage.
    """
    names = sorted(shares, key=lambda name: -shares[name])
    sums = by_stage(shares)
    drawn = []
    for row, parameter in enumerate(names):
        stage, share = stage_of(parameter), shares[parameter]
        drawn.append(
            Series(
                name=f"{stage}: {sums[stage]:.2f}",
                colour=METHOD_COLOURS[list(sums).index(stage) % len(METHOD_COLOURS)],
                x=(0, share),
                y=(row, row),
                tips=(f"{parameter}: {share:.4g}",),
                labels=("", f"{share:.2f}"),
                line="straight",
                width=18,
            )
        )
    return Figure(
        caption="Importance of each parameter alone (fANOVA), by stage: a hint, not a proof",
        series=tuple(drawn),
        x=Axis(title="share of the variance", kind="shares"),
        y=Axis(names=tuple(names)),
    )


def by_stage(shares: Mapping[str, float]) -> dict[str, float]:
    """Return the sum of the importances for each stage, the largest first."""
    sums: dict[str, float] = {}
    for parameter, share in shares.items():
        sums[stage_of(parameter)] = sums.get(stage_of(parameter), 0.0) + share
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def stage_of(parameter: str) -> str:
    """Return the stage of a parameter, or the name itself if it has no stage."""
    return parameter.partition(".")[0]


def hover(trial: Trial) -> str:
    """Return the tip of a trial's point: the trial, and a line for each sampled parameter."""
    chosen = [f"{name} = {readable(trial.params.get(name))}" for name in trial.sampled]
    head = f"trial {trial.number} ({_label(trial)}): {readable(trial.value)}"
    return "\n".join([head, *chosen])


def _is_led(trial: Trial) -> bool:
    """Return whether the colour of a trial shows its kind instead of its state."""
    return trial.kind is not TrialKind.SAMPLED and trial.state is TrialState.COMPLETE


def _label(trial: Trial) -> str:
    if not trial.is_feasible:
        return INFEASIBLE
    return trial.kind.value if _is_led(trial) else trial.state.value


def _colour(trial: Trial) -> str:
    if not trial.is_feasible:
        return INFEASIBLE_COLOUR
    return KIND_COLOURS[trial.kind] if _is_led(trial) else STATE_COLOURS[trial.state]


def _mixed(share: float) -> str:
    """Return a mixture of the colours of the worst trial (0) and the best trial (1)."""
    parts = (round(worst + share * (best - worst)) for worst, best in zip(WORST, BEST, strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _validation(table: StudyResult) -> str:
    return f"validation {metric(table.study.objective)}"


def _ticks(along: Distribution) -> list[tuple[float, str]]:
    marks = along.values if isinstance(along, Choice) else (along.low, along.high)
    return [(position(mark, along), readable(mark)) for mark in dict.fromkeys(marks)]


# A comparison


def colours(labels: Sequence[str]) -> dict[str, str]:
    """Return the colour of each method or arm, and of the control.

    The first arm of a method has the method's own colour, and all others take those that are left.
    """
    chosen: dict[str, str] = {}
    for label in labels:
        own = OWN_COLOURS.get(label.partition(" ")[0])
        if own is not None and own not in chosen.values():
            chosen[label] = own
    left = [colour for colour in METHOD_COLOURS if colour not in chosen.values()]
    others = [label for label in labels if label not in chosen]
    # Colours repeat where there are more arms than colours.
    chosen |= dict(zip(others, chain(left, cycle(METHOD_COLOURS)), strict=False))
    return {**chosen, CONTROL: CONTROL_COLOUR}


def scores(task: TaskComparison, palette: Mapping[str, str]) -> Figure:
    """Return the figure of test values of all methods and controls, with means and intervals."""
    found = [row for row in named_entries(task) if row[0].values]
    drawn = []
    for row, (entry, label, shown) in enumerate(found):
        values = tuple(entry.values.values())
        seeds = tuple(f"seed {seed}: {value:.6g}" for seed, value in entry.values.items())
        drawn.append(
            Series(
                name=shown, colour=palette[label], x=values, y=(row,) * len(values),
                title=shown, tips=seeds, symbol="o", opacity=0.5,
            )
        )  # fmt: skip
        assert entry.mean is not None
        tip = f"{name(entry.label)}: mean {readable(entry.mean)} of {len(values)}"
        drawn.append(
            Series(
                name=shown, colour=palette[label], x=(entry.mean,), y=(row,),
                tips=(tip,), symbol="|", size=8, interval=entry.ci,
            )
        )  # fmt: skip
    floor = task.floor
    has_intervals = any(entry.ci for entry in (*task.entries, *task.controls))
    return Figure(
        caption=f"Test values by seed, with {'mean and 95 % interval' * has_intervals or 'mean'}"
        + ("" if floor is None else f"; dotted: {title(floor.predictor)}, {readable(floor.value)}"),
        rule=None if floor is None else floor.value,
        series=tuple(drawn),
        x=Axis(title=f"test {metric(task.metric)}"),
        y=Axis(names=tuple(shown for *_, shown in found)),
        has_legend=False,
    )


def gaps(task: TaskComparison) -> Figure | None:
    """Return the figure of paired differences and their intervals; None without an interval."""
    found = [d for d in (*task.differences, *task.from_control) if d.difference is not None]
    if not any(d.ci for d in found):
        return None
    drawn = [
        Series(
            name=gap_name(each),
            colour=DIFFERENT if each.verdict in (Verdict.LOWER, Verdict.HIGHER) else CONTROL_COLOUR,
            x=(each.difference or 0.0,),
            y=(row,),
            tips=(gap_text(each),),
            symbol="D",
            interval=each.ci,
        )
        for row, each in enumerate(found)
    ]
    return Figure(
        caption="Paired differences, 95 % intervals; below 0 the first is better",
        series=tuple(drawn),
        x=Axis(title=f"difference in test {metric(task.metric)}"),
        y=Axis(names=tuple(map(gap_name, found))),
        rule=0.0,
        has_legend=False,
    )


def any_time(task: TaskComparison, what: str, palette: Mapping[str, str]) -> Figure | None:
    """Return the figure of each method's lowest validation value so far.

    Args:
        task: The comparison on a task.
        what: The x axis: `trials` or `device_seconds`.
        palette: The colours of the methods.

    Returns:
        The figure, or None if no method has two points.
    """
    if all(len(entry.curve) < 2 for entry in task.entries):
        return None
    title, words = AGAINST[what]
    drawn = []
    for entry in task.entries:
        at = tuple(float(getattr(point, what)) for point in entry.curve)
        values = tuple(point.value for point in entry.curve)
        drawn.append(
            Series(
                name=name(entry.label),
                colour=palette[entry.label],
                x=at,
                y=values,
                title=name(entry.label),
                tips=tuple(
                    f"{readable(value)} at {readable(each)} {words}"
                    for value, each in zip(values, at, strict=True)
                ),
                line="steps",
                width=2,
                symbol="o",
                size=2.5,
            )
        )
    return Figure(
        caption=f"Lowest validation value of the search so far, by {words}",
        series=tuple(drawn),
        x=Axis(title=title, kind="counts" if what == "trials" else "amounts"),
        y=Axis(title=f"best validation {metric(task.metric)}"),
    )


def ratios(comparison: Comparison) -> Figure | None:
    """Return the figure of ratios of errors between methods, by task; None for a single task."""
    if len(comparison.tasks) < 2 or not comparison.effects:
        return None
    tasks = list(dict.fromkeys(task for effect in comparison.effects for task in effect.ratios))
    drawn = []
    for index, effect in enumerate(comparison.effects):
        shown = f"{name(effect.first)} / {name(effect.second)}"
        drawn.append(
            Series(
                name=shown,
                colour=METHOD_COLOURS[index % len(METHOD_COLOURS)],
                x=tuple(effect.ratios.values()),
                y=tuple(map(tasks.index, effect.ratios)),
                title=shown,
                tips=tuple(f"{task}: {readable(r)}" for task, r in effect.ratios.items()),
                symbol="o",
                size=5,
            )
        )
    return Figure(
        caption="Ratio of test errors, task by task; below 1 the first is better",
        series=tuple(drawn),
        x=Axis(title="ratio of test errors"),
        y=Axis(names=tuple(tasks)),
        rule=1.0,
    )


def distances(shown: Sequence[DistanceCorrelation], palette: Mapping[str, str]) -> Figure:
    """Return the figure of distance and test error of trials, with a colour for each method."""
    drawn = []
    for each in shown:
        rho = "" if each.correlation is None else f", ρ = {readable(each.correlation.rho)}"
        drawn.append(
            Series(
                name=f"{series(each)}{rho}",
                # A study that is not compared, such as an ablation's base, has no colour.
                colour=palette.get(each.label, CONTROL_COLOUR),
                x=each.distances,
                y=each.errors,
                tips=tuple(
                    f"{hover(trial)}\ndistance {readable(distance)}, test error {readable(error)}"
                    for trial, distance, error in zip(
                        each.trials, each.distances, each.errors, strict=True
                    )
                ),
                symbol="o",
            )
        )
    first = shown[0]
    return Figure(
        caption=f"{first.task}: {DISTANCES[first.distance]} and test error",
        series=tuple(drawn),
        x=Axis(title=f"{DISTANCES[first.distance]} before fine-tuning"),
        y=Axis(title=f"test {metric(first.metric)}"),
    )


def gap_name(each: Difference) -> str:
    """Return the name of a difference."""
    return f"{name(each.first)} − {name(each.second)}"


def gap_text(each: Difference) -> str:
    """Return the tip of a difference's point."""
    return (
        f"{name(each.first)} - {name(each.second)}: {readable(each.difference)}, {each.pairs} "
        f"pairs, p = {readable(each.p_holm)}: {each.verdict.value}"
    )
