"""Sentences about a comparison that claim no more than its tests support."""

from collections.abc import Sequence
from dataclasses import replace

from sweeper.results import basis
from sweeper.results.comparison import (
    ALPHA,
    CONTROL,
    Answer,
    ClaimResult,
    Comparison,
    Difference,
    DistanceCorrelation,
    Effect,
    Entry,
    GroupGap,
    Interaction,
    TaskComparison,
    Trend,
    Verdict,
    num_tests,
)
from sweeper.results.floors import leaders, over_tasks, sentences
from sweeper.results.power import MAX_PAIRS, POWER, Detectable
from sweeper.results.prose import (
    DISTANCES,
    MANY,
    TINY,
    against,
    listed,
    metric,
    percentage,
    times,
    with_arm,
)
from sweeper.results.statistics import MIN_VALUES, fewest_pairs, smallest_p
from sweeper.text import capitalised, counted, readable

SHOWN_POWER = f"{POWER:.0%}".replace("%", " %")
WHAT = {"trials": "candidates", "epochs": "epochs", "device_seconds": "device-seconds"}
NFT_STARTS = (
    "The published NFT starts from a random embedder in 2D: another baseline than NFT and controls "
    "here. With model.embedder_init: random they start as it does."
)
UNTUNED = "The control has the preset's settings and is not tuned; a tuned one is a study of NFT."


def name(label: str) -> str:
    """Return the name of a method in prose."""
    if label == CONTROL:
        return "untuned vanilla fine-tuning"
    sweep, _, bare = label.rpartition(":")
    bare, _, arm = bare.partition(" ")
    named = with_arm(bare, arm)
    return f"{named} ({sweep})" if sweep else named


def named_entries(task: TaskComparison) -> list[tuple[Entry, str, str]]:
    """Return the methods and the controls of a task, each with its label and its name in prose."""
    found = [(each, each.label, name(each.label)) for each in task.entries]
    controls = ((e, CONTROL, f"{name(e.label)}: control") for e in task.distinct_controls)
    return [*found, *controls]


DESIGNS = {  # what the arms of an ablation have in common
    "preset": "All else is the preset of the method.",
    "tuned": "All else is the best trial of a search of the base, at which its own settings are "
    "favoured over those of other arms.",
    "files": "All else was tuned before in another sweep, which favours the settings of its best "
    "trial.",
    "per_arm": "Each arm was tuned on its own, with as many trials.",
}


def question(comparison: Comparison) -> str:
    """Return the question that a comparison answers, and on which terms."""
    which = f"Which of {listed([name(label) for label in comparison.labels])} wins"
    if comparison.design is None:
        return f"{which}, each tuned alike?"
    return f"{which}? {DESIGNS[comparison.design]}"


def headline(comparison: Comparison) -> str:
    """Return which method wins over all tasks, and on how many of them the floor is beaten."""
    if len(comparison.tasks) == 1:
        return answer(comparison.tasks[0])
    floors = over_tasks({task.task: task.floor for task in comparison.tasks})
    return f"{_winner(comparison)} {floors}".strip()


def _winner(comparison: Comparison) -> str:
    """Return one sentence that names the method that wins over several tasks."""
    tasks, count = comparison.tasks, len(comparison.tasks)
    if len(comparison.labels) == 1:
        found = [d for task in tasks for d in task.from_control]
        (label,) = comparison.labels
        if not found:  # a program
            return f"{name(label)} is alone on {count} tasks, and has no control."
        told = _record(label, CONTROL, found, called=name(label), of=f"{count} tasks", count=count)
        return f"{capitalised(told)}{_seen(found)}."
    ranks = sorted(comparison.ranks.items(), key=lambda item: item[1])
    if not ranks and comparison.ladders:
        reasons = dict.fromkeys(reason for task in tasks for reason in task.incomparable)
        return f"Nothing is ranked: {'; '.join(reasons)}."
    if not ranks:
        return f"No answer yet: on none of {count} tasks every method has a value that ranks."
    best = [label for label, rank in ranks if rank == ranks[0][1]]
    others = [f"{name(label)} {readable(rank)}" for label, rank in ranks[len(best) :]]
    counted = len(comparison.ranked_tasks)
    head = (
        f"{listed([name(label) for label in best])} {'share' if best[1:] else 'has'} the best "
        f"average rank, {readable(ranks[0][1])} over {counted} task{'s' * (counted != 1)}"
        f"{f' ({listed(others)})' if others else ''}"
    )
    found = [d for task in tasks for d in task.differences]
    called = name(best[0]) if best[1:] else "it"
    of = "them" if counted == count else f"{count} tasks"
    records = [
        _record(best[0], rival, found, called=called, of=of, count=count) for rival, _ in ranks[1:]
    ]
    return f"{head}; {'; '.join(records)}{_seen(found)}."


