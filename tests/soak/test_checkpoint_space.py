"""Checkpoints of four trials at once never take more than three of each trial."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.command import Shell
from tests.support.figures import show
from tests.support.servers.cluster import ray_cluster
from tests.support.small_sweep import TRIALS, Sweep, finish
from tests.support.tiny_backbones import save_tiny_roberta

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
WIDTH = 384  # a checkpoint takes about 40 MB, the optimiser's state included
KEPT = 3  # a trial's two newest, and the one being written


def used(*folders: Path) -> int:
    """Bytes on disk; what is linked to several names counts once."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*.safetensors*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


@contextmanager
def watched(*folders: Path) -> Iterator[list[int]]:
    """Yield the list of how much was used, a look every 20 ms."""
    samples, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            samples.append(used(*folders))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def test_three_of_each_trial_are_the_most(tmp_path, data_home, new_store):
    uri = new_store()
    runs = Path(uri.removeprefix("sqlite:///")).parent  # where MLflow's artifacts are
    save_tiny_roberta(tmp_path / "roberta", width=WIDTH)
    with ray_cluster(num_cpus=TRIALS) as head:
        environment = {
            **head.environment, "SWEEPER_HOME": str(data_home), "MLFLOW_TRACKING_URI": uri,
        }  # fmt: skip
        sweep = Sweep(Shell(tmp_path, environment), "heavy", on_backbone=True)
        with watched(sweep.folder, runs) as samples:
            finish(
                sweep.start("--address", head.address, "--set", f"search.max_concurrent={TRIALS}")
            )
    kept = list(sweep.checkpoints().values())
    size = max(used(folder) for folder in kept)
    bound = TRIALS * KEPT * size
    at_end = used(sweep.folder, runs)
    show(f"L9 checkpoints of {TRIALS} trials of {size / 1e6:.0f} MB", f"<= {bound / 1e6:.0f} MB",
         f"{max(samples) / 1e6:.0f} MB at most, {at_end / 1e6:.0f} MB at the end, "
         f"{len(samples)} looks")  # fmt: skip
    assert size > 20e6
    assert max(samples) <= bound
    assert at_end <= TRIALS * size
