"""URLs of artifact stores: a shared folder or a bucket.

    /FOLDER or file:///FOLDER
    s3://BUCKET/PREFIX?endpoint_override=HOST:PORT&scheme=http&region=REGION
    gs://BUCKET/PREFIX

Other schemes, paths that leave the folder, and credentials are refused. Credentials come from the
environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; GOOGLE_APPLICATION_CREDENTIALS).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from trainables.errors import ConfigError

HOST = r"[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]"
SERVER = {"endpoint_override": rf"({HOST})(:\d{{1,5}})?", "scheme": "https?"}
OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    # By scheme: name of an option and pattern of its value.
    {"file": {}, "s3": {**SERVER, "region": "[a-z0-9-]+"}, "gs": SERVER}
)
PLAIN = "/:@!$&'()*+,;=~"  # signs in the path of a URL that stand for themselves
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._=+,~-]+")


@dataclass(frozen=True)
class ArtifactUrl:
    """A parsed URL or path. `str` returns it in its usual form."""

    scheme: str  # "" for a plain path
    path: str  # an absolute path, or "bucket/prefix"
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ArtifactUrl":
        """Parse a URL or a plain path. A relative path starts at the working folder.

        Raises:
            ConfigError: The text has none of the forms above.
        """
        if "://" not in text:
            return cls("", _folder(text, text))
        # Every part is checked against a list of allowed forms. Messages never show credentials.
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ConfigError(f"{_shown(text)}: {error}.") from None
        if not text.isprintable() or parts.fragment:
            raise ConfigError(f"{_shown(text)!r}: holds a sign that cannot be seen, or a `#`.")
        if parts.scheme not in OPTIONS:
            raise ConfigError(
                f"{_shown(text)}: checkpoints are kept in {', '.join(OPTIONS)} or a plain path, "
                f"but the scheme is `{parts.scheme}`."
            )
        # The path of a folder may have this sign. In the URL of a bucket it ends credentials.
        if "@" in f"{parts.netloc}{'' if parts.scheme == 'file' else parts.path}":
            raise ConfigError(
                f"{_shown(text)}: holds credentials. Leave them out, and give them in the "
                "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say)."
            )
        options = _options(text, parts.scheme, parts.query)
        if parts.scheme != "file":
            return cls(parts.scheme, _in_bucket(parts, text), options)
        if parts.netloc:
            raise ConfigError(f"{_shown(text)}: write file:///FOLDER, with three slashes.")
        return cls("file", _folder(unquote(parts.path), text), options)

    def __str__(self) -> str:
        if not self.scheme:
            return self.path
        query = f"?{urlencode(self.options, safe=':[]')}" if self.options else ""
        path = quote(self.path, safe=PLAIN) if self.scheme == "file" else self.path
        return f"{self.scheme}://{path}{query}"

    def __truediv__(self, name: str) -> "ArtifactUrl":
        """Return the URL of `name` below this one."""
        assert all(map(is_plain_name, name.split("/"))), name
        return replace(self, path=f"{self.path}/{name}")

    @property
    def label(self) -> str:
        """The URL without its options, for display."""
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a bucket."""
        return Path(self.path) if self.scheme in ("", "file") else None


def is_plain_name(name: str) -> bool:
    """Return whether a name is safe in every store and does not leave its folder."""
    return NAME.fullmatch(name) is not None


def _folder(path: str, text: str) -> str:
    if not path or ".." in Path(path).parts or "\0" in path:
        raise ConfigError(f"{text!r}: give the path of a folder, without `..`.")
    return str(Path(path).absolute())


def _in_bucket(parts: SplitResult, text: str) -> str:
    if not BUCKET.fullmatch(parts.netloc):
        raise ConfigError(f"{_shown(text)}: `{parts.netloc}` is no name of a bucket.")
    prefix = parts.path.strip("/")
    names = prefix.split("/") if prefix else []
    for name in names:
        if not is_plain_name(name):
            raise ConfigError(f"{_shown(text)}: `{name}` cannot be part of the path.")
    return "/".join([parts.netloc, *names])


def _options(text: str, scheme: str, query: str) -> tuple[tuple[str, str], ...]:
    known = OPTIONS[scheme]
    found = parse_qsl(query, keep_blank_values=True)
    for name, value in found:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no options"
            raise ConfigError(
                f"{_shown(text)}: `{name}` is no option; {scheme} {takes}. Credentials come from "
                "the environment."
            )
        if not re.fullmatch(known[name], value):
            raise ConfigError(f"{_shown(text)}: the value of `{name}` is malformed.")
    if len(dict(found)) < len(found):
        raise ConfigError(f"{_shown(text)}: an option is given twice.")
    return tuple(found)


def _shown(text: str) -> str:
    """Return a URL without its possibly secret parts."""
    return re.sub(r"//.*@", "//***@", text, flags=re.DOTALL).partition("?")[0]
