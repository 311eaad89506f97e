"""What a file asks for: trials by kind, runs that sharing saves, epochs by stage."""

from dataclasses import replace

import pytest

from sweeper.core.expected_epochs import Estimate, epochs_under_halving, epochs_under_promotion
from sweeper.core.promotion import PromotionRule
from sweeper.planning.costs import workload
from sweeper.planning.costs.workload import workload_of
from tests.support.pricing import sweep_of


def work(sweep, **changes):
    (study,) = sweep.studies
    return workload_of(sweep, replace(study, **changes))


def test_every_trial_is_of_a_kind():
    plain = work(sweep_of())
    assert (plain.leading, plain.sampled, plain.replicates) == (2, 6, 0)
    replicated = work(sweep_of(replicate={"top": 3, "seeds": 5}))
    assert (replicated.replicates, replicated.trials) == (3 * 5 + 5, 28)
    few = work(sweep_of(search={"trials": 4}, replicate={"top": 4, "seeds": 5}))
    assert few.replicates == 3 * 5 + 5  # the control is no candidate
    rate = {"refine.lr": {"min": 1e-4, "max": 1e-3}}
    vanilla = {"methods": ["nft"], "parameters": rate, "fixed": {"refine.epochs": 6}}
    alone = work(sweep_of(**vanilla, replicate={"top": 1, "seeds": 5}))
    assert (alone.leading, alone.sampled, alone.replicates) == (1, 7, 5)  # it is its own control
    assert work(sweep_of(search={"trials": 1})).leading == 1


def test_leading_trials_train_in_full_and_the_control_has_no_first_stage():
    leading = work(sweep_of(search={"trials": 2}))
    meta, refine = leading.stages["meta"], leading.stages["refine"]
    assert (meta.runs, meta.epochs) == (1, Estimate(2, 2, 2))  # the preset's two epochs
    assert (refine.runs, refine.epochs) == (2, Estimate(12, 12, 12))


def test_equal_controls_of_several_methods_are_trained_by_the_first():
    methods = {"methods": ["mona", "orca", "nft"], "search": {"trials": 2}}
    sweep = sweep_of(**methods, replicate={"top": 1, "seeds": 5})
    mona, orca, nft = (workload_of(sweep, study).stages["refine"] for study in sweep.studies)
    # A preset and its replicates, and for the first a control with its replicates.
    assert (mona.runs, mona.shared) == (1 + 5 + 1 + 5, 0)
    assert (orca.runs, orca.shared) == (1 + 5, 1 + 5)
    assert nft.shared == 0  # its preset is a candidate, which trains for itself
    bounded = sweep_of(
        methods=["mona", "orca"], search={"trials": 2, "constraints": {"seconds": "<= 9s"}}
    )
    assert [workload_of(bounded, study).stages["refine"].shared for study in bounded.studies] == [
        0,
        0,
    ]


def test_replicates_of_equal_arms_are_trained_by_the_first():
    sweep = sweep_of(
        methods=["mona", "orca"], parameters={},
        compare_by=[{"method": "mona"}, {"method": "orca"}],
        replicate={"top": 1, "seeds": 6}, search={"trials": 1}, pruning={"type": "none"},
    )  # fmt: skip
    works = [workload_of(sweep, study) for study in sweep.studies]
    assert {work.replicates for work in works} == {6}
    (trained, spared) = (w.stages["refine"] for w in works if w.study.endswith("/control"))
    assert (trained.runs, trained.shared) == (7, 0)
    assert (spared.runs, spared.shared) == (1, 6)  # an arm's own trial trains for itself


def test_drawn_epochs_go_from_the_fewest_to_the_most():
    meta = work(sweep_of()).stages["meta"]
    assert (meta.runs, meta.most, meta.longest) == (7, 2 + 6 * 6, 6)
    assert meta.epochs == Estimate(2 + 6, 2 + 6 * 3, 2 + 6 * 6)


