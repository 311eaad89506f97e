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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from sweeper.errors import SweeperError, unknown
from sweeper.model import Params, TrialKind
from sweeper.spec.arms import BACKBONE, DATA, Arm
from sweeper.spec.catalog import MODEL, PROXY, Settings, model_settings, public_fields, validated
from sweeper.spec.distributions import Choice, Distribution, parents_first, same
from sweeper.spec.faults import sentence
from trainables.methods.method import Method
from trainables.spec import SEARCHED_MODEL, BackboneSpec

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
    min_epochs: int  # of the objective stage, before any trial is pruned
    backbone: Settings | None  # None: the method has a network of its own
    proxy: str | None  # None: no stage reads source data
    model: Settings
    data: Settings
    entry: Method
    arm: Arm | None = None  # of an ablation
    most_trials: int | None = None  # that a grid or an arm allows; None: any number
    base: str | None = None  # study whose best trial has the settings that the arm does not pin
    rung: int = 0  # on a ladder: lower rungs are trained first

    @property
    def leading(self) -> tuple[tuple[TrialKind, Params], ...]:
        """The trials that sample nothing: the preset, and the control if the method has one.

        The control of an ablation is an arm of its own.
        """
        preset = (TrialKind.PRESET, self.preset)
        has_control = self.entry.control and self.arm is None
        return (preset, (TrialKind.CONTROL, self.control)) if has_control else (preset,)

    @property
    def objective_stage(self) -> str:
        """The stage whose reports carry the objective."""
        return self.entry.objective_stage

    @property
    def backbone_spec(self) -> BackboneSpec | None:
        """The backbone of the trials, or None if the method has a network of its own."""
        return None if self.backbone is None else BackboneSpec.model_validate(self.backbone)

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
        return min(epochs_of(self.objective_stage, self.parameters, self.preset))

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

    def stages_of(self, params: Params) -> Stages:
        """Return the settings of every stage of a trial whose complete `params` were checked."""
        stages: dict[str, dict[str, Any]] = {stage: {} for stage in self.entry.stages}
        for name, value in {**self.preset, **params}.items():
            stage, _, key = name.partition(".")
            if stage in stages:
                stages[stage][key] = value
        return dict(stages)

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
        # What an arm pins of data and backbone is no parameter of a trial, and needs no base.
        others = (DATA, BACKBONE)
        pinned = {k: v for k, v in self.arm.pinned.items() if k.partition(".")[0] not in others}
        # The backbone of the base may have settings that the arm's lacks.
        lacked = [f"{MODEL}.{key}" for key in SEARCHED_MODEL if key not in self.model]
        kept = {k: v for k, v in params.items() if k not in lacked}
        return self.complete_params({**kept, **pinned})

    def proxy_of(self, params: Params) -> str | None:
        """Return the source data that a trial with `params` reads."""
        proxy = params.get(PROXY, self.proxy)
        return None if proxy is None else str(proxy)


Layer = tuple[Section, str, Params]


def joined(method: Method, layers: Sequence[Layer]) -> Stages:
    """Return all settings of all stages, given layers of them: a later one overrides.

    Raises:
        InfeasibleParams: A stage refuses them. The message names the layer that is at fault.
    """

    def first(count: int) -> Params:
        return {name: value for *_, layer in layers[:count] for name, value in layer.items()}

    # As a rule all layers together are valid. Only after a fault is each beginning tried, to find
    # the layer that brings it.
    try:
        return complete(method, first(len(layers)))
    except InfeasibleParams:
        for count, (section, what, _) in enumerate(layers, start=1):
            if section != "fixed":
                try:
                    complete(method, first(count))
                except InfeasibleParams as error:
                    raise InfeasibleParams(f"{what}: {error}", section) from error
        raise


def complete(method: Method, params: Params) -> Stages:
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
        # Parents come first, so that a dropped one drops its children. A parent that is not
        # searched is fixed or missing: its condition is decided here.
        others = [parent for parent in distribution.when if parent not in decided]
        holds = all(
            parent in fixed and any(same(fixed[parent], v) for v in distribution.when[parent])
            for parent in others
        )
        if holds:
            when = {k: v for k, v in distribution.when.items() if k not in others}
            decided[name] = replace(distribution, when=when)
    return decided


def following(
    known: Iterable[str],
    searched: Mapping[str, Distribution],
    fixed: Params,
    base: Params | None = None,
) -> Params:
    """Return the values of `decay_epochs` that follow from `epochs`, by `stage.parameter`.

    Args:
        known: Every `stage.parameter` of the file's methods.
        searched: The searched parameters.
        fixed: The fixed parameters.
        base: Settings that these override. Their schedule holds for their number of epochs alone.

    Returns:
        The number of epochs if `epochs` is fixed; None, which means the last epoch, if it is
        searched.
    """
    found: dict[str, int | None] = {}
    base = base or {}
    for name in known:
        stage, _, key = name.rpartition(".")
        if key != DECAY or name in searched or name in fixed:
            continue
        epochs = f"{stage}.{EPOCHS}"
        if epochs in fixed:
            found[name] = fixed[epochs]
        elif epochs in searched:
            found[name] = None  # the rate falls to 0 at the last epoch, which the sampler draws
        elif epochs in base and name not in base:
            found[name] = base[epochs]
    return found


def epochs_of(stage: str, parameters: Mapping[str, Distribution], settings: Params) -> list[int]:
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
            # Source data and model settings are drawn before the first stage, so they belong to the
            # first level.
            owners = {*together, *(() if found else (PROXY, MODEL))}
            mine = {n: p for n, p in study.parameters.items() if n.partition(".")[0] in owners}
            level = Level(stages=tuple(together), distinct=study.distinct[stage], parameters=mine)
            found.append(level)
            together = []
    return tuple(found)
