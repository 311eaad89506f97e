"""The arms of an ablation: configurations with some settings pinned, each a study of its own.

    compare_by: {refine.freeze: [none, body], align.epochs: [0, 20]}    # crossed: four arms
    compare_by: [{refine.freeze: body}, {align.epochs: 0}]              # listed: two arms

A setting that an arm pins is a factor: `stage.parameter`, `model.SETTING`, `data.SETTING`,
`backbone.SETTING` or `proxy`. All other settings of the arms are those of their common base.
A listed arm with `method` is of this method alone; one that pins nothing else is the method as it
is.

    ladder: {data.samples: [100, 400, 1600], backbone.layers: [2, 4]}    # six rungs for each arm

The levels of a ladder are numbers, from the smallest to the largest, over which each arm has a
curve. A ladder of `data.samples` compares trainings on more and more samples of one draw. Generated
data begin with their test split, whose size follows from that of the training split. Here both
splits that score have the size that they have on the largest rung, so that all rungs have the same
test and validation samples, and each rung the training samples of the one below. Published and own
splits are fixed; of them a rung has the first training samples, and the whole test split.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from sweeper.model import PRESET_ARM, Params
from sweeper.spec.catalog import Settings

DATA, BACKBONE = "data", "backbone"  # prefixes of settings of these sections
SECTIONS = (DATA, BACKBONE)
ORIGINS = ("name", "hub", "timm", "revision")  # settings that say where a backbone is from
METHOD = "method"  # key of a listed arm of one method
SAMPLES = "data.samples"
OFFICIAL = "official"  # of `data.source`: published files, whose splits are fixed
MIN_RUNGS = 2
UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")  # characters that a value's text in a name may not have

CompareBy = Mapping[str, Sequence[Any]] | Sequence[Params]
Ladder = Mapping[str, Sequence[Any]]  # setting -> levels, ascending


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One configuration of an ablation."""

    name: str  # "refine.freeze=body", which ends the name of its studies
    pinned: Params = field(default_factory=dict)
    method: str | None = None  # None: of every method

    def of(self, section: str) -> dict[str, Any]:
        """Return the pinned settings of a section: `model`, `data` or `backbone`."""
        start = f"{section}."
        return {k.removeprefix(start): v for k, v in self.pinned.items() if k.startswith(start)}

    def backbone_on(self, common: Settings) -> Settings:
        """Return the arm's backbone, given that of the file, whose origin a pinned one replaces."""
        pinned = self.of(BACKBONE)
        kept = common
        # A revision alone is another one of the same backbone.
        if not pinned.keys().isdisjoint(ORIGINS[:-1]):
            kept = {key: value for key, value in common.items() if key not in ORIGINS}
        return {**kept, **pinned}


def arms_of(compare_by: CompareBy) -> tuple[Arm, ...]:
    """Return the arms: all combinations of the values of crossed factors, or the listed ones."""
    if isinstance(compare_by, Mapping):
        listed: Iterator[Params] | Sequence[Params] = (
            dict(zip(compare_by, values, strict=True)) for values in product(*compare_by.values())
        )
        return tuple(map(arm_of, listed)) if compare_by else ()
    return tuple(map(arm_of, compare_by))


def factors(compare_by: CompareBy) -> list[str]:
    """Return the settings that some arm pins."""
    if isinstance(compare_by, Mapping):
        return list(compare_by)
    return list(dict.fromkeys(name for arm in compare_by for name in arm if name != METHOD))


def levels_of_factor(compare_by: CompareBy, factor: str) -> list[Any]:
    """Return the values of a setting that arms pin, in their order."""
    if isinstance(compare_by, Mapping):
        return list(compare_by[factor])
    return [arm[factor] for arm in compare_by if factor in arm]


