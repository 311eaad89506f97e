"""Task files (`*.task.yaml`), found by `include`, by `--include` and in SWEEPER_HOME/tasks.

A task file describes data of a user (`trainables/tasks/OWN_DATA.md`). It is read like a sweep file:
the same YAML, a line for each fault, and all faults at once. A sweep keeps the used definitions
under `task_files`, so that it needs no task file later.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sweeper.errors import FileFaults
from sweeper.spec.catalog import validated
from sweeper.spec.faults import Faults, shown
from sweeper.spec.node import Node, Place
from sweeper.spec.reader import parse, read_text
from sweeper.spec.rules.file import check_secrets
from sweeper.text import printable
from trainables.stages.configs import RefineConfig
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import BUILT_IN

INCLUDE = "include"
TASK_FILES = "task_files"
SUFFIX = ".task.yaml"
NEEDS = "a task file needs a name, a kind and an input."
OPTION = "--include"


@dataclass(frozen=True)
class TaskFile:
    """One definition of a task, and its file; None: it is part of a sweep."""

    definition: TaskDefinition
    place: Place  # of its name
    file: Path | None


class TaskFiles:
    """The task files of a command, by the task's name."""

    def __init__(self) -> None:
        self.found: dict[str, TaskFile] = {}
        self._faults = Faults()
        self._read: set[Path] = set()

    def stop(self) -> Mapping[str, TaskFile]:
        """Return the definitions.

        Raises:
            FileFaults: A file has a fault, or two files define the same task.
        """
        self._faults.stop()
        return self.found

    def add_included(self, document: Node) -> None:
        """Read the files and folders under `include` of a sweep file, relative to that file."""
        node = document.children().get(INCLUDE)
        if node is None or node.value is None:
            return
        items = node.value if isinstance(node.value, list) else [node]
        for item in items:
            if not isinstance(item.value, str) or not item.value:
                message = "must be paths of task files or of their folders, but got"
                self._faults.add(item, f"`{INCLUDE}` {message} {shown(item.plain())}.")
                continue
            self._add_path(Path(item.origin.where).parent / item.value, item.origin, item.value)

    def add_options(self, paths: Iterable[Path]) -> None:
        """Read the files and folders of `--include`."""
        for path in paths:
            self._add_path(path, Place(OPTION), str(path))

    def add_folder(self, folder: Path) -> None:
        """Read the task files of a folder, which need not exist."""
        for file in sorted(folder.glob(f"*{SUFFIX}")):
            self.add_file(file)

    def add_embedded(self, document: Node) -> None:
        """Read the definitions that a sweep has under `task_files`."""
        node = document.children().get(TASK_FILES)
        if node is None or node.value is None:
            return
        if not isinstance(node.value, dict):
            self._faults.add(node, f"`{TASK_FILES}` must map names of tasks to their definitions.")
            return
        for name, child in node.value.items():
            if not isinstance(child.value, dict):
                got = shown(child.plain())
                self._faults.add(child, f"`{TASK_FILES}`: `{printable(name)}` must be a mapping of "
                                 f"the keys of a task file, but got {got}.")  # fmt: skip
                continue
            tree = Node({"name": Node(name, child.origin), **child.value}, child.origin)
            self._add(tree, None)

    def add_file(self, file: Path) -> str | None:
        """Read a task file, and return the name of its task; None after a fault."""
        try:
            path = file.resolve()
            # An option, `include` and the folder of tasks may name the same file.
            if path in self._read:
                return next((n for n, known in self.found.items() if known.file == path), None)
            self._read.add(path)
            tree = parse(read_text(file), str(file), needs=NEEDS)
        except FileFaults as error:
            for fault in error.faults:
                self._faults.add(Place(fault.where, fault.line), fault.message)
            return None
        except (OSError, RuntimeError) as error:  # a loop of links
            self._faults.add(Place(str(file)), f"cannot be read: {error}.")
            return None
        return self._add(tree, path)

    def _add_path(self, path: Path, place: Place, given: str) -> None:
        label = f"`{INCLUDE}: {printable(given)}`"
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except (OSError, ValueError) as error:  # too long a name, a zero byte
            self._faults.add(place, f"{label}: cannot be read: {error}.")
            return
        if not exists:
            self._faults.add(place, f"{label}: there is no such file or folder.")
        elif not is_folder:
            self.add_file(path)
        elif not any(path.glob(f"*{SUFFIX}")):
            self._faults.add(place, f"{label}: no file *{SUFFIX} is in this folder.")
        else:
            self.add_folder(path)

    def _add(self, tree: Node, file: Path | None) -> str | None:
        """Add the definition of a tree, unless it has a fault; return its name."""
        # Faults find their lines in the file that is being read.
        self._faults.tree = tree
        check_secrets(self._faults)
        definition = None
        try:
            definition = TaskDefinition.model_validate(tree.plain())
            validated(RefineConfig, definition.recipe)
        except ValidationError as error:
            if definition is None:
                self._faults.explain(error, (), TaskDefinition)
            else:
                self._faults.explain(error, ("recipe",), RefineConfig)
            return None
        name, place = definition.name, tree.at(["name"]).origin
        benchmark = name.partition("/")[0]
        if benchmark in BUILT_IN:
            message = f"`name: {name}`: `{benchmark}` has the tasks of a benchmark of this package."
            self._faults.add(place, f"{message} Choose another first part.")
            return None
        known = self.found.get(name)
        # A sweep that was sent or resumed has the definition itself, and may meet its file again.
        is_same = known is not None and known.definition == definition
        if known is not None and not (is_same and None in (known.file, file)):
            where = f"{known.place.where}:{known.place.line}"
            self._faults.add(place, f"`name: {name}`: this task is defined at {where} too. Rename "
                             "or remove one of them.")  # fmt: skip
            return None
        if known is None or file is not None:
            self.found[name] = TaskFile(definition, place, file)
        return name