def _seen(differences: Sequence[Difference]) -> str:
    """Return the seeds and the data of each task, in brackets."""
    known = basis.over_tasks([each.draw for each in differences if each.means is not None])
    return f" ({told})" if (told := known.told_each()) else ""


def _record(
    leader: str, rival: str, differences: Sequence[Difference], *, called: str, of: str, count: int
) -> str:
    """Return a text on the leader's record against a rival: better, worse or neither, by tasks.

    Args:
        leader: The label of the method that the text is about.
        rival: The label of the other method.
        differences: The differences on all tasks.
        called: The name of the leader in the text.
        of: The name of the tasks in the text: "3 tasks", or "them" after a mention of the tasks.
        count: The number of these tasks. The two may be compared on fewer.
    """
    both = {leader, rival}
    mine = [verdict_for(leader, d) for d in differences if {d.first, d.second} == both]
    counts = {verdict: n for verdict in _RECORD if (n := mine.count(verdict))}
    if len(counts) == 1 and len(mine) == count > 1:
        words, every = _RECORD[mine[0]]
        told = [f"{words} on {every} {of}"]
    else:
        told = [f"{_RECORD[verdict][0]} on {n}" for verdict, n in counts.items()]
        told[:1] = [f"{first} of {of}" for first in told[:1]]
    return f"against {name(rival)} {called} {listed(told) or 'is not compared'}"


_RECORD = {  # verb, and the words for all tasks: "on each of them", "on any of them"
    Verdict.LOWER: ("is significantly better", "each of"),
    Verdict.HIGHER: ("is significantly worse", "each of"),
    Verdict.UNKNOWN: ("cannot be distinguished", "any of"),
    Verdict.NOT_INFORMATIVE: ("has no informative difference", "any of"),
    Verdict.NOTHING: ("is not compared", "any of"),
}


def verdict_for(label: str, each: Difference) -> Verdict:
    """Return the verdict of a difference from the view of one of its two methods."""
    if label == each.first or each.verdict not in (Verdict.LOWER, Verdict.HIGHER):
        return each.verdict
    return Verdict.HIGHER if each.verdict is Verdict.LOWER else Verdict.LOWER


def answer(task: TaskComparison) -> str:
    """Return what is to be said first on a task: who wins, and what its floor and controls say."""
    if task.incomparable:
        return f"On {task.task} nothing is ranked: {'; '.join(task.incomparable)}."
    means = {entry.label: entry.mean for entry in task.entries}
    best = leaders(means)
    if not best:
        return f"No answer on {task.task} yet: {task.why_none}."
    leader = next(entry for entry in task.entries if entry.label == best[0])
    reached = f"test {metric(task.metric)}"
    if len(task.entries) == 1:
        known = [d for d in task.from_control if d.first == leader.label]
        rivals = [CONTROL] * bool(known)  # a program has none
        chosen = f"{readable(leader.mean)} (trial {leader.trial}, chosen by validation)"
        head = f"{name(leader.label)} reaches a {reached} of "
        head += score(leader) if leader.is_replicated else chosen
    else:
        known = [d for d in task.differences if leader.label in (d.first, d.second)]
        rivals = [label for label in means if label not in best]
        verb = "share" if best[1:] else "has"
        head = f"{listed(list(map(name, best)))} {verb} the lowest {reached}, {score(leader)}"
    # Rivals with the same verdict are listed together.
    told: dict[str, list[str]] = {}
    for rival in rivals:
        match = next((d for d in known if rival in (d.first, d.second)), None)
        words, named = _beside(leader, rival, match)
        told.setdefault(words, []).append(named)
    parts = "; ".join(f"{words} {listed(who)}" for words, who in told.items())
    return " ".join([f"On {task.task}, {head}{f': {parts}' * bool(parts)}.", *beside_floor(task)])


