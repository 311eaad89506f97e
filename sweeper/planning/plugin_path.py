"""Plugins from a path: `--plugin PATH`, for development without an installation.

PATH is a folder with a pyproject.toml that has entry points, or one Python file. A file declares
its objects at its top level, by name: `METHODS = {"mine": MINE}`; likewise the other names in
`DECLARED`. The names are read, and no code is run.

The code is copied into SWEEPER_HOME/cache/plugins, under the hash of its content, and put on the
import path of this process and of all that it starts. So a running sweep keeps the code with which
it began, whatever is edited meanwhile. Each process that uses a copy holds a shared lock on its
folder, so that `sweeper gc` knows which ones are in use.
"""

import ast
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from sweeper.errors import UsageError
from sweeper.text import JsonObject, printable
from trainables.plugins import GROUPS, NOTE, Offer, reread
from trainables.storage.atomic import new_folder

COPIES = "cache/plugins"  # in SWEEPER_HOME
DECLARED = {  # name at the top level of a file -> group
    "METHODS": "sweeper.methods",
    "BENCHMARKS": "sweeper.tasks",
    "BACKBONES": "sweeper.backbones",
    "SOURCES": "sweeper.sources",
    "METRICS": "sweeper.metrics",
    "PREDICTORS": "sweeper.predictors",
    "DISTANCES": "sweeper.distances",
    "SAMPLERS": "sweeper.samplers",
    "PRUNERS": "sweeper.pruners",
}
MAX_BYTES = 64 * 2**20
MAX_MAKING_S = 3600.0  # that a copy may take to be made or deleted
PLUGIN_FOLDERS = "SWEEPER_PLUGIN_FOLDERS"  # the copies that this process and its children import

HELD: dict[Path, int] = {}  # descriptors of the copies that this process uses

Entries = Mapping[str, Mapping[str, str]]  # by group, then by name: the value of an entry point


@dataclass(frozen=True, kw_only=True)
class _Plugin:
    """The plugin that a path holds."""

    name: str  # of the distribution
    version: str
    entries: Entries
    modules: tuple[Path, ...]  # top-level packages and modules


def activate(path: Path, home: Path) -> None:
    """Make the plugin at a path importable, by this process and by those that it starts.

    Raises:
        UsageError: There is no plugin at the path. The message says what is wrong.
    """
    where = f"--plugin {printable(str(path))}"
    try:
        path = path.expanduser().resolve()
    except RuntimeError as error:  # `~USER` without such a user
        raise UsageError(f"{where}: {error}") from error
    plugin = _read(path, where)
    while not _hold(copy := _copy(plugin, path, home, where)):
        continue  # it was deleted meanwhile
    folder = str(copy)
    # A parent process may have passed the copy on.
    if folder in sys.path:
        return
    former = {str(each) for each in _folders() if _path_in(each) == str(path)}
    sys.path[:] = [folder, *(each for each in sys.path if each not in former)]
    # By PYTHONPATH child processes import the copy; the other variable tells it from the user's own
    # folders.
    for variable in ("PYTHONPATH", PLUGIN_FOLDERS):
        others = [each for each in os.environ.get(variable, "").split(os.pathsep) if each]
        kept = [each for each in others if each not in former]
        os.environ[variable] = os.pathsep.join([folder, *kept])
    # In a notebook the plugin may have been edited since it was imported.
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        if any(file.is_relative_to(each) for each in former):
            del sys.modules[name]
    reread()


def active() -> list[Path]:
    """Return the parts of all active plugins: folders of packages, and of metadata."""
    return [part for each in _folders() for part in sorted(each.iterdir()) if part.is_dir()]


def active_paths() -> list[str]:
    """Return the paths by which the user has named the active plugins."""
    return [path for folder in _folders() if (path := _path_in(folder)) is not None]


def _path_in(copy: Path) -> str | None:
    """Return the path by which the user has named the plugin that was copied; None if unknown."""
    notes = (note.read_text(encoding="utf-8") for note in copy.glob(f"*/{NOTE}"))
    return _path_of_note(next(notes, None))


def _path_of_note(text: str | None) -> str | None:
    return None if text is None else str(json.loads(text)["path"])


def _folders() -> list[Path]:
    named = os.environ.get(PLUGIN_FOLDERS, "").split(os.pathsep)
    return [Path(each) for each in named if each]


def hold_active() -> None:
    """Keep the active plugins from being deleted while this process lives."""
    for folder in _folders():
        _hold(folder)


