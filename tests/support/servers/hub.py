"""A Hugging Face Hub on this machine: repositories from folders, each with its commits."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

API, RESOLVE = "/api/models/", "/resolve/"


@dataclass
class Hub:
    """The repositories of a hub, and what was asked of it."""

    revisions: Mapping[str, Mapping[str, Path]]  # repository -> commit, tag or branch -> folder
    address: str = ""
    fetched: list[str] = field(default_factory=list)  # REPOSITORY/FILE of each GET of a file

    def find(self, repository: str, revision: str) -> Path | None:
        """Return the folder of a revision; a commit may be given by `commit_of`, too."""
        known = self.revisions.get(repository, {})
        commits = {commit_of(folder): folder for folder in known.values()}
        return {**commits, **known}.get(revision)


def commit_of(folder: Path) -> str:
    """Return the made-up commit of a folder."""
    return sha256(str(folder).encode()).hexdigest()[:40]


@contextmanager
def serving(revisions: Mapping[str, Mapping[str, Path]]) -> Iterator[Hub]:
    """Serve repositories on a free port."""
    hub = Hub(revisions)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def use_hub(
    monkeypatch: pytest.MonkeyPatch, cache: Path, address: str = "", *, offline: bool = False
) -> None:
    """Make the hub's client use an address and an own cache, as its environment variables do."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    if address:
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    huggingface_hub.close_session()  # it keeps a connection with former settings


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def _answer(self, *, send_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(API):
            repository, _, revision = path.removeprefix(API).partition("/revision/")
            folder = self.hub.find(repository, revision or "main")
            if folder is not None:
                files = [{"rfilename": each.name} for each in sorted(folder.iterdir())]
                found = {"id": repository, "sha": commit_of(folder), "siblings": files}
                return self._send(json.dumps(found).encode(), folder, send_body=send_body)
        elif RESOLVE in path:
            repository, _, rest = path.removeprefix("/").partition(RESOLVE)
            revision, _, name = rest.partition("/")
            folder = self.hub.find(repository, revision)
            if folder is not None and (folder / name).is_file():
                if send_body:
                    self.hub.fetched.append(f"{repository}/{name}")
                return self._send((folder / name).read_bytes(), folder, send_body=send_body)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _send(self, body: bytes, folder: Path, *, send_body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit_of(folder))
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
