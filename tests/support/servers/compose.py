"""The services of a Compose file in sandboxes of this machine, with its commands and its files.

Docker Compose itself reads the file. Each service then has a network namespace with an address and
a name of its own, and a file system that holds programs of this machine, and apart from them only
what the file mounts: secrets, configs, volumes and tmpfs. Its user has no capability, and the rest
is read-only where the file says so. Limits of resources and published ports are not simulated.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.command import ROOT
from tests.support.servers.cluster import Host
from tests.support.servers.netns import network
from tests.support.servers.postgres import BINARIES
from tests.support.servers.process import Process, wait_until

PROGRAMS = ("docker-compose", "bwrap", "setpriv", "nsenter", "wget")
COMPOSE = "docker-compose"
HEALTHY_S = 600  # of a machine that does much else
GRACE_S = 60
RESTARTS = 3
OURS = "/var/lib/sweeper"
LINKS = ("bin", "sbin", "lib", "lib64")
ETC = ("hosts", "passwd", "group")
INITIALISE = """
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \\
    --auth-host=scram-sha-256 --no-sync >/dev/null
  export POSTGRES_USER=postgres
  pg_ctl --options="-c listen_addresses=''" --wait start >/dev/null
  for script in /docker-entrypoint-initdb.d/*; do "$script"; done
  pg_ctl --mode=fast --wait stop >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*'
"""  # what the image of PostgreSQL does with the variables and the folder that we use


@dataclass(frozen=True)
class Image:
    """An image's own settings, which a Compose file adds to or replaces.

    Args:
        folders: Folders of the image that a volume begins as: their user and mode.
    """

    entrypoint: tuple[str, ...] = ()
    user: str = "0:0"
    home: str = "/root"
    workdir: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM


IMAGES = {
    "sweeper": Image(
        entrypoint=("sweeper",), user="10001:10001", home=OURS, workdir=OURS,
        environment={"PYTHONUNBUFFERED": "1", "SWEEPER_HOME": f"{OURS}/home"},
        folders={OURS: (10001, 0o755), "/tmp": (0, 0o1777)}),
    "postgres": Image(
        entrypoint=("/bin/sh", "-c", INITIALISE, "sh"), home="/var/lib/postgresql",
        environment={"PGDATA": "/var/lib/postgresql/data", "LANG": "C.UTF-8"},
        folders={"/var/lib/postgresql/data": (999, 0o1777)}, stop_signal=signal.SIGINT),
    "chrislusf/seaweedfs": Image(),
    "prom/prometheus": Image(
        entrypoint=("/usr/bin/prometheus",), home="/home", workdir="/prometheus",
        folders={"/prometheus": (65534, 0o755)}),
}  # fmt: skip


def read(file: Path, environment: Mapping[str, str], *options: str) -> dict[str, Any]:
    """Return a Compose file as Docker Compose understands it; skip the test without Compose."""
    if shutil.which(COMPOSE) is None:
        pytest.skip(f"no `{COMPOSE}`: apt-get install docker-compose")
    command = [COMPOSE, "--file", str(file), "--profile", "*", *options, "config", "--format=json"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "Compose warns"
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


class Service:
    """A service of a stack, which a test may start, stop and look into."""

    def __init__(self, stack: "Stack", name: str, host: Host) -> None:
        self.stack, self.name, self.host = stack, name, host
        self.settings: dict[str, Any] = stack.config["services"][name]
        self.image = IMAGES[self.settings["image"].rpartition(":")[0]]
        self.log = stack.folder / f"{name}.log"
        self._process: Process | None = None

    @property
    def is_once(self) -> bool:
        """The service does its work and ends."""
        return bool(self.settings["restart"] == "no")

    def volume(self, target: str) -> Path:
        """Return the folder of this machine that is mounted as `target`."""
        (found,) = (v for v in self.settings["volumes"] if v["target"] == target)
        return self.stack.folder / "volumes" / found["source"]

    def start(self, *arguments: str, added: Mapping[Path, str] | None = None) -> Process:
        """Start the service with the command of the file, or with `arguments` instead.

        Args:
            added: Files of this machine that are mounted, too, and their places.
        """
        command = arguments or tuple(self.settings.get("command") or ())
        entrypoint = self.settings.get("entrypoint") or self.image.entrypoint
        self._process = Process(
            [*self.host.prefix, *self._sandbox(added or {}), *self._as_user(), *entrypoint,
             *command], log=self.log,
        )  # fmt: skip
        return self._process

    def run(self, *arguments: str, added: Mapping[Path, str] | None = None, code: int = 0) -> str:
        """Run the service to its end, and return what it printed."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self.start(*arguments, added=added)
        self.finish(code)
        return self.log.read_bytes()[before:].decode()

    def finish(self, code: int = 0) -> None:
        """Wait until the service has ended by itself."""
        assert self._process is not None
        try:
            assert self._process.wait(600) == code, self._process.tail()
        finally:
            self.kill()

    def execute(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the running service, as `docker compose exec` does."""
        spaces = ["--mount", "--net", "--pid", "--ipc", "--uts", "--root"]
        enter = ["nsenter", f"--target={self._init().pid}", *spaces, "--wd=/", "--"]
        variables = [f"{name}={value}" for name, value in self._environment().items()]
        return subprocess.run(
            [*enter, *self._as_user(), "env", "--ignore-environment", *variables, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def wait_until_healthy(self) -> None:
        """Return once the check of the file succeeds. A service that ends is started again, as
        its restart policy says: Ray gives up where a busy machine takes longer than 30 s."""
        kind, *words = self.settings["healthcheck"]["test"]
        assert kind == "CMD"
        starts = 0

        def is_healthy() -> bool:
            nonlocal starts
            assert self._process is not None
            if not self._process.is_alive:
                starts += 1
                assert self.settings["restart"] == "unless-stopped"
                assert starts <= RESTARTS, self._process.tail()
                self._process.kill()
                self.start()
            with suppress(subprocess.TimeoutExpired):
                return self.execute(*words).returncode == 0
            return False

        wait_until(is_healthy, timeout_s=HEALTHY_S, what=f"{self.name} to be healthy", every_s=1)

    def stop(self) -> None:
        """Ask the service to end, as `docker compose stop` does, and end all of it."""
        if self._process is None:
            return
        if self._process.is_alive:
            for process in self._init().children():
                process.send_signal(self.image.stop_signal)
            deadline = time.monotonic() + GRACE_S
            while self._process.is_alive and time.monotonic() < deadline:
                time.sleep(0.1)
        self.kill()

    def kill(self) -> None:
        """End all of the service at once."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _init(self) -> psutil.Process:
        """The first process in the sandbox."""
        assert self._process is not None
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found[:] = psutil.Process(self._process.pid).children()
            return bool(found)

        wait_until(is_there, timeout_s=60, what=f"the sandbox of {self.name}")
        return found[0]

    def _environment(self) -> dict[str, str]:
        binaries = [self.stack.bin, Path(sys.executable).parent, *self.stack.postgres]
        path = os.pathsep.join([*map(str, binaries), "/usr/local/bin", "/usr/bin", "/bin"])
        of_this_cpu = {k: v for k, v in os.environ.items() if k.startswith("OPENBLAS_")}
        own = self.settings.get("environment") or {}
        return {"PATH": path, "HOME": self.image.home, **of_this_cpu, **self.image.environment,
                **own}  # fmt: skip

    def _as_user(self) -> list[str]:
        user, _, group = (self.settings.get("user") or self.image.user).partition(":")
        assert self.settings["cap_drop"] == ["ALL"]
        return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
                "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"]  # fmt: skip

    def _sandbox(self, added: Mapping[Path, str]) -> list[str]:
        etc, shared = self.stack.folder / "etc", self.settings.get("shm_size", "64m")
        mounts = [("--ro-bind", path, path) for path in _system()]
        mounts += [("--symlink", f"usr/{name}", f"/{name}") for name in LINKS]
        mounts += [("--proc", "/proc"), ("--dev", "/dev"), _tmpfs(f"/dev/shm:size={shared}")]
        mounts += [("--ro-bind", str(etc / name), f"/etc/{name}") for name in ETC]
        mounts += [_tmpfs(place) for place in self.settings.get("tmpfs") or ()]
        mounts += [self._mounted(volume) for volume in self.settings.get("volumes") or ()]
        for kind in ("secrets", "configs"):
            for part in self.settings.get(kind) or ():
                source = self.stack.config[kind][part["source"]]["file"]
                mounts.append(("--ro-bind", source, part["target"]))
        mounts += [("--ro-bind", str(source), target) for source, target in added.items()]
        words = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent",
                 "--cap-add", "ALL", "--hostname", self.name, "--clearenv"]  # fmt: skip
        for folder in sorted({p for *_, target in mounts for p in Path(target).parents}):
            words += ["--perms", "755", "--dir", str(folder)]  # others would not get in
        words += [word for mount in mounts for word in mount]
        if self.settings.get("read_only"):
            words += ["--remount-ro", "/"]
        for name, value in self._environment().items():
            words += ["--setenv", name, value]
        workdir = self.settings.get("working_dir") or self.image.workdir
        return [*words, "--chdir", workdir, "--"]

    def _mounted(self, volume: Mapping[str, Any]) -> tuple[str, ...]:
        target = volume["target"]
        if volume["type"] == "bind":
            assert volume["read_only"]
            return "--ro-bind", volume["source"], target
        folder = self.volume(target)
        if not folder.exists():
            owner, mode = self.image.folders.get(target, (0, 0o755))
            folder.mkdir(parents=True)
            folder.chmod(mode)
            os.chown(folder, owner, owner)
        return "--bind", str(folder), target


class Stack:
    """The services of a file, by name.

    Args:
        folder: Holds their volumes and their logs.
        environment: Variables that the file reads.
        absent: Services whose programs this machine does not have.
    """

    def __init__(
        self,
        file: Path,
        folder: Path,
        *,
        hosts: Sequence[Host],
        config: dict[str, Any],
        absent: Iterable[str],
    ) -> None:
        self.folder, self.config, self.file = folder, config, file
        self.bin = folder / "bin"
        self.postgres = _newest(BINARIES.glob("*/bin"))
        names = [name for name in config["services"] if name not in set(absent)]
        addresses = dict(zip(names, hosts, strict=True))
        self._write_programs()
        self._write_etc(addresses)
        self.services = {name: Service(self, name, host) for name, host in addresses.items()}

    def __getitem__(self, name: str) -> Service:
        return self.services[name]

    def up(self) -> None:
        """Start all services without a profile, each once those that it depends on are healthy."""
        waiting = [n for n, s in self.services.items() if not s.settings.get("profiles")]
        ready: set[str] = set()
        while waiting:
            free = [n for n in waiting if self._needs(n) <= ready]
            assert free, f"{waiting} depend on one another"
            for name in free:
                self[name].start()
            for name in free:
                if self[name].is_once:
                    self[name].finish()
                else:
                    self[name].wait_until_healthy()
            ready |= set(free)
            waiting = [name for name in waiting if name not in ready]

    def down(self) -> None:
        """Stop all services; their volumes stay."""
        for service in reversed(self.services.values()):
            service.stop()

    def _needs(self, name: str) -> set[str]:
        needed = self[name].settings.get("depends_on") or {}
        for other, how in needed.items():
            ready = "service_completed_successfully" if self[other].is_once else "service_healthy"
            assert how["condition"] == ready
        return set(needed)

    def _write_programs(self) -> None:
        self.bin.mkdir(parents=True)
        ours = self.bin / "sweeper"
        ours.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m sweeper.cli.main "$@"\n')
        ours.chmod(0o755)

    def _write_etc(self, addresses: Mapping[str, Host]) -> None:
        etc = self.folder / "etc"
        etc.mkdir()
        hosts = [f"{host.ip} {name}" for name, host in addresses.items()]
        (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        users = {"root": (0, "/root"), "sweeper": (10001, OURS), "nobody": (65534, "/home"),
                 "postgres": (999, "/var/lib/postgresql")}  # fmt: skip
        lines = [f"{n}:x:{i}:{i}:{n}:{home}:/bin/sh\n" for n, (i, home) in users.items()]
        (etc / "passwd").write_text("".join(lines))
        (etc / "group").write_text("".join(f"{n}:x:{i}:\n" for n, (i, _) in users.items()))


@contextmanager
def stack(
    file: Path, folder: Path, environment: Mapping[str, str], *, absent: Iterable[str] = ()
) -> Iterator[Stack]:
    """Yield the services of a file, which do not run yet; skip the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root may make the namespaces and users of services")
    for program in PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"no `{program}`, in which or with which services run")
    if not _newest(BINARIES.glob("*/bin")):
        pytest.skip(f"no PostgreSQL in {BINARIES}: apt-get install postgresql")
    config = read(file, environment)
    absent = set(absent)
    with network(len(config["services"].keys() - absent)) as hosts:
        made = Stack(file, folder, hosts=hosts.hosts, config=config, absent=absent)
        try:
            yield made
        finally:
            for service in made.services.values():
                service.kill()


def _newest(folders: Iterable[Path]) -> list[Path]:
    """Return the folder with the programs of the newest PostgreSQL, if there is any."""
    return sorted(folders, key=lambda path: int(path.parts[-2]))[-1:]


def _system() -> list[str]:
    """Return the paths of this machine that hold programs, and what these need of /etc."""
    etc = [f"/etc/{name}" for name in ("ld.so.cache", "alternatives", "ssl", "localtime")]
    python = {*map(Path, (sys.prefix, sys.base_prefix)), ROOT}
    python |= {Path(place) for place in sys.path if place and Path(place).is_dir()}
    outermost = [path for path in python if not python.intersection(path.parents)]
    places = ["/usr", "/sys", *etc, *map(str, sorted(outermost))]
    return [path for path in places if Path(path).exists()]


def _tmpfs(place: str) -> tuple[str, ...]:
    path, _, text = place.partition(":")
    options = dict(part.partition("=")[::2] for part in text.split(",") if part)
    number, unit = re.fullmatch(r"(\d+)([mg]?)", options["size"]).groups()
    size = int(number) * {"": 1, "m": 2**20, "g": 2**30}[unit]
    return "--perms", options.get("mode", "1777"), "--size", str(size), "--tmpfs", path
