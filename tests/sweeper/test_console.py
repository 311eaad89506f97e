"""What is printed of others' text: shown, never obeyed."""

import io
import sys

import pytest
from rich.table import Table

from sweeper.cli.tables import show_checks
from sweeper.commands.upkeep.doctor import Check, Checks
from sweeper.console import pass_on, stderr, stdout

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
def test_a_terminal_never_gets_a_code_from_a_text(monkeypatch, console, text, shown) -> None:
    printed = terminal(monkeypatch)
    table = Table()
    table.add_column("name")
    table.add_row(text)
    console().print(f"a {text} b", markup=False)
    console().print(table)
    told = printed.getvalue()
    assert f"a {shown} b" in told
    assert text not in told


def test_styles_of_our_own_reach_a_terminal(monkeypatch) -> None:
    printed = terminal(monkeypatch)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stdout().print("[red]bad[/]")
    assert printed.getvalue().startswith("\x1b[31mbad\x1b[0m")


def test_a_path_is_no_markup(capsys) -> None:
    found = "/home/[red]me[/bold]"
    show_checks(Checks(checks=(Check(what="disk", state="ok", found=found),)), as_json=False)
    assert found in capsys.readouterr().out


def test_what_a_cluster_prints_is_passed_on_line_by_line() -> None:
    out = io.StringIO()
    pass_on("a\tb\r\n\x1b[31mc\n", out)
    assert out.getvalue() == "a\tb\\r\n\\x1b[31mc\n"
