"""Faults of a trial, on demand: each by its name, at a step of a trial.

raise      an error that nobody foresaw          nan     the objective is not a number
refuse     a deliberate error of the science     hang    sleeps for ever
oom        CUDA is out of memory                 spin    computes for ever, with the GIL held
kill       SIGKILL of the trial's process        stop    SIGSTOP of the trial's process
memory     holds AMOUNT MiB
cgroup     SIGKILL, as the kernel's where a cgroup is full: the sweep's own `cgroup` counts it
"""

import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import NonFiniteLoss

MIB = 2**20
BALLAST: list[bytearray] = []  # what `memory` holds, until the process ends
FORM = re.compile(r"(?:(\d+)|\*)@(\d+):([a-z]+)(?:=(\d+))?(!?)")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of one trial (`number` None: of every trial of each study).

    It happens before the trial's `step` is trained (0: while the trial is set up): once, or with
    `always` whenever that is tried.
    """

    number: int | None
    step: int
    kind: str
    amount: int = 100
    always: bool = False

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read `NUMBER@STEP:KIND[=AMOUNT][!]`, such as `3@2:kill` or `*@1:raise!`.

        Raises:
            ValueError: The text has another form, or there is no such kind.
        """
        found = FORM.fullmatch(text)
        if found is None or (found[3] not in KINDS and found[3] != "nan"):
            raise ValueError(f"not a fault: {text!r}")
        number, step, kind, amount, always = found.groups()
        return cls(
            number=int(number) if number else None,
            step=int(step),
            kind=kind,
            amount=int(amount or 100),
            always=bool(always),
        )

    def is_due(self, study: str, number: int, step: int, marks: Path) -> bool:
        """Return whether it happens now; one that is to happen once leaves a mark in the folder."""
        if step != self.step or self.number not in (None, number):
            return False
        if not self.always:
            try:
                mark = f"{study}-{number}-{step}-{self.kind}.mark".replace("/", "-")
                (marks / mark).touch(exist_ok=False)
            except FileExistsError:
                return False
        return True


def happen(fault: Fault, folder: Path) -> None:
    """Cause the fault in this process; `folder` is the attempt's."""
    KINDS[fault.kind](fault.amount, folder)


def _raise(amount: int, folder: Path) -> None:
    raise RuntimeError("boom")


def _refuse(amount: int, folder: Path) -> None:
    raise NonFiniteLoss("refine/train_loss is nan; lower refine.lr")


def _oom(amount: int, folder: Path) -> None:
    raise RuntimeError(f"CUDA out of memory. Tried to allocate {amount} MiB.")


def _hang(amount: int, folder: Path) -> None:
    while True:
        time.sleep(1000)


def _spin(amount: int, folder: Path) -> None:
    sum(itertools.repeat(0))  # in C: no other thread of this process ever runs again


def _kill(amount: int, folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _cgroup(amount: int, folder: Path) -> None:
    counters = next(p / "cgroup" for p in folder.parents if (p / "cgroup").is_dir())
    (counters / "memory.events").write_text("oom 1\noom_kill 1\n")
    _kill(amount, folder)


def _stop(amount: int, folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _memory(amount: int, folder: Path) -> None:
    for _ in range(0, amount, 50):
        BALLAST.append(bytearray(os.urandom(MIB)) * 50)
        time.sleep(0.02)


KINDS: dict[str, Callable[[int, Path], None]] = {
    "raise": _raise,
    "refuse": _refuse,
    "oom": _oom,
    "hang": _hang,
    "spin": _spin,
    "kill": _kill,
    "cgroup": _cgroup,
    "stop": _stop,
    "memory": _memory,
}
