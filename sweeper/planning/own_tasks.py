"""Own tasks in this process: found in task files, or read from a sweep, and registered.

Registered tasks are known to `trainables.tasks.registry`, as those of the package are. The last
definition of a name holds, because a file may change while a process lives.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from sweeper.errors import Fault, FileFaults
from sweeper.planning.catalog import home
from sweeper.spec.node import Node
from sweeper.spec.reader import parse, read_text
from sweeper.spec.schema import OWN_TASK
from sweeper.spec.task_files import INCLUDE, OPTION, TASK_FILES, TaskFile, TaskFiles
from sweeper.text import JsonObject
from trainables.errors import DataError, TaskDataError
from trainables.tasks.own.benchmark import OWN, in_command, own_benchmark, recorded_file
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import TASKS, own_benchmark_of, register
from trainables.tasks.store.manifest import FOLDER, MANIFEST, folder_of, read_manifest

TASKS_FOLDER = "tasks"  # in SWEEPER_HOME


def find(include: Iterable[Path] = (), document: Node | None = None) -> dict[str, TaskDefinition]:
    """Find and register all own tasks: of a sweep file, of options, and of SWEEPER_HOME/tasks.

    Args:
        include: Files or folders of the option --include.
        document: A sweep file that was read, with its keys `include` and `task_files`.

    Returns:
        The definitions by name.

    Raises:
        FileFaults: A task file has a fault, or two files define the same task.
    """
    files = TaskFiles()
    if document is not None:
        files.add_embedded(document)
        files.add_included(document)
    files.add_options(include)
    files.add_folder(home() / TASKS_FOLDER)
    return _registered(files.stop())


def read_one(path: Path, include: Iterable[Path] = ()) -> str:
    """Read and register the task of one file, and those that `find` finds; return its name.

    Raises:
        FileFaults: A task file has a fault, or two files define the same task.
    """
    files = TaskFiles()
    name = files.add_file(path)
    files.add_options(include)
    files.add_folder(home() / TASKS_FOLDER)
    _registered(files.stop())
    assert name is not None  # else there is a fault
    return name


def find_stored() -> None:
    """Register own tasks whose data were imported and whose task files are not known here."""
    found: dict[str, TaskDefinition] = {}
    for path in sorted((home() / "data").glob(f"[!.]*/[!.]*/{FOLDER}/{MANIFEST}")):
        # The path ends with BENCHMARK/NAME/official/manifest.json.
        name = "/".join(path.parts[-4:-2])
        if name in TASKS:
            continue
        with suppress(DataError, KeyError, TypeError, ValueError):  # another command reports it
            definition = read_manifest(path.parent)[OWN]["definition"]
            found[name] = TaskDefinition.model_validate(definition)
    use(found)


def change_since_import(name: str) -> str | None:
    """Return a remark if the task file of imported data has changed since the import, or None.

    A task whose file the command has read itself has no remark: other data are refused there.
    """
    own = own_benchmark_of(name)
    if own is None or name in own.files or (file := recorded_file(name, home())) is None:
        return None
    again = f"To import it again: {own.way_to_replace(name)}"
    try:
        now = TaskDefinition.model_validate(parse(read_text(file), str(file)).plain())
    except (FileFaults, ValidationError):
        return f"its task file {file} has changed since the import, and has a fault now. {again}"
    if now.name == name and now.data_hash == own.definitions[name].data_hash:
        return None
    return f"its task file {file} has changed since the import. {again}"


def imported_elsewhere(name: str) -> str | None:
    """Return how to name the task file of an unknown task whose data are imported, or None."""
    if not re.fullmatch(OWN_TASK, name) or not (folder_of(name, home()) / MANIFEST).is_file():
        return None
    path = in_command(recorded_file(name, home()))
    return (
        f"its data are imported, but its task file is not included. Write `{INCLUDE}: [{path}]`, "
        f"or add {OPTION} {path} to the command."
    )


def fault_of(file: Path, error: TaskDataError) -> FileFaults:
    """Return the fault of data that do not fit a key of a task file, with the line of the key."""
    line = parse(read_text(file), str(file)).at(error.key).origin.line if error.key else None
    return FileFaults([Fault(str(file), line, str(error))])


def of_resolved(resolved: JsonObject, *, name: str) -> dict[str, TaskDefinition]:
    """Return the own tasks of a sweep's resolved form, without registering them.

    Args:
        resolved: The resolved form.
        name: Name of the sweep, for messages.

    Raises:
        FileFaults: A definition is not valid.
    """
    if not (embedded := resolved.get(TASK_FILES)):
        return {}
    files = TaskFiles()
    # A definition in a ledger is read as one in a file is, with the same checks.
    text = json.dumps({TASK_FILES: embedded}, ensure_ascii=False)
    files.add_embedded(parse(text, f"sweeps/{name}"))
    return {task: each.definition for task, each in files.stop().items()}


def use(definitions: Mapping[str, TaskDefinition], files: Mapping[str, Path] | None = None) -> None:
    """Register own tasks, with their files where these are known."""
    benchmarks: dict[str, list[TaskDefinition]] = {}
    for definition in definitions.values():
        benchmarks.setdefault(definition.benchmark, []).append(definition)
    for found in benchmarks.values():
        known = {each.name: files[each.name] for each in found if files and each.name in files}
        register(own_benchmark(found, home(), known), replace=True)


def _registered(found: Mapping[str, TaskFile]) -> dict[str, TaskDefinition]:
    definitions = {name: each.definition for name, each in found.items()}
    use(definitions, {name: each.file for name, each in found.items() if each.file is not None})
    return definitions
