"""Networks that the generic adapters do not understand are refused, and never guessed."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers import DropPath
from torch import nn
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from tests.support.tiny_encoders import save_encoder
from trainables.errors import ConfigError, TrainableError, WeightsError
from trainables.models.backbones import encoder, structure
from trainables.models.backbones.loading import load_backbone
from trainables.spec import BackboneSpec
from trainables.testing.backbones import check_backbone

SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
IMAGE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32}


def refused(tmp_path, config: dict[str, Any], **spec: Any) -> str:
    folder = tmp_path / "network"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainableError) as caught:
        load_backbone(BackboneSpec(name=str(folder), weights="random", **spec), tmp_path)
    return str(caught.value)


def test_an_architecture_that_transformers_does_not_have(tmp_path):
    told = refused(tmp_path, {"model_type": "made_up"})
    assert "says model_type made_up, of which transformers has no encoder" in told
    assert "bert" in told


def test_code_of_a_repository_is_never_run(tmp_path):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "code.py").write_text("raise SystemExit('this was run')")
    config = {"model_type": "made_up", "auto_map": {"AutoModel": "code.Model"}}
    assert "trust_remote_code" in refused(tmp_path, config)
    ours = {"model_type": "mistral", **SMALL, "num_key_value_heads": 2, "head_dim": 8}
    folder = tmp_path / "network"
    (folder / "config.json").write_text(json.dumps({**ours, "auto_map": config["auto_map"]}))
    backbone = load_backbone(BackboneSpec(name=str(folder), weights="random"), tmp_path)
    assert type(backbone.body.network).__module__.startswith("transformers.models.mistral")


def test_projections_that_are_joined_head_by_head_are_not_split_in_thirds(tmp_path):
    """GPT-NeoX stores q, k and v of one head after another: thirds of its matrix are none."""
    told = refused(tmp_path, {"model_type": "gpt_neox", **SMALL})
    assert "query_key_value" in told
    assert "architecture is not supported" in told


def test_a_table_of_positions_of_an_odd_kind_is_no_role(tmp_path):
    config = {"model_type": "opt", **SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32}
    assert "embed_positions" in refused(tmp_path, config)


def test_an_encoder_and_decoder_without_an_encoder_of_its_own(tmp_path):
    config = {"model_type": "bart", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    assert "of which transformers has no encoder" in refused(tmp_path, config)


@pytest.mark.slow
def test_a_convolutional_network_whose_stem_cuts_no_patches(tmp_path):
    told = refused(tmp_path, {"model_type": "resnet"})
    assert "not supported" in told


def test_a_network_that_cannot_run(tmp_path):
    """Eight heads of keys do not serve four of queries; the library finds out in its first pass."""
    told = refused(tmp_path, {"model_type": "mistral", **SMALL, "num_key_value_heads": 8})
    assert "cannot be run as a backbone" in told


def test_layers_that_are_shared_cannot_be_cut(tmp_path):
    config = {"model_type": "albert", **SMALL, "embedding_size": 16}
    assert "leave backbone.layers out" in refused(tmp_path, config, layers=1)


def test_a_body_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    """Were the embedding taken out wrongly, the comparison with the whole network says so."""
    folder = save_encoder("electra", tmp_path / "electra")
    forward = encoder.Passthrough.forward
    monkeypatch.setattr(encoder.Passthrough, "forward", lambda *a, **k: 1.5 * forward(*a, **k))
    with pytest.raises(WeightsError, match="does not give what the whole network gives"):
        load_backbone(BackboneSpec(name=str(folder)), tmp_path)


def test_names_of_projections_are_not_believed():
    """A module whose `query` holds the values has no role, whatever it is called."""

    class CrossedAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, tokens):
            scores = self.value(tokens) @ self.key(tokens).transpose(1, 2)
            return self.out(scores.softmax(-1) @ self.query(tokens))

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(8), CrossedAttention()

        def forward(self, tokens):
            return tokens + self.attention(self.norm(tokens))

    torch.manual_seed(0)
    body = Body().requires_grad_(False)
    measured = structure.probe(body, torch.randn(1, 5, 8))
    assert measured.unused == frozenset()
    assert all(not parameter.requires_grad for parameter in body.parameters())
    with pytest.raises(WeightsError, match="named like a projection that it is not"):
        structure.structural_roles(body, measured, known={}, outside=structure.Role.MLP)


@pytest.mark.parametrize("kind", ["mistral", "gemma2", "qwen3", "mpnet", "ijepa", "vit_msn"])
def test_an_encoder_that_no_table_lists_is_understood_by_its_structure(tmp_path, kind):
    image = kind in ("ijepa", "vit_msn")
    sizes = {**IMAGE, "patch_size": 8, "intermediate_size": 64} if image else dict(SMALL)
    if kind in ("mistral", "gemma2", "qwen3"):
        sizes |= {"num_key_value_heads": 2, "head_dim": 8}
    config = AutoConfig.for_model(kind, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MODEL_MAPPING[type(config)](config).save_pretrained(tmp_path / kind)
    backbone = load_backbone(BackboneSpec(name=str(tmp_path / kind)), tmp_path)
    assert backbone.dimension == ("2d" if image else "1d")
    assert set(backbone.roles) == {name for name, _ in backbone.body.named_parameters()}


def test_files_of_a_task_are_read_without_their_head(tmp_path):
    """A file of `GPT2LMHeadModel` has the network under a prefix; a foreign key is a fault."""
    folder = save_encoder("gpt2", tmp_path / "gpt2")
    path = folder / "model.safetensors"
    plain = load_backbone(BackboneSpec(name=str(folder)), tmp_path)
    state = {f"transformer.{key}": value for key, value in load_file(path).items()}
    path.unlink()  # older releases of safetensors write into the file, which networks have mapped
    save_file({**state, "score.weight": torch.zeros(2, 32)}, path, {"format": "pt"})
    headed = load_backbone(BackboneSpec(name=str(folder)), tmp_path)
    tokens = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.body(tokens), headed.body(tokens))
    path.unlink()
    save_file({**state, "transformer.h.0.odd.weight": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(WeightsError, match="keys without a place"):
        load_backbone(BackboneSpec(name=str(folder)), tmp_path)


def test_a_network_of_timm_drops_nothing_at_random_whatever_its_architecture_states(tmp_path):
    folder = save_encoder("timm_vit", tmp_path / "vit")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    shares = ("drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
    config["model_args"] |= dict.fromkeys((*shares, "patch_drop_rate"), 0.5)
    path.write_text(json.dumps(config))
    spec = BackboneSpec(name=str(folder))
    body = check_backbone(spec, tmp_path).new_body(drop_path=0.0)
    assert any(isinstance(module, DropPath) for module in body.modules())


def test_what_a_folder_of_timm_must_hold(tmp_path):
    folder = save_encoder("timm_vit", tmp_path / "vit")
    path = folder / "model.safetensors"
    state = load_file(path)

    def told(changed):
        path.unlink()
        save_file(changed, path)
        with pytest.raises(WeightsError) as caught:
            load_backbone(BackboneSpec(name=str(folder)), tmp_path)
        return str(caught.value)

    key = "blocks.0.attn.qkv.weight"
    assert key in told({k: v for k, v in state.items() if k != key})
    assert "wrong shapes" in told({**state, key: state[key][:3].clone()})
    assert "keys without a place: blocks.0.odd" in told({**state, "blocks.0.odd": torch.zeros(1)})
    assert "NaN" in told({**state, key: state[key] * torch.nan})
    path.write_bytes(b"x" * 20)
    with pytest.raises(WeightsError, match="damaged"):
        load_backbone(BackboneSpec(name=str(folder)), tmp_path)
    path.unlink()
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        load_backbone(BackboneSpec(name=str(folder)), tmp_path)
    with pytest.raises(ConfigError, match="leave layers out"):
        load_backbone(BackboneSpec(name=str(folder), weights="random", layers=1), tmp_path)
