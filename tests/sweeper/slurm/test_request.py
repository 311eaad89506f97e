"""The options of a job: what they mean, and which cannot be used."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import FileFaults
from sweeper.slurm.request import MAX_TMP_LENGTH, SOCKET_BYTES, JobRequest, as_time, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 28_800),
        ("1d12h", 129_600),
        ("90m", 5400),
        ("30", 1800),
        ("30:15", 1815),
        ("8:00:00", 28_800),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        ("eight hours", None),
        ("8 h", None),
        ("1:2:3:4", None),
        ("-5", None),
        ("infinite", None),
        ("", None),
    ],
)
def test_a_time_limit_is_written_as_in_a_sweep_file_or_as_in_slurm(text, seconds):
    assert seconds_of(text) == seconds


@given(st.integers(1, 9_000 * 86_400))
def test_what_is_written_for_slurm_is_read_back(seconds):
    assert seconds_of(as_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gpus": "many"}, "--gpus-per-node 'many': write a number, or TYPE:NUMBER as in a100:4."),
        ({"mem": "64 gigs"}, "--mem '64 gigs': write a size of each node as sbatch has it: 64G,"),
        ({"time": "soon"}, "--time 'soon': write 8h, 1d12h or 90m, or as sbatch does: 8:00:00,"),
        ({"time": "3", "grace_s": 120}, "--time '3': the job begins to end 120 s before (--grace)"),
        ({"partition": "gpu\n#SBATCH --exclusive"}, "--partition 'gpu"),
        ({"account": ""}, "--account an empty text: has to be one line of text."),
        ({"extra": ("qos=long",)}, "--sbatch 'qos=long': write one option of sbatch, such as"),
        ({"extra": ("--time=3",)}, "--sbatch '--time=3': use --time instead."),
        ({"extra": ("--array=1-4",)}, "--sbatch '--array=1-4': the job needs its own."),
        ({"extra": ("-a1-4",)}, "--sbatch '-a1-4': the job needs its own."),
        ({"extra": ("--arra=1-4",)}, "--sbatch '--arra=1-4': the job needs its own."),
        ({"extra": ("-G2",)}, "--sbatch '-G2': use --gpus-per-node instead."),
        ({"extra": ("--wait",)}, "--sbatch '--wait': use `sweeper logs -f` instead."),
        ({"extra": ("--wrap=ls",)}, "--sbatch '--wrap=ls': the job needs its own."),
        ({"extra": ("-t 1",)}, "--sbatch '-t 1': use --time instead."),
        ({"extra": ("--mem-per-cpu=1G",)}, "--sbatch '--mem-per-cpu=1G': use --mem instead."),
        ({"tmp": Path("tmp")}, "--tmp 'tmp': has to be an absolute path of at most"),
        ({"tmp": Path("/" + "x" * MAX_TMP_LENGTH)}, "--tmp '/xxx"),
    ],
)
def test_an_unusable_option_is_told(options: dict[str, Any], told):
    with pytest.raises(FileFaults) as caught:
        JobRequest(**options)
    assert str(caught.value).startswith(told)


def test_all_unusable_options_are_told_at_once():
    with pytest.raises(FileFaults) as caught:
        JobRequest(account="", gpus="x", time="soon", mem="much")
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    ("options", "gpus", "memory"),
    [
        ({}, 0, None),
        ({"gpus": "4", "mem": "64G"}, 4, 64 * 2**30),
        ({"gpus": "a100:2", "mem": "500"}, 2, 500 * 2**20),
        ({"gpus": "1g.10gb:7", "mem": "0"}, 7, None),
    ],
)
def test_what_a_node_has(options: dict[str, Any], gpus, memory):
    request = JobRequest(**options)
    assert (request.num_gpus, request.memory_bytes) == (gpus, memory)


def test_the_longest_folder_leaves_room_for_the_sockets_of_ray():
    session = "session_2026-11-27_13-33-30_123456_4194304"  # the largest number of a process
    longest = Path("/" + "x" * (MAX_TMP_LENGTH - 1)) / "sw.XXXXXX" / "3" / session / "sockets"
    assert len(bytes(longest / "plasma_store.1")) == SOCKET_BYTES
    JobRequest(tmp=Path("/" + "x" * (MAX_TMP_LENGTH - 1)))