def beside_floor(task: TaskComparison) -> list[str]:
    """Return sentences on the best method beside the floor, and on presets that lose."""
    return sentences([replace(each, name=name(each.name)) for each in task.results])


def _beside(leader: Entry, rival: str, match: Difference | None) -> tuple[str, str]:
    """Return the words between a leader and a rival, and the rival with its numbers."""
    if match is None or match.means is None:
        return _WORDS[Verdict.NOTHING], name(rival)
    first, second = match.means
    mine, value = (second, first) if match.first == rival else (first, second)
    # One pair is no test, so that its numbers stand without a verdict.
    if match.pairs < 2:
        return against(mine, value), f"{name(rival)} ({readable(value)})"
    words = _WORDS[verdict_for(leader.label, match)]
    fewer = f", {match.pairs} seeds" * (match.pairs < len(leader.values))
    return words, f"{name(rival)} ({readable(value)}, p = {readable(match.p_holm)}{fewer})"


_WORDS = {
    Verdict.LOWER: "lower than",
    Verdict.HIGHER: "higher than",
    Verdict.UNKNOWN: "cannot distinguish it from",
    Verdict.NOT_INFORMATIVE: "not informative beside",
    Verdict.NOTHING: "not compared with",
}


def score(entry: Entry) -> str:
    """Return an entry's mean with its seeds, its draws of data and its interval."""
    seen = entry.draw.told(len(entry.values))
    between = "" if entry.ci is None else f", 95 % interval {interval(entry.ci)}"
    return f"{readable(entry.mean)} ({seen}{between})"


def interval(ci: tuple[float, float] | None) -> str:
    """Return an interval for a table."""
    return "–" if ci is None else f"{readable(ci[0])} to {readable(ci[1])}"


def few(tasks: Sequence[TaskComparison]) -> str:
    """Return a note if there are too few seeds or pairs for an interval or an effect size."""
    counts = {d.pairs for task in tasks for d in (*task.differences, *task.from_control)}
    counts |= {len(e.values) for task in tasks for e in (*task.entries, *task.controls)}
    short = [str(n) for n in sorted(counts) if 0 < n < MIN_VALUES]
    if not short:
        return ""
    return (
        f"No interval and no effect size is given for fewer than {MIN_VALUES} seeds or pairs: here "
        f"there {'is' if short[-1] == '1' else 'are'} {listed(short)}."
    )


def budgets(task: TaskComparison) -> str:
    """Return a sentence on whether the methods on a task had equal tuning budgets."""
    if not task.budgets:
        return ""
    even = [WHAT[b.what] for b in task.budgets if b.is_even]
    uneven = [
        f"{WHAT[b.what]} ({'not comparable' if b.ratio is None else f'a factor of {b.ratio:.3g}'})"
        for b in task.budgets
        if not b.is_even
    ]
    parts = [f"equal in {listed(even)}"] if even else []
    parts += [f"unequal in {listed(uneven)}"] if uneven else []
    return f"Tuning budgets are {', '.join(parts)}."


def limits(family: Sequence[Difference]) -> str:
    """Return a sentence on the significance that a family can reach with its seeds."""
    return _limits(family, [each.pairs for each in family], "paired seeds")


def limits_over_tasks(effects: Sequence[Effect]) -> list[str]:
    """Return sentences on the significance that each family can reach with its tasks."""
    between = [each for each in effects if each.second != CONTROL]
    from_control = [each for each in effects if each.second == CONTROL]
    said = (
        _limits(family, [len(each.ratios) for each in family], "tasks")
        for family in (between, from_control)
    )
    return [text for text in said if text]


