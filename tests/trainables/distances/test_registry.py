"""The registry of distances: each is one that an alignment can minimise, by its own settings."""

import inspect
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from tests.support.plugins import write_distribution
from trainables.distances.registry import DISTANCES, OWN, DistanceEntry
from trainables.methods.orca.config import AlignConfig
from trainables.methods.orca.source_distance import SourceDistance
from trainables.seeding import generator

PLUGIN = """
from trainables.distances.registry import DistanceEntry
MINE = DistanceEntry(name="mine", title="My distance", function="my_distance_code:mine")
"""
CODE = "def mine(source, target): return (source.mean() - target.mean()).abs()"
READ = """
from trainables.distances.registry import DISTANCES
from trainables.methods.orca.config import AlignConfig
print(AlignConfig(distance="mine").distance, DISTANCES["mine"].load().__name__)
"""


@pytest.mark.parametrize("entry", OWN.values(), ids=OWN)
def test_each_is_computed_by_settings_that_the_stage_has(entry: DistanceEntry, source):
    features = torch.randn(5, 32, generator=generator(0, "features")).requires_grad_()
    distance = SourceDistance(source, AlignConfig(distance=entry.name), torch.device("cpu"))
    value, converged = distance(features, torch.tensor([0, 0, 1, 1, 1]), generator(0, "source"))
    (gradient,) = torch.autograd.grad(value, features)
    assert converged
    assert gradient.isfinite().all()
    assert gradient.any()
    assert (entry.otdd is None) == bool(entry.function)
    if entry.function:
        taken = inspect.signature(entry.load()).parameters
        assert {*entry.settings, *(["generator"] if entry.is_random else [])} == {*taken} - {
            "source", "target"}  # fmt: skip
        assert set(entry.settings.values()) <= AlignConfig.model_fields.keys()
        assert entry.module in AlignConfig.loads


def test_their_values_differ(source):
    features = torch.randn(6, 32, generator=generator(0, "features"))
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    values = {
        SourceDistance(source, AlignConfig(distance=name), torch.device("cpu"))(
            features, labels, generator(0, "source")
        )[0].item()
        for name in OWN
    }
    assert len(values) == len(OWN)


def test_a_name_that_nobody_computes_is_refused():
    assert list(DISTANCES)[: len(OWN)] == list(OWN)
    with pytest.raises(ValidationError, match=f"'{[*OWN][-1]}' or 'none'"):
        AlignConfig(distance="ennergy")


def test_one_that_reads_a_setting_which_the_stage_lacks_is_refused():
    fields = {"name": "mine", "title": "My distance", "function": "my_distance_code:mine"}
    with (
        DISTANCES.holding("mmd", DistanceEntry(**fields, settings={"scale": "mmd_scale"})),
        pytest.raises(ValidationError, match=r"reads the setting `mmd_scale`.*settings of `align`"),
    ):
        AlignConfig(distance="mmd")
    with DISTANCES.holding("mmd", DistanceEntry(**fields, settings={"scale": "mmd_kernel"})):
        assert AlignConfig(distance="mmd").distance == "mmd"


@pytest.mark.slow
def test_a_plugin_offers_one(tmp_path):
    entries = {"sweeper.distances": {"mine": "my_distance:MINE"}}
    modules = {"my_distance": PLUGIN, "my_distance_code": CODE}
    write_distribution(tmp_path, "my-distances", entries, modules)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{READ}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "mine mine\n"
