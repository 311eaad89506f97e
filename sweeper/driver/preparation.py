"""The preparation of a sweep: data, weights and source features, before the first trial.

Everything that a trial would fail on for lack of it is found here, once, before anything starts: so
are settings of the preset and the control that task, backbone or source cannot honour.

It happens in a process of its own, `python -m sweeper.driver.preparation`, while the driver
connects to Ray. So both take their time at once, and a driver, which may run for days, holds no
network. The process reads one JSON object: `name`, `profile` and `file` (resolved) of a sweep, and
`predictors`, those of the floors of begun studies. It writes one a line: `progress` (what, done,
of), and last `facts` or `error`.
"""

import io
import json
import queue
import subprocess
import threading
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

from sweeper.errors import Fault, FileFaults, SweeperError, from_record, to_record
from sweeper.model import BY_HAND, DataDraw, Floor, StudyFacts
from sweeper.planning import child, load, resuming
from sweeper.planning.catalog import home
from sweeper.planning.data.draws import data_of, draws_of, naming_draw
from sweeper.planning.data.floors import FloorFacts, floor_by, floor_facts
from sweeper.planning.trials import network_of, spec_of
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import JsonObject
from trainables.errors import TrainableError
from trainables.methods.program import data_set_of
from trainables.methods.registry import METHODS
from trainables.models.weights.description import check_dimension
from trainables.spec import DataSpec, with_choices
from trainables.tasks.generation import Progress
from trainables.tasks.loading import load_task, prepare_task, solver_seconds
from trainables.tasks.registry import TASKS, published_numbers

if TYPE_CHECKING:
    from trainables.runtime.warm import WarmParts


class Preparation:
    """The driver's end of a preparation, whose messages are read as they come."""

    def __init__(self, output: IO[str]) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # The pipe is emptied as it fills, so that the process never waits for the driver.
        threading.Thread(target=self._read, args=(output,), name="preparation", daemon=True).start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._lines.put(line)
        self._lines.put(None)

    def facts(self, progress: Progress) -> dict[str, StudyFacts]:
        """Wait until all is there, and return the facts of each study.

        Raises:
            FileFaults: Something cannot be had, or a leading trial cannot begin.
            SweeperError: The process died.
        """
        while (line := self._lines.get()) is not None:
            match json.loads(line):
                case {"error": error}:
                    raise from_record(error)
                case {"facts": facts}:
                    return {name: StudyFacts.from_json(each) for name, each in facts.items()}
                case {"progress": [what, done, of]}:
                    progress(what, done, of)
        raise SweeperError(
            "the process that prepares data and weights was killed (out of memory?). Free memory "
            "and launch again."
        )


