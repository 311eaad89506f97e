"""A training program of a user as a method with one stage, on tasks that are its metric and data.

So a program has all that methods have: search, pruning, budgets, retries, results. Only a worker
knows the difference (`runtime/programs/`). This module imports nothing of the program.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, create_model

from trainables.methods.method import Method, Network
from trainables.spec import MAX_STEPS, ProgramSpec
from trainables.stages.stage import StageConfig
from trainables.tasks.benchmark import Benchmark
from trainables.tasks.registry import REGISTERED, register
from trainables.tasks.task import TaskInfo

STAGE = "run"
BENCHMARK = "program"
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")  # in the words of a command
SEED, FOLDER, DATA = "seed", "folder", "data"  # placeholders of what belongs to the trial
RUN = "trainables.runtime.programs.run:ProgramRun"
SENT = "sweeper-programs"  # folder on the import path of a job, with folders of programs


@dataclass(frozen=True, kw_only=True)
class ProgramMethod(Method):
    """A method whose only stage is a program of a user."""

    program: ProgramSpec


class ProgramConfig(StageConfig):
    """Settings of a program: the number of its reports, and its own parameters."""

    implementation: ClassVar[str] = RUN
    reports_objective: ClassVar[bool] = True
    needs_backbone: ClassVar[bool] = False

    epochs: int = Field(MAX_STEPS, ge=1, le=MAX_STEPS, description="Reports of a trial, at most.")


def program_of(method: Method) -> ProgramSpec | None:
    """Return the program that a method runs; None: it has stages of this package."""
    return method.program if isinstance(method, ProgramMethod) else None


def name_of(function: str | None, command: Sequence[str]) -> str:
    """Return the name of a function, or of a command's script without its ending."""
    if function is not None:
        return function.rpartition(":")[2]
    # The first word is an interpreter as a rule, and the script after it has an ending.
    scripts = [word for word in command[1:] if re.search(r"\w\.\w+$", word)]
    return Path(next(iter(scripts), command[0])).name.partition(".")[0]


def method_of(program: ProgramSpec, parameters: Iterable[str]) -> Method:
    """Return the method that runs a program with parameters of these names."""
    # Aliases can be any names, also those that a model of pydantic has itself.
    fields: dict[str, Any] = {
        f"parameter_{i}": (Any, Field(None, alias=name)) for i, name in enumerate(parameters)
    }
    config = create_model(
        "Parameters", __base__=ProgramConfig, __module__=ProgramConfig.__module__, **fields
    )
    return ProgramMethod(
        name=program.name,
        title=program.name,
        citation="",
        stages={STAGE: config},
        control={},
        preset_name="default",
        preset={} if program.steps is None else {f"{STAGE}.epochs": program.steps},
        network=Network(title="its own program", build=RUN),
        program=program,
    )


def task_of(program: ProgramSpec, data: str = "") -> TaskInfo:
    """Return the task of programs on a data set, of which nothing but its name is known."""
    return TaskInfo(
        name=f"{BENCHMARK}/{program.objective}{data and f'@{data}'}",
        title=f"{program.objective}{data and f' on {data}'}",
        dimension="1d",
        kind="regression",
        metric=program.objective,
        loss="mse",
        samples=0,
        resolution=1,
        channels=(1, 1),
        protocol="as the program measures it",
    )


def data_set_of(task: str) -> str:
    """Return the name of a task's data set; "" if the program has one of its own."""
    return task.partition("@")[2]


def register_task(info: TaskInfo) -> None:
    """Make the task of a program known to this process, beside those of other programs."""
    known = REGISTERED.get(BENCHMARK)
    others = () if known is None else tuple(t for t in known.tasks if t.name != info.name)
    register(Benchmark(name=BENCHMARK, tasks=(*others, info)), replace=True)


def name_there(folder: str) -> str:
    """Return the name by which a job has the folder of a program, on each of its nodes."""
    return hashlib.sha256(folder.encode()).hexdigest()[:16]


def on_this_node(program: ProgramSpec) -> ProgramSpec:
    """Return a program with its folder as this node has it: as a job brought it, or as it is."""
    # Each node unpacks a job in a place of its own, which Ray puts on the import path.
    places = (Path(place, SENT, name_there(program.folder)) for place in sys.path)
    found = next((place for place in places if place.is_dir()), None)
    return program if found is None else program.model_copy(update={"folder": str(found)})


def files_of(program: ProgramSpec) -> list[Path]:
    """Return the files in a program's folder that it names: its module, or words of a command."""
    folder = Path(program.folder)
    names: Iterable[str] = program.command
    if program.function is not None:
        module = program.function.partition(":")[0].replace(".", "/")
        names = (f"{module}.py", f"{module}/__init__.py")
    found = (folder / name for name in names)
    # `Path.is_file` raises an error for a long word, such as a program of `python -c`.
    return [path for path in found if os.path.isfile(path) and path.is_relative_to(folder)]


def text_hash(program: ProgramSpec) -> str:
    """Return a hash of the text of a program's files; "" if it names none in its folder."""
    texts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files_of(program)]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16] if texts else ""
