"""Steps of the body with and without compilation, on this CPU, in a process of its own.

Usage: python -m tests.benchmarks.compiled_steps BACKBONE SAMPLES TOKENS. The contestants take
turns. Prints CPU seconds as JSON: the shortest step of each, and the first steps when compiled.
"""

import copy
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from trainables.models.backbones.loading import load_backbone
from trainables.models.compilation import runner
from trainables.spec import BackboneSpec
from trainables.training import optim

LAYERS, STEPS, ROUNDS = 2, 5, 6


def main(name: str, samples: int, count: int) -> None:
    torch.set_num_threads(1)
    spec = BackboneSpec(name=name, layers=LAYERS, tokens=count)
    backbone = load_backbone(spec, Path(tempfile.mkdtemp()))
    plain = backbone.new_body(drop_path=0.0)
    bodies = {"off": plain, "inductor": copy.deepcopy(plain)}
    tokens = torch.randn(samples, count, backbone.token_width)
    seconds = dict.fromkeys(bodies, float("inf"))
    for turn in range(ROUNDS + 1):
        for mode, body in bodies.items():
            spent = train(mode, body, tokens)
            if turn:
                seconds[mode] = min(seconds[mode], spent / STEPS)
            else:  # compiles
                seconds |= {f"first {mode}": spent}
    out, expected = (runner(mode)(bodies[mode], tokens) for mode in ("inductor", "off"))
    assert torch.allclose(out, expected, rtol=1e-3, atol=1e-3)
    print(json.dumps(seconds))


def train(mode: str, body: torch.nn.Module, tokens: torch.Tensor) -> float:
    """Train a few steps, and return their CPU seconds."""
    began = time.process_time()
    optimizer = optim.make_optimizer("adamw", body.parameters(), lr=1e-6)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(runner(mode)(body, tokens).square().mean())
        optimizer.step()
    return time.process_time() - began


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
