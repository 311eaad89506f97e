"""What is printed lands in the attempt's log at once, and where it went before."""

import faulthandler
import logging
import os
import re
import subprocess
import sys

import pytest

from tests.support.command import ROOT
from trainables.runtime.attempt_log import LOG, append, capturing


def test_both_streams_are_copied_while_it_lasts(tmp_path, capsys):
    print("before")
    with capturing(tmp_path):
        print("out", "ü")
        assert (tmp_path / LOG).read_text() == "out ü\n"  # at once
        print("err", file=sys.stderr)
    print("after")
    with capturing(tmp_path):
        print("again")
    assert (tmp_path / LOG).read_text() == "out ü\nerr\nagain\n"
    assert capsys.readouterr() == ("before\nout ü\nafter\nagain\n", "err\n")


def test_a_handler_made_in_one_attempt_writes_to_the_log_of_the_next(tmp_path):
    logger = logging.getLogger("tests.attempt_log")
    with capturing(tmp_path / "first"):
        handler = logging.StreamHandler()
        logger.addHandler(handler)
        logger.warning("one")
    logger.warning("between")
    with capturing(tmp_path / "second"):
        logger.warning("two")
    logger.removeHandler(handler)
    texts = [(tmp_path / name / LOG).read_text() for name in ("first", "second")]
    assert texts == ["one\n", "two\n"]


def test_an_error_goes_through_and_the_streams_come_back(tmp_path):
    streams = sys.stdout, sys.stderr
    with pytest.raises(OSError, match="mine"), capturing(tmp_path):
        raise OSError("mine")
    assert (sys.stdout, sys.stderr) == streams
    assert faulthandler.is_enabled()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    (tmp_path / "a file").touch()
    with capturing(tmp_path / "a file"):
        print("said")
    append(tmp_path / "a file", "not said")
    full = tmp_path / "full"
    full.mkdir()
    (full / LOG).symlink_to("/dev/full")
    with capturing(full):
        print("and this")
    append(full, "nor this")
    assert capsys.readouterr().out == "said\nand this\n"


def test_the_stack_of_a_fault_is_in_the_log(tmp_path):
    program = f"""
from ctypes import string_at
from pathlib import Path
from trainables.runtime.attempt_log import capturing
with capturing(Path({str(tmp_path)!r})):
    print("the last line")
    string_at(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert done.returncode < 0
    text = (tmp_path / LOG).read_text()
    assert re.match(r"the last line\nFatal Python error: Segmentation fault", text)
    assert "in string_at" in text