def test_sampled_trials_are_pruned_and_others_are_not():
    sampled = epochs_under_halving(6, 6, (2, 4), eta=2)
    refine = work(sweep_of()).stages["refine"]
    assert refine.epochs.expected == pytest.approx(12 + sampled.expected)
    assert refine.epochs.low == pytest.approx(12 + sampled.low)
    assert refine.most == 8 * 6
    none = work(sweep_of(pruning={"type": "none"})).stages["refine"]
    assert none.epochs == Estimate(48, 48, 48)
    median = work(sweep_of(pruning={"type": "median", "min_epochs": 2})).stages["refine"]
    assert median.epochs == Estimate(12 + 6 * 2, 48, 48)
    paused = work(sweep_of(pruning={"type": "promote", "min_epochs": 2, "eta": 2})).stages["refine"]
    promoted = epochs_under_promotion(6, 6, PromotionRule(rungs=(2, 4), eta=2))
    assert paused.epochs.expected == pytest.approx(12 + promoted.expected)
    assert paused.epochs.high <= paused.most == 8 * 6
    replicated = work(sweep_of(replicate={"top": 1, "seeds": 2})).stages["refine"]
    assert replicated.epochs.low == pytest.approx(refine.epochs.low + 4 * 6)


def test_epochs_that_are_not_searched_are_simulated_once(monkeypatch):
    asked = []

    def simulated(trials, epochs, rule):
        asked.append(epochs)
        return epochs_under_promotion(trials, epochs, rule)

    monkeypatch.setattr(workload, "epochs_under_promotion", simulated)
    work(sweep_of(pruning={"type": "promote", "min_epochs": 2, "eta": 2}))
    assert asked == [6]


def test_a_stage_that_trials_share_is_run_once_for_each_of_its_configurations():
    sweep = sweep_of(search={"trials": 32})  # of 3 x 2 configurations of `meta`
    shared = work(sweep, distinct={"meta": 8}).stages["meta"]
    assert (shared.runs, shared.shared) == (1 + 6, 30 - 6)
    drawn = 2 * (1 + 2 + 6)  # the epochs of all six are known beforehand
    assert (shared.epochs, shared.most) == (Estimate(2 + drawn, 2 + drawn, 2 + drawn), 2 + drawn)
    few = work(sweep_of(search={"trials": 5}), distinct={"meta": 8}).stages["meta"]
    assert (few.runs, few.shared) == (1 + 3, 0)  # not more than there are trials
    refine = work(sweep_of(), distinct={"meta": 2}).stages["refine"]
    assert (refine.runs, refine.shared) == (8, 0)


def test_without_a_store_each_trial_runs_what_was_drawn_for_it():
    sweep = sweep_of(search={"trials": 32}, stage_store={"use": False})
    alone = work(sweep, distinct={"meta": 8}).stages["meta"]
    assert (alone.runs, alone.shared) == (1 + 30, 0)
    assert alone.most == 2 + 5 * 2 * (1 + 2 + 6)  # each of the six for five trials


def test_of_two_levels_each_configuration_is_run_once_for_each_of_those_before():
    sweep = sweep_of(
        methods=["orca"],
        parameters={
            "align.distance": {"values": ["mmd", "euclidean"]},
            "warmup.epochs": {"values": [0, 1, 2]},
        },
        fixed={"align.epochs": 4, "refine.epochs": 6},
        stages={"align": {"distinct": 8}, "warmup": {"distinct": 8}},
        search={"trials": 32},
    )
    (study,) = sweep.studies
    preset, stages = study.preset["warmup.epochs"], work(sweep).stages
    align, warmup = stages["align"], stages["warmup"]
    assert (align.runs, align.shared, align.most) == (1 + 2, 30 - 2, 3 * 4)
    assert (warmup.runs, warmup.most) == ((preset > 0) + 2 * 2, preset + 2 * (1 + 2))
    assert warmup.shared == 2 * 2 * (5 - 1)  # each of the six is for five trials
