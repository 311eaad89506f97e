"""Consoles for the output of commands.

Control characters in untrusted text are escaped. A closed pipe ends a command without a
traceback, but never a sweep.
"""

import errno
import os
import sys
from collections.abc import Iterable, Mapping
from textwrap import TextWrapper
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sweeper.text import visible

PIPE_WIDTH = 10_000  # of no line: where nobody looks at a screen, no line is broken


class ReaderLeft(Exception):
    """The reader has closed our output. Typer would end with 1 on a BrokenPipeError."""


class _Safe(Console):
    """A console that escapes characters which a terminal would act on, such as ANSI codes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, keep="\n"), segment.style)

    def _write_buffer(self) -> None:
        """Write the buffer; treat a closed terminal as a closed pipe."""
        try:
            super()._write_buffer()
        except OSError as error:
            # The kernel answers EIO for a terminal that is gone, and EPIPE for a pipe.
            raise (BrokenPipeError() if error.errno == errno.EIO else error) from None


class _Results(_Safe):
    def on_broken_pipe(self) -> None:
        raise ReaderLeft


class _News(_Safe):
    def on_broken_pipe(self) -> None:
        """Stop printing: the reader has left, but the sweep continues."""
        self.quiet = True


def stdout() -> Console:
    """Return the console of results: as wide as the terminal, or wide enough for any table."""
    out = sys.stdout
    return _Results(
        width=_width(out), soft_wrap=not out.isatty(), highlight=False, force_terminal=_forced(out)
    )


def stderr() -> Console:
    """Return the console of progress and errors."""
    out = sys.stderr
    return _News(
        stderr=True, width=_width(out), soft_wrap=not out.isatty(), highlight=False,
        force_terminal=_forced(out),
    )  # fmt: skip


def _forced(stream: TextIO) -> bool | None:
    """Return False where no terminal is, although FORCE_COLOR, which Jupyter sets, says so."""
    return None if stream.isatty() else False


def _width(stream: TextIO) -> int | None:
    """Return the width of lines; None: that of the terminal."""
    return None if stream.isatty() else PIPE_WIDTH


def print_text(
    console: Console,
    text: str,
    *,
    end: str = "\n",
    style: str | None = None,
    as_it_is: bool = False,
) -> None:
    """Print text without markup and highlights; on a terminal, lines are broken between words.

    `as_it_is` breaks no line, as of a file.
    """
    if console.is_terminal and not as_it_is:
        # A word that is longer than a line stays whole: nobody can open a part of an address.
        wrapper = TextWrapper(max(1, console.width), replace_whitespace=False)
        wrapper.break_long_words = wrapper.break_on_hyphens = False
        text = "\n".join(map(wrapper.fill, text.split("\n")))
    console.print(text, end=end, style=style, markup=False, highlight=False, soft_wrap=True)


def pass_on(text: str, out: TextIO) -> None:
    """Write untrusted text with control characters escaped, and flush it.

    Raises:
        ReaderLeft: The reader has closed `out`.
    """
    try:
        out.write(visible(text, keep="\n\t"))
        out.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno == errno.EIO:
            raise ReaderLeft from None
        raise


def is_plain(environment: Mapping[str, str]) -> bool:
    """Return whether the user's locale has ASCII characters only."""
    named = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return next(filter(None, named), "C.UTF-8") in ("C", "POSIX")


def make_plain() -> None:
    """Make both streams escape the characters that their encoding or the locale lacks.

    A stream that was closed (`>&-`) is opened again, and discards all output.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    # Python writes UTF-8 even in the locale C (PEP 538), so a stream's encoding is no evidence.
    encoding = "ascii" if is_plain(os.environ) else None
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
