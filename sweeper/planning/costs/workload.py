"""The workload of a sweep in trials and epochs, computed from its file alone."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice, takewhile
from typing import Any

from sweeper.core.expected_epochs import (
    HALVING,
    NOTHING,
    Estimate,
    epochs_under_halving,
    epochs_under_promotion,
)
from sweeper.model import Params, StudyFacts, Trial, TrialKind
from sweeper.planning import studies
from sweeper.planning.catalog import home
from sweeper.planning.stage_store import place_of
from sweeper.planning.trials import shares_trainings, training_of
from sweeper.spec.distributions import Choice, Distribution, Int
from sweeper.spec.schema import PROMOTE
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """The work of trials of a study in one stage: of the sampled ones, or of all."""

    runs: int  # trials that run the stage; trials that share a run count once
    shared: int = 0  # runs that sharing saves
    epochs: Estimate
    most: int  # epochs without pruning, with the most epochs drawn in every trial
    longest: int  # most epochs of one trial


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of one study."""

    study: str
    leading: int
    sampled: int
    replicates: int  # at most
    rungs: tuple[int, ...]
    stages: Mapping[str, StageWork]
    optional: int = 0  # replicates that claims may not need

    @property
    def trials(self) -> int:
        return self.leading + self.sampled + self.replicates

    @property
    def epochs(self) -> Estimate:
        return sum((work.epochs for work in self.stages.values()), NOTHING)


def workload_of(sweep: Sweep, study: StudySpec) -> Workload:
    """Return the work of a study, provided that no trial fails.

    Preset, control and replicates are never pruned or paused; sampled trials may be. If the number
    of epochs is searched, its estimate ranges from the fewest to the most epochs, since an adaptive
    sampler may prefer either end. For stages with a `distinct`, all draws are known. Other rules
    than successive halving and promotion are not predicted: the low end of their estimate is the
    first rung, and all epochs are expected.

    Raises:
        UsageError: No configuration of shared stages is feasible.
    """
    fixed = _Fixed.of(sweep, study)
    sampled = study.num_trials - len(fixed.leading)
    steps, known = studies.rungs_of(sweep, study), dict(_shared_work(sweep, study))
    stages = {}
    for stage, longest in study.stage_epochs.items():
        once = _drawn(study, stage)
        # Shared stages are known exactly, all others are estimated.
        if (work := known.get(stage)) is None:
            judged = stage == study.objective_stage
            work = StageWork(
                runs=sampled * (longest > 0),
                epochs=_judged(sweep, study, sampled, once, steps) if judged else once * sampled,
                most=sampled * int(once.high),
                longest=longest,
            )
        runs, saved, epochs = fixed.work(f"{stage}.epochs")
        least, tops = fixed.least, fixed.tops
        again = Estimate(once.low * least, once.expected * (least + tops) / 2, once.high * tops)
        stages[stage] = replace(
            work,
            runs=runs + tops * (longest > 0) + work.runs,
            shared=work.shared + saved + fixed.spared * (longest > 0),
            epochs=work.epochs + Estimate(epochs, epochs, epochs) + again,
            most=epochs + work.most + tops * int(once.high),
        )
    return Workload(
        study=study.name,
        leading=len(fixed.leading),
        sampled=sampled,
        replicates=fixed.tops + fixed.spared + fixed.controls,
        optional=fixed.tops - fixed.least,
        rungs=steps,
        stages=stages,
    )


@dataclass(frozen=True, kw_only=True)
class _Fixed:
    """The trials of a study that are not drawn: leading ones and replicates."""

    leading: tuple[Params, ...]  # the preset, and the control if there is one
    has_control: bool  # that no earlier study trains
    controls: int  # replicates of the control
    least: int  # replicates of the best configurations, at the least
    tops: int  # and at most; if claims decide, half of the optional ones are expected
    spared: int  # replicates of an arm whose equal an earlier study trains

    @classmethod
    def of(cls, sweep: Sweep, study: StudySpec) -> "_Fixed":
        """Return those of a study, provided that enough trials are complete."""
        leading = tuple(params for _, params in study.leading)[: study.num_trials]
        wanted = sweep.replicate_of(study)
        looks = (0,) if wanted is None else wanted.looks
        top = 0 if wanted is None else min(wanted.top, study.num_trials - (len(leading) - 1))
        equal = _earlier(sweep, study, leading[-1])
        # An arm has one configuration, whose replicates equal those of an earlier arm.
        is_equal_arm = study.num_trials == 1 and any(
            each.num_trials == 1 and sweep.replicate_of(each) is not None for each in equal
        )
        return cls(
            leading=leading,
            has_control=len(leading) > 1 and not equal,
            controls=(len(leading) - 1) * looks[-1],
            least=0 if is_equal_arm else top * looks[0],
            tops=0 if is_equal_arm else top * looks[-1],
            spared=top * looks[-1] if is_equal_arm else 0,
        )

    def work(self, name: str) -> tuple[int, int, int]:
        """Return the runs of leading trials and controls in a stage, those spared, and the epochs.

        The control is trained once, and again on each seed. `name` is that of the stage's epochs.
        """
        preset, *control = (int(params[name]) for params in self.leading)
        often = (1 + self.controls) * sum(epochs > 0 for epochs in control)
        epochs = preset + (1 + self.controls) * sum(control) * self.has_control
        runs = (preset > 0) + often * self.has_control
        return runs, often * (not self.has_control), epochs


