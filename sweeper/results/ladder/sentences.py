"""Sentences on the curves of a ladder: where they cross, what was forecast, and what came."""

from collections.abc import Iterator

from sweeper.results.floors import title, why_not_informative
from sweeper.results.ladder.curves import FLOOR, Curve, LadderResult, Outcome, Pair, Rung
from sweeper.results.prose import percentage
from sweeper.results.verdicts import interval, name
from sweeper.text import counted, readable


def size(value: float) -> str:
    """Return a size to two digits: `1,100`."""
    return f"{float(f'{value:.2g}'):,g}"


def unit(key: str) -> str:
    """Return what the levels of a key count: `samples`."""
    return key.rpartition(".")[2]


def ladder_lines(ladder: LadderResult) -> list[str]:
    """Return sentences on the crossings and on the forecasts of a ladder."""
    told = [pair_text(pair, ladder) for pair in (*ladder.from_floor, *ladder.pairs)]
    return [*told, *(line for curve in ladder.curves for line in _forecast(curve, ladder))]


def ladder_rows(ladder: LadderResult) -> tuple[list[str], list[list[str]]]:
    """Return a table of the error of each curve on each rung, the floor of the first one last."""
    header = [f"{ladder.metric}, {unit(ladder.key)}", *(f"{level:,g}" for level in ladder.levels)]
    rows = []
    for curve in ladder.curves:
        rungs = {rung.level: rung for rung in curve.rungs}
        cells = (_cell(rungs.get(level)) for level in ladder.levels)
        rows.append([name(curve.label), *cells])
    for curve in ladder.curves[:1]:
        floors = {rung.level: rung.floor for rung in curve.rungs}
        known = [floors.get(level) for level in ladder.levels]
        cells = ("–" if each is None else readable(each.value) for each in known)
        rows += [[floor_name(curve.label, ladder), *cells]] if any(known) else []
    return header, rows


def _cell(rung: Rung | None) -> str:
    if rung is None or rung.mean is None:
        return "not run"
    return readable(rung.mean) + (f" ({interval(rung.ci)})" if rung.ci else "")


def pair_text(each: Pair, ladder: LadderResult) -> str:
    """Return a sentence on two curves."""
    names = {each.first: name(each.first), each.second: name(each.second)}
    if each.second == FLOOR:
        names[FLOOR] = floor_name(each.first, ladder)
    first, second = names.values()
    what, found = unit(ladder.key), each.crossing
    if found is None:
        return f"{first} and {second}: not run on two rungs with seeds in common."
    basis = each.draw.told(each.seeds)
    if each.p_holm is not None:
        basis = f"p = {readable(each.p_holm)} on the largest rung; {basis}"
    leader, other = (first, second) if found.is_first_lower else (second, first)
    on_all = f"from {each.levels[0]:,g} to {each.levels[-1]:,g} {what}"
    if each.outcome is Outcome.NOT_INFORMATIVE:
        assert each.floor is not None
        why = why_not_informative([each.floor])
        return f"{first} and {second}: {each.outcome.value}, as {why} ({basis})."
    if each.outcome is Outcome.UNKNOWN:
        return f"{first} and {second}: cannot tell{_at_the_end(each, leader, what)} ({basis})."
    if each.outcome is Outcome.NEVER:
        return f"{first} never passes {second}, {on_all} ({basis}){_known_from(each, what)}."
    if each.outcome is Outcome.AHEAD:
        known = _known_from(each, what)
        return f"{first} is ahead of {second} on every rung, {on_all} ({basis}){known}."
    assert found.at is not None
    low = f"under {each.levels[0]:,g}" if found.low is None else size(found.low)
    high = size(each.levels[-1] if found.high is None else found.high)
    return f"{leader} passes {other} at {size(found.at)} {what} ({low} to {high}; {basis})."


def floor_name(label: str, ladder: LadderResult) -> str:
    """Return the name of the floor beside a curve, by the predictors of its rungs."""
    curve = next(curve for curve in ladder.curves if curve.label == label)
    predictors = dict.fromkeys(r.floor.name for r in curve.rungs if r.floor is not None)
    told = ", then ".join(map(title, predictors))
    return told if len(predictors) == 1 else f"the floor ({told})"


def _known_from(each: Pair, what: str) -> str:
    """Return from which size on the difference is known, if not on all rungs."""
    if each.crossing is None or each.crossing.high is None:
        return ""
    return f", which the test shows above {size(each.crossing.high)} {what}"


def _at_the_end(each: Pair, leader: str, what: str) -> str:
    """Return by how much a curve is lower on the largest rung of both."""
    ratio = each.crossing and each.crossing.ratios[-1]
    if not ratio or ratio == 1:
        return ""
    share = percentage(1 - min(ratio, 1 / ratio), digits=2)
    return f"; at {each.levels[-1]:,g} {what} {leader} is {share} lower"


def _forecast(curve: Curve, ladder: LadderResult) -> Iterator[str]:
    """Yield a sentence on a forecast and what came."""
    if (found := curve.forecast) is None:
        return
    told = f"The power law of {counted(found.rungs, 'smaller rung')} "
    told += f"(exponent {readable(found.exponent)}) forecasts {name(curve.label)} at "
    told += f"{found.level:,g} {unit(ladder.key)}: {readable(found.value)}"
    told += f" over {counted(found.seeds, 'seed')}" * bool(found.absent)
    if found.ci is not None:
        alone = ", of the seeds alone: two rungs fit any power law" * found.is_of_seeds_alone
        told += f" ({interval(found.ci)}{alone})"
    if found.came is None:
        yield f"{told}. It has no value yet."
        return
    if found.absent:
        yield f"{told}. It came to {readable(found.came)} on {found.seeds - found.absent} of them."
        return
    side = "" if found.ci is None else " above it" if found.came > found.ci[1] else " below it"
    where = {True: ", in the interval", False: f",{side}", None: ""}[found.is_met]
    yield f"{told}. It came to {readable(found.came)}{where}."
