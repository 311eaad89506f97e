"""One seed, many streams: pure, apart from each other, and the same on every machine."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.seeding import derive_seed, generator, seed_globals


def test_a_derived_seed_is_the_same_on_every_machine():
    assert derive_seed(0) == 3456079177858693020
    assert derive_seed(0, "meta", 3) == 4468285196670348551


@given(st.integers(0, 2**63), st.text(max_size=20), st.integers(0, 1000))
def test_a_derived_seed_fits_every_generator(seed, scope, epoch):
    assert 0 <= derive_seed(seed, scope, epoch) < 2**63
    generator(seed, scope, epoch)


def test_seeds_differ_by_trial_scope_and_epoch():
    scopes = itertools.product(range(20), ["meta", "meta-source", "fine-tuning"], range(20))
    assert len({derive_seed(*scope) for scope in scopes}) == 20 * 3 * 20


def test_a_scope_does_not_run_into_its_neighbour():
    assert derive_seed(1, "a", 23) != derive_seed(1, "a", 2, 3)
    assert derive_seed(12, "a") != derive_seed(1, "2a")


def test_a_generator_starts_afresh_each_time_and_moves_no_other():
    before = torch.get_rng_state()
    first, second = (torch.randperm(50, generator=generator(0, "x", 1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.randperm(50, generator=generator(0, "x", 2)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def _restored_globals():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@pytest.mark.usefixtures("_restored_globals")
def test_every_global_generator_follows_the_seed():
    def draws(*scope: str | int) -> tuple[float, float, float]:
        seed_globals(*scope)
        return random.random(), np.random.random(), torch.rand(1).item()

    once, again, other = draws(0, "x", 1), draws(0, "x", 1), draws(0, "x", 2)
    assert once == again
    assert all(a != b for a, b in zip(once, other, strict=True))
