"""`sweeper watch`: a page that follows a sweep in a browser, and only this user can open.

Nothing is trained: the driver of the sweep is the test, which holds its lease.
"""

import http.client
import json
import signal
import socket
import stat
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from sweeper.commands.watch import LivePage
from sweeper.ledger import Ledger
from sweeper.model import Outcome, TrialState
from sweeper.planning.sweep_folder import remember
from tests.support.browser import browser, needs_chromium
from tests.support.command import Result, Shell
from tests.support.ledgers import EPOCHS, NAME, RESOLVED, TASK, content_of, new_ledger, script
from tests.support.servers.postgres import postgres
from tests.support.servers.process import wait_until
from tests.support.trials import begin, measured, record, sampled

STUDY = f"nft/{TASK}"


@dataclass(frozen=True)
class Watched:
    """The running command, and where its page is."""

    process: subprocess.Popen[str]
    port: int
    token: str

    def ask(self, path: str = "/", *, token: str | None = None, **headers: str) -> tuple[int, str]:
        """Return status and body of an answer, of updates the first line."""
        given = b64encode(f"me:{self.token if token is None else token}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            headers = {"Authorization": f"Basic {given}", **headers}
            connection.request("GET", path, headers={k: v for k, v in headers.items() if v})
            answer = connection.getresponse()
            is_endless = "event-stream" in (answer.getheader("Content-Type") or "")
            return answer.status, (answer.readline() if is_endless else answer.read()).decode()

    def part(self) -> str:
        """Return the changing part of the page, by the first update that is sent."""
        return json.loads(self.ask("/events")[1].removeprefix("data: "))["part"]


@contextmanager
def watching(folder: Path) -> Iterator[Watched]:
    """Watch the sweep in a folder until the end of a block; then Ctrl-C ends the command."""
    shell = Shell(folder, {"SWEEPER_HOME": str(folder / "home")})
    with shell.start("watch", NAME, "--json") as process:
        assert process.stdout is not None
        said = Result(process.stdout.readline(), "").json
        file = folder / "home" / "ray_token"
        assert f"(asks for the token in {file}, as password)" in said["message"]
        assert said["token_file"] == str(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        port = int(said["address"].removeprefix("http://127.0.0.1:"))
        try:
            yield Watched(process, port, file.read_text())
        finally:  # or a failed test would wait for it
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    folder = tmp_path / "sweeps" / NAME
    folder.mkdir(parents=True)
    with closing(new_ledger(folder)) as ledger, ledger.hold():
        yield ledger


@pytest.mark.slow
def test_the_page_is_drawn_again_only_if_its_share_of_a_core_allows(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("sweeper.commands.watch.POLL_S", 0.0)
    writes, page = script(ledger, tmp_path), LivePage(ledger)
    for _, _ in zip(range(9), writes, strict=False):
        page.look()
    first = page.page()
    assert 'data-version="1"' in first
    next(writes)
    update = json.loads(page.look())
    assert update["version"] == 1, "the next one would come at once"
    assert "refine " in update["part"]
    assert page.page() == first
    list(writes)
    assert json.loads(page.look())["version"] == 2, "the last one waits for nothing"
    assert "All 5 trials" not in first
    assert "All 5 trials" in page.page()


@pytest.mark.slow
@needs_chromium
def test_a_browser_shows_each_epoch_within_two_seconds_and_changes_nothing(ledger, tmp_path):
    writes = script(ledger, tmp_path)
    for _ in writes:  # until the first trial of the second study has begun
        if len(ledger.trials(STUDY)) == 1:
            break
    with watching(tmp_path) as watched, browser() as chromium:
        chromium.open(f"http://me:{watched.token}@127.0.0.1:{watched.port}/")
        chromium.open(f"http://127.0.0.1:{watched.port}/")
        chromium.wait_for("running: 5 of 10 trials ended")
        chromium.click("main > details > summary")
        for epoch in range(1, 4):
            while not ledger.measurements(STUDY, 0)[epoch - 1 : epoch]:
                next(writes)
            chromium.wait_for(f"{STUDY}/0\tpreset\trefine {epoch}/{EPOCHS}", timeout_s=2)
        list(writes)
        chromium.wait_for("finished: 10 of 10 trials ended", timeout_s=2)
        chromium.wait_for("the loss is <nan> at refine epoch 4", timeout_s=2)
        chromium.wait_for("10 trials and", timeout_s=30)  # the whole page has come, too
        assert chromium.run("return document.querySelector('main > details').open")
        assert chromium.errors() == []
        written = content_of(ledger), ledger.count_events(), ledger.mirror("")
        chromium.open("about:blank")
        assert watched.process.poll() is None
    assert written == (content_of(ledger), ledger.count_events(), ledger.mirror(""))


@pytest.mark.slow
def test_it_is_for_this_user_on_this_machine_and_no_path_leads_to_a_file(ledger, tmp_path):
    for _, _ in zip(range(5), script(ledger, tmp_path), strict=False):
        pass
    with watching(tmp_path) as watched:
        assert watched.ask()[0] == 200
        for token in ("", "wrong", watched.token[:-1], watched.token + "0"):
            status, body = watched.ask(token=token)
            assert (status, NAME in body) == (401, False)
        assert watched.ask(Authorization="")[0] == 401
        assert watched.ask(Authorization="Basic é")[0] == 401
        for host in ("evil.example.org", "127.0.0.1.example.org", f"10.0.0.1:{watched.port}", "x"):
            assert watched.ask(Host=host)[0] == 403
        assert watched.ask(Host=f"localhost:{watched.port}")[0] == 200
        for path in ("/../ledger.db", "/ledger.db", "//etc/passwd", "/%2e%2e/x", "/?a=/etc/passwd"):
            assert watched.ask(path) == (404, "There is no such page.")
        assert "<p>running: " in watched.part()
        heard = psutil.Process(watched.process.pid).net_connections("inet")
        listening = {c.laddr.ip for c in heard if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}


@pytest.mark.slow
def test_a_ledger_in_postgresql_is_watched_as_well(tmp_path):
    with postgres() as server, closing(Ledger(server.url, NAME)) as ledger, ledger.hold():
        remember(tmp_path / "sweeps" / NAME, server.url)
        ledger.create(record(NAME, resolved=RESOLVED))
        ledger.start({}, slots=2)
        attempt = begin(ledger, sampled(STUDY, 0))
        with watching(tmp_path) as watched:
            assert watched.ask()[0] == 200
            ledger.measure(STUDY, 0, attempt, measured(3, 0.5), Outcome(state=TrialState.PAUSED))
            # An update is as old as the last look at the ledger, up to half a second.
            wait_until(lambda: "1 paused" in watched.part(), timeout_s=30, what="the pause")
            assert "refine 3/8" in watched.part()


def test_a_port_that_is_taken_and_a_sweep_that_is_elsewhere_are_refused(
    ledger, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    ledger.start({})
    assert "unknown sweep `other`" in command("watch", "other", code=8).err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = command("watch", NAME, "--port", str(port), code=2).err
        assert f"--port {port}: cannot listen there" in told
    note = {"name": "far", "address": "http://head:8265", "workdir": "/shared", "job": "j"}
    (tmp_path / "sweeps" / "far").mkdir()
    (tmp_path / "sweeps" / "far" / "remote.json").write_text(json.dumps(note))
    told = command("watch", "far", code=2).err
    assert "Watch it there: `sweeper watch far` in /shared, and `ssh -L` from here." in told