def _limits(family: Sequence[Difference | Effect], counts: Sequence[int], what: str) -> str:
    """Return a sentence on the significance that a family can reach with `counts` pairs."""
    if not family:
        return ""
    tests, most = num_tests(counts), max(counts)
    needed = fewest_pairs(tests, ALPHA)
    many = f"{tests} comparisons" if tests > 1 else "one comparison"
    many += f" against {name(CONTROL)}" if family[0].second == CONTROL else ""
    reach = readable(smallest_p(most))
    # One pair is no test, and makes no family uneven.
    is_uneven = len({n for n in counts if n > 1}) > 1
    at_most = " at most" * is_uneven
    if most < needed:
        have = f"there are {most}{at_most}" if most > 1 else f"there is {'one' if most else 'none'}"
        have += f", whose smallest reachable p is {reach}" if most else ""
        need = f"need{'s' * (tests == 1)} {needed} {what}"
        return f"Nothing can be significant: {many} at {ALPHA} {need}, and {have}."
    if is_uneven:  # Holm requires less of the others after one significant comparison
        first = f"of {many} at {ALPHA}, the first to be significant needs {needed}"
        return f"{most} {what}{at_most} can reach p = {reach}; {first}."
    below = f"with {many} at {ALPHA}, nothing can be significant below {needed}"
    return f"{most} {what} can reach p = {reach}; {below}."


def detectable(each: Detectable, unit: str = "pair", *, is_relative: bool = False) -> str:
    """Return a sentence on the difference that a number of seeds, tasks or pairs could show."""
    pairs = counted(each.pairs, unit)
    if each.difference is None:
        return f"{pairs} could have shown no difference, however large."
    size = percentage(each.difference) if is_relative else readable(each.difference)
    return f"{pairs} could have shown a difference of {size} ({_power(each)})."


def _power(each: Detectable) -> str:
    """Return the power, the level and the test of a detectable difference."""
    test = "simulated sign-flip test" if each.is_simulated else "t approximation"
    return f"{SHOWN_POWER} power at p < {readable(each.alpha)}, {test}"


def detectable_in(family: Sequence[Difference]) -> str:
    """Return a sentence on the differences that the pairs of a family could have shown."""
    found = [each.detectable for each in family if each.detectable is not None]
    sizes = sorted(each.difference for each in found if each.difference is not None)
    if not sizes:
        return ""
    between = readable(sizes[0])
    between += f" to {readable(sizes[-1])}" if sizes[-1] > sizes[0] else ""
    against = f" against {name(CONTROL)}" if family[0].second == CONTROL else ""
    return f"These seeds could have shown a difference{against} of {between} ({_power(found[0])})."


ONE_SEED = (
    "One seed: no test is possible; with --set replicate.top=1 the best trial of each method and "
    "its control run on more seeds."
)


def has_one_seed(task: TaskComparison) -> bool:
    """Return whether no comparison on a task has two pairs, so that none can be tested."""
    families = (*task.differences, *task.from_control)
    return bool(families) and all(each.pairs < 2 for each in families)


def notes(task: TaskComparison) -> list[str]:
    """Return the notes on a task's numbers."""
    is_told = any(each.difference is not None for each in task.from_control)
    is_untuned = is_told and not task.is_ablation
    said = (
        budgets(task),
        *task.helped,
        *([ONE_SEED] if has_one_seed(task) else _limits_of(task)),
        UNTUNED * is_untuned,
        *_starts(task),
        *task.cautions,
    )
    return [text for text in said if text]


def _limits_of(task: TaskComparison) -> list[str]:
    """Return what the seeds of a task can show, by family."""
    told = [few([task])]
    for family in (task.differences, task.from_control):
        told += [limits(family), detectable_in(family)]
    return told


def _starts(task: TaskComparison) -> list[str]:
    """Return notes on the initial weights of embedders, and on differences from publications."""
    starts: dict[str, list[str]] = {}
    for entry in task.entries:
        if entry.embedder_init is not None:
            starts.setdefault(entry.embedder_init, []).append(name(entry.label))
    for entry in task.controls:
        if entry.embedder_init is not None and entry.values:
            starts.setdefault(entry.embedder_init, []).append(f"{name(entry.label)}: control")
    if not starts:
        return []
    if len(starts) == 1:
        said = [f"All target embedders start as {next(iter(starts))}."]
    else:
        parts = (f"{init} for {listed(labels)}" for init, labels in starts.items())
        said = [f"Target embedders start differently: {'; '.join(parts)}."]
    is_published = any(each.method == "nft" for each in task.published)
    if is_published and task.facts.dimension == "2d" and set(starts) != {"random"}:
        said.append(NFT_STARTS)
    return said


