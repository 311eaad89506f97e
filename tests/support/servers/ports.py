"""Ports for servers on loopback."""

import random
import socket

RANGE = range(20_000, 32_000)  # above Ray's workers, below the ports that a kernel lends to clients

_given: set[int] = set()  # of this process, whose servers may not listen yet


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens, and none twice.

    None is one that a kernel lends to clients: one that tries a dead server again and again would
    connect to itself, and the server could not come back.
    """
    candidates = random.SystemRandom().sample(RANGE, 50 * count)
    found = [port for port in candidates if port not in _given and _is_free(port)][:count]
    assert len(found) == count, "no free ports"
    _given.update(found)
    return found


def free_port() -> int:
    """Return a port on which nothing listens."""
    return free_ports(1)[0]


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server accepts connections."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
