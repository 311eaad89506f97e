"""Whether a file is the one that was published, where its publisher states a sum."""

import hashlib
from pathlib import Path

__all__ = ["md5_note"]


def md5_note(path: Path, published: str) -> tuple[str, list[str]]:
    """Returns a file's MD5 sum, and a note where it is not the published one."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    if md5 == published:
        return md5, []
    note = (
        f"{path.name}: its MD5 sum is {md5}, but the file published today has {published}. It is "
        "another edition, a part or a copy: numbers may not compare with published ones."
    )
    return md5, [note]
