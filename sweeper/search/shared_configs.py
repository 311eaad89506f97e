"""The configurations of the stages that a study's trials share, drawn before any trial runs.

They are a pure function of the study and its seed, and do not depend on results. Therefore a
resumed sweep and `sweeper plan` know all of them in advance. They are random draws with every
sampler: without results, TPE draws at random, too. With good values, half are drawn around these.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from sweeper.core.stage_sharing import SharedConfig, SharedStages
from sweeper.core.study_runner import Infeasible
from sweeper.errors import UsageError
from sweeper.model import Params
from sweeper.search import factories
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.search.priors import Centre
from sweeper.spec.distributions import Distribution
from sweeper.spec.study import StudySpec, levels

MAX_DRAWS = 100  # consecutive draws that are infeasible or repeated

Complete = Callable[[Params], Params]  # raises Infeasible


@dataclass(frozen=True)
class Branch:
    """A configuration in the tree of levels. Its path is the parent's path and its own index."""

    path: tuple[int, ...]
    params: Params


@dataclass(frozen=True)
class _Space:
    """The parameters that are drawn together, parents first, and centres of good values."""

    parameters: Mapping[str, Distribution]
    centres: Sequence[Centre]


def draw_shared_configs(
    study: StudySpec,
    *,
    seed: int,
    complete: Complete,
    trial_seed: Callable[[int], int],
    centres: Sequence[Centre] = (),
) -> SharedStages:
    """Return the configurations that the trials of a study share; none if it has no `distinct`.

    Two configurations always differ in more than the seed, so a level has fewer configurations than
    its `distinct` if its space is smaller. All descendants of a configuration of the first level
    have its seed, since they share its result. The first N configurations are spread evenly over
    each level. The number of draws is at most the number of trials; more trials add configurations
    and change none.

    Args:
        study: The study.
        seed: The seed of the draws.
        complete: A function that adds the fixed parameters, or raises Infeasible if the settings
            contradict each other.
        trial_seed: A function from i to the seed of the i-th configuration of the first level.
        centres: Good values around which half of the configurations are drawn.

    Raises:
        UsageError: No configuration is feasible.
    """
    found = levels(study)
    if not found or not study.num_sampled:
        return SharedStages()
    parameters: dict[str, Distribution] = {}
    # Each level adds its parameters to those of the levels above.
    nodes = [Branch((), {})]
    for level in found:
        parameters |= level.parameters
        mine = [{n: prior for n, prior in each.items() if n in parameters} for each in centres]
        grown = _grow(nodes, level.distinct, _Space(parameters, mine), seed, complete)
        if not (nodes := list(islice(grown, study.num_sampled))):
            raise _infeasible(study, level.stages[-1])
    shared = tuple(stage for level in found for stage in level.stages)
    owned = SharedStages(order=tuple(study.entry.stages), shared=shared)
    configs = (
        SharedConfig(
            params=node.params,
            settings=owned.settings(complete(node.params)),
            seed=trial_seed(node.path[0]),
        )
        for node in nodes
    )
    return replace(owned, configs=tuple(configs))


def _infeasible(study: StudySpec, stage: str) -> UsageError:
    return UsageError(
        f"`{study.name}`: none of {MAX_DRAWS} configurations drawn for `{stage}` is feasible; "
        f"narrow its parameters, or take out `stages.{stage}.distinct`."
    )


def _grow(
    nodes: Sequence[Branch],
    distinct: int,
    space: _Space,
    seed: int,
    complete: Complete,
) -> Iterable[Branch]:
    """Yield the first child of each parent, then the second child of each, and so on."""
    families: dict[tuple[int, ...], list[Params]] = {node.path: [] for node in nodes}
    for k in range(distinct):
        for node in nodes:
            siblings = families.get(node.path)
            if siblings is None:
                continue
            child = _draw(node, k, siblings, space, seed, complete)
            if child is None:
                # Its space has no further configuration, or none that is feasible.
                # `distinct` is out of reach.
                del families[node.path]
            else:
                siblings.append(child)
                yield Branch((*node.path, k), child)
        if not families:
            return


def _draw(
    parent: Branch,
    k: int,
    siblings: Sequence[Params],
    space: _Space,
    seed: int,
    complete: Complete,
) -> Params | None:
    """Return a feasible configuration under `parent` that differs from its siblings, or None."""
    for attempt in range(MAX_DRAWS):
        place = (*parent.path, k, attempt)
        # The place in the tree gives the seed, so that more trials change no configuration.
        state = np.random.SeedSequence(entropy=seed, spawn_key=place).generate_state(1)
        sampler = OptunaSampler(
            space.parameters,
            sampler=factories.random,
            pruner=factories.none(min_epochs=1, eta=2),
            seed=int(state[0]),
            startup_trials=1,
            centres=space.centres,
        )
        params = sampler.ask(0, parent.params)
        if params not in siblings and _is_feasible(complete, params):
            return params
    return None


def _is_feasible(complete: Complete, params: Params) -> bool:
    try:
        complete(params)
    except Infeasible:
        return False
    return True
