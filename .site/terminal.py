"""Pictures of a terminal in which a command runs, drawn by rich, light and dark.

    pip install pyte
    python .site/terminal.py .site/images/launch 150 100x17 sweeper launch mona_pdebench

writes `launch.light.svg` and `launch.dark.svg`: the screen of 100 columns and 17 rows after 150 s,
or at the end of a shorter command.
"""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
from rich.text import Text

THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}
NAMES = {"default": "", "brown": "yellow", "brightblack": "bright_black"}  # pyte's and rich's


def screen_of(command: list[str], seconds: float, columns: int, rows: int) -> pyte.Screen:
    """Run a command in a terminal, and return its screen; the command goes on to its end."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)  # noqa: S606, which the user typed
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    start = time.monotonic()
    while data := _read(terminal):
        if time.monotonic() - start < seconds:
            stream.feed(data)
    os.waitpid(process, 0)
    return screen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's answer once the command has ended
        return b""


def drawn(screen: pyte.Screen, title: str, theme: str) -> str:
    """Return a screen as SVG, in the reader's own font of equal widths."""
    console = Console(
        record=True, width=screen.columns, file=io.StringIO(), force_terminal=True,
        color_system="truecolor",
    )  # fmt: skip
    used = [y for y in range(screen.lines) if screen.display[y].strip()]
    for y in range(max(used) + 1):
        line = Text(no_wrap=True, end="\n")
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            colour = NAMES.get(
                cell.fg, f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else cell.fg
            )
            line.append(cell.data, style=f"{'bold ' if cell.bold else ''}{colour}".strip())
        console.print(line, soft_wrap=True)
    console.print()  # the picture cuts the last line's underscores
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title=title, theme=THEMES[theme], code_format=plain, unique_id=theme)


if __name__ == "__main__":
    place, seconds, size, *command = sys.argv[1:]
    columns, rows = map(int, size.split("x"))
    shown = screen_of(command, float(seconds), columns, rows)
    for theme in THEMES:
        Path(f"{place}.{theme}.svg").write_text(
            drawn(shown, " ".join(command), theme), encoding="utf-8"
        )
