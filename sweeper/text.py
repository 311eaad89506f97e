"""Text for users: untrusted text made safe, and formatted numbers, bytes, times and tags.

Safe text has no control characters and no passwords in URLs.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]  # of a file, a database or another process

USER_INFO = re.compile(r"(?<=:)(//?)[^/\s]*@")  # of a URL; pathlib reduces // to /
QUERY = re.compile(r"(?<=[?&])([^=&?\s]+)=([^&?\s]+)")
BYTES = {"GB": 10**9, "MB": 10**6, "kB": 10**3, "bytes": 1, "GiB": 2**30, "MiB": 2**20}
HOUR = 3600.0  # seconds
SECRET = re.compile(r"pass|secret|token|key|credential", re.I)


def visible(text: str, *, keep: str = "") -> str:
    """Return `text` with unprintable characters escaped as in Python, except those in `keep`.

    ANSI codes and changes of the writing direction are among the unprintable characters.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def holds_secret(text: str) -> bool:
    """Return whether a URL in `text` contains a password or a token."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """Return `text` with the passwords and tokens of its URLs replaced by `***`."""
    text = USER_INFO.sub(lambda found: f"{found[1]}***@" if ":" in found[0] else found[0], text)
    return QUERY.sub(lambda found: f"{found[1]}=***" if SECRET.search(found[1]) else found[0], text)


def printable(text: str, *, limit: int = 80) -> str:
    """Return `text` on one line, without secrets and control characters, cut if it is long."""
    # Secrets go before the cut, which could take away the `@` by which a password is found.
    text = without_secrets(text)
    return visible(text if len(text) <= limit else text[: limit - 3] + "...")


def format_bytes(count: float, *units: str, digits: int = 1) -> str:
    """Return a number of bytes for users: `1.2 GB`.

    Args:
        count: The number of bytes.
        units: Units in falling order. The first that is not larger than `count` is used, else the
            last. Without units, the choice is GB, MB, kB or bytes.
        digits: The number of digits after the decimal point.
    """
    named = units or ("GB", "MB", "kB", "bytes")
    unit = next((unit for unit in named if count >= BYTES[unit]), named[-1])
    return f"{count / BYTES[unit]:.{0 if unit == 'bytes' else digits}f} {unit}"


def written(tags: Mapping[str, str]) -> str:
    """Return tags in the form of the command line: `baseline, stage=paper`."""
    return ", ".join(f"{name}={value}" if value else name for name, value in tags.items())


def is_number(value: object) -> bool:
    """Return whether a value is a number, which a truth value is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: float | None) -> str:
    """Return a metric's value with four significant digits, or an empty text for None."""
    return "" if value is None else f"{value:.4g}"


def readable(value: object) -> str:
    """Return a value for prose and pages with four significant digits, or a dash for None."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"


def capitalised(text: str) -> str:
    """Return a text with a capital first letter, and the others as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def counted(count: int, noun: str) -> str:
    """Return a number of things: `1 trial`, `2 trials`, `3 studies`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a duration for users: `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def without_nonfinite(value: Any) -> Any:
    """Return plain data for strict JSON: each number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): without_nonfinite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nonfinite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the differences of two trees, as `search.trials: 8 -> 16`; `-` is a missing value.

    Of a list of sections, such as arms, only those that differ are named: `compare_by[2].align`.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys((*old, *new))
        pairs = [(old.get(k, "-"), new.get(k, "-"), f"{path}.{k}" if path else k) for k in keys]
    elif _is_sections(old) and _is_sections(new) and len(old) == len(new):
        pairs = [(*both, f"{path}[{n}]") for n, both in enumerate(zip(old, new, strict=True))]
    elif _is_sections(old) and _is_sections(new) and (gone := _but(old, new)) + _but(new, old):
        # Sections that moved to another place are no differences.
        pairs = [(old[n], "-", f"{path}[{n}]") for n in gone]
        pairs += [("-", new[n], f"{path}[{n}]") for n in _but(new, old)]
    else:
        return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]
    return [line for pair in pairs for line in differences(*pair)]


def _is_sections(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _but(sections: list[Any], others: list[Any]) -> list[int]:
    """Return the places of sections that others lack."""
    return [n for n, each in enumerate(sections) if each not in others]
