"""Files that are put into a local folder of artifacts without a copy, where links are possible."""

import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit


def place(folder: Path, destination: Path) -> None:
    """Link the files of `folder` into `destination`; copy them across file systems."""
    for source in sorted(p for p in folder.rglob("*") if p.is_file()):
        target = destination / source.relative_to(folder)
        # A batch may be shipped twice, and the link is there already.
        if target.exists() and target.samefile(source):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        # os.link takes no target that exists, and a copy must not be seen half done.
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        try:
            os.link(source, aside)
        except OSError:  # another file system, or no support for links
            shutil.copy2(source, aside)
        aside.replace(target)


def local_folder(location: str) -> Path | None:
    """Return the folder that a place of artifacts names, a path or a URI; None if it is remote."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(location)
