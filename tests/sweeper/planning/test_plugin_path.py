"""Plugins from a path: what is read, copied and refused, and what a sweep records of them."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from sweeper.commands.upkeep import gc
from sweeper.errors import UsageError
from sweeper.ledger import SweepRecord
from sweeper.planning import plugin_path, resuming
from sweeper.planning.catalog import catalog
from sweeper.planning.plugin_path import activate, active
from sweeper.planning.plugins import (
    PLUGINS,
    changes,
    check_installed,
    copies_of,
    plugins_in,
    record_of,
)
from sweeper.planning.sweep_folder import folder_of, open_ledger
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.support import trials
from tests.support.plugins import restored
from trainables import plugins
from trainables.code_hash import code_version
from trainables.methods.registry import METHODS

FILE = """
from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

SHOWN = Method(name="shown", title="S", citation="", stages={"refine": RefineConfig}, control={})
METHODS = {"shown": SHOWN}
"""
PROJECT = """
[project]
name = "shown-plugin"
version = "0.3"
[project.entry-points."sweeper.methods"]
shown = "shown_plugin.method:SHOWN"
"""
SWEEP = """
name: s
methods: [shown, nft]
tasks: [pdebench/advection_1d]
backbones: {1d: roberta_base}
parameters: {refine.lr: {min: 1.0e-5, max: 1.0e-2, distribution: log_uniform_values}}
"""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from restored(monkeypatch, "shown_plugin")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "shown_plugin.py"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def read() -> Sweep:
    return loads_sweep(SWEEP, catalog())


def record(sweep: Sweep) -> SweepRecord:
    return trials.record(resolved=sweep.resolved, provenance=record_of(sweep))


def test_a_file_is_copied_and_found_by_this_process_and_its_children(file, home):
    activate(file, home)
    assert METHODS["shown"].title == "S"
    folder = Path(sys.path[0])
    assert folder.parent == home / "cache" / "plugins"
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(folder)
    assert {part.name for part in active()} == {"shown_plugin", "shown_plugin-0.dist-info"}
    activate(file, home)
    assert sys.path.count(str(folder)) == 1


def test_a_plugin_that_was_edited_replaces_its_former_copy_in_this_process(file, home):
    activate(file, home)
    former, before = Path(sys.path[0]), METHODS["shown"].title
    file.write_text(file.read_text().replace(f'"{before}"', '"Edited"'))
    activate(file, home)
    assert METHODS["shown"].title == "Edited"
    assert str(former) not in [*sys.path, *os.environ["PYTHONPATH"].split(os.pathsep)]
    assert plugin_path.active_paths() == [str(file)]


@pytest.mark.parametrize("place", ["src/shown_plugin", "shown_plugin"])
def test_a_folder_with_entry_points_needs_no_installation(tmp_path, home, place):
    package = tmp_path / "project" / place
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "method.py").write_text(FILE)
    (tmp_path / "project" / "pyproject.toml").write_text(PROJECT)
    activate(tmp_path / "project", home)
    assert METHODS.offer("shown").origin == "shown-plugin 0.3"
    assert METHODS["shown"].title == "S"
    (package / "other.py").write_text("\ndef f(:\n")
    with pytest.raises(UsageError, match=rf"{package / 'other.py'}:2: invalid syntax$"):
        activate(tmp_path / "project", home)


def test_a_plugin_may_have_the_name_of_the_folder_that_it_lies_in(tmp_path, home, monkeypatch):
    package = tmp_path / "shown_plugin" / "shown_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "method.py").write_text(FILE)
    (tmp_path / "shown_plugin" / "pyproject.toml").write_text(PROJECT)
    monkeypatch.syspath_prepend(tmp_path)  # as of a script beside the folder
    activate(tmp_path / "shown_plugin", home)
    assert METHODS["shown"].title == "S"


def test_a_plugin_must_not_hide_a_package_without_a_file(file, home, tmp_path, monkeypatch):
    (tmp_path / "library" / "shown_plugin").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "library")
    with pytest.raises(UsageError, match=r"would hide that of .*/library/shown_plugin"):
        activate(file, home)


def test_a_fault_names_the_users_file_and_not_the_copy(file, home):
    file.write_text(f"1 / 0{FILE}")
    activate(file, home)
    with pytest.raises(UsageError, match=rf"sweep.yaml:3: method `shown`.*by zero \({file}:1\)$"):
        read()


def test_a_failure_names_the_users_file_too(file, home):
    """Reasons that a predictor cannot apply, and faults within pydantic's, have texts alone."""
    file.write_text(f"{FILE}\ndef fail():\n    1 / 0\n")
    activate(file, home)
    with pytest.raises(ZeroDivisionError) as caught:
        import_module("shown_plugin").fail()
    assert plugins.cause_of(caught.value).endswith(f"({file}:9)")


