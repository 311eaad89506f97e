"""The Helm chart as `helm` renders it, and its pods as KubeRay would start them on this machine."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.command import ROOT
from tests.support.servers.cluster import AGENTS, PATHS, RAY, STORE_BYTES, Node
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process

CHART = ROOT / "docker" / "helm" / "sweeper"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "demo"
STARTS = 4  # of a pod, on a busy machine
SHARED = ("/tmp", "/dev/shm")  # mounts for which this machine has its own
BYTES = {"Mi": 2**20, "Gi": 2**30}
Document = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `helm`; skip the test where it is not installed."""
    program = shutil.which("helm")
    if program is None:
        pytest.skip("no helm on PATH: docker/helm/README.md says where to get it")
    command = [program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def render(*arguments: str) -> list[Document]:
    """Return the objects of a release with these arguments of `helm template`."""
    done = helm("template", RELEASE, str(CHART), *arguments)
    assert done.returncode == 0, done.stderr
    return [found for found in YAML(typ="safe").load_all(done.stdout) if found]


def refusal(*arguments: str) -> str:
    """Return what `helm template` says of arguments that the chart refuses."""
    done = helm("template", RELEASE, str(CHART), *arguments)
    assert done.returncode != 0, done.stdout
    return done.stderr


def of_kind(documents: list[Document], kind: str) -> Document:
    """Return the one object of a kind."""
    (found,) = (each for each in documents if each["kind"] == kind)
    return found


def ray_spec(documents: list[Document]) -> Document:
    """Return the specification of the Ray cluster among the objects of a release."""
    for each in documents:
        if each["kind"] == "RayJob":
            spec: Document = each["spec"]["rayClusterSpec"]
            return spec
    found: Document = of_kind(documents, "RayCluster")["spec"]
    return found


def pod_templates(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Yield every template of pods, with the name of its object or group."""
    for each in documents:
        if each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]
        if each["kind"] in ("RayJob", "RayCluster"):
            spec = ray_spec([each])
            yield "head", spec["headGroupSpec"]["template"]
            for group in spec.get("workerGroupSpecs", []):
                yield group["groupName"], group["template"]


@dataclass
class Pods:
    """The Ray pods of a rendered release as processes on this machine, in a folder of their own.

    The arguments of `ray start` and the variables are those that KubeRay derives from the objects.
    What one machine cannot have twice is replaced: ports, Ray's folder, and the places of mounts.
    """

    documents: list[Document]
    secrets: Mapping[str, Mapping[str, str]]
    folder: Path  # short: socket paths have a limit
    replaced: Mapping[str, str] = field(default_factory=dict)  # texts of values, such as URLs
    token: str = "f" * 64
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._gcs, self._dashboard, self._client = (free_port() for _ in range(3))
        self.address, self.http = f"127.0.0.1:{self._gcs}", f"http://127.0.0.1:{self._dashboard}"
        self.spec = ray_spec(self.documents)
        self._pods = {"head": self.spec["headGroupSpec"]} | {
            f"{group['groupName']}{number}": group
            for group in self.spec.get("workerGroupSpecs", [])
            for number in range(group["replicas"])
        }

    def start(self) -> None:
        """Start the head, then the workers."""
        ports = {
            "port": self._gcs,
            "dashboard-port": self._dashboard,
            "ray-client-server-port": self._client,
        }
        monitor = ["--no-monitor"] if self.spec["enableInTreeAutoscaling"] else []
        self._start("head", ports, "--head", *monitor)
        for pod in self._pods:
            if pod != "head":
                self._start(pod, {"address": self.address})

    def kill(self) -> None:
        """End all pods at once, with everything that runs in them."""
        for node in self.nodes:
            node.kill()

    def localized(self, text: str, pod: str = "head") -> str:
        """Return a text of the objects with the places and addresses that it has here."""
        for mount in self._mounts(pod):
            text = text.replace(mount["mountPath"], str(self.folder / pod / mount["name"]))
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def environment(self, pod: str) -> dict[str, str]:
        """Return the variables of a Ray container, with those that KubeRay adds."""
        (container,) = self._pods[pod]["template"]["spec"]["containers"]
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= self.secrets[source["secretRef"]["name"]]
        for variable in container["env"]:
            if "value" in variable:
                found[variable["name"]] = self.localized(variable["value"], pod)
                continue
            key = variable["valueFrom"]["secretKeyRef"]
            secret = self.secrets[key["name"]]
            if key["key"] in secret or not key.get("optional"):
                found[variable["name"]] = secret[key["key"]]
        assert self.spec["authOptions"]["mode"] == "token"
        return {
            **found, "RAY_ADDRESS": self.address, "RAY_CLUSTER_NAME": RELEASE,
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token,
        }  # fmt: skip

    def _start(self, pod: str, options: Mapping[str, Any], *flags: str) -> None:
        """Start a pod; one that fails is replaced, as KubeRay does: Ray gives a raylet 30 s."""
        for attempt in range(STARTS):
            node, log = self._pod(pod, options, *flags)
            try:
                node.process.wait_until(
                    lambda log=log: "Ray runtime started" in log.read_text(), timeout_s=300
                )
            except AssertionError:
                if attempt == STARTS - 1:
                    raise
                continue
            self.nodes.append(node)
            return

    def _pod(self, pod: str, options: Mapping[str, Any], *flags: str) -> tuple[Node, Path]:
        """Run `ray start` with new disks; return the node, and the file of what it prints."""
        shutil.rmtree(self.folder / pod, ignore_errors=True)
        self.lay_mounts(pod)
        group = self._pods[pod]
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        of_kuberay = {"num-cpus": limits["cpu"], "memory": quantity(limits["memory"])}
        ports = {agent: free_port() for agent in AGENTS}
        here = {
            "temp-dir": self.folder / pod / "r",
            "object-store-memory": STORE_BYTES,
            "node-ip-address": "127.0.0.1",
        }
        params = {**of_kuberay, **group["rayStartParams"], **options, **ports, **here}
        log = self.folder / f"{pod}.log"
        log.unlink(missing_ok=True)
        process = Process(
            [str(RAY), "start", "--block", *flags, *(f"--{k}={v}" for k, v in params.items())],
            log=log,
            environment={**PATHS, **self.environment(pod)},
        )
        return Node(process, ports), log

    def lay_mounts(self, pod: str) -> None:
        """Make empty folders in place of volumes, and a file of the ConfigMap that is mounted."""
        for mount in self._mounts(pod):
            place = self.folder / pod / mount["name"]
            place.parent.mkdir(parents=True, exist_ok=True)
            if "subPath" in mount:
                maps = (d for d in self.documents if d["kind"] == "ConfigMap")
                name = f"{RELEASE}-{mount['name']}"
                (data,) = (m["data"] for m in maps if m["metadata"]["name"] == name)
                place.write_text(data[mount["subPath"]])
            else:
                place.mkdir()

    def _mounts(self, pod: str) -> list[Document]:
        """Return the mounts of a pod that have a place here, the longest paths first."""
        (container,) = self._pods[pod]["template"]["spec"]["containers"]
        mounts = [m for m in container["volumeMounts"] if m["mountPath"] not in SHARED]
        return sorted(mounts, key=lambda mount: -len(mount["mountPath"]))


def quantity(text: str) -> int:
    """Return the bytes of a quantity of Kubernetes, such as 4Gi."""
    return int(text[:-2]) * BYTES[text[-2:]]
