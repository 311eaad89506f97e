"""The folder of a checkpoint: files, and a manifest of their hashes.

A folder is written under another name, flushed to the disk and renamed. It is therefore complete or
absent, even if the writer is killed. Reading verifies the hashes.
"""

import errno
import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainables.errors import DataError, StorageError
from trainables.storage.atomic import new_folder, put_back, sha256_file

MANIFEST = "manifest.json"
PROGRAM = "program.tar"  # what a program of a user has saved
NAME = re.compile(r"[a-z][a-z0-9_]*\.(safetensors|json|tar)")  # of a file; never outside the folder
DIGEST = re.compile(r"[0-9a-f]{64}")


class CorruptCheckpoint(DataError):
    """A file of a checkpoint is missing, or its hash differs from the manifest."""


@contextmanager
def new_checkpoint(folder: Path, known: MutableMapping[str, str] | None = None) -> Iterator[Path]:
    """Yield an empty folder. At the end of the block, add a manifest and rename it to `folder`.

    A former folder of that name is deleted once the new one is on the disk.

    Args:
        folder: The target.
        known: Hashes of files by name, such as of hard links. The block may add to it.

    Raises:
        StorageError: A file cannot be written. `folder` is unchanged, and no partial one remains.
    """
    known = {} if known is None else known
    try:
        with new_folder(folder, replace=True) as partial:
            yield partial
            hashes = {
                path.name: known.get(path.name) or sha256_file(path)
                for path in sorted(partial.iterdir())
            }
            (partial / MANIFEST).write_text(json.dumps(hashes, indent=1))
    except OSError as error:
        raise unwritable(folder, error) from error


def verify(folder: Path, *, only: Collection[str] | None = None) -> set[str]:
    """Check the files of a checkpoint against its manifest, and return the names of all of them.

    Args:
        folder: The checkpoint.
        only: Names of the files to check; None: all of them.

    Raises:
        CorruptCheckpoint: A file is missing, or its hash differs from the manifest.
    """
    # A writer may have been killed between its two renames. The former folder is then restored.
    with suppress(OSError):
        put_back(folder)
    if not folder.exists():
        raise CorruptCheckpoint(f"{folder}: is not there")
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise CorruptCheckpoint(f"{folder}: no readable {MANIFEST} ({error})") from error
    hashes = parse(text, str(folder))
    for name, expected in hashes.items():
        if only is not None and name not in only:
            continue
        path = folder / name
        if not path.is_file():
            raise CorruptCheckpoint(f"{path}: missing, though the manifest lists it")
        if sha256_file(path) != expected:
            raise CorruptCheckpoint(
                f"{path}: altered or cut short: its sha256 is not the manifest's"
            )
    return set(hashes)


def parse(text: bytes, where: str) -> dict[str, str]:
    """Return the hash of each file by its name, from an untrusted manifest.

    Raises:
        CorruptCheckpoint: The text is no manifest, or it names a file outside the folder.
    """
    hashes = parse_json(text, f"{where}: no readable {MANIFEST}")
    if not (isinstance(hashes, dict) and all(map(_is_entry, hashes.items()))):
        raise CorruptCheckpoint(f"{where}: its {MANIFEST} is none of a checkpoint")
    return hashes


def parse_json(text: bytes, fault: str) -> Any:
    """Return the value of untrusted JSON.

    Raises:
        CorruptCheckpoint: The text is no JSON, or it is nested too deeply. The message consists of
            `fault` and the reason.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"{fault} ({error})") from error


def thinned(hashes: Mapping[str, str], *, best: bool, last: bool) -> dict[str, str]:
    """Return a manifest without the best weights, or without the last state and its optimiser.

    Args:
        hashes: Hash of each file by its name.
        best: Keep the best weights.
        last: Keep the last state and its optimiser.
    """
    dropped = set() if best else {"best.safetensors"}
    if not last:
        dropped |= {"last.safetensors", "optimizer.safetensors", "extras.safetensors", PROGRAM}
    return {name: digest for name, digest in hashes.items() if name not in dropped}


def unwritable(path: Path, error: OSError) -> StorageError:
    """Return the StorageError for an `error` in writing `path`."""
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    what = {errno.ENOSPC: "no space left on", errno.EDQUOT: "the disk quota is used up on"}.get(
        error.errno or 0, f"{(error.strerror or str(error)).lower()}:"
    )
    free, total = (f"{amount / 2**20:.0f}" for amount in _space(place))
    return StorageError(f"{what} {path}: {free} of {total} MiB free")


def _space(place: Path) -> tuple[int, int]:
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return 0, 0
    return usage.free, usage.total


def _is_entry(item: tuple[object, object]) -> bool:
    # A name with a slash could lead out of the folder, to a file that is then read or deleted.
    patterns = (NAME, DIGEST)
    return all(
        isinstance(part, str) and pattern.fullmatch(part)
        for part, pattern in zip(item, patterns, strict=True)
    )
