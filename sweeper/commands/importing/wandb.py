"""W&B: the configuration of a sweep, as `wandb sweep` reads it."""

import math
from pathlib import Path

from sweeper.commands.importing.search import ONE_METRIC, WIDE, ImportedSearch, Part

TOOL = "W&B"
SAMPLERS = {"bayes": "gp", "random": "random", "grid": "grid"}
MAX_BRACKETS = 32
DEFAULT_COMMAND = ("${interpreter}", "${program}", "${args}")
ARGS = {"${args}": "--{name}={value}", "${args_no_hyphens}": "{name}={value}"}


def read(path: Path) -> ImportedSearch:
    """Return the search of a sweep configuration of W&B."""
    sweep = Part.of_file(path, TOOL)
    metric, rule = sweep.part("metric"), sweep.part("early_terminate")
    found = ImportedSearch(tool=TOOL, name=sweep.text("name"), metric=metric.text("name"))
    found.is_maximised = metric.text("goal") == "maximize"
    found.drop_rest(metric, ONE_METRIC, "metric.")
    found.sample(SAMPLERS, sweep.text("method"))
    found.set("search", trials=sweep.whole("run_cap"))
    _add(found, sweep.part("parameters"), "")
    if rule.text("type") == "hyperband":
        eta, found.steps = rule.whole("eta") or 3, rule.whole("max_iter")
        # W&B's brackets lie at max_iter / eta to max_iter / eta^s, and the last one comes first.
        first = (found.steps or 1) / eta ** min(rule.whole("s") or 1, MAX_BRACKETS)
        first = rule.whole("min_iter") or max(1, round(first))
        found.set("pruning", type="asha", min_epochs=first, eta=max(2, eta))
    found.drop_rest(rule, "has no counterpart", "early_terminate.")
    program = sweep.text("program")
    simple = {"${env}": ["env"], "/usr/bin/env": ["env"], "${interpreter}": ["python"],
              "${program}": [program]}  # fmt: skip
    words: list[str] = []
    given = sweep.values("command")
    for word in map(str, (given or DEFAULT_COMMAND) if given or program else ()):
        if word in ARGS:
            words += [found.word(name, ARGS[word]) for name in found.names]
        elif word.startswith("${") and word not in simple:
            found.drop(f"{word} of command", "no such word; SWEEPER_PARAMS has all parameters")
        else:
            words += simple.get(word, [word])
    if words[:1] == ["env"] and not any("=" in word for word in words[1:2]):
        del words[0]  # it sets no variable
    found.run(words)
    found.drop_rest(sweep, "belongs to W&B's own pages")
    return found


def _add(found: ImportedSearch, parameters: Part, prefix: str) -> None:
    for key in parameters:
        each, name = parameters.part(key), f"{prefix}{key}"
        if "parameters" in each:
            _add(found, each.part("parameters"), f"{name}.")
        elif (values := each.values("values")) is not None:
            found.choice(name, values)
        elif "value" in each:
            found.constant(name, each.plain("value"))
        else:
            _add_range(found, name, each)
        found.drop_rest(each, "is not read; the sampler learns what is good", f"{name}.")


def _add_range(found: ImportedSearch, name: str, each: Part) -> None:
    kind = each.text("distribution")
    low, high, step = map(each.number, ("min", "max", "q"))
    is_log, is_real = "log" in kind, kind == "uniform"
    if kind.startswith("inv_") or kind.endswith("beta"):
        found.drop(f"parameter {name}", f"{kind} has no counterpart")
        return
    step = step or 1 if kind.startswith("q_") else step  # W&B's default
    if kind.endswith("normal"):
        mean, sd = each.number("mu") or 0.0, each.number("sigma") or 1.0
        low, high = float(mean - WIDE * sd), float(mean + WIDE * sd)
        found.unbounded(name, kind)
    if low is None or high is None:
        found.drop(f"parameter {name}", "has neither values nor min and max")
        return
    if is_log and not kind.endswith("_values"):
        low, high = math.exp(low), math.exp(high)  # these bounds are exponents of e
    if is_real or (is_log and not kind.startswith("q_")):
        low, high = float(low), float(high)
    found.range(name, low, high, log=is_log, step=None if is_log and step == 1 else step)