def _hold(folder: Path) -> bool:
    """Lock a copy against deletion, and return whether it is there."""
    if folder in HELD:
        return True
    try:
        held = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    with suppress(OSError):  # not every file system has locks; then no copy is deleted
        fcntl.flock(held, fcntl.LOCK_SH)
    # Between open and lock the folder may have been deleted, and made again under the same name:
    # then this lock protects nothing.
    if not folder.exists() or not os.path.samestat(os.fstat(held), folder.stat()):
        os.close(held)
        return False
    HELD[folder] = held
    return True


def delete_copies(home: Path, kept: Collection[str], *, dry_run: bool) -> dict[Path, int]:
    """Delete the copies of plugins that no process uses, and return them with their bytes.

    Args:
        home: SWEEPER_HOME.
        kept: Names of copies that stay, too.
        dry_run: Delete nothing, and return what would be deleted.
    """
    found: dict[Path, int] = {}
    for folder in sorted((home / COPIES).glob("*/")):
        # A hidden folder is what is left of a copy whose making, or deletion, was cut off.
        is_young = time.time() - folder.stat().st_mtime < MAX_MAKING_S
        if folder.name in kept or (folder.name.startswith(".") and is_young):
            continue
        held = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # it is in use, or cannot be deleted
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
            # A rename takes the copy away at once. Deleted in place, another launch could import
            # half of it.
            if not dry_run:
                gone = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
                shutil.rmtree(folder.rename(gone))
            found[folder] = size
        os.close(held)
    return found


def copy_of(offer: Offer) -> str | None:
    """Return the name of the copy that an offer's plugin is; None if it is installed."""
    text = offer.read_text(NOTE)
    notes = ((folder, note) for folder in _folders() for note in folder.glob(f"*/{NOTE}"))
    return next((folder.name for folder, note in notes if note.read_text() == text), None)


def path_of(offer: Offer) -> str | None:
    """Return the path that an offer's plugin was named by; None if it is installed."""
    return _path_of_note(offer.read_text(NOTE))


def _read(path: Path, where: str) -> _Plugin:
    if path.is_file() and path.suffix == ".py":
        return _read_file(path, where)
    if (path / "pyproject.toml").is_file():
        return _read_folder(path, where)
    if not path.exists():
        raise UsageError(f"{where}: there is no such file or folder.")
    raise UsageError(
        f"{where}: neither a Python file nor a folder with a pyproject.toml that has entry points."
    )


def _read_file(path: Path, where: str) -> _Plugin:
    """Read the names that a file declares."""
    if not path.stem.isidentifier():
        raise UsageError(f"{where}: `{path.stem}` is no name of a module: rename the file.")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error
    entries: dict[str, dict[str, str]] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in DECLARED:
                names = _keys(getattr(node, "value", None))
                if names is None:
                    raise UsageError(
                        f"{path}:{node.lineno}: `{target.id}` has to be a mapping whose keys are "
                        f'written out, such as {target.id} = {{"mine": MINE}}: names are read '
                        "without running the file."
                    )
                value = f"{path.stem}:{target.id}"
                entries[DECLARED[target.id]] = dict.fromkeys(names, value)
    if not any(entries.values()):
        raise UsageError(
            f'{where}: the file declares nothing. Write METHODS = {{"mine": MINE}} at its top '
            f"level; likewise {', '.join(list(DECLARED)[1:])}."
        )
    return _Plugin(name=path.stem, version="0", entries=entries, modules=(path,))


def _unreadable(file: Path, error: SyntaxError | ValueError) -> UsageError:
    """Return the error for a file that is no Python."""
    if isinstance(error, SyntaxError):
        return UsageError(f"{file}:{error.lineno}: {error.msg}")
    return UsageError(f"{file}: {error}")


def _keys(node: ast.AST | None) -> list[str] | None:
    """Return the keys of a mapping that is written out, or None."""
    if not isinstance(node, ast.Dict):
        return None
    keys = [each.value for each in node.keys if isinstance(each, ast.Constant)]
    names = [key for key in keys if isinstance(key, str)]
    return names if len(names) == len(node.keys) else None


