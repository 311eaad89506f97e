"""Backbones of the hub, of timm and of folders in a sweep file."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import FileFaults
from sweeper.planning.catalog import catalog
from sweeper.planning.resuming import from_resolved
from sweeper.planning.trials import describe, spec_of
from sweeper.spec.layers import read_document
from sweeper.spec.loader import load_document, loads_sweep
from sweeper.spec.sweep import Sweep
from trainables.spec import BackboneSpec

TEXT = """\
name: parts
methods: [nft]
tasks: [pdebench/advection_1d, pdebench/darcy_2d]
backbones:
  1d: {ONE}
  2d: {TWO}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
"""
SHA = "0123456789abcdef0123456789abcdef01234567"


def load(one: str = "roberta_base", two: str = "swin_base", **options: Any) -> Sweep:
    text = TEXT.replace("{ONE}", one).replace("{TWO}", two)
    return loads_sweep(text, catalog(), **{"profile": "paper", **options})


def faults(one: str = "roberta_base", two: str = "swin_base") -> list[str]:
    with pytest.raises(FileFaults) as caught:
        load(one, two)
    return [str(fault) for fault in caught.value.faults]


def backbones(sweep: Sweep) -> list[BackboneSpec]:
    """Return the backbones that trials of the studies would get."""
    studies = sweep.studies
    return [spec_of(s, s.preset, seed=0, home=Path("home")).backbone for s in studies]


def test_hub_and_timm_name_the_backbone() -> None:
    one = f"{{hub: FacebookAI/roberta-large, revision: {SHA}, layers: 6}}"
    sweep = load(one, "{timm: vit_small_patch16_224}")
    assert backbones(sweep) == [
        BackboneSpec(hub="FacebookAI/roberta-large", revision=SHA, layers=6),
        BackboneSpec(timm="vit_small_patch16_224"),
    ]
    assert [describe(each) for each in backbones(sweep)] == [
        "FacebookAI/roberta-large (6 layers)",
        "timm/vit_small_patch16_224",
    ]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (f"{{hub: a/decoder, revision: {SHA}, bidirectional: flip}}", "{hub: ./vit}"),
        ("roberta_base", "./swin"),
    ],
)
def test_the_resolved_form_makes_the_same_sweep_again(one: str, two: str) -> None:
    sweep = load(one, two, sets=["model.drop_path=0.3"])
    again = from_resolved(sweep.resolved, name=sweep.name, profile=sweep.profile)
    assert (again.resolved, again.config_hash) == (sweep.resolved, sweep.config_hash)
    assert [study.preset for study in again.studies] == [study.preset for study in sweep.studies]
    assert again.studies[1].preset["model.drop_path"] == 0.3
    assert backbones(again) == backbones(sweep)


def test_a_backbone_resolves_with_each_default() -> None:
    plain = {**dict.fromkeys(("hub", "timm", "revision", "layers", "tokens", "pretrained_layers")),
             "weights": "pretrained", "bidirectional": "none"}  # fmt: skip
    assert load().resolved["backbones"] == {
        "1d": {"name": "roberta_base", **plain},
        "2d": {"name": "swin_base", **plain},
    }
    assert load("{name: roberta_base, bidirectional: none, hub: null}").config_hash == (
        load().config_hash
    )
    assert load(f"{{hub: a/b, revision: {SHA}}}").config_hash != load("{hub: a/b}").config_hash


@pytest.mark.parametrize("change", ["1d.hub=a/b", "1d={hub: a/b}", "1d.name=minilm", "1d=minilm"])
@pytest.mark.parametrize("one", ["roberta_base", "{hub: c/d, revision: main}", "{name: ./folder}"])
def test_a_later_layer_replaces_the_backbone_by_any_key(one: str, change: str) -> None:
    spec = backbones(load(one, sets=[f"backbones.{change}"]))[0]
    assert spec == (BackboneSpec(hub="a/b") if "hub" in change else BackboneSpec(name="minilm"))


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ("{layers: 2}", "`backbones.1d` must have one of `name`, `hub` and `timm`."),
        ("{name: minilm, hub: a/b}", "`backbones.1d` must have one of `name`, `hub` and `timm`, "
         "but has `name` and `hub`."),
        ("{hub: roberta-large}", "`backbones.1d.hub` must be OWNER/NAME as on the Hugging Face "
         "Hub, or a folder, as ./folder, but got 'roberta-large'."),
        ("{hub: a/../b}", "`backbones.1d.hub` must be OWNER/NAME"),
        ("{hub: 'https://hub/a/b'}", "`backbones.1d.hub` must be OWNER/NAME"),
        ("{hub: a/b, revision: ../x}", "`backbones.1d.revision` must"),
        ("{hub: ./a, revision: main}", "must have `hub: OWNER/NAME` or `timm` with `revision`"),
        ("{name: minilm, revision: main}", "must have `hub: OWNER/NAME` or `timm`"),
        ("{timm: vit_small_patch16_224}", "`backbones.1d.timm`: timm has encoders of images"),
        ("{hub: a/b, bidirectional: both}", "`backbones.1d.bidirectional` must be 'none', 'flip' "
         "or 'double', but got 'both'."),
        ("{hub: a/b, trust_remote_code: true}", "unknown key `backbones.1d.trust_remote_code`"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line_and_a_way_out(one: str, message: str) -> None:
    (fault,) = faults(one)
    assert ":5: " in fault
    assert message in fault


@pytest.mark.parametrize("form", ["{path}", "{{hub: {path}}}", "{{name: {path}, layers: 1}}"])
def test_a_folder_beside_the_file_is_found_from_anywhere(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    file = tmp_path / "x.yaml"
    file.write_text(TEXT.replace("{ONE}", form.format(path="./mine")).replace("{TWO}", "./none"))
    monkeypatch.chdir("/")
    one, two = backbones(load_document(read_document(file), catalog(), profile="paper"))
    assert str(tmp_path / "mine") in (one.name, one.hub)
    assert two.name == "./none"  # it may lie where the command runs
