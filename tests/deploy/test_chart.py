"""The Helm chart: what it renders is valid and hardened, and what cannot work is refused."""

import copy
import gzip
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ruamel.yaml import YAML

from tests.support import real_data
from tests.support.chart import (
    CHART,
    EXAMPLES,
    RELEASE,
    Document,
    Pods,
    helm,
    of_kind,
    pod_templates,
    ray_spec,
    refusal,
    render,
)
from tests.support.command import ROOT
from tests.support.servers.cluster import PATHS

pytestmark = pytest.mark.slow  # starts helm
KUBERNETES = "1.35"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "sweeper.json"
STRING = {"type": "string"}
STRINGS = {"type": "object", "additionalProperties": STRING}
CLOSED = {"type": "object", "additionalProperties": False}
POD_MONITOR = {  # those of its fields that the chart may use
    **CLOSED, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": {
            **CLOSED, "required": ["name"], "properties": {"name": STRING, "labels": STRINGS}},
        "spec": {**CLOSED, "required": ["selector", "podMetricsEndpoints"], "properties": {
            "selector": {**CLOSED, "properties": {
                "matchLabels": STRINGS,
                "matchExpressions": {"type": "array", "items": {
                    **CLOSED, "required": ["key", "operator"], "properties": {
                        "key": STRING,
                        "operator": {"enum": ["In", "NotIn", "Exists"]},
                        "values": {"type": "array", "items": STRING}}}}}},
            "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": {
                **CLOSED, "required": ["port"], "properties": {
                    "port": STRING, "interval": {**STRING, "pattern": "^[0-9]+(s|m)$"}}}}}}},
}  # fmt: skip


@cache
def example(name: str) -> list[Document]:
    """Return the objects of one of the chart's value files."""
    return render("-f", str(CHART / "ci" / f"{name}-values.yaml"))


NAMES = [path.name.removesuffix("-values.yaml") for path in EXAMPLES]
each_example = pytest.mark.parametrize("name", NAMES)


