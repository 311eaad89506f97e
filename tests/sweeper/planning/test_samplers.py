"""Samplers and pruners of plugins: named by sweep files, recorded, described, and refused."""

import sys
from collections.abc import Callable, Iterator

import optuna
import pytest

from sweeper.commands.reference import reference
from sweeper.errors import FileFaults
from sweeper.planning.catalog import catalog
from sweeper.planning.plugins import PLUGINS, record_of
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.spec.json_schema import json_schema
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.support.plugins import install, write_distribution
from trainables import plugins

SOURCE = '''
def drawn(*, seed, study_seed, startup_trials):
    """Draw by hand."""
    from optuna.samplers import RandomSampler
    return RandomSampler(seed=seed)

def cut(*, min_epochs, eta):
    """Prune by hand."""
    from optuna.pruners import NopPruner
    return NopPruner()
'''
BUILT_IN = ("tpe", "cqr", "gp", "cmaes", "qmc", "nsga2", "random", "grid", "auto")
SWEEP = """
name: s
methods: [nft]
tasks: [pdebench/advection_1d]
backbones: {1d: roberta_base}
parameters: {refine.lr: {min: 1.0e-5, max: 1.0e-2, distribution: log_uniform_values}}
search: {trials: 3, sampler: drawn}
pruning: {type: cut}
"""


@pytest.fixture
def offer(tmp_path, monkeypatch) -> Iterator[Callable[[str], None]]:
    """Install a distribution with a sampler and a pruner; it is forgotten after the test."""

    def offer(source: str) -> None:
        entries = {"sweeper.samplers": {"drawn": "by_hand:drawn"},
                   "sweeper.pruners": {"cut": "by_hand:cut"}}  # fmt: skip
        write_distribution(tmp_path, "by-hand", entries, {"by_hand": source})
        install(tmp_path, monkeypatch)

    yield offer
    monkeypatch.undo()
    sys.modules.pop("by_hand", None)
    plugins.reread()


def read() -> Sweep:
    return loads_sweep(SWEEP, catalog())


@pytest.mark.slow
def test_a_sweep_names_them_and_its_record_has_them(offer):
    offer(SOURCE)
    assert read().search.sampler == "drawn"
    (used,) = record_of(read())[PLUGINS]
    assert (used["distribution"], used["version"]) == ("by-hand", "1.0")
    assert used["objects"] == ("sweeper.pruners:cut", "sweeper.samplers:drawn")
    schema = json_schema(catalog())["else"]["properties"]
    assert schema["search"]["anyOf"][0]["properties"]["sampler"]["enum"] == [*BUILT_IN, "drawn"]
    found = reference("cut")
    assert (found.kind, found.title) == ("pruner", "Prune by hand.")
    assert found.facts == {"from": "by-hand 1.0"}
    assert [each.default for each in found.parameters if each.name == "pruning.type"] == ["cut"]


def test_nobody_offers_them_is_a_fault_of_each_line():
    with pytest.raises(FileFaults) as found:
        read()
    sampler, pruner = map(str, found.value.faults)
    assert sampler.startswith("sweep.yaml:7: `search.sampler`: unknown sampler `drawn`. Known: ")
    assert pruner.startswith("sweep.yaml:8: `pruning.type`: unknown pruner `cut`. Known: ")


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("\n1 / 0", r"cannot be imported: ZeroDivisionError.*by_hand.py:2"),
        ("def drawn(**_):\n  1 / 0\ndef cut(**_): 0", r"cannot be made: Zero.*by_hand.py:2"),
        ("def drawn(seed): 0\ndef cut(**_): 0", r"cannot be made: TypeError.*study_seed"),
        ("def drawn(**_): return 3\ndef cut(**_): 0", r"returns a int.*optuna.samplers"),
        ("drawn = 3\ndef cut(**_): 0", r"is a int, which is no sampler"),
    ],
)
def test_a_damaged_one_is_a_fault_where_it_is_named(offer, source: str, fault: str):
    offer(source)
    with pytest.raises(FileFaults) as found:
        read()
    sampler, pruner = map(str, found.value.faults)
    assert sampler.startswith("sweep.yaml:7: sampler `drawn` of by-hand 1.0")
    assert pruner.startswith("sweep.yaml:8: pruner `cut` of by-hand 1.0")
    with pytest.raises(FileFaults, match=fault):
        read()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_built_in_ones_are_optunas():
    made = [make(seed=0, study_seed=0, startup_trials=1) for make in SAMPLERS.values()]
    assert all(isinstance(each, optuna.samplers.BaseSampler) for each in made)
    assert all(
        isinstance(make(min_epochs=1, eta=2), optuna.pruners.BasePruner)
        for make in PRUNERS.values()
    )


def test_a_package_that_is_missing_is_a_fault_with_the_way_out(monkeypatch):
    text = SWEEP.replace("sampler: drawn", "sampler: cmaes").replace("cut", "asha")
    monkeypatch.setattr("sweeper.planning.samplers.find_spec", lambda name: None)
    with pytest.raises(FileFaults) as found:
        loads_sweep(text, catalog())
    (fault,) = map(str, found.value.faults)
    assert fault == (
        "sweep.yaml:7: `search.sampler: cmaes` needs the package cmaes: pip install "
        '"crossmodal-sweeper[cmaes]". Or take another sampler, such as `tpe`.'
    )
