"""Addresses: the form of those of clusters, loopback addresses, and the URLs of SQLite files."""

import re
from ipaddress import ip_address
from pathlib import Path

# An IPv6 address stands in brackets: its own colons look like the one before a port.
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+(?:%\w+)?\])"
FORM = re.compile(
    rf"local|auto|(?:ray://)?{HOST}:\d{{1,5}}|https?://{HOST}(?::\d{{1,5}})?(?:/\S*)?"
)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`. The only such name is `localhost`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_every_interface(host: str) -> bool:
    """Return whether a server that listens to `host` listens on every interface."""
    try:
        return ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def host_of(address: str) -> str:
    """Return the host of `host`, `host:port` or `scheme://host:port`."""
    where = address.rpartition("://")[2].partition("/")[0]
    host, colon, port = where.rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() else where.strip("[]")


def is_dashboard(address: str) -> bool:
    """Return whether an address names the dashboard of a Ray cluster, which accepts jobs."""
    return address.startswith(("http://", "https://"))


def sqlite_url(file: Path) -> str:
    """Return the URL of an SQLite file. Signs are quoted only where the plain path is another."""
    from sqlalchemy.engine import URL  # SQLAlchemy, which loads slowly

    # SQLAlchemy reads a `?` in a plain path as the start of a query, so such a path is quoted.
    plain = f"sqlite:///{file}"
    is_same = sqlite_file(plain) == file
    return plain if is_same else URL.create("sqlite", database=str(file)).render_as_string()


def sqlite_file(url: str) -> Path | None:
    """Return the SQLite file that a URL names; None for other stores."""
    from sqlalchemy.engine import make_url

    # Anything else that begins so is no URL, which whoever connects to it reports.
    is_one = url.startswith("sqlite") and ":///" in url
    file = make_url(url).database if is_one else None
    return Path(file) if file else None
