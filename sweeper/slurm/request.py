"""The request for a job of SLURM: the options of `sweeper slurm`, checked one by one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sweeper.errors import Fault, FileFaults
from sweeper.slurm.options import JobOptions
from sweeper.spec.faults import shown
from sweeper.spec.schema import seconds

KIB = 1024
UNITS = {"K": KIB, "M": KIB**2, "G": KIB**3, "T": KIB**4}
GPUS = re.compile(r"(?:[A-Za-z0-9_.-]+:)?(?P<count>\d{1,4})")
MEM = re.compile(r"(?P<number>\d{1,9})(?P<unit>[KMGT]?)B?", re.IGNORECASE)
TIME = re.compile(r"(?:(?P<days>\d{1,4})-)?(?P<rest>\d{1,6}(?::\d{1,6}){0,2})")
EARLY_S = 60  # SLURM may send the signal before the time limit earlier by this much
SOCKET_BYTES = 107  # of the path of a socket, at most
# Below the folder of node-local files: that of the job, Ray's session, and its longest socket.
BELOW = "/sw.XXXXXX/r/session_2026-11-27_13-33-30_123456_1234567/sockets/plasma_store.1"
MAX_TMP_LENGTH = SOCKET_BYTES - len(BELOW)
OWN = {  # options that the script needs as they are -> the option of `sweeper slurm` instead
    "array": None,
    "signal": "--grace",
    "requeue": "--chain",
    "no-requeue": "--chain",
    "dependency": "--chain",
    "ntasks": "--nodes",
    "ntasks-per-node": "--nodes",
    "nodes": "--nodes",
    "time": "--time",
    "mem": "--mem",
    "mem-per-cpu": "--mem",
    "gpus-per-node": "--gpus-per-node",
    "cpus-per-task": "--cpus-per-node",
    "partition": "--partition",
    "account": "--account",
    "output": "--output",
    "open-mode": None,
    "gpus": "--gpus-per-node",
    "wait": "`sweeper logs -f`",
    "wrap": None,
}
LETTERS = {
    "A": "account", "G": "gpus", "N": "nodes", "W": "wait", "a": "array", "c": "cpus-per-task",
    "d": "dependency", "n": "ntasks", "o": "output", "p": "partition", "t": "time",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JobRequest(JobOptions):
    """A request for a job, as its user wrote it, of which every option can be used.

    Raises:
        FileFaults: Some options cannot be used. The error has all of them.
    """

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise FileFaults(Fault(where, None, message) for where, message in faults)

    @property
    def num_gpus(self) -> int:
        """The GPUs of each node."""
        matched = GPUS.fullmatch(self.gpus)
        return int(matched["count"]) if matched else 0

    @property
    def memory_bytes(self) -> int | None:
        """The main memory of each node; None if the request does not say."""
        matched = MEM.fullmatch(self.mem or "0")
        # Without a unit sbatch means MiB, and by 0 all of a node, whose size is not known here.
        size = int(matched["number"]) * UNITS[matched["unit"].upper() or "M"] if matched else 0
        return size or None

    @property
    def time_s(self) -> int | None:
        """The time limit in seconds; None if the request does not say."""
        return None if self.time is None else seconds_of(self.time)

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Yield the unusable options, each with what is wrong and a way out."""
        if not GPUS.fullmatch(self.gpus):
            text = "write a number, or TYPE:NUMBER as in a100:4."
            yield f"--gpus-per-node {shown(self.gpus)}", text
        if self.mem is not None and not MEM.fullmatch(self.mem):
            text = "write a size of each node as sbatch has it: 64G, 500M, or 0 for all."
            yield f"--mem {shown(self.mem)}", text
        yield from self._faults_of_time()
        for option, value in (
            ("--partition", self.partition),
            ("--account", self.account),
            ("--output", self.output),
        ):
            if value is not None and not (value and value.isprintable()):
                yield f"{option} {shown(value)}", "has to be one line of text."
        for option in self.extra:
            if message := _fault_of_extra(option):
                yield f"--sbatch {shown(option)}", message
        if not self.tmp.is_absolute() or len(bytes(self.tmp)) > MAX_TMP_LENGTH:
            text = (
                f"has to be an absolute path of at most {MAX_TMP_LENGTH} bytes: paths of Ray's "
                f"sockets begin with it, and may have {SOCKET_BYTES}."
            )
            yield f"--tmp {shown(str(self.tmp))}", text

    def _faults_of_time(self) -> Iterator[tuple[str, str]]:
        if self.time is None:
            return
        where, limit = f"--time {shown(self.time)}", seconds_of(self.time)
        if limit is None:
            text = "write 8h, 1d12h or 90m, or as sbatch does: 8:00:00, 1-12:00:00, or minutes."
            yield where, text
        elif limit <= self.grace_s + EARLY_S:
            text = (
                f"the job begins to end {self.grace_s} s before (--grace), which SLURM may signal "
                f"{EARLY_S} s early: give it more than {self.grace_s + EARLY_S} s."
            )
            yield where, text


def seconds_of(text: str) -> int | None:
    """Return the seconds of a time limit; None if the text is none.

    The forms are those of sweep files, such as `1d12h`, and those of SLURM: `MINUTES`,
    `MINUTES:SECONDS`, `HOURS:MINUTES:SECONDS`, and `DAYS-HOURS[:MINUTES[:SECONDS]]`.
    """
    matched = TIME.fullmatch(text)
    if matched is None:
        try:
            return int(seconds(text))
        except ValueError:
            return None
    parts = [int(part) for part in matched["rest"].split(":")]
    if matched["days"] is not None:
        hours, minutes, rest = (*parts, 0, 0)[:3]
        return int(matched["days"]) * 86_400 + hours * 3600 + minutes * 60 + rest
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def as_time(seconds: int) -> str:
    """Return a time limit as SLURM writes it: `DAYS-HH:MM:SS`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24}-{hours % 24:02d}:{minutes:02d}:{rest:02d}"


def _fault_of_extra(option: str) -> str | None:
    """Return why an option cannot be passed on to sbatch, or None."""
    if not (option.startswith("-") and option.isprintable()):
        return "write one option of sbatch, such as --sbatch=--qos=long."
    given = re.split("[= ]", option, maxsplit=1)[0]
    # sbatch takes letters, with their values behind them, and starts of long names.
    name = given.removeprefix("--")
    if not given.startswith("--"):
        name = LETTERS.get(given[1:2], "")
    known = [own for own in OWN if name and own.startswith(name)]
    if not known:
        return None
    instead = OWN[known[0]]
    return f"use {instead} instead." if instead else "the job needs its own."
