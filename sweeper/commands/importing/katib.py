"""Katib: an Experiment of Kubeflow."""

import re
import shlex
from pathlib import Path

from sweeper.commands.importing.search import (
    ONE_METRIC,
    ImportedSearch,
    Part,
    number_in,
    without_shell,
)

TOOL = "Katib"
SAMPLERS = {"random": "random", "grid": "grid", "tpe": "tpe", "multivariate-tpe": "tpe",
            "bayesianoptimization": "gp", "cmaes": "cmaes", "sobol": "qmc",
            "hyperband": "random"}  # fmt: skip
REFERENCE = re.compile(r"\$\{trialParameters\.([^}]+)\}")
SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash")


def read(path: Path) -> ImportedSearch:
    """Return the search of an Experiment."""
    experiment = Part.of_file(path, TOOL)
    spec = experiment.part("spec")
    objective, algorithm = spec.part("objective"), spec.part("algorithm")
    found = ImportedSearch(tool=TOOL, name=experiment.part("metadata").text("name"))
    found.metric = objective.text("objectiveMetricName")
    found.is_maximised = objective.text("type") == "maximize"
    found.drop_rest(objective, ONE_METRIC, "objective.")
    found.sample(SAMPLERS, kind := algorithm.text("algorithmName"))
    found.set("search", trials=spec.whole("maxTrialCount"),
              max_concurrent=spec.whole("parallelTrialCount"))  # fmt: skip
    for parameter in spec.parts("parameters"):
        _add(found, parameter)
    settings = _settings(algorithm)
    stopping = spec.part("earlyStopping")
    if kind == "hyperband":
        # `r_l` is the most that one trial may get.
        found.steps = int(number_in(settings.pop("r_l", "")) or 0) or None
        eta = max(2, int(number_in(settings.pop("eta", "")) or 3))
        found.set("pruning", type="asha", min_epochs=1, eta=eta)
        found.drop("brackets of hyperband", "one bracket, whose first rung is at one report")
    elif stopping.text("algorithmName") == "medianstop":
        start = int(number_in(_settings(stopping).get("start_step", "")) or 4)
        found.set("pruning", type="median", min_epochs=max(1, start))
    for name in settings:
        found.drop(f"algorithm setting {name}", "samplers have their own defaults")
    _take_command(found, spec.part("trialTemplate"))
    found.drop_rest(spec, "is of Kubernetes and Katib's controller")
    return found


def _settings(algorithm: Part) -> dict[str, str]:
    return {each.text("name"): each.text("value") for each in algorithm.parts("algorithmSettings")}


def _add(found: ImportedSearch, parameter: Part) -> None:
    name, kind = parameter.text("name"), parameter.text("parameterType")
    space = parameter.part("feasibleSpace")
    if (values := space.values("list")) is not None:
        # Katib quotes numbers in lists.
        found.choice(name, map(number_in, values) if kind == "discrete" else values)
        return
    low, high, step = map(space.number, ("min", "max", "step"))
    if low is None or high is None:
        found.drop(f"parameter {name}", "has neither list nor min and max")
        return
    low, high = (float(low), float(high)) if kind == "double" else (low, high)
    found.range(name, low, high, log=space.text("distribution").startswith("log"), step=step)


def _take_command(found: ImportedSearch, template: Part) -> None:
    pod = template.part("trialSpec").part("spec").part("template").part("spec")
    given, main = [*pod.parts("containers")], template.text("primaryContainerName")
    container = next((c for c in given if c.text("name") == main), given[0] if given else None)
    if container is None:
        return
    words = [str(w) for key in ("command", "args") for w in container.values(key) or ()]
    names = {
        each.text("name"): each.text("reference") for each in template.parts("trialParameters")
    }
    # A text for a shell is split, unless it uses what only a shell understands.
    if words[:1] and words[0] in SHELLS and words[1:2] == ["-c"] and len(words) == 3:
        plain = without_shell(REFERENCE.sub("", words[2]))
        words = words if plain is None else shlex.split(words[2])
    found.run(
        REFERENCE.sub(lambda m: found.word(names.get(m[1], m[1]), "{value}"), word)
        for word in words
    )
    found.drop_rest(container, "the program runs where trials run", "container.")
