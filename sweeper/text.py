"""Text of others, made safe to show: nothing a terminal would act on, no password of a URL.

Numbers of bytes and tags for people, besides.
"""

import math
import re
from collections.abc import Mapping

USER_INFO = re.compile(r"(?<=:)(//?)[^/\s]*@")  # of a URL; one that was taken for a path has one /
QUERY = re.compile(r"(?<=[?&])([^=&?\s]+)=([^&?\s]+)")
SECRET = re.compile(r"pass|secret|token|key|credential", re.I)


def visible(text: str, *, keep: str = "") -> str:
    """Returns `text` with what does not print, such as ANSI codes and changes of direction,
    escaped as Python does; the characters of `keep` stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def holds_secret(text: str) -> bool:
    """Returns whether a URL in `text` has a password or a token in it."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """Returns `text` with the passwords and tokens of its URLs replaced by `***`."""
    text = USER_INFO.sub(lambda found: f"{found[1]}***@" if ":" in found[0] else found[0], text)
    return QUERY.sub(lambda found: f"{found[1]}=***" if SECRET.search(found[1]) else found[0], text)


def printable(text: str, *, limit: int = 80) -> str:
    """Returns `text` on one line, without secrets and control characters, cut if it is long."""
    text = without_secrets(text)
    return visible(text if len(text) <= limit else text[: limit - 3] + "...")


def number_of_bytes(count: int) -> str:
    """Return a number of bytes for people: `1.2 GB`."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


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
