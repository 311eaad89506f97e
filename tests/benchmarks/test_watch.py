"""The cost of `sweeper watch` at a thousand trials, while two more run and somebody looks.

The test is the driver: it writes two epochs a second, as two cores do whose epochs take a second
each, and reads the page as a browser does. Counted are the core-seconds of the command from one
drawing of the whole page to the end of the next.
"""

import http.client
import json
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from sweeper.ledger import Ledger
from tests.soak import imported
from tests.support.command import Shell
from tests.support.figures import show
from tests.support.trials import begin, measured, sampled

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
TRIALS = 1000
EPOCHS_EACH = 20  # of a trial that the test runs
EPOCH_S = 0.5  # between two epochs, of any trial
LONGEST_S = 1200


def drive(ledger: Ledger, ended: Event) -> None:
    """Run trials, two at once, until the event is set."""
    number = TRIALS
    while not ended.is_set():
        pair = [sampled(imported.STUDY, number + n) for n in range(2)]
        attempts = [begin(ledger, trial) for trial in pair]
        for epoch in range(1, EPOCHS_EACH + 1):
            for trial, attempt in zip(pair, attempts, strict=True):
                found = measured(epoch, 1 / epoch, num_epochs=EPOCHS_EACH)
                ledger.measure(trial.study, trial.number, attempt, found)
                if ended.wait(EPOCH_S):
                    return
        number += 2


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def test_it_costs_less_than_three_percent_of_a_core(tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / imported.NAME
    imported.write(folder, TRIALS)
    shell, ended = Shell(tmp_path, {"SWEEPER_HOME": str(tmp_path / "home")}), Event()
    with closing(Ledger.in_folder(folder)) as ledger, ledger.hold():
        ledger.start({}, slots=2)
        driver = Thread(target=drive, args=(ledger, ended))
        driver.start()
        with shell.start("watch", imported.NAME) as command:
            try:
                assert command.stdout is not None
                port = int(command.stdout.readline().split("127.0.0.1:")[1].split()[0])
                token = (tmp_path / "home" / "ray_token").read_text()
                seconds, cores, heard = look(port, token, psutil.Process(command.pid))
            finally:
                ended.set()
                driver.join()
                command.kill()
    share = cores / seconds
    show(f"`watch` of {TRIALS:,} trials, {heard / seconds:.1f} updates a second",
         "< 3 % of a core", f"{share:.1%}: {cores:.1f} core-s in {seconds:.0f} s")  # fmt: skip
    assert share < 0.03


def look(port: int, token: str, process: psutil.Process) -> tuple[float, float, int]:
    """Read updates until two new versions of the page were drawn.

    Returns:
        The seconds and the core-seconds from the first to the second, and the updates in them.
    """
    headers = {"Authorization": f"Basic {b64encode(f'me:{token}'.encode()).decode()}"}

    def connect(path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    connect("/").read()
    marks: list[tuple[float, float]] = []
    version = heard = 0
    deadline = time.monotonic() + LONGEST_S
    with connect("/events") as updates:
        while len(marks) < 2 and time.monotonic() < deadline:
            line = updates.readline()
            if not line.startswith(b"data: "):
                continue
            heard += 1
            update = json.loads(line.removeprefix(b"data: "))
            if not marks or update["version"] > version:
                version = update["version"]
                connect("/").read()
                marks.append((time.monotonic(), spent(process)))
                heard = 0 if len(marks) == 1 else heard
    (began, before), (end, after) = marks
    return end - began, after - before, heard
