"""Every question file states what was published and what would refute it, and it loads."""

import shutil
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io

from sweeper.cli.main import run as command
from sweeper.planning.load import Options, read
from sweeper.planning.trials import data_of
from sweeper.results.reach import check_reach, reach_of, spreads_of
from sweeper.results.reproduction.files import committed_evidence
from sweeper.spec.sweep import Sweep
from tests.support import real_data
from tests.support.command import ROOT
from tests.support.own_tasks import registry_restored
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import DataSpec, TrialSpec
from trainables.tasks.loading import load_task

FILES = sorted((ROOT / "search_spaces" / "questions").glob("*.yaml"))
ON_NAS_BENCH_360 = {"fig5", "fig6", "fig7", "fig8", "fig9", "fig16"}
ENOUGH = 8  # seeds, whose smallest p is 0.008
TOO_NARROW = {"distortion_images"}  # whose run showed a margin to be below what its seeds can show


@pytest.fixture(autouse=True)
def without_other_tasks() -> Iterator[None]:
    with registry_restored():
        yield


def load(file: Path, profile: str) -> Sweep:
    """Load a question with the tasks of its task files."""
    return read(file, Options(profile=profile))


every_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


@every_file
@pytest.mark.parametrize("profile", ["paper", "laptop"])
def test_a_question_states_its_claims_before_it_is_run(file: Path, profile: str) -> None:
    question = load(file, profile).question
    assert question is not None
    assert question.refuted_if
    assert question.source
    if ON_NAS_BENCH_360.intersection(question.figures):
        assert "measured on NAS-Bench-360" in question.source


@every_file
@pytest.mark.parametrize("profile", ["paper", "laptop"])
def test_each_claim_can_be_significant_after_the_correction(file: Path, profile: str) -> None:
    reached = reach_of(load(file, profile))
    assert [each.claim.says for each in reached if not each.can_be_significant] == []


