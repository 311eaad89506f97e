"""Who can reach an address: this machine alone, or others on its network."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches `host`: a name but `localhost` may be any."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(address: str) -> str:
    """Returns the host of `host`, `host:port` or `scheme://host:port`."""
    where = address.rpartition("://")[2].partition("/")[0]
    host, colon, port = where.rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() else where.strip("[]")


def is_dashboard(address: str) -> bool:
    """Returns whether an address is that of a Ray cluster's dashboard, which takes jobs."""
    return address.startswith(("http://", "https://"))
