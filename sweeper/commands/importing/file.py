"""The sweep file of an imported search."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from sweeper.commands.importing.search import ImportedSearch
from sweeper.commands.result import Message
from sweeper.commands.results import write_file
from sweeper.errors import UsageError
from sweeper.spec.distributions import Choice, written
from sweeper.spec.reader import to_yaml
from sweeper.spec.rules.program import FILL_IN
from sweeper.spec.schema import MAX_NAME
from sweeper.text import counted, visible, without_secrets

NO_METRIC = "value"


@dataclass(frozen=True, kw_only=True)
class ImportedFile(Message):
    """A sweep file that was made of another tool's search."""

    path: Path
    tool: str
    parameters: int
    dropped: Mapping[str, str]


def import_search(tool: str, source: str, out: Path, *, replace: bool = False) -> ImportedFile:
    """Write the sweep file of another tool's search.

    Args:
        tool: The tool, as the module that reads its file.
        source: Its file; of Optuna a database, as a file or a URL, perhaps with `#STUDY`.
        out: The sweep file.
        replace: Write over an existing one.

    Raises:
        FileFaults: The source cannot be read.
        UsageError: It has no search, or `out` exists or has no folder.
        StorageFull: `out` cannot be written.
    """
    if out.exists() and not replace:
        raise UsageError(f"{out} exists: name another file, or add --replace.")
    if out.exists() and (given := Path(source)).exists() and out.samefile(given):
        raise UsageError(f"{out} is the file to import: name another one with --out.")
    read: Callable[[str | Path], ImportedSearch]
    read = import_module(f"sweeper.commands.importing.{tool}").read
    try:
        found = read(source if tool == "optuna" else Path(source))
    # A foreign file may have anything anywhere, which is no error of this program.
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{without_secrets(source)}: has no search that can be read ({why})."
        ) from error
    path = write_file(out, as_sweep_file(found, name=out.stem, source=source))
    lines = [f"wrote {path}: {counted(len(found.parameters), 'searched parameter')}"]
    lines += [f"not taken over: {place}: {reason}" for place, reason in found.dropped.items()]
    return ImportedFile(
        message="\n".join(lines),
        path=path,
        tool=found.tool,
        parameters=len(found.parameters),
        dropped=found.dropped,
    )


def as_sweep_file(found: ImportedSearch, *, name: str, source: str) -> str:
    """Return the text of a sweep file, with what is not taken over as comments below."""
    metric = re.sub(r"[^A-Za-z0-9_.-]", "_", found.metric) or NO_METRIC
    if metric != found.metric:
        found.drop(f"metric {found.metric}".strip(), f"let the program report it as `{metric}`")
    _check_sampler(found)
    program: dict[str, object] = {
        "command": found.command or _unknown_command(found),
        "metric": metric,
        "goal": "maximize" if found.is_maximised else "minimize",
        "steps": found.steps,
    }
    given = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")
    content: dict[str, object] = {
        "name": given[:MAX_NAME] or "imported",
        "program": {key: value for key, value in program.items() if value is not None},
        "parameters": {key: written(each) for key, each in found.parameters.items()},
        "fixed": found.fixed,
        **found.settings,
    }
    names = (found.tool, found.name)
    head = [
        f"# Imported from {without_secrets(source)} ({': '.join(filter(None, names))}).",
        f'# The program prints a line for each report: {{"step": 1, "{metric}": 0.5}}',
    ]
    lines = [f"#   {place}: {reason}" for place, reason in found.dropped.items()]
    tail = ["", "# Not taken over:", *lines] if lines else []
    text = to_yaml({key: value for key, value in content.items() if value != {}})
    # A line break in a foreign name would end its comment.
    return "\n".join([*map(visible, head), text.rstrip(), *map(visible, tail)]) + "\n"


def _unknown_command(found: ImportedSearch) -> list[str]:
    """Return the words of a command of which the program is to be filled in."""
    found.drop("program", f"the source names none: write it in place of {FILL_IN}")
    words = [found.word(name) for name in (*found.names, "seed")] if found.options else []
    return ["python", FILL_IN, *words]


def _check_sampler(found: ImportedSearch) -> None:
    """Let a grid without steps, and a search without parameters, be random."""
    search = found.settings.get("search", {})
    endless = [
        key
        for key, each in found.parameters.items()
        if not isinstance(each, Choice) and each.step is None
    ]
    if search.get("sampler") == "grid" and endless:
        found.drop(f"grid over {', '.join(endless)}", "ranges without steps; written is random")
        search["sampler"] = "random"
