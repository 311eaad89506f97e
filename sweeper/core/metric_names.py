"""What a trial may report: so few metrics, of such names, that every recorder takes them."""

import re
from collections.abc import Mapping
from typing import Any

from sweeper.text import printable

MOST, LONGEST = 200, 250
NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


def refusal(metrics: Mapping[str, Any]) -> str | None:
    """Returns why a report's metrics are not taken, naming one of them; None: they are."""
    for count, (name, value) in enumerate(metrics.items(), start=1):
        shown = f"metric `{printable(str(name))}`"
        if count > MOST:
            return f"{shown} is one too many: a report has {MOST} at most."
        if not isinstance(name, str) or len(name) > LONGEST or not _is_name(name):
            return (
                f"{shown}: a name is 1 to {LONGEST} letters, digits, _ . and -, in parts that / "
                "divides."
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{shown} is {printable(repr(value))}; a metric is a number."
    return None


def _is_name(text: str) -> bool:
    parts = text.split("/")
    return NAME.fullmatch(text) is not None and not {".", ".."} & set(parts)
