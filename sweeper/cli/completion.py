"""Words that a shell offers on TAB: the names of sweeps, studies and trials.

Whatever fails offers nothing: a shell has no place for an error.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import chdir, nullcontext, suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sweeper.ledger import Ledger

BASH = "COMP_WORDBREAKS=${COMP_WORDBREAKS//@}\n"
SWEEP = "sweep"  # the parameter that names it
TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # what a shell says was typed


def keep_names_whole() -> None:
    """Have bash take `@` for a part of a word, as it is of a task's name.

    Typer has no public way to add to its script. Without it, names with `@` are not completed.
    """
    with suppress(ImportError, AttributeError, KeyError):
        from typer._completion_shared import _completion_scripts

        if BASH not in _completion_scripts["bash"]:
            _completion_scripts["bash"] += BASH


def sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the sweeps that begin so."""
    with suppress(Exception), _in_folder(ctx):
        from sweeper.planning.sweep_folder import all_folders

        taken = ctx.params.get("sweeps") or ()
        names = [folder.name for folder in all_folders()]
        return [name for name in names if name.startswith(incomplete) and name not in taken]
    return []


def studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of the sweep on the command line that begin so."""
    return _of_sweep(ctx, incomplete, lambda ledger: (s.name for s in ledger.studies()))


def trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the trials of the sweep on the command line that begin so, as `STUDY/NUMBER`.

    As long as several studies begin so, they are offered in place of their trials.
    """

    def words(ledger: "Ledger") -> Iterator[str]:
        begun = [f"{study.name}/" for study in ledger.studies()]
        begun = [b for b in begun if b.startswith(incomplete) or incomplete.startswith(b)]
        if len(begun) > 1:
            return iter(begun)
        return (trial.name for b in begun for trial in ledger.trials(b.removesuffix("/")))

    return _of_sweep(ctx, incomplete, words)


def _of_sweep(
    ctx: typer.Context, incomplete: str, words: "Callable[[Ledger], Iterator[str]]"
) -> list[str]:
    with suppress(Exception), _in_folder(ctx):
        from sweeper.planning.sweep_folder import existing, started

        with started(existing(_sweep_of(ctx))) as (ledger, _):
            return [word for word in words(ledger) if word.startswith(incomplete)]
    return []


def _sweep_of(ctx: typer.Context) -> str:
    """Return the sweep on the command line; an option without a value hides it from the parser."""
    from sweeper.planning.sweep_folder import all_folders, name_of

    if named := ctx.params.get(SWEEP):
        return name_of(named)
    typed = next(filter(None, map(os.environ.get, TYPED)), "")
    known = {folder.name for folder in all_folders()}
    return next(word for word in map(name_of, typed.split()) if word in known)


def _in_folder(ctx: typer.Context) -> "chdir[str] | nullcontext[None]":
    """Work in the folder of `-C`, which no command has entered yet."""
    folder = ctx.find_root().params.get("directory")
    return nullcontext() if folder is None else chdir(str(folder))
