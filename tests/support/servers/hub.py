"""A Hugging Face Hub on this machine: repositories from folders, each with its commits."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.support.servers.http_server import Answer, answering

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
    with answering(lambda request, _: _answer(hub, request)) as hub.address:
        yield hub


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


def _answer(hub: Hub, request: BaseHTTPRequestHandler) -> Answer:
    path = request.path.partition("?")[0]
    if path.startswith(API):
        repository, _, revision = path.removeprefix(API).partition("/revision/")
        folder = hub.find(repository, revision or "main")
        if folder is not None:
            files = [{"rfilename": each.name} for each in sorted(folder.iterdir())]
            found = {"id": repository, "sha": commit_of(folder), "siblings": files}
            return _sent(json.dumps(found).encode(), folder)
    elif RESOLVE in path:
        repository, _, rest = path.removeprefix("/").partition(RESOLVE)
        revision, _, name = rest.partition("/")
        folder = hub.find(repository, revision)
        if folder is not None and (folder / name).is_file():
            if request.command == "GET":
                hub.fetched.append(f"{repository}/{name}")
            return _sent((folder / name).read_bytes(), folder)
    return 404, {"X-Error-Code": "RepoNotFound"}, b""


def _sent(body: bytes, folder: Path) -> Answer:
    tag = f'"{sha256(body).hexdigest()}"'
    headers = {"Content-Type": "application/json", "ETag": tag, "X-Repo-Commit": commit_of(folder)}
    return 200, headers, body
