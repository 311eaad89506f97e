"""Durations and sizes as people write them: `12h`, `1h30m`, `45s`; `10GiB`, `500MB`."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
BYTES = {f"{p}{u}": b**i for u, b in (("iB", 1024), ("B", 1000)) for i, p in enumerate("KMGT", 1)}
BYTES["B"] = 1
DURATION = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
SIZE = r"^[0-9]+(\.[0-9]+)?(KiB|MiB|GiB|TiB|KB|MB|GB|TB|B)$"


def seconds(value: Any) -> float:
    """Returns the seconds that a text such as `1h30m` means.

    Raises:
        ValueError: It is a bare number, not a duration, or zero.
    """
    if isinstance(value, str) and value and len(value) < 40 and re.fullmatch(DURATION, value):
        parts = re.findall(r"([0-9]+)([dhms])", value)
        total = float(sum(int(number) * SECONDS[unit] for number, unit in parts))
        if 0 < total <= 366 * 86_400:
            return total
        raise ValueError("must be over zero, and a year at most")
    raise ValueError("must be a duration with its unit, such as 45s, 90m, 1h30m or 2d")


def num_bytes(value: Any) -> int:
    """Returns the bytes that a text such as `10GiB` means.

    Raises:
        ValueError: It is a bare number, not a size, under 1 MB, or absurd.
    """
    if isinstance(value, str) and len(value) < 40 and re.fullmatch(SIZE, value):
        number = value.rstrip("KMGTiB")
        total = int(float(number) * BYTES[value.removeprefix(number)])
        if 1_000_000 <= total <= 2**60:
            return total
        raise ValueError("must be 1MB or more, and 2^60 bytes at most")
    raise ValueError("must be a size with its unit, such as 500MB or 10GiB")


Duration = Annotated[
    float,  # seconds
    BeforeValidator(seconds),
    PlainSerializer(lambda value: f"{value:.0f}s", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION}),
]
Size = Annotated[
    int,  # bytes
    BeforeValidator(num_bytes),
    PlainSerializer(lambda value: f"{value}B", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SIZE}),
]
