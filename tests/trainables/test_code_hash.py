"""Hashes of code that reach beyond this package: into plugins, their helpers and libraries."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainables import code_hash
from trainables.code_hash import code_version
from trainables.errors import PluginError

FIRST = "from beside_plugin import scale\nfrom a_plugin.inner import deep\nimport numpy\nx = 1\n"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a package with a module inside it, and a helper beside it."""
    package = tmp_path / "a_plugin"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import first\n")
    (package / "first.py").write_text(FIRST)
    (package / "named.py").write_text("only_by_name = 1\n")
    (package / "inner" / "__init__.py").write_text("from .deep import value\n")
    (package / "inner" / "deep.py").write_text("value = 1\n")
    (tmp_path / "beside_plugin.py").write_text("scale = 1  # one\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.startswith(("a_plugin", "beside_plugin"))]:
        del sys.modules[name]
    forget()


def forget() -> None:
    code_version.cache_clear()
    code_hash.is_followed.cache_clear()


def version(module: str = "a_plugin.first") -> str:
    forget()
    return code_version(module)


@pytest.mark.parametrize(
    "file", ["a_plugin/first.py", "a_plugin/inner/deep.py", "a_plugin/named.py", "beside_plugin.py"]
)
def test_every_module_that_a_plugin_brings_counts(plugin: Path, file: str):
    text = (plugin / file).read_text() + "def double(x):\n    return 2 * x\n"
    (plugin / file).write_text(text)
    before = version()
    for same in (
        f"# a remark\n{text}",
        f'"""A module."""\n{text}',
        text.replace("    return", '    """Doubles."""\n    return'),
        text.replace("\n", "\n\n\n").replace("2 * x", "2*x"),
    ):
        (plugin / file).write_text(same)
        assert version() == before, same
    (plugin / file).write_text(text.replace("2 * x", "22 * x"))
    assert version() != before


def test_a_module_that_is_not_python_is_told_with_its_line(plugin: Path):
    (plugin / "a_plugin" / "named.py").write_text("x = 1\ny = (\n")
    with pytest.raises(PluginError, match=r"a_plugin/named.py:2: '\(' was never closed"):
        version()


@pytest.mark.slow
def test_it_does_not_count_where_an_import_stands(plugin: Path):
    file, uses = plugin / "a_plugin" / "first.py", "def f():\n    {}return numpy.pi\n"
    file.write_text("import numpy\n\n" + uses.format(""))
    before = version()
    file.write_text(uses.format("import numpy\n    "))
    assert version() == before
    file.write_text(uses.format("import math as numpy\n    "))
    assert version() != before


@pytest.mark.slow
def test_a_library_counts_by_its_version(plugin: Path, monkeypatch: pytest.MonkeyPatch):
    before = version()
    former = code_hash.version
    monkeypatch.setattr(code_hash, "version", lambda name: former(name) + ".post1")
    code_hash.library_of.cache_clear()
    assert version() != before
    monkeypatch.undo()
    code_hash.library_of.cache_clear()


def test_of_this_package_the_libraries_do_not_count(monkeypatch: pytest.MonkeyPatch):
    before = version("trainables.stages.fine_tuning")
    monkeypatch.setattr(code_hash, "version", lambda name: "another")
    code_hash.library_of.cache_clear()
    assert version("trainables.stages.fine_tuning") == before
    code_hash.library_of.cache_clear()


@pytest.mark.slow
def test_code_is_hashed_without_torch(plugin: Path):
    (plugin / "a_plugin" / "heavy.py").write_text("from torch.nn import functional\n")
    (plugin / "a_plugin" / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(plugin)!r})\n"
        "from trainables.code_hash import code_version\n"
        "code_version('a_plugin.first')\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
