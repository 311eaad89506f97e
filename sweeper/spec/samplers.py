"""Facts about the built-in samplers: grids, the choice of `auto`, parameters drawn at random.

All functions are pure, and depend on a study's parameters alone. The samplers themselves are in
`search`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from sweeper.model import Params
from sweeper.spec.distributions import Choice, Distribution, Float, Int, is_active
from sweeper.spec.node import Scalar

AUTO, CMAES, CQR, GP, GRID = "auto", "cmaes", "cqr", "gp", "grid"
NSGA2, TPE = "nsga2", "tpe"
MAX_POINTS = 10_000  # of a grid
RANDOM_EACH = 3  # one trial in so many is drawn at random by `cqr`
GP_TRIALS = 200  # sampled trials of a study that `auto` draws by `gp`
GP_VALUES = 10**6  # of a parameter with steps, all of which Optuna's `gp` holds in memory

# Large studies are seen in part, since the time of a draw grows with the number of ended trials.
GP_ALL, GP_BEST, GP_LATEST, GP_RUNNING, GP_STARTS = 150, 25, 50, 50, 4
GP_POINTS, GP_DRAWS = 512, 32  # with several objectives
TPE_ALL, TPE_BEST, TPE_LATEST = 2000, 500, 1500
CQR_ALL, CQR_BEST, CQR_LATEST = 500, 150, 350

Space = Mapping[str, Distribution]  # the parameters of a study by name, parents first


def values_of(distribution: Distribution) -> Sequence[Scalar] | None:
    """Return all values of a parameter in their order; None: there are infinitely many."""
    match distribution:
        case Choice(values=values):
            return values
        case Int(low=low, high=high, step=step):
            return range(low, high + 1, step)
        case Float(step=None):
            return None
        case Float(low=low, high=high, step=step):
            assert step is not None
            # Rounding may carry the last step over the upper bound.
            return tuple(min(low + k * step, high) for k in range(round((high - low) / step) + 1))


def continuous(space: Space) -> tuple[str, ...]:
    """Return the names of the parameters that have no grid."""
    return tuple(name for name, each in space.items() if values_of(each) is None)


def grid(space: Space) -> tuple[Params, ...]:
    """Return the points of a grid, at most `MAX_POINTS` + 1: every combination once.

    A point has only those parameters whose conditions hold. `continuous(space)` must be empty.
    """
    return tuple(islice(_points(tuple(space.items()), {}), MAX_POINTS + 1))


def _points(left: tuple[tuple[str, Distribution], ...], chosen: Params) -> Iterator[Params]:
    if not left:
        yield chosen
        return
    (name, distribution), *rest = left
    if not is_active(distribution, chosen):
        yield from _points(tuple(rest), chosen)
        return
    for value in values_of(distribution) or ():
        yield from _points(tuple(rest), {**chosen, name: value})


def numeric(space: Space) -> dict[str, Float | Int]:
    """Return the parameters that are numbers and exist in every trial."""
    return {
        name: each for name, each in space.items() if not isinstance(each, Choice) and not each.when
    }


def with_too_many_values(space: Space) -> tuple[str, ...]:
    """Return the names of the parameters with more than `GP_VALUES` steps."""
    steps = {
        name: (each.high - each.low) / each.step
        for name, each in space.items()
        if not isinstance(each, Choice) and each.step
    }
    return tuple(name for name, count in steps.items() if count > GP_VALUES)


def at_random(sampler: str, space: Space) -> tuple[str, ...]:
    """Return the names of the parameters that a sampler draws independently of all results.

    `gp` and `nsga2` learn from the parameters that all trials have. `cmaes` also needs numbers.
    """
    if sampler == CMAES:
        learned = numeric(space)
        return tuple(name for name in space if name not in learned)
    if sampler in (GP, NSGA2):
        return tuple(name for name, each in space.items() if each.when)
    return ()


def in_large_studies(sampler: str, trials: int, *, has_several: bool) -> str | None:
    """Return what a sampler learns from in a study of so many trials; None: from all of them.

    Args:
        sampler: The name of the sampler.
        trials: The number of trials of the study.
        has_several: The study has several objectives.
    """
    part = 2 if has_several else 1
    learned = {
        GP: (
            GP_ALL,
            f"learns from the latest {GP_LATEST // part} and the best {GP_BEST // part} earlier "
            f"ones, and takes the latest {GP_RUNNING} running ones as ended with the median",
        ),
        CQR: (CQR_ALL, f"learns from the latest {CQR_LATEST} and the best {CQR_BEST} earlier ones"),
        TPE: (TPE_ALL, f"learns from the latest {TPE_LATEST} and the best {TPE_BEST} earlier ones"),
    }
    if sampler not in learned or trials <= learned[sampler][0]:
        return None
    until, how = learned[sampler]
    return f"after {until} ended trials of a study, `{sampler}` {how}"


def choose(space: Space, *, prunes: bool, index: int) -> str:
    """Return the sampler by which `auto` draws a trial: `gp` or `tpe`.

    A Gaussian process needs the fewest trials if all parameters are numbers, of not too many steps.
    It learns from ended
    values: those of pruned trials are too high, so that `tpe`, which only ranks them, is chosen
    with pruning. Its time grows with the cube of the number of trials.

    Args:
        space: The parameters of the study.
        prunes: The study prunes trials.
        index: The number of earlier sampled trials of the study.
    """
    fits = bool(space) and len(numeric(space)) == len(space) and not with_too_many_values(space)
    return GP if fits and not prunes and index < GP_TRIALS else TPE
