"""JSON that keeps NaN and infinities: PostgreSQL refuses the bare words, and SQL has no others."""

import json
import math
from collections.abc import Mapping
from typing import Any

KEY = "$float"


def dumps(value: Any) -> str:
    """Writes strict JSON; a number that is not finite becomes `{"$float": "nan"}`."""
    try:
        return _compact(value)
    except ValueError:
        return _compact(_wrapped(value))


def loads(text: str) -> Any:
    """Reads what `dumps` wrote."""
    return json.loads(text, object_hook=_unwrapped)


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _wrapped(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {KEY: str(value)}
    if isinstance(value, Mapping):
        return {key: _wrapped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_wrapped(each) for each in value]
    return value


def _unwrapped(value: dict[str, Any]) -> Any:
    return float(value[KEY]) if value.keys() == {KEY} else value
