"""The workload of a sweep in trials and epochs, computed from its file alone."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

from sweeper.core.expected_epochs import (
    HALVING,
    NOTHING,
    Estimate,
    epochs_under_halving,
    epochs_under_promotion,
)
from sweeper.planning import studies
from sweeper.planning.stage_store import place_of
from sweeper.spec.distributions import Choice, Distribution, Int
from sweeper.spec.schema import PROMOTE
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """The work of all trials of a study in one stage."""

    runs: int  # trials that run the stage; trials that share a run count once
    shared: int  # runs that sharing saves
    epochs: Estimate
    most: int  # epochs without pruning, with the most epochs drawn in every trial
    longest: int  # most epochs of one trial


@dataclass(frozen=True, kw_only=True)
class SampledWork:
    """The work of sampled trials in one stage."""

    runs: int
    epochs: Estimate  # of these runs
    most: int  # epochs without pruning
    saved: int = 0  # runs that sharing saves


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of one study."""

    study: str
    leading: int
    sampled: int
    replicates: int
    rungs: tuple[int, ...]
    stages: Mapping[str, StageWork]

    @property
    def trials(self) -> int:
        return self.leading + self.sampled + self.replicates

    @property
    def epochs(self) -> Estimate:
        return sum((work.epochs for work in self.stages.values()), NOTHING)

    @property
    def most_epochs(self) -> int:
        return sum(work.most for work in self.stages.values())


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
    leading = [params for _, params in study.leading][: study.num_trials]
    sampled = study.num_trials - len(leading)
    repeats = sweep.replicate_of(study)
    seeds, top = (repeats.seeds, repeats.top) if repeats else (0, 0)
    tops, controls = seeds * min(top, study.num_trials), seeds * (len(leading) - 1)
    steps, known = studies.rungs_of(sweep, study), dict(_shared_work(sweep, study))
    stages = {}
    for stage, longest in study.stage_epochs.items():
        name = f"{stage}.epochs"
        drawn = _drawn(study.parameters.get(name), int(study.preset[name]), longest)
        once = Estimate(*map(float, drawn))
        # Shared stages are known exactly, all others are estimated.
        if (work := known.get(stage)) is None:
            judged = stage == study.objective_stage
            work = SampledWork(
                runs=sampled * (longest > 0),
                epochs=_judged(sweep, study, sampled, once, steps) if judged else once * sampled,
                most=sampled * int(once.high),
            )
        # Leading trials and controls have fixed epochs; replicates repeat a sampled trial.
        fixed = sum(int(params[name]) for params in leading) + controls * int(leading[-1][name])
        ran = sum(int(params[name]) > 0 for params in leading)
        ran += controls * (int(leading[-1][name]) > 0) + tops * (longest > 0)
        stages[stage] = StageWork(
            runs=ran + work.runs,
            shared=work.saved,
            epochs=work.epochs + Estimate(fixed, fixed, fixed) + once * tops,
            most=fixed + work.most + tops * int(once.high),
            longest=longest,
        )
    return Workload(
        study=study.name,
        leading=len(leading),
        sampled=sampled,
        replicates=tops + controls,
        rungs=steps,
        stages=stages,
    )


def _shared_work(sweep: Sweep, study: StudySpec) -> Iterator[tuple[str, SampledWork]]:
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
        epochs = Estimate(most, most, most)
        yield stage, SampledWork(runs=len(left), epochs=epochs, most=most, saved=saved)


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


def _drawn(parameter: Distribution | None, preset: int, most: int) -> tuple[float, float, float]:
    """Return the fewest, the mean and the most epochs that can be drawn."""
    if parameter is None:
        return preset, preset, preset
    values: list[Any] = list(parameter.examples())
    mean = _mean(parameter)
    if parameter.when:  # the preset's value applies if the condition fails
        return min(*values, preset), mean, most
    return min(values), mean, max(values)


def _mean(parameter: Distribution) -> float:
    if isinstance(parameter, Choice):
        values = [float(value or 0) for value in parameter.values]
        return sum(values) / len(values)
    if isinstance(parameter, Int) and parameter.log and parameter.low < parameter.high:
        # The mean of a log-uniform density on [a, b] is (b - a) / ln(b / a).
        return (parameter.high - parameter.low) / math.log(parameter.high / parameter.low)
    return (parameter.low + parameter.high) / 2
