"""What is printed of others' text: shown, never obeyed."""

import io
import sys

import pytest
from rich.live import Live
from rich.table import Table

from sweeper.cli.output import print_result
from sweeper.cli.tables import show_checks
from sweeper.commands.upkeep.doctor import Check, Checks
from sweeper.console import pass_on, print_text, stderr, stdout

ATTACKS = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title",
    "\x9b31m": r"\x9b31m",
    "\u202eabc": r"\u202eabc",
    "\u2066abc": r"\u2066abc",
    "\x00": r"\x00",
    "\x7f": r"\x7f",
}


class Terminal(io.StringIO):
    """Keeps what is printed."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in the place of both streams: in a test, since fixtures get pytest's."""
    found = Terminal()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, found)
    return found


@pytest.mark.parametrize("console", [stdout, stderr])
@pytest.mark.parametrize(("text", "shown"), ATTACKS.items())
def test_a_terminal_never_gets_a_code_from_a_text(monkeypatch, console, text, shown):
    printed = terminal(monkeypatch)
    table = Table()
    table.add_column("name")
    table.add_row(text)
    console().print(f"a {text} b", markup=False)
    console().print(table)
    told = printed.getvalue()
    assert f"a {shown} b" in told
    assert text not in told


def test_styles_of_our_own_reach_a_terminal(monkeypatch):
    printed = terminal(monkeypatch)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stdout().print("[red]bad[/]")
    assert printed.getvalue().startswith("\x1b[31mbad\x1b[0m")


@pytest.mark.parametrize("console", [stdout, stderr])
def test_a_notebook_which_forces_colours_gets_none_and_nothing_moves(monkeypatch, capsys, console):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter does
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = console()
    with Live("a table", console=shown):
        shown.print("[red]bad[/]")
    assert "\x1b" not in "".join(capsys.readouterr())


def test_a_path_is_no_markup(capsys):
    found = "/home/[red]me[/bold]"
    checks = Checks(checks=(Check(what="disk", state="ok", found=found),))
    show_checks(checks, everything=False)
    assert found in capsys.readouterr().out


LONG = "a word and " * 30


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_pipe_gets_no_line_break_and_a_terminal_breaks_between_words(monkeypatch, capsys, name):
    console = {"stdout": stdout, "stderr": stderr}[name]
    console().print(LONG)
    print_text(console(), LONG)
    assert getattr(capsys.readouterr(), name[3:]).splitlines() == [LONG] * 2
    printed = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    print_text(console(), LONG)
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split() == LONG.split()
    print_text(console(), LONG, as_it_is=True)
    assert printed.getvalue().splitlines()[-1] == LONG


def test_a_terminal_gets_an_address_whole_and_an_indent_as_it_is(monkeypatch):
    printed = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    address = f"http://localhost:5000/#/{'x-' * 40}"
    print_text(stdout(), f"  the trials: {address} and more\n\nthe end")
    assert printed.getvalue() == f"  the trials:\n{address}\nand more\n\nthe end\n"


def test_sources_that_nobody_asked_for_are_shown_with_all_and_in_json(capsys):
    checks = Checks(
        checks=tuple(
            Check(what=what, state=state, found="x")
            for what, state in (
                ("proxy a", "note"),
                ("proxy b", "ok"),
                ("proxy c", "bad"),
                ("gpu", "note"),
            )
        )
    )
    show_checks(checks, everything=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:-1] for line in lines[:-1]] == [
        ["ok", "proxy", "b"], ["bad", "proxy", "c"], ["note", "gpu"]
    ]  # fmt: skip
    assert " ".join(lines[-1]) == "1 source not here: sweeper doctor --all"
    show_checks(checks, everything=True)
    told = capsys.readouterr().out
    assert len(told.splitlines()) == 4
    print_result(checks, "doctor")
    assert "proxy a" in capsys.readouterr().out


def test_what_a_cluster_prints_is_passed_on_line_by_line():
    out = io.StringIO()
    pass_on("a\tb\r\n\x1b[31mc\n", out)
    assert out.getvalue() == "a\tb\\r\n\\x1b[31mc\n"
