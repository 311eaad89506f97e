"""The contract of every family of encoders that may be a backbone.

Each is a tiny random network in a folder, as a user would have one. Its body computes what the
network of the library does, every parameter has one role, and methods train it, stopped and resumed
bit for bit.
"""

import copy
import json
from math import isfinite

import pytest
import timm
import torch
from transformers import AutoModel, T5EncoderModel

from tests.support.settings import of_each_stage
from tests.support.tiny_encoders import CAUSAL, GRIDS, LAYERS, SAVERS, SEQUENCES, save_encoder
from tests.support.tiny_trials import ON_BACKBONES, same_weights
from trainables.errors import ConfigError
from trainables.methods.mona.meta_alignment import MOVED_ROLES
from trainables.methods.registry import METHODS
from trainables.models.adapters import (
    ADAPTED,
    Adapters,
    adapters_of,
    add_adapters,
    check_adapters,
    merged,
)
from trainables.models.backbone import Role
from trainables.models.backbones.families import FAMILIES, family_of
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import TRAINED_ROLES
from trainables.models.weights.description import adapters_fault
from trainables.spec import BackboneSpec
from trainables.testing import check_backbone

CUT = [kind for kind in SAVERS if kind in SEQUENCES or GRIDS.get(kind, {}).get("num_hidden_layers")]
RESIZED = ["vit", "deit", "dinov2", "swinv2", "convnext", "timm_vit", "timm_eva02"]
TOKENS = {"dinov2": 16}  # of a grid, where the one of pretraining is not the default
LORA = Adapters(rank=2, alpha=6.0)
PROJECTIONS = (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE)

every_family = pytest.mark.parametrize("kind", SAVERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of the tiny network of a family."""
    root, made = tmp_path_factory.mktemp("encoders"), {}

    def folder(kind):
        if kind not in made:
            made[kind] = save_encoder(kind, root / kind)
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def load(folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")

    def load(kind, **settings):
        settings = {"tokens": TOKENS.get(kind)} | settings
        return load_backbone(BackboneSpec(name=str(folder(kind)), **settings), home)

    return load


def source(backbone, *, samples=2, seed=3):
    """Return random source inputs of a backbone."""
    rng = torch.Generator().manual_seed(seed)
    if backbone.dimension == "1d":
        return torch.randint(10, 290, (samples, 9), generator=rng)
    return torch.randn(samples, 3, *backbone.source_embedder.size, generator=rng)


def library(kind, folder, inputs, **changes):
    """Return the features [B, M, E] of patches or words of the library's own network."""
    if kind.startswith("timm"):
        config = json.loads((folder / "config.json").read_text())
        arguments = {**config["model_args"], **changes, "num_classes": 3}
        model = timm.create_model(
            config["architecture"], checkpoint_path=str(folder / "model.safetensors"), **arguments
        ).eval()
        features = model.forward_features(inputs)
        return features.flatten(1, -2)[:, getattr(model, "num_prefix_tokens", 0) :]
    model_class = T5EncoderModel if kind == "t5" else AutoModel
    model = model_class.from_pretrained(folder, **changes).eval()
    name = "input_ids" if kind in SEQUENCES else "pixel_values"
    features = model(**{name: inputs}).last_hidden_state
    features = features.flatten(2).transpose(1, 2) if features.dim() == 4 else features
    return features[:, family_of(json.loads((folder / "config.json").read_text())).class_tokens :]


def test_every_family_is_tried():
    tried = {kind.replace("timm_", "timm/") for kind in SAVERS}
    assert tried == set(FAMILIES) - {"timm/deit"}  # a ViT with another name


@pytest.mark.slow
@every_family
@torch.no_grad()
def test_a_body_computes_what_the_network_of_the_library_does(load, folder, kind):
    backbone = load(kind)
    inputs = source(backbone)
    features = backbone.body(backbone.embed_source(inputs))
    torch.testing.assert_close(features, library(kind, folder(kind), inputs), rtol=1e-4, atol=1e-5)
    assert features.std() > 0.1
    assert features.shape[2] == backbone.feature_width
    assert backbone.dimension == ("1d" if kind in SEQUENCES else "2d")


@every_family
def test_every_parameter_has_one_role(load, kind):
    backbone = load(kind)
    names = [name for name, _ in backbone.body.named_parameters()]
    assert sorted(backbone.roles) == sorted(names)
    matrices = [backbone.roles[name] for name, p in backbone.body.named_parameters() if p.dim() > 1]
    counts = {matrices.count(role) for role in (*PROJECTIONS, Role.ATTENTION_OUTPUT)}
    assert len(counts) == 1
    assert (counts == {0}) == (kind == "convnext")
    assert Role.NORM in backbone.roles.values()
    for roles in (*TRAINED_ROLES.values(), *MOVED_ROLES.values()):
        assert roles <= frozenset(Role)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in SAVERS if kind != "convnext"])