def _earlier(sweep: Sweep, study: StudySpec, params: Params) -> list[StudySpec]:
    """Return the earlier studies that train a leading trial with the same bits, if that counts."""
    if not shares_trainings(sweep, study):
        return []
    mine = _leading_training(study, params)
    return [
        other
        for other in takewhile(lambda each: each.name != study.name, sweep.studies)
        if other.task == study.task
        and any(
            mine == _leading_training(other, theirs)
            for _, theirs in other.leading[: other.num_trials]
        )
    ]


def _leading_training(study: StudySpec, params: Params) -> str:
    """Return the key of the training of a leading trial with `params`, whatever its seed."""
    trial = Trial(study=study.name, number=0, kind=TrialKind.PRESET, params=params, seed=0)
    training = training_of(study, StudyFacts(), home(), trial)
    assert training is not None
    return training.key


def _shared_work(sweep: Sweep, study: StudySpec) -> Iterator[tuple[str, StageWork]]:
    """Yield each stage whose configurations are drawn in advance, with its work."""
    stages, is_shared = studies.stages(sweep, study), place_of(sweep, study) is not None
    # Trials take the shared configurations in turn.
    taken = [
        (stages.key(prefix.settings, prefix.seed), prefix.settings)
        for prefix in islice(cycle(stages.configs), study.num_sampled)
    ]
    for depth, stage in enumerate(stages.shared, start=1):
        # A stage's result depends on the stages before it, too: runs are the same if their keys
        # agree up to this depth.
        every = [(key[: depth + 1], int(params[f"{stage}.epochs"])) for key, params in taken]
        wanted = [epochs for _, epochs in every if epochs]
        # With a store each distinct key is computed once; without one each trial computes its own.
        left = [epochs for epochs in dict(every).values() if epochs] if is_shared else wanted
        most, saved = sum(left), len(wanted) - len(left)
        yield stage, StageWork(
            runs=len(left), shared=saved, epochs=Estimate(most, most, most), most=most,
            longest=study.stage_epochs[stage],
        )  # fmt: skip


def _judged(
    sweep: Sweep, study: StudySpec, trials: int, once: Estimate, steps: tuple[int, ...]
) -> Estimate:
    """Return the epochs of sampled trials in the stage that reports the objective."""
    all_of_it = once * trials
    if sweep.pruning.type == "none" or not steps:
        return all_of_it
    if sweep.pruning.type == PROMOTE:
        predict = partial(epochs_under_promotion, rule=studies.promotion(sweep, study))
    elif sweep.pruning.type == HALVING:
        predict = partial(epochs_under_halving, steps=steps, eta=sweep.pruning.eta)
    else:
        return Estimate(trials * min(once.low, steps[0]), all_of_it.expected, all_of_it.high)
    # A sampler may come to prefer few epochs or many, so that each end has its own prediction.
    told = {end: predict(trials, end) for end in {once.low, once.expected, once.high}}
    return Estimate(told[once.low].low, told[once.expected].expected, told[once.high].high)


def _drawn(study: StudySpec, stage: str) -> Estimate:
    """Return the fewest, the mean and the most epochs that can be drawn for a stage."""
    name, most = f"{stage}.epochs", study.stage_epochs[stage]
    parameter, preset = study.parameters.get(name), int(study.preset[name])
    if parameter is None:
        return Estimate(float(preset), float(preset), float(preset))
    values: list[Any] = list(parameter.examples())
    mean = _mean(parameter)
    if parameter.when:  # the preset's value applies if the condition fails
        return Estimate(float(min(*values, preset)), mean, float(most))
    return Estimate(float(min(values)), mean, float(max(values)))


def _mean(parameter: Distribution) -> float:
    if isinstance(parameter, Choice):
        values = [float(value or 0) for value in parameter.values]
        return sum(values) / len(values)
    if isinstance(parameter, Int) and parameter.log and parameter.low < parameter.high:
        # The mean of a log-uniform density on [a, b] is (b - a) / ln(b / a).
        return (parameter.high - parameter.low) / math.log(parameter.high / parameter.low)
    return (parameter.low + parameter.high) / 2
