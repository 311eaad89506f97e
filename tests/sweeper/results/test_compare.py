"""Comparisons: numbers by hand, what may not be compared, and what few seeds leave open."""

import pytest

from sweeper.model import Trial, TrialKind
from sweeper.results.compare import compare, correct_differences, difference
from sweeper.results.comparison import Difference, Entry, Verdict
from sweeper.results.statistics import holm
from sweeper.results.verdicts import notes
from tests.support.compared_ledgers import Scores

ADVECTION, DARCY, BURGERS = "pdebench/advection_1d", "pdebench/darcy_2d", "pdebench/burgers_1d"
SEVEN = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18, 0.21]


def shifted(by: float) -> list[float]:
    return [value + by for value in SEVEN]


def entry(label: str, values: dict[int, float], *, is_replicated: bool = True) -> Entry:
    return Entry(
        label=label, method=label, sweep="s", study=label, values=values,
        is_replicated=is_replicated,
    )  # fmt: skip


# One difference


def test_a_difference_is_first_minus_second_on_common_seeds():
    found = difference(
        entry("pare", {1: 0.1, 2: 0.3, 3: 9.0}), entry("mona", {2: 0.2, 1: 0.4, 4: 9.0})
    )
    assert (found.pairs, found.missing, found.is_paired) == (2, 2, True)
    assert found.means == pytest.approx((0.2, 0.3))
    assert found.difference == pytest.approx(-0.1)
    assert found.p_value == 1.0  # -0.3 and 0.1: no signing is nearer 0
    assert (found.ci, found.d_z, found.superiority) == (None, None, None), "of two pairs"


def test_two_single_runs_are_one_pair_of_different_seeds():
    found = difference(
        entry("pare", {1: 0.1}, is_replicated=False), entry("mona", {2: 0.4}, is_replicated=False)
    )
    assert (found.pairs, found.is_paired, found.p_value, found.ci) == (1, False, 1.0, None)
    assert found.difference == pytest.approx(-0.3)


def test_a_single_run_and_replicates_share_no_seed():
    found = difference(
        entry("pare", {1: 0.1}, is_replicated=False), entry("mona", {100: 0.4, 101: 0.5})
    )
    assert (found.pairs, found.verdict, found.p_value) == (0, Verdict.NOTHING, None)


def test_a_method_without_a_value_has_nothing_to_compare():
    found = difference(entry("pare", {}), entry("mona", {1: 0.4}))
    assert (found.means, found.verdict) == (None, Verdict.NOTHING)


def raw(p: float, pairs: int = 8, gap: float = -0.1) -> Difference:
    return Difference(
        first="a", second="b", pairs=pairs, missing=0, is_paired=True, difference=gap, p_value=p
    )


def test_a_family_is_corrected_by_holm_and_judged_by_the_corrected_p():
    found = correct_differences([raw(0.04), raw(0.01, gap=0.1), raw(0.03)])
    assert [d.p_holm for d in found] == pytest.approx(holm([0.04, 0.01, 0.03]))
    assert [d.verdict for d in found] == [Verdict.UNKNOWN, Verdict.HIGHER, Verdict.UNKNOWN]
    assert [d.verdict for d in correct_differences([raw(0.04)])] == [Verdict.LOWER]


def test_p_at_alpha_is_not_significant():
    assert correct_differences([raw(0.05)])[0].verdict is Verdict.UNKNOWN


def test_one_pair_costs_the_other_comparisons_nothing():
    alone, single = correct_differences([raw(0.04), raw(1.0, pairs=1)])
    assert (alone.p_holm, alone.verdict) == (0.04, Verdict.LOWER)
    assert (single.p_holm, single.verdict) == (1.0, Verdict.UNKNOWN)


# A task


def test_two_methods_of_two_sweeps_meet_on_their_task(sweep):
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN, control=shifted(0.1)))
    mona = sweep(Scores(method="mona", task=ADVECTION, best=shifted(0.05), control=shifted(0.1)))
    (task,) = compare([pare, mona]).tasks
    (between,) = task.differences
    assert (between.first, between.second, between.pairs) == ("pare", "mona", 7)
    assert between.difference == pytest.approx(-0.05)
    assert between.p_value == between.p_holm == 2 / 2**7
    assert between.verdict is Verdict.LOWER
    assert between.superiority == 1.0
    assert [(d.first, d.second, d.verdict) for d in task.from_control] == [
        ("pare", "control", Verdict.LOWER), ("mona", "control", Verdict.LOWER),
    ]  # fmt: skip
    assert all(budget.is_even for budget in task.budgets)
    assert (task.incomparable, task.cautions) == ((), ())


