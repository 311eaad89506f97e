"""Tables that fit a narrow terminal: columns of less weight are left out, and no value is cut."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 1000  # characters; wider than any table
FOLDED = 20  # characters that a column which folds is left at least


def print_table(console: Console, table: Table, spared: Sequence[str] = ()) -> None:
    """Print a table; where it does not fit, without columns of `spared`, the first one first."""
    left_out = []
    for name in spared:
        if _width(console, table) <= console.width:
            break
        kept = [column for column in table.columns if column.header != name]
        if len(kept) < len(table.columns):
            table.columns = kept
            left_out.append(name)
    console.print(table)
    if left_out:
        text = f"(left out, {console.width} columns are too few: {', '.join(left_out)})"
        console.print(text, markup=False, soft_wrap=True, style="dim")


def _width(console: Console, table: Table) -> int:
    """Return how wide a table is with whole values; a column that folds may become narrow."""
    options = console.options.update(max_width=WIDEST)
    folding = [column for column in table.columns if column.overflow == "fold"]
    widths = (max(map(cell_len, map(str, column.cells)), default=0) for column in folding)
    spare = sum(max(0, width - FOLDED) for width in widths)
    return Measurement.get(console, options, table).maximum - spare
