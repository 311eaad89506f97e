"""The progress of a sweep that a Python program runs: lines, or a view in a notebook.

In a notebook the view is one output that changes: the studies as far as the ledger has them, and
the latest lines. Elsewhere each line goes to standard error.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.planning.sweep_folder import living_state, started
from sweeper.render.notebook import progress_html, sweep_html
from sweeper.results.read import read_sweep
from sweeper.text import visible

LINES = 8  # that the view in a notebook keeps
REFRESH_S = 2.0


class Lines:
    """A display of the lines that a running sweep prints, on standard error."""

    def add(self, line: str) -> None:
        """Print a line, which ends with a line break."""
        sys.stderr.write(visible(line, keep="\n\t"))
        sys.stderr.flush()

    def tick(self) -> None:
        """Do nothing: each line is printed at once."""


class View:
    """A display in a notebook, of the sweep in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: deque[str] = deque(maxlen=LINES)
        self._shown_at, self._has_changed = time.monotonic(), False
        self._output = import_module("IPython.display").display(self, display_id=True)

    def add(self, line: str) -> None:
        """Keep a line for the next refresh."""
        self._lines.append(visible(line.rstrip("\n"), keep="\t"))
        self._has_changed = True

    def tick(self) -> None:
        """Refresh the view if a line has come, and the last refresh was some time ago."""
        if self._has_changed and time.monotonic() - self._shown_at > REFRESH_S:
            self.refresh()

    def refresh(self) -> None:
        """Show the studies and lines of now."""
        self._shown_at, self._has_changed = time.monotonic(), False
        self._output.update(self)

    def __repr__(self) -> str:
        return "\n".join(self._lines)

    def _repr_html_(self) -> str:
        studies = ""
        # A sweep that has yet to begin has no ledger, so its lines are shown alone.
        with suppress(SweeperError), started(self._folder, checked=None) as (ledger, record):
            studies = sweep_html(read_sweep(ledger, histories=False), living_state(record, ledger))
        return progress_html(studies, self._lines)


@contextmanager
def display(folder: Path) -> Iterator[Lines | View]:
    """Show the progress of the sweep in `folder`, as this program's output allows."""
    if not is_notebook():
        yield Lines()
        return
    view = View(folder)
    try:
        yield view
    finally:
        view.refresh()


def is_notebook() -> bool:
    """Return whether this program is the kernel of a notebook."""
    # Each notebook has imported IPython. Elsewhere it is not imported for this question.
    if "IPython" not in sys.modules:
        return False
    # IPython in a terminal has a shell, too, but no kernel.
    shell = import_module("IPython").get_ipython()
    return hasattr(shell, "kernel")
