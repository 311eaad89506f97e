"""A checkpoint in a store is whole or not there: in a folder, and in a real bucket."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pyarrow import fs

from tests.support.command import ROOT
from tests.support.mounts import tmpfs
from tests.support.servers.proxy import fault_proxy
from tests.support.servers.s3 import place_on
from trainables.errors import ConfigError, StorageError
from trainables.storage import artifacts, files
from trainables.storage.checkpoint_folder import MANIFEST, CorruptCheckpoint, new_checkpoint, verify
from trainables.storage.urls import ArtifactUrl

FILES = {
    "last.safetensors": 300_000,
    "best.safetensors": 100_000,
    "optimizer.safetensors": 500_000,
    "state.json": 100,
}


@pytest.fixture(params=["path", "file", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path, monkeypatch):
    """A place of the test's own in each kind of store."""
    folder = tmp_path / "my store"
    if request.param == "path":
        return ArtifactUrl.parse(str(folder))
    if request.param == "file":
        return ArtifactUrl.parse(f"file://{tmp_path}/store")
    return place_on(request.getfixturevalue("bucket_server"), tmp_path.name, monkeypatch)


@pytest.fixture
def bucket(bucket_server, tmp_path, monkeypatch):
    return place_on(bucket_server, tmp_path.name, monkeypatch)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(artifacts, "PAUSES_S", (0.01, 0.02))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return write(tmp_path / "refine-0001")


def write(folder: Path, files=FILES) -> Path:
    with new_checkpoint(folder) as partial:
        for name, size in files.items():
            (partial / name).write_bytes(os.urandom(size))
    return folder


def through(proxy, place: ArtifactUrl) -> ArtifactUrl:
    """The same place by way of a proxy."""
    bucket = place.path
    return ArtifactUrl.parse(f"s3://{bucket}?endpoint_override=127.0.0.1:{proxy.port}&scheme=http")


def raw(place: ArtifactUrl):
    """The store's files, as anybody with access may change them."""
    return files.file_system(place)


def names_in(place: ArtifactUrl) -> set[str]:
    selector = fs.FileSelector(place.path, recursive=True, allow_not_found=True)
    found = raw(place).get_file_info(selector)
    return {i.path[len(place.path) + 1 :] for i in found if i.type == fs.FileType.File}


