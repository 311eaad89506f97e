"""Hashes of code: of modules with all that they import, within this package and in plugins.

They are hashes of syntax trees, so comments, docstrings and layout do not change them, nor does it
count where in a module an import stands. Importing this module loads no torch, and hashing code
runs none of it but the `__init__` of packages.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainables.errors import PluginError
from trainables.plugins import Offer

PACKAGE = "trainables"
SERVICE = "sweeper"  # its package
INSTALLED = ("site-packages", "dist-packages")
SHARED_CODE = ("trainables.models.cross_modal", "trainables.models.backbones.loading",
               "trainables.sources.source", "trainables.training.pseudo_labels",
               "trainables.tasks.store.store")  # fmt: skip
APART = (  # modules that compute no number of a trial; and bodies and sources, see science_code
    "errors", "plugins", "report", "spec", "storage", "models.backbones", "models.origin",
    "models.weights", "sources", "tasks.kinds", "tasks.task",
)  # fmt: skip
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # fields with statements
IMPORTS = (ast.Import, ast.ImportFrom)
SHORT = 12  # characters of the hash of one module


@cache
def code_version(*modules: str) -> str:
    """Return a hash of the code of `modules` and of all their imports.

    Modules of this package and of plugins are followed. A library that a plugin imports counts by
    its version. Of a plugin all modules count, since it may import some of them by name.
    """
    return hash_of(closure(modules))


def science_code(modules: Iterable[str]) -> dict[str, str]:
    """Return a short hash of each module that `modules` need and that computes numbers, by name.

    Of this package, modules that only name, describe, carry or store something are left out. So are
    the data and the pretrained weights, which have hashes of their own, and the code that reads
    bodies and sources: it grows with each new one, and tests hold the bits of those that are there.
    """
    found = closure((*sorted(set(modules)), *SHARED_CODE))
    apart = tuple(f"{PACKAGE}.{name}" for name in APART)
    return {
        name: text if _top(name) != PACKAGE and " " in text else text[:SHORT]
        for name, text in sorted(found.items())
        if not any(name == each or name.startswith(f"{each}.") for each in apart)
    }


def plugin_version(offers: Iterable[Offer]) -> str:
    """Return a hash of the code behind the offers of a plugin, without that of this package."""
    found = closure(sorted({each.module for each in offers}))
    return hash_of({name: text for name, text in found.items() if _top(name) != PACKAGE})


def closure(modules: Iterable[str]) -> dict[str, str]:
    """Return the hash of each module that `modules` need, by name, and versions of libraries."""
    owned = frozenset(map(_top, modules))
    plugins = sorted(owned - {PACKAGE})
    left = [*modules, *(module for top in plugins for module in _modules_of(top))]
    seen: dict[str, str] = {}
    while left:
        module = left.pop()
        if module in seen:
            continue
        if not is_followed(_top(module), owned):
            if (library := library_of(_top(module))) is not None:
                seen[_top(module)] = library
            continue
        file = _file(module)
        stat = file.stat()
        seen[module], found = read_module(file, stat.st_mtime_ns, stat.st_size, module, owned)
        # Libraries of this package itself are in the key of a trial by their versions.
        left += (name for name in found if _top(module) != PACKAGE or _top(name) == PACKAGE)
    return seen


@cache  # a command may ask for the code of many sweeps, which share most modules
def read_module(
    file: Path, modified: int, size: int, module: str, owned: frozenset[str]
) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module's code, and the modules that it imports.

    Args:
        file: The module's file.
        modified: When it was changed last, so that a changed file is read again.
        size: Likewise, its length in bytes.
        module: The name of the module.
        owned: Top-level packages whose modules are hashed by their code.
    """
    tree = parse_module(file)
    _drop_docstrings(tree)
    imports = _take_imports(tree)
    # Imports count wherever they stand: a slow one may move to where it is used.
    text = "\n".join((*sorted(set(map(ast.dump, imports))), ast.dump(tree)))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(_names(imports, module, owned))


def _top(module: str) -> str:
    return module.partition(".")[0]


@cache
def is_followed(top: str, owned: frozenset[str]) -> bool:
    """Return whether modules of a top-level package are hashed by their code.

    They are, if they belong to this package or to a plugin, or lie outside the folders of
    installed libraries.
    """
    if top == PACKAGE or top in owned:
        return True
    if top in sys.stdlib_module_names or top == SERVICE:  # the service counts by its version
        return False
    found = find_spec(top)
    # A compiled module has no source to hash, and counts by the version of its library.
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return False
    return not any(part in INSTALLED for part in Path(found.origin).parts)


@cache
def library_of(top: str) -> str | None:
    """Return the versions of the distributions that a top-level module is from."""
    if top in sys.stdlib_module_names:
        return None
    try:
        names = sorted(set(packages_distributions().get(top, ())))
        return ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError:
        return None


def _modules_of(top: str) -> Iterator[str]:
    """Yield all modules of a top-level package."""
    found = find_spec(top)
    if found is None:
        raise ModuleNotFoundError(top)
    for folder in map(Path, found.submodule_search_locations or ()):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((top, *(part for part in parts if part != "__init__")))


def _names(imports: Iterable[ast.stmt], module: str, owned: frozenset[str]) -> Iterator[str]:
    """Yield the modules that the imports of a module name."""
    for node in imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name != PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, module)
            if source == PACKAGE or not is_followed(_top(source), owned):
                yield source
                continue
            yield source
            # What is imported from a package may be a module of it, whose code counts, too.
            if _locate(source)[1]:
                names = (f"{source}.{alias.name}" for alias in node.names)
                yield from (name for name in names if _locate(name)[0])


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """Return the absolute name of the module that `from X import …` imports from."""
    if not node.level:
        return node.module or ""
    is_package = _locate(module)[1]
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _file(module: str) -> Path:
    path, _ = _locate(module)
    if path is None:
        raise ModuleNotFoundError(module)
    return path


def _locate(module: str) -> tuple[Path | None, bool]:
    """Return the file of a module, or None, and whether the module is a package.

    `find_spec` would import the parents of a module, and with some of this package torch.
    """
    if _top(module) == PACKAGE:
        for root in map(Path, sys.modules[PACKAGE].__path__):
            place = root.joinpath(*module.split(".")[1:])
            if (file := place / "__init__.py").is_file():
                return file, True
            if (file := place.with_name(f"{place.name}.py")).is_file():
                return file, False
        return None, False
    found = find_spec(module)
    if found is None or found.origin is None:
        return None, found is not None and found.submodule_search_locations is not None
    return Path(found.origin), found.submodule_search_locations is not None


def parse_module(file: Path) -> ast.Module:
    """Parse a module.

    Raises:
        PluginError: It is not valid Python.
    """
    try:
        return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except SyntaxError as error:
        raise PluginError(f"{file}:{error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise PluginError(f"{file}: {error}") from error


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a module or statement, and then all statements within it."""
    yield node
    for name in BLOCKS:
        for each in getattr(node, name, ()):
            yield from _statements(each)


def _take_imports(tree: ast.Module) -> list[ast.stmt]:
    """Take all imports out of a tree, and return them."""
    taken: list[ast.stmt] = []
    for node in _statements(tree):  # which looks into a block only after it has changed here
        for block in (getattr(node, name, []) for name in BLOCKS):
            taken += (each for each in block if isinstance(each, IMPORTS))
            block[:] = [each for each in block if not isinstance(each, IMPORTS)]
    return taken


def _drop_docstrings(tree: ast.Module) -> None:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                del node.body[0]


def hash_of(parts: Mapping[str, Any]) -> str:
    """Return the hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
