"""It is said before a launch which weights are on this machine, and which have to be fetched."""

from pathlib import Path

import pytest

from tests.support.servers.hub import use_hub
from tests.support.tiny_backbones import save_tiny_bert
from tests.support.tiny_encoders import save_timm
from trainables.models.weights.presence import fetch_fault, is_here, to_fetch
from trainables.spec import BackboneSpec


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_hub(monkeypatch, tmp_path / "hf", offline=True)
    return tmp_path / "hf"


def snapshot(cache: Path, hub_id: str, revision: str = "main") -> Path:
    """Return the folder that the hub's client would make for a revision."""
    repository, commit = cache / f"models--{hub_id.replace('/', '--')}", "1" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / revision).write_text(commit)
    return repository / "snapshots" / commit


def test_a_snapshot_counts_if_it_holds_what_is_needed(cache, tmp_path):
    spec, other = BackboneSpec(hub="a/bert"), BackboneSpec(hub="a/bert", revision="v2")
    assert to_fetch(spec, tmp_path) == "weights of a/bert"
    folder = save_tiny_bert(snapshot(cache, "a/bert"))
    assert is_here(spec, tmp_path)
    assert to_fetch(spec, tmp_path) is None
    assert to_fetch(other, tmp_path) == "weights of a/bert at v2"
    (folder / "model.safetensors").unlink()
    assert not is_here(spec, tmp_path)
    assert is_here(BackboneSpec(hub="a/bert", weights="random"), tmp_path)


def test_a_folder_in_home_stands_for_the_hub(cache, tmp_path):
    save_tiny_bert(tmp_path / "weights" / "a" / "bert")
    assert is_here(BackboneSpec(hub="a/bert"), tmp_path)


def test_timm_s_name_without_a_tag_is_found_with_any(cache, tmp_path):
    name = "swin_tiny_patch4_window7_224"
    assert not is_here(BackboneSpec(timm=name), tmp_path)
    save_timm("timm_swin", snapshot(cache, f"timm/{name}.ms_in1k"))
    assert is_here(BackboneSpec(timm=name), tmp_path)
    assert is_here(BackboneSpec(timm=f"{name}.ms_in1k"), tmp_path)
    assert not is_here(BackboneSpec(timm=f"{name}.ms_in22k"), tmp_path)


def test_named_backbones_and_folders_are_not_fetched_here(cache, tmp_path):
    for spec in (BackboneSpec(name="roberta_base"), BackboneSpec(hub="./folder")):
        assert to_fetch(spec, tmp_path) is None


def test_built_in_weights_are_in_a_package_the_cache_or_home(cache, tmp_path):
    assert fetch_fault(BackboneSpec(name="minilm"), tmp_path) is None
    assert fetch_fault(BackboneSpec(name="dinov2_small"), tmp_path) is None
    spec = BackboneSpec(name="roberta_base")
    assert not is_here(spec, tmp_path)
    save_tiny_bert(snapshot(cache, "FacebookAI/roberta-base"))
    assert is_here(spec, tmp_path)
    (tmp_path / "weights" / "swin_base").mkdir(parents=True)
    assert is_here(BackboneSpec(name="swin_base"), tmp_path)


def test_timm_s_architectures_are_here(cache, tmp_path):
    spec = BackboneSpec(timm="vit_tiny_patch16_224", weights="random")
    assert is_here(spec, tmp_path)
    assert fetch_fault(spec, tmp_path) is None


def test_offline_a_fetch_is_a_fault_with_the_way_out(cache, tmp_path, monkeypatch):
    spec = BackboneSpec(hub="a/bert", revision="v1")
    fault = fetch_fault(spec, tmp_path)
    assert fault is not None
    for part in ("hf download a/bert --revision v1", "HF_HUB_OFFLINE", str(tmp_path / "weights")):
        assert part in fault
    for name, repository in (
        ("swin_base", "microsoft/swin-base-patch4-window7-224-in22k"),
        ("roberta_base", "FacebookAI/roberta-base"),
    ):
        assert f"hf download {repository}`" in str(fetch_fault(BackboneSpec(name=name), tmp_path))
        assert fetch_fault(BackboneSpec(name=name, weights="random"), tmp_path) is None
    assert "timm/vit_x.TAG" in str(fetch_fault(BackboneSpec(timm="vit_x"), tmp_path))
    use_hub(monkeypatch, cache)
    assert fetch_fault(spec, tmp_path) is None
