"""The container image, built and run: a sweep in it is stopped and continues on the same volume."""

import os
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.containers import Builder, Container, Image, builder

pytestmark = [pytest.mark.external, pytest.mark.timeout(3600)]

USER = 10001
LASTING = "/var/lib/sweeper"
NAMELESS = (23456, 0)  # as clusters that choose users run it
SWEEP, TRIALS, EPOCHS = "mona_pdebench", 2, 4
LAUNCH = (
    "launch", f"/usr/share/sweeper/search_spaces/{SWEEP}.yaml", "--profile", "laptop",
    "--trials", str(TRIALS), "--set", "tasks=[pdebench/advection_1d]",
    "--set", f"refine.epochs={EPOCHS}", "--json",
)  # fmt: skip
Run = Callable[..., Container]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with builder(tmp_path_factory.mktemp("images")) as store:
        yield store


@pytest.fixture(scope="module")
def image(images: Builder) -> Image:
    return images.build("cpu")


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that containers share, of the user of the image, as Docker makes a named volume."""
    folder = tmp_path_factory.mktemp("volume")
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture
def container(image: Image, volume: Path, tmp_path: Path) -> Iterator[Run]:
    made: list[Container] = []

    def make(**options: tuple[int, int]) -> Container:
        made.append(Container(image, volume, tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.kill("KILL")


def rows(volume: Path, query: str) -> list[tuple]:
    ledger = volume / "sweeps" / SWEEP / "ledger.db"
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def epochs(volume: Path) -> list[tuple]:
    """Return each measured epoch, as often as the ledger has it; none before there is a ledger."""
    what = "study, number, json_extract(payload, '$.stage'), json_extract(payload, '$.epoch')"
    try:
        return rows(volume, f"select {what} from events where kind = 'measured'")
    except sqlite3.OperationalError:
        return []


def test_it_is_small_and_leaves_the_tools_of_its_build_out(image: Image) -> None:
    for made, size in image.layers.items():
        print(f"{size / 1e6:8.1f} MB  {made[:100]}")
    environment = max(image.layers.values())
    (code,) = (size for made, size in image.layers.items() if "pip install" in made)
    assert sum(image.layers.values()) < 2.8e9
    assert environment < 2.5e9
    assert code < 3e7  # what a change of the code ships
    for absent in ("src", "wheel", "etc/pip.conf", "root/.cache", "var/cache/pip"):
        assert not (image.root / absent).exists()


def test_its_user_owns_the_folder_that_lasts_and_may_write_nothing_else(image: Image) -> None:
    owned, open_to_all = [], []
    for folder, names, files in os.walk(image.root):
        for path in (Path(folder, name) for name in (*names, *files)):
            found = path.lstat()
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                continue  # devices, and links, whose mode says nothing
            inside = f"/{path.relative_to(image.root)}"
            if USER in (found.st_uid, found.st_gid):
                owned.append(inside)
            is_shared = found.st_mode & stat.S_ISVTX  # /tmp and its like
            if found.st_mode & stat.S_IWOTH and not is_shared:
                open_to_all.append(inside)
    assert (owned, open_to_all) == ([LASTING], [])


def test_it_says_its_version_and_what_it_has(container: Run) -> None:
    assert container().run("--version").out.startswith("sweeper ")
    checks = container().run("doctor", "--json").json["checks"]
    assert [check for check in checks if check["state"] == "bad"] == []
    found = {check["what"]: check for check in checks}
    assert {found[f"weights {name}"]["state"] for name in ("minilm", "dinov2_small")} == {"ok"}


def test_a_stopped_sweep_continues_in_another_container(container: Run, volume: Path) -> None:
    first = container()
    process = first.start(*LAUNCH)
    wait_until(lambda: any(stage == "refine" for _, _, stage, _ in epochs(volume)), process)
    started = time.monotonic()
    first.kill("TERM")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, f"{out}\n{err}"
    assert time.monotonic() - started < 60  # what docker/README.md asks of --stop-timeout
    before = epochs(volume)
    assert len(before) < TRIALS * EPOCHS

    done = container().run(*LAUNCH).json
    assert (done["state"], done["exit_code"]) == ("finished", 0)
    assert rows(volume, "select number, state from trials") == [
        (number, "complete") for number in range(TRIALS)
    ]
    after = epochs(volume)
    assert after[: len(before)] == before
    assert len(after) == len(set(after))
    refined = sorted((number, epoch) for _, number, stage, epoch in after if stage == "refine")
    assert refined == [(n, e) for n in range(TRIALS) for e in range(1, EPOCHS + 1)]

    assert container().run(*LAUNCH).json["state"] == "finished"
    assert epochs(volume) == after
    health = container().run(entrypoint=["sweeper", "ls"])
    assert SWEEP in health.out


def test_a_user_without_a_name_may_run_it(container: Run, volume: Path) -> None:
    for path in (volume, *volume.rglob("*")):
        os.chown(path, *NAMELESS, follow_symlinks=False)
    assert container(user=NAMELESS).run("note", SWEEP, "goes on").err == ""
    more = container(user=NAMELESS).run("extend", SWEEP, "--trials", str(TRIALS + 1), "--json")
    assert more.json["state"] == "finished"
    assert len(rows(volume, "select number from trials")) == TRIALS + 1


def test_the_target_for_gpus_differs_in_what_it_asks_of_nvidias_runtime(
    images: Builder, image: Image, volume: Path, tmp_path: Path
) -> None:
    gpu = images.build("gpu")  # here with a torch for CPUs
    more = {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}
    assert set(gpu.config["Env"]) - set(image.config["Env"]) == more
    assert {**gpu.config, "Env": 0} == {**image.config, "Env": 0}
    assert Container(gpu, volume, tmp_path).run("--version").out.startswith("sweeper ")


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition while a process runs; fail with its output if it ends."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