def across(effect: Effect) -> str:
    """Return a sentence on the effect of a pair over all tasks, by group, and without each task."""
    overall, count = effect.overall, len(effect.overall.tasks)
    text = (
        f"{name(effect.first)} against {name(effect.second)}: {percent(overall.ratio)} error over "
        f"{basis.counted_units(count, 'task')}, lower on {overall.lower} "
        f"({'; '.join(filter(None, (_over_tasks(effect), effect.draw.told_each())))})"
    )
    # A group of all tasks would repeat the overall effect.
    groups = {g: share for g, share in effect.groups.items() if len(share.tasks) < count}
    if groups:
        parts = [
            f"{group}{' (one task)' * (len(share.tasks) == 1)} {percent(share.ratio)}"
            for group, share in groups.items()
        ]
        text += f"; {', '.join(parts)}"
    if effect.hinges_on:
        text += f"; the other way round without {listed(list(effect.hinges_on))}"
    elif count > 1 and not effect.is_level_somewhere:
        text += "; the same way round whichever task is left out"
    if effect.below_floor:
        text += f"; on {len(effect.below_floor)} of them the better one does not beat the floor"
    if effect.without_ratio:
        text += f"; without {listed(effect.without_ratio)}, where an error is not above 0"
    if effect.tasks_needed is not None:
        needed = f"{effect.tasks_needed} tasks would show a difference of this size"
        text += f"; {needed} with a power of {SHOWN_POWER}"
    return f"{text}."


def gap_text(each: GroupGap) -> str:
    """Return a sentence on the difference of an effect between two groups of tasks."""
    parts = [
        f"{percent(ratio)} error on {basis.counted_units(count, 'task')} in {group}"
        for group, ratio, count in zip(each.groups, each.ratios, each.tasks, strict=True)
    ]
    verdict = "they differ" if each.p_value < ALPHA else Verdict.UNKNOWN.value
    if each.is_below_floor:
        verdict = Verdict.NOT_INFORMATIVE.value
    needed = f"more than {MAX_PAIRS}" if each.tasks_needed is None else str(each.tasks_needed)
    return (
        f"{name(each.first)} against {name(each.second)}: {listed(parts)}: {verdict} (p = "
        f"{readable(each.p_value)} over permutations of tasks; {each.draw.told_each()}). "
        f"Simulated from the variance seen, {needed} tasks of each would tell them apart with a "
        f"power of {SHOWN_POWER}."
    )


def _over_tasks(effect: Effect) -> str:
    """Return the p-value over tasks, with the verdict if it is not significant."""
    if effect.below_floor:
        return Verdict.NOT_INFORMATIVE.value
    if effect.p_holm is None or len(effect.ratios) < 2:
        return Verdict.UNKNOWN.value
    verdict = f": {Verdict.UNKNOWN.value}" if effect.p_holm >= ALPHA else ""
    return f"p = {readable(effect.p_holm)} over tasks{verdict}"


def distance_answer(found: Sequence[DistanceCorrelation]) -> str:
    """Return a sentence on whether the first available distance predicts the error."""
    shown = [each for each in found if each.distance == found[0].distance]
    distance = DISTANCES[shown[0].distance]
    tested = [each for each in shown if each.correlation is not None]
    if not tested:
        return f"No study has trials that differ in {distance}: nothing can be told."
    # Only correlations that are significant after Holm's correction are reported.
    told: dict[str, list[str]] = {"closer is better": [], "closer is worse": []}
    for each in tested:
        assert each.correlation is not None
        if each.p_holm is not None and each.p_holm < ALPHA:
            way = "closer is better" if each.correlation.rho > 0 else "closer is worse"
            rho = f"ρ = {readable(each.correlation.rho)}"
            told[way].append(f"{series(each)} on {each.task} ({rho})")
    count = len(tested)
    studies = f"{count} stud{'y' if count == 1 else 'ies'}"
    if any(each.proxy for each in tested):  # some study has several sources
        studies = f"{count} series"
    parts = [f"{way} for {listed(where)}" for way, where in told.items() if where]
    left = count - sum(map(len, told.values()))
    if not parts:
        return f"{distance} predicts the test error in none of {studies}, as far as can be told."
    rest = f"; in {left} of {studies} nothing can be told" if left else ""
    return f"By {distance}, {'; '.join(parts)}{rest}."


