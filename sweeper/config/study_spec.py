"""The specification of a study by its sweep file, and the complete settings of its trials.

The value of each setting of a stage comes from the last of these sources that has one:

    the config's default < the task's published recipe (of the stage that reports the objective)
    < the method's preset < the published settings of the method on the task
    < of an arm: the files of `base` < the file's `fixed` < the trial's own parameters

The value of each setting of `model` comes from the last of these:

    the default < the published settings of the backbone < the file's `model` < the trial's own

An arm of an ablation overrides those of the file. A published `decay_epochs` belongs to the
published number of epochs. If a file sets or searches `epochs` but not `decay_epochs`, the learning
rate falls to 0 at the last epoch of each trial.

Two leading trials of a study sample nothing. The preset has the settings above. The control is the
preset with the settings that turn the method into vanilla fine-tuning. All other settings are
equal, so the difference between the two is the effect of the method.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from sweeper.config.arms import BACKBONE, DATA, Arm
from sweeper.config.catalog import (
    MODEL,
    PROXY,
    MethodEntry,
    Settings,
    TaskEntry,
    model_settings,
    public_fields,
    validated,
)
from sweeper.config.distributions import Choice, Distribution, parents_first, same
from sweeper.config.faults import sentence
from sweeper.errors import SweeperError, unknown
from sweeper.model import Params, TrialKind

Stages = dict[str, Settings]  # the settings of every stage
REPLICATE = "replicate"  # `data.seed`: each seed of the replicates has its own draw
EPOCHS, DECAY, WARMUP = "epochs", "decay_epochs", "warmup_epochs"


Section = Literal["fixed", "methods", "tasks", "compare_by", "base"]


class InfeasibleParams(SweeperError):
    """Settings that a stage refuses, usually because two of them contradict each other.

    `section` is that of the sweep file which has them, or which names the method or task that does.
    """

    def __init__(self, message: str, section: Section = "fixed") -> None:
        super().__init__(message)
        self.section = section


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """One method, or one arm of it, on one task: searched parameters, settings, leading trials."""

    name: str  # "mona/pdebench/advection_1d"
    method: str
    task: str
    objective: str  # "val/nrmse"
    num_trials: int  # including the leading trials
    parameters: Mapping[str, Distribution]  # those of this study, parents first
    fixed: Params  # the file's fixed parameters of this study
    distinct: Mapping[str, int]  # stage -> configurations, in the order of stages; empty: all
    preset: Params  # every hyperparameter of the first trial
    control: Params  # every hyperparameter of the second trial
    stage_epochs: Mapping[str, int]  # most epochs of a trial in each stage
    objective_stage: str
    min_epochs: int  # of the objective stage, before any trial is pruned
    backbone: Settings | None  # None: the method has a network of its own
    proxy: str | None  # None: no stage reads source data
    model: Settings
    data: Settings
    entry: MethodEntry
    arm: Arm | None = None  # of an ablation
    most_trials: int | None = None  # that a grid or an arm allows; None: any number
    base: str | None = None  # study whose best trial has the settings that the arm does not pin

    @property
    def leading(self) -> tuple[tuple[TrialKind, Params], ...]:
        """The trials that sample nothing: the preset, and the control if the method has one.

        The control of an ablation is an arm of its own.
        """
        preset = (TrialKind.PRESET, self.preset)
        has_control = self.entry.control and self.arm is None
        return (preset, (TrialKind.CONTROL, self.control)) if has_control else (preset,)

    @property
    def has_own_draws(self) -> bool:
        """True if each seed of the replicates asks for its own draw of the data."""
        return self.data.get("seed") == REPLICATE

    @property
    def settings(self) -> tuple[Params, str | None, Settings, Settings, Settings | None]:
        """All that decides about the first trial, besides its seed."""
        model = {**self.model, **model_settings(self.preset)}
        stages = {k: v for k, v in self.preset.items() if k.partition(".")[0] != MODEL}
        return stages, self.proxy, model, self.data, self.backbone

    @property
    def fewest_epochs(self) -> int:
        """The fewest epochs of a trial in the objective stage."""
        return min(_epochs(self.objective_stage, self.parameters, self.preset))

    @property
    def num_sampled(self) -> int:
        """The number of trials that follow the leading ones."""
        return max(0, self.num_trials - len(self.leading))

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies that a trial of this study may read."""
        return self._names(PROXY, self.proxy)

    @property
    def distances(self) -> tuple[str, ...]:
        """The distances to the source that a trial of this study may minimise."""
        names = [name for name in self.preset if name.endswith(".distance")]
        return tuple(each for name in names for each in self._names(name, self.preset[name]))

    def _names(self, parameter: str, first: object) -> tuple[str, ...]:
        """Return the names that a parameter may have, from its first value on."""
        searched = self.parameters.get(parameter)
        others = searched.values if isinstance(searched, Choice) else ()
        return tuple(dict.fromkeys(str(each) for each in (first, *others) if each is not None))

    def resolve_params(self, params: Params) -> Stages:
        """Return every setting of every stage of a trial with `params`.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        return complete(self.entry, {**self.preset, **params})

    def complete_params(self, params: Params) -> Params:
        """Return every hyperparameter of a trial with `params`, by `stage.parameter`.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        proxy = self.proxy_of(params)
        source = {PROXY: proxy} if proxy is not None else {}
        model = {
            name: value
            for name, value in {**self.preset, **params}.items()
            if name.partition(".")[0] == MODEL
        }
        return {**source, **model, **flatten(self.resolve_params(params))}

    def on_base(self, params: Params) -> Params:
        """Return the settings of the arm, given those of the best trial of its base.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        assert self.arm is not None
        others = (DATA, BACKBONE)
        pinned = {k: v for k, v in self.arm.pinned.items() if k.partition(".")[0] not in others}
        return self.complete_params({**params, **pinned})

    def proxy_of(self, params: Params) -> str | None:
        """Return the source data that a trial with `params` reads."""
        proxy = params.get(PROXY, self.proxy)
        return None if proxy is None else str(proxy)


def make_study_spec(
    method: MethodEntry,
    task: TaskEntry,
    *,
    parameters: Mapping[str, Distribution],
    shared: Params,
    fixed: Params,
    distinct: Mapping[str, int],
    backbone: Settings | None,
    proxies: Mapping[str, str],
    proxy_dimensions: Mapping[str, str],
    model: Settings,
    model_parameters: Settings,
    data: Settings,
    num_trials: int,
    min_epochs: int,
    arm: Arm | None = None,
    base: str | None = None,
) -> StudySpec:
    """Restrict a sweep to one study.

    Args:
        method: The method.
        task: The task.
        parameters: The searched parameters of the sweep.
        shared: Settings that all arms share, which `fixed` and the arm override.
        fixed: The fixed parameters of the sweep.
        distinct: Stage -> number of its configurations.
        backbone: The backbone of the task's dimension; None if the method has a network of its own.
        proxies: Kind of target -> source data.
        proxy_dimensions: Source data -> dimension.
        model: The settings of `model` that every backbone has.
        model_parameters: The searchable settings of `model` that this backbone has, with the values
            of the preset.
        data: The settings of the section `data`.
        num_trials: The number of trials, including the leading ones.
        min_epochs: The number of epochs before any trial is pruned.
        arm: The arm of an ablation, whose settings override those of the file.
        base: The study whose best trial has the other settings of the arm.

    Raises:
        InfeasibleParams: The common settings of all trials contradict each other.
    """
    known = {f"{s}.{key}" for s, config in method.stages.items() for key in public_fields(config)}
    last = method.objective_stage
    fields = public_fields(method.stages[last])
    recipe = {f"{last}.{key}": value for key, value in task.recipe.items() if key in fields}
    published = method.published.get(task.name, {})
    pinned = {} if arm is None else arm.pinned
    parameters = {name: p for name, p in parameters.items() if name not in pinned}
    fixed = {name: value for name, value in {**fixed, **pinned}.items() if name in known}
    of_method = f"of the method{f' in {method.origin}' if method.origin else ''}"
    layers: list[_Layer] = [
        ("tasks", "the recipe of the task", recipe),
        ("methods", f"the preset {of_method}", method.preset),
        ("methods", f"the published settings {of_method}", published),
        ("base", "the settings of `base`", shared),
    ]
    settings = dict(flatten(_joined(method, [*layers, ("fixed", "the file", fixed)])))

    # A setting of `model` is a hyperparameter only if it is searched or differs from the file's.
    model_parameters = {**model_parameters, **({} if arm is None else arm.of(MODEL))}
    own = {f"{MODEL}.{key}": value for key, value in model_parameters.items()}
    searched = {name: p for name, p in parameters.items() if name in known or name in own}
    stated = {f"{MODEL}.{key}" for key, value in model_parameters.items() if value != model[key]}
    stated |= {name for name in pinned if name in own}
    settings |= {name: value for name, value in own.items() if name in {*searched, *stated}}
    proxy = None
    if method.needs_source or settings.get(f"{last}.probe_every"):
        kinds = (f"{task.dimension}_{task.kind}", task.dimension)
        if PROXY in pinned:
            proxies = dict.fromkeys(kinds, str(pinned[PROXY]))
        proxy = next((proxies[kind] for kind in kinds if kind in proxies), None)
        if isinstance(choice := parameters.get(PROXY), Choice):
            fits = [str(v) for v in choice.values if proxy_dimensions[str(v)] == task.dimension]
            proxy = proxy or next(iter(fits), None)
            if len(fits) > 1:
                searched[PROXY] = replace(choice, values=tuple(fits))
        settings[PROXY] = proxy
    searched = decide_conditions(searched, {**fixed, PROXY: proxy})

    # The control is validated here: if it is infeasible, the study cannot run.
    control = {**settings, **method.control}
    try:
        complete(method, control)
    except InfeasibleParams:
        _joined(method, [*layers, ("methods", f"the control {of_method}", method.control)])
        raise
    epochs = {stage: max(_epochs(stage, searched, settings)) for stage in method.stages}
    return StudySpec(
        name="/".join([method.name, task.name, *([] if arm is None else [arm.name])]),
        method=method.name,
        task=task.name,
        objective=f"val/{task.metric}",
        num_trials=num_trials,
        parameters=searched,
        fixed=fixed,
        distinct={stage: distinct[stage] for stage in method.stages if stage in distinct},
        preset=settings,
        control=control,
        stage_epochs=epochs,
        objective_stage=last,
        min_epochs=max(min_epochs, math.ceil(method.prune_after * epochs[last])),
        backbone=backbone,
        proxy=proxy,
        model=model,
        data={**data, **({} if arm is None else arm.of(DATA))},
        entry=method,
        arm=arm,
        base=base,
    )


_Layer = tuple[Section, str, Params]


def _joined(method: MethodEntry, layers: Sequence[_Layer]) -> Stages:
    """Return all settings of all stages, given layers of them: a later one overrides.

    Raises:
        InfeasibleParams: A stage refuses them. The message names the layer that is at fault.
    """
    try:
        return complete(method, {name: v for *_, layer in layers for name, v in layer.items()})
    except InfeasibleParams:
        for i, (section, what, _) in enumerate(layers):
            if section != "fixed":
                try:
                    below = layers[: i + 1]
                    complete(method, {n: v for *_, layer in below for n, v in layer.items()})
                except InfeasibleParams as error:
                    raise InfeasibleParams(f"{what}: {error}", section) from error
        raise


def complete(method: MethodEntry, params: Params) -> Stages:
    """Return all settings of all stages, given some of them by `stage.parameter`.

    Raises:
        InfeasibleParams: A stage refuses them.
    """
    given: dict[str, dict[str, object]] = {stage: {} for stage in method.stages}
    faults: list[str] = []
    for name, value in params.items():
        stage, _, key = name.partition(".")
        if name == PROXY or stage == MODEL:
            continue
        if stage in given:
            given[stage][key] = value
        else:
            faults.append(f"`{name}`: there is no stage `{stage}`")
    stages: Stages = {}
    for stage, config in method.stages.items():
        try:
            checked = validated(config, given[stage])
            stages[stage] = checked.model_dump(mode="json", by_alias=True)
        except ValidationError as error:
            for item in error.errors():
                where = ".".join([stage, *map(str, item["loc"])])
                known = [f"{stage}.{key}" for key in public_fields(config)]
                is_unknown = item["type"] == "extra_forbidden"
                faults.append(
                    unknown("parameter", where, known).rstrip(".")
                    if is_unknown
                    else f"`{where}`: {sentence(item)}"
                )
    if faults:
        raise InfeasibleParams("; ".join(faults))
    return stages


def flatten(stages: Stages) -> Params:
    """Return the settings of all stages by `stage.parameter`."""
    return {f"{s}.{key}": value for s, values in stages.items() for key, value in values.items()}


def decide_conditions(
    searched: Mapping[str, Distribution], fixed: Params
) -> dict[str, Distribution]:
    """Return the parameters without conditions on fixed ones; drop those whose condition fails."""
    decided: dict[str, Distribution] = {}
    for name, distribution in parents_first(searched).items():
        others = [parent for parent in distribution.when if parent not in decided]
        holds = all(
            parent in fixed and any(same(fixed[parent], v) for v in distribution.when[parent])
            for parent in others
        )
        if holds:
            when = {k: v for k, v in distribution.when.items() if k not in others}
            decided[name] = replace(distribution, when=when)
    return decided


def following(known: Iterable[str], searched: Mapping[str, Distribution], fixed: Params) -> Params:
    """Return the values of `decay_epochs` that follow from `epochs`, by `stage.parameter`.

    Args:
        known: Every `stage.parameter` of the file's methods.
        searched: The searched parameters.
        fixed: The fixed parameters.

    Returns:
        The number of epochs if `epochs` is fixed; None, which means the last epoch, if it is
        searched.
    """
    found: dict[str, int | None] = {}
    for name in known:
        stage, _, key = name.rpartition(".")
        if key != DECAY or name in searched or name in fixed:
            continue
        epochs = f"{stage}.{EPOCHS}"
        if epochs in fixed:
            found[name] = fixed[epochs]
        elif epochs in searched:
            found[name] = None  # the rate falls to 0 at the last epoch, which the sampler draws
    return found


def _epochs(stage: str, parameters: Mapping[str, Distribution], settings: Params) -> list[int]:
    """Return the epochs of a stage in the preset, and the extreme ones of the search."""
    name = f"{stage}.epochs"
    drawn = parameters[name].examples() if name in parameters else ()
    return [int(settings[name]), *(value for value in drawn if isinstance(value, int))]


@dataclass(frozen=True, kw_only=True)
class Level:
    """Stages that are drawn together, `distinct` times for each configuration of the parent level.

    The trials of a study share all stages up to the last one with a `distinct`. They also share the
    source data and the settings of the model. The configurations form a tree with a level for each
    `distinct`: the children of a configuration are new draws of the next level. A stage without a
    `distinct` is drawn together with the next stage that has one, since it cannot vary more than a
    later shared stage.
    """

    stages: tuple[str, ...]
    distinct: int
    parameters: Mapping[str, Distribution]  # the parameters of these stages, parents first


def levels(study: StudySpec) -> tuple[Level, ...]:
    """Return the levels of the stages that a study's trials share; none without a `distinct`."""
    found: list[Level] = []
    together: list[str] = []
    for stage in study.entry.stages:
        together.append(stage)
        if stage in study.distinct:
            owners = {*together, *(() if found else (PROXY, MODEL))}
            mine = {n: p for n, p in study.parameters.items() if n.partition(".")[0] in owners}
            level = Level(stages=tuple(together), distinct=study.distinct[stage], parameters=mine)
            found.append(level)
            together = []
    return tuple(found)


def shared_stages(study_levels: Iterable[Level]) -> tuple[str, ...]:
    """Return the stages of all levels, in the order in which they run."""
    return tuple(stage for level in study_levels for stage in level.stages)
