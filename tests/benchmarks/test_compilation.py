"""Steps of a compiled body against the same without compilation, on this CPU."""

import json
import subprocess
import sys

import pytest

from tests.support.command import ROOT
from tests.support.figures import compare
from trainables.models.compilation import compiler

SIZES = [("minilm", 4, 32), ("minilm", 16, 32), ("dinov2_small", 4, 64), ("dinov2_small", 16, 64)]

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler is here"),
]


@pytest.mark.parametrize(("name", "samples", "tokens"), SIZES)
def test_a_step_of_a_compiled_body(name, samples, tokens):
    command = [sys.executable, "-m", "tests.benchmarks.compiled_steps"]
    done = subprocess.run(
        [*command, name, str(samples), str(tokens)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    spent = json.loads(done.stdout.splitlines()[-1])
    off, compiled = (1e3 * spent[mode] for mode in ("off", "inductor"))
    what = f"a compiled step of {name}, {samples} x {tokens}"
    ratio = compare(what, compiled, off, peer="not compiled", unit="ms", goal="< 1.43")
    print(f"; compiling {spent['first inductor']:.0f} s")
    assert 1 / ratio > 0.7, "compilation slows a step down"
