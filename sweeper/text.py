"""Text for people: text of others made safe to show, and numbers, bytes, times and tags.

Safe text holds nothing that a terminal would act on, and no password of a URL.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

USER_INFO = re.compile(r"(?<=:)(//?)[^/\s]*@")  # of a URL; one that was taken for a path has one /
QUERY = re.compile(r"(?<=[?&])([^=&?\s]+)=([^&?\s]+)")
BYTES = {"GB": 10**9, "MB": 10**6, "kB": 10**3, "bytes": 1, "GiB": 2**30, "MiB": 2**20}
SECRET = re.compile(r"pass|secret|token|key|credential", re.I)


def visible(text: str, *, keep: str = "") -> str:
    """Return `text` with what does not print, such as ANSI codes and changes of direction,
    escaped as Python does; the characters of `keep` stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def holds_secret(text: str) -> bool:
    """Return whether a URL in `text` has a password or a token in it."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """Return `text` with the passwords and tokens of its URLs replaced by `***`."""
    text = USER_INFO.sub(lambda found: f"{found[1]}***@" if ":" in found[0] else found[0], text)
    return QUERY.sub(lambda found: f"{found[1]}=***" if SECRET.search(found[1]) else found[0], text)


def printable(text: str, *, limit: int = 80) -> str:
    """Return `text` on one line, without secrets and control characters, cut if it is long."""
    text = without_secrets(text)
    return visible(text if len(text) <= limit else text[: limit - 3] + "...")


def format_bytes(count: float, *units: str, digits: int = 1) -> str:
    """Return a number of bytes for people: `1.2 GB`.

    Args:
        units: The first that the bytes fill is taken, else the last; none: GB, MB, kB or bytes.
        digits: Behind the decimal point.
    """
    named = units or ("GB", "MB", "kB", "bytes")
    unit = next((unit for unit in named if count >= BYTES[unit]), named[-1])
    return f"{count / BYTES[unit]:.{0 if unit == 'bytes' else digits}f} {unit}"


def written(tags: Mapping[str, str]) -> str:
    """Return tags as they are written on a command line: `baseline, stage=paper`."""
    return ", ".join(f"{name}={value}" if value else name for name, value in tags.items())


def number(value: float | None) -> str:
    """Return a metric's value for a terminal: four significant digits, nothing for None."""
    return "" if value is None else f"{value:.4g}"


def readable(value: object) -> str:
    """Return a value for prose and pages: four significant digits, a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return a span of time for people: `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def without_nonfinite(value: Any) -> Any:
    """Return plain data for strict JSON: a number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): without_nonfinite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nonfinite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
