"""Several hosts on this machine, in network namespaces, any of which a test may cut off.

    host 0   10.77.N.1 --+
    host 1   10.77.N.2 --+-- hub (a bridge in a namespace of its own) -- 10.77.N.254   the test
    host 2   10.77.N.3 --+

All hosts see the same disk.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.support.servers.cluster import Host, RayCluster, short_folder

IP = shutil.which("ip") or "ip"


class NotPermitted(Exception):
    """This process may not make network namespaces, or there is no `ip`."""


class Network:
    """Hosts and what joins them. No two share a name: a kernel removes links some time after."""

    def __init__(self, count: int) -> None:
        self._outside = f"sw{uuid4().hex[:8]}"
        self.name = f"sweeper-{self._outside}"
        self._hub = f"{self.name}-hub"
        self._subnet = f"10.77.{random.SystemRandom().randint(1, 250)}"
        self._spaces = [f"{self.name}-{index}" for index in range(count)]
        self.hosts = [
            Host(f"{self._subnet}.{index + 1}", (IP, "netns", "exec", space))
            for index, space in enumerate(self._spaces)
        ]

    def set_up(self) -> None:
        """Make everything. Raises NotPermitted, where that cannot be."""
        hub, outside = self._hub, self._outside
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        _ip("link", "add", outside, "type", "veth", "peer", "name", "outside", "netns", hub)
        _ip("addr", "add", f"{self._subnet}.254/24", "dev", outside)
        _ip("link", "set", outside, "up")
        self._plug("outside")
        for index, (space, host) in enumerate(zip(self._spaces, self.hosts, strict=True)):
            _ip("netns", "add", space)
            _ip("-n", hub, "link", "add", _port(index), "type", "veth",
                "peer", "name", "eth0", "netns", space)  # fmt: skip
            _ip("-n", space, "addr", "add", f"{host.ip}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", space, "link", "set", link, "up")
            self._plug(_port(index))

    def _plug(self, link: str) -> None:
        _ip("-n", self._hub, "link", "set", link, "master", "bridge", "up")

    def tear_down(self) -> None:
        """Remove what `set_up` made; links go with their namespaces."""
        made = subprocess.run([IP, "netns", "list"], capture_output=True, text=True).stdout.split()
        for space in (*self._spaces, self._hub):
            if space in made:
                _ip("netns", "del", space)

    def cut(self, host: Host) -> None:
        """Drop everything from and to the host, and tell nobody."""
        _ip("-n", self._hub, "link", "set", _port(self.hosts.index(host)), "down")

    def heal(self, host: Host) -> None:
        """Undo `cut`."""
        _ip("-n", self._hub, "link", "set", _port(self.hosts.index(host)), "up")


@dataclass(frozen=True)
class Hosts:
    """A Ray cluster whose head is on the first host, with a node of one CPU on each other."""

    network: Network
    cluster: RayCluster


@contextmanager
def network(count: int = 3) -> Iterator[Network]:
    """Yield hosts; skip the test where that is not permitted."""
    made = Network(count)
    try:
        try:
            made.set_up()
        except NotPermitted as error:
            pytest.skip(f"no network namespaces: {error}")
        yield made
    finally:
        made.tear_down()


@contextmanager
def ray_on_hosts(count: int = 3) -> Iterator[Hosts]:
    """Yield a Ray cluster over several hosts."""
    with network(count) as hosts, short_folder() as folder:
        head, *others = hosts.hosts
        cluster = RayCluster(folder, quick_to_bury=True, host=head)
        try:
            cluster.start()
            for host in others:
                cluster.add_node(host=host)
            yield Hosts(hosts, cluster)
        finally:
            cluster.close()


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run([IP, *arguments], capture_output=True, text=True)
    except OSError as error:
        raise NotPermitted(str(error)) from error
    if done.returncode != 0:
        raise NotPermitted(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _port(index: int) -> str:
    return f"port{index}"
