"""Which prefix a new trial takes and who goes first: even use, nothing waits in vain, resumable."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.core.stage_sharing import SharedConfig, SharedStages, SharingSchedule, epochs_left
from sweeper.core.study_runner import Infeasible, StudyPlan
from sweeper.model import Params, Study, Trial, TrialKind, TrialState
from tests.support.fakes import FixedSampler, new_ledger, plan, started
from tests.support.trials import measured
from trainables.report import Measurement

ORDER = ("align", "warmup", "refine")
REFINE = 3  # epochs
PRESET = {"align.epochs": 4, "warmup.epochs": 0, "align.lr": 0.5, "refine.epochs": REFINE}


def complete(params: Params) -> Params:
    if params.get("refine.lr") == "impossible":
        raise Infeasible("impossible")
    return {**PRESET, **params}


def stages(*lengths: int) -> SharedStages:
    """Share `align` and an empty `warmup`, in a configuration for each number of epochs."""
    shared = SharedStages(order=ORDER, shared=ORDER[:2])
    drawn = [{"align.epochs": n, "align.lr": float(k)} for k, n in enumerate(lengths)]
    return replace(
        shared,
        configs=tuple(
            SharedConfig(params=params, settings=shared.settings(complete(params)), seed=100 + k)
            for k, params in enumerate(drawn)
        ),
    )


def study_plan(
    shared: SharedStages, *, num_trials: int, name: str = "orca/t", **changes
) -> StudyPlan:
    study = Study(name=name, method="orca", task="t", objective="val/nrmse", seed=0)
    draws = ({"refine.lr": float(k)} for k in itertools.count())
    made = plan(FixedSampler(draws), num_trials=num_trials, study=study, complete=complete)
    return replace(made, stages=shared, **changes)


def at(stage: str, epoch: int, num_epochs: int) -> Measurement:
    is_final = stage == "refine" and epoch == num_epochs
    value = 1.0 if stage == "refine" else None
    facts = {"stage": stage, "num_epochs": num_epochs, "is_final": is_final}
    return measured(epoch, value, checkpoint=f"/{stage}-{epoch}", **facts)


def epochs(params: Params) -> Iterator[Measurement]:
    for stage in ORDER:
        total = params[f"{stage}.epochs"]
        yield from (at(stage, epoch, total) for epoch in range(1, total + 1))


def prefix_of(trial: Trial) -> tuple[int, float]:
    return trial.seed, trial.params["align.lr"]


class Cluster:
    """Runs trials epoch by epoch, on slots; one builds a prefix, others wait and then skip it."""

    def __init__(self, runner: SweepRunner, slots: int, rng: random.Random) -> None:
        self.runner, self.slots, self.rng = runner, slots, rng
        self.running: dict[tuple[str, int], tuple[Trial, list[Measurement]]] = {}
        self.left: dict[tuple[str, int], list[Measurement]] = {}  # of trials that were interrupted
        self.built: set[tuple[str, int, float]] = set()
        self.builders: Counter[tuple[str, int, float]] = Counter()

    def _key(self, trial: Trial) -> tuple[str, int, float]:
        return trial.study, *prefix_of(trial)

    def _builds(self, trial: Trial) -> bool:
        """Return whether this running trial is the first of its prefix, which is not ready."""
        mine = [t for t, _ in self.running.values() if self._key(t) == self._key(trial)]
        return self._key(trial) not in self.built and mine[0] is trial

    def fill(self) -> None:
        while len(self.running) < self.slots and (trial := self.runner.next_trial()) is not None:
            key = trial.study, trial.number
            waits = self._key(trial) not in self.built and any(
                self._key(t) == self._key(trial) for t, _ in self.running.values()
            )
            self.running[key] = trial, self.left.get(key) or list(epochs(trial.params))
            self.builders[self._key(trial)] += not waits and self._key(trial) not in self.built

    def step(self) -> None:
        """One trial that need not wait measures an epoch."""
        able = [
            key for key, (trial, _) in self.running.items()
            if self._key(trial) in self.built or self._builds(trial)
        ]  # fmt: skip
        key = self.rng.choice(able)
        trial, left = self.running[key]
        if self._key(trial) in self.built:
            left[:] = [m for m in left if m.stage == "refine"]
        measurement = left.pop(0)
        self.runner.on_report(trial, measurement)
        if measurement.stage == "refine" or measurement.epoch == measurement.num_epochs:
            self.built.add(self._key(trial))
        if not left:
            del self.running[key]

    def run(self, steps: int | None = None) -> bool:
        """Run to the end, or for some steps; return whether it has ended."""
        for _ in itertools.count() if steps is None else range(steps):
            self.fill()
            if not self.running:
                return True
            self.step()
        return False

    def interrupt(self, runner: SweepRunner) -> None:
        """End what runs, and go on with another runner of the same ledger."""
        self.runner = runner
        self.left |= {key: left for key, (_, left) in self.running.items()}
        self.running = {}


def in_turn(shared: SharedStages, count: int) -> list[tuple[int, float]]:
    """Return the prefixes of so many trials: each in turn."""
    turns = itertools.islice(itertools.cycle(shared.configs), count)
    return [(c.seed, c.params["align.lr"]) for c in turns]


def test_epochs_left_are_counted_over_stages_from_the_last_epoch_measured():
    params = {"align.epochs": 4, "warmup.epochs": 2, "refine.epochs": 5}
    shared = ORDER[:2]
    assert epochs_left(params, shared) == 6
    assert epochs_left(params, shared, at("align", 1, 4)) == 5
    assert epochs_left(params, shared, at("align", 4, 4)) == 2
    assert epochs_left(params, shared, at("warmup", 2, 2)) == 0
    assert epochs_left(params, shared, at("refine", 1, 5)) == 0
    assert epochs_left(params, ORDER, at("warmup", 2, 2)) == 5
    assert epochs_left({**params, "warmup.epochs": 0}, shared, at("align", 4, 4)) == 0
    assert epochs_left(params, (), at("align", 1, 4)) == 0


@pytest.mark.parametrize("slots", [1, 2, 5, 12])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_timing_prefixes_come_in_turn_and_are_built_once(tmp_path, slots, seed):
    shared = stages(4, 9, 1, 0, 6)
    runner = SweepRunner([study_plan(shared, num_trials=13)], new_ledger(tmp_path))
    cluster = Cluster(runner, slots, random.Random(seed))
    assert cluster.run()
    assert runner.is_done
    assert [prefix_of(trial) for trial in runner.trials] == in_turn(shared, 13)
    lengths = {float(k): p.params["align.epochs"] for k, p in enumerate(shared.configs)}
    assert all(n == 1 for (_, _, k), n in cluster.builders.items() if lengths[k])
    assert all(t.params["align.epochs"] == lengths[t.params["align.lr"]] for t in runner.trials)


@pytest.mark.slow
@given(
    slots=st.integers(1, 6),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    num_trials=st.integers(1, 14),
    cuts=st.lists(st.integers(1, 25), max_size=4),
    seed=st.integers(0, 99),
)
def test_wherever_a_sweep_is_interrupted_it_ends_with_the_same_prefixes_and_seeds(
    tmp_path_factory, slots, lengths, num_trials, cuts, seed
):
    folder = tmp_path_factory.mktemp("cut")
    shared = stages(*lengths)

    def resumed() -> SweepRunner:
        return SweepRunner([study_plan(shared, num_trials=num_trials)], new_ledger(folder))

    cluster = Cluster(resumed(), slots, random.Random(seed))
    for is_killed, steps in zip(itertools.cycle([True, False]), cuts, strict=False):
        cluster.run(steps)
        if not is_killed:
            cluster.runner.interrupt()
        cluster.interrupt(resumed())
    assert cluster.run()
    assert cluster.runner.is_done
    assert [prefix_of(trial) for trial in cluster.runner.trials] == in_turn(shared, num_trials)


def sampled(shared: SharedStages, number: int, k: int, **changes) -> Trial:
    prefix = shared.configs[k]
    trial = Trial(study="orca/t", number=number, kind=TrialKind.SAMPLED, seed=prefix.seed,
                  params=complete(prefix.params))  # fmt: skip
    return replace(trial, **changes)


def test_new_trials_must_wait_only_if_each_prefix_to_come_is_being_built():
    shared = stages(9, 9, 4, 0)  # the last one has nothing to build
    schedule = SharingSchedule(shared)
    turns = [schedule.config_of(index) for index in range(6)]
    assert turns == [*shared.configs, *shared.configs[:2]]
    for number in range(2):
        schedule.add(sampled(shared, number, number))
        schedule.start(sampled(shared, number, number))
    waits = {(index, count): schedule.must_all_wait(index, count)
             for index in (0, 2, 3, 4) for count in (0, 1, 2, 3)}  # fmt: skip
    assert {key for key, must in waits.items() if must} == {(0, 1), (0, 2), (4, 1), (4, 2)}
    schedule.measure(sampled(shared, 0, 0), at("align", 9, 9))
    assert not schedule.must_all_wait(4, 2)


def test_a_trial_that_would_wait_lets_a_later_one_start_and_keeps_its_prefix(tmp_path):
    """While trial 0 builds, trial 2 has its prefix and waits; trial 3 takes the slot."""
    runner = SweepRunner([study_plan(stages(5, 3), num_trials=6)], new_ledger(tmp_path))
    first, second = started(runner), started(runner)
    runner.on_report(second, at("align", 3, 3))
    third = started(runner)
    assert (third.number, prefix_of(third)) == (3, prefix_of(second))
    runner.on_report(first, at("align", 5, 5))
    fourth = started(runner)
    assert (fourth.number, prefix_of(fourth)) == (2, prefix_of(first))


def test_an_arm_does_not_wait_for_a_stage_of_another_while_it_can_start_others(tmp_path):
    """Presets and replicates of two arms have one alignment for each seed."""
    shared = SharedStages(order=ORDER, shared=("align",), scope="orca on t")
    leading = ((TrialKind.PRESET, PRESET),)
    arms = [
        study_plan(shared, num_trials=1, name=f"orca/t/{arm}", leading=leading,
                   replication=Replication(top=1, seeds=(7, 8)))
        for arm in "ab"
    ]  # fmt: skip
    other = study_plan(replace(shared, scope="orca on u"), num_trials=1, name="orca/u/a",
                       leading=leading)  # fmt: skip
    runner = SweepRunner([*arms, other], new_ledger(tmp_path))

    first, second = started(runner), started(runner)
    assert (first.study, second.study) == ("orca/t/a", "orca/u/a")
    late = started(runner)  # nothing else is left
    assert late.study == "orca/t/b"
    for trial in (first, late):
        for each in epochs(trial.params):
            runner.on_report(trial, each)
    replicates = started(runner), started(runner)
    assert {trial.study for trial in replicates} == {"orca/t/a", "orca/t/b"}
    assert {trial.seed for trial in replicates} == {7, 8}


def test_of_trials_that_wait_ready_ones_go_first_then_the_longest():
    shared = stages(4, 9, 2)
    schedule = SharingSchedule(shared)
    trials = [sampled(shared, number, k) for number, k in enumerate((0, 1, 2, 0))]
    for trial in trials:
        schedule.add(trial)
    assert schedule.first(trials) == trials[1]
    schedule.measure(trials[1], at("align", 7, 9))  # it has 5 to go; the first one 7
    assert schedule.first(trials) == trials[0]
    schedule.measure(trials[2], at("align", 2, 2))
    assert schedule.first(trials) == trials[2]
    schedule.start(trials[0])
    assert schedule.must_wait(trials[3])
    assert schedule.first([trials[3], trials[1]]) == trials[1]
    schedule.measure(trials[0], at("refine", 1, REFINE))
    assert not schedule.must_wait(trials[3])


def tree(aligns: int, warmups: int, *, epochs: int = 2) -> SharedStages:
    """Share `align` and `warmup`: some of these for each of those, which have a seed each."""
    shared = SharedStages(order=ORDER, shared=ORDER[:2])
    drawn = [(a, {"align.lr": float(a), "warmup.lr": float(w), "warmup.epochs": epochs})
             for w in range(warmups) for a in range(aligns)]  # fmt: skip
    return replace(
        shared,
        configs=tuple(
            SharedConfig(params=params, settings=shared.settings(complete(params)), seed=100 + a)
            for a, params in drawn
        ),
    )


def test_a_second_level_waits_for_the_first_and_then_only_for_its_own():
    shared = tree(2, 2)  # the prefixes 0 and 2 have one alignment, 1 and 3 the other
    schedule = SharingSchedule(shared)
    trials = [sampled(shared, number, k) for number, k in enumerate((0, 1, 2, 3, 0))]
    for trial in trials:
        schedule.add(trial)
    for trial in trials[:2]:
        assert not schedule.must_wait(trial)
        schedule.start(trial)
    assert all(map(schedule.must_wait, trials[2:]))
    assert schedule.must_all_wait(0, 4)
    schedule.measure(trials[0], at("align", 4, 4))
    assert [schedule.must_wait(t) for t in trials[2:]] == [False, True, True]
    assert not schedule.must_all_wait(0, 4)
    schedule.start(trials[2])
    schedule.measure(trials[0], at("warmup", 2, 2))
    assert [schedule.must_wait(t) for t in trials[3:]] == [True, False]
    schedule.end(trials[1])
    assert not schedule.must_wait(trials[3])


def take(left: list[Measurement], count: int) -> list[Measurement]:
    """Remove the next ones of a list, and return them."""
    taken = left[:count]
    del left[:count]
    return taken


@given(data=st.data())
def test_a_trial_waits_exactly_while_another_runs_what_both_need_and_neither_has(data):
    shared = tree(2, 2, epochs=data.draw(st.integers(0, 2)))
    schedule = SharingSchedule(shared)
    order = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=12))
    trials = [sampled(shared, number, k) for number, k in enumerate(order)]
    left = {trial.number: list(epochs(trial.params)) for trial in trials}
    running: list[Trial] = []
    built: set[tuple] = set()
    for trial in trials:
        schedule.add(trial)

    def needs(trial: Trial) -> list[tuple]:
        align = prefix_of(trial)
        warmup = (*align, trial.params["warmup.lr"])
        return [align, warmup] if trial.params["warmup.epochs"] else [align]

    for trial in trials:
        lacks = [each for each in needs(trial) if each not in built]
        in_common = any(each in needs(other) for each in lacks for other in running)
        assert schedule.must_wait(trial) == in_common
        schedule.start(trial)
        running.append(trial)
        for other in tuple(running):
            for each in take(left[other.number], data.draw(st.integers(0, 7))):
                schedule.measure(other, each)
                is_over = each.epoch == each.num_epochs
                built.update(needs(other)[: ORDER.index(each.stage) + is_over])
            if data.draw(st.booleans()):
                schedule.end(other)
                running.remove(other)


def test_where_nothing_is_shared_trials_keep_their_order():
    schedule = SharingSchedule(SharedStages())
    trials = [sampled(stages(n), n, 0) for n in (1, 5, 3)]
    for trial in trials:
        schedule.add(trial)
        schedule.start(trial)
    assert schedule.first(trials) == trials[0]
    assert not any(map(schedule.must_wait, trials))
    assert schedule.config_of(0) is None
    assert not schedule.must_all_wait(0, 9)


def test_the_preset_has_its_own_settings_and_sampled_trials_those_of_their_prefix(tmp_path):
    leading = ((TrialKind.PRESET, PRESET),)
    made = study_plan(stages(2, 7), num_trials=5, leading=leading)
    runner = SweepRunner([made], new_ledger(tmp_path))
    preset, first, second, third = (runner.next_trial() for _ in range(4))
    assert preset is not None
    assert first is not None
    assert second is not None
    assert (preset.seed, preset.params) == (1000, PRESET)
    assert prefix_of(first) == (100, 0.0)
    assert prefix_of(second) == (101, 1.0)
    assert set(first.sampled) == {"align.epochs", "align.lr", "refine.lr"}
    assert [t.sampled for t in new_ledger(tmp_path).trials()] == [t.sampled for t in runner.trials]
    assert third is not None


def test_an_infeasible_draw_of_a_later_stage_counts_as_a_use_of_its_prefix(tmp_path):
    made = study_plan(stages(1, 1), num_trials=4)
    draws = [{"refine.lr": lr} for lr in ("impossible", 1.0, 2.0, 3.0)]
    made = replace(made, sampler=FixedSampler(draws))
    for _ in range(2):  # as the ledger has it, too
        runner = SweepRunner([made], new_ledger(tmp_path))
        runner.next_trial()
    assert Cluster(SweepRunner([made], new_ledger(tmp_path)), 2, random.Random(0)).run()
    runner = SweepRunner([made], new_ledger(tmp_path))
    assert [prefix_of(trial)[0] for trial in runner.trials] == [100, 101, 100, 101]
    assert [t.state for t in runner.trials].count(TrialState.PRUNED) == 1


def test_a_retry_that_would_wait_lets_a_new_trial_go_first(tmp_path):
    made = study_plan(stages(5, 3), num_trials=6)
    runner = SweepRunner([made], new_ledger(tmp_path))
    first, second, third = (runner.next_trial() for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert prefix_of(first) == prefix_of(third)  # nothing else was left to choose
    runner.on_failure(third, "NodeDiedError: gone")
    runner.on_report(second, at("align", 3, 3))
    fourth = started(runner)
    assert prefix_of(fourth) == prefix_of(second)
    runner.on_report(first, at("align", 5, 5))
    again = started(runner)
    assert (again.number, again.attempt) == (third.number, 2)


def test_what_is_ready_is_known_again_after_a_restart(tmp_path):
    made = study_plan(stages(5, 3), num_trials=6)
    runner = SweepRunner([made], new_ledger(tmp_path))
    first = started(runner)
    for epoch in range(1, 6):
        runner.on_report(first, at("align", epoch, 5))
    runner.on_failure(first, "NodeDiedError: gone")
    resumed = SweepRunner([study_plan(stages(5, 3), num_trials=6)], new_ledger(tmp_path))
    began = [resumed.next_trial() for _ in range(3)]
    assert [t and prefix_of(t) for t in began] == [(100, 0.0), (101, 1.0), (100, 0.0)]
    assert not resumed.studies["orca/t"].must_wait  # the next one is of the ready prefix


def test_a_study_that_need_not_wait_goes_before_one_that_must(tmp_path):
    one = study_plan(stages(5), num_trials=4)
    other = study_plan(SharedStages(), num_trials=4, name="orca/u")
    runner = SweepRunner([one, other], new_ledger(tmp_path))
    began = [runner.next_trial() for _ in range(6)]
    names = [t.study if t else None for t in began]
    assert names == ["orca/t", "orca/u", "orca/u", "orca/u", "orca/u", "orca/t"]


def test_replicates_that_share_their_stages_and_seed_do_not_run_into_each_other(tmp_path):
    made = study_plan(stages(3), num_trials=2, replication=Replication(top=2, seeds=(7, 8)))
    runner = SweepRunner([made], new_ledger(tmp_path))
    cluster = Cluster(runner, 1, random.Random(0))
    while runner.studies["orca/t"].num_finished < 2:
        cluster.run(1)
    first, second = started(runner), started(runner)
    assert {first.seed, second.seed} == {7, 8}  # not the same stages twice at the same time
    assert first.kind is second.kind is TrialKind.REPLICATE


def test_settings_of_the_prefix_are_those_of_its_stages_and_the_source():
    shared = SharedStages(order=ORDER, shared=("align",))
    params: Mapping[str, object] = {
        "proxy": "digits",
        "align.lr": 1,
        "warmup.lr": 2,
        "refine.lr": 3,
    }
    assert shared.settings(params) == {"proxy": "digits", "align.lr": 1}
    assert shared.key(params, 3) == shared.key(dict(reversed(params.items())), 3)
    assert shared.key(params, 3) != shared.key(params, 4)


@pytest.mark.parametrize("seed", range(3))
def test_few_trials_are_planned_before_they_can_start(tmp_path, seed):
    """While one prefix is being built, at most one trial of each configuration waits for it."""
    shared = stages(40, 1, 1)
    runner = SweepRunner([study_plan(shared, num_trials=30)], new_ledger(tmp_path))
    cluster = Cluster(runner, 2, random.Random(seed))
    most = 0
    while not cluster.run(1):
        most = max(most, sum(not trial.attempt for trial in runner.trials))
    assert 0 < most <= len(shared.configs)
    assert [prefix_of(trial) for trial in runner.trials] == in_turn(shared, 30)