@contextmanager
def preparing(
    sweep: Sweep, predictors: Mapping[str, str], known: Mapping[str, JsonObject] | None
) -> Iterator[Preparation]:
    """Begin to prepare a sweep; the process is ended when this context is left.

    Args:
        sweep: The sweep.
        predictors: Those of the floors of begun studies, by which further draws have theirs.
        known: What a preparation has found already, so that there is nothing to do.
    """
    if known is not None:
        yield Preparation(io.StringIO(json.dumps({"facts": known})))
        return
    process = subprocess.Popen(
        child.command("sweeper.driver.preparation"),
        env=child.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    job = {"name": sweep.name, "profile": sweep.profile, "file": sweep.resolved}
    try:
        # `facts` reports a process that has died already.
        with suppress(BrokenPipeError), process.stdin as pipe:
            json.dump({**job, "predictors": predictors}, pipe)
        yield Preparation(process.stdout)
    finally:
        process.kill()
        process.wait()


def prepare(
    sweep: Sweep,
    home: Path,
    progress: Progress,
    predictors: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, StudyFacts]:
    """Make data and caches for every study, and return the facts of each.

    Args:
        sweep: The sweep.
        home: SWEEPER_HOME.
        progress: Called with what is made, the number of finished samples and the total.
        predictors: Those of the floors of begun studies, by which further draws have theirs.

    Raises:
        FileFaults: Data, weights or a proxy cannot be had, or a leading trial cannot begin; one
            fault each, with the way out.
    """
    if sweep.program is not None:
        return facts_of_programs(sweep, home, progress)
    from trainables.models.products import choose_products
    from trainables.runtime.training import Training  # torch, which a driver does without
    from trainables.runtime.warm import WarmParts

    parts = WarmParts()
    facts, faults, widths = {}, {}, [0]
    for study in sweep.studies:
        try:
            seeds = draws_of(sweep, study, home)
            told = facts_of(study, parts, home, progress)
            # A begun study keeps the predictor of its floor, or draws of one study would have
            # several floors.
            chosen = None if told.floor is None else told.floor.name
            floor = predictors.get(study.name, chosen)
            found = _draws(study, floor, parts, home, progress, seeds)
            facts[study.name] = replace(told, draws=found)
            # Products are chosen for the widest body on a CPU. Width 0 leaves them to torch.
            if (backbone := study.backbone_spec) is not None and not sweep.resources.gpu:
                widths.append(parts.backbone(backbone, home).geometry.feature_width)
            for params in (study.preset, study.control):
                # A trial is begun and thrown away, which shows what would refuse these settings.
                Training.begin(spec_of(study, params, seed=0, home=home), parts)
        except TrainableError as error:
            # Several studies often lack the same file: by its text it is one fault.
            faults[str(error)] = Fault(study.name, None, str(error))
    if faults:
        raise FileFaults(faults.values())
    products, gain = choose_products(max(widths))  # one choice, so that studies can share stages
    facts = {k: replace(each, products=products, products_gain=gain) for k, each in facts.items()}
    return facts if sweep.resources.gpu else with_precision(sweep, facts, parts, home, predictors)


def facts_of_programs(sweep: Sweep, home: Path, progress: Progress) -> dict[str, StudyFacts]:
    """Return what is known of programs, which bring data and networks of their own: their floors.

    Raises:
        FileFaults: The data of a task whose floor counts cannot be had.
    """
    assert sweep.program is not None
    floors: dict[str, FloorFacts] = {}
    for task in sweep.program.floor_tasks:
        try:
            floors[task] = _floor_of(task, home, progress)
        except TrainableError as error:
            raise FileFaults([Fault(f"program.floor: {task}", None, str(error))]) from error
    facts = {}
    for study in sweep.studies:
        info, floor = TASKS[study.task], sweep.program.floor_on(data_set_of(study.task))
        told = StudyFacts(
            title=info.title,
            method_title=METHODS[study.method].title,
            metric=info.metric,
            protocol=info.protocol,
            data_source="the program's own",
            backbone=network_of(study),
        )
        if isinstance(floor, str):
            told = replace(told, **floors[floor])
        elif floor is not None:
            # Every value is minimised, so one of a metric to maximise has the other sign.
            value = floor if sweep.program.goal == "minimize" else -floor
            told = replace(told, floor=Floor(name=BY_HAND, value=value))
        facts[study.name] = told
    return facts


def _floor_of(task: str, home: Path, progress: Progress) -> FloorFacts:
    """Return what predictors without a network reach on a task of ours, whose data are made."""
    from trainables.tasks.predictors.floor import scores_of  # torch

    prepare_task(task, DataSpec(), home, progress=progress)
    loaded = load_task(task, DataSpec(), home)
    return floor_facts(scores_of(loaded, home), loaded.baselines)


def with_precision(
    sweep: Sweep,
    facts: Mapping[str, StudyFacts],
    parts: "WarmParts",
    home: Path,
    begun: Collection[str],
) -> dict[str, StudyFacts]:
    """Return facts with the precision on this CPU, one for a task; `begun` studies keep theirs."""
    from trainables.runtime.cpu_precision import Precisions

    told, precisions = dict(facts), Precisions()
    for study in (each for each in sweep.studies if each.name not in begun):
        # Methods on a task share the body, on which the gain depends: the control stands for all.
        spec, of_study = spec_of(study, study.control, seed=0, home=home), facts[study.name]
        spec = spec.with_model(**with_choices(spec.model.model_dump(), vars(of_study)))
        precision, gain = precisions.of(spec, parts, study.objective_stage)
        told[study.name] = replace(of_study, precision=precision, precision_gain=gain)
    return told


def facts_of(study: StudySpec, parts: "WarmParts", home: Path, progress: Progress) -> StudyFacts:
    """Prepare one study and return its facts, without those of its draws."""
    from trainables.models.adapters import check_adapters
    from trainables.tasks.predictors.floor import scores_of

    spec = study.backbone_spec
    data = data_of(study)
    prepare_task(study.task, data, home, progress=progress)
    task = parts.task(study.task, data, home)
    scores = scores_of(task, home)
    weights_hash = None
    if spec is not None:
        backbone = parts.backbone(spec, home)
        weights_hash = backbone.weights_hash
        check_dimension(backbone.name, backbone.dimension, TASKS[study.task].dimension)
        if any(load.adapter_keys(study)):  # the leading trials may do without
            check_adapters(backbone.body, backbone.roles)
        # Sources are read here, so that a damaged one is a fault of the launch and of no trial.
        for proxy in study.proxies:
            parts.source(proxy, spec, home)
    info = TASKS[study.task]
    return StudyFacts(
        title=info.title,
        method_title=METHODS[study.method].title,
        dimension=info.dimension,
        kind=info.kind,
        metric=info.metric,
        protocol=info.protocol,
        data_source=task.data_source,
        content_hash=task.content_hash,
        samples={name: len(getattr(task, name)) for name in ("train", "val", "test")},
        **floor_facts(scores, task.baselines),
        solver_seconds=solver_seconds(study.task, data, home),
        fits_each_sample=METHODS[study.method].stages[study.objective_stage].fits_each_sample,
        published_samples=info.samples,
        published=tuple(asdict(number) for number in published_numbers(study.task).values()),
        backbone=network_of(study),
        pretrained="random" if spec is None else spec.weights,
        weights_hash=weights_hash,
        proxy=", ".join(study.proxies) or None,
    )


def _draws(
    study: StudySpec,
    floor: str | None,
    parts: "WarmParts",
    home: Path,
    progress: Progress,
    seeds: Mapping[int, int],
) -> dict[str, DataDraw]:
    """Make the draws of a study's replicates, and return them with their floors.

    Args:
        study: The study, which has replicates.
        floor: The predictor that was chosen on the data of the search.
        parts: Data and weights that are prepared already.
        home: SWEEPER_HOME.
        progress: Called with each step.
        seeds: `data.seed` of each seed of the replicates; empty if they have no own draws.
    """
    from trainables.tasks.predictors.floor import scores_of

    found = {}
    for number, (replicate, seed) in enumerate(seeds.items()):

        def say(what: str, done: int, of: int, number: int = number) -> None:
            progress(f"{what}, draw {number + 1} of {len(seeds)}", done, of)

        data = data_of(study, seed)
        with naming_draw(number, len(seeds)):
            prepare_task(study.task, data, home, progress=say)
            task = parts.task(study.task, data, home)
        say(f"floor of {study.task}", number, len(seeds))
        found[str(replicate)] = DataDraw(
            seed=seed,
            content_hash=task.content_hash,
            floor=None if floor is None else floor_by(floor, scores_of(task, home, floor)),
        )
    return found


def main() -> None:
    """Prepare one sweep, in the process that `preparing` started."""
    job, out = child.read_input(), child.take_output()
    child.end_with_parent()

    def progress(what: str, done: int, of: int) -> None:
        child.write_line(out, {"progress": [what, done, of]})

    try:
        sweep = resuming.from_resolved(job["file"], name=job["name"], profile=job["profile"])
        facts = prepare(sweep, home(), progress, job["predictors"])
        child.write_line(out, {"facts": {name: each.to_json() for name, each in facts.items()}})
    except Exception as error:
        if not isinstance(error, SweeperError):
            traceback.print_exc()
            error = SweeperError(f"preparing failed: {type(error).__name__}: {error}")
        child.write_line(out, {"error": to_record(error)})


if __name__ == "__main__":
    main()
