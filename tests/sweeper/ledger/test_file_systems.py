"""File systems that several machines share are told from those of one machine."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from sweeper.ledger.file_systems import is_on_network

MOUNTS = [
    ("/", "ext4"),
    ("/home", "nfs4"),
    ("/home/me/local", "xfs"),
    ("/scratch", "lustre"),
    ("/data", "fuse.sshfs"),
    ("/tmp", "tmpfs"),
    ("/projects", "autofs"),
    ("/projects", "nfs4"),  # over the automounter's
]


@pytest.mark.parametrize(
    ("path", "is_there"),
    [
        ("/home/me/sweeps/ledger.db", True),
        ("/home/me/local/ledger.db", False),
        ("/homely/ledger.db", False),
        ("/scratch/ledger.db", True),
        ("/data/x/ledger.db", True),
        ("/tmp/ledger.db", False),
        ("/projects/ledger.db", True),
        ("/ledger.db", False),
    ],
)
def test_the_nearest_mount_decides(path, is_there, monkeypatch):
    mounts = [SimpleNamespace(mountpoint=at, fstype=kind) for at, kind in MOUNTS]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert is_on_network(Path(path)) is is_there


def test_this_machines_own_disk_is_asked(tmp_path):
    assert is_on_network(tmp_path / "not yet" / "ledger.db") is False
