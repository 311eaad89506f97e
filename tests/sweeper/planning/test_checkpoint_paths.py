"""Where checkpoints go, and what is said of a store that is not there when a sweep starts."""

import pytest

from sweeper.errors import BackendUnreachable
from sweeper.planning import checkpoint_paths
from sweeper.planning.checkpoint_paths import CheckpointPaths
from tests.support.servers.ports import free_port
from tests.support.servers.s3 import place_on


def test_a_sweep_writes_into_its_folder_and_into_a_store_that_is_a_folder(tmp_path):
    assert CheckpointPaths(tmp_path / "s").folders() == (tmp_path / "s",)
    for url in (str(tmp_path / "store"), f"file://{tmp_path / 'store'}"):
        assert CheckpointPaths(tmp_path / "s", url).folders() == (
            tmp_path / "s",
            tmp_path / "store",
        )
    assert CheckpointPaths(tmp_path / "s", "s3://bucket/x").folders() == (tmp_path / "s",)


@pytest.mark.slow
def test_a_bucket_that_does_not_answer_when_a_sweep_starts_is_told_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_paths, "PATIENCE_S", 1.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    server = f"endpoint_override=127.0.0.1:{free_port()}&scheme=http&region=any"
    with pytest.raises(BackendUnreachable, match=r"^checkpoints.store: s3://bucket/x.* not answer"):
        CheckpointPaths(tmp_path / "s", f"s3://bucket/x?{server}").storage()


def test_a_bucket_that_the_store_lacks_is_told_when_a_sweep_starts(
    bucket_server, tmp_path, monkeypatch
):
    there = str(place_on(bucket_server, "x", monkeypatch))
    missing = there.replace("//sweeps/", "//missing/")
    with pytest.raises(BackendUnreachable, match="no bucket `missing`: create it"):
        CheckpointPaths(tmp_path / "s", missing).storage()
    assert CheckpointPaths(tmp_path / "s", there).storage()[1] == "sweeps/x/s"