def _read_folder(folder: Path, where: str) -> _Plugin:
    """Read the entry points of a project's pyproject.toml."""
    file = folder / "pyproject.toml"
    try:
        project: JsonObject = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        name, groups = str(project["name"]), project.get("entry-points", {})
        found = {g: {str(n): str(v) for n, v in e.items()} for g, e in groups.items()}
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise UsageError(f"{file}: no project that can be read: {error!r}") from error
    entries = {group: named for group, named in found.items() if group in GROUPS}
    if not entries:
        known = ", ".join(f'[project.entry-points."{group}"]' for group in list(GROUPS)[:2])
        raise UsageError(f"{file}: no entry points of a group of sweeper, such as {known}.")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise UsageError(f"{file}: `{printable(name)}` is no name of a distribution.")
    values = (value for named in entries.values() for value in named.values())
    # An entry point may name a submodule, `mine.parts:METHOD`. What is copied are whole top-level
    # packages.
    tops = dict.fromkeys(value.partition(":")[0].partition(".")[0].strip() for value in values)
    modules = tuple(_find(folder, top, file) for top in tops)
    version = str(project.get("version", "0"))
    return _Plugin(name=name, version=version, entries=entries, modules=modules)


def _find(folder: Path, top: str, file: Path) -> Path:
    for base in (folder, folder / "src"):
        if (base / top / "__init__.py").is_file():
            return base / top
        if (base / f"{top}.py").is_file():
            return base / f"{top}.py"
    raise UsageError(f"{file}: an entry point names `{top}`, which is neither in {folder} nor src.")


def _copy(plugin: _Plugin, path: Path, home: Path, where: str) -> Path:
    """Copy a plugin with metadata into SWEEPER_HOME, unless it is there, and return the folder."""
    files = list(_files(plugin.modules))
    size = sum(source.stat().st_size for source, _ in files)
    if size > MAX_BYTES:
        raise UsageError(f"{where}: its packages take {size >> 20} MiB: keep data outside of them.")
    for module in plugin.modules:
        _check_free(module, where)
    # The note is part of the hash, so that equal code from two paths has two copies, each with its
    # own path.
    note = json.dumps({"path": str(path), "sources": {to: str(source) for source, to in files}})
    digest = hashlib.sha256(f"{note}\0{plugin}".encode())
    for source, target in files:
        content = source.read_bytes()
        if source.suffix == ".py":
            try:
                # Otherwise a syntax error would show only where a trial imports the module.
                ast.parse(content)
            except (SyntaxError, ValueError) as error:
                raise _unreadable(source, error) from error
        digest.update(target.encode() + b"\0" + content + b"\0")
    # In the name of a .dist-info folder a hyphen separates name and version.
    named = re.sub(r"[-_.]+", "_", plugin.name)
    folder = home / COPIES / f"{named}-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    with new_folder(folder) as scratch:
        for source, target in files:
            (scratch / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, scratch / target)
        info = scratch / f"{named}-{plugin.version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {plugin.name}\nVersion: {plugin.version}\n"
        (info / "METADATA").write_text(text, encoding="utf-8")
        (info / "entry_points.txt").write_text(_as_ini(plugin.entries), encoding="utf-8")
        (info / NOTE).write_text(note, encoding="utf-8")
    return folder


def _files(modules: Iterable[Path]) -> Iterable[tuple[Path, str]]:
    """Yield the files to copy, and their places. A lone module becomes a package of its name.

    Ray sends folders to its nodes, and no lone modules.
    """
    for module in modules:
        if module.is_file():
            yield module, f"{module.stem}/__init__.py"
            continue
        for file in sorted(module.rglob("*")):
            parts = file.relative_to(module.parent).parts
            # Bytecode and hidden files are no code, and would change the hash of the copy.
            if file.is_file() and not any(p == "__pycache__" or p.startswith(".") for p in parts):
                yield file, "/".join(parts)


def _check_free(module: Path, where: str) -> None:
    """Check that a plugin's module hides no other one."""
    if module.stem in sys.stdlib_module_names or module.stem in ("sweeper", "trainables"):
        raise UsageError(f"{where}: a module `{module.stem}` would hide another one: rename it.")
    found = find_spec(module.stem)
    if found is None:
        return
    # Folders without an __init__.py are a package of no file, also one that the plugin lies in.
    is_file, places = found.origin is not None, found.submodule_search_locations or []
    for place in map(Path, [found.origin] if found.origin else places):
        origin = place.resolve()
        # The plugin may be importable already: from its own folder, or as a copy of before.
        is_own = module in (origin, origin.parent) if is_file else module.is_relative_to(origin)
        if not is_own and origin.parent.parent.parent.name != "plugins":
            raise UsageError(
                f"{where}: its module `{module.stem}` would hide that of {origin}: rename it."
            )


def _as_ini(entries: Entries) -> str:
    lines: list[str] = []
    for group, named in entries.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items()), ""]
    return "\n".join(lines)
