"""Contract tests that an author of an extension runs on their own code, with any test runner.

from trainables.testing import check_benchmark, check_method

def test_my_method(tmp_path):
    check_method(MY_METHOD, tmp_path)

def test_my_benchmark(tmp_path):
    check_benchmark(MY_BENCHMARK, tmp_path)

def test_my_encoder(tmp_path):
    check_backbone(BackboneSpec(name="./my_encoder"), tmp_path)

Each raises an AssertionError that says what a sweep would stumble over. The object need not be
installed.
"""

from trainables.testing.backbones import check_backbone
from trainables.testing.benchmarks import check_benchmark
from trainables.testing.methods import check_method

__all__ = ["check_backbone", "check_benchmark", "check_method"]
