"""What is known of a backbone without torch agrees with what loading it finds."""

from pathlib import Path

import pytest

from tests.support.tiny_backbones import (
    save_tiny_bert,
    save_tiny_dinov2,
    save_tiny_roberta,
    save_tiny_swin,
)
from tests.support.tiny_encoders import save_encoder, save_timm
from trainables.errors import ConfigError, TrainableError, WeightsError
from trainables.models.backbones.families import FAMILIES
from trainables.models.backbones.loading import ARCHITECTURES, load_backbone
from trainables.models.weights.description import (
    BACKBONES,
    backbone_faults,
    check_identity,
    drop_path_fault,
    local_backbones,
)
from trainables.spec import BackboneSpec, Dimension


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    save_tiny_roberta(home / "weights" / "roberta", max_tokens=64)
    save_tiny_bert(home / "weights" / "bert", max_tokens=64)
    save_tiny_swin(home / "weights" / "swin")
    save_timm("timm_swin", home / "weights" / "timm")
    save_tiny_dinov2(home / "weights" / "dinov2")
    save_encoder("qwen2", home / "weights" / "qwen2")
    save_encoder("t5", home / "weights" / "t5")
    save_encoder("beit", home / "weights" / "beit")
    (home / "weights" / "empty").mkdir()
    (home / "weights" / "other").mkdir()
    (home / "weights" / "other" / "config.json").write_text('{"model_type": "gpt2"}')
    (home / "weights" / "bare").mkdir()
    config = (home / "weights" / "bert" / "config.json").read_text()
    (home / "weights" / "bare" / "config.json").write_text(config)
    return home


def faults(home: Path | None, dimension: Dimension, **spec: object) -> dict[str, str]:
    return dict(backbone_faults(BackboneSpec.model_validate(spec), dimension, home))


def refusal(home: Path, **spec: object) -> str:
    """Return why loading refuses a backbone, or nothing."""
    try:
        load_backbone(BackboneSpec.model_validate(spec), home)
    except TrainableError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"name": "roberta", "layers": 2, "tokens": 64}, None),
        ({"name": "roberta", "layers": 3}, "layers"),
        ({"name": "roberta", "tokens": 65}, "tokens"),
        ({"name": "bert", "tokens": 65}, "tokens"),
        ({"name": "bert", "layers": 10_000}, "layers"),
        ({"name": "swin", "tokens": 196}, None),
        ({"name": "swin", "tokens": 81}, "tokens"),
        ({"name": "swin", "layers": 1}, "layers"),
        ({"name": "timm"}, None),
        ({"name": "timm", "layers": 1}, "layers"),
        ({"name": "dinov2", "tokens": 50}, "tokens"),
        ({"name": "dinov2", "tokens": 10_000}, "tokens"),
        ({"name": "dinov2", "tokens": 16}, None),
        ({"name": "beit", "tokens": 16, "layers": 2}, None),
        ({"name": "beit", "tokens": 25}, "tokens"),
        ({"name": "beit", "layers": 4}, "layers"),
        ({"name": "qwen2", "tokens": 66}, None),
        ({"name": "qwen2", "tokens": 67}, "tokens"),
        ({"name": "qwen2", "tokens": 33, "bidirectional": "double"}, None),
        ({"name": "qwen2", "tokens": 34, "bidirectional": "double"}, "tokens"),
        ({"name": "qwen2", "layers": 4}, "layers"),
        ({"name": "t5", "tokens": 4096, "layers": 3}, None),
        ({"name": "t5", "tokens": 4097}, "tokens"),
        ({"name": "t5", "layers": 4}, "layers"),
        ({"name": "empty"}, "name"),
        ({"name": "bare"}, "name"),
        ({"name": "bare", "weights": "random"}, None),
        ({"name": "none"}, "name"),
        ({"hub": "./none"}, "hub"),
        ({"name": "roberta", "bidirectional": "flip"}, "bidirectional"),
        ({"name": "other"}, "name"),
        ({"name": "https://hub/roberta"}, "name"),
        ({"name": "/etc/passwd"}, "name"),
        ({"name": "~nobody-here/roberta"}, "name"),
        ({"name": "../../../etc"}, "name"),
        ({"name": "minilm", "weights": "random", "layers": 1, "tokens": 512}, None),
        ({"name": "minilm", "tokens": 513}, "tokens"),
        ({"name": "minilm", "layers": 7}, "layers"),
        ({"name": "minilm", "pretrained_layers": 7}, "pretrained_layers"),
        ({"name": "minilm", "layers": 2, "pretrained_layers": 3}, "pretrained_layers"),
        ({"name": "minilm", "layers": 2, "pretrained_layers": 2}, None),
        ({"name": "swin", "pretrained_layers": 1}, "pretrained_layers"),
        ({"name": "swin", "pretrained_layers": 0}, None),
    ],
)
def test_what_is_foreseen_is_what_loading_says(home: Path, spec: dict, key: str | None) -> None:
    dimension: Dimension = "2d" if spec.get("name") in ("swin", "timm", "dinov2", "beit") else "1d"
    foreseen = faults(home, dimension, **spec)
    assert list(foreseen) == ([] if key is None else [key])
    assert refusal(home, **spec) == "".join(foreseen.values())


