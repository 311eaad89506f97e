"""Samples made chunk by chunk: what is there is kept, what is missing is made, and no bit moves."""

import os
import platform
import resource
import signal
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.chunks import keep_freed_memory, make_samples
from trainables.tasks.generation import Generation
from trainables.tasks.pde_bench.advection_1d import Advection
from trainables.tasks.problem import GeneratedSamples
from trainables.tasks.registry import TASKS

PROBLEMS = sorted(name for name in TASKS if name.startswith("pdebench/"))
ONE_AT_A_TIME = 1  # byte of working memory


def generation(name: str = "pdebench/advection_1d", samples: int = 14) -> Generation:
    return Generation.of(name, DataSpec(samples=samples, test_fraction=0.2, resolution=16))


def make(folder: Path, of: Generation, **settings) -> tuple[GeneratedSamples, list[int]]:
    """Make samples; return them and the sizes of the chunks that were not there."""
    done = [0]
    made = make_samples(of, folder, progress=lambda _, now, __: done.append(now), **settings)
    return made, np.diff(done).tolist()


def assert_same(made: GeneratedSamples, expected: GeneratedSamples) -> None:
    assert made.x.tobytes() == expected.x.astype(np.float32).tobytes()
    assert made.y.tobytes() == expected.y.astype(np.float32).tobytes()
    assert made.params.keys() == expected.params.keys()
    for name, values in expected.params.items():
        assert made.params[name].tobytes() == values.tobytes()
        assert made.params[name].dtype == values.dtype


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_chunks_of_any_size_are_what_the_generator_makes_at_once(name, tmp_path):
    of = generation(name, samples=8)
    whole = of.generate(range(of.num_samples))
    together, _ = make(tmp_path / "together", of)
    assert_same(together, whole)
    apart, sizes = make(tmp_path / "apart", of, working_bytes=ONE_AT_A_TIME)
    assert sizes == [1] * of.num_samples
    assert_same(apart, whole)


def test_workers_share_the_work_and_the_memory(tmp_path):
    of = generation()
    alone, _ = make(tmp_path / "alone", of)
    sample = 2 * 8 * 16 * of.problem.footprint
    shared, sizes = make(tmp_path / "shared", of, workers=2, working_bytes=8 * sample)
    assert sizes == [4] * 5
    assert_same(shared, alone)


def test_only_what_is_missing_is_made(tmp_path):
    of = generation()
    whole, _ = make(tmp_path, of, working_bytes=ONE_AT_A_TIME)
    expected = GeneratedSamples(x=np.array(whole.x), y=np.array(whole.y), params=whole.params)
    for index in (0, 7, 8, 9, 19):
        (tmp_path / f"{index:09d}-{index + 1:09d}.npz").unlink()
    with (tmp_path / "y.raw").open("r+b") as file:  # as if it had died while writing them
        file.seek(7 * 16 * 4)
        file.write(bytes(3 * 16 * 4))
    (tmp_path / "000000007-000000010.part").write_bytes(b"PK")

    again, sizes = make(tmp_path, of)
    assert sizes == [15 + 1, 3, 1]  # the first report counts what was there
    assert_same(again, expected)
    assert make(tmp_path, of)[1] == []


@dataclass(frozen=True, kw_only=True)
class Failing(Advection):
    """Breaks down at one sample."""

    at: int
    deadly: bool = False

    chunk = 4

    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        samples = super().generate(indices, seed=seed, resolution=resolution)
        if self.at in indices:
            if self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            samples.y[indices == self.at] = np.nan
        return samples


def test_a_sample_that_is_not_finite_is_named_and_what_was_made_before_is_kept(tmp_path):
    of = generation()
    with pytest.raises(DataError, match=r"sample 10 of seed 0 is not finite at resolution 16"):
        make(tmp_path, replace(of, problem=Failing(at=10)))
    assert {path.stem for path in tmp_path.glob("*.npz")} == {
        "000000000-000000004",
        "000000004-000000008",
    }


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_with_a_way_out(tmp_path):
    of = replace(generation(), problem=Failing(at=10, deadly=True))
    with pytest.raises(DataError, match=r"was killed.*fewer workers: what was made is kept"):
        make(tmp_path, of, workers=2)


ROUNDS, ARRAYS, SIZE = 50, 8, 2**20


def pages_cleared(answers) -> None:
    keep_freed_memory()

    def step() -> None:
        arrays = [np.ones(SIZE, dtype=np.uint8) for _ in range(ARRAYS)]
        assert len(arrays) == ARRAYS

    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        step()
    answers.put(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries take no notice")
def test_memory_that_was_freed_is_used_again():
    spawn = get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=pages_cleared, args=(answers,))
    process.start()
    cleared = answers.get(timeout=60)
    process.join(timeout=60)
    touched = ROUNDS * ARRAYS * SIZE / resource.getpagesize()
    assert cleared < touched / 10, f"{cleared} of {touched:.0f} pages"