@pytest.mark.slow
def test_searches_with_and_without_priors_or_a_warm_start_are_unequal(sweep):
    with_priors = {"search": {"priors": True}}
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN, control=SEVEN), **with_priors)
    mona = sweep(Scores(method="mona", task=ADVECTION, best=SEVEN, control=SEVEN))
    nft = sweep(Scores(method="nft", task=ADVECTION, best=SEVEN, control=SEVEN), **with_priors)

    def helped(*ledgers):
        (task,) = compare(ledgers).tasks
        assert set(task.helped) <= set(notes(task))
        return task.helped

    assert helped(pare, mona) == (
        "The searches are unequal: pare with priors, mona without. Set `search.priors` alike for "
        "all.",
    )
    assert helped(pare, nft) == ("All searches have priors.",)
    small = {"small": {f"{method}/{BURGERS}": [{"refine.lr": 1e-4}] for method in ("orca", "fpt")}}
    warm = {"search": {"warm_start": small}}
    orca, fpt, recraft = (
        sweep(Scores(method=method, task=ADVECTION, best=SEVEN, control=SEVEN), **warm)
        for method in ("orca", "fpt", "recraft")
    )
    assert helped(orca, fpt) == ("All searches have a warm start.",)
    assert helped(orca, recraft) == (  # the other sweep has nothing of it
        "The searches are unequal: orca with a warm start, recraft without. Set "
        "`search.warm_start` alike for all.",
    )
    assert helped(mona) == ()


@pytest.mark.slow
def test_without_a_baseline_every_pair_is_compared_and_with_one_each_with_it(sweep):
    ledger = sweep(
        *(Scores(method=m, task=ADVECTION, best=shifted(0.05 * i), control=SEVEN)
          for i, m in enumerate(("pare", "mona", "nft")))
    )  # fmt: skip

    def pairs(baseline):
        (task,) = compare([ledger], baseline=baseline).tasks
        return [(d.first, d.second, d.p_holm) for d in task.differences]

    p = 2 / 2**7
    assert pairs(None) == [
        ("pare", "mona", 3 * p), ("pare", "nft", 3 * p), ("mona", "nft", 3 * p),
    ]  # fmt: skip
    assert pairs("nft") == [("pare", "nft", 2 * p), ("mona", "nft", 2 * p)]
    assert pairs("control") == []


def test_single_runs_are_compared_and_nothing_is_significant(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=[0.1], control=[0.5]),
        Scores(method="mona", task=ADVECTION, best=[0.9], control=[0.5]),
    )
    (task,) = compare([ledger]).tasks
    for found in (*task.differences, *task.from_control):
        assert (found.pairs, found.p_holm, found.verdict) == (1, 1.0, Verdict.UNKNOWN)
    assert [e.ci for e in task.entries] == [None, None]


def test_equal_methods_cannot_be_distinguished(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=SEVEN),
        Scores(method="mona", task=ADVECTION, best=SEVEN),
    )
    (found,) = compare([ledger]).tasks[0].differences
    assert (found.difference, found.p_value, found.d_z, found.superiority) == (0.0, 1.0, 0.0, 0.5)
    assert found.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("fact", "value", "told"),
    [
        ("content_hash", "77" * 32, "data differs"),
        ("protocol", "rolled out", "protocol differs: pare with one-shot; mona with rolled out"),
        ("data_source", "official", "data source differs"),
    ],
)
def test_other_data_or_protocols_are_not_compared_and_not_ranked(sweep, fact, value, told):
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN, control=shifted(0.1)))
    mona = sweep(
        Scores(method="mona", task=ADVECTION, best=SEVEN, control=SEVEN, facts={fact: value})
    )
    found = compare([pare, mona])
    (task,) = found.tasks
    assert told in task.incomparable[0]
    assert task.differences == ()
    assert found.ranks == {}
    assert len(task.from_control) == 2, "each method and its own control share data and protocol"


@pytest.mark.parametrize(
    ("fact", "value", "told"),
    [
        ("backbone", "roberta_base", "backbone differs: pare with minilm; mona with roberta_base"),
        ("pretrained", "random", "pretraining differs: pare with pretrained; mona with random"),
        (
            "weights_hash",
            "beef",
            f"weights differ: pare with {'5eed' * 4}…{'5eed' * 10}; mona with beef",
        ),
    ],
)
def test_another_backbone_or_other_weights_are_a_caution(sweep, fact, value, told):
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN))
    mona = sweep(Scores(method="mona", task=ADVECTION, best=SEVEN, facts={fact: value}))
    (task,) = compare([pare, mona]).tasks
    assert task.cautions == (told,)
    assert len(task.differences) == 1