def trend_text(each: Trend) -> str:
    """Return a sentence on the trend of a numeric factor."""
    of = f"{name(each.label)} on {each.task}"
    found = each.correlation
    if found is None:
        return f"{of}: the trend over {each.factor} cannot be told."
    between = f", 95 % interval {interval(each.ci)}" if each.ci else ""
    way = "rises" if found.rho > 0 else "falls"
    told = f"the error {way} with {each.factor}" if found.p_value < ALPHA else Verdict.UNKNOWN.value
    seen = each.draw.told(each.draw.seeds)
    p = readable(found.p_value)
    return f"{of}: {told} (ρ = {readable(found.rho)}{between}, p = {p}, {seen})."


def interaction_text(each: Interaction) -> str:
    """Return a sentence on an interaction of two factors."""
    of = f"{name(each.label)} on {each.task}"
    what = f"{each.levels[0]} less {each.levels[1]}"
    if each.difference is None or each.p_holm is None:
        return f"{of}: no seed has all arms of {what} by {each.others[0]} and {each.others[1]}."
    verdict = "they interact" if each.p_holm < ALPHA else Verdict.UNKNOWN.value
    between = f"{each.others[0]} than at {each.others[1]}"
    higher = "higher" if each.difference > 0 else "lower"
    change = f"{readable(abs(each.difference))} {higher} at {between}"
    seen = each.draw.told(each.pairs)
    return f"{of}: {what} is {change}: {verdict} (p = {readable(each.p_holm)}, {seen})."


def claim_heads(answered: Answer) -> list[str]:
    """Return the claims of a question, each with its correction."""
    tests = num_tests([each.n for each in answered.claims[1:]])
    corrected = "corrected by Holm" + (f" with {tests - 1} more" if tests > 1 else "")
    return [
        f"{'primary claim, not corrected' if each.is_primary else f'claim, {corrected}'}: "
        f"{each.says}"
        for each in answered.claims
    ]


def claim_lines(each: ClaimResult) -> list[str]:
    """Return sentences on a claim: its finding and verdict, and what could have been shown."""
    lines = [each.sentence]
    if each.detectable is not None and each.margin is not None and each.shown_size is not None:
        lines.append(_within(each.shown_size, each.detectable, each))
    elif each.detectable is not None:
        lines.append(detectable(each.detectable, each.unit, is_relative=each.is_relative))
    if each.scatter is not None and each.difference is not None:
        size = f"{each.scatter * 100:.3g} %" if each.is_relative else readable(each.scatter)
        is_marked = each.is_primary and abs(each.difference) < each.scatter
        more = ", more than this difference" * is_marked
        lines.append(f"Another processor moved a training by up to {size}{more}.")
    return lines


def _within(most: float, shown: Detectable, each: ClaimResult) -> str:
    """Return a sentence on the true difference that could have been shown to be in a margin."""
    size = f"{most * 100:.3g} %" if each.is_relative else readable(most)
    text = (
        f"{counted(shown.pairs, each.unit)} could have shown it for a true difference of at most "
        f"{size} ({_power(shown)})."
    )
    return text if most >= 0 else f"{text} Without a difference the margin is too small to show it."


def published_finding(answered: Answer) -> str:
    """Return the published finding of a question, with its source."""
    question = answered.question
    return f"{question.published}{f' ({question.source})' if question.source else ''}"


def series(each: DistanceCorrelation) -> str:
    """Return the method of a series, and its source if the study has several."""
    return name(each.label) + (f" from {each.proxy}" if each.proxy else "")


def percent(ratio: float) -> str:
    """Return a ratio of errors in percent or in times: `12 % lower`, `3.4 times higher`."""
    if abs(ratio - 1) < 0.0005:
        return "the same"
    if ratio >= MANY:
        return f"{times(ratio)} higher"
    if ratio < TINY:
        return f"{times(1 / ratio)} lower"
    return f"{percentage(abs(ratio - 1))} {'lower' if ratio < 1 else 'higher'}"
