"""Checkpoints in a store, a shared folder or a bucket, by their URLs (`urls`).

Files are written one by one and the manifest last, and it goes first when they go: a checkpoint
without one does not exist. Whatever comes back is checked against the manifest's hashes.

All functions raise ConfigError for what is no URL of a store, and StorageError for one that refuses
or does not answer in time (`files`).
"""

import io
import json
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from trainables.errors import ConfigError
from trainables.storage.checkpoint_folder import (
    MANIFEST,
    CorruptCheckpoint,
    new_folder,
    parse,
    thinned,
)
from trainables.storage.files import TIMEOUT_S, Files, ask, file_system, get, list_files, put, write
from trainables.storage.urls import ArtifactUrl, is_plain_name

__all__ = [
    "TIMEOUT_S",
    "delete",
    "exists",
    "fetch",
    "file_system",
    "list_checkpoints",
    "publish",
    "size_bytes",
    "sizes",
    "thin",
]


def publish(folder: Path, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Copy a checkpoint from its folder to `url`; when this returns, it exists there."""
    place = ArtifactUrl.parse(url)
    left = [*parse((folder / MANIFEST).read_bytes(), str(folder)), MANIFEST]
    over = threading.Event()

    def send(files: Files) -> None:
        while left and not over.is_set():  # one that nobody waits for must not come to exist
            put(files, folder / left[0], f"{place.path}/{left[0]}")
            del left[0]

    try:
        ask(place, send, timeout_s)
    finally:
        over.set()


def fetch(url: str, folder: Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Copy a checkpoint from `url` to `folder`, whole or not at all.

    Raises:
        CorruptCheckpoint: It is not there, or a file is missing or not what the manifest says.
    """
    place = ArtifactUrl.parse(url)
    hashes = _manifest(place, timeout_s)

    def fetched(name: str) -> Callable[[Files], None]:
        return lambda files: get(files, f"{place.path}/{name}", partial / name)

    with new_folder(folder) as partial:
        for name in hashes:
            try:
                ask(place, fetched(name), timeout_s, here=folder)
            except FileNotFoundError:
                raise CorruptCheckpoint(
                    f"{(place / name).label}: missing, though the manifest lists it"
                ) from None
    found = parse((folder / MANIFEST).read_bytes(), str(folder))
    for name, digest in found.items():
        if hashes[name] != digest:
            shutil.rmtree(folder)
            raise CorruptCheckpoint(
                f"{(place / name).label}: altered or cut short: its sha256 is not the manifest's"
            )


def list_checkpoints(url: str, *, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Return the URLs of the checkpoints in a place and in what is in it, newest first."""
    place = ArtifactUrl.parse(url)
    found = [
        (info.mtime_ns, inside)
        for info, inside in list_files(place, timeout_s)
        if inside.rpartition("/")[2] == MANIFEST and _is_visible(inside)
    ]
    folders = [inside.rpartition("/")[0] for _, inside in sorted(found, reverse=True)]
    return [str(place / inside) if inside else str(place) for inside in folders]


def exists(url: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether there is a checkpoint at `url`."""
    place = ArtifactUrl.parse(url)

    def look(files: Files) -> bool:
        info = files.get_file_info(f"{place.path}/{MANIFEST}")
        return bool(info.type == fs.FileType.File)

    return ask(place, look, timeout_s)


def sizes(url: str, *, timeout_s: float = TIMEOUT_S) -> dict[str, int]:
    """Return the bytes of each file in a place and in what is in it, by its path from there."""
    return {name: info.size for info, name in list_files(ArtifactUrl.parse(url), timeout_s)}


def size_bytes(url: str, *, timeout_s: float = TIMEOUT_S) -> int:
    """Return the bytes of all that is in a place; 0 where there is nothing."""
    return sum(sizes(url, timeout_s=timeout_s).values())


def delete(url: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Delete all that is in a place, manifests first; nothing where there is nothing."""
    place = ArtifactUrl.parse(url)
    if place.path.count("/") < 1 + (place.folder is not None):
        raise ConfigError(f"{place.label}: is a whole store. Name what to delete in it.")
    inside = [name for _, name in list_files(place, timeout_s)]
    manifests = [name for name in inside if name.rpartition("/")[2] == MANIFEST]

    def clear(files: Files) -> None:
        for name in manifests:
            with suppress(FileNotFoundError):
                files.delete_file(f"{place.path}/{name}")
        with suppress(FileNotFoundError):
            files.delete_dir(place.path)

    ask(place, clear, timeout_s)


def thin(url: str, *, best: bool, last: bool, timeout_s: float = TIMEOUT_S) -> None:
    """Delete the best weights, or the last state and its optimiser, from a checkpoint.

    Raises:
        CorruptCheckpoint: It is not there, or its manifest is none.
    """
    place = ArtifactUrl.parse(url)
    hashes = _manifest(place, timeout_s)
    kept = thinned(hashes, best=best, last=last)

    def drop(files: Files) -> None:
        manifest = io.BytesIO(json.dumps(kept, indent=1).encode())
        write(files, manifest, f"{place.path}/{MANIFEST}")
        for name in hashes.keys() - kept.keys():
            with suppress(FileNotFoundError):
                files.delete_file(f"{place.path}/{name}")

    ask(place, drop, timeout_s)


def _manifest(place: ArtifactUrl, timeout_s: float) -> dict[str, str]:
    def read(files: Files) -> bytes:
        with files.open_input_stream(f"{place.path}/{MANIFEST}") as file:
            return bytes(file.read())

    try:
        return parse(ask(place, read, timeout_s), place.label)
    except FileNotFoundError:
        raise CorruptCheckpoint(f"{place.label}: no {MANIFEST}") from None


def _is_visible(inside: str) -> bool:
    """Return whether a path is one that is published; a store may hold anything."""
    return all(is_plain_name(part) and part[0] != "." for part in inside.split("/"))
