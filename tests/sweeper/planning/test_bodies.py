"""A backbone that cannot be built is found by `plan`, in a process of its own."""

import sys

import pytest
from safetensors.torch import load_file, save_file

from sweeper.errors import FileFaults
from sweeper.planning import child
from sweeper.planning.bodies import check_bodies
from sweeper.planning.catalog import catalog
from sweeper.spec.loader import loads_sweep
from tests.support import tiny_encoders
from tests.support.tiny_backbones import save_tiny_bert
from tests.sweeper.spec.test_backbones import TEXT, load


@pytest.mark.slow
def test_weights_that_do_not_fit_their_config_are_a_fault_of_the_file(tmp_path):
    folder = save_tiny_bert(tmp_path / "bert")
    found = load(f"{{hub: {folder}}}")
    check_bodies(found, tmp_path, "x.yaml")
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.1.attention.self.query.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FileFaults) as caught:
        check_bodies(found, tmp_path, "x.yaml")
    (fault,) = caught.value.faults
    assert str(fault).startswith("x.yaml: `backbones.1d`: ")
    assert "missing keys: encoder.layer.1.attention.self.query.weight" in str(fault)


@pytest.mark.slow
def test_a_body_that_cannot_have_the_adapters_of_some_trials_is_a_fault(tmp_path, monkeypatch):
    architecture = ("eva02_small_patch14_224", tiny_encoders.TIMM["timm_eva02"][1])
    monkeypatch.setattr(tiny_encoders, "TIMM", {"eva": architecture})
    folder = tiny_encoders.save_timm("eva", tmp_path / "eva")
    searched = "  refine.finetune: {values: [all, lora]}\n"
    text = TEXT.replace("{ONE}", "roberta_base").replace("{TWO}", str(folder)) + searched
    found = loads_sweep(text, catalog(), profile="paper")
    with pytest.raises(FileFaults, match=r"backbones\.2d.*lora.*take another `finetune`"):
        check_bodies(found, tmp_path, "x.yaml")


def test_named_backbones_and_those_to_fetch_start_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(child.subprocess, "run", lambda *_, **__: sys.exit("a process"))
    for one in ("roberta_base", "{hub: a/b}", "{hub: a/b, revision: main, weights: random}"):
        check_bodies(load(one), tmp_path, "x.yaml")
