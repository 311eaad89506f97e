"""Laws of the splits of every task, over tiny files in the published layouts."""

import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tests.support.published.nasbench360 import WRITERS
from trainables.errors import DataError
from trainables.tasks.store.split import SplitData


@pytest.fixture(scope="module", params=WRITERS)
def published(request, tmp_path_factory) -> tuple[str, Path]:
    """Return a task, and the folder of its files."""
    return request.param, WRITERS[request.param](tmp_path_factory.mktemp(request.param) / "files")


def read(published: tuple[str, Path], scratch: Path, seed: int = 0) -> Mapping[str, SplitData]:
    name, folder = published
    scratch.mkdir(parents=True)
    module = import_module(f"trainables.tasks.nas_bench_360.{name}")
    return module.read([folder], scratch, seed=seed).splits


@pytest.mark.slow
def test_a_seed_says_which_samples_are_in_each_split_and_in_which_order(published, tmp_path):
    first, again, other = (
        read(published, tmp_path / str(i), seed) for i, seed in enumerate((0, 0, 1))
    )
    for split, data in first.items():
        ids = data.sample_id.tolist()
        assert len(ids) == len(set(ids)) == len(data.x) == len(data.y)
        assert ids != sorted(ids) or len(ids) < 3
        np.testing.assert_array_equal(data.x, again[split].x)
        np.testing.assert_array_equal(data.sample_id, again[split].sample_id)
    assert first["train"].sample_id.tolist() != other["train"].sample_id.tolist()
    assert first["test"].sample_id.tolist() != other["test"].sample_id.tolist()
    if published[0] != "ecg":  # whose windows are numbered split by split
        assert set(first["test"].sample_id) == set(other["test"].sample_id)
    if published[0] != "fsd50k":  # whose validation set is an official one
        rest = np.concatenate([first["train"].sample_id, first["val"].sample_id])
        assert sorted(rest) == list(range(len(rest)))


def test_a_missing_file_of_each_kind_is_named(published, tmp_path):
    name, folder = published
    if name == "cosmic":
        pytest.skip("without lists, its images are those that are there")
    module = import_module(f"trainables.tasks.nas_bench_360.{name}")
    kinds = {Path(found).suffix: found for found in sorted(module.find([folder]))}
    for kind, lost in kinds.items():
        copy = Path(shutil.copytree(folder, tmp_path / f"copy{kind}"))
        (missing,) = (path for path in copy.rglob("*") if path.as_posix().endswith(f"/{lost}"))
        missing.unlink()
        with pytest.raises(DataError, match=rf"[/ ]{missing.name}|of background noise"):
            module.read([copy], tmp_path)
