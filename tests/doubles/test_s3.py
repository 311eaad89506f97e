"""SeaweedFS keeps files as pyarrow asks it to, for those who have the key, through a restart."""

import pytest
from pyarrow.fs import FileSelector, FileSystem, FileType, S3FileSystem

from tests.support.servers.s3 import seaweedfs


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_a_url_and_the_environment_are_all_that_a_client_needs(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    files, root = FileSystem.from_uri(server.url("runs/one"))
    content = {f"{root}/{name}": name.encode() * 100_000 for name in ("a.bin", "deep/b.bin")}
    for path, data in content.items():
        with files.open_output_stream(path) as file:
            file.write(data)
    found = files.get_file_info(FileSelector(root, recursive=True))
    assert {f.path for f in found if f.type is FileType.File} == set(content)
    for path, data in content.items():
        with files.open_input_file(path) as file:
            assert file.read() == data
    files.move(f"{root}/a.bin", f"{root}/c.bin")
    files.delete_dir(f"{root}/deep")
    left = files.get_file_info(FileSelector(root, recursive=True))
    assert [f.path for f in left if f.type is FileType.File] == [f"{root}/c.bin"]


def test_a_wrong_secret_opens_nothing(server):
    stranger = S3FileSystem(
        access_key="sweeper-test",
        secret_key="guessed",
        endpoint_override=server.endpoint,
        scheme="http",
    )
    with pytest.raises(OSError, match="SIGNATURE_DOES_NOT_MATCH"):
        stranger.get_file_info(FileSelector(server.bucket))


def test_what_was_written_outlives_the_server(server):
    path = f"{server.bucket}/kept.txt"
    with server.filesystem().open_output_stream(path) as file:
        file.write(b"kept")
    server.kill()
    with pytest.raises(OSError):  # noqa: PT011
        server.filesystem().get_file_info(FileSelector(server.bucket))
    server.start()
    with server.filesystem().open_input_file(path) as file:
        assert file.read() == b"kept"