def test_a_backbone_of_the_other_dimension_is_foreseen(home: Path) -> None:
    assert faults(home, "2d", name="roberta") == {
        "name": "`backbones.2d`: `roberta` is a RoBERTa, which is for 1d tasks."
    }


def test_of_another_machine_only_names_are_judged(home: Path) -> None:
    assert faults(None, "1d", name="./on_the_cluster", tokens=10_000) == {}
    assert list(faults(None, "1d", name="minilm", tokens=10_000)) == ["tokens"]


def test_folders_under_weights_are_known_by_name(home: Path) -> None:
    known = {"bare": "1d", "bert": "1d", "dinov2": "2d", "roberta": "1d", "swin": "2d"}
    assert local_backbones(home) == known | {
        "timm": "2d",
        "other": "1d",
        "qwen2": "1d",
        "t5": "1d",
        "beit": "2d",
    }
    assert local_backbones(home / "none") == {}


@pytest.mark.parametrize("name", BACKBONES)
def test_another_network_under_a_name_is_refused(tmp_path: Path, name: str) -> None:
    save = save_tiny_roberta if name == "roberta_base" else save_tiny_bert
    folder = save(tmp_path / "weights" / name)
    told = faults(tmp_path, BACKBONES[name].dimension, name=name)["name"]
    assert told.startswith(f"{folder / 'config.json'}: not `{name}`, but another network: ")
    assert refusal(tmp_path, name=name) == told
    if name == "roberta_base":
        assert "hidden_size 32 instead of 768" in told
    check_identity(name, BACKBONES[name].config, folder)


def test_all_architectures_have_a_dimension() -> None:
    assert set(ARCHITECTURES) <= set(FAMILIES)


def test_a_config_that_is_no_config_is_a_fault(tmp_path: Path) -> None:
    for text in ("[]", "{", "[" * 100_000):
        folder = tmp_path / "weights" / "x"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(text)
        assert list(faults(tmp_path, "1d", name="x")) == ["name"]
        assert local_backbones(tmp_path) == {}


def test_errors_are_of_the_kind_that_loading_raises(home: Path) -> None:
    for name, kind in (("none", ConfigError), ("empty", WeightsError)):
        with pytest.raises(kind):
            load_backbone(BackboneSpec(name=name), home)


def test_a_config_that_asks_for_its_own_code_is_refused(home: Path) -> None:
    folder = home / "weights" / "coded"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"model_type": "own_bert", "auto_map": {"AutoModel": "x.Y"}}'
    )
    spec = {"hub": str(folder), "weights": "random"}
    ((key, reason),) = faults(home, "1d", **spec).items()
    assert key == "hub"
    assert "asks for code of its own (`auto_map`)" in reason
    assert "trust_remote_code" in reason
    assert refusal(home, **spec) == reason


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"name": "swin"}, False),
        ({"name": "swin_base"}, False),
        ({"name": "dinov2"}, True),
        ({"name": "dinov2_small"}, True),
        ({"hub": "not/fetched"}, False),
        ({"timm": "vit_small_patch16_224"}, True),
    ],
)
def test_a_drop_path_of_a_body_without_one_is_foreseen(home: Path, spec: dict, found: bool) -> None:
    fault = drop_path_fault(BackboneSpec(**spec), 0.1, home)
    assert ("is no Swin, and has no drop path" in str(fault)) == found
    assert drop_path_fault(BackboneSpec(**spec), 0.0, home) is None


def test_timm_s_name_alone_tells_what_its_body_cannot_do(home: Path) -> None:
    name = "vit_small_patch16_224.augreg_in21k"
    assert list(faults(home, "2d", timm=name, layers=2)) == ["layers"]
    assert list(faults(home, "2d", timm=name, tokens=50)) == ["tokens"]
    assert list(faults(home, "2d", timm=name)) == []
