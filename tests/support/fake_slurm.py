"""Commands with the names of SLURM's, which answer from files and write down their calls.

A test of what `sweeper slurm` says, or of how its script goes on, needs no cluster for it. What
SLURM really does is tested on a real one (`servers/slurm.py`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NODES = (
    "debug*|1:00:00|16|64000|(null)|2",
    "gpu|1-00:00:00|64|500000|gpu:a100:4(S:0-1),nvme:1|3",
    "gpu|1-00:00:00|128|1000000|gpu:h100:8(S:0,1)|1",
    "slices|infinite|32|128000|gpu:1g.10gb:7,gpu:2g.20gb:2|1",
)


@dataclass(frozen=True)
class FakeSlurm:
    """A folder of commands for PATH."""

    folder: Path

    @property
    def path(self) -> str:
        """The value of PATH that has these commands first."""
        return os.pathsep.join((str(self.folder), os.environ["PATH"]))

    def write(self, name: str, body: str) -> None:
        """Write a command; each call of it adds a line to `calls`."""
        file = self.folder / name
        line = f"printf '%s ' {name} \"$@\" | tr '\\n' ' '"
        log = f'echo "$({line})" >>"{self.folder / "calls"}"\n'
        file.write_text(f"#!/bin/sh\n{log}{body}\n")
        file.chmod(0o700)

    def calls(self, name: str) -> list[str]:
        """Return the arguments of each call of a command."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.removeprefix(f"{name} ").rstrip() for line in lines if line.split()[0] == name]


def fake_slurm(
    folder: Path, nodes: Sequence[str] = NODES, commands: Mapping[str, str] | None = None
) -> FakeSlurm:
    """Return commands of a cluster whose sinfo prints `nodes`; its sbatch takes every job.

    Args:
        commands: Bodies of other commands, or of these in another form.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fake = FakeSlurm(folder)
    (folder / "nodes").write_text("".join(f"{line}\n" for line in nodes))
    own = {"sinfo": f'cat "{folder / "nodes"}"', "sbatch": "echo 4711"}
    for name, body in (own | dict(commands or {})).items():
        fake.write(name, body)
    return fake
