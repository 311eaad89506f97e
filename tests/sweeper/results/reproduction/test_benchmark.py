"""The benchmark: boards by task and data, verdicts in place of ranks, and what it is beside."""

from dataclasses import replace

import pytest

from sweeper.results.reproduction.benchmark import ALONE, FEW, LEADS, Standings
from sweeper.results.reproduction.evidence import read_evidence
from sweeper.results.reproduction.reproduction import Part
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"
SMALL = {"content_hash": "a" * 64, "samples": {"train": 100, "val": 30, "test": 40}}


def values(level, *, seeds=8, step=0.001):
    return [level + step * k for k in range(seeds)]


def scores(method, level, **facts):
    """Return a tuned method and its control; validation equals test, so that it leads by both."""
    return Scores(method=method, task=TASK, best=values(level), control=values(0.6), facts=facts)


def part(ledger, **changes):
    evidence = read_evidence(ledger)
    return Part(name=evidence.name, evidence=evidence, origin="evidence", changes=changes)


def test_a_board_is_a_task_with_one_set_of_data(sweep):
    ledgers = [
        sweep(scores("orca", 0.2), name="one"),
        sweep(scores("pare", 0.3), name="two"),
        sweep(scores("mona", 0.1, **SMALL), name="three"),
    ]
    found = Standings(parts=tuple(map(part, ledgers)))
    large, small = found.boards  # by the number of methods
    assert (small.size, large.size) == ("100 training samples", "200 training samples")
    assert [line.entry.method for line in large.methods] == ["orca", "pare"]
    assert small.of("orca") is None
    assert [line.verdict for line in small.methods] == [ALONE]
    assert found.methods == ("orca", "pare", "mona")


def test_the_control_of_a_network_is_no_fine_tuning_and_many_methods_need_more_seeds(sweep):
    own = {"pretrained": "random", "weights_hash": None}
    found = [sweep(scores("dash", 0.1, **own), name="dash")]
    (board,) = Standings(parts=tuple(map(part, found))).boards
    assert board.control is None
    found += [sweep(scores(f"m{k}", 0.2 + 0.01 * k), name=f"m{k}") for k in range(7)]
    (board,) = Standings(parts=tuple(map(part, found))).boards
    assert board.control is not None
    assert {line.verdict for line in board.methods} == {LEADS, FEW}  # 7 x 2 / 2^8 is above 0.05
    (board,) = Standings(parts=tuple(map(part, found[:7]))).boards
    assert {line.verdict for line in board.methods} == {LEADS, "higher"}


@pytest.mark.parametrize(("value", "source", "boards"), [
    (0.5000000001, "generated", 1), (0.501, "generated", 2), (0.5000000001, "official", 2),
])  # fmt: skip
def test_generated_data_of_another_processor_are_on_one_board(value, source, boards, sweep):
    def made(name, method, floor):
        facts = {"data_source": source, "content_hash": name, "samples": {"train": 200}}
        return sweep(
            scores(method, 0.2, floor={"name": "ridge", "value": floor}, **facts), name=name
        )

    parts = map(part, [made("here", "orca", 0.5), made("there", "pare", value)])
    assert len(Standings(parts=tuple(parts)).boards) == boards


def test_each_seed_with_its_own_draw_is_another_board(sweep):
    draws = {
        str(seed): {"seed": seed, "content_hash": f"{seed}", "floor": {"name": "mean", "value": 1}}
        for seed in range(100, 108)
    }
    ledgers = [sweep(scores("orca", 0.2)), sweep(scores("pare", 0.3, draws=draws))]
    one, many = Standings(parts=tuple(map(part, ledgers))).boards
    assert (one.size, many.size) == (
        "200 training samples", "200 training samples, each seed its own draw",
    )  # fmt: skip
    assert many.floor.value == 1


def test_a_verdict_stands_in_place_of_a_rank(sweep):
    noisy = Scores(method="mona", task=TASK, best=[0.21, 0.2] * 4, control=values(0.6))
    found = Standings(parts=(part(sweep(scores("orca", 0.2), noisy, scores("pare", 0.3))),))
    (board,) = found.boards
    told = {line.entry.method: line.verdict for line in board.methods}
    assert told == {"orca": LEADS, "mona": "not separated", "pare": "higher"}
    assert board.of("pare").difference.p_holm == pytest.approx(2 * 2 / 2**8)
    assert board.control.entry.mean == pytest.approx(0.6035)


def test_below_the_floor_nothing_is_informative(sweep):
    facts = {"baselines": {"mean": 0.1}}
    found = Standings(
        parts=(part(sweep(scores("orca", 0.2, **facts), scores("pare", 0.3, **facts))),)
    )
    assert [line.verdict for line in found.boards[0].methods] == [LEADS, "not informative"]
    assert found.boards[0].floor.value == 0.1


def test_validation_chooses_the_arm_of_a_method_among_all_evidence(sweep):
    arms = {"control": 0.5, "refine.freeze=none": 0.3, "refine.freeze=body": 0.25}
    studies = [
        Scores(method="orca", task=TASK, arm=arm, best=values(level)) for arm, level in arms.items()
    ]
    ablation = sweep(*studies, compare_by={"refine.freeze": ["none", "body"]})
    found = Standings(parts=(part(sweep(scores("orca", 0.4))), part(ablation)))
    (board,) = found.boards
    assert board.of("orca").entry.label == "orca refine.freeze=body"
    assert board.control.entry.mean == pytest.approx(0.5035)  # that of the ablation is the lowest


def test_what_has_no_value_is_no_line(sweep):
    made = part(sweep(scores("orca", 0.2)))
    assert Standings(parts=()).boards == ()
    assert Standings(parts=(replace(made, evidence=None),)).methods == ()
