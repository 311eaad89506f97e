"""Swin's masks of shifted windows."""

import torch
from transformers.models.swin.modeling_swin import SwinLayer

from tests.support.tiny_backbones import save_tiny_swin
from trainables.models.backbones.loading import load_backbone
from trainables.models.backbones.swin import SwinBody
from trainables.spec import BackboneSpec


def test_each_mask_is_made_once_and_is_that_of_transformers(tmp_path, monkeypatch):
    made, original = [], SwinLayer.get_attn_mask

    def counting(block, *arguments, **keywords):
        made.append(original(block, *arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(SwinLayer, "get_attn_mask", counting)
    save_tiny_swin(tmp_path / "swin")
    backbone = load_backbone(BackboneSpec(name=str(tmp_path / "swin")), tmp_path)
    body = backbone.new_body(drop_path=0.0).train()
    assert isinstance(body, SwinBody)
    tokens = torch.randn(2, backbone.max_tokens, backbone.token_width)
    for _ in range(2):
        with torch.inference_mode():  # an evaluation before training
            body(tokens)
        features = body(tokens)
        torch.autograd.backward(features.sum())
    once = 2 * len(list(body.blocks()))  # in evaluation, and in training
    assert len(made) == once
    assert any(mask is not None for mask in made)
    for block in body.blocks():
        del block.get_attn_mask
    assert torch.equal(features, body(tokens))
    assert len(made) > once
