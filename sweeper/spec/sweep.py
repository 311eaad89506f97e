"""A validated sweep: its settings, its studies, and its resolved form."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from sweeper.model import CONTROL_ARM, Params
from sweeper.spec.arms import (
    BACKBONE,
    DATA,
    SAMPLES,
    Arm,
    CompareBy,
    Ladder,
    arms_of,
    rung_of,
    with_equal_splits,
)
from sweeper.spec.catalog import MODEL, PROXY, Catalog, Settings, model_settings, public_fields
from sweeper.spec.distributions import Choice, Distribution, written
from sweeper.spec.faults import sentence
from sweeper.spec.samplers import GRID, continuous, grid
from sweeper.spec.schema import (
    Budget,
    Checkpoints,
    Failures,
    OneProgram,
    Program,
    ProgramKeys,
    Pruning,
    Question,
    Replicate,
    Resources,
    Search,
    StageSearch,
    StageStoreSection,
    Tracking,
)
from sweeper.spec.study import (
    InfeasibleParams,
    Layer,
    Section,
    StudySpec,
    decide_conditions,
    epochs_of,
    flatten,
    following,
    joined,
)
from trainables.methods.method import Method
from trainables.spec import PUBLISHED_MODEL, RUNS, SEARCHED_MODEL, BackboneSpec, Dimension

if TYPE_CHECKING:
    from trainables.tasks.task import TaskInfo  # NumPy, which loads slowly

SECTIONS = ("search", "pruning", "replicate", "resources", "budget", "checkpoints",
            "stage_store", "failures", "tracking")  # fmt: skip
NO_ARM = Arm(name="")  # pins nothing
ABLATION = ("compare_by", "base", "tune", "max_arms")  # keys of a file with arms


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One launch of one file. Each method on each task is a study, or each arm of it."""

    name: str
    experiment: str
    profile: str = ""
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    backbones: Mapping[str, Settings]  # by dimension
    proxies: Mapping[str, str]
    model: Settings
    data: Settings
    parameters: Mapping[str, Distribution]  # parents first
    fixed: Params
    stages: Mapping[str, StageSearch]  # the stages that the file names
    compare_by: CompareBy = field(default_factory=dict)  # empty: no ablation
    ladder: Ladder = field(default_factory=dict)  # with which `compare_by` is crossed already
    base: str | Mapping[str, Params] = "preset"  # preset, tuned, or settings by METHOD/TASK
    tune: str = "shared"  # shared, per_arm
    max_arms: int = 32
    question: Question | None = None
    program: Program | None = None  # what programs of a user share: then these are the methods
    programs: Mapping[str, OneProgram] = field(default_factory=dict)  # by method
    search: Search
    pruning: Pruning
    replicate: Replicate | None
    resources: Resources
    budget: Budget
    checkpoints: Checkpoints
    stage_store: StageStoreSection | None  # None: only for studies with a `distinct`
    failures: Failures
    tracking: Tracking
    notify: tuple[str, ...] = ()  # addresses with `${env:NAME}`
    notes: tuple[str, ...] = ()  # for the user; not faults
    catalog: Catalog = field(repr=False, compare=False)

    @cached_property
    def studies(self) -> tuple[StudySpec, ...]:
        """Every study, by method, task and arm, in the order of the file."""
        return tuple(
            study
            for method in self.methods
            for task in self.tasks
            for study in self.studies_on(method, task)
        )

    @property
    def drawn(self) -> Mapping[str, Distribution]:
        """The parameters that are searched: none if arms share settings that are not searched."""
        is_searched = not self.compare_by or self.base == "tuned" or self.tune == "per_arm"
        return self.parameters if is_searched else {}

    def studies_on(self, method: str, task: str) -> tuple[StudySpec, ...]:
        """Return the study of a method on a task, or the study of each arm, after that of the base.

        Raises:
            InfeasibleParams: The settings contradict each other. Never after the sweep's checks.
        """
        if not self.compare_by:
            return (self.study(method, task),)
        base = (self.study(method, task),) if self.base == "tuned" else ()
        dimension = self.catalog.tasks[task].dimension
        arms = [
            self.study(method, task, arm)
            for arm in arms_of(self.compare_by)
            if arm.method in (None, method) and self._fits(arm, dimension)
        ]
        # A ladder has no control: `nft` in `methods` is one with a curve of its own.
        if not self.ladder and (control := self.catalog.methods[method].control):
            vanilla = self.study(method, task, Arm(name=CONTROL_ARM, pinned=control))
            # An arm of the file may equal the control: it is trained once.
            if not any(self.are_twins(vanilla, each) for each in arms):
                arms = [vanilla, *arms]
        return (*base, *arms)

    def are_twins(self, first: StudySpec, second: StudySpec) -> bool:
        """Return whether two arms are equal: in their settings, and in what a search may change."""
        both = [study.arm.pinned if study.arm else {} for study in (first, second)]
        pinned, others = (arm.keys() & self.drawn.keys() for arm in both)
        return first.settings == second.settings and pinned == others

    def _fits(self, arm: Arm, dimension: Dimension) -> bool:
        known, backbone = self.catalog.backbones, arm.of(BACKBONE)
        # A backbone without a known dimension, such as a folder, counts as one that fits.
        found = {known.get(str(backbone.get("name")), dimension)}
        if backbone.get("timm"):
            found.add("2d")
        if PROXY in arm.pinned:
            found.add(self.catalog.proxies[arm.pinned[PROXY]])
        return found == {dimension}

    def study(self, method: str, task: str, arm: Arm | None = None) -> StudySpec:
        """Return the study of one method, or of one of its arms, on one task.

        Raises:
            InfeasibleParams: The settings contradict each other. Never after the sweep's checks.
        """
        entry, info = self.catalog.methods[method], self.catalog.tasks[task]
        is_searched = arm is None or self.tune == "per_arm"
        files = {} if arm is None or isinstance(self.base, str) else self.base
        shared = files.get(f"{method}/{task}", {})
        own_arm = NO_ARM
        if self.compare_by:  # else the schedules are in `fixed` already
            own_arm = self._scheduled(arm or NO_ARM, method, shared)
        backbone, pinned = self._backbone_of(entry, own_arm, info), own_arm.pinned
        parameters = {k: p for k, p in self.parameters.items() if is_searched and k not in pinned}
        fixed = _of_stages(entry, {**self.fixed, **pinned})
        layers = self._layers(entry, info, shared, fixed)
        settings = dict(flatten(joined(entry, layers)))
        # A setting of `model` is a hyperparameter if it is searched or differs from the file's.
        model, own, stated = self._model_on(backbone, info, {**shared, **pinned})
        # A setting that is idle in the preset is searched where its condition holds.
        idle = _of_stages(entry, {k: p for k, p in parameters.items() if p.when})
        searched = {k: p for k, p in parameters.items() if k in settings or k in own or k in idle}
        settings |= {k: v for k, v in own.items() if k in stated.union(searched, pinned)}
        proxy = None
        probed = f"{entry.objective_stage}.probe_every"
        may_probe = settings.get(probed) or (
            probed in searched and any(searched[probed].examples())
        )
        if entry.needs_source or may_probe:
            proxy, choices = self._source(info, {**shared, **pinned}, parameters.get(PROXY))
            searched, settings = searched | choices, settings | {PROXY: proxy}
        searched = decide_conditions(searched, {**fixed, **pinned, PROXY: proxy})
        epochs = {stage: max(epochs_of(stage, searched, settings)) for stage in entry.stages}
        start = math.ceil(entry.prune_after * epochs[entry.objective_stage])
        spec = StudySpec(
            name="/".join(filter(None, [method, task, own_arm.name])),
            method=method,
            task=task,
            objective=f"val/{info.metric}",
            num_trials=self.search.trials if is_searched else 1,
            parameters=searched,
            fixed=fixed,
            distinct=self._distinct(entry) if is_searched else {},
            preset=settings,
            control=self._control(entry, layers, settings),
            stage_epochs=epochs,
            min_epochs=max(self.pruning.min_epochs, start),
            backbone=backbone,
            proxy=proxy,
            model=model,
            data=self._data_of(own_arm, task),
            entry=entry,
            arm=None if arm is None else own_arm,
            most_trials=None if is_searched else 1,
            base=f"{method}/{task}" if arm is not None and self.base == "tuned" else None,
            rung=rung_of(pinned, self.ladder),
        )
        return self._within_grid(spec) if is_searched else spec

    def _data_of(self, arm: Arm, task: str) -> Settings:
        """Return the data of an arm; on a ladder of samples with the splits of the largest rung."""
        data = {**self.data, **arm.of(DATA)}
        return with_equal_splits(task, data, self.ladder) if SAMPLES in arm.pinned else data

    def _distinct(self, method: Method) -> dict[str, int]:
        """Return the number of configurations of each stage that trials share."""
        given = {
            stage: self.stages[stage].distinct for stage in method.stages if stage in self.stages
        }
        return {stage: number for stage, number in given.items() if number != "all"}

    def _scheduled(self, arm: Arm, method: str, shared: Params) -> Arm:
        """Return an arm whose schedules, if the file does not set them, follow its epochs.

        They are the arm's own, or else those of the file, or else those of `base`.
        """
        known = self.catalog.parameters([method])
        follows = following(known, self.drawn, {**self.fixed, **arm.pinned}, shared)
        missing = {k: v for k, v in follows.items() if k not in self.fixed}
        return replace(arm, pinned={**arm.pinned, **missing})

    def _layers(
        self, method: Method, task: "TaskInfo", shared: Params, fixed: Params
    ) -> list[Layer]:
        """Return the settings of a study by where they come from: a later layer overrides."""
        last, of_method = method.objective_stage, self._of_method(method)
        recipe = {f"{last}.{key}": value for key, value in task.recipe.items()}
        return [
            ("tasks", "the recipe of the task", _of_stages(method, recipe)),
            ("methods", f"the preset {of_method}", method.preset),
            ("methods", f"the published settings {of_method}", method.published(task)),
            ("base", "the settings of `base`", shared),
            ("fixed", "the file", fixed),
        ]

    def _of_method(self, method: Method) -> str:
        origin = self.catalog.origin(method.name)
        return f"of the method{f' in {origin}' if origin else ''}"

    def _control(self, method: Method, layers: list[Layer], settings: Params) -> Params:
        """Return the settings of the control, which is checked here: without it, no study runs."""
        what = f"the control {self._of_method(method)}"
        joined(method, [*layers, ("methods", what, method.control)])
        return {**settings, **method.control}

    def _model_on(
        self, backbone: Settings | None, task: "TaskInfo", of_arm: Params
    ) -> tuple[Settings, Params, set[str]]:
        """Return `model` on a backbone, the preset of what may be searched, and what differs."""
        own: Settings = {}
        if backbone is not None:
            own = self.catalog.model_of(backbone["name"], task.dimension)
        own = {**own, **{k: v for k, v in self.model.items() if k in own and v is not None}}
        special = {key for settings in PUBLISHED_MODEL.values() for key in settings}
        common = {k: v for k, v in self.model.items() if k not in special}
        # A backbone's own values are null here, and are hyperparameters of its trials instead.
        model = {**common, **dict.fromkeys(own)}
        preset = {**common, **own, **model_settings(of_arm)}.items()
        searchable = [key for key in SEARCHED_MODEL if key in model and backbone is not None]
        found = {key: value for key, value in preset if key in searchable}
        stated = {f"{MODEL}.{key}" for key, value in found.items() if value != model[key]}
        return model, {f"{MODEL}.{key}": value for key, value in found.items()}, stated

    def _source(
        self, task: "TaskInfo", of_arm: Params, searched: Distribution | None
    ) -> tuple[str | None, dict[str, Distribution]]:
        """Return the proxy of a study's preset, and the choice if several of it fit the task."""
        kinds = (f"{task.dimension}_{task.kind}", task.dimension)
        proxy = next((self.proxies[kind] for kind in kinds if kind in self.proxies), None)
        if PROXY in of_arm:
            proxy = str(of_arm[PROXY])
        if not isinstance(searched, Choice):
            return proxy, {}
        names = map(str, searched.values)
        fits = tuple(name for name in names if self.catalog.proxies[name] == task.dimension)
        choices: dict[str, Distribution] = {}
        if len(fits) > 1:
            choices[PROXY] = replace(searched, values=fits)
        return proxy or next(iter(fits), None), choices

    def _within_grid(self, spec: StudySpec) -> StudySpec:
        """Return a study with no more trials than its leading ones and the points of a grid."""
        if self.program is not None and not spec.parameters:  # a baseline beside those searched
            return replace(spec, num_trials=1, most_trials=1)
        if self.search.sampler != GRID or continuous(spec.parameters):
            return spec
        most = len(spec.leading) + (len(grid(spec.parameters)) if spec.parameters else 0)
        return replace(spec, num_trials=min(spec.num_trials, most), most_trials=most)

    def _backbone_of(self, method: Method, arm: Arm, task: "TaskInfo") -> Settings | None:
        """Return the backbone of an arm on a task; None if the method has a network of its own.

        Raises:
            InfeasibleParams: What the arm pins makes no backbone.
        """
        if method.network is not None:
            return None
        pinned, common = arm.of(BACKBONE), self.backbones[task.dimension]
        if not pinned and not method.backbone:
            return common
        given = {**arm.backbone_on(common), **method.backbone}
        try:
            made = BackboneSpec.model_validate(given, strict=True)
        except ValidationError as error:
            reasons = ", ".join(sentence(item) for item in error.errors())
            name = arm.name if pinned else method.name
            place: Section = "compare_by" if pinned else "methods"
            raise InfeasibleParams(f"the backbone of `{name}` {reasons}", place) from error
        return made.model_dump(mode="json", by_alias=True)

    def replicate_of(self, study: StudySpec) -> Replicate | None:
        """Return the repeats of a study; the base of an ablation has none."""
        return None if self.compare_by and study.arm is None else self.replicate

    def stage_store_of(self, study: StudySpec) -> StageStoreSection | None:
        """Return the store of stage results that a study's trials share, or None.

        Arms of an ablation share the stages that they do not pin.
        """
        if self.stage_store is None and (study.distinct or self.compare_by):
            return StageStoreSection()
        return self.stage_store

    @property
    def has_own_runs(self) -> bool:
        """True if programs write runs to MLflow themselves, which are their reports."""
        return any(each.results == RUNS for each in self.programs.values())

    @property
    def resolved(self) -> dict[str, Any]:
        """The sweep as a plain sweep file without profiles and with every default.

        `loads_sweep` returns the same sweep for it.
        """
        resolved: dict[str, Any] = {
            "name": self.name,
            "experiment": self.experiment,
            "methods": list(self.methods),
            "tasks": list(self.tasks),
            "backbones": {k: dict(v) for k, v in self.backbones.items()},
            "proxies": dict(self.proxies),
            "model": dict(self.model),
            "data": dict(self.data),
            "parameters": {name: written(p) for name, p in self.parameters.items()},
            "fixed": dict(self.fixed),
            "stages": {stage: _dumped(section) for stage, section in self.stages.items()},
            **{name: _dumped(getattr(self, name)) for name in SECTIONS},
            **({name: getattr(self, name) for name in ABLATION} if self.compare_by else {}),
            **({"ladder": self.ladder} if self.ladder else {}),
        }
        for name, given in (
            ("question", _dumped(self.question)),
            ("program", _dumped(self.program, but=ProgramKeys.model_fields)),
            ("programs", {name: _dumped(each) for name, each in self.programs.items()}),
            ("notify", self.notify),
            ("task_files", self.task_files),
        ):
            resolved |= {name: given} if given else {}
        # A round trip turns tuples into lists, so that this form compares with one that the ledger
        # has stored.
        plain: dict[str, Any] = json.loads(json.dumps(resolved))
        return plain

    @property
    def task_files(self) -> dict[str, Settings]:
        """The definitions of own tasks of the sweep, by name."""
        tasks = (*self.tasks, *(self.program.floor_tasks if self.program else ()))
        entries = {task: self.catalog.definition(task) for task in tasks}
        return {task: content for task, content in entries.items() if content is not None}

    @property
    def config_hash(self) -> str:
        """The hash of `resolved` without what may change later.

        That is trials, replicates, the epochs between two checkpoints, the text of the question,
        addresses to notify, whether Ray has a dashboard, and the folders of programs.
        """
        later = ("replicate", "question", "notify")
        resolved = {key: value for key, value in self.resolved.items() if key not in later}
        del resolved["search"]["trials"], resolved["checkpoints"]["every"]
        del resolved["resources"]["dashboard"]
        for program in resolved.get("programs", {}).values():
            del program["folder"], program["may_change"]
        if self.search.turns is None:
            del resolved["search"]["deterministic"]
        text = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_stages(method: Method, settings: Params) -> Params:
    """Return those of some settings, by `stage.parameter`, that a stage of a method has."""
    stages = method.stages.items()
    known = {f"{stage}.{key}" for stage, config in stages for key in public_fields(config)}
    return {name: value for name, value in settings.items() if name in known}


def _dumped(section: BaseModel | None, but: Iterable[str] = ()) -> dict[str, Any] | None:
    """Return a section as plain data, without some of its keys."""
    return None if section is None else section.model_dump(mode="json", exclude={*but})
