"""A begun sweep goes on with its own file; the defaults of keys that it lacks are its own."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli.options import all_sets
from sweeper.errors import FileFaults, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.planning import load, resuming
from sweeper.planning.catalog import catalog
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.bad_inputs.rows import VALID, edit
from tests.support.trials import record


def older(sweep: Sweep, change: Callable[[dict[str, Any]], object]) -> SweepRecord:
    """Return what a version wrote down that did not know some of the keys."""
    resolved = sweep.resolved
    change(resolved)
    return record(sweep.name, resolved=resolved, profile=sweep.profile, text=VALID)


def forget(resolved: dict[str, Any]) -> None:
    del resolved["stage_store"], resolved["stages"], resolved["failures"]["silence"]
    del resolved["data"]["seed"], resolved["model"]["embedder_init"], resolved["tracking"]
    del resolved["backbones"]["1d"]["weights"]


@pytest.fixture
def ledger(tmp_path: Path):
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        ledger.create(older(loads_sweep(VALID, catalog()), forget))
        ledger.start({})
        yield ledger


def test_defaults_that_a_begun_sweep_does_not_have_are_no_difference(ledger):
    before = ledger.sweep()
    sweep = resuming.match(ledger, loads_sweep(VALID, catalog()), VALID)
    assert ledger.sweep() == before
    assert before is not None
    assert sweep.resolved == resuming.from_record(before).resolved


def test_the_claims_of_a_begun_sweep_are_fixed_and_its_other_texts_are_not(tmp_path):
    def asked(title: str, expect: str) -> Sweep:
        claim = f"{{says: It helps., contrast: [mona, mona/control], expect: {expect}}}"
        question = f"question: {{title: {title}, published: Yes., claims: [{claim}]}}\n"
        return loads_sweep(VALID + question, catalog())

    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        resuming.match(ledger, asked("Doe it help?", "better"), VALID)
        ledger.start({})
        mended = resuming.match(ledger, asked("Does it help?", "better"), VALID)
        assert (record := ledger.sweep()) is not None
        assert resuming.from_record(record).question == mended.question
        with pytest.raises(UsageError, match=r"question\.claims"):
            resuming.match(ledger, asked("Does it help?", "worse"), VALID)


@pytest.mark.parametrize("every", [3, 1])
def test_a_begun_sweep_may_go_on_with_fewer_checkpoints_or_more(every, tmp_path):
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        text = f"{VALID}\ncheckpoints: {{every: {4 - every}}}\n"
        resuming.match(ledger, loads_sweep(text, catalog()), text)
        ledger.start({})
        sets = [f"checkpoints.every={every}"]
        sweep = resuming.match(ledger, loads_sweep(text, catalog(), sets=sets), text)
        record = ledger.sweep()
        assert record is not None
        assert sweep.checkpoints.every == resuming.from_record(record).checkpoints.every == every


def test_a_begun_sweep_may_notify_others_and_keeps_its_hash(tmp_path):
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        plain = resuming.match(ledger, loads_sweep(VALID, catalog()), VALID)
        assert "notify" not in plain.resolved
        ledger.start({})
        for addresses in (["https://a.example/${env:HOOK}"], ["https://b.example/x"], []):
            text = f"{VALID}\nnotify: {json.dumps(addresses)}\n"
            sweep = resuming.match(ledger, loads_sweep(text, catalog()), text)
            assert (record := ledger.sweep()) is not None
            assert resuming.from_record(record).notify == sweep.notify == tuple(addresses)
            assert record.config_hash == plain.config_hash


def test_a_begun_sweep_may_go_on_without_rays_dashboard(tmp_path):
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        plain = resuming.match(ledger, loads_sweep(VALID, catalog()), VALID)
        assert plain.resources.dashboard
        ledger.start({})
        sets = all_sets([], None, no_dashboard=True)
        without = resuming.match(ledger, loads_sweep(VALID, catalog(), sets=sets), VALID)
        assert (record := ledger.sweep()) is not None
        assert not without.resources.dashboard
        assert resuming.from_record(record).resources == without.resources
        assert record.config_hash == plain.config_hash


def test_it_can_be_extended(ledger):
    sweep = resuming.match(ledger, loads_sweep(VALID, catalog(), trials=12), VALID)
    record = ledger.sweep()
    assert record is not None
    assert record.resolved["search"]["trials"] == sweep.search.trials == 12


def test_a_sweep_that_began_with_a_chosen_precision_takes_no_other(tmp_path):
    text = VALID + "model: {precision: fp32}\n"
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        resuming.match(ledger, loads_sweep(VALID, catalog()), VALID)
        ledger.start({})
        with pytest.raises(UsageError, match=r'model\.precision: "auto" -> "fp32"'):
            resuming.match(ledger, loads_sweep(text, catalog(), trials=12), text)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("trials: 8", "trials: 8, seed: 1", "search.seed: 0 -> 1"),
        ("{1d: minilm}", "{1d: {name: minilm, weights: random}}", '"pretrained" -> "random"'),
        ("epochs: 8", "epochs: 8, refine.decay_epochs: 6", "refine.decay_epochs: 8 -> 6"),
    ],
)
def test_what_a_file_says_otherwise_is_a_difference(ledger, old, new, told):
    text = edit(old, new)
    with pytest.raises(UsageError) as refused:
        resuming.match(ledger, loads_sweep(text, catalog()), text)
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2


def test_a_sweep_of_several_gpus_a_trial_goes_on():
    sweep = loads_sweep(VALID, catalog())
    began = replace(sweep, resources=sweep.resources.model_copy(update={"gpu": 2.0}))
    assert resuming.from_record(older(began, lambda resolved: None)).resources.gpu == 2


@pytest.mark.parametrize(
    "line", ["fixed: {refine.finetune: lora}", "  refine.finetune: {values: [all, lora]}"]
)
def test_adapters_without_their_package_or_their_layers_are_a_fault_of_their_line(
    tmp_path, monkeypatch, line
):
    file = tmp_path / "x.yaml"
    file.write_text(
        "name: x\nmethods: [nft]\ntasks: [pdebench/advection_1d]\nbackbones: {1d: roberta_base}\n"
        f"parameters:\n  refine.lr: {{min: 1.0e-6, max: 1.0e-3}}\n{line}\n"
    )
    assert load.read(file, load.Options(profile="paper")).name == "x"
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    with pytest.raises(FileFaults) as caught:
        load.read(file, load.Options(profile="paper"))
    (fault,) = caught.value.faults
    assert fault.line == 7
    assert 'pip install "crossmodal-sweeper[lora]"' in str(fault)
    folder = tmp_path / "xlnet"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "xlnet"}')
    (folder / "model.safetensors").touch()
    monkeypatch.undo()
    with pytest.raises(FileFaults) as caught:
        load.read(file, load.Options(profile="paper", sets=(f"backbones.1d={folder}",)))
    (fault,) = caught.value.faults
    assert fault.line == 7
    assert "xlnet` has none that are called as layers: take another `finetune`" in str(fault)


@pytest.mark.parametrize(
    "line",
    [
        "fixed: {refine.freeze: embedder+body}",
        "parameters: {refine.freeze: {values: [none, embedder+body]}}",
        "compare_by: {refine.freeze: [none, embedder+body]}",
    ],
)
def test_frozen_parts_that_leave_no_weight_to_train_are_a_fault_of_their_line(tmp_path, line):
    file = tmp_path / "x.yaml"
    file.write_text(
        "name: x\nmethods: [nft]\ntasks: [pdebench/advection_1d, pdebench/burgers_1d]\n"
        f"backbones: {{1d: minilm}}\nsearch: {{trials: 2}}\n{line}\n"
    )
    with pytest.raises(FileFaults) as caught:
        load.read(file, load.Options())
    (fault,) = [each for each in caught.value.faults if "nothing to train" in str(each)]
    assert fault.line == 6
    assert "model.head: linear" in str(fault)
    assert load.read(file, load.Options(sets=("model.head=linear",))).name == "x"


def test_a_setting_that_is_idle_in_the_preset_is_searched_where_its_condition_holds(tmp_path):
    """The example of LoRA in the guide."""
    lines = "  refine.finetune: {values: [all, lora]}\n  refine.lora_rank: {values: [4, 8], when: "
    text = "name: adapters\nmethods: [nft]\ntasks: [pdebench/advection_1d]\n"
    text += "backbones: {1d: minilm}\nparameters:\n" + lines + "{refine.finetune: lora}}\n"
    (tmp_path / "x.yaml").write_text(text)
    sweep = load.read(tmp_path / "x.yaml", load.Options())
    (study,) = sweep.studies
    assert list(study.parameters) == ["refine.finetune", "refine.lora_rank"]
    assert not [note for note in sweep.notes if "applies to no study" in note]
    drawn = {"refine.finetune": "lora", "refine.lora_rank": 8}
    assert study.complete_params(drawn)["refine.lora_rank"] == 8
    assert "refine.lora_rank" not in study.complete_params({"refine.finetune": "all"})
