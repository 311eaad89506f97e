"""Training programs of users, functions and commands, as trials."""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trainables.errors import ConfigError

MAX_LOG = 2**20  # characters that are shown as they come, and the last lines after them
LAST_LINES = 200
MAX_LINE = 1000  # characters of one of them


@dataclass(frozen=True)
class Reported:
    """A report of a program."""

    step: int
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, step: Any, metrics: Mapping[Any, Any]) -> "Reported":
        """Return a report of numbers of any type.

        Raises:
            ConfigError: The step is no whole number, or a value no number.
        """
        if (whole := _number(step)) is None or not whole.is_integer():
            raise ConfigError(f"step {step!r} is no whole number")
        values = {}
        for name, value in metrics.items():
            if not isinstance(name, str) or (number := _number(value)) is None:
                raise ConfigError(f"step {int(whole)}: `{name}` is no number")
            values[name] = number
        return cls(int(whole), values)


def _number(value: Any) -> float | None:
    # A text may be a number by chance, and JSON has numbers of any size.
    with suppress(TypeError, ValueError, OverflowError):
        return None if isinstance(value, str | bool) else float(value)
    return None


class BoundedLog:
    """The log of a program: its beginning as it comes, and its last lines at the end."""

    def __init__(self) -> None:
        self._shown = self._left_out = 0
        self._last: deque[str] = deque(maxlen=2 * LAST_LINES)  # `print` writes a line's end apart

    def shows(self, text: str) -> bool:
        """Return whether a text is still of the beginning; keep it for the end otherwise."""
        if self._shown < MAX_LOG:
            self._shown += len(text)
            return True
        self._left_out += len(text)
        self._last.append(text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}\n")
        return False

    def close(self) -> None:
        """Print the last lines, if some were left out."""
        if self._left_out:
            lines = "".join(self._last).splitlines()[-LAST_LINES:]
            print(f"... {self._left_out} characters; the last lines of them:", *lines, sep="\n")
            self._left_out = 0
