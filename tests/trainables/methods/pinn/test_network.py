"""Networks of coordinates: their derivatives against autograd, and their period."""

import pytest
import torch

from trainables.methods.pinn.network import derivatives_at, draw_weights, features, num_features

NETWORKS, POINTS = 3, 7
with_and_without_waves = pytest.mark.parametrize("waves", [0, 1, 3])


def drawn(waves: int, layers: int = 2) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return networks with weights of their own, and points."""
    torch.manual_seed(0)
    each = [draw_weights(num_features(waves), 5, layers) for _ in range(NETWORKS)]
    weights = [torch.stack(same).double() for same in zip(*each, strict=True)]
    weights = [w + 0.1 * torch.randn_like(w) for w in weights]
    s, x = torch.rand(2, POINTS, dtype=torch.float64)
    return weights, s.requires_grad_(), x.requires_grad_()


@with_and_without_waves
@pytest.mark.parametrize("layers", [1, 3])
def test_derivatives_are_those_of_autograd(waves, layers):
    weights, s, x = drawn(waves, layers)
    found = derivatives_at(weights, features(s, x, waves))
    for network in range(NETWORKS):
        u = found.u[network]
        u_s, u_x = torch.autograd.grad(u.sum(), (s, x), create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x.sum(), x, retain_graph=True)
        for ours, theirs in zip(found[1:], (u_s, u_x, u_xx), strict=True):
            torch.testing.assert_close(ours[network], theirs)


def test_with_waves_a_network_is_periodic_with_all_derivatives():
    weights, s, x = drawn(waves=2)
    here, there = (derivatives_at(weights, features(s, x + k, 2)) for k in (0, 1))
    torch.testing.assert_close(tuple(here), tuple(there))
    without, s, x = drawn(waves=0)
    here, there = (derivatives_at(without, features(s, x + k, 0)) for k in (0, 1))
    assert not torch.allclose(here.u, there.u)


@with_and_without_waves
def test_networks_do_not_depend_on_each_other(waves):
    weights, s, x = drawn(waves)
    together = derivatives_at(weights, features(s, x, waves))
    alone = derivatives_at([w[1:2] for w in weights], features(s, x, waves))
    torch.testing.assert_close(together.u_xx[1:2], alone.u_xx)
