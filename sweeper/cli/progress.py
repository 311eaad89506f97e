"""How far a long command is, on stderr: a bar on a terminal, a line every tenth elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["progress"]

Listener = Callable[[str, int, int], None]  # of what, done, of how many


@contextmanager
def progress(what: str, console: Console) -> Iterator[Listener]:
    """Lends the function that is told of progress."""
    if not console.is_terminal:
        yield _lines(what, console)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        row = bar.add_task(what, total=None)
        yield lambda task, done, total: bar.update(
            row, description=f"{what} {task}", completed=done, total=total
        )


def _lines(what: str, console: Console) -> Listener:
    tenth = -1

    def report(task: str, done: int, total: int) -> None:
        nonlocal tenth
        if (reached := 10 * done // total) != tenth:
            tenth = reached
            console.print(f"{what} {task}: {done} of {total}", markup=False, soft_wrap=True)

    return report
