"""Where commands print: what comes from elsewhere is shown, never obeyed, and a closed pipe ends
a command without a traceback, but never a sweep."""

import errno
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sweeper.text import visible

__all__ = ["ReaderLeft", "is_plain", "make_plain", "pass_on", "stderr", "stdout"]

PIPE_WIDTH = 160  # wide enough for any table


class ReaderLeft(Exception):
    """Whoever read our output closed it; Typer would exit by 1 on what the pipe itself raises."""


class _Safe(Console):
    """Escapes characters that a terminal would act on, such as those of ANSI codes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, keep="\n"), segment.style)

    def _write_buffer(self) -> None:
        """Write, and take a terminal that is gone, after a hang-up, for a closed pipe."""
        try:
            super()._write_buffer()
        except OSError as error:
            raise (BrokenPipeError() if error.errno == errno.EIO else error) from None


class _Results(_Safe):
    def on_broken_pipe(self) -> None:
        raise ReaderLeft


class _News(_Safe):
    def on_broken_pipe(self) -> None:
        """Goes silent: nobody reads the news, but what they are of goes on."""
        self.quiet = True


def stdout() -> Console:
    """A console as wide as the terminal, or wide enough for any table in a pipe."""
    return _Results(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def stderr() -> Console:
    """A console for progress and errors."""
    return _News(stderr=True, highlight=False)


def pass_on(text: str, out: TextIO) -> None:
    """Writes text of others at once, and what a terminal would act on escaped.

    Raises:
        ReaderLeft: Nobody reads it.
    """
    try:
        out.write(visible(text, keep="\n\t"))
        out.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno == errno.EIO:
            raise ReaderLeft from None
        raise


def is_plain(environment: Mapping[str, str]) -> bool:
    """Returns whether the user's locale knows ASCII only."""
    named = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return next(filter(None, named), "C.UTF-8") in ("C", "POSIX")


def make_plain() -> None:
    """Lets both streams write whatever their encoding lacks, escaped; in a locale that knows ASCII
    only, that is all else."""
    encoding = "ascii" if is_plain(os.environ) else None
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
