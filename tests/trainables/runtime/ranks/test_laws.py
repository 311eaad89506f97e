"""Laws of the division of a batch, and of what the processes of a trial tell each other."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import ROOT
from trainables.methods.registry import METHODS, can_halve
from trainables.models.sample_draws import part_of, sample_draws
from trainables.runtime.ranks.messages import Begin, Begun, Broken, End, Train, parse, to_line
from trainables.runtime.ranks.processes import environment
from trainables.training.micro_batches import share_of
from trainables.training.ranks import Ranks

CPU = torch.device("cpu")


@given(samples=st.integers(0, 100), ranks=st.integers(1, 9))
def test_the_shares_of_all_processes_are_the_batch_and_nearly_equal(samples, ranks):
    shares = [share_of(samples, rank, ranks) for rank in range(ranks)]
    assert [i for share in shares for i in range(share.start, share.stop)] == [*range(samples)]
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes[0] == max(sizes), "the first one has a sample wherever there is one"


@pytest.mark.parametrize("times", [1, 2])
def test_processes_draw_together_what_one_draws(times):
    """Each draws the numbers of all samples, a sample and its mixture in turn."""
    torch.manual_seed(1)
    whole = torch.rand(times * 7).view(times, 7)
    drawn = []
    for place in (slice(0, 4), slice(4, 7)):
        torch.manual_seed(1)
        with part_of(7, place):
            rows = times * (place.stop - place.start)
            drawn.append(sample_draws(rows, CPU).view(times, -1))
    assert torch.equal(torch.cat(drawn, dim=1), whole)
    torch.manual_seed(1)
    assert torch.equal(sample_draws(times * 7, CPU), whole.flatten())


def test_one_process_counts_each_sample_once_and_changes_nothing():
    terms = {"loss": torch.tensor(1.0)}
    assert [*Ranks().parts(5, 4, 1)] == [(slice(0, 2), 2), (slice(2, 4), 2), (slice(4, 5), 1)]
    assert Ranks().all_reduce([], terms) is terms


@pytest.mark.parametrize(
    "message",
    [
        Begin(spec={"method": "nft"}, threads=1, gpu=0.5),
        Train(
            stage=1,
            epoch=2,
            precision="fp32",
            optimizer={},
            dtypes={"0/step": "float32"},
            shapes={"0/step": []},
        ),
        End(),
        Begun(),
        Broken(error="died", reason="SIGKILL", traceback="", by_others=False),
    ],
)
def test_a_message_is_one_line_and_comes_back(message):
    line = to_line(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse(line) == message


@pytest.mark.parametrize(
    ("mine", "seen"),
    [
        ({"CUDA_VISIBLE_DEVICES": "4,6"}, {"CUDA_VISIBLE_DEVICES": "6"}),
        ({"HIP_VISIBLE_DEVICES": "0,1"}, {"HIP_VISIBLE_DEVICES": "1"}),
        ({}, {"CUDA_VISIBLE_DEVICES": "1"}),
    ],
)
def test_each_process_sees_one_gpu_of_those_that_the_trial_has(mine, seen):
    found = environment(1, {"HOME": "/h", **mine}, gpu=2.0)
    assert {name: found[name] for name in seen} == seen
    assert found["HOME"] == "/h"
    assert str(ROOT) in found["PYTHONPATH"].split(os.pathsep)
    assert "CUDA_VISIBLE_DEVICES" not in environment(1, {}, gpu=0.0)


def test_stages_say_which_processes_train_them():
    everywhere = {
        stage
        for method in METHODS.usable().values()
        for stage, config in method.stages.items()
        if config.ranks == "all" and config().divides_batches
    }
    assert everywhere == {"refine", "replace", "mix"}
    unet = METHODS["unet"].stages["refine"]
    assert not unet(norm="batch").divides_batches, "its statistics are those of a whole batch"
    assert unet(norm="instance").divides_batches


def test_a_divided_batch_halves_until_each_process_has_one_sample():
    settings = {"batch_size": 4}
    assert can_halve("nft", "refine", settings, halvings=1)
    assert can_halve("nft", "refine", settings, processes=2)
    assert not can_halve("nft", "refine", settings, halvings=1, processes=2)
    assert not can_halve("nft", "refine", settings, processes=4)
