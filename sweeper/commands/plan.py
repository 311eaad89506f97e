"""The plan of a launch: nothing here starts a trial of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.result import Result
from sweeper.core.expected_epochs import Estimate
from sweeper.errors import CannotSchedule
from sweeper.planning import load, resources, studies
from sweeper.planning.bodies import check_bodies
from sweeper.planning.catalog import as_usage_errors, home, usable_home
from sweeper.planning.costs.price import Price, lines, price_of
from sweeper.planning.costs.workload import Workload
from sweeper.planning.data import draws
from sweeper.planning.data.floors import floor_notes
from sweeper.planning.load import READY, TO_MAKE, missing, state_of
from sweeper.planning.stage_store import place_of
from sweeper.planning.trials import network_of
from sweeper.results.prose import RAISE_SAMPLES, few_samples
from sweeper.spec.arms import ladder_notes
from sweeper.spec.goals import Goals
from sweeper.spec.shipped import located
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import counted, format_bytes
from trainables.methods.program import data_set_of, program_of
from trainables.spec import DataSpec
from trainables.tasks.generation import Progress
from trainables.tasks.loading import describe_data, solver_seconds
from trainables.tasks.official import is_generated
from trainables.tasks.registry import own_benchmark_of


@dataclass(frozen=True, kw_only=True)
class PlannedStage(Result):
    """One stage of a planned study."""

    stage: str
    epochs: int  # of one trial, at most
    runs: int  # of all trials; a run that trials share counts once
    shared: int  # runs that sharing saves
    max_epochs: int  # of all trials
    expected_epochs: float


@dataclass(frozen=True, kw_only=True)
class PlannedStudy(Result):
    """One study of a planned sweep."""

    study: str
    method: str
    task: str
    trials: int
    kinds: Mapping[str, int]  # trials by kind: leading, sampled, replicates
    parameters: tuple[str, ...]  # that are searched
    stages: tuple[PlannedStage, ...]
    distinct: Mapping[str, int]  # configurations of a shared stage, by stage
    max_epochs: int  # of one trial
    epochs: Estimate  # of all trials
    rungs: tuple[int, ...]  # epochs after which trials are pruned or paused
    backbone: str
    proxy: str | None
    data: str


@dataclass(frozen=True, kw_only=True)
class Plan(Result):
    """The trials that a launch would run, and the resources that they take."""

    sweep: str
    profile: str
    experiment: str
    studies: tuple[PlannedStudy, ...]
    trials: int
    max_epochs: int
    expected_epochs: float
    resources: Mapping[str, float]  # of one trial
    cluster: Mapping[str, float]  # nodes, slots, CPU, GPU: in all
    unschedulable: tuple[str, ...]  # why trials cannot run there
    exit_code: int
    price: Price | None  # None: some study was never measured
    uncalibrated: tuple[str, ...]  # studies
    notes: tuple[str, ...]


def plan(
    file: str | Path,
    options: load.Options,
    *,
    cluster: str | None = None,
    calibrate: Progress | None = None,
    exploratory: bool = False,
) -> Plan:
    """Return what a launch would run and take, on this machine or on a cluster.

    Args:
        file: The sweep file, or the name of a shipped one.
        options: Command-line options that change what it says.
        cluster: A description of nodes, such as `4 nodes x 8 GPUs, 96 CPUs`; None plans for the
            cluster at `options.address`, or for this machine.
        calibrate: Called with the progress of pilots, which measure each study here first; None
            runs no pilot.
        exploratory: Accept a question whose primary claim can never be significant.

    Raises:
        FileFaults: The file is invalid, or a backbone cannot be built, or a preset that was to be
            measured cannot be trained.
        UsageError: The file asks for data that no task has, or `cluster` cannot be read, or the
            primary claim of the question can never be significant.
        CannotSchedule: A trial to be measured asks for more than this machine has.
        BackendUnreachable: No cluster answers at `options.address`.
    """
    from sweeper.results.reach import check_reach, reach_notes, spreads_of  # slow
    from sweeper.results.reproduction.files import committed_evidence

    file = located(Path(file))
    described = None if cluster is None else resources.parse_cluster(cluster)
    sweep = load.read(file, options, for_cluster=cluster is not None)
    spreads = spreads_of(sweep, [committed_evidence()])
    if not exploratory:
        check_reach(spreads, str(file))
    load.check_imported(sweep)
    check_bodies(sweep, home(), str(file))
    if calibrate is not None:
        from sweeper.planning.costs.calibration import calibrate as measure

        resources.check_request(sweep, "local")
        resources.check_torch(sweep, "local")
        measure(sweep, usable_home(), calibrate)
    is_here = cluster is None and options.address == "local"
    return _planned(sweep, described or _nodes(options), reach_notes(sweep, spreads), is_here)


def _planned(
    sweep: Sweep, nodes: Sequence[resources.NodeResources], reach: Sequence[str], is_here: bool
) -> Plan:
    """Return the plan of a sweep on nodes, with notes on the `reach` of its claims."""
    where = "this machine" if is_here else "the largest node there"
    refused = resources.unschedulable(sweep, nodes, where=where)
    # torch is asked last, since that takes a process of its own.
    if is_here and not refused and (fault := resources.unusable(sweep)):
        refused = [fault]
    slots = resources.slots_on(sweep, nodes)
    # The devices of a cluster are not known here, so measurements of any of their kind count.
    priced = price_of(sweep, home(), slots, any_device=not is_here)
    with as_usage_errors():
        pairs = zip(sweep.studies, priced.workloads, strict=True)
        studies = tuple(_study(sweep, study, work) for study, work in pairs)
        on_data = _notes_on_data(sweep)
    trials = sum(work.trials for work in priced.workloads)
    most = sum(stage.most for work in priced.workloads for stage in work.stages.values())
    fewest = trials - sum(work.optional for work in priced.workloads)
    expected = sum(work.epochs.expected for work in priced.workloads)
    unknown = _how_to_measure(sweep, priced.uncalibrated, is_here=is_here)
    return Plan.of(
        sweep,
        priced,
        sweep=sweep.name,
        studies=studies,
        trials=trials,
        max_epochs=most,
        expected_epochs=expected,
        resources=resources.request(sweep),
        cluster={"nodes": len(nodes), "slots": slots, **_cores(nodes)},
        # All is printed nevertheless: whoever plans for a cluster sits elsewhere.
        unschedulable=tuple(refused),
        exit_code=CannotSchedule.exit_code if refused else 0,
        notes=(
            *sweep.notes,
            *draws.notes_on(sweep, home()),
            *_goals(sweep),
            *load.fetches(sweep, home()),
            *resources.notes_on(sweep, nodes),
            *on_data,
            *(line for study in sweep.studies for line in _shared(sweep, study)),
            *reach,
            *(floor_notes(sweep) if is_here else ()),
            *priced.notes,
            f"{f'{fewest} to ' * (fewest < trials)}{counted(trials, 'trial')} of "
            f"{counted(len(studies), 'study')}, {expected:.0f} epochs expected, {most} at most",
            *([] if is_here else [_planned_for(nodes, slots)]),
            *(lines(priced.price) if priced.price else [unknown]),
        ),
    )


def _notes_on_data(sweep: Sweep) -> list[str]:
    """Return lines on rungs, on what a launch lacks here, on draws to make, and on small splits."""
    rungs = ladder_notes(sweep.tasks, sweep.data, sweep.ladder)
    lacking = dict.fromkeys(missing(sweep, home()))
    few = dict.fromkeys(line for study in sweep.studies if (line := _few(study)))
    return [*rungs, *lacking, *_to_draw(sweep), *few]


def _planned_for(nodes: Sequence[resources.NodeResources], slots: int) -> str:
    """Return a line about the cluster that a plan is for."""
    found = _cores(nodes)
    return (
        f"planned for {counted(len(nodes), 'node')} with {found['GPU']:g} GPUs and "
        f"{found['CPU']:g} CPUs in all: {counted(slots, 'trial')} at once"
    )


def _cores(nodes: Sequence[resources.NodeResources]) -> dict[str, float]:
    """Return the CPUs and GPUs of all nodes together."""
    return {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}


def _nodes(options: load.Options) -> Sequence[resources.NodeResources]:
    """Return the resources of each node of the cluster at an address, or of this machine.

    Raises:
        BackendUnreachable: No cluster answers there.
    """
    if options.address == "local":
        return [resources.this_machine()]
    from sweeper.execution import cluster

    cluster.set_environment(home() / cluster.TOKEN, address=options.address)
    with cluster.connect(options.address, insecure=options.insecure) as joined:
        return joined.nodes


def _how_to_measure(sweep: Sweep, uncalibrated: tuple[str, ...], *, is_here: bool) -> str:
    """Return a line about how to learn what a sweep takes."""
    if any(each.steps is None for each in sweep.programs.values()):
        return (
            "what a program of your own takes is not known, nor its reports: `program.steps` is "
            "not given."
        )
    count = f"{len(uncalibrated)} of {counted(len(sweep.studies), 'study')}"
    is_one = len(uncalibrated) == 1
    if not is_here:
        return (
            f"what that takes is not known: {count} {'was' if is_one else 'were'} measured on no "
            "device of that kind; run `sweeper plan --calibrate` on a node, and "
            f"share or copy {home() / 'cache' / 'calibration'}."
        )
    return (
        f"what that takes is not known: {count} {'was' if is_one else 'were'} not measured on this "
        "machine; add --calibrate, for a short pilot of each."
    )


def _goals(sweep: Sweep) -> Iterator[str]:
    """Yield a sentence on several objectives or constraints, for each validation metric."""
    resolved = sweep.resolved
    for objective in dict.fromkeys(study.objective for study in sweep.studies):
        goals = Goals.of(resolved, objective)
        if goals.are_plain:
            continue
        also = f" The search minimises {' and '.join(goals.objectives)}." * goals.has_several
        among = f", of those with {goals.conditions}" * bool(goals.constraints)
        yield f"The best trial is that with the lowest {objective}{among}.{also}"


def _study(sweep: Sweep, study: StudySpec, work: Workload) -> PlannedStudy:
    return PlannedStudy.of(
        study,
        work,
        study=study.name,
        kinds={
            "leading": work.leading,
            "sampled": work.sampled,
            "replicates": work.replicates,
        },
        parameters=tuple(study.parameters),
        stages=tuple(
            PlannedStage.of(
                done,
                stage=stage,
                epochs=done.longest,
                max_epochs=done.most,
                expected_epochs=done.epochs.expected,
            )
            for stage, done in work.stages.items()
        ),
        max_epochs=sum(study.stage_epochs.values()),
        backbone=network_of(study),
        data=_data(sweep, study),
    )


def _data(sweep: Sweep, study: StudySpec) -> str:
    """Return samples by split, bytes, draws, and the state of the data of a study."""
    if sweep.program is not None:
        floor = sweep.program.floor_on(data_set_of(study.task))
        beside = (
            f"; floor: {floor}, {state_of(floor, DataSpec())}" if isinstance(floor, str) else ""
        )
        return f"those of the program{beside}"
    data = draws.data_of(study)
    facts, states = describe_data(study.task, data), [state_of(study.task, data)]
    seeds = draws.draws_of(sweep, study, home()).values()
    states += [state_of(study.task, draws.data_of(study, seed)) for seed in seeds]
    size, sizes = format_bytes(facts.bytes), " / ".join(map(str, facts.splits.values()))
    if not seeds:
        return f"{sizes} samples, {size}, {states[0]}"
    ready = states.count(READY)
    state = READY if ready == len(states) else f"{len(states) - ready} {TO_MAKE}"
    if not is_generated(study.task):  # its draws are divisions of the same samples
        return f"{sizes} samples, {size}, {len(states)} draws, {state}"
    return f"{sizes} samples, {len(states)} draws of {size}, {state}"


def _few(study: StudySpec) -> str | None:
    """Return a warning if the validation split is too small to tell settings apart."""
    if program_of(study.entry) is not None:
        return None
    samples = describe_data(study.task, draws.data_of(study)).splits["val"]
    if is_generated(study.task):
        return few_samples(study.task, samples, RAISE_SAMPLES)
    if (own := own_benchmark_of(study.task)) is None:
        return few_samples(study.task, samples)
    where = own.files.get(study.task, "its task file")
    again = f"import it again: {own.way_to_replace(study.task)}"
    return few_samples(
        study.task, samples, f"Give `splits.val` in {where} more samples, and {again}"
    )


def _to_draw(sweep: Sweep) -> list[str]:
    """Return a note on the draws of each task that a launch makes first, with their seconds."""
    # Studies share draws, but for arms and rungs that pin settings of the data.
    wanted: dict[str, dict[str, int]] = {}  # task -> draw -> samples
    seconds: dict[str, float | None] = {}
    for study in sweep.studies:
        task, base = study.task, draws.data_of(study)
        for seed in draws.draws_of(sweep, study, home()).values():
            if state_of(task, each := draws.data_of(study, seed)) == TO_MAKE:
                samples = describe_data(task, each).samples
                wanted.setdefault(task, {})[each.model_dump_json()] = samples
                seconds.setdefault(task, solver_seconds(task, base, home()))
    notes = []
    for task, found in wanted.items():
        pace = seconds[task]
        takes = "" if pace is None else f", about {sum(found.values()) * pace:.2g} core-seconds"
        draws_told = f"{counted(len(found), 'draw')} of the data to be made before the first trial"
        notes.append(f"{task}: {draws_told}{takes}.")
    return notes


def _shared(sweep: Sweep, study: StudySpec) -> Iterator[str]:
    """Yield a line about how many trials use each configuration of shared stages."""
    stages = studies.stages(sweep, study)
    if count := len(stages.configs):
        least, more = divmod(study.num_sampled, count)
        used = f"{least} or {least + 1}" if more else str(least)
        what = " and ".join(stages.shared)
        alone = ", each of which computes it: `stage_store.use` is false"
        yield (
            f"{study.name}: {count} configurations of {what}, each for {used} sampled trials"
            f"{alone if place_of(sweep, study) is None else ''}"
        )
