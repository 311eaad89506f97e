"""What a long command shows while it runs."""

import io

from rich.console import Console

from sweeper.cli.output import progress


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
