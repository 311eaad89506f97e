"""The contract of every family of encoders that may be a backbone.

Each is a tiny random network in a folder, as a user would have one. Its body computes what the
network of the library does, every parameter has one role, and methods train it, stopped and resumed
bit for bit.
"""

import json

import pytest
import timm
import torch
from transformers import AutoModel, T5EncoderModel

from tests.support.tiny_encoders import GRIDS, SAVERS, SEQUENCES, save_encoder
from trainables.methods.mona.meta_alignment import MOVED_ROLES
from trainables.models.backbone import Role
from trainables.models.backbones.families import FAMILIES, family_of
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import TRAINED_ROLES
from trainables.spec import BackboneSpec

CUT = [kind for kind in SAVERS if kind in SEQUENCES or GRIDS.get(kind, {}).get("num_hidden_layers")]
RESIZED = ["vit", "deit", "dinov2", "swinv2", "convnext", "timm_vit", "timm_eva02"]
TOKENS = {"dinov2": 16}  # of a grid, where the one of pretraining is not the default
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
    assert len(counts) == 1  # as many of each as there are attentions
    assert counts == {0} if kind == "convnext" else counts > {0}.intersection(counts)
    assert Role.NORM in backbone.roles.values()
    for roles in (*TRAINED_ROLES.values(), *MOVED_ROLES.values()):
        assert roles <= frozenset(Role)