def overwrite(place: ArtifactUrl, name: str, data: bytes) -> None:
    with raw(place).open_output_stream(f"{place.path}/{name}") as file:
        file.write(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_published_comes_back_bit_for_bit(store, checkpoint, tmp_path):
    url = str(store / "attempt-1/refine-0001")
    assert not artifacts.exists(url)
    artifacts.publish(checkpoint, url)
    assert artifacts.exists(url)
    artifacts.fetch(url, tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == contents(checkpoint)
    whole = sum(len(data) for data in contents(checkpoint).values())
    assert sum(artifacts.sizes(str(store)).values()) == sum(artifacts.sizes(url).values()) == whole
    assert names_in(store) == {f"attempt-1/refine-0001/{name}" for name in [*FILES, MANIFEST]}


@pytest.mark.slow
def test_checkpoints_are_listed_newest_first_and_nothing_else_is(store, checkpoint):
    places = [store / f"attempt-{n}/refine-{10 - n:04d}" for n in (1, 2, 3)]
    for place in places:
        artifacts.publish(checkpoint, str(place))
        time.sleep(1.1)  # a bucket's times are in seconds
    for place, name in (
        (store / "attempt-4/refine-0001", "state.json"),  # without its manifest
        (store / "attempt-4/refine-0002", ".manifest.json.partial"),
        (store / "attempt-4/.refine-0003", MANIFEST),
        (store / "attempt-4", "a manifest.json"),
    ):
        if place.folder is not None:
            place.folder.mkdir(parents=True, exist_ok=True)
        overwrite(place, name, b"{}")
    assert artifacts.list_checkpoints(str(store)) == [str(place) for place in reversed(places)]
    assert artifacts.list_checkpoints(str(places[0])) == [str(places[0])]
    assert artifacts.list_checkpoints(str(store / "elsewhere")) == []


def test_deleting_leaves_nothing_of_a_place_and_all_of_others(store, checkpoint):
    first, second = store / "attempt-1", store / "attempt-2"
    for place in (first / "refine-0001", first / "refine-0002", second / "refine-0003"):
        artifacts.publish(checkpoint, str(place))
    artifacts.delete(str(first / "refine-0001"))
    assert artifacts.list_checkpoints(str(first)) == [str(first / "refine-0002")]
    artifacts.delete(str(first))
    artifacts.delete(str(first))
    assert names_in(store) == {f"attempt-2/refine-0003/{name}" for name in [*FILES, MANIFEST]}


@pytest.mark.parametrize("whole", ["s3://sweeps", "/sweeps", "file:///sweeps", "/"])
def test_a_whole_store_is_not_deleted(whole):
    with pytest.raises(ConfigError, match="is a whole store"):
        artifacts.delete(whole)


@pytest.mark.parametrize(
    ("kept", "names"),
    [
        ({"best": True, "last": False}, {"best.safetensors", "state.json"}),
        ({"best": False, "last": True}, set(FILES) - {"best.safetensors"}),
        ({"best": True, "last": True}, set(FILES)),
    ],
)
def test_a_thinned_checkpoint_is_whole_with_what_it_has(store, checkpoint, tmp_path, kept, names):
    url = str(store / "refine-0001")
    artifacts.publish(checkpoint, url)
    artifacts.thin(url, **kept)
    assert names_in(store / "refine-0001") == names | {MANIFEST}
    artifacts.fetch(url, tmp_path / "fetched")
    assert verify(tmp_path / "fetched") == names


def cut(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize("name", ["last.safetensors", "state.json"])
def test_a_damaged_file_is_found_out_and_nothing_is_left_of_it(
    store, checkpoint, tmp_path, name, damage
):
    place = store / "refine-0001"
    artifacts.publish(checkpoint, str(place))
    overwrite(place, name, damage((checkpoint / name).read_bytes()))
    with pytest.raises(CorruptCheckpoint, match=f"{name}: altered or cut short"):
        artifacts.fetch(str(place), tmp_path / "fetched")
    assert not [path for path in tmp_path.iterdir() if "fetched" in path.name]


def test_what_is_not_all_there_is_found_out(store, checkpoint, tmp_path):
    place = store / "refine-0001"
    with pytest.raises(CorruptCheckpoint, match=f"no {MANIFEST}"):
        artifacts.fetch(str(place), tmp_path / "fetched")
    artifacts.publish(checkpoint, str(place))
    raw(place).delete_file(f"{place.path}/best.safetensors")
    with pytest.raises(CorruptCheckpoint, match=r"best.safetensors: missing"):
        artifacts.fetch(str(place), tmp_path / "fetched")
    assert not [path for path in tmp_path.iterdir() if "fetched" in path.name]


@pytest.mark.parametrize("name", [MANIFEST, "last.safetensors"])
def test_a_bucket_is_believed_only_after_several_tries(
    bucket, checkpoint, tmp_path, monkeypatch, name
):
    """A server under load denied a file that it had, and trials began afresh."""
    place, whole = bucket / "refine-0001", (checkpoint / name).read_bytes()
    artifacts.publish(checkpoint, str(place))
    raw(place).delete_file(f"{place.path}/{name}")
    waited = []

    def come_back(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == len(artifacts.PAUSES_S):
            overwrite(place, name, whole)

    monkeypatch.setattr("trainables.storage.artifacts.time.sleep", come_back)
    artifacts.fetch(str(place), tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == contents(checkpoint)
    assert tuple(waited) == artifacts.PAUSES_S


def test_a_manifest_cannot_lead_out_of_its_place(store, checkpoint, tmp_path):
    place = store / "refine-0001"
    artifacts.publish(checkpoint, str(place))
    overwrite(store, "planted.json", b"planted")
    overwrite(place, MANIFEST, json.dumps({"../planted.json": "0" * 64}).encode())
    with pytest.raises(CorruptCheckpoint, match="none of a checkpoint"):
        artifacts.fetch(str(place), tmp_path / "fetched")
    with pytest.raises(CorruptCheckpoint, match="none of a checkpoint"):
        artifacts.thin(str(place), best=False, last=False)
    assert "planted.json" in names_in(store)
    assert not list(tmp_path.glob("planted*"))


def test_a_full_disk_here_is_told_from_a_store_that_is_away(bucket, checkpoint, tmp_path):
    url = str(bucket / "refine-0001")
    artifacts.publish(write(tmp_path / "large", {"last.safetensors": 3_000_000}), url)
    disk = tmp_path / "disk"
    with tmpfs(disk):
        with pytest.raises(StorageError, match=rf"^no space left on {disk}/refine-0001: \d of 2 M"):
            artifacts.fetch(url, disk / "refine-0001")
        assert os.listdir(disk) == []


def test_a_shared_folder_that_is_full_keeps_what_it_has(checkpoint, tmp_path):
    disk = tmp_path / "shared"
    with tmpfs(disk):
        artifacts.publish(checkpoint, str(disk / "refine-0001"))
        with pytest.raises(
            StorageError, match=rf"^no space left on {disk}/refine-0002: \d of 2 Mi"
        ):
            artifacts.publish(
                write(tmp_path / "large", {"last.safetensors": 3_000_000}),
                str(disk / "refine-0002"),
            )
        assert artifacts.list_checkpoints(str(disk)) == [str(disk / "refine-0001")]
        artifacts.fetch(str(disk / "refine-0001"), tmp_path / "fetched")


def test_a_key_that_is_refused_is_said_at_once(bucket, checkpoint, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"refuses: .*SIGNATURE_DOES_NOT_MATCH"):
        artifacts.publish(checkpoint, str(bucket / "refine-0001"))
    assert time.monotonic() - began < 30


FAULTS = [("refuse", 0), ("black_hole", 0), ("http_error", 503), ("rate", 20_000)]


@pytest.mark.parametrize(("fault", "amount"), FAULTS)
def test_a_store_that_does_not_answer_costs_no_more_than_the_time_given(
    bucket_server, bucket, checkpoint, fault, amount
):
    with fault_proxy(int(bucket_server.endpoint.rpartition(":")[2])) as proxy:
        away = through(proxy, bucket) / "refine-0001"
        proxy.set(fault, amount)
        began = time.monotonic()
        with pytest.raises(StorageError, match="did not answer in 3 s; the last error: "):
            artifacts.publish(checkpoint, str(away), timeout_s=3.0)
        assert 2.5 < time.monotonic() - began < 20
        proxy.set("pass")
        time.sleep(1)
        assert not artifacts.exists(str(away))  # nobody waited for it any more
        artifacts.publish(checkpoint, str(away))
        assert artifacts.exists(str(away))


def test_an_outage_is_waited_for(bucket_server, bucket, checkpoint):
    """The server dies and comes back with all that it had, with another upload under way."""
    kept, url = str(bucket / "refine-0000"), str(bucket / "refine-0001")
    artifacts.publish(checkpoint, kept)
    bucket_server.kill()
    done: list[Exception | None] = []

    def publish() -> None:
        try:
            artifacts.publish(checkpoint, url, timeout_s=60.0)
        except Exception as error:
            done.append(error)
        else:
            done.append(None)

    thread = threading.Thread(target=publish)
    thread.start()
    time.sleep(2)
    waited = thread.is_alive()
    bucket_server.start()
    thread.join(60)
    assert waited
    assert done == [None]
    assert artifacts.exists(kept)
    assert artifacts.exists(url)


@pytest.mark.parametrize("after", [1_000, 200_000, 700_000])
def test_an_upload_that_is_cut_goes_on_and_ends_whole(
    bucket_server, bucket, checkpoint, tmp_path, after
):
    """A connection is reset after so many bytes, then the way is free."""
    with fault_proxy(int(bucket_server.endpoint.rpartition(":")[2])) as proxy:
        place = through(proxy, bucket) / "refine-0001"
        proxy.set("reset_after", after)
        timer = threading.Timer(2, proxy.set, ["pass"])
        timer.start()
        artifacts.publish(checkpoint, str(place), timeout_s=60.0)
        timer.join()
        artifacts.fetch(str(place), tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == contents(checkpoint)


PUBLISH = """
import sys
from pathlib import Path
from trainables.storage.artifacts import publish
publish(Path(sys.argv[1]), sys.argv[2])
"""


def test_an_uploader_that_is_killed_leaves_no_checkpoint(bucket_server, bucket, tmp_path):
    folder = write(tmp_path / "refine-0001", {"last.safetensors": 4_000_000, "state.json": 9})
    with fault_proxy(int(bucket_server.endpoint.rpartition(":")[2])) as proxy:
        place = through(proxy, bucket) / "refine-0001"
        proxy.set("rate", 2_000_000)
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISH, folder, str(place)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        while proxy.num_connections == 0:
            time.sleep(0.05)
        process.kill()
        process.wait()
        proxy.set("pass")
        assert artifacts.list_checkpoints(str(bucket)) == []
        artifacts.publish(folder, str(place))
        assert artifacts.list_checkpoints(str(bucket)) == [str(bucket / "refine-0001")]
