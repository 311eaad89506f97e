"""The messages of a driver survive the line that carries them, and no other line is one."""

import json
from dataclasses import asdict

import pytest

from sweeper.driver.messages import (
    Died,
    DriverJob,
    Ended,
    RayNotStarted,
    Refused,
    StartsRay,
    parse,
    to_json,
)
from sweeper.errors import CannotSchedule


@pytest.mark.parametrize(
    "message",
    [
        StartsRay(True),
        StartsRay(False),
        Ended(),
        Ended(signal=2, why="cancelled by ada"),
        Died("signal 9"),
        RayNotStarted("busy"),
        RayNotStarted("busy", {"nft/pdebench/advection_1d": {"title": "Advection"}}),
    ],
)
def test_a_message_is_what_was_written(message):
    assert parse(json.dumps(to_json(message))) == message


def test_an_error_keeps_its_type_and_text():
    message = parse(json.dumps(to_json(Refused(CannotSchedule("too large")))))
    assert isinstance(message, Refused)
    assert isinstance(message.error, CannotSchedule)
    assert str(message.error) == "too large"


def test_a_job_is_what_was_written():
    job = DriverJob(folder="f", storage=None, address="local", owner="me", requests_after=3)
    assert DriverJob(**json.loads(json.dumps(asdict(job)))) == job


@pytest.mark.parametrize("line", ["", "{", "3", "[]", "half a line"])
def test_another_line_is_no_message(line):
    with pytest.raises(ValueError, match=r"Expecting|no message"):
        parse(line)
