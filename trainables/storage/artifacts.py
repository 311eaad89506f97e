"""Checkpoints in an artifact store, which is a shared folder or a bucket, by their URLs (`urls`).

A checkpoint exists if its manifest exists. The manifest is therefore written last and deleted
first. Every file that is fetched is checked against the hashes of the manifest.

All functions raise ConfigError if the URL is invalid. They raise StorageError if the store refuses
a request or does not respond in time (`files`).
"""

import io
import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainables.errors import ConfigError
from trainables.storage.checkpoint_folder import (
    MANIFEST,
    CorruptCheckpoint,
    new_checkpoint,
    parse,
    thinned,
)
from trainables.storage.files import TIMEOUT_S, Files, ask, get, list_files, put, write
from trainables.storage.urls import ArtifactUrl, is_plain_name

PAUSES_S = (0.5, 2.0)  # before a checkpoint that seems damaged is fetched again from a bucket


def publish(folder: Path, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Copy a checkpoint from its folder to `url`. It exists there once this function returns.

    Args:
        folder: A complete checkpoint on this machine.
        url: Its URL in the store.
        timeout_s: Seconds until the store must respond.
    """
    place = ArtifactUrl.parse(url)
    # `ask` repeats `send` after an error. Files that have arrived are not sent again.
    left = [*parse((folder / MANIFEST).read_bytes(), str(folder)), MANIFEST]
    over = threading.Event()

    def send(files: Files) -> None:
        while left and not over.is_set():  # after a timeout the checkpoint must not come to exist
            put(files, folder / left[0], f"{place.path}/{left[0]}")
            del left[0]

    try:
        ask(place, send, timeout_s)
    finally:
        over.set()


def fetch(url: str, folder: Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Copy a checkpoint from `url` to `folder`, completely or not at all.

    A bucket's server under load may deny a file that it has, or cut it short. A checkpoint in a
    bucket counts as damaged only if it is found so several times.

    Args:
        url: URL of the checkpoint in the store.
        folder: The target on this machine. An existing folder is replaced.
        timeout_s: Seconds until the store must respond, for each file.

    Raises:
        CorruptCheckpoint: The checkpoint or one of its files is missing, or a hash differs from the
            manifest.
    """
    place = ArtifactUrl.parse(url)
    for pause in PAUSES_S if place.folder is None else ():
        try:
            return _fetch(place, folder, timeout_s)
        except CorruptCheckpoint:
            time.sleep(pause)
    _fetch(place, folder, timeout_s)


def _fetch(place: ArtifactUrl, folder: Path, timeout_s: float) -> None:
    hashes = _manifest(place, timeout_s)

    def fetched(name: str) -> Callable[[Files], None]:
        return lambda files: get(files, f"{place.path}/{name}", partial / name)

    # The new folder gets its own manifest from the fetched files. It must equal the store's.
    with new_checkpoint(folder) as partial:
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
    """Return the URLs of all checkpoints at or below `url`, newest first."""
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
        return bool(info.is_file)

    return ask(place, look, timeout_s)


def sizes(url: str, *, timeout_s: float = TIMEOUT_S) -> dict[str, int]:
    """Return the size in bytes of each file below `url`, by its relative path."""
    return {name: info.size for info, name in list_files(ArtifactUrl.parse(url), timeout_s)}


def delete(url: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Delete everything below `url`, manifests first. It is no error if nothing exists.

    Raises:
        ConfigError: `url` is a whole store.
    """
    place = ArtifactUrl.parse(url)
    # A path in a bucket begins with the bucket's name, a path on this machine with a slash.
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

    `best` keeps the best weights, `last` keeps the last state and its optimiser.

    Raises:
        CorruptCheckpoint: The checkpoint is missing, or its manifest is invalid.
    """
    place = ArtifactUrl.parse(url)
    hashes = _manifest(place, timeout_s)
    kept = thinned(hashes, best=best, last=last)

    # The manifest is replaced first, so that it never names a file that is already deleted.
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
    """Return whether this module could have published the path. A store may hold other files."""
    return all(is_plain_name(part) and part[0] != "." for part in inside.split("/"))
