"""Published numbers beside ours: by protocol, with what they were measured on, and in no order.

Other backbones, data, sizes or protocols stand behind them, so that they rank with ours nowhere,
nor with each other across protocols.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

OFFICIAL = "official"  # data, as opposed to generated ones


@dataclass(frozen=True, kw_only=True)
class Published:
    """One printed score, in our metric's unit."""

    method: str
    value: float
    metric: str
    protocol: str
    data_source: str
    samples: int | None  # of the official data, all splits
    table: str | None
    citation: str
    floor: float | None = None  # what a perfect predictor scores by the protocol, where not 0
    remark: str = ""  # on the floor


def published_of(facts: Mapping[str, Any]) -> tuple[Published, ...]:
    """Returns what a study's facts say was published on its task, by protocol, then by method."""
    found = [
        Published(
            method=each["method"],
            value=each["value"],
            metric=each["metric"],
            protocol=each["protocol"],
            data_source=OFFICIAL,
            samples=facts.get("published_samples"),
            table=each.get("table"),
            citation=each["citation"],
            floor=each.get("floor"),
            remark=each.get("remark", ""),
        )
        for each in facts.get("published") or ()
    ]
    return tuple(sorted(found, key=lambda each: (each.protocol, each.method)))


def remarks(numbers: Iterable[Published]) -> list[str]:
    """Returns what is to be said of the numbers' floors, each once."""
    return list(dict.fromkeys(each.remark for each in numbers if each.remark))


def by_protocol(numbers: Iterable[Published]) -> dict[str, list[Published]]:
    """Groups the numbers that may be compared with each other."""
    groups: dict[str, list[Published]] = {}
    for each in numbers:
        groups.setdefault(each.protocol, []).append(each)
    return groups
