"""Writes the files that a user names on a command line."""

from pathlib import Path

from sweeper.errors import StorageFull, UsageError


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file, over one that is there, and return its absolute path.

    Raises:
        UsageError: There is no folder to hold it, or it is a folder.
        StorageFull: It cannot be written.
    """
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {path}: {path.parent} is no folder.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name a file in it.") from error
    except OSError as error:
        raise StorageFull(f"cannot write {path}: {error.strerror}.") from error
    return path.absolute()
