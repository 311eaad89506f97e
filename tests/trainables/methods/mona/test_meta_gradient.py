"""The meta-gradient against finite differences of its definition, and the laws it obeys."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from trainables.methods.mona.meta_gradient import inner_gradient, meta_gradient
from trainables.training.discriminability import Discriminability, discriminability

MODES = ["exact", "fd"]
ALPHA = 0.1


class Body(nn.Module):
    """A small body with attention, a norm, and a weight that no input reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.out = nn.Linear(6, 5)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, tokens: Tensor) -> Tensor:
        scores = self.query(tokens) @ tokens.transpose(1, 2) / 6**0.5
        return self.out(
            functional.gelu(self.norm(tokens + scores.softmax(-1) @ self.value(tokens)))
        )


@dataclass
class Problem:
    """Inner and outer loss of tiny networks in float64, and their weights."""

    noise: float = 0.0

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.networks = [m.double() for m in (nn.Linear(4, 6), nn.Linear(5, 2), Body())]
            self.x, self.y = torch.randn(3, 7, 4).double(), torch.randn(3, 7, 2).double()
            self.source = torch.randn(6, 7, 6).double()
        self.labels = torch.arange(6) % 3
        self.embedder, self.head, self.body = (dict(m.named_parameters()) for m in self.networks)

    def inner(self, embedder, head, body) -> Tensor:
        torch.manual_seed(1)
        tokens = functional_call(self.networks[0], dict(embedder), (self.x,))
        tokens = functional.dropout(tokens, self.noise)
        features = functional_call(self.networks[2], dict(body), (tokens,))
        return (functional_call(self.networks[1], dict(head), (features,)) - self.y).square().mean()

    def outer(self, body) -> Discriminability:
        features = functional_call(self.networks[2], dict(body), (self.source,)).mean(1)
        return discriminability(features, self.labels)

    def after_virtual_step(self, embedder, alpha: float, steps: int = 1) -> Tensor:
        """L_outer(theta - alpha grad_theta L_inner), once or more often, by its definition."""
        body = self.body
        for _ in range(steps):
            body = {name: weight.detach().requires_grad_() for name, weight in body.items()}
            inner = self.inner(embedder, self.head, body)
            g = torch.autograd.grad(inner, list(body.values()), materialize_grads=True)
            body = {n: (w - alpha * d).detach() for (n, w), d in zip(body.items(), g, strict=True)}
        return self.outer(body).loss

    def meta(self, mode: str = "exact", alpha: float = ALPHA, steps: int = 1):
        weights = (self.embedder, self.head, self.body)
        return meta_gradient(self.inner, self.outer, weights, alpha=alpha, mode=mode, steps=steps)


@pytest.fixture
def problem() -> Problem:
    return Problem()


def flat(weights) -> Tensor:
    return torch.cat([w.detach().flatten() for w in weights.values()])


def relative_error(a, b) -> float:
    return ((flat(a) - flat(b)).norm() / flat(b).norm()).item()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_is_the_central_difference_of_the_definition(seed, noise, steps):
    problem, step = Problem(noise), 1e-5
    rng = torch.Generator().manual_seed(seed)
    direction = {
        n: torch.randn(w.shape, generator=rng).double() for n, w in problem.embedder.items()
    }

    def moved(sign: int) -> Tensor:
        embedder = {n: w.detach() + sign * step * direction[n] for n, w in problem.embedder.items()}
        return problem.after_virtual_step(embedder, ALPHA, steps)

    measured = ((moved(1) - moved(-1)) / (2 * step)).item()

    predicted = (flat(problem.meta(steps=steps).meta) @ flat(direction)).item()
    assert predicted == pytest.approx(measured, rel=1e-5)


def test_several_steps_by_finite_differences_are_refused(problem):
    with pytest.raises(ValueError, match=r"steps=2. Use `exact`"):
        problem.meta("fd", steps=2)


@pytest.mark.parametrize("mode", MODES)
def test_the_virtual_step_moves_what_it_is_given_and_the_rest_stays(problem, mode):
    """With the norm alone given, the outer loss is that of a body whose norm alone moved."""
    problem.body = {n: w for n, w in problem.body.items() if n.startswith("norm")}
    result = problem.meta(mode)
    expected = problem.after_virtual_step(problem.embedder, ALPHA)
    assert result.outer.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert result.meta.keys() == problem.embedder.keys()
    assert flat(result.meta).norm() > 0


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_finite_difference_agrees_with_exact(noise):
    problem = Problem(noise)
    exact, approximate = problem.meta("exact"), problem.meta("fd")
    assert relative_error(approximate.meta, exact.meta) < 1e-3


