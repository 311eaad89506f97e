"""Every shipped sweep file loads in every profile, and is what its name says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.app.catalog import catalog
from sweeper.space.json_schema import json_schema
from sweeper.space.loader import load_sweep, loads_sweep
from sweeper.space.yaml_reader import parse, read_text
from trainables.spec import BackboneSpec, DataSpec, ModelSpec, TrialSpec

FILES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
PROFILES = [
    (file, profile)
    for file in FILES
    for profile in ("paper", *parse(read_text(file), file.name).child("profiles").children())
]
ids = [f"{file.stem}-{profile}" for file, profile in PROFILES]


@pytest.mark.parametrize(("file", "profile"), PROFILES, ids=ids)
def test_every_profile_loads_and_its_studies_are_complete(file: Path, profile: str) -> None:
    sweep = load_sweep(file, catalog(), profile=profile)
    assert sweep.name == file.stem
    assert sweep.profile == profile
    assert sweep.notes == ()
    for study in sweep.studies():
        for params in (study.preset, study.control):
            TrialSpec(
                method=study.method,
                task=study.task,
                backbone=BackboneSpec.model_validate(study.backbone),
                proxy=study.proxy,
                data=DataSpec.model_validate(study.data),
                model=ModelSpec.model_validate(study.model),
                stages=sweep.resolve_params(study, params),
                home=Path("home"),
            )
    assert loads_sweep(sweep.resolved, catalog(), profile=profile).resolved == sweep.resolved


@pytest.mark.parametrize(("file", "profile"), PROFILES, ids=ids)
def test_every_profile_runs_with_a_tiny_backbone_few_data_and_one_epoch(
    file: Path, profile: str
) -> None:
    sets = ["backbones={1d: {name: ./tiny, tokens: 8}, 2d: {name: ./tiny_2d}}", "data.samples=64",
            "data.resolution={1d: 32, 2d: 16}", "refine.epochs=1"]  # fmt: skip
    sweep = load_sweep(file, catalog(), profile=profile, sets=sets, trials=3)
    assert sweep.backbones["1d"]["name"] == "./tiny"
    assert all(study.num_trials == 3 for study in sweep.studies())


def test_auto_is_the_laptop_where_no_gpu_is_visible() -> None:
    for file in FILES:
        assert load_sweep(file, catalog(), has_gpu=False).profile == "laptop"
        assert load_sweep(file, catalog(), has_gpu=True).profile == "paper"


def test_the_laptop_profile_needs_nothing_that_has_to_be_downloaded() -> None:
    for file in FILES:
        sweep = load_sweep(file, catalog(), profile="laptop")
        assert {backbone["name"] for backbone in sweep.backbones.values()} <= {
            "minilm",
            "dinov2_small",
        }
        assert set(sweep.proxies.values()) <= {"python_source", "digits"}
        assert sweep.resources.gpu == 0


def test_the_benchmark_is_whole() -> None:
    published = [name for name in catalog().tasks if name.startswith("pdebench/")]
    whole = {name for name in published if "@" not in name}
    assert len(whole) == 8
    for file in FILES:
        assert set(load_sweep(file, catalog(), profile="paper").tasks) == whole


def test_a_third_party_finds_the_files_valid_under_our_schema(tmp_path: Path) -> None:
    schema = tmp_path / "sweep.schema.json"
    schema.write_text(json.dumps(json_schema(catalog())))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema)]
    done = subprocess.run([*command, *map(str, FILES)], capture_output=True, text=True, check=False)
    assert FILES
    assert done.returncode == 0, done.stdout + done.stderr