def test_a_method_stands_for_all_of_its_arms_in_a_caution(sweep):
    arms = [f"data.samples={rung}" for rung in (100, 200)]
    both = [
        Scores(method=method, task=ADVECTION, best=SEVEN, arm=arm, facts=facts)
        for method, facts in (("nft", {}), ("scratch", {"pretrained": "random"}))
        for arm in arms
    ]
    (task,) = compare([sweep(*both)]).tasks
    assert task.cautions[0] == "pretraining differs: nft with pretrained; scratch with random"


def test_while_replicates_run_the_best_trial_is_told_and_that_they_run(sweep):
    ledger = sweep(Scores(method="pare", task=ADVECTION, best=[0.1], control=[0.5]))
    study = ledger.studies()[0].name
    ledger.add_trial(
        Trial(study=study, number=100_000, kind=TrialKind.REPLICATE, params={}, seed=1, origin=2)
    )
    (task,) = compare([ledger]).tasks
    assert (task.entries[0].mean, task.entries[0].is_replicated) == (0.1, False)
    assert task.cautions == ("pare: 1 replicate still to end",)


def test_uneven_budgets_are_said_in_numbers(sweep):
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN, num_trials=4))
    mona = sweep(
        Scores(method="mona", task=ADVECTION, best=SEVEN, num_trials=5, epochs=8, seconds=2.5)
    )
    (task,) = compare([pare, mona]).tasks
    found = {b.what: (b.is_even, b.ratio) for b in task.budgets}
    assert found == {
        "trials": (False, 4 / 3), "epochs": (False, 8 / 3), "device_seconds": (False, 10 / 3),
    }  # fmt: skip


@pytest.mark.slow
def test_epochs_within_a_tenth_are_even_and_seconds_of_other_devices_are_not_comparable(sweep):
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN, epochs=20), resources={"gpu": 1})
    mona = sweep(Scores(method="mona", task=ADVECTION, best=SEVEN, epochs=21))
    (task,) = compare([pare, mona]).tasks
    found = {b.what: (b.is_even, b.ratio) for b in task.budgets}
    assert found["epochs"] == (True, 1.05)
    assert found["device_seconds"] == (False, None)


def test_missing_seeds_are_counted(sweep):
    pare = sweep(Scores(method="pare", task=ADVECTION, best=SEVEN))
    mona = sweep(Scores(method="mona", task=ADVECTION, best=SEVEN[:5]))
    (found,) = compare([pare, mona]).tasks[0].differences
    assert (found.pairs, found.missing) == (5, 2)


def test_trials_that_have_yet_to_end_are_a_caution(sweep):
    ledger = sweep(
        Scores(method="pare", task=ADVECTION, best=[0.1], num_trials=6),
        Scores(method="mona", task=ADVECTION, best=[0.1], num_trials=4),
        Scores(method="orca", task=ADVECTION, best=[0.1], num_trials=4, facts={"most_trials": 4}),
    )
    assert not compare([ledger]).tasks[0].cautions  # it is finished
    ledger.start({})
    assert compare([ledger]).tasks[0].cautions == ("mona: 2 of 6 trials still to end",)


def test_published_numbers_come_with_what_was_recorded_of_them(sweep):
    number = {"method": "pare", "value": 0.1, "protocol": "b", "metric": "nrmse", "citation": "C"}
    facts = {"published": [number], "published_samples": 10_000}
    ledger = sweep(Scores(method="pare", task=ADVECTION, best=[0.1], facts=facts))
    (task,) = compare([ledger]).tasks
    (found,) = task.published
    assert (found.method, found.value, found.protocol) == ("pare", 0.1, "b")
    assert (found.data_source, found.samples, found.citation) == ("official", 10_000, "C")


def test_a_task_and_the_same_with_orca_s_frames_are_two_tasks(sweep):
    paired = "pdebench/shallow_water_2d@orca"
    plain = sweep(Scores(method="pare", task="pdebench/shallow_water_2d", best=SEVEN))
    orca = sweep(Scores(method="mona", task=paired, best=shifted(0.1)))
    found = compare([plain, orca])
    assert [task.task for task in found.tasks] == ["pdebench/shallow_water_2d", paired]
    assert [task.differences for task in found.tasks] == [(), ()]
