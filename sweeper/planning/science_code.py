"""The hash of the code and of the data that the results of a sweep depend on.

Both decide whether evidence of an earlier run still holds. Code of the service does not count: it
chooses what is trained, which the settings of a sweep say.
"""

from collections.abc import Iterator
from contextlib import suppress

from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.data.draws import data_of
from sweeper.spec.arms import DATA
from sweeper.spec.sweep import Sweep
from trainables.code_hash import science_code
from trainables.errors import DataError
from trainables.methods.program import program_of
from trainables.methods.registry import METHODS
from trainables.plugins import offers
from trainables.tasks.loading import is_prepared, load_task
from trainables.tasks.registry import TASKS


def code_of(sweep: Sweep) -> dict[str, str]:
    """Return a short hash of each module that computes numbers of a sweep's trials, by name.

    These are the modules of the methods and of their stages, of the tasks' metrics, and all that
    they import, such as models, losses, optimisers and distances. Modules of other methods do not
    count. Programs have none: the hash of their text is a setting.

    Raises:
        UsageError: A module of a plugin is not valid Python.
    """
    with as_usage_errors():
        modules = [*_modules(sweep)]
        return science_code(modules) if modules else {}


def _modules(sweep: Sweep) -> Iterator[str]:
    for name in sweep.methods:
        # The text of a program has a hash of its own, which is among its settings.
        if program_of(METHODS[name]) is not None:
            continue
        yield from (offer.module for offer in offers("sweeper.methods").get(name, ()))
        for config in METHODS[name].stages.values():
            yield config.implementation.partition(":")[0]
            yield config.__module__
            yield from config.loads
    for task in sweep.tasks:
        for metric in TASKS[task].metrics:
            yield from (offer.module for offer in offers("sweeper.metrics").get(metric, ()))


def data_hashes(sweep: Sweep) -> dict[str, str]:
    """Return the content hash of each task's data; data that are not on this machine have none.

    Arms that pin settings of the data have others, and do not count.
    """
    found = {}
    for study in sweep.studies:
        data = data_of(study)
        if study.arm is not None and study.arm.of(DATA):
            continue
        with suppress(DataError):
            if study.task not in found and is_prepared(study.task, data, home()):
                found[study.task] = load_task(study.task, data, home()).content_hash
    return found
