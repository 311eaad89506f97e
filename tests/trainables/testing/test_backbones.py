"""The contract that authors of extensions run catches what would break a method."""

import pytest
import torch
from torch import nn

from tests.support.tiny_encoders import save_encoder
from trainables.models.backbones import loading
from trainables.spec import BackboneSpec
from trainables.testing import backbones as testing


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check a tiny GPT-2 after a change to it."""
    spec = BackboneSpec(name=str(save_encoder("gpt2", tmp_path / "gpt2")), tokens=8)

    def check(change):
        def load(spec, home):
            backbone = loading.load_backbone(spec, home)
            change(backbone)
            return backbone

        monkeypatch.setattr(testing, "load_backbone", load)
        return testing.check_backbone(spec, tmp_path)

    return check


def test_a_sound_backbone_is_returned(check):
    assert check(lambda backbone: None).dimension == "1d"


class Noisy(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.network = body

    def forward(self, tokens):
        return nn.functional.dropout(self.network(tokens), 0.5, self.training)


def wrap(backbone, wrapper):
    backbone.body = wrapper(backbone.body)
    backbone.roles = {f"network.{name}": role for name, role in backbone.roles.items()}


def add_unused(backbone):
    backbone.body.unused = nn.LayerNorm(2).requires_grad_(False).eval()
    backbone.roles |= dict.fromkeys(("unused.weight", "unused.bias"), "norm")


def draw(backbone):
    with torch.no_grad():
        next(backbone.body.parameters()).add_(torch.rand(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.roles.pop(next(iter(b.roles))), "without a role"),
        (lambda b: b.roles.update(odd="norm"), "roles of no parameter"),
        (lambda b: b.roles.update({next(iter(b.roles)): "odd"}), "none of `Role`"),
        (lambda b: setattr(b, "feature_width", 7), "features have the shape"),
        (lambda b: setattr(b, "max_tokens", 2), "exceed max_tokens"),
        (lambda b: wrap(b, Noisy), "differs in training mode"),
        (add_unused, "features do not depend on"),
        (draw, "loading twice gives two bodies"),
        (lambda b: b.requires_grad_(True), "never trains"),
    ],
)
def test_a_broken_backbone_is_caught(check, change, message):
    with pytest.raises(AssertionError, match=message):
        check(change)
