"""What it means that a disk refuses: no room, not ours to write, or no folder at all."""

import errno
import os

from sweeper.errors import StorageFull

__all__ = ["NOT_TAKEN", "storage_fault"]

NOT_TAKEN = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ELOOP,
}


def storage_fault(error: OSError) -> StorageFull | None:
    """Returns what to tell of an error of the disk, or None where it is of something else."""
    if error.errno not in NOT_TAKEN:
        return None
    named = isinstance(error.filename, str | os.PathLike)
    place = f"{os.fspath(error.filename)}: " if named else ""
    return StorageFull(
        f"{place}{os.strerror(error.errno).lower()}. Free space, or work in a folder that can be "
        "written."
    )
