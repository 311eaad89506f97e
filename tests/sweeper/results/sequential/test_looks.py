"""Looks at the claims of a sweep: which arms get more seeds, alike whatever interrupts them."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.ledger import Ledger
from sweeper.model import Study, TrialKind
from sweeper.results.compare import SEEDS_ADDED, compare
from sweeper.results.read import read_sweep
from sweeper.results.sequential.looks import seeds_after
from sweeper.spec.schema import Replicate
from tests.support.compared_ledgers import Scores, write
from tests.support.fakes import FixedSampler, plan, run_in_slots
from tests.support.trials import record

TASK = "pdebench/advection_1d"
REPLICATE = Replicate(until="decided", most=24)
SEEDS = REPLICATE.seeds_on(TASK, 3)
NOISE = {  # of each arm, by seed
    arm: dict(zip(SEEDS, np.random.default_rng(number).normal(0, 0.01, 24), strict=True))
    for number, arm in enumerate("abcd")
}
# b is clearly better than a, c equals a, and d is better by as much as the noise allows to doubt.
MEANS = {"x=a": 0.30, "x=b": 0.20, "x=c": 0.30, "x=d": 0.291}
CONTRASTS = (["x=b", "x=a"], ["x=c", "x=a"], ["x=d", "x=a"])


def value_of(arm: str, seed: int) -> float:
    return MEANS[arm] + NOISE[arm[-1]].get(seed, 0.0)


def resolved(contrasts: Sequence[Sequence[str]] = CONTRASTS) -> Mapping[str, object]:
    claims = [{"says": "It is.", "contrast": list(c), "expect": "better"} for c in contrasts]
    return {
        "tasks": [TASK], "compare_by": {"x": list("abcd")}, "base": "preset", "tune": "shared",
        "search": {"trials": 1, "seed": 3}, "replicate": REPLICATE.model_dump(mode="json"),
        "question": {"title": "Which?", "published": "b.", "claims": claims},
        "parameters": {}, "resources": {"cpu": 1, "gpu": 0}, "failures": {},
    }  # fmt: skip


def written(folder, seeds: int | Mapping[str, int], contrasts=CONTRASTS) -> Ledger:
    """Return the ledger of a sweep whose arms have so many seeds."""
    counts = dict.fromkeys(MEANS, seeds) if isinstance(seeds, int) else seeds
    studies = [
        Scores(method="orca", task=TASK, arm=arm, seeds=SEEDS[:n],
               best=[value_of(arm, seed) for seed in SEEDS[:n]])
        for arm, n in counts.items()
    ]  # fmt: skip
    return write(folder, "looks", studies, resolved=resolved(contrasts))


def after(ledger: Ledger, at: int) -> dict[str, int]:
    needed = seeds_after(read_sweep(ledger).studies, at)
    return {study.removeprefix(f"orca/{TASK}/"): n for study, n in needed.items()}


def test_only_the_arms_of_undecided_claims_get_more(tmp_path):
    needed = after(written(tmp_path, 8), 8)
    assert needed == {"x=a": 12, "x=b": 8, "x=c": 8, "x=d": 12}
    assert after(written(tmp_path / "one", 8, CONTRASTS[:1]), 8) == dict.fromkeys(MEANS, 8)
    # An arm of no claim has the seeds of the first look.
    few = after(written(tmp_path / "few", 8, CONTRASTS[2:]), 8)
    assert few == {"x=a": 12, "x=b": 8, "x=c": 8, "x=d": 12}


def test_a_later_look_repeats_the_earlier_ones(tmp_path):
    """Law: what was decided or futile at a look stays so, and further pairs change no look."""
    whole = written(tmp_path, 24)
    assert after(whole, 8) == after(written(tmp_path / "some", 8), 8)
    found = [after(whole, look) for look in REPLICATE.looks]
    for before, later in itertools.pairwise(found):
        assert all(later[arm] >= before[arm] for arm in MEANS)
        assert (before["x=b"], before["x=c"]) == (8, 8) == (later["x=b"], later["x=c"])
    assert found[-1] == found[-2]  # no look follows the last


def test_claims_and_the_comparison_say_how_many_looks_there_were(tmp_path):
    found = compare([written(tmp_path, {"x=a": 12, "x=b": 8, "x=c": 8, "x=d": 12})])
    decided, futile, undecided = found.answers[0].claims
    assert (decided.looks, decided.n, decided.verdict) == ((1, 4), 8, "holds here")
    assert "p = 0.02344 after 1 of 4 looks" in decided.sentence
    assert (futile.looks, futile.verdict) == ((1, 4), "cannot tell")
    assert (undecided.looks, undecided.n) == ((2, 4), 12)
    assert decided.detectable is None
    assert SEEDS_ADDED in found.tasks[0].cautions


def test_pairs_of_a_look_to_come_do_not_count_yet(tmp_path):
    ledgers = [written(tmp_path / str(n), n) for n in (8, 11)]
    early, ended = (compare([ledger]).answers[0].claims[2] for ledger in ledgers)
    assert (ended.n, ended.looks) == (11, (2, 4))  # the last seed of this look has failed
    ledgers[1].end("interrupted")
    late = compare(ledgers[1:]).answers[0].claims[2]
    assert (late.p_value, late.n, late.difference) == (early.p_value, 8, early.difference)


def runner_of(folder) -> SweepRunner:
    """Return the runner of the sweep in a folder, as a launch makes it."""
    ledger = Ledger.in_folder(folder)
    if ledger.sweep() is None:
        ledger.create(record(ledger.name, resolved=resolved()))
    plans = [
        plan(
            FixedSampler([]),
            num_trials=1,
            leading=[(TrialKind.PRESET, {})],
            study=Study(
                name=f"orca/{TASK}/{arm}", method="orca", task=TASK, objective="val/nrmse", seed=0
            ),
            replication=Replication(top=1, seeds=SEEDS, first=REPLICATE.looks[0]),
        )
        for arm in MEANS
    ]
    for each in plans:
        ledger.add_study(each.study)
    runner = SweepRunner(plans, ledger)
    runner.look = lambda at: seeds_after(read_sweep(ledger).studies, at)
    return runner


def run(runner: SweepRunner, ends: int | None = None) -> None:
    """Run a sweep to its end, or until so many trials have ended."""
    curves = lambda trial: [value_of(trial.study.rpartition("/")[2], trial.seed)]  # noqa: E731
    for _, measurement, _ in run_in_slots(runner, curves, 3):
        if measurement is not None and ends is not None and runner.num_settled >= ends:
            return


def trained(runner: SweepRunner) -> set[tuple[str, int]]:
    return {(t.study, t.seed) for t in runner.trials if t.kind is TrialKind.REPLICATE}


@pytest.mark.parametrize("ends", [2, 20, 36, 37, 40, 44])
def test_a_killed_sweep_trains_what_an_uninterrupted_one_does(tmp_path, ends):
    whole = runner_of(tmp_path / "whole")
    assert whole.num_planned == 4 * 9
    run(whole)
    assert whole.is_done
    assert not whole.has_next
    counts = {arm: sum(arm in study for study, _ in trained(whole)) for arm in MEANS}
    assert counts["x=a"] == counts["x=d"] > counts["x=b"] == counts["x=c"] == 8
    assert whole.num_planned == len(whole.trials) == 4 + sum(counts.values())
    run(runner_of(tmp_path / "killed"), ends)
    resumed = runner_of(tmp_path / "killed")
    run(resumed)
    assert resumed.is_done
    assert trained(resumed) == trained(whole)


def test_a_sweep_is_not_done_before_its_look(tmp_path):
    runner = runner_of(tmp_path)
    run(runner, 36)
    assert not runner.are_searched
    assert runner.has_next
    runner.drain()
    assert runner.is_done  # nothing runs, and it is resumed later
