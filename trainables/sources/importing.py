"""Import of the official files of a source data set into the folder of its loader.

    <home>/proxies/<name>/                 the files, in the official layout
    <home>/proxies/<name>/imported.json    the hash of their content, and the notes of the import

The import copies the files to a scratch folder, loads them once as a trial does, and renames the
folder. The folder is therefore complete or absent.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainables.errors import ConfigError, DataError
from trainables.sources.conll2003 import SENTENCES
from trainables.sources.proxy import ImageProxy, Proxy, TokenProxy
from trainables.sources.registry import PROXIES, RECORD, load_proxy, proxy_faults, proxy_folder
from trainables.storage.atomic import clear_scratch, exclusive, put_in_place
from trainables.tasks.formats.archives import find_archives, is_archive, unpacked
from trainables.tasks.formats.files import md5_note
from trainables.tasks.importing import reading

LAYOUTS: Mapping[str, re.Pattern[str]] = MappingProxyType(  # the group is the path of the copy
    {
        "cifar10": re.compile(r"(?:^|/)(data_batch_[1-5]\.bin)$"),
        "conll2003": re.compile(r"(?:^|/)(train\.txt|eng\.train)$"),
        "tiny_imagenet": re.compile(r"(?:^|/)(train/n\d{8}/images/[^/]+\.JPEG)$"),
        "voc": re.compile(
            r"(?:^|/)(VOC2012/(?:ImageSets/Segmentation/train\.txt|JPEGImages/[^/]+\.jpg"
            r"|SegmentationClass/[^/]+\.png))$"
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class VerifiedProxy:
    """The result of reading every sample of a source."""

    samples: int
    classes: int
    content_hash: str
    notes: tuple[str, ...] = field(default=())


def import_proxy(name: str, files: Sequence[Path], home: Path, *, replace: bool = False) -> Path:
    """Import the official files of a source. Other files beside them are not opened.

    Args:
        name: Name of the source.
        files: Official files, archives or folders that hold them.
        home: SWEEPER_HOME.
        replace: Replace files that were imported earlier.

    Returns:
        The folder of the imported files.

    Raises:
        ConfigError: No source has this name, or the source is part of a package.
        DataError: A file is missing or damaged, or different files were imported earlier.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"{name}: there is nothing to import. {PROXIES[name].obtain}.")
    if absent := [str(path) for path in files if not path.exists()]:
        raise DataError(f"{', '.join(absent)}: there is no such file or folder.")
    folder = proxy_folder(name, home)
    # The scratch folder has the layout of `home`, so that the loader itself validates the copy.
    with exclusive(folder.with_name(f".{name}.lock")):
        clear_scratch(folder)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as scratch:
            aside = proxy_folder(name, Path(scratch))
            with reading(files):
                _gather(name, files, aside, Path(scratch))
                proxy = _load(name, Path(scratch), files)
                content_hash = proxy.content_hash
            notes = [note for path in files for note in _sum_notes(name, path)]
            notes += _count_notes(proxy)
            record = {"content_hash": content_hash, "notes": notes}
            (aside / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            # Former files are compared by their content, since a copy by hand has no record.
            if proxy_faults(name, home) is None and not replace:
                if load_proxy(name, home).content_hash == content_hash:
                    return folder
                raise DataError(
                    f"{folder}: other files are there. Delete them (sweeper data delete), or put "
                    "these in their place (sweeper data import --replace)."
                )
            put_in_place(aside, folder)
    return folder


def verify_proxy(name: str, home: Path) -> VerifiedProxy:
    """Read a source completely.

    Raises:
        ConfigError: No source has this name.
        DataError: The source is missing, damaged, or changed since the import.
    """
    proxy = load_proxy(name, home)
    path = proxy_folder(name, home) / RECORD
    record = _record(path)
    if record.get("content_hash", proxy.content_hash) != proxy.content_hash:
        raise DataError(
            f"{path.parent}: its content was altered since it was imported. Delete the folder, and "
            "import it again."
        )
    return VerifiedProxy(
        samples=len(proxy.images if isinstance(proxy, ImageProxy) else proxy.sentences),
        classes=_classes(proxy),
        content_hash=proxy.content_hash,
        notes=tuple(record.get("notes", ())),
    )


def _record(path: Path) -> dict[str, Any]:
    """Return the record of an import, or nothing if the files were copied by hand."""
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise DataError(f"{path}: it is damaged. Delete {path.parent}, and import it again.")
    return record


def _count_notes(proxy: Proxy) -> list[str]:
    """Return a note if a text has not its published length, since it has no published checksum."""
    if proxy.name != "conll2003" or not isinstance(proxy, TokenProxy):
        return []
    if (count := len(proxy.sentences)) == SENTENCES:
        return []
    return [f"conll2003: {count} sentences, but the official file has {SENTENCES}: cut short?"]


def _load(name: str, scratch: Path, files: Sequence[Path]) -> Proxy:
    """Load the gathered files. Name the user's files in errors, not the scratch folder."""
    try:
        return load_proxy(name, scratch)
    except DataError as error:
        where = ", ".join(map(str, files))
        raise DataError(str(error).replace(str(proxy_folder(name, scratch)), where)) from error


def _classes(proxy: Proxy) -> int:
    return int(proxy.labels.max()) + 1 if isinstance(proxy, ImageProxy) else len(proxy.classes)


def _gather(name: str, files: Sequence[Path], aside: Path, scratch: Path) -> None:
    """Copy the files that the loader reads to `aside`."""
    layout = LAYOUTS[name]
    archives = find_archives(files, PROXIES[name].files, layout)
    with unpacked(archives, scratch, layout) as folders:
        _put(folders, shutil.move, layout, aside)  # unpacked files are temporary
    others = [path for path in files if path not in archives and not is_archive(path)]
    _put(others, shutil.copyfile, layout, aside)
    if not aside.exists():
        where = ", ".join(map(str, files))
        raise DataError(f"{where}: no file of {PROXIES[name].title}. {PROXIES[name].obtain}.")


def _put(
    roots: Sequence[Path],
    put: Callable[[Path, Path], object],
    layout: re.Pattern[str],
    aside: Path,
) -> None:
    for file in (file for root in roots for file in _files(root)):
        # The pattern names folders above the file, which a relative path may lack.
        if found := layout.search(file.absolute().as_posix()):
            target = aside / found[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            put(file, target)


def _files(root: Path) -> Iterator[Path]:
    return (path for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file())


def _sum_notes(name: str, path: Path) -> list[str]:
    entry = PROXIES[name]
    published = entry.md5 and path.name == entry.files and path.is_file()
    return md5_note(path, entry.md5)[1] if published else []
