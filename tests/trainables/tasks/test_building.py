"""A generated set: its arrays are the generator's, memory is bounded, and a kill costs little."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import trainables.tasks.building as building
import trainables.tasks.chunks as chunks
from tests.support.copies import peak_bytes
from tests.support.servers.process import wait_until
from trainables.spec import DataSpec
from trainables.tasks.generation import Generation
from trainables.tasks.loading import describe_data, load_task, prepare_task, solver_seconds
from trainables.tasks.pde_bench.advection_1d import Advection
from trainables.tasks.problem import GeneratedSamples
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import sha256
from trainables.tasks.store.split import SPLITS
from trainables.tasks.store.statistics import STD_OFFSET
from trainables.tasks.store.store import Store

PROBLEMS = sorted(name for name in TASKS if name.startswith("pdebench/"))
SMALL = DataSpec(samples=15, val_fraction=0.125, test_fraction=0.25, resolution=16)
NAME = "pdebench/darcy_2d@hard"
MANY = DataSpec(samples=77, resolution=16)  # six chunks of NAME
spawn = multiprocessing.get_context("spawn")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_store_holds_what_the_generator_makes_and_what_was_described(name, tmp_path):
    store, description = Store(prepare_task(name, SMALL, tmp_path)), describe_data(name, SMALL)
    store.verify()
    task = load_task(name, SMALL, tmp_path)
    assert {split: len(getattr(task, split)) for split in SPLITS} == description.splits
    assert (task.input_shape, task.output_shape) == (description.x_shape, description.y_shape)
    assert task.info is TASKS[name]
    assert 0 < task.baselines["mean"] < 10
    assert ("identity" in task.baselines) == (task.input_shape == task.output_shape)
    of = Generation.of(name, SMALL)
    made = of.generate(range(24))
    x, y = made.x.astype(np.float32), made.y.astype(np.float32)
    rules = store.manifest["normalization"]
    assert bool(rules) == of.problem.normalized == ("navier_stokes" in name)
    rows = {split: list(part) for split, part in of.indices().items()}
    if of.problem.normalized:
        mean = x[rows["train"]].mean(axis=0, dtype=np.float64).astype(np.float32)
        std = x[rows["train"]].std(axis=0, dtype=np.float64)
        scale = (std + STD_OFFSET).astype(np.float32)
        x, y = (x - mean) / scale, (y - mean) / scale
        physical = store.test.y * np.array(rules["scale"]) + np.array(rules["mean"])
        np.testing.assert_allclose(physical, made.y[rows["test"]], rtol=1e-4, atol=1e-4)
    for split in SPLITS:
        stored, columns = getattr(store, split), store.columns(split)
        assert stored.x.tobytes() == x[rows[split]].tobytes()
        assert stored.y.tobytes() == y[rows[split]].tobytes()
        np.testing.assert_array_equal(columns.pop("sample_id"), rows[split])
        assert columns.keys() == made.params.keys()
        for parameter, values in columns.items():
            assert values.tobytes() == made.params[parameter][rows[split]].tobytes()


def prepare_and_die(home: Path, workers: int, after: int, pids: Path) -> None:
    """Is killed when the `after`-th chunk is reported."""
    reports = iter(range(1, 100))

    def progress(task: str, done: int, total: int) -> None:
        if next(reports) == after:
            children = multiprocessing.active_children()
            pids.write_text(" ".join(str(child.pid) for child in children))
            os.kill(os.getpid(), signal.SIGKILL)

    prepare_task(NAME, MANY, home, progress=progress, workers=workers)


def is_running(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_killed_at_a_random_chunk_goes_on_to_the_same_bytes(workers, tmp_path):
    after = int(np.random.default_rng().integers(1, 6))
    pids = tmp_path / "pids"
    victim = spawn.Process(target=prepare_and_die, args=(tmp_path / "died", workers, after, pids))
    victim.start()
    victim.join(timeout=120)
    assert victim.exitcode == -signal.SIGKILL

    workers_pids = pids.read_text().split()
    wait_until(
        lambda: not any(map(is_running, workers_pids)),
        timeout_s=30,
        what="the workers of the killed process to end",
    )

    reports: list[int] = []
    resumed = prepare_task(
        NAME, MANY, tmp_path / "died", progress=lambda _, done, __: reports.append(done)
    )
    made_before = reports[0] - 16 if reports else 96  # workers are ahead of the reports
    assert made_before >= 16 * after, f"{after=}"
    assert len(reports) == (96 - made_before) / 16
    straight = prepare_task(NAME, MANY, tmp_path / "straight")
    assert sha256(resumed) == sha256(straight)
    kept = {path.name for path in resumed.parent.iterdir()}
    assert kept == {resumed.name, f".{resumed.name}.lock"}


@pytest.mark.parametrize("name", ["pdebench/navier_stokes_1d", "pdebench/advection_1d"])
@pytest.mark.parametrize("step", ["channel_statistics", "trivial_baselines", "write_store"])
def test_a_run_that_ends_after_its_last_chunk_makes_no_sample_again(
    name, step, tmp_path, monkeypatch
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(building, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare_task(name, SMALL, tmp_path / "ended")
    reports: list[int] = []
    resumed = prepare_task(
        name, SMALL, tmp_path / "ended", progress=lambda _, done, __: reports.append(done)
    )
    assert reports == []
    assert sha256(resumed) == sha256(prepare_task(name, SMALL, tmp_path / "straight"))


def test_what_a_run_that_died_at_the_very_end_left_is_removed(tmp_path):
    folder = prepare_task(NAME, SMALL, tmp_path)
    left = folder.with_name(f".{folder.name}.partial")
    left.mkdir()
    (left / "x.raw").write_bytes(b"0")
    assert prepare_task(NAME, SMALL, tmp_path) == folder
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pdebench/navier_stokes_1d", "pdebench/shallow_water_2d"])
def test_memory_does_not_move_a_byte(name, tmp_path, monkeypatch):
    of = Generation.of(name, SMALL)
    building.build(of, tmp_path / "much", tmp_path / "scratch")
    monkeypatch.setattr("trainables.tasks.store.arrays.BLOCK_BYTES", 100)
    building.build(of, tmp_path / "little", tmp_path / "other scratch", working_bytes=1)
    assert sha256(tmp_path / "much") == sha256(tmp_path / "little")


def build_and_measure(folder: Path, data: DataSpec, answers) -> None:
    import trainables.tasks.store.arrays as row_blocks

    def flat(self, indices, *, seed, resolution):
        """Quick to make, and as large as any."""
        x = np.broadcast_to(1.0 + indices[:, None, None], (len(indices), 1, resolution))
        return GeneratedSamples(x=x, y=x, params={})

    Advection.generate = flat
    row_blocks.BLOCK_BYTES = 2**21
    little = data.model_copy(update={"samples": 15})
    for name, spec in (("warm", little), ("large", data)):
        of = Generation.of("pdebench/advection_1d", spec)
        Path("/proc/self/clear_refs").write_text("5")  # the peak, from here
        before = peak_bytes()
        building.build(of, folder / name, folder / f".{name}", working_bytes=2**26)
    answers.put(peak_bytes() - before)


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size(tmp_path):
    data = DataSpec(samples=2048, resolution=4096)
    answers = spawn.Queue()
    process = spawn.Process(target=build_and_measure, args=(tmp_path, data, answers))
    process.start()
    grown = answers.get(timeout=120)
    process.join(timeout=60)
    size = sum(path.stat().st_size for path in (tmp_path / "large").glob("*.arrow"))
    assert size > 2**26
    assert grown < size / 2, f"{grown / 2**20:.0f} MiB for {size / 2**20:.0f} MiB of data"


def test_the_time_of_the_solver_is_kept_beside_the_data_and_changes_no_byte(tmp_path):
    folder = prepare_task(NAME, SMALL, tmp_path)
    seconds = solver_seconds(NAME, SMALL, tmp_path)
    assert seconds is not None
    assert 0 < seconds < 60
    (file,) = (tmp_path / "cache" / "solver").rglob("*.json")
    assert file.stem == folder.name
    for content in ("{}", "[", '{"core_seconds_a_sample": null}'):
        file.write_text(content)
        assert solver_seconds(NAME, SMALL, tmp_path) is None
    file.unlink()
    assert solver_seconds(NAME, SMALL, tmp_path) is None
    assert prepare_task(NAME, SMALL, tmp_path) == folder


def test_the_time_of_an_interrupted_generation_is_that_of_all_its_chunks(tmp_path):
    of = Generation.of(NAME, SMALL)
    chunks.make_samples(of, tmp_path, working_bytes=1)
    files = sorted(tmp_path.glob("*.seconds"))
    assert len(files) == of.num_samples
    for file in files:
        file.write_text("0.5")
    assert chunks.seconds_a_sample(tmp_path) == 0.5
    files[0].unlink()  # of an earlier version
    assert chunks.seconds_a_sample(tmp_path) is None
