"""A checkpoint fits its network key by key, or is refused by name; nothing is random in silence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import RobertaConfig, RobertaForMaskedLM

from tests.support.tiny_backbones import save_tiny_bert, save_tiny_roberta
from trainables.errors import WeightsError
from trainables.models.backbones.loading import load_backbone
from trainables.models.weights.checkpoint import weights_hash
from trainables.models.weights.description import read_config
from trainables.spec import BackboneSpec

VICTIM = "encoder.layer.1.attention.self.query.weight"


@pytest.fixture
def folder(tmp_path):
    return save_tiny_roberta(tmp_path / "roberta")


def load(folder, **settings):
    return load_backbone(BackboneSpec(name=str(folder), **settings), folder.parent / "home")


def rewrite(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


SURPLUS = VICTIM.replace("layer.1", "layer.2")
UNFIT = {
    "missing": (lambda state: state.pop(VICTIM), f"missing keys: {VICTIM}"),
    "without a place": (
        lambda state: state.update({"encoder.adapter.weight": torch.ones(2)}),
        r"keys without a place: encoder\.adapter\.weight",
    ),
    "beyond the config": (
        lambda state: state.update({SURPLUS: state[VICTIM].clone()}),
        f"keys without a place: {SURPLUS}",
    ),
    "of another shape": (
        lambda state: state.update({VICTIM: torch.ones(32, 31)}),
        rf"{VICTIM} \(32, 31\) instead of \(32, 32\)",
    ),
    "nan": (lambda state: state[VICTIM].view(-1)[7:8].fill_(torch.nan), "NaN or infinity"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_weights_that_do_not_fit_are_refused_by_name(folder, case):
    change, message = UNFIT[case]
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=message):
        load(folder, layers=1 if case == "beyond the config" else None)


def test_a_missing_key_in_a_layer_that_is_cut_away_does_not_matter(folder):
    rewrite(folder, lambda state: state.pop(VICTIM))
    load(folder, layers=1)


@pytest.mark.parametrize("keep", [0, 5, 4096])
def test_a_file_cut_short_is_refused(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"model\.safetensors: damaged or cut short"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_one_of_the_files_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=f"no {name}"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_attention_heads", 5), ("hidden_size", "wide"), ("num_hidden_layers", -1)],
)
def test_a_config_with_impossible_values_is_refused(folder, key, value):
    config = read_config(folder)
    config[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError):
        load(folder)


def test_weights_below_a_task_head_are_found_and_the_head_is_left(tmp_path):
    config = RobertaConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=20,
        pad_token_id=1,
    )
    model = RobertaForMaskedLM(config)
    model.save_pretrained(tmp_path / "mlm")
    body = load(tmp_path / "mlm").body
    for name, tensor in model.roberta.encoder.state_dict().items():
        assert torch.equal(body.state_dict()[f"encoder.{name}"], tensor)


def test_half_precision_files_load_in_single_precision(folder):
    rewrite(folder, lambda state: state.update({k: v.half() for k, v in state.items()}))
    assert {p.dtype for p in load(folder).parameters()} == {torch.float32}


def test_loading_says_nothing_and_leaves_transformers_as_verbose_as_it_was(folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(folder, layers=1)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_the_hash_is_of_the_bytes(tmp_path):
    one, same = save_tiny_bert(tmp_path / "a"), save_tiny_bert(tmp_path / "b")
    other = save_tiny_bert(tmp_path / "c", seed=1)
    assert weights_hash(one) == weights_hash(same) != weights_hash(other)
    before = weights_hash(same)
    rewrite(same, lambda state: state["embeddings.LayerNorm.bias"].add_(1))
    assert weights_hash(same) != before
