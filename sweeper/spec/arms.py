"""The arms of an ablation: configurations with some settings pinned, each a study of its own.

    compare_by: {refine.freeze: [none, body], align.epochs: [0, 20]}    # crossed: four arms
    compare_by: [{refine.freeze: body}, {align.epochs: 0}]              # listed: two arms

A setting that an arm pins is a factor: `stage.parameter`, `model.SETTING`, `data.SETTING`,
`backbone.SETTING` or `proxy`. All other settings of the arms are those of their common base.
A listed arm with `method` is of this method alone; one that pins nothing else is the method as it
is.
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
UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")  # characters that a value's text in a name may not have

CompareBy = Mapping[str, Sequence[Any]] | Sequence[Params]


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
        if not pinned.keys().isdisjoint(ORIGINS):
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
    plain = value if isinstance(value, str) else json.dumps(value)
    return UNFIT.sub("-", plain).strip("-") or "-"
