"""Each format of weights in a folder is read as what it holds, or refused with the way out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertForPreTraining, BertModel

from tests.support.tiny_backbones import save_tiny_bert
from trainables.errors import WeightsError
from trainables.models.backbone import Backbone
from trainables.models.backbones.loading import load_backbone
from trainables.models.weights.checkpoint import weights_hash
from trainables.models.weights.description import backbone_faults
from trainables.models.weights.files import choose, weight_files
from trainables.spec import BackboneSpec

TENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_bert(tmp_path / "bert")


def load(folder: Path) -> Backbone:
    return load_backbone(BackboneSpec(hub=str(folder)), folder.parent / "home")


def in_parts(folder: Path) -> Path:
    """Store the weights of a folder in several files of about 20 kB."""
    BertModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / TENSORS).unlink(missing_ok=True)
    return folder


def pickled(
    folder: Path, change: Callable[[dict[str, Tensor]], object] = lambda state: state
) -> Path:
    state = load_file(folder / TENSORS)
    (folder / TENSORS).unlink()
    torch.save(change(state), folder / PICKLE)
    return folder


def pickled_in_parts(folder: Path) -> Path:
    state = load_file(folder / TENSORS)
    (folder / TENSORS).unlink()
    names = sorted(state)
    parts = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for part, kept in parts.items():
        torch.save({name: state[name] for name in kept}, folder / part)
    listed = {name: part for part, kept in parts.items() for name in kept}
    index = {"metadata": {}, "weight_map": listed}
    (folder / f"{PICKLE}.index.json").write_text(json.dumps(index))
    return folder


def same(one: Backbone, two: Backbone) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("store", [in_parts, pickled, pickled_in_parts])
def test_every_format_gives_the_weights_of_the_whole_file(folder, store):
    whole = load(folder)
    store(folder)
    assert list(backbone_faults(BackboneSpec(hub=str(folder)), "1d", folder.parent)) == []
    stored = load(folder)
    assert same(stored, whole)
    assert stored.tokenize([["fox"]]) == whole.tokenize([["fox"]])
    if store is in_parts:
        assert len(weight_files(folder)) > 3


@pytest.mark.slow
def test_a_pickle_is_written_as_safetensors_once_and_hashed(folder):
    pickled(folder)
    first = load(folder)
    (kept,) = (folder.parent / "home" / "cache" / "weights").glob("[!.]*")
    assert first.weights_hash == weights_hash(kept)
    stamp = (kept / TENSORS).stat().st_mtime_ns
    assert load(folder).weights_hash == first.weights_hash
    assert (kept / TENSORS).stat().st_mtime_ns == stamp
    state = load_file(kept / TENSORS)
    torch.save({name: tensor + 1 for name, tensor in state.items()}, folder / PICKLE)
    assert load(folder).weights_hash != first.weights_hash


def test_tied_weights_in_a_pickle_are_no_obstacle(folder):
    body = load(folder)
    model = BertForPreTraining.from_pretrained(folder)
    (folder / TENSORS).unlink()
    torch.save(model.state_dict(), folder / PICKLE)
    tied = torch.load(folder / PICKLE, weights_only=True)
    assert len({t.untyped_storage().data_ptr() for t in tied.values()}) < len(tied)
    assert same(load(folder), body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {**state, "note": "text"}, "maps no names to tensors"),
        (lambda state: list(state.values()), "maps no names to tensors"),
        (lambda state: {"state_dict": state}, "maps no names to tensors"),
        (lambda state: {}, "maps no names to tensors"),
        (lambda state: BertModel, "not a file of tensors alone"),
        (lambda state: {**state, "x": torch.full((2,), torch.nan)}, "without a place: x"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(folder, change, message):
    pickled(folder, change)
    with pytest.raises(WeightsError, match=message):
        load(folder)


@pytest.mark.parametrize("keep", [0, 5, 4096])
def test_a_pickle_cut_short_is_refused(folder, keep):
    path = pickled(folder) / PICKLE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=PICKLE):
        load(folder)
    assert not list((folder.parent / "home" / "cache" / "weights").glob("[!.]*"))


@pytest.mark.parametrize(
    "name",
    ["tf_model.h5", "flax_model.msgpack", "model.ckpt", "model.pt", "model.gguf",
     "adapter_model.safetensors"],
)  # fmt: skip
def test_another_format_is_refused_with_the_way_out(folder, name):
    (folder / TENSORS).rename(folder / name)
    expected = rf"no model\.safetensors\. {name} is not read\. .*save_pretrained"
    with pytest.raises(WeightsError, match=expected):
        load(folder)
    ((key, reason),) = backbone_faults(BackboneSpec(hub=str(folder)), "1d", folder.parent)
    assert key == "hub"
    assert f"{name} is not read" in reason


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"a": "../secret.safetensors"}, "which is no .safetensors file beside it"),
        ({"a": "/etc/passwd"}, "which is no .safetensors file beside it"),
        ({"a": "model.bin"}, "which is no .safetensors file beside it"),
        ({"a": "gone.safetensors"}, "gone.safetensors, which is not there"),
        ({}, "lists no weights"),
        ([1], "not an index"),
        (None, "not an index"),
    ],
)
def test_an_index_lists_files_beside_it_alone(folder, listed, message):
    (folder / TENSORS).unlink()
    (folder / f"{TENSORS}.index.json").write_text(json.dumps({"weight_map": listed}))
    with pytest.raises(WeightsError, match=message):
        load(folder)


def test_a_part_that_is_missing_or_damaged_is_refused(folder):
    part = weight_files(in_parts(folder))[1]
    content = part.read_bytes()
    part.write_bytes(content[:100])
    with pytest.raises(WeightsError, match="damaged or cut short"):
        load(folder)
    part.unlink()
    with pytest.raises(WeightsError, match=f"{part.name}, which is not there"):
        load(folder)


def test_the_hash_of_parts_is_of_all_of_them(folder):
    files = weight_files(in_parts(folder))
    before = weights_hash(folder)
    state = {name: tensor + 1 for name, tensor in load_file(files[-1]).items()}
    save_file(state, files[-1], metadata={"format": "pt"})
    assert weights_hash(folder) != before


def test_safetensors_come_before_pickles_and_a_whole_file_before_parts():
    names = [TENSORS, f"{TENSORS}.index.json", PICKLE, f"{PICKLE}.index.json"]
    for index, name in enumerate(names):
        assert choose(names[index:]) == name
    assert choose(["config.json"]) is None
