"""Small real implementations of the service's protocols, for tests without Optuna or Ray."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sweeper.core.promotion import PromotionRule
from sweeper.core.protocols import Sampler
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import StudyPlan
from sweeper.ledger import Ledger
from sweeper.model import Decision, Params, SamplerState, Study, Trial, TrialKind, TrialState
from sweeper.text import JsonObject
from tests.support.trials import record
from trainables.report import Measurement


class FixedSampler:
    """Suggests what it was given, and prunes what measures above a bound."""

    def __init__(self, suggestions: Sequence[Params], prune_above: float = float("inf")) -> None:
        self._suggestions = iter(suggestions)
        self.prune_above = prune_above
        self.told: list[Trial] = []
        self.paused: list[int] = []
        self.observed: dict[int, dict[str, float]] = {}
        self.restored: list[tuple[Trial, tuple[Measurement, ...]]] = []

    def ask(self, number: int, given: Params | None = None) -> Params:
        return {**(given or {}), **next(self._suggestions)}

    def should_prune(self, number: int, measurement: Measurement) -> bool:
        assert measurement.objective is not None
        return measurement.objective > self.prune_above

    def observe(self, number: int, quantities: Mapping[str, float]) -> None:
        self.observed[number] = dict(quantities)

    def pause(self, number: int) -> None:
        self.paused.append(number)

    def resume(self, number: int) -> None:
        if number in self.paused:  # else it had failed, and is tried again
            self.paused.remove(number)

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def state(self, number: int) -> SamplerState:
        return SamplerState(trial={}, study=None)

    def restore_study(self, state: JsonObject) -> None:
        pass

    def restore(self, trial: Trial, measurements: tuple[Measurement, ...]) -> None:
        self.restored.append((trial, measurements))
        if trial.state is TrialState.PAUSED:
            self.pause(trial.number)


STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


def plan(
    sampler: Sampler,
    *,
    num_trials: int,
    study: Study = STUDY,
    leading: Sequence[tuple[TrialKind, Params]] = (),
    complete=lambda params: {**params, "refine.epochs": 2},
    promotion: PromotionRule | None = None,
    **options,
) -> StudyPlan:
    return StudyPlan(
        study=study,
        leading=tuple(leading),
        num_trials=num_trials,
        sampler=sampler,
        complete=complete,
        trial_seed=lambda number: 1000 + number,
        promotion=promotion or PromotionRule(),
        **options,
    )


def new_ledger(folder) -> Ledger:
    ledger = Ledger.in_folder(folder / "s")
    if ledger.sweep() is None:
        ledger.create(record())
    return ledger


def curve(values: Sequence[float], *, stage: str = "refine") -> Iterator[Measurement]:
    """Yield measurements of a whole stage with these objectives."""
    for epoch, value in enumerate(map(float, values), start=1):
        yield Measurement(
            stage=stage,
            epoch=epoch,
            num_epochs=len(values),
            metrics={"val/nrmse": value, **({"test/nrmse": value} if epoch == len(values) else {})},
            objective=value,
            is_final=epoch == len(values),
        )


def started(runner: SweepRunner) -> Trial:
    """Return the next trial of a sweep that has one."""
    trial = runner.next_trial()
    assert trial is not None
    return trial


def measure(runner: SweepRunner, trial: Trial, *values: float) -> None:
    """Report a whole stage with these objectives."""
    for measurement in curve(values):
        runner.on_report(trial, measurement)


def run_scripted(
    runner: SweepRunner, script: Mapping[int, Sequence[float | BaseException]]
) -> None:
    """Run all trials, each measuring what the script has for its number or raising it."""
    while (trial := runner.next_trial()) is not None:
        values = script[trial.number]
        numbers = [v for v in values if not isinstance(v, BaseException)]
        for value, measurement in zip(values, [*curve(numbers), None], strict=False):
            if isinstance(value, BaseException):
                runner.on_failure(trial, f"{type(value).__name__}: {value}")
                break
            assert measurement is not None
            if len(numbers) < len(values):  # an error follows: nothing here is final
                measurement = Measurement(**{**vars(measurement), "is_final": False})
            if runner.on_report(trial, measurement) is not Decision.CONTINUE:
                break


def run_in_slots(
    runner: SweepRunner, curve_of: Callable[[Trial], Sequence[float]], slots: int
) -> Iterator[tuple[Trial, Measurement | None, Decision | None]]:
    """Run all trials in slots; yield each start and each report with its decision.

    A trial goes on after the epochs that were measured. Of several running trials the one with the
    fewest epochs reports first, so that the order follows from what a ledger has.
    """
    running: dict[tuple[str, int], Trial] = {}

    def epochs(trial: Trial) -> int:
        return len(runner.studies[trial.study].epochs.get(trial.number, ()))

    while True:
        while len(running) < slots and (trial := runner.next_trial()) is not None:
            running[trial.study, trial.number] = trial
            yield trial, None, None
        if not running:
            return
        key = min(running, key=lambda each: (epochs(running[each]), each))
        trial = running[key]
        measurement = list(curve(curve_of(trial)))[epochs(trial)]
        decision = runner.on_report(trial, measurement)
        if decision is not Decision.CONTINUE or measurement.is_final:
            del running[key]
        yield trial, measurement, decision
