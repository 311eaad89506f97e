"""The folders of data, and their manifests: descriptions, and hashes that reveal changes.

    manifest.json    a description, shapes and types, and size, sha256 and samples of each file

`content_hash` is the hash of all other entries, and thereby of the data.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.errors import DataError
from trainables.storage.atomic import sha256_file, sync

__all__ = [
    "FOLDER",
    "MANIFEST",
    "SCHEMA_VERSION",
    "altered",
    "check_size",
    "content_hash",
    "data_folder",
    "folder_of",
    "read_manifest",
    "sha256",
    "write_manifest",
]

FOLDER = "official"  # of imported data
MANIFEST = "manifest.json"
SCHEMA_VERSION = 2


def data_folder(name: str, home: Path) -> Path:
    """Return the folder of all data sets of a task: generated ones, and the imported one."""
    return home / "data" / name


def folder_of(name: str, home: Path) -> Path:
    """Return the folder of the imported data of a task."""
    return data_folder(name, home) / FOLDER


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with its version and its hash, and flush it to the disk."""
    manifest = {**content, "schema_version": SCHEMA_VERSION}
    manifest["content_hash"] = content_hash(manifest)
    path = folder / MANIFEST
    with path.open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True, allow_nan=False)
    sync(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder.

    Raises:
        DataError: The manifest is missing or altered, or has another version.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, recorded = manifest["schema_version"], manifest["content_hash"]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no data set here. Generate it, or import it.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise altered(path, f"it is not a manifest ({error!r})") from error
    # The version comes before the hash: data of another version may be hashed otherwise, and are
    # not altered.
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version}, but this program reads {SCHEMA_VERSION}. "
            "Delete the folder, and the data are made anew."
        )
    if recorded != content_hash(manifest):
        raise altered(path, "its content does not have the hash that it states")
    return dict(manifest)


def content_hash(manifest: Mapping[str, Any]) -> str:
    """Return the hash of all other entries of a manifest."""
    content = {key: value for key, value in manifest.items() if key != "content_hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_size(path: Path, expected: int) -> None:
    """Check that a file has the size that the manifest states.

    Raises:
        DataError: The file is missing or has another size.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise altered(path, "it is missing") from None
    if size != expected:
        raise altered(path, f"it has {size} bytes, but the manifest says {expected}")


def altered(path: Path, reason: str) -> DataError:
    """Return the error for a file that was altered after it was written."""
    return DataError(
        f"{path}: {reason}. Delete {path.parent}, and the data are made anew (published ones: once "
        "they are imported again)."
    )


def sha256(path: Path) -> str:
    """Return the hash of a file. The hash of a folder covers the hashes and names of its files."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in inside]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return sha256_file(path)
