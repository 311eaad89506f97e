"""Images and containers without a daemon or a registry: Debian's buildah builds, crun runs.

A container here is what `docker run --network none --read-only --cap-drop ALL --security-opt
no-new-privileges --tmpfs /tmp` starts: it has namespaces of its own for processes, network, mounts
and IPC, and Docker's default of 64 MB of shared memory. Nothing limits its memory or CPUs.
"""

import ast
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.command import ROOT, Result

PROGRAMS = ("buildah", "mmdebstrap", "crun", "unshare")
BASE = "localhost/debian"
PYTHON = Path(sysconfig.get_path("stdlib"))
# crun refuses a tree of cgroups in two versions: it gets a view without the second.
IN_ITS_OWN_MOUNTS = ("unshare", "--mount", "sh", "-c",
                     'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh")  # fmt: skip


def missing() -> str | None:
    """Return why no image can be built here, or None."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"needs Debian's {', '.join(absent)}"
    return None if os.geteuid() == 0 else "only root may build an image here"


@dataclass(frozen=True)
class Image:
    """A built image: its file system, mounted, and its configuration after the OCI's standard."""

    name: str
    root: Path
    config: dict[str, Any]
    layers: dict[str, int]  # bytes of each layer, uncompressed, by the instruction that made it


class Builder:
    """A store of images in a folder of its own, which goes with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        has_overlay = "\toverlay\n" in Path("/proc/filesystems").read_text()
        driver = "overlay" if has_overlay else "vfs"
        self._buildah = (
            "buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run"),
            "--storage-driver", driver,
        )  # fmt: skip

    def make_base(self) -> None:
        """Make a base in the way of the official images of Python: this Python on this Debian.

        A newer or older Debian would not do: wheels that were built here need this C library.
        """
        context = self.folder / "base"
        (context / "bin").mkdir(parents=True)
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        packages = ",".join(("ca-certificates", *_packages_of_python()))
        _run("mmdebstrap", "--variant=minbase", "--mode=root", f"--include={packages}",
             release, str(context / "root.tar"))  # fmt: skip
        _copy_python(context)
        copies = "FROM scratch\nADD root.tar /\nCOPY bin /usr/local/bin\nCOPY lib /usr/local/lib\n"
        (context / "Dockerfile").write_text(f"{copies}RUN ldconfig\n")
        self._build(BASE, str(context))
        shutil.rmtree(context)

    def build(self, target: str) -> Image:
        """Build a target of docker/Dockerfile with the torch and the settings of pip from here."""
        name = f"localhost/sweeper-{target}"
        settings, paths = _pip()
        (self.folder / "pip.conf").write_text(settings)
        self._build(
            name, "--file", str(ROOT / "docker" / "Dockerfile"), "--target", target,
            "--layers", "--secret", f"id=pip.conf,src={self.folder / 'pip.conf'}",
            *(f"--volume={path}:{path}:ro" for path in paths),
            *(f"--build-arg={key}={value}" for key, value in {"BASE": BASE, **_torch()}.items()),
            str(ROOT),
        )  # fmt: skip
        container = self._do("from", "--pull-never", name)
        found = json.loads(self._do("inspect", "--type", "image", name))["OCIv1"]
        root = Path(self._do("mount", container))
        return Image(name, root, found["config"], self._layers(found))

    def _build(self, name: str, *arguments: str) -> None:
        limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
        given = (
            f"--ulimit={key}={soft}:{hard}"
            for key, (soft, hard) in ((k, resource.getrlimit(v)) for k, v in limits.items())
        )
        how = ("--isolation", "chroot", "--format", "docker", "--pull-never")
        self._do("build", *how, *given, "--tag", name, *arguments)

    def _layers(self, image: dict[str, Any]) -> dict[str, int]:
        made = [step["created_by"] for step in image["history"] if not step.get("empty_layer")]
        (listed,) = (self.folder / "store").glob("*-layers/layers.json")
        sizes = {
            layer["diff-digest"]: layer["diff-size"] for layer in json.loads(listed.read_text())
        }
        return dict(zip(made, (sizes[each] for each in image["rootfs"]["diff_ids"]), strict=True))

    def _do(self, *arguments: str) -> str:
        # Layers and caches on their way: beside the store, not in a small /tmp.
        return _run(*self._buildah, *arguments, env=os.environ | {"TMPDIR": str(self.folder)})

    def close(self) -> None:
        """Unmount and delete all of it."""
        self._do("rm", "--all")
        shutil.rmtree(self.folder)


@contextmanager
def builder(folder: Path) -> Iterator[Builder]:
    """Yield a store of images with a base in it; skip the tests where none can be built."""
    if why := missing():
        pytest.skip(why)
    made = Builder(folder)
    try:
        made.make_base()
        yield made
    finally:
        made.close()


@dataclass
class Container:
    """One run of an image, in the same way as `docker run`."""

    image: Image
    volume: Path
    folder: Path  # of its bundle
    user: tuple[int, int] | None = None  # the image's
    name: str = field(default_factory=lambda: f"sweeper-{uuid4().hex[:8]}")

    def start(self, *arguments: str, entrypoint: list[str] | None = None) -> subprocess.Popen[str]:
        """Start it with arguments of the entry point, without waiting."""
        entry = self.image.config["Entrypoint"] if entrypoint is None else entrypoint
        bundle = self.folder / self.name
        bundle.mkdir(parents=True)
        _run("crun", "spec", cwd=bundle)
        file = bundle / "config.json"
        file.write_text(
            json.dumps(self._specification(json.loads(file.read_text()), [*entry, *arguments]))
        )
        return subprocess.Popen(
            [*IN_ITS_OWN_MOUNTS, "crun", "--cgroup-manager=disabled", "run", self.name],
            cwd=bundle,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **options: Any) -> Result:
        """Run it to its end, and check its exit code."""
        with self.start(*arguments, **options) as process:
            try:
                out, err = process.communicate(timeout=900)
            finally:
                self.kill("KILL")
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return Result(out, err)

    def kill(self, signal: str) -> None:
        """Send a signal to its first process, as `docker stop` does, if it still runs."""
        subprocess.run(["crun", "kill", self.name, signal], capture_output=True)

    def _specification(self, spec: dict[str, Any], command: list[str]) -> dict[str, Any]:
        config, process = self.image.config, spec["process"]
        uid, gid = self.user or (int(each) for each in config["User"].split(":"))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        process |= {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": command,
            "cwd": config["WorkingDir"],
            "env": config["Env"],
            "capabilities": {},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": limit[0], "hard": limit[1]}],
        }
        spec["root"] = {"path": str(self.image.root), "readonly": True}
        (lasting,) = config["Volumes"]
        bound = {"type": "bind", "options": ["rbind", "rw"]}
        plain = {"type": "tmpfs", "options": ["nosuid", "nodev", "noexec", "mode=1777"]}
        spec["mounts"] += [
            {"destination": lasting, "source": str(self.volume), **bound},
            {"destination": "/tmp", "source": "tmpfs", **plain},
        ]
        return spec


def _packages_of_python() -> set[str]:
    """Return Debian's packages that the libraries of this Python's modules come from."""
    modules = map(str, (PYTHON / "lib-dynload").glob("*.so"))
    lines = _run("ldd", *(path for path in modules if "tkinter" not in path)).splitlines()
    found = {Path(line.split()[2]).resolve() for line in lines if "=> /" in line}
    shared = (str(path) for path in sorted(found) if not path.is_relative_to(sys.base_prefix))
    return {line.split(":")[0] for line in _run("dpkg-query", "-S", *shared).splitlines()}


def _copy_python(context: Path) -> None:
    """Copy this Python, with its own packages alone, into `bin` and `lib` of a context."""
    name, prefix = PYTHON.name, Path(sys.base_prefix)
    shutil.copy(prefix / "bin" / name, context / "bin" / name)
    (context / "bin" / "python3").symlink_to(name)
    left_out = ("site-packages", "test", "idlelib", "tkinter", "config-*")
    shutil.copytree(PYTHON, context / "lib" / name, ignore=shutil.ignore_patterns(*left_out))
    for library in (prefix / "lib").glob("libpython3*.so*"):
        shutil.copy(library, context / "lib" / library.name, follow_symlinks=False)


def _pip() -> tuple[str, list[Path]]:
    """Return what pip is told here, as a pip.conf, and the files and folders that it names."""
    lines = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    told: dict[str, str] = {}
    for key, value in (line.split("=", 1) for line in sorted(lines, reverse=True)):
        if key.startswith((":env:.", "global.")):  # of these the environment wins: it comes last
            told[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    words = [word for value in told.values() for word in value.split()]
    paths = sorted({Path(word) for word in words if word.startswith("/") and Path(word).exists()})
    return "\n".join(["[global]", *(f"{k} = {v}" for k, v in told.items()), ""]), paths


def _torch() -> dict[str, str]:
    """Return the build argument of this environment's torch, where it is one for CPUs."""
    names = ("torch", "torchvision")
    found = [f"{name}=={version(name)}" for name in names]
    return {"TORCH": " ".join(found)} if all(each.endswith("+cpu") for each in found) else {}


def _run(*command: str, **options: Any) -> str:
    """Run a command and return its output; its errors are those of the test."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, (
        f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout.strip()