def test_a_sweep_records_its_plugins_and_one_without_them_nothing(file, home):
    activate(file, home)
    (plugin,) = plugins_in(read().studies)
    assert (plugin.distribution, plugin.version) == ("shown_plugin", "0")
    assert plugin.objects == ("sweeper.methods:shown",)
    assert plugin.path == str(file)
    assert len(plugin.code) == 64
    assert record(read()).plugins == (f"shown_plugin 0 {plugin.code[:12]}",)
    without = loads_sweep(SWEEP.replace("[shown, nft]", "[nft]"), catalog())
    assert record_of(without) == {}


def test_a_resume_needs_the_plugin_and_a_model_only_that_of_its_study(file, home, monkeypatch):
    activate(file, home)
    recorded = record(read())
    check_installed(recorded)
    monkeypatch.undo()
    plugins.reread()
    with pytest.raises(UsageError, match=f"sweeper resume s --plugin {file}"):
        resuming.from_record(recorded)
    check_installed(recorded, "nft/pdebench/advection_1d")
    with pytest.raises(UsageError, match=f"uses method `shown` of the plugin {file}"):
        check_installed(recorded, "shown/pdebench/advection_1d/refine.freeze=body")


def test_a_resume_with_other_code_says_so(file, home):
    activate(file, home)
    before = record_of(read())
    assert changes(before, record_of(read())) == []
    for more in ("# a remark", "OTHER = 1"):
        file.write_text(f"{FILE}\n{more}\n")
        sys.modules.pop("shown_plugin", None)
        code_version.cache_clear()
        activate(file, home)
        changed = changes(before, record_of(read()))
        assert bool(changed) == (more == "OTHER = 1")
    (line,) = changed
    assert "the code of plugin shown_plugin is another one than before" in line
    assert before[PLUGINS][0]["code"][:12] in line


def test_gc_deletes_the_copies_that_no_process_and_no_sweep_uses(file, home, here):
    activate(file, home)
    copy = Path(sys.path[0])
    assert copies_of(record(read())) == {copy.name}
    assert collected() == ()  # this process uses it
    os.close(plugin_path.HELD.pop(copy))
    with closing(open_ledger(folder_of("s"))) as ledger:
        ledger.create(record(read()))
    assert collected() == ()  # the sweep ran with it
    shutil.rmtree(folder_of("s"))
    assert collected(dry_run=True) == (copy,)
    assert copy.is_dir()
    (cut := copy.with_name(".left-123.partial")).mkdir()
    (cut / "module.py").write_text(FILE)
    assert collected() == (copy,)
    os.utime(cut, (0, 0))  # its process died long ago
    assert collected() == (cut,)
    assert list(copy.parent.iterdir()) == []
    activate(file, home)
    assert copy.is_dir()


def collected(*, dry_run: bool = False) -> tuple[Path, ...]:
    found = gc.collect_garbage(None, None, force=False, dry_run=dry_run)
    assert ("unused copies of plugins" in found.message) == bool(found.plugins)
    assert (found.plugin_bytes > 0) == bool(found.plugins)
    return found.plugins


def test_a_user_that_does_not_exist_is_told(home):
    with pytest.raises(UsageError, match=r"~nobody-here/p.py.*: Could not determine home"):
        activate(Path("~nobody-here/p.py"), home)


@pytest.mark.parametrize("key", ["plugin: mine", "plugins: [mine]"])
def test_a_sweep_file_names_no_plugin(key):
    with pytest.raises(UsageError, match=r":7: unknown key `plugins?`.*--plugin PATH"):
        loads_sweep(SWEEP + key, catalog())


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("gone.py", None, "there is no such file or folder"),
        ("with-dash.py", FILE, "`with-dash` is no name of a module"),
        ("json.py", FILE, "`json` would hide another one"),
        ("trainables.py", FILE, "would hide another one"),
        ("pytest.py", FILE, "would hide that of .*pytest/__init__.py"),
        ("a.py", "\nx = (", r"given/a.py:2: '\(' was never closed$"),
        ("a.py", "x = 1", "the file declares nothing"),
        ("a.py", "METHODS = {}", "the file declares nothing"),
        ("a.py", "\nMETHODS = make()", r"a.py:2: `METHODS` has to be a mapping"),
        ("a.py", "METHODS = {name: 1}", r"a.py:1: `METHODS` has to be a mapping"),
        ("pyproject.toml", "[project", "no project that can be read"),
        ("pyproject.toml", "[tool.x]", "no project that can be read"),
        ("pyproject.toml", '[project]\nname = "x"', "no entry points of a group of sweeper"),
        ("pyproject.toml", PROJECT, "names `shown_plugin`, which is neither in"),
        ("pyproject.toml", PROJECT.replace("shown-plugin", "../x"), "no name of a distribution"),
        ("README.md", "", "neither a Python file nor a folder"),
    ],
)
def test_what_is_no_plugin_is_refused(tmp_path, home, name, text, fault):
    folder = tmp_path / "given"
    folder.mkdir()
    if text is not None:
        (folder / name).write_text(text)
    before = list(sys.path)
    with pytest.raises(UsageError, match=fault):
        activate(folder if name == "pyproject.toml" else folder / name, home)
    assert sys.path == before
    assert not home.exists()
