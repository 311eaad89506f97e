"""Addresses of clusters: their form, and the check for loopback addresses."""

import re
from ipaddress import ip_address

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
