"""What a long command shows while it runs."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from sweeper.cli.output import print_table, progress


def shown(terminal: bool, total: int) -> str:
    stream = io.StringIO()
    with progress("making", Console(file=stream, force_terminal=terminal, width=100)) as report:
        for done in range(1, total + 1):
            report("it", done, total)
    return stream.getvalue()


def test_a_pipe_gets_a_line_every_tenth_and_the_last_one():
    lines = shown(False, 1000).splitlines()
    assert lines[0] == "making it: 1 of 1000"
    assert lines[1:] == [f"making it: {tenth * 100} of 1000" for tenth in range(1, 11)]


def test_a_few_steps_are_a_line_each():
    assert len(shown(False, 3).splitlines()) == 3


def test_a_terminal_gets_a_bar_that_fills():
    text = shown(True, 40)
    assert "40/40" in text
    assert "━" in text
    assert "making it" in text


STUDY = "contrastive_pare/pdebench/diffusion_reaction_2d@hard"


@pytest.mark.parametrize("width", [70, 80, 90, 140])
def test_a_table_breaks_no_word(width: int):
    table = Table(box=None, pad_edge=False)
    table.add_column("study", overflow="fold")
    table.add_column("trials", justify="right", overflow="fold")
    for name in ("best", "validation", "test"):
        table.add_column(name, justify="right")
    counts = "11 complete, 3 pruned, 2 failed, 1 interrupted"
    table.add_row(STUDY, counts, "007", "0.1234", "0.2345")
    out = io.StringIO()
    print_table(Console(file=out, width=width), table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    parts = [part for line in lines for part in line.split()]
    for whole in ("contrastive_pare/", "diffusion_reaction_2d@", "interrupted", "validation"):
        assert any(whole in part for part in parts), (whole, lines)
    assert (STUDY in parts) == (width == 140)