def arm_of(listed: Params) -> Arm:
    """Return the arm that pins these settings, of the method that they name, if any."""
    pinned = {name: value for name, value in listed.items() if name != METHOD}
    name = ",".join(f"{k}={_text(v)}" for k, v in pinned.items())
    return Arm(name=name or PRESET_ARM, pinned=pinned, method=listed.get(METHOD))


def _text(value: Any) -> str:
    # A name has values as a file writes them: true and null, not True and None.
    text = UNFIT.sub("-", value if isinstance(value, str) else json.dumps(value))
    # The hyphen before a number is its sign.
    return text if isinstance(value, int | float) else text.strip("-") or "-"


def crossed(compare_by: CompareBy, ladder: Ladder) -> CompareBy:
    """Return the arms on every rung: all combinations of the levels of a ladder."""
    if isinstance(compare_by, Mapping):
        return {**compare_by, **ladder}
    if not compare_by:
        return dict(ladder)
    rungs = [dict(zip(ladder, levels, strict=True)) for levels in product(*ladder.values())]
    return [{**arm, **rung} for arm in compare_by for rung in rungs]


def rung_of(pinned: Params, ladder: Ladder) -> int:
    """Return the height of an arm: the number of levels below its own, over all keys."""
    return sum(levels.index(pinned[key]) for key, levels in ladder.items() if key in pinned)


def scored_of(task: str, data: Settings, ladder: Ladder) -> dict[str, int] | None:
    """Return the samples for validation and test on each rung; None if the ladder sets neither."""
    from trainables.tasks.generation import TEST_FRACTION, scored_sizes  # NumPy, which loads slowly

    if SAMPLES not in ladder or _has_fixed_splits(task, data):
        return None
    test = TEST_FRACTION if data["test_fraction"] is None else data["test_fraction"]
    return scored_sizes(ladder[SAMPLES][-1], data["val_fraction"], test)


def with_equal_splits(task: str, data: Settings, ladder: Ladder) -> Settings:
    """Return the data of a rung, whose splits that score are those of the largest rung."""
    if (scored := scored_of(task, data, ladder)) is None:
        return data
    whole = data["samples"] + sum(scored.values())
    # Fractions are of all samples of a rung, so that equal sizes are other fractions on each.
    return {**data, **{f"{split}_fraction": size / whole for split, size in scored.items()}}


def why_unequal(task: str, data: Settings) -> str | None:
    """Return why a task cannot have the same test split with more training samples, or None."""
    from trainables.tasks.registry import benchmark_of, task_info

    if _has_fixed_splits(task, data):
        is_cut = data["test_fraction"] is not None
        return "`data.test_fraction` cuts its test split: leave it out" if is_cut else None
    benchmark = benchmark_of(task)
    assert benchmark.problems is not None
    problem = benchmark.problems(task_info(task)).train
    if not problem.test_first:
        return "its test split is the end of its samples, which more of them move: take it out"
    if problem.normalized:
        return "its training samples scale its test split: take it out"
    return None


def _has_fixed_splits(task: str, data: Settings) -> bool:
    """Return whether a task's data are not generated, and their splits are as published."""
    from trainables.tasks.official import is_generated  # NumPy, which loads slowly

    return data["source"] == OFFICIAL or not is_generated(task)


def ladder_notes(tasks: Sequence[str], data: Settings, ladder: Ladder) -> list[str]:
    """Return lines on the rungs of each key, and on the samples that all rungs share."""
    notes = []
    for key, levels in ladder.items():
        told = ", ".join(f"{level:,g}" for level in levels)
        forecast = "; the largest is forecast before it runs" * (len(levels) > MIN_RUNGS)
        notes.append(f"ladder of {key}: {len(levels)} rungs ({told}), lower ones first{forecast}")
    shared = {task: scored_of(task, data, ladder) for task in tasks}
    return notes + [
        f"{task}: each rung has the {scored['val']} samples for validation and the "
        f"{scored['test']} for the test that the largest has, and the training samples of the "
        "rung below"
        for task, scored in shared.items()
        if scored is not None
    ]
