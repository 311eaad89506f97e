"""Controls for pretraining: shuffled weights, and the first layers alone."""

import pytest
import torch
from pydantic import ValidationError

from tests.support.tiny_encoders import LAYERS, save_encoder
from tests.trainables.models.conftest import SAVERS
from trainables.errors import ConfigError
from trainables.models.backbone import Backbone
from trainables.models.backbones.loading import load_backbone
from trainables.spec import BackboneSpec

ARCHITECTURES = pytest.mark.parametrize("architecture", SAVERS)
IN_ONE_LIST = ("roberta", "bert", "dinov2")


def equal(a: Backbone, b: Backbone) -> dict[str, bool]:
    """Return, for each tensor, whether two backbones have the same bits."""
    theirs = b.state_dict()
    return {name: torch.equal(value, theirs[name]) for name, value in a.state_dict().items()}


@ARCHITECTURES
def test_shuffled_weights_are_the_same_values_of_each_tensor_in_another_order(load, architecture):
    pretrained, shuffled = load(architecture), load(architecture, weights="shuffled")
    changed = set()
    for (name, before), after in zip(
        pretrained.named_parameters(), shuffled.parameters(), strict=True
    ):
        assert after.shape == before.shape
        assert torch.equal(after.flatten().sort().values, before.flatten().sort().values)
        if not torch.equal(after, before):
            changed.add(name)
    matrices = {n for n, weight in pretrained.named_parameters() if weight.unique().numel() > 8}
    assert changed >= matrices
    assert len(matrices) > 4


@ARCHITECTURES
def test_shuffled_weights_are_the_same_bits_every_time_and_have_a_hash_of_their_own(
    load, architecture
):
    before = torch.random.get_rng_state()
    one, two = (load(architecture, weights="shuffled") for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(equal(one, two).values())
    hashes = {load(architecture, weights=each).weights_hash for each in ("pretrained", "random")}
    assert one.weights_hash == two.weights_hash
    assert one.weights_hash not in hashes


def test_a_target_begins_with_shuffled_positions_and_norms_too(load):
    rng = torch.Generator()
    pretrained, shuffled = (
        load("roberta", weights=each).target_embedder(
            (1, 16), init="pretrained_copy", generator=rng.manual_seed(0)
        )
        for each in ("pretrained", "shuffled")
    )
    assert torch.equal(pretrained.projection.weight, shuffled.projection.weight)  # drawn in both
    assert not torch.equal(pretrained.positions, shuffled.positions)


@pytest.mark.parametrize("architecture", IN_ONE_LIST)
def test_no_pretrained_layer_is_random_and_all_of_them_are_pretrained(load, architecture):
    pretrained, random = load(architecture), load(architecture, weights="random")
    none, every = (load(architecture, pretrained_layers=k) for k in (0, 2))
    assert all(equal(none, random).values())
    assert all(equal(every, pretrained).values())
    assert (none.weights_hash, every.weights_hash) == (random.weights_hash, pretrained.weights_hash)


@pytest.mark.parametrize("architecture", IN_ONE_LIST)
def test_the_first_layers_and_the_embedder_are_pretrained_and_the_others_random(load, architecture):
    pretrained, random = load(architecture), load(architecture, weights="random")
    mixed = load(architecture, pretrained_layers=1)
    as_pretrained, as_random = equal(mixed, pretrained), equal(mixed, random)
    for name in as_pretrained:
        is_late = ".layer.1." in name or name.startswith("body.layernorm")
        assert as_random[name] if is_late else as_pretrained[name], name
    late = [name for name in as_pretrained if ".layer.1." in name and name.endswith("weight")]
    assert not all(as_pretrained[name] for name in late)
    assert len({each.weights_hash for each in (pretrained, random, mixed)}) == 3


def test_layers_count_among_those_that_are_kept(load):
    kept = load("roberta", layers=1, pretrained_layers=1)
    assert all(equal(kept, load("roberta", layers=1)).values())
    with pytest.raises(ConfigError, match=r"pretrained_layers is 2, but .* has 1: lower it"):
        load("roberta", layers=1, pretrained_layers=2)


def test_positions_that_all_layers_share_are_pretrained_for_the_first_one(tmp_path):
    """DeBERTa registers their table and its norm after the layers."""
    folder = str(save_encoder("deberta-v2", tmp_path / "deberta"))
    settings = ({}, {"weights": "random"}, {"pretrained_layers": LAYERS - 1})
    pretrained, random, mixed = (
        load_backbone(BackboneSpec(name=folder, **each), tmp_path) for each in settings
    )
    as_pretrained, as_random = equal(mixed, pretrained), equal(mixed, random)
    assert "body.network.encoder.rel_embeddings.weight" in as_pretrained
    last = f".layer.{LAYERS - 1}."
    for name in as_pretrained:
        assert as_random[name] if last in name else as_pretrained[name], name


@pytest.mark.parametrize("architecture", ["swin", "timm_swin"])
def test_a_network_of_stages_has_no_first_layers_but_may_have_none(load, architecture):
    with pytest.raises(ConfigError, match=r"one list of layers, .*leave it out"):
        load(architecture, pretrained_layers=1)
    random = load(architecture, weights="random")
    assert all(equal(load(architecture, pretrained_layers=0), random).values())


@pytest.mark.parametrize("weights", ["random", "shuffled"])
def test_first_layers_are_of_pretrained_weights(weights):
    with pytest.raises(ValidationError, match="weights: pretrained"):
        BackboneSpec(name="minilm", weights=weights, pretrained_layers=1)


def test_no_pretrained_layer_is_a_number_of_layers():
    assert BackboneSpec(name="minilm").model_dump()["pretrained_layers"] is None
    assert BackboneSpec(name="minilm", pretrained_layers=0).model_dump()["pretrained_layers"] == 0
