"""The Compose file of a team: its schema, rules of ours, and how its parts name one another.

`test_compose_run.py` starts the services themselves.
"""

import os
import re
import subprocess
import sys
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import sweeper
from tests.support.command import ROOT

DOCKER = ROOT / "docker"
PARTS = DOCKER / "compose"
FILES = [DOCKER / "compose.yaml", PARTS / "gpu.yaml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
NO_SECRETS = {"AWS_ACCESS_KEY_ID", "RAY_AUTH_MODE"}  # the name of a user, and a way
ROOTS = {"bucket"}  # services that run as root without its capabilities
GRAFANA = {  # file -> its list, and what an entry may have: a misspelt key is ignored by Grafana
    "datasources": (
        "datasources",
        {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"},
    ),
    "dashboards": ("providers", {"name", "type", "folder", "allowUiUpdates", "options"}),
}
ONCE = {"buckets"}  # services that do their work and end
OWN_USER = "sweeper:"  # the Dockerfile of this image names its user


def load(file: Path) -> Any:
    return YAML(typ="safe", pure=True).load(file.read_text())


COMPOSE = load(FILES[0])
SERVICES = COMPOSE["services"]


def faults(compose: Any) -> list[str]:
    """Return the faults of a Compose file, by the rules of this repository."""
    found = [
        f"secrets.{name}: is no file"
        for name, s in compose["secrets"].items()
        if set(s) != {"file"}
    ]
    for name, service in compose["services"].items():
        found += [f"{name}.{fault}" for fault in _faults_of(name, service, compose)]
    used = {secret for s in compose["services"].values() for secret in s.get("secrets", ())}
    return found + [f"secrets.{name}: unused" for name in set(compose["secrets"]) - used]


def _faults_of(name: str, service: Any, compose: Any) -> list[str]:
    found = _faults_of_rights(name, service)
    if not re.search(r":v?\d+(\.\d+)+$", service["image"]):
        found.append("image: has no version as its tag")
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    found += [f"limits.{key}: none" for key in ("cpus", "memory", "pids") if not limits.get(key)]
    restart, check = service.get("restart"), service.get("healthcheck", {}).get("test", [""])
    if restart != "no" and check[0] != "CMD":
        found.append("healthcheck: none")
    # What runs once, or for a user, ends by itself.
    ends = "client" in service.get("profiles", ()) or name in ONCE
    if restart != "unless-stopped" and not (ends and restart == "no"):
        found.append("restart: does not come back with the host")
    found += [
        f"ports: {port} is open to others"
        for port in service.get("ports", ())
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    ]
    return found + _faults_of_links(service, compose)


def _faults_of_links(service: Any, compose: Any) -> list[str]:
    found = []
    for other, needed in service.get("depends_on", {}).items():
        ready = "service_completed_successfully" if other in ONCE else "service_healthy"
        if needed != {"condition": ready} or other not in compose["services"]:
            found.append(f"depends_on: {other} may not be ready")
    for key, value in service.get("environment", {}).items():
        is_safe = key in NO_SECRETS or str(value).startswith("/run/secrets/")
        if (SECRET.search(key) and not is_safe) or re.search(r"://[^/@]*:[^/@]*@", str(value)):
            found.append(f"environment: {key} holds a secret")
    for volume in service.get("volumes", ()):
        source, _, place = volume.partition(":")
        if source not in compose["volumes"] and not place.endswith(":ro"):
            found.append(f"volumes: {source} of the host can be written")
    return found


def _faults_of_rights(name: str, service: Any) -> list[str]:
    found = []
    if service.get("cap_drop") != ["ALL"] or "cap_add" in service:
        found.append("cap_drop: keeps capabilities")
    if service.get("security_opt") != ["no-new-privileges:true"]:
        found.append("security_opt: may gain rights")
    if service.get("read_only") is not True:
        found.append("read_only: its root can be written")
    shared = ("privileged", "network_mode", "pid", "ipc", "userns_mode", "devices")
    found += [f"{key}: shares what is the host's" for key in shared if key in service]
    user = (service.get("user") or "").partition(":")[0]
    is_root = user in ("", "0", "root") and not service["image"].startswith(OWN_USER)
    if is_root and name not in ROOTS:
        found.append("user: is root")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_files_follow_the_schema_of_compose(file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_file_keeps_the_rules():
    assert faults(COMPOSE) == []


@pytest.mark.parametrize(
    ("service", "change", "fault"),
    [
        ("postgres", {"image": "postgres"}, "image"),
        ("postgres", {"image": "postgres:latest"}, "image"),
        ("postgres", {"user": "root"}, "user"),
        ("postgres", {"user": None}, "user"),
        ("postgres", {"environment": {"POSTGRES_PASSWORD": "x"}}, "environment"),
        ("mlflow", {"environment": {"STORE": "postgresql://a:b@postgres/a"}}, "environment"),
        ("mlflow", {"ports": ["5000:5000"]}, "ports"),
        ("mlflow", {"ports": ["0.0.0.0:5000:5000"]}, "ports"),
        ("mlflow", {"depends_on": {"postgres": {"condition": "service_started"}}}, "depends_on"),
        ("ray", {"cap_drop": []}, "cap_drop"),
        ("ray", {"cap_add": ["SYS_ADMIN"]}, "cap_drop"),
        ("ray", {"security_opt": []}, "security_opt"),
        ("ray", {"read_only": False}, "read_only"),
        ("ray", {"network_mode": "host"}, "network_mode"),
        ("ray", {"privileged": True}, "privileged"),
        ("ray", {"deploy": {}}, "limits"),
        ("ray", {"healthcheck": {"disable": True}}, "healthcheck"),
        ("ray", {"restart": "no"}, "restart"),
        ("grafana", {"volumes": ["./grafana:/x"]}, "volumes"),
    ],
)
def test_each_broken_rule_is_found(service, change, fault):
    broken = deepcopy(COMPOSE)
    broken["services"][service] |= change
    assert [found for found in faults(broken) if found.startswith(f"{service}.{fault}")] != []


def test_a_secret_in_the_file_is_found():
    broken = deepcopy(COMPOSE)
    broken["secrets"]["ray_token"] = {"environment": "TOKEN"}
    broken["secrets"]["spare"] = {"file": "spare"}
    assert faults(broken) == ["secrets.ray_token: is no file", "secrets.spare: unused"]


def test_what_the_file_mounts_is_there():
    named = [config["file"] for config in COMPOSE["configs"].values()]
    used = {config["source"] for s in SERVICES.values() for config in s.get("configs", ())}
    assert used == set(COMPOSE["configs"])
    assert [name for name in named if not (DOCKER / name).is_file()] == []
    assert os.access(PARTS / "postgres" / "databases.sh", os.X_OK)  # else it would be sourced


def test_our_image_has_our_version_and_known_extras():
    images = {s["image"] for s in SERVICES.values() if "build" in s}
    assert images == {f"sweeper:{sweeper.__version__}"}
    arguments = {
        argument for s in SERVICES.values() if "build" in s for argument in s["build"]["args"]
    }
    (extras,) = (a.removeprefix("EXTRAS=") for a in arguments if a.startswith("EXTRAS="))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    known = re.findall(r"^ARG (\w+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert {argument.partition("=")[0] for argument in arguments} <= set(known)


def test_prometheus_asks_ray_and_grafana_asks_prometheus():
    scraped = load(PARTS / "prometheus.yml")
    (job,) = scraped["scrape_configs"]
    (port,) = (c.partition("=")[2] for c in SERVICES["ray"]["command"] if "metrics-export" in c)
    assert job["static_configs"] == [{"targets": [f"ray:{port}"]}]
    (source,) = load(PARTS / "grafana" / "datasources.yaml")["datasources"]
    (published,) = SERVICES["prometheus"]["ports"]
    assert source["url"] == f"http://prometheus:{published.rpartition(':')[2]}"
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = load(PARTS / "grafana" / "dashboards.yaml")["providers"]
    (mounted,) = (v for v in SERVICES["grafana"]["volumes"] if v.startswith("./"))
    folder, place, _ = mounted.split(":")
    assert provider["options"]["path"] == place
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DOCKER / folder / home.removeprefix(f"{place}/")).is_file()


@pytest.mark.parametrize("name", GRAFANA)
def test_grafana_knows_every_key_of_its_files(name):
    entries, keys = GRAFANA[name]
    found = load(PARTS / "grafana" / f"{name}.yaml")
    assert found.keys() == {"apiVersion", entries}
    assert found["apiVersion"] == 1
    assert [set(entry) - keys for entry in found[entries]] == [set()]


def test_secrets_are_made_once_and_only_their_owner_reaches_them(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)  # as a user makes it

    def make() -> dict[str, str]:
        environment = {**os.environ, "SWEEPER_SECRETS": str(folder)}
        subprocess.run([str(PARTS / "make-secrets.sh")], env=environment, check=True)
        return {path.name: path.read_text() for path in folder.iterdir()}

    made = make()
    assert set(made) == set(COMPOSE["secrets"])
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[0-9a-f]{64}", word) for word in made.values())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    (folder / "ray_token").unlink()
    again = make()
    assert again.pop("ray_token") != made.pop("ray_token")
    assert again == made


def test_a_command_gets_its_secrets_or_does_not_start(tmp_path):
    script = PARTS / "with-secrets.sh"
    secret = tmp_path / "secret"
    secret.write_text("a 'b' $c\n")

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        show = "import os; print(os.environ.get('PGPASSWORD'))"
        command = ["/bin/sh", str(script), sys.executable, "-c", show]
        return subprocess.run(command, env=variables, capture_output=True, text=True)

    assert run(PGPASSWORD_FILE=str(secret)).stdout == "a 'b' $c\n"
    assert run().stdout == "None\n"
    missing = run(PGPASSWORD_FILE=str(tmp_path / "none"))
    assert (missing.returncode != 0, missing.stdout) == (True, "")
    for name, service in SERVICES.items():
        named = {k for k in service.get("environment", {}) if k.endswith("_FILE")}
        if str(script.name) in " ".join(service.get("entrypoint", ())):
            read = {k for k in named if k.removesuffix("_FILE") in script.read_text()}
            assert named == read, name