@torch.no_grad()
def test_queries_and_keys_do_not_matter_where_all_tokens_are_equal(load, kind):
    """`finetune: wv` and `inner_params: attention` rest on this: values alone carry content."""
    backbone = load(kind)

    def features(roles):
        body = copy.deepcopy(backbone.body)
        rng = torch.Generator().manual_seed(7)
        for name, parameter in body.named_parameters():
            if backbone.roles[name] in roles:
                parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=0.3)
        for module in body.modules():
            if type(module).__name__.endswith("Attention"):
                module.register_forward_pre_hook(equal_tokens, with_kwargs=True)
        return body(backbone.embed_source(source(backbone)))

    plain = features(())
    assert not torch.allclose(features((Role.ATTENTION_VALUE,)), plain, atol=1e-2)
    assert not torch.allclose(features((Role.ATTENTION_OUTPUT,)), plain, atol=1e-2)
    for role in (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_POSITION):
        torch.testing.assert_close(features((role,)), plain, rtol=1e-3, atol=1e-4)


def equal_tokens(module, inputs, named):
    """Set all tokens of each sample's features to one row, by whatever name they come."""

    def equal(value):
        if not (torch.is_tensor(value) and value.is_floating_point() and value.dim() >= 3):
            return value
        return value.flatten(0, -2)[-1].expand_as(value)

    if inputs:
        return (equal(inputs[0]), *inputs[1:]), named
    return inputs, {**named, "hidden_states": equal(named["hidden_states"])}


@pytest.mark.slow
@every_family
def test_a_family_keeps_the_contract(folder, kind, tmp_path):
    spec = BackboneSpec(name=str(folder(kind)), tokens=TOKENS.get(kind))
    backbone = check_backbone(spec, tmp_path)
    drawn = check_backbone(spec.model_copy(update={"weights": "random"}), tmp_path)
    assert drawn.weights_hash != backbone.weights_hash


@pytest.mark.parametrize("kind", CUT)
@torch.no_grad()
def test_a_cut_body_is_the_beginning_of_the_whole_one(load, folder, kind):
    backbone = load(kind, layers=1)
    inputs = source(backbone)
    key = FAMILIES[kind].layers_key
    features = backbone.body(backbone.embed_source(inputs))
    theirs = library(kind, folder(kind), inputs, **{key: 1})
    torch.testing.assert_close(features, theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=rf"layers is {LAYERS + 1}"):
        load(kind, layers=LAYERS + 1)


@pytest.mark.parametrize("kind", RESIZED)
@torch.no_grad()
def test_a_grid_of_another_size_has_interpolated_positions(load, kind):
    backbone = load(kind, tokens=36)
    assert (backbone.max_tokens, backbone.grid) == (36, (6, 6))
    inputs = source(backbone)
    tokens = backbone.embed_source(inputs)
    assert tokens.shape == (2, 36, backbone.token_width)
    rows, columns = backbone.feature_grid
    features = backbone.body(tokens)
    assert features.shape == (2, rows * columns, backbone.feature_width)
    assert backbone.stride * rows == backbone.source_embedder.size[0]
    # A constant table of positions is the same at any size, and so is a varying one on average.
    usual = load(kind)
    ours, theirs = backbone.source_embedder.positions, usual.source_embedder.positions
    assert (ours is None) == (theirs is None)
    if ours is not None:
        torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=0.1, rtol=0.0)


def test_positions_of_a_fixed_grid_are_not_stretched(load):
    with pytest.raises(ConfigError, match="positions for the grid of its pretraining alone: 16"):
        load("beit", tokens=36)


@pytest.mark.parametrize("kind", CAUSAL)
@torch.no_grad()
def test_a_decoder_is_causal_unless_it_is_made_bidirectional(load, kind):
    none, flip, double = (load(kind, bidirectional=b) for b in ("none", "flip", "double"))
    tokens = none.embed_source(source(none))
    changed = tokens.clone()
    changed[:, -1] = tokens[:, 1]
    assert torch.allclose(none.body(tokens)[:, :-1], none.body(changed)[:, :-1], atol=1e-5)
    for backbone in (flip, double):
        assert backbone.roles == none.roles
        first = (backbone.body(tokens) - backbone.body(changed))[:, 0]
        assert first.abs().max() > 1e-3
    forwards, backwards = none.body(tokens), none.body(tokens.flip(1)).flip(1)
    torch.testing.assert_close(flip.body(tokens), (forwards + backwards) / 2)
    torch.testing.assert_close(flip.body(tokens.flip(1)), flip.body(tokens).flip(1))
    twice = none.body(torch.cat([tokens, tokens], dim=1))
    torch.testing.assert_close(double.body(tokens), twice[:, tokens.shape[1] :])


