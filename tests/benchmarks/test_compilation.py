"""Steps of fine-tuning with a compiled body against the same without, on this CPU."""

import copy
import time

import pytest
import torch

from trainables.models.backbones.loading import load_backbone
from trainables.models.compilation import runner
from trainables.spec import BackboneSpec
from trainables.training import optim

SIZES = {"minilm": ((4, 32), (16, 32)), "dinov2_small": ((4, 64), (16, 64))}  # samples, tokens
LAYERS, STEPS, ROUNDS = 2, 5, 6

pytestmark = [pytest.mark.benchmark, pytest.mark.weights, pytest.mark.timeout(1800)]


def train(mode: str, body: torch.nn.Module, tokens: torch.Tensor) -> None:
    optimizer = optim.make_optimizer("adamw", body.parameters(), lr=1e-6)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(runner(mode)(body, tokens).square().mean())
        optimizer.step()


@pytest.mark.parametrize("name", SIZES)
def test_steps_of_a_compiled_body(tmp_path, name):
    torch.set_num_threads(1)
    for samples, count in SIZES[name]:
        backbone = load_backbone(BackboneSpec(name=name, layers=LAYERS, tokens=count), tmp_path)
        plain = backbone.new_body(drop_path=0.0)
        bodies = {"off": plain, "inductor": copy.deepcopy(plain)}
        tokens = torch.randn(samples, count, backbone.token_width)
        first, shortest = {}, dict.fromkeys(bodies, float("inf"))
        for turn in range(ROUNDS + 1):
            for mode, body in bodies.items():
                began = time.process_time()
                train(mode, body, tokens)
                spent = (time.process_time() - began) / STEPS
                if turn:
                    shortest[mode] = min(shortest[mode], spent)
                else:
                    first[mode] = spent * STEPS
        ratio = shortest["off"] / shortest["inductor"]
        print(f"{name}, {samples} x {count}: {1000 * shortest['off']:.1f} ms a step, "
              f"{1000 * shortest['inductor']:.1f} ms compiled, {ratio:.2f}x; "
              f"first steps {first['inductor']:.0f} s")  # fmt: skip
        out, expected = (runner(mode)(bodies[mode], tokens) for mode in ("inductor", "off"))
        assert torch.allclose(out, expected, rtol=1e-3, atol=1e-3)
        assert ratio > 0.5