def test_finite_difference_agrees_with_exact_in_single_precision(problem):
    exact = problem.meta("exact")
    for network in problem.networks:
        network.float()
    for name in ("x", "y", "source"):
        setattr(problem, name, getattr(problem, name).float())
    approximate = problem.meta("fd")
    assert flat(approximate.meta).dtype == torch.float32
    assert relative_error(approximate.meta, exact.meta) < 1e-2


@pytest.mark.parametrize("mode", MODES)
def test_the_outer_loss_falls_by_alpha_times_the_agreement_of_gradients(problem, mode):
    """|L(theta - a g) - L(theta) + a <grad L, g>| = O(a^2): halving a quarters it."""
    body = list(problem.body.values())
    g = torch.autograd.grad(
        problem.inner(problem.embedder, problem.head, problem.body), body, materialize_grads=True
    )
    at_start = problem.outer(problem.body).loss
    slope = torch.autograd.grad(at_start, body, materialize_grads=True)
    agreement = sum((a * b).sum() for a, b in zip(g, slope, strict=True))

    def remainder(alpha: float) -> float:
        value = problem.meta(mode, alpha).outer.loss - at_start + alpha * agreement
        return value.abs().item()

    assert remainder(2e-3) / remainder(1e-3) == pytest.approx(4, rel=0.02)


def test_dropping_the_graph_of_the_inner_gradient_gives_zero_and_ours_does_not(problem):
    """First order is not an approximation here: the embedder acts through that graph alone."""
    inner = problem.inner(problem.embedder, problem.head, problem.body)
    body = list(problem.body.values())
    g = torch.autograd.grad(inner, body, materialize_grads=True)
    stepped = {n: w - ALPHA * d for (n, w), d in zip(problem.body.items(), g, strict=True)}
    first_order = torch.autograd.grad(
        problem.outer(stepped).loss, list(problem.embedder.values()), materialize_grads=True
    )
    assert all(gradient.abs().max() == 0 for gradient in first_order)
    assert flat(problem.meta("exact").meta).norm() > 1e-6
    assert flat(problem.meta("fd").meta).norm() > 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_without_a_virtual_step_the_meta_gradient_is_exactly_zero(problem, mode):
    assert flat(problem.meta(mode, alpha=0.0).meta).abs().max() == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_outer_loss_has_a_zero_meta_gradient_not_nan(problem, mode):
    def constant(body) -> Discriminability:
        zero = 0 * body["out.weight"].sum()
        return Discriminability(zero, zero)

    problem.outer = constant
    result = problem.meta(mode)
    assert flat(result.meta).abs().max() == 0
    assert result.cosine == 0


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_the_inner_loss_are_those_of_plain_backward(problem, mode):
    loss = problem.inner(problem.embedder, problem.head, problem.body)
    loss.backward()

    weights = (problem.embedder, problem.head, problem.body)
    for result in (problem.meta(mode), inner_gradient(problem.inner, *weights)):
        assert torch.equal(result.inner_loss, loss)
        for gradients, group in ((result.embedder, weights[0]), (result.head, weights[1])):
            for name, weight in group.items():
                torch.testing.assert_close(gradients[name], weight.grad)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_changed_and_nothing_keeps_a_graph(problem, mode):
    before = [p.detach().clone() for m in problem.networks for p in m.parameters()]
    result = problem.meta(mode)
    after = [p for m in problem.networks for p in m.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in after)
    scalars = [result.inner_loss, *result.outer, result.cosine, result.relative_step]
    tensors = [*scalars, *result.embedder.values(), *result.head.values(), *result.meta.values()]
    assert not any(t.requires_grad for t in tensors)


def test_cosine_and_relative_step_are_those_of_their_definition(problem):
    body = list(problem.body.values())
    inner = problem.inner(problem.embedder, problem.head, problem.body)
    g = dict(
        zip(problem.body, torch.autograd.grad(inner, body, materialize_grads=True), strict=True)
    )
    stepped = {n: (w - ALPHA * g[n]).detach().requires_grad_() for n, w in problem.body.items()}
    v = torch.autograd.grad(
        problem.outer(stepped).loss, list(stepped.values()), materialize_grads=True
    )
    v = dict(zip(stepped, v, strict=True))

    result = problem.meta()

    expected = functional.cosine_similarity(flat(g), flat(v), dim=0)
    torch.testing.assert_close(result.cosine, expected)
    moved = (flat(stepped) - flat(problem.body)).norm() / flat(problem.body).norm()
    torch.testing.assert_close(result.relative_step, moved)


@pytest.mark.parametrize("mode", MODES)
def test_a_head_without_parameters_will_do(problem, mode):
    def inner(embedder, head, body) -> Tensor:
        return problem.inner(embedder, problem.head, body)

    groups = (problem.embedder, {}, problem.body)
    result = meta_gradient(inner, problem.outer, groups, alpha=ALPHA, mode=mode)
    assert result.head == {}
    assert relative_error(result.meta, problem.meta(mode).meta) == 0