@every_file
@pytest.mark.parametrize("profile", ["paper", "laptop"])
def test_arms_are_compared_on_enough_seeds(file: Path, profile: str) -> None:
    sweep = load(file, profile)
    assert sweep.name == file.stem
    # A method without a control has one trial fewer of the same grid, which a note says.
    assert [note for note in sweep.notes if "the grid has" not in note] == []
    assert sweep.replicate is not None
    # Over many tasks these are the units, of which each has fewer seeds.
    assert sweep.replicate.looks[-1] >= (ENOUGH if len(sweep.tasks) < 7 else ENOUGH // 2)
    recorded = [] if file.stem in TOO_NARROW else [committed_evidence()]
    check_reach(spreads_of(sweep, recorded), str(file))
    studies = sweep.studies
    assert len(studies) >= 2 * len(sweep.tasks)
    # Arms have fixed settings; methods that are compared with each other are tuned alike.
    assert all((study.arm is None) == (not sweep.compare_by) for study in studies)
    if not sweep.compare_by:
        candidates = {study.num_trials - bool(study.entry.control) for study in studies}
        assert len(candidates) == 1


OWN = ROOT / "search_spaces" / "questions" / "own"


@pytest.fixture
def forecasting(tmp_path, monkeypatch) -> Path:
    """Make a table of a synthetic series, as the task file says, and return a copy of that file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    hours, rng = np.arange(2400), np.random.default_rng(0)
    series = np.sin(hours * 2 * np.pi / 24) + 0.2 * rng.normal(size=len(hours))
    columns = [*(f"past_{i:02}" for i in range(96)), *(f"next_{i:02}" for i in range(24))]
    parts = np.split(series, [7 * len(series) // 10, 8 * len(series) // 10])
    windows = [np.lib.stride_tricks.sliding_window_view(part, 96 + 24)[::4] for part in parts]
    tables = [pd.DataFrame(part, columns=columns) for part in windows]
    tables = [t.assign(split=s) for t, s in zip(tables, ("train", "val", "test"), strict=True)]
    pd.concat(tables).to_csv("forecasting.csv", index=False)
    save_tiny_roberta(tmp_path / "tiny", layers=2)
    return Path(shutil.copy(OWN / "forecasting.task.yaml", tmp_path))


def test_a_series_is_forecast_by_all_arms_of_the_question_about_language_models(
    forecasting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = OWN.parent / "llm_for_time_series.yaml"
    small = ["backbones={1d: {name: ./tiny, tokens: 8}}", "data.samples=32", "refine.epochs=1"]
    words = [word for each in small for word in ("--set", each)]
    assert command(["data", "import", str(forecasting)]) == 0
    assert command(["plan", str(file), "--profile", "laptop", *words]) == 0
    assert "primary claim: 8 seeds can reach p = 0.007812" in capsys.readouterr().out
    sweep = read(file, Options(profile="laptop", sets=small))
    scores = []
    for study in sweep.studies:
        plain = {
            "method": study.method, "task": study.task, "backbone": study.backbone_spec,
            "data": data_of(study), "stages": study.resolve_params(study.preset),
            "home": forecasting.parent / "home",
        }  # fmt: skip
        training = Training.begin(TrialSpec.model_validate(plain), WarmParts())
        scores.append([*training.reports()][-1].metrics["test/rmse"])
    assert len({*scores}) == len(scores) == 4
    assert all(map(isfinite, scores))


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with real data as their publishers lay them out."""
    monkeypatch.chdir(tmp_path)
    with np.load(real_data.need("ecg_physionet2017_sample300.npz")) as ecg:
        parts = np.split(ecg["signal"], ecg["offsets"][1:-1])
        for name, signal in zip(ecg["record"], parts, strict=True):
            scipy.io.savemat(tmp_path / f"{name}.mat", {"val": signal[None]})
        classes = pd.DataFrame({"record": ecg["record"], "rhythm": ecg["label"]})
        classes.to_csv(tmp_path / "REFERENCE.csv", header=False, index=False)
    shutil.copy(real_data.need("satellite_modis/samples_modis_ndvi.rda"), tmp_path)
    with np.load(real_data.need("cifar10_subset_6000.npz")) as images:
        pixels = images["x_test"].transpose(0, 3, 1, 2).reshape(-1, 3072)
        np.column_stack([images["y_test"].astype(np.uint8), pixels]).tofile("test_batch.bin")
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.filterwarnings("ignore:Missing constructor for R class")
@pytest.mark.parametrize(
    ("name", "question", "origin", "samples", "groups", "classes"),
    [
        ("vegetation", "which_method_wins_vegetation", "place", 1218, 732, 4),
        ("ecg", "which_method_wins_ecg", "of['record']", 1188, 300, 4),
        ("images", "distortion_images", "numpy.arange(len(images))", 1000, 1000, 10),
    ],
)
def test_real_data_are_made_by_the_recipe_of_their_file_and_divided_anew_by_group(
    records: Path, name: str, question: str, origin: str, samples: int, groups: int, classes: int
) -> None:
    made = {"numpy": np, "pandas": pd, "scipy": scipy, "rdata": pytest.importorskip("rdata")}
    file = Path(shutil.copy(OWN / f"{name}.task.yaml", records))
    lines = file.read_text().splitlines()
    exec("\n".join(line[6:] for line in lines if line.startswith("#     ")), made)
    group = np.asarray(eval(origin, made))
    assert command(["data", "import", str(file)]) == 0
    sweep = load(OWN.parent / f"{question}.yaml", "laptop")
    for seed in (0, 1):
        task = load_task(sweep.tasks[0], DataSpec(seed=seed), records / "home")
        parts = [group[part.sample_id] for part in (task.train, task.val, task.test)]
        assert sum(map(len, parts)) == samples
        assert len({*group}) == groups == sum(len({*part}) for part in parts)
        assert {*task.train.y[:]} == {*task.val.y[:]} == {*task.test.y[:]} == {*range(classes)}
