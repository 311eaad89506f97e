"""The kinds of file systems: whether several machines may share a file."""

from pathlib import Path

import psutil

NETWORK = {  # types, as the kernel names them; those of FUSE without their prefix
    "9p", "afs", "beegfs", "ceph", "cephfs", "cifs", "glusterfs", "gpfs", "juicefs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "sshfs", "wekafs",
}  # fmt: skip


def is_on_network(path: Path) -> bool:
    """Return whether a path is on a file system that other machines can mount."""
    place = path.resolve()
    # Without `all`, psutil lists physical devices alone.
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if place.is_relative_to(mount.mountpoint)
    ]
    # Of several mounts at one place, such as an automounter's and NFS, the last one is seen.
    nearest = max(reversed(mounts), key=lambda mount: len(mount.mountpoint), default=None)
    return nearest is not None and nearest.fstype.removeprefix("fuse.") in NETWORK
