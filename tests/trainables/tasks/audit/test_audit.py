"""Audits: the arguments of PDEBench, benchmarks without data, and what one task can show."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.published import pdebench
from tests.support.shapes import with_splits
from trainables.spec import DataSpec
from trainables.tasks.audit import benchmark
from trainables.tasks.audit import task as audit_of_task
from trainables.tasks.audit.arguments import REASONS, distinct_dams
from trainables.tasks.audit.benchmark import AuditedTask, audit_benchmark, load_audited
from trainables.tasks.audit.task import audit_task
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.predictors import features
from trainables.tasks.predictors.floor import Score, Scores, scores_of
from trainables.tasks.registry import BENCHMARKS, TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task

SMALL = dict.fromkeys(benchmark.SIZES, (30, 32))


def quiet(*_):
    """Report nothing."""


def test_a_round_dam_has_81_pictures_on_128_points():
    """Counted by brute force: the masks of a hundred thousand radii."""
    assert distinct_dams(128) == 81
    half = 2.5 * (np.arange(16) + 0.5) / 16
    distance = np.hypot(half[:, None], half)
    masks = {(distance <= radius).tobytes() for radius in np.linspace(0.3, 0.7, 100_001)}
    assert distinct_dams(32) == len(masks)


@pytest.mark.slow
def test_the_eight_published_tasks_are_audited_with_their_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "SIZES", SMALL)
    found = {each.task: each for each in audit_benchmark(BENCHMARKS["pdebench"], tmp_path, quiet)}
    assert found.keys() == REASONS.keys()
    burgers = found["pdebench/burgers_1d"]
    assert burgers.best_published == "pare"
    assert burgers.published["fno"] == 3.1e-3
    assert burgers.can_rank is False
    assert burgers.ratio > 100
    assert burgers.reason.argument["slowest_wave_keeps"] == pytest.approx(1.2e-11, rel=0.05)
    assert burgers.data_source == "generated"
    assert burgers.picture.prediction.shape == burgers.picture.y.shape
    assert found["pdebench/shallow_water_2d"].reason.argument["possible_pictures"] == 81
    assert found["pdebench/shallow_water_2d"].frames_floor == 5.70e-3
    assert found["pdebench/diffusion_sorption_1d"].reason.argument["constant_inputs"] == 1
    assert found["pdebench/darcy_2d"].reason.argument["mean_from_steady"] > 0.02
    assert found["pdebench/navier_stokes_1d"].can_rank is True


def test_a_benchmark_of_imported_data_says_what_is_missing(tmp_path):
    found = list(audit_benchmark(BENCHMARKS["nasbench360"], tmp_path, quiet))
    assert len(found) == 10
    assert all("sweeper data import" in each.not_audited for each in found)
    assert all(each.can_rank is None and each.published for each in found)


def test_published_numbers_of_another_protocol_decide_nothing():
    score = Score(test=0.5, validation=0.5, samples=1, seconds=0.0)
    found = AuditedTask(
        task="a/b",
        title="",
        metric="nrmse",
        protocol="",
        scores=Scores(scored={"ridge": score}),
        published={"orca": 0.4, "mona": 0.45, "fno": 0.9},
    )
    assert found.best_published == "orca"
    assert found.can_rank is True
    assert replace(found, published={"fno": 0.9}).can_rank is None


def made(y, kind="classification", x=None) -> Task:
    """Return a task of 80 training, 40 validation and 40 test samples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 1, 16)).astype(np.float32) if x is None else x
    rows = {"train": slice(80), "val": slice(80, 120), "test": slice(120, None)}
    name = "nasbench360/ecg" if kind == "classification" else "pdebench/advection_1d"
    info = TASKS[name]
    if kind == "classification":
        info = replace(info, channels=(1, 3), metric="zero_one_error", compat_metric=None)
    splits = {part: Split(x=x[each], y=y[each]) for part, each in rows.items()}
    return with_splits(info, str(hash(y.tobytes())), source="official", **splits)


def test_labels_that_are_rare_and_inputs_that_recur_are_found(tmp_path):
    labels = np.zeros(160, np.int64)
    labels[::2] = 1
    x = np.random.default_rng(1).normal(size=(160, 1, 16)).astype(np.float32)
    x[80:] = x[:80]
    found = audit_task(made(labels, x=x), tmp_path)
    assert found.balance == {"least": 0.0, "greatest": 0.5}
    assert found.nearest["test"]["near"] == 40
    text = " ".join(found.findings)
    assert found.first_direction is None, "labels are no numbers"
    assert "near duplicates" in text
    assert "The rarest label has 0.00% of the training samples, the most frequent one 50" in text


@pytest.mark.slow
def test_a_linear_target_of_one_direction_is_found(tmp_path):
    x = np.random.default_rng(1).normal(size=(160, 1, 16)).astype(np.float32)
    y = x[:, :, :1] * np.linspace(1, 2, 16, dtype=np.float32)
    found = audit_task(made(y, "dense", x), tmp_path)
    assert found.first_direction == pytest.approx(1, abs=1e-6)
    assert found.linear_share == pytest.approx(1, abs=1e-4)
    assert [point.samples for point in found.curve] == [10, 20, 40, 80]
    assert found.curve[0].values["ridge"] > 10 * found.curve[-1].values["ridge"]
    text = " ".join(found.findings)
    assert "lies along one line" in text
    assert "test: 0 of 40 inputs looked at are near duplicates of training inputs." in text
    assert "A linear map explains" in text


def test_constant_outputs_are_found(tmp_path):
    y = np.ones((160, 1, 16), np.float32)
    found = audit_task(made(y, "dense"), tmp_path)
    assert "nothing to learn" in " ".join(found.findings)
    assert found.detectable is None


def test_the_learning_curve_ends_where_the_predictors_stop(tmp_path, monkeypatch):
    for module in (audit_of_task, features):
        monkeypatch.setattr(module, "MAX_SAMPLES", 64)
    found = audit_task(made(np.arange(160) % 3), tmp_path)
    assert [point.samples for point in found.curve] == [8, 16, 32, 64]
    assert any("learn from 64 of the 80 training samples" in text for text in found.findings)


def test_the_detectable_difference_is_that_of_a_paired_binomial(tmp_path):
    """Two predictors that err on unlike samples: the deviation is that of their difference."""
    labels = np.random.default_rng(3).integers(0, 3, 160)
    found = audit_task(made(labels), tmp_path)
    errors = [each.values for each in found.curve][-1]
    most = 2.8 * np.sqrt((errors["ridge"] + errors["knn"]) / 40)  # if they never err together
    assert 0.02 < found.detectable < most


def test_a_hard_variant_is_audited_at_the_size_of_its_published_task(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "SIZES", SMALL)
    task = load_audited(TASKS["pdebench/advection_1d@hard"], tmp_path, quiet)
    data = DataSpec(source="generated", samples=30, resolution=32)
    assert task.content_hash == load_task(task.info.name, data, tmp_path).content_hash


def test_imported_files_come_before_our_generator(tmp_path):
    """The published file in miniature holds waves that move at the published speed."""
    file = pdebench.write(tmp_path / "published", "advection_1d", samples=40)
    import_task("pdebench/advection_1d", [file], tmp_path)
    task = load_audited(TASKS["pdebench/advection_1d"], tmp_path, quiet)
    assert task.data_source == "official"
    found = scores_of(task, tmp_path)
    assert found.scored["closed_form"].test < 1e-3
    assert found.refused["coarse_solver"] == "the data are not those of a solver here."
