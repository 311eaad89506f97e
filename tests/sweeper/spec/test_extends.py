"""Files that extend a base: what wins, which file and line a fault names, and what is stored."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.cli.main import run
from sweeper.errors import FileFaults
from sweeper.spec.layers import whole_text
from sweeper.spec.loader import loads_sweep
from sweeper.spec.reader import parse, to_yaml
from sweeper.spec.sweep import Sweep
from tests.bad_inputs.rows import VALID
from tests.support.catalogs import make_catalog
from tests.support.sweep_files import load_sweep

CATALOG = make_catalog()
BASE = """\
experiment: shared
tasks: [pdebench/advection_1d]
backbones: {1d: roberta_base}
proxies: {1d: conll2003}
search: {trials: 8, seed: 3}
fixed: {refine.epochs: 5}
profiles:
  laptop:
    backbones: {1d: {layers: 2}}
    search: {seed: 7}
"""
OWN = """\
extends: base/common.yaml
name: study
methods: [mona]
parameters: {refine.lr: {min: 1.0e-5, max: 1.0e-2}}
"""


def write(folder: Path, own: str = OWN, base: str | None = BASE) -> Path:
    (folder / "base").mkdir(exist_ok=True)
    if base is not None:
        (folder / "base" / "common.yaml").write_text(base)
    (folder / "x.yaml").write_text(own)
    return folder / "x.yaml"


def load(folder: Path, own: str = OWN, base: str | None = BASE, **options: Any) -> Sweep:
    return load_sweep(write(folder, own, base), CATALOG, **options)


def faults(folder: Path, own: str = OWN, base: str | None = BASE, **options: Any) -> list[str]:
    with pytest.raises(FileFaults) as caught:
        load(folder, own, base, **options)
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def test_a_file_is_laid_over_its_base_and_a_profile_over_both(tmp_path):
    own = OWN + "search: {trials: 4}\nprofiles: {laptop: {search: {trials: 2}}}\n"
    sweep = load(tmp_path, own, profile="paper")
    assert (sweep.experiment, sweep.search.trials, sweep.search.seed) == ("shared", 4, 3)
    assert sweep.fixed["refine.epochs"] == 5
    laptop = load(tmp_path, own, profile="laptop")
    assert (laptop.search.trials, laptop.search.seed) == (2, 7)
    assert laptop.backbones["1d"]["layers"] == 2


def test_the_merged_file_resolves_as_one_file_of_both_would(tmp_path):
    one = OWN.partition("\n")[2] + BASE
    for profile in ("paper", "laptop"):
        sweep = load(tmp_path, profile=profile)
        assert sweep.resolved == loads_sweep(one, CATALOG, profile=profile).resolved


def test_null_takes_away_what_the_base_says_and_else_is_a_value(tmp_path):
    sweep = load(tmp_path, OWN + "experiment: null\nfixed: {refine.epochs: null}\n")
    assert sweep.experiment == "study"
    assert "refine.epochs" not in sweep.fixed
    assert (
        load(tmp_path, OWN + "fixed: {refine.clip_norm: null}\n").fixed["refine.clip_norm"] is None
    )
    assert load(tmp_path, OWN + "profiles: {laptop: null}\n", has_gpu=False).profile == "paper"


def test_null_in_a_profile_takes_away_what_the_file_says(tmp_path):
    own = OWN + "profiles: {laptop: {search: {seed: null}, fixed: {refine.epochs: null}}}\n"
    sweep = load(tmp_path, own, profile="laptop")
    assert sweep.search.seed == 0
    assert "refine.epochs" not in sweep.fixed


def test_the_file_searches_what_its_base_fixes_and_fixes_what_it_searches(tmp_path):
    searched = OWN.replace("{refine.lr:", "{refine.epochs: {values: [2, 3]}, refine.lr:")
    sweep = load(tmp_path, searched)
    assert "refine.epochs" in sweep.parameters
    assert "refine.epochs" not in sweep.fixed
    base = BASE + "parameters: {refine.weight_decay: {min: 0.0, max: 0.1}}\n"
    sweep = load(tmp_path, OWN + "fixed: {refine.weight_decay: 0.05}\n", base, has_gpu=True)
    assert set(sweep.parameters) == {"refine.lr"}
    assert sweep.notes == ()


def test_values_replace_a_range_of_the_base(tmp_path):
    base = BASE + "parameters: {refine.weight_decay: {min: 0.0, max: 0.1}}\n"
    own = OWN.replace("{refine.lr:", "{refine.weight_decay: {values: [0.0, 0.1]}, refine.lr:")
    sweep = load(tmp_path, own, base)
    assert list(sweep.parameters) == ["refine.weight_decay", "refine.lr"]


def test_every_fault_names_the_file_and_line_that_it_is_in(tmp_path):
    base = BASE.replace("trials: 8", "trials: 0") + "modle: {}\n"
    own = OWN.replace("[mona]", "[mona, orka]") + "pruning: {eta: 1}\n"
    found = faults(tmp_path, own, base)
    places = [line.partition(" ")[0] for line in found]
    assert places == ["base/common.yaml:5:", "base/common.yaml:11:", "x.yaml:3:", "x.yaml:5:"]


def test_a_fault_of_yaml_in_the_base_is_told_with_the_unknown_keys_of_the_file(tmp_path):
    found = faults(tmp_path, OWN + "metric: mse\n", BASE + "a: 1\na: 2\nb: *c\n")
    places = [line.partition(": ")[0] for line in found]
    assert places == ["base/common.yaml:12", "base/common.yaml:13", "x.yaml:5"]


REFUSED = {
    "missing": ("base/comon.yaml", "no such file. Did you mean `base/common.yaml`?"),
    "folder": ("base", "is a directory"),
    "absolute": ("/etc/passwd", "must be relative to this file, such as base/common.yaml"),
    "home": ("~/common.yaml", "must be relative to this file"),
    "escaping": ("../common.yaml", "must lie in this file's folder or below"),
    "escaping later": ("base/../../common.yaml", "must lie in this file's folder or below"),
    "link": ("base/outside.yaml", "must lie in this file's folder or below"),
    "loop": ("base/loop.yaml", "must be the path of a file"),
    "itself": ("base/../x.yaml", "names this file itself"),
    "number": ("12", "must be the path of one file, such as base/common.yaml, but got 12"),
    "list": ("[a.yaml, b.yaml]", "must be the path of one file"),
    "mapping": ("{a: 1}", "must be the path of one file"),
    "empty": ("''", "must be the path of one file"),
    "zero byte": ('"a\\0b"', "must be the path of a file"),
}


@pytest.mark.parametrize(("name", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_a_base_is_a_fault_of_its_line(tmp_path, name, told):
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "common.yaml").write_text(BASE)
    write(folder)
    (folder / "base" / "outside.yaml").symlink_to(tmp_path / "common.yaml")
    (folder / "base" / "loop.yaml").symlink_to(folder / "base" / "loop.yaml")
    found = faults(folder, OWN.replace("base/common.yaml", name) + "metric: mse\n")
    assert len(found) == 2
    assert found[0].startswith("x.yaml:1: `extends")
    assert told in found[0]
    assert found[1].startswith("x.yaml:5: unknown key `metric`")


def test_a_base_extends_nothing(tmp_path):
    found = faults(tmp_path, base=BASE + "extends: other.yaml\n")
    assert len(found) == 1
    assert found[0].startswith("base/common.yaml:11: `extends`: a file that another one extends")


def test_extends_is_read_at_the_top_of_a_file_alone(tmp_path):
    told = "It is read at the top of a file alone."
    found = faults(tmp_path, OWN + "profiles: {big: {extends: base/common.yaml}}\n")
    assert found == [f"x.yaml:5: unknown key `profiles.big.extends`. {told}"]
    found = faults(tmp_path, sets=["extends=base/common.yaml"])
    assert found == [f"--set extends: unknown key `extends`. {told}"]
    with pytest.raises(FileFaults, match="read at the top of a file alone"):
        loads_sweep(OWN, CATALOG)


def test_null_extends_nothing(tmp_path):
    sweep = load(tmp_path, VALID + "extends: null\n", base=None)
    assert sweep.resolved == loads_sweep(VALID, CATALOG).resolved
    assert whole_text(write(tmp_path, VALID)) == VALID


def test_a_base_is_found_from_any_folder(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path / "base")
    assert load_sweep("../x.yaml", CATALOG).name == "study"
    monkeypatch.chdir(tmp_path)
    assert load_sweep(os.path.join(".", "x.yaml"), CATALOG).name == "study"


def test_the_whole_text_needs_no_base(tmp_path):
    own = OWN + "profiles: {laptop: {search: {seed: null}}}\nfixed: {refine.clip_norm: null}\n"
    text = whole_text(write(tmp_path, own))
    head, _, body = text.partition("\n")
    assert head.startswith("# ")
    assert head.endswith("x.yaml, merged with the file that it extends: base/common.yaml")
    assert "extends" not in body
    for profile in ("paper", "laptop"):
        sweep = load(tmp_path, own, profile=profile)
        assert loads_sweep(text, CATALOG, profile=profile).resolved == sweep.resolved


def test_validate_tells_the_profile_of_a_base(tmp_path, capsys):
    path = write(tmp_path)
    assert run(["validate", str(path), "--profile", "paper"]) == 0
    assert "valid; 1 study of 8 trials, profile paper" in capsys.readouterr().out


words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=6)
texts = words | st.sampled_from(["1e3", "0o7", "0x1", "on", "null", "~", "1_000", "007", "12:30"])
scalars = st.none() | st.booleans() | st.integers(-99, 99) | texts
scalars |= st.floats(1e-300, 1e300) | st.just(0.0)
keys = texts.filter(lambda key: bool(key.strip()))
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 3000 + "a", "\x85", "./\u2028", "base/.", "."])
def test_no_name_of_a_base_ends_in_anything_but_a_fault(tmp_path, name):
    own = OWN.replace("extends: base/common.yaml", to_yaml({"extends": name}).rstrip("\n"))
    found = faults(tmp_path, own)
    assert found
    assert all("extends" in fault and len(fault) < 10_000 for fault in found)


@given(st.dictionaries(keys, plain, min_size=1, max_size=4))
def test_what_is_written_as_yaml_is_read_back(tree):
    read = parse(to_yaml(tree), "x").plain()
    assert read == tree
    assert repr(read) == repr(tree)
