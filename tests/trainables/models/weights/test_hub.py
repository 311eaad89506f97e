"""Weights of the hub: the files that are needed, of one commit, and the cache without a network."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from tests.support.servers.hub import Hub, commit_of, serving, use_hub
from tests.support.tiny_backbones import save_tiny_bert
from tests.support.tiny_encoders import save_timm
from trainables.errors import WeightsError
from trainables.models.backbones.loading import load_backbone
from trainables.models.weights import hub as hub_client
from trainables.models.weights.description import backbone_faults
from trainables.models.weights.hub import cached_folder, download
from trainables.models.weights.location import locate
from trainables.spec import BackboneSpec

TIMM = "timm/swin_tiny_patch4_window7_224.ms_in1k"  # the weights that timm has for that model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    new, old = save_tiny_bert(root / "new"), save_tiny_bert(root / "old", seed=1)
    for name in ("pytorch_model.bin", "tf_model.h5", "README.md"):
        (new / name).write_bytes(b"not asked for")
    parts = save_tiny_bert(root / "parts")
    BertModel.from_pretrained(parts).save_pretrained(parts, max_shard_size="20KB")
    (parts / "model.safetensors").unlink()
    pickled = save_tiny_bert(root / "pickled")
    torch.save(BertModel.from_pretrained(pickled).state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    keras = save_tiny_bert(root / "keras")
    (keras / "model.safetensors").rename(keras / "tf_model.h5")
    swin = save_timm("timm_swin", root / "swin")
    return {"new": new, "old": old, "parts": parts, "pickled": pickled, "keras": keras,
            "swin": swin}  # fmt: skip


@pytest.fixture
def hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(
        {
            "someone/bert": {"main": folders["new"], "v1": folders["old"]},
            "someone/parts": {"main": folders["parts"]},
            "someone/pickled": {"main": folders["pickled"]},
            "someone/keras": {"main": folders["keras"]},
            TIMM: {"main": folders["swin"]},
        }
    ) as served:
        use_hub(monkeypatch, tmp_path / "hf", served.address)
        yield served


@pytest.mark.slow
def test_only_the_files_that_are_needed_are_fetched(hub):
    folder = download("someone/bert")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert len(hub.fetched) == 4
    assert cached_folder("someone/bert") == folder


def test_a_revision_is_that_commit_and_no_other(hub, folders):
    for revision, folder in ("v1", "old"), (commit_of(folders["old"]), "old"), ("main", "new"):
        snapshot = download("someone/bert", revision)
        assert snapshot.name == commit_of(folders[folder])
        for name in ("config.json", "model.safetensors"):
            assert (snapshot / name).read_bytes() == (folders[folder] / name).read_bytes()
        assert cached_folder("someone/bert", revision) == snapshot
    with pytest.raises(WeightsError, match="someone/bert at v2"):
        download("someone/bert", "v2")


def test_a_backbone_of_the_hub_loads_and_its_hash_is_that_of_its_revision(hub, folders, tmp_path):
    new = load_backbone(BackboneSpec(hub="someone/bert"), tmp_path)
    old = load_backbone(BackboneSpec(hub="someone/bert", revision="v1"), tmp_path)
    assert [new.name, old.name] == ["someone/bert"] * 2
    for backbone, folder in (new, "new"), (old, "old"):
        own = load_backbone(BackboneSpec(hub=str(folders[folder])), tmp_path)
        assert backbone.weights_hash == own.weights_hash
    assert new.weights_hash != old.weights_hash
    assert new.tokenize([["fox"]]) == load_backbone(
        BackboneSpec(hub="someone/bert", weights="random"), tmp_path
    ).tokenize([["fox"]])


def test_weights_in_parts_and_pickles_are_those_of_the_whole_file(hub, tmp_path):
    whole = load_backbone(BackboneSpec(hub="someone/bert"), tmp_path).state_dict()
    for name in ("someone/parts", "someone/pickled"):
        state = load_backbone(BackboneSpec(hub=name), tmp_path).state_dict()
        assert whole.keys() == state.keys()
        assert all(torch.equal(whole[key], state[key]) for key in whole)
    fetched = [name for name in hub.fetched if "parts/model" in name]
    assert len(fetched) == len(set(fetched)) > 2


def test_random_weights_need_the_config_alone(hub, tmp_path):
    located = locate(BackboneSpec(hub="someone/keras", weights="random"), tmp_path)
    assert located.folder is None
    assert located.description["model_type"] == "bert"
    assert hub.fetched == ["someone/keras/config.json"]


@pytest.mark.slow
def test_timm_s_names_are_repositories_of_the_hub(hub, tmp_path):
    for name in ("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224.ms_in1k"):
        spec = BackboneSpec(timm=name, revision="main")
        assert load_backbone(spec, tmp_path).name == f"timm/{name}"
    assert [name for name in hub.fetched if name.startswith(TIMM)]
    with pytest.raises(WeightsError, match="vit_small_patch16_224"):
        load_backbone(BackboneSpec(timm="vit_small_patch16_225"), tmp_path)


def test_without_a_network_the_cache_is_enough(hub, tmp_path, monkeypatch):
    spec = BackboneSpec(hub="someone/bert", revision="v1")
    online = load_backbone(spec, tmp_path)
    hub.fetched.clear()
    use_hub(monkeypatch, tmp_path / "hf", offline=True)
    assert load_backbone(spec, tmp_path).weights_hash == online.weights_hash
    assert hub.fetched == []
    with pytest.raises(WeightsError) as caught:
        load_backbone(BackboneSpec(hub="someone/bert", revision="v9"), tmp_path)
    for part in ("hf download someone/bert --revision v9", str(tmp_path / "weights" / "someone")):
        assert part in str(caught.value)


def test_a_cached_config_is_judged_before_the_weights_are_fetched(hub, tmp_path):
    spec = BackboneSpec(hub="someone/bert", layers=9)
    assert list(backbone_faults(spec, "1d", tmp_path)) == []
    download("someone/bert", with_weights=False)
    assert [key for key, _ in backbone_faults(spec, "1d", tmp_path)] == ["layers"]
    assert [
        key for key, _ in backbone_faults(BackboneSpec(hub="someone/bert"), "2d", tmp_path)
    ] == ["hub"]


def test_a_fetch_that_was_cut_short_is_fetched_again(hub, tmp_path):
    folder = download("someone/parts")
    lost = sorted(folder.glob("*-of-*"))[0]
    lost.unlink()
    assert cached_folder("someone/parts") is None
    load_backbone(BackboneSpec(hub="someone/parts"), tmp_path)
    assert lost.exists()


def test_a_hub_that_never_answers_is_not_waited_for(monkeypatch):
    """Name servers may be silent for longer than the client's own limit."""
    answers = threading.Event()
    monkeypatch.setattr(hub_client, "TIMEOUT_S", 0.01)
    monkeypatch.setattr(hub_client.HfApi, "model_info", lambda *_, **__: answers.wait(timeout=60))
    with pytest.raises(WeightsError, match=r"does not give a/b \(no answer in 0\.01 s\)"):
        hub_client.download("a/b")
    answers.set()
