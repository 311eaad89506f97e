"""Distributions that are installed for one test: modules and metadata in a folder on `sys.path`."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from trainables import plugins
from trainables.code_hash import code_version


def write_distribution(
    folder: Path,
    name: str,
    entries: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str],
    *,
    version: str = "1.0",
) -> Path:
    """Write modules, and the metadata of a distribution that offers `entries`, into a folder.

    Args:
        entries: By group, then by name: the value of each entry point.
        modules: The texts of modules by name.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(
        "\n".join(
            line
            for group, named in entries.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in named.items()))
        )
    )
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a folder of distributions on `sys.path` for this test."""
    monkeypatch.syspath_prepend(folder)
    plugins.reread()


def restored(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[None]:
    """Forget, after a test, the plugins that it has activated, whose modules begin with `names`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("PYTHONPATH", "SWEEPER_PLUGIN_FOLDERS"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))
    yield
    monkeypatch.undo()
    for name in [n for n in sys.modules if n.startswith(names)]:
        del sys.modules[name]
    plugins.reread()
    code_version.cache_clear()
