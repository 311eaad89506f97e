"""Copies of the folders of programs, which a job takes along to nodes that do not have them."""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sweeper.errors import UsageError
from sweeper.planning.catalog import home
from sweeper.planning.sweep_folder import MARKS, sweeps_folder
from sweeper.spec.sweep import Sweep
from trainables.methods.program import SENT, name_there, program_of

MAX_BYTES = 64 * 2**20  # Ray's dashboard refuses requests above 100 MiB
NOT_SENT = ("__pycache__", "mlruns", "mlflow.db")


def folders_to_send(sweep: Sweep) -> dict[str, str]:
    """Return the folders that a job of a sweep takes along, by the names of their programs.

    A function that is installed needs no folder. A command may need files that it does not name.
    """
    programs = {name: program_of(sweep.catalog.methods[name]) for name in sweep.methods}
    return {
        name: program.folder
        for name, program in programs.items()
        if program is not None and program.travels and (program.command or program.code)
    }


@contextmanager
def copied(folders: Iterable[str]) -> Iterator[list[Path]]:
    """Copy folders of programs meanwhile, and yield the modules that a job takes along for them.

    Raises:
        UsageError: A folder is not there, or they take more than `MAX_BYTES`.
    """
    with TemporaryDirectory() as scratch:
        total, module = 0, Path(scratch, SENT)
        for folder in dict.fromkeys(folders):
            if not Path(folder).is_dir():
                raise UsageError(f"{folder}: the program was in this folder: put it back.")
            for file in _files(Path(folder), {home(), sweeps_folder()}):
                total += file.stat().st_size
                if total > MAX_BYTES:
                    raise UsageError(
                        f"{folder}: its files take more than the {MAX_BYTES >> 20} MiB that a job "
                        "takes along. Keep data outside of it, or name a folder that all nodes "
                        "share by its absolute path: `folder` of the program."
                    )
                copy = module / name_there(folder) / file.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)  # with its mode: a script may be a program
        yield [module] if module.is_dir() else []


def _files(folder: Path, left_out: Collection[Path]) -> Iterator[Path]:
    """Yield the files of a program's folder; none of sweeps, MLflow, links to folders or hidden."""
    for place, names, files in os.walk(folder):
        at = Path(place)
        # The list itself is changed, because `os.walk` enters only what is left in it.
        names[:] = [name for name in names if _is_sent(at / name, left_out)]
        found = (at / name for name in sorted(files) if _is_sent(at / name, left_out))
        yield from (file for file in found if file.is_file())


def _is_sent(path: Path, left_out: Collection[Path]) -> bool:
    if path.name.startswith(".") or path.name in NOT_SENT or path.resolve() in left_out:
        return False
    # Another sweep's folder, with checkpoints; an environment of Python, which no node could use.
    return not any((path / mark).is_file() for mark in (*MARKS, "pyvenv.cfg"))