@cache
def crd(kind: str) -> Document:
    """Return the schema of a resource of KubeRay, by which unknown fields are faults."""
    folder = real_data.need("kuberay_crds")
    text = gzip.decompress((folder / f"ray.io_{kind.lower()}s.yaml.gz").read_bytes())
    versions = yaml.load(text, yaml.CSafeLoader)["spec"]["versions"]  # 1.4 MB: ruamel takes 3 s
    (found,) = (v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1")
    return strict(found)


def strict(schema: Any) -> Any:
    """Return a schema that refuses what it does not list."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    is_object = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    is_open = {"x-kubernetes-preserve-unknown-fields", "additionalProperties"} & set(schema)
    if is_object and not is_open:
        closed["additionalProperties"] = False
    return closed


def faults(schema: Document, document: Document) -> list[str]:
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(document)
    ]


def test_there_are_five_value_files():
    assert len(EXAMPLES) == 5


@each_example
def test_helm_finds_no_fault_in_the_chart(name: str):
    done = helm("lint", "--strict", str(CHART), "-f", str(CHART / "ci" / f"{name}-values.yaml"))
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@each_example
def test_resources_of_ray_keep_the_schema_of_kuberay(name: str):
    found = [d for d in example(name) if d["apiVersion"].startswith("ray.io/")]
    assert [(d["apiVersion"]) for d in found] == ["ray.io/v1"]
    assert [fault for each in found for fault in faults(crd(each["kind"]), each)] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda spec: spec.update(submisionMode="HTTPMode"), "submisionMode"),
        (lambda spec: spec["rayClusterSpec"].update(authOptions={"mode": "password"}), "password"),
        (lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
            .update(livenesProbe={}), "livenesProbe"),
        (lambda spec: spec["rayClusterSpec"]["headGroupSpec"].pop("template"), "template"),
    ],
)  # fmt: skip
def test_that_schema_sees_a_slip(change, fault: str):
    job = copy.deepcopy(of_kind(example("job"), "RayJob"))
    change(job["spec"])
    assert any(fault in found for found in faults(crd("RayJob"), job))


@each_example
def test_objects_of_kubernetes_keep_its_schema(name: str):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    core = [d for d in example(name) if "ray.io" not in d["apiVersion"]]
    core = [d for d in core if d["kind"] != "PodMonitor"]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **template}
        for _, template in pod_templates(example(name))
    ]
    assert pods
    for document in (*core, *pods):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_that_schema_sees_a_slip_too():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    policy = copy.deepcopy(of_kind(example("job"), "NetworkPolicy"))
    policy["spec"]["polcyTypes"] = ["Ingress"]
    with pytest.raises(kubernetes_validate.ValidationError, match="polcyTypes"):
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)


def test_the_monitor_scrapes_ports_that_ray_has():
    monitor = of_kind(example("cluster"), "PodMonitor")
    assert faults(POD_MONITOR, monitor) == []
    head = ray_spec(example("cluster"))["headGroupSpec"]["template"]
    ports = {port["name"] for port in head["spec"]["containers"][0]["ports"]}
    assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} <= ports
    selected = monitor["spec"]["selector"]["matchLabels"]
    assert selected.items() <= head["metadata"]["labels"].items()


def test_the_dashboard_is_the_one_of_docker_grafana():
    maps = [d for d in example("cluster") if d["metadata"]["name"] == f"{RELEASE}-dashboard"]
    assert [m["metadata"]["labels"]["grafana_dashboard"] for m in maps] == ["1"]
    assert json.loads(maps[0]["data"]["sweeper.json"]) == json.loads(DASHBOARD.read_text())


def test_a_packaged_chart_holds_the_dashboard(tmp_path: Path):
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.iterdir()
    values = ("-f", str(CHART / "ci" / "cluster-values.yaml"))
    rendered = helm("template", RELEASE, str(package), *values)
    assert "sweeper_trials" in rendered.stdout


@each_example
def test_every_container_is_hardened_and_limited(name: str):
    for _, template in pod_templates(example(name)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["limits"])
            assert resources["limits"] == resources["requests"]
            writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
            assert "/tmp" in writable
            volumes = {volume["name"] for volume in pod["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    options = ray_spec(example(name)).get("autoscalerOptions")
    if options is not None:
        assert options["version"] == "v2"
        assert options["securityContext"]["readOnlyRootFilesystem"] is True


@each_example
def test_ray_asks_for_a_token_and_only_the_head_knows_passwords(name: str):
    spec = ray_spec(example(name))
    assert spec["authOptions"]["mode"] == "token"
    for group in spec.get("workerGroupSpecs", []):
        worker = group["template"]["spec"]
        assert worker["automountServiceAccountToken"] is False
        (container,) = worker["containers"]
        assert {"SWEEPER_STORAGE", "PGPASSWORD"}.isdisjoint(v["name"] for v in container["env"])
        assert "mlflow-login" not in json.dumps(container.get("envFrom", []))


@each_example
def test_what_is_mounted_or_read_is_in_the_release_or_named_by_its_values(name: str):
    documents = example(name)
    values = (CHART / "ci" / f"{name}-values.yaml").read_text()
    made = {(d["kind"], d["metadata"]["name"]) for d in documents}

    def is_known(kind: str, wanted: str) -> bool:
        return (kind, wanted) in made or wanted in values

    for _, template in pod_templates(documents):
        for volume in template["spec"]["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert is_known("PersistentVolumeClaim", claim)


def test_a_queue_gets_a_fixed_cluster_as_a_whole():
    job = of_kind(example("queued"), "RayJob")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    spec = job["spec"]["rayClusterSpec"]
    assert spec["enableInTreeAutoscaling"] is False
    assert "autoscalerOptions" not in spec
    (group,) = spec["workerGroupSpecs"]
    assert group["minReplicas"] == group["replicas"] == group["maxReplicas"] == 4
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (20, 864000)


def test_an_autoscaler_may_start_from_no_node():
    values = str(CHART / "ci" / "cluster-values.yaml")
    groups = ray_spec(render("-f", values, "--set", "workers[0].replicas=0"))["workerGroupSpecs"]
    assert [(g["replicas"], g["minReplicas"], g["maxReplicas"]) for g in groups] == [
        (0, 0, 8),
        (0, 0, 4),
    ]


def test_ray_drains_a_node_before_kubernetes_ends_it():
    (group,) = ray_spec(render(*JOB, "--set", "graceSeconds=600"))["workerGroupSpecs"]
    pod = group["template"]["spec"]
    (drain,) = (
        int(variable["value"])
        for variable in pod["containers"][0]["env"]
        if variable["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
    )
    assert 0 < pod["terminationGracePeriodSeconds"] - drain <= 10


def test_a_node_alone_runs_trials_and_one_with_workers_runs_none():
    assert ray_spec(example("cpu"))["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    alone = ray_spec(example("one-node"))
    assert "num-cpus" not in alone["headGroupSpec"]["rayStartParams"]
    assert alone["enableInTreeAutoscaling"] is False
    limits = alone["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "2"


def test_the_entrypoint_keeps_each_setting_one_word():
    words = shlex.split(of_kind(example("job"), "RayJob")["spec"]["entrypoint"])
    assert words[:2] == ["sweeper", "launch"]
    assert "tasks=[pdebench/advection_1d, pdebench/burgers_1d]" in words
    assert "checkpoints.store=s3://bucket/sweeps?region=eu-central-1" in words
    assert words[words.index("--trials") + 1] == "16"


def described(schema: Document, where: str = "") -> Iterator[tuple[str, Document]]:
    for name, each in schema.get("properties", {}).items():
        yield f"{where}{name}", each
        yield from described(each, f"{where}{name}.")
        yield from described(each.get("items", {}), f"{where}{name}[].")


def test_every_value_is_described_and_has_a_default():
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    assert [name for name, each in described(schema) if not each.get("description")] == []
    open_ones = [
        name for name, each in described(schema)
        if "properties" in each and each.get("additionalProperties") is not False
    ]  # fmt: skip
    assert open_ones == []
    values = YAML(typ="safe").load((CHART / "values.yaml").read_text())
    defaults = {key for key, _ in flat(values)}
    assert {name for name, _ in described(schema) if "[]" not in name} == defaults


def flat(values: Document, where: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{where}{name}", value
        if isinstance(value, dict) and value and name != "dashboardLabels":
            yield from flat(value, f"{where}{name}.")


JOB, ALONE = (("-f", str(CHART / "ci" / f"{name}-values.yaml")) for name in ("job", "one-node"))
QUEUED = ("-f", str(CHART / "ci" / "queued-values.yaml"))


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ((), ["sweep: empty", "--set-file sweep=FILE", "checkpoints.store: empty", "s3://BUCKET",
              "ledger: a retried sweep", "mlflow: runs would be lost"]),
        ((*JOB, "--set", "checkpoints.store="), ["checkpoints.store: empty"]),
        ((*JOB, "--set", "checkpoints.store=/data"), ["checkpoints", "store", "pattern"]),
        ((*JOB, "--set", "checkpoints.store=s3://me:key@bucket/x"), ["store", "pattern"]),
        ((*JOB, "--set", "ledger.secretName=,ledger.claimName=disk"),
         ["ledger.claimName: an SQLite file serves one node", "workers: []"]),
        ((*JOB, "--set", "ledger.claimName=disk"), ["ledger: has both"]),
        ((*ALONE, "--set", "ledger.claimName="), ["ledger: a retried sweep"]),
        ((*JOB, "--set", "mlflow.enabled=true"), ["mlflow: has both"]),
        ((*JOB, "--set", "mlflow.url=https://me:secret@host"), ["mlflow", "url", "pattern"]),
        ((*QUEUED, "--set", "autoscaling.enabled=true"), ["queue: Kueue admits", "team-a"]),
        ((*QUEUED, "--set", "workers[0].maxReplicas=9"), ["without autoscaling", "maxReplicas: 4"]),
        ((*JOB, "--set", "launch.sets={resources.gpu=2}"),
         ["resources.gpu: a trial of this sweep asks for 2", "no node has more than 1"]),
        ((*QUEUED, "--set", "workers[0].gpus=0"), ["resources.gpu: a trial of this sweep asks"]),
        ((*QUEUED, "--set", "workers[0].cpus=4"), ["resources.cpu: a trial of this sweep asks"]),
        ((*QUEUED, "--set", "workers[0].replicas=0"), ["workers: no group has a replica"]),
        ((*JOB, "--set", "sweep=sweep.yaml"), ["sweep: not the text of a sweep file"]),
        ((*JOB, "--set", "mode=cluster"), ["sweep: a cluster runs no sweep of its own"]),
        ((*JOB, "--set", "mode=jobs"), ["mode"]),
        ((*JOB, "--set", "retires=9"), ["retires", "not allowed"]),
        ((*JOB, "--set", "head.cpu=9"), ["cpu", "not allowed"]),
        ((*JOB, "--set", "launch.sets={tasks='x'}"), ["sets", "pattern"]),
        ((*JOB, "--set", "image.rayVersion=2.40.0"), ["rayVersion", "pattern"]),
        ((*JOB, "--set", "head.memory=lots"), ["memory", "pattern"]),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_a_way_out(arguments, messages):
    said = refusal(*arguments)
    assert [message for message in messages if message not in said] == []


@pytest.mark.parametrize("name", ["x" * 41, "9lives", "a.b"])
def test_a_name_that_kuberay_does_not_take_is_refused(name: str):
    done = helm("template", name, str(CHART), *JOB)
    assert "use at most 40 of a-z, 0-9 and -, beginning with a letter" in done.stderr


def test_a_profile_decides_what_a_trial_asks_for(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text("resources: {gpu: 4}\nprofiles: {small: {resources: {gpu: 1}}, broken: 3}\n")
    given = (*JOB, "--set-file", f"sweep={file}")
    assert "asks for 4" in refusal(*given)
    assert render(*given, "--set", "launch.profile=small")
    assert "asks for 4" in refusal(*given, "--set", "launch.profile=broken")


@pytest.mark.parametrize(("key", "code"), [("methods", 0), ("mehtods", 2)])
def test_the_hook_refuses_a_file_before_a_cluster_starts(tmp_path: Path, key: str, code: int):
    values = tmp_path / "values.yaml"
    text = (CHART / "ci" / "cpu-values.yaml").read_text()
    values.write_text(text.replace("methods: [nft]", f"{key}: [nft]"))
    documents = render("-f", str(values))
    hook = of_kind(documents, "Job")
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = hook["spec"]["template"]["spec"]
    assert (hook["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    pods = Pods(documents, {}, tmp_path)
    pods.lay_mounts("head")  # the same as those of the hook
    (container,) = pod["containers"]
    command = [*container["command"], *map(pods.localized, container["args"])]
    variables = {v["name"]: pods.localized(v["value"]) for v in container["env"]}
    environment = {**os.environ, **PATHS, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert ("unknown key `mehtods`. Did you mean" in done.stderr) is (code == 2)