@pytest.mark.parametrize("kind", sorted(set(SEQUENCES) - set(CAUSAL)))
def test_an_encoder_is_not_made_bidirectional(load, kind):
    with pytest.raises(ConfigError, match="leave it out"):
        load(kind, bidirectional="flip")


def stopped_and_resumed(trials, folder, kind, method, settings, tmp_path):
    """Run one trial of a method twice: at once, and stopped after every epoch."""
    dimension = "1d" if kind in SEQUENCES else "2d"
    settings = of_each_stage(method, **{"epochs": 1, **settings})
    backbone = {"name": str(folder(kind)), "tokens": 8 if dimension == "1d" else TOKENS.get(kind)}
    spec = trials.spec(method, dimension, settings)
    spec = spec.model_copy(update={"backbone": BackboneSpec.model_validate(backbone)})
    whole = trials.run(spec)
    reports, ours = trials.run_stopped(spec, tmp_path)
    assert [report.stage for report in reports] == list(METHODS[method].stages)
    assert all(isfinite(value) for report in reports for value in report.metrics.values())
    assert reports == whole[0]
    assert same_weights(ours, whole[1])


@pytest.mark.slow
@every_family
def test_mona_with_its_exact_gradient_is_resumed_bit_for_bit(trials, folder, kind, tmp_path):
    """MoNA asks the most of a body: a second derivative, and parameters from outside."""
    stopped_and_resumed(trials, folder, kind, "mona", {"meta_grad": "exact"}, tmp_path)


@pytest.mark.soak
@every_family
@pytest.mark.parametrize("method", ON_BACKBONES)
def test_every_method_is_resumed_bit_for_bit(trials, folder, kind, method, tmp_path):
    stopped_and_resumed(trials, folder, kind, method, {}, tmp_path)


@pytest.mark.slow
@every_family
@torch.no_grad()
def test_adapters_are_of_queries_and_values_or_refused_beforehand(load, folder, kind, tmp_path):
    backbone = load(kind)
    body, plain = (backbone.new_body(drop_path=0.0).eval() for _ in range(2))
    if adapters_fault(BackboneSpec(name=str(folder(kind))), tmp_path):
        with pytest.raises(ConfigError, match="take another `finetune`"):
            check_adapters(body, backbone.roles)
        return
    tokens = backbone.embed_source(source(backbone))
    add_adapters(body, backbone.roles, LORA, seed=0)
    assert adapters_of(body) == LORA
    torch.testing.assert_close(body(tokens), plain(tokens))
    for name, parameter in body.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    adapted, weights = body(tokens), merged(body)
    assert not torch.allclose(adapted, plain(tokens), atol=1e-2)
    changed = {n for n, weight in plain.state_dict().items() if not torch.equal(weight, weights[n])}
    assert {backbone.roles[name] for name in changed} == ADAPTED
    plain.load_state_dict(weights)
    torch.testing.assert_close(adapted, plain(tokens), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_joined_layer_has_the_adapters_of_two_layers(load):
    """One layer of 3 x 32 numbers gets what two of 32 get: rank 2 each, and the same scale."""
    backbone = load("gpt2")
    body = backbone.new_body(drop_path=0.0)
    add_adapters(body, backbone.roles, LORA, seed=0)
    layer = body.get_submodule("network.h.0.attn.c_attn")
    layer.lora_B["default"].parametrizations.weight.original.fill_(1)
    a, change = layer.lora_A["default"].weight, layer.get_delta_weight("default").T
    query, key, value = change.chunk(3)
    scale = LORA.alpha / LORA.rank
    torch.testing.assert_close(query, (scale * a[:2].sum(0)).expand_as(query))
    torch.testing.assert_close(value, (scale * a[2:].sum(0)).expand_as(value))
    assert not key.any()


@pytest.mark.soak
@every_family
@pytest.mark.parametrize("finetune", ["layernorm", "non_attn", "wv", "lora"])
def test_what_finetune_freezes_stays(trials, folder, kind, finetune, tmp_path):
    if finetune == "lora" and not FAMILIES.get(kind, FAMILIES["vit"]).adapters:
        pytest.skip("it is refused")
    stopped_and_resumed(trials, folder, kind, "nft", {"finetune": finetune}, tmp_path)
