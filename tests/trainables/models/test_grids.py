"""The 2D bodies and source embedders are the pretrained networks, taken apart and nothing more."""

import pytest
import torch
from transformers import AutoModel, SwinForImageClassification, SwinModel

from trainables.errors import ConfigError
from trainables.models.cross_modal import build_model
from trainables.seeding import generator
from trainables.spec import ModelSpec

SIDE = {"swin": 56, "dinov2": 56}
TWO_D = pytest.mark.parametrize("architecture", SIDE)


def images(side, channels=3, batch=2):
    return torch.randn(batch, channels, side, side, generator=generator(0))


def theirs(folder, pixels):
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(pixel_values=pixels, output_hidden_states=True)


def test_dinov2_interpolates_positions_to_its_grid_as_the_model_does(saved, load):
    pixels, backbone = images(3 * 14), load("dinov2", tokens=9)
    features = backbone.body(backbone.embed_source(pixels))
    expected = theirs(saved["dinov2"], pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def test_swin_on_a_larger_grid_than_its_own(load):
    backbone = load("swin", tokens=28 * 28)
    assert (backbone.grid, backbone.feature_grid) == ((28, 28), (14, 14))
    features = backbone.body(backbone.embed_source(images(112)))
    assert features.shape == (2, 196, 32)


@TWO_D
def test_a_pretrained_copy_for_images_gives_the_logits_of_the_pretrained_embedder(
    load, make_task, architecture
):
    backbone = load(architecture)
    model = build_model(backbone, make_task((3, 40, 40), classes=5), ModelSpec(), seed=0)
    pixels = images(40)
    expected = model.predict(model.encode(backbone.embed_source(pixels)))
    assert torch.equal(model(pixels), expected)


def test_replaced_embeddings_give_the_logits_of_transformers_classifier(saved, load, make_task):
    whole = SwinForImageClassification.from_pretrained(saved["swin"], num_labels=5).eval()
    model = build_model(load("swin"), make_task((3, 56, 56), classes=5), ModelSpec(), seed=0).eval()
    model.predictor.linear.load_state_dict(whole.classifier.state_dict())
    pixels = images(56)
    torch.testing.assert_close(model(pixels), whole(pixels).logits, atol=1e-5, rtol=1e-5)


def with_drop_path(load, make_task, rate, architecture="swin"):
    spec = ModelSpec(drop_path=rate)
    return build_model(load(architecture), make_task((3, 56, 56), classes=5), spec, seed=0)


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_drop_path_is_that_of_transformers_with_the_same_draws(saved, load, make_task, rate):
    whole = SwinModel.from_pretrained(saved["swin"], drop_path_rate=rate).train()
    model, pixels = with_drop_path(load, make_task, rate).train(), images(56, batch=8)
    torch.manual_seed(3)
    expected = whole(pixels).last_hidden_state
    torch.manual_seed(3)
    features = model.encode(load("swin").embed_source(pixels))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    again = model.encode(load("swin").embed_source(pixels))
    assert not torch.equal(again, features)  # other draws
    shares = [getattr(block.drop_path, "rate", 0) for block in model.body.blocks()]
    assert shares == pytest.approx([0, rate / 2, rate])


def test_drop_path_is_off_by_default_in_evaluation_and_in_the_backbone(load, make_task):
    pixels, backbone = images(56), load("swin")
    plain = with_drop_path(load, make_task, None).train()
    dropping = with_drop_path(load, make_task, 0.9)
    assert torch.equal(plain(pixels), plain.eval()(pixels))
    assert torch.equal(dropping.eval()(pixels), plain(pixels))
    assert dropping.state_dict().keys() == plain.state_dict().keys()
    assert backbone.body.training is False
    names = {type(module).__name__ for module in backbone.body.modules()}
    assert "DropPath" not in names


@pytest.mark.parametrize("architecture", ["roberta", "dinov2"])
def test_drop_path_of_what_is_no_swin_is_refused(load, make_task, architecture):
    shape = (3, 56, 56) if architecture == "dinov2" else (3, 56)
    task = make_task(shape, classes=5)
    with pytest.raises(ConfigError, match=r"drop_path is 0\.1, but `.*` is no Swin"):
        build_model(load(architecture), task, ModelSpec(drop_path=0.1), seed=0)
    build_model(load(architecture), task, ModelSpec(drop_path=0.0), seed=0)


@TWO_D
def test_an_image_backbone_reads_no_words(load, architecture):
    with pytest.raises(ConfigError, match="reads images, not words"):
        load(architecture).tokenize([["word"]])
