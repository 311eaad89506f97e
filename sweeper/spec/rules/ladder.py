"""Checks of a ladder: its keys, its levels, and the test split that all rungs share."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sweeper.spec.arms import (
    BACKBONE,
    DATA,
    MIN_RUNGS,
    SAMPLES,
    crossed,
    factors,
    scored_of,
    why_unequal,
)
from sweeper.spec.faults import Faults, shown
from sweeper.spec.node import Node
from sweeper.spec.parameters import Takers
from sweeper.spec.rules.arms import check_factor
from sweeper.spec.schema import SweepFile
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import is_number, printable

MAX_SHARE = 0.5  # of one split that scores; no data have more


def read_ladder(settings: SweepFile, takers: Takers) -> SweepFile:
    """Return a file whose arms are on every rung; add the faults of its ladder.

    Args:
        settings: The file.
        takers: The methods of the sweep.
    """
    faults, given = takers.faults, settings.compare_by
    before = len(faults.found)
    node = faults.tree.child("ladder")
    for key, levels in settings.ladder.items():
        if key in factors(given):
            faults.about(["ladder", key], " is in `compare_by`, too: take one out.")
        elif (fault := _fault_of(levels)) is not None:
            faults.about(["ladder", key], f" {fault}, but got {shown(levels)}.")
        else:
            _check_key(key, node, levels, takers)
    # Arms on the rungs of a faulty ladder would repeat its faults.
    if len(faults.found) > before or not settings.ladder:
        return settings
    arms = math.prod(map(len, given.values())) if isinstance(given, Mapping) else len(given)
    # A ladder without other arms has one arm on each rung.
    count = max(arms, 1) * math.prod(map(len, settings.ladder.values()))
    if count > settings.max_arms:
        message = f"the ladder makes {count} arms of each method and task, over `max_arms`"
        way = f"list fewer, or raise it with --max-arms {count}"
        faults.add(node, f"{message} ({settings.max_arms}): {way}.")
        return settings
    return settings.model_copy(update={"compare_by": crossed(given, settings.ladder)})


def _fault_of(levels: Sequence[Any]) -> str | None:
    """Return what the levels of a key have to be, or None if they are."""
    if not all(is_number(level) and 0 < level < math.inf for level in levels):
        return "must be numbers above 0, over which curves are drawn (`compare_by` compares others)"
    if len(levels) < MIN_RUNGS:
        return f"needs {MIN_RUNGS} rungs or more"
    if any(low >= high for low, high in pairwise(levels)):
        return "must go up, from the smallest rung to the largest, each once"
    return None


def _check_key(key: str, node: Node, levels: Sequence[Any], takers: Takers) -> None:
    """Add a fault for a key that some method lacks, or for a level that is refused."""
    if key.partition(".")[0] == BACKBONE:
        own = [m for m in takers.methods if takers.catalog.methods[m].network is not None]
        if own:
            what = f" is of a backbone, but {own[0]} has a network of its own"
            takers.faults.about(["ladder", key], f"{what}: take it out of `methods`.")
    places = [(node.at([key, i]), level) for i, level in enumerate(levels)]
    check_factor(key, node, places, takers, section="ladder")


def check_ladder(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each task whose rungs have no test split in common."""
    if SAMPLES not in sweep.ladder:
        return
    found: list[str] = []
    for study in studies:
        pinned = {} if study.arm is None else study.arm.of(DATA)
        data = {**sweep.data, **pinned, "samples": sweep.data["samples"]}
        if (why := why_unequal(study.task, data)) is not None:
            found.append(
                f": {printable(study.task)} has no test split that all rungs share, as {why}."
            )
        elif (scored := scored_of(study.task, data, sweep.ladder)) is not None:
            found += filter(None, [_fault_of_shares(sweep.ladder[SAMPLES][0], scored)])
    # The arms of a task may have one fault in common.
    for message in dict.fromkeys(found):
        faults.about(["ladder", SAMPLES], message)


def _fault_of_shares(smallest: int, scored: Mapping[str, int]) -> str | None:
    """Return why the smallest rung has too few samples, or None."""
    most = max(scored.values())
    if most < MAX_SHARE * (smallest + sum(scored.values())):
        return None
    return (
        f" begins at {smallest} training samples, beside {most} that score on each rung: raise it, "
        "or set `data.val_fraction` and `data.test_fraction`, of the largest rung."
    )
