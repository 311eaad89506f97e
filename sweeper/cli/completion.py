"""Words that a shell offers on TAB: the names of sweeps, studies and trials.

An error offers no words: a shell has no place to show it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import chdir, nullcontext, suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sweeper.ledger import Ledger

BASH = "COMP_WORDBREAKS=${COMP_WORDBREAKS//@}\n"
SWEEP = "sweep"  # the parameter that names a sweep
TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # a shell passes the command line in them


def keep_names_whole() -> None:
    """Make bash treat `@` as a part of a word, since names of tasks contain it.

    Typer has no public way to change its script. Without the change, such names are not completed.
    """
    with suppress(ImportError, AttributeError, KeyError):
        from typer._completion_shared import _completion_scripts

        if BASH not in _completion_scripts["bash"]:
            _completion_scripts["bash"] += BASH


def sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of sweeps that begin with `incomplete`."""
    with suppress(Exception), _in_folder(ctx):
        from sweeper.planning.sweep_folder import all_folders

        taken = ctx.params.get("sweeps") or ()
        names = [folder.name for folder in all_folders()]
        return [name for name in names if name.startswith(incomplete) and name not in taken]
    return []


def studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of the sweep on the command line that begin with `incomplete`."""
    return _of_sweep(ctx, incomplete, lambda ledger: (s.name for s in ledger.studies()))


def trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the trials of the sweep on the command line that begin with `incomplete`.

    While several studies match, the studies are offered instead of their trials.
    """

    def words(ledger: "Ledger") -> Iterator[str]:
        begun = [f"{study.name}/" for study in ledger.studies()]
        # The word may end within the name of a study, or go on after it.
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

        # A check for damage would keep the user waiting at each TAB.
        with started(existing(_sweep_of(ctx)), checked=None) as (ledger, _):
            return [word for word in words(ledger) if word.startswith(incomplete)]
    return []


def _sweep_of(ctx: typer.Context) -> str:
    """Return the sweep on the command line, even if an unfinished option stopped the parser."""
    from sweeper.planning.sweep_folder import all_folders, name_of

    if named := ctx.params.get(SWEEP):
        return name_of(named)
    typed = next(filter(None, map(os.environ.get, TYPED)), "")
    known = {folder.name for folder in all_folders()}
    return next(word for word in map(name_of, typed.split()) if word in known)


def _in_folder(ctx: typer.Context) -> "chdir[str] | nullcontext[None]":
    """Enter the folder of `-C`, which a completion has not entered yet."""
    folder = ctx.find_root().params.get("directory")
    return nullcontext() if folder is None else chdir(str(folder))
