"""Error and power of the sequential test beside tests of 8 and 24 pairs, by simulation.

    python -m tests.benchmarks.sequential [EXPERIMENTS]
    python -m tests.benchmarks.sequential replay [RESAMPLES]

Pairs are drawn around a mean in standard deviations, from a normal distribution, from Student's t
with three degrees of freedom, and from a centred exponential one, which is not symmetric about its
mean, so that no sign-flip test is exact for it.

A replay asks the claims of committed evidence again: with 8 seeds at most, as they are, and with 24
at most, drawn with replacement from the 8 (each seed with all its arms). Claims over several tasks,
and trends over a metric, cannot be sequential and are left out. So are floors: most claims compare
arms that do not beat them, which would end at the first look.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console

from sweeper.commands.reproduce import Asked, listing
from sweeper.results.claims import Observation, arms_in, evaluate
from sweeper.results.comparison import ALPHA, ClaimVerdict
from sweeper.results.sequential.boundaries import Design, Look, Patterns, is_futile
from sweeper.results.sequential.looks import arms_after
from sweeper.spec.rules.question import RECORDED
from sweeper.spec.schema import Claim, Replicate

Draw = Callable[[np.random.Generator, int], np.ndarray]
DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "Student's t (3)": lambda rng, n: rng.standard_t(3, size=n) / math.sqrt(3),
    "exponential": lambda rng, n: rng.exponential(size=n) - 1,
}
MOST = 24


def run(values: np.ndarray, alpha: float) -> tuple[str, int]:
    """Return how the test of these pairs ends, and after how many pairs."""
    steps = Replicate(until="decided", most=len(values)).looks
    looks: list[Look] = []
    for step in steps:
        looks.append(Look(pairs=step, share=step / steps[-1]))
        seen = values[:step]
        if Patterns(seen, looks).rejects(alpha):
            return "decided", step
        if is_futile(mean=seen.mean(), sd=seen.std(ddof=1), most=steps[-1], alpha=alpha):
            return "futile", step
    return "undecided", steps[-1]


def is_significant(values: np.ndarray, alpha: float) -> bool:
    """Return whether the test of all pairs at once rejects."""
    # A look that spends nothing halves the patterns, so that they need not be listed.
    half = Look(pairs=len(values) // 2, share=0.0)
    return Patterns(values, [half, Look(pairs=len(values), share=1.0)]).rejects(alpha)


def main(experiments: int) -> None:
    """Print a line for each distribution, level and mean."""
    print("distribution, level, mean: 8 pairs, 24 pairs, sequential; its pairs, decided at first")
    for name, draw in DRAWS.items():
        for alpha in (ALPHA, ALPHA / 4):
            for mean in (0.0, 0.3, 0.6, 0.9, 1.2):
                rng = np.random.default_rng(0)
                # An error rate near the level needs more experiments than a power.
                count = experiments if mean else 5 * experiments
                drawn = [draw(rng, MOST) + mean for _ in range(count)]
                ends = [run(values, alpha) for values in drawn]
                few = np.mean([is_significant(values[:8], alpha) for values in drawn])
                all_ = np.mean([is_significant(values, alpha) for values in drawn])
                decided = np.mean([end == "decided" for end, _ in ends])
                pairs = np.mean([count for _, count in ends])
                first = np.mean([end == ("decided", 8) for end in ends])
                futile = np.mean([end == "futile" for end, _ in ends])
                print(
                    f"{name:16} {alpha:.4f} {mean:.1f}: {few:.3f} {all_:.3f} {decided:.3f}; "
                    f"{pairs:.1f} pairs, {first:.3f} at 8, futile {futile:.3f}"
                )


def at_places(observations: Sequence[Observation], places: Sequence[int]) -> list[Observation]:
    """Return the observations of the k-th seed of each task, for each k of `places` in turn."""
    seeds: dict[str, dict[int, list[Observation]]] = {}
    for each in observations:
        of_task = seeds.setdefault(each.task, {})
        of_task.setdefault(each.seed, []).append(replace(each, floor=None))
    return [
        replace(each, seed=number)
        for of_task in seeds.values()
        for number, place in enumerate(places)
        for each in list(of_task.values())[place]
    ]


def ask(claims: Sequence[Claim], observations: Sequence[Observation], most: int) -> np.ndarray:
    """Return trainings, and the verdicts of both tests that agree, by kind, on these claims."""
    looks = Replicate(until="decided", most=most).looks
    tasks = {each.task for each in observations}
    design = Design(looks=looks, order=dict.fromkeys(tasks, tuple(range(most))))
    arms = {key for claim in claims for key in arms_in(claim, observations)}
    needed = dict.fromkeys(arms, looks[0]) | arms_after(claims, observations, design, most)
    seen = [o for o in observations if o.seed < needed.get((o.method, o.task, o.arm), 0)]
    fixed = [each.verdict for each in evaluate(claims, observations)]
    added = [each.verdict for each in evaluate(claims, seen, design)]
    unknown = ClaimVerdict.UNKNOWN
    pairs = list(zip(fixed, added, strict=True))
    return np.array([
        sum(needed.values()), most * len(arms),
        sum(one == two != unknown for one, two in pairs),
        sum(one == two == unknown for one, two in pairs),
        sum(one != unknown == two for one, two in pairs),
        sum(one == unknown != two for one, two in pairs),
        sum(one != two and unknown not in (one, two) for one, two in pairs),
    ])  # fmt: skip


def replay(resamples: int) -> None:
    """Print a line for each question, asked again with at most 8 and at most 24 seeds."""
    print("trainings, of a fixed number; verdicts: both the same, both cannot tell, only the fixed "
          "test tells, only the sequential one, opposite")  # fmt: skip
    totals = {8: np.zeros(7), 24: np.zeros(7)}
    rng = np.random.default_rng(0)
    for figure in listing(Asked(), console=Console(stderr=True)).figures:
        observations = figure.observations
        claims = [
            claim
            for claim in (figure.question.claims if figure.question is not None else ())
            if len({task for _, task, _ in arms_in(claim, observations)}) == 1
            and RECORDED not in (claim.trend or "")
        ]
        if not claims:
            print(f"{figure.name}: no claim can be sequential")
            continue
        drawn = {8: [np.arange(8)], 24: [rng.integers(8, size=24) for _ in range(resamples)]}
        of_all = {
            most: [ask(claims, at_places(observations, each), most) for each in places]
            for most, places in drawn.items()
        }
        for most, found in of_all.items():
            totals[most] += np.mean(found, axis=0)
            print(f"{figure.name}, {len(claims)} claims, {most}: {np.mean(found, axis=0).round(2)}")
    for most, total in totals.items():
        print(f"all, {most}: {total.round(1)}")


if __name__ == "__main__":
    is_replay = "replay" in sys.argv
    given = [int(text) for text in sys.argv[1:] if text.isdigit()]
    (replay if is_replay else main)(*given or [50 if is_replay else 1000])
