"""A checkpoint is whole, or as it was before: killed at any point, with no space, on bad input."""

import hashlib
import json
import os
import resource
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import ROOT
from tests.support.mounts import tmpfs
from trainables.errors import StorageError
from trainables.models.cross_modal import CrossModalModel
from trainables.runtime import checkpoints
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import MANIFEST, CorruptCheckpoint, parse
from trainables.training.state import TrainState

KILLED_AT_EVERY_STEP = """
import os, shutil, sys
from collections import Counter
from itertools import count
from pathlib import Path
import torch
from trainables.runtime import checkpoints
from trainables.training.state import TrainState

def state(value):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    model.body = torch.nn.Module()
    made = TrainState(model=model, seed=0)
    torch.nn.init.constant_(made.model.weight, value)
    return made

def found():
    read = state(9.0)
    checkpoints.load(read, folder)
    return read.model.weight.mean().item()

def save_and_die(step):
    seen = count()
    def die(event, args):
        changes = event.startswith(("os.re", "os.rm", "os.mk", "shutil.")) or event == "open"
        if changes and str(folder.parent) in str(args) and next(seen) == step:
            os._exit(9)
    sys.addaudithook(die)
    checkpoints.save(state(2.0), folder)
    os._exit(0)

folder = Path(sys.argv[1]) / "refine-0001"
outcomes = Counter()
for step in count():
    shutil.rmtree(folder.parent, ignore_errors=True)
    checkpoints.save(state(1.0), folder)
    child = os.fork()
    if child == 0:
        save_and_die(step)
    _, status = os.waitpid(child, 0)
    outcomes[found()] += 1
    checkpoints.save(state(3.0), folder)
    assert found() == 3.0
    assert os.listdir(folder.parent) == [folder.name], os.listdir(folder.parent)
    if status == 0:
        break
print(step, outcomes[1.0], outcomes[2.0])
"""


class Weight(CrossModalModel):
    """All of a model that a file system sees."""

    def __init__(self, value: float, size: int) -> None:
        torch.nn.Module.__init__(self)
        self.weight = torch.nn.Parameter(torch.full((2, size), value))
        self.body = torch.nn.Module()  # without adapters


def make_state(value: float, size: int = 3) -> TrainState:
    return TrainState(model=Weight(value, size), seed=0)


def value_in(folder, size: int = 3) -> float:
    state = make_state(9.0, size)
    checkpoints.load(state, folder)
    return state.model.weight.mean().item()


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_the_old_checkpoint_or_the_new_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path / "trial")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    kills, old, new = map(int, done.stdout.split())
    assert kills > 15
    assert old > 10
    assert new > 2


def test_a_full_disk_is_said_and_costs_no_earlier_checkpoint(tmp_path):
    disk, size = tmp_path / "disk", 100_000  # 0.8 MB
    with tmpfs(disk):
        checkpoints.save(make_state(1.0, size), disk / "refine-0001")
        filler = disk / "filler"
        filler.write_bytes(bytes(900_000))
        for name in ("refine-0002", "refine-0001"):
            with pytest.raises(StorageError, match=rf"^no space left on .*{name}: \d of 2 MiB fre"):
                checkpoints.save(make_state(2.0, size), disk / name)
            assert sorted(os.listdir(disk)) == ["filler", "refine-0001"]
            assert value_in(disk / "refine-0001", size) == 1.0
        filler.unlink()
        checkpoints.save(make_state(2.0, size), disk / "refine-0002")
        assert value_in(disk / "refine-0002", size) == 2.0


def test_a_disk_that_became_read_only_is_said(tmp_path):
    disk = tmp_path / "disk"
    with tmpfs(disk):
        checkpoints.save(make_state(1.0), disk / "refine-0001")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for name in ("refine-0002", "refine-0001"):
            with pytest.raises(StorageError, match=rf"^read-only file system: .*{name}: "):
                checkpoints.save(make_state(2.0), disk / name)
        assert value_in(disk / "refine-0001") == 1.0


@pytest.mark.parametrize("limit", [100, 400, 1000])
def test_a_file_that_may_not_grow_leaves_nothing_behind(tmp_path, limit):
    """At the manifest, the state or the weights, as the limit has it."""
    checkpoints.save(make_state(1.0), tmp_path / "refine-0001")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError, match=r"^file too large: .*refine-0002: "):
            checkpoints.save(make_state(2.0, size=300), tmp_path / "refine-0002")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["refine-0001"]
    assert value_in(tmp_path / "refine-0001") == 1.0


@pytest.mark.parametrize("missing", ["state.json", "last.safetensors"])
def test_a_folder_that_is_whole_but_holds_no_state_is_no_checkpoint(tmp_path, missing):
    folder = tmp_path / "refine-0001"
    checkpoints.save(make_state(1.0), folder)
    hashes = json.loads((folder / MANIFEST).read_text())
    del hashes[missing]
    (folder / MANIFEST).write_text(json.dumps(hashes))
    with pytest.raises(CorruptCheckpoint, match=f"holds no {missing}"):
        checkpoints.load(make_state(2.0), folder)


DIGEST = "0" * 64
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_manifest_holds_it_is_read_or_refused(text):
    try:
        hashes = parse(text, "somewhere")
    except CorruptCheckpoint:
        return
    assert all("/" not in name and name[0] != "." for name in hashes)


DEEP = b"[" * 200_000


def test_a_manifest_that_nests_too_deeply_is_no_manifest(tmp_path):
    """In the process of a trial it was a RecursionError, and in the service it ended a thread."""
    folder = tmp_path / "refine-0001"
    checkpoints.save(make_state(1.0), folder)
    (folder / MANIFEST).write_bytes(DEEP)
    for read in (
        lambda: parse(DEEP, "somewhere"),
        lambda: checkpoints.load(make_state(2.0), folder),
        lambda: checkpoints.load_best(make_state(2.0), folder),
        lambda: artifacts.thin(str(folder), best=True, last=False),
        lambda: artifacts.fetch(str(folder), tmp_path / "fetched"),
    ):
        with pytest.raises(CorruptCheckpoint, match=f"no readable {MANIFEST}"):
            read()


@pytest.mark.parametrize("text", [DEEP, b"{", b"\xff"], ids=["deep", "cut", "bytes"])
def test_a_state_that_cannot_be_read_is_damage(tmp_path, text):
    folder = tmp_path / "refine-0001"
    checkpoints.save(make_state(1.0), folder)
    (folder / "state.json").write_bytes(text)
    hashes = json.loads((folder / MANIFEST).read_text())
    hashes["state.json"] = hashlib.sha256(text).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(hashes))
    with pytest.raises(CorruptCheckpoint, match=r"no readable state\.json"):
        checkpoints.load(make_state(2.0), folder)


@pytest.mark.parametrize(
    "name", ["../state.json", "/etc/state.json", "a/state.json", ".json", "", "x.json\n", "x.pkl"]
)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(name):
    with pytest.raises(CorruptCheckpoint, match="none of a checkpoint"):
        parse(json.dumps({"state.json": DIGEST, name: DIGEST}).encode(), "somewhere")
    assert parse(json.dumps({"state.json": DIGEST}).encode(), "somewhere")
