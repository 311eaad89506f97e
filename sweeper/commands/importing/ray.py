"""Ray Tune: a Python file, of which the syntax tree is read; nothing of it is executed."""

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeper.commands.importing.search import WIDE, ImportedSearch
from sweeper.errors import UsageError
from sweeper.spec.reader import read_text

TOOL = "Ray Tune"
SAMPLERS = {"": "random", "BasicVariantGenerator": "random", "OptunaSearch": "tpe",
            "HyperOptSearch": "tpe", "TuneBOHB": "tpe", "BayesOptSearch": "gp", "AxSearch": "gp",
            "HEBOSearch": "gp"}  # fmt: skip
HALVING = ("ASHAScheduler", "AsyncHyperBandScheduler", "HyperBandScheduler", "HyperBandForBOHB")
OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
}  # fmt: skip
ORDER = {"choice": ("categories",), "grid_search": ("values",), "randn": ("mean", "sd")}
FROM_OTHERS = ("param_space", "config", "tune_config", "scheduler", "search_alg")
MAX_EXPONENT = 64
UNKNOWN = (ValueError, TypeError, LookupError, ArithmeticError, SyntaxError)  # what is no literal
Names = Mapping[str, ast.expr]


def read(path: Path) -> ImportedSearch:
    """Return the search of the first `Tuner(...)` or `tune.run(...)` of a file.

    Raises:
        UsageError: The file is no Python, or has none whose space is written out.
    """
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no Python file ({error}).") from error
    names = _assigned(tree)
    spaces = [
        (call, given, _followed(given.get("param_space") or given.get("config"), names))
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _called(call) in ("Tuner", "run")
        for given in [_keywords(call)]
    ]
    for call, given, space in spaces:
        if isinstance(space, ast.Dict):
            found = ImportedSearch(tool=TOOL)
            _add_all(found, space, names, "")
            config = _followed(given.get("tune_config"), names)
            _take_settings(found, {**given, **_keywords(config)}, names)
            for trainable in call.args[:1]:
                found.drop(f"trainable {ast.unparse(trainable)}", "write a program that runs it")
            return found
    raise UsageError(
        f"{path}: has no `Tuner(..., param_space={{...}})` that is written out. Nothing of the "
        "file is executed."
    )


def _assigned(tree: ast.AST) -> Names:
    """Return what names are assigned, of those that are assigned once."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    # Which of several assignments holds is known only when the program runs.
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _followed(node: ast.expr | None, names: Names) -> ast.expr | None:
    return names.get(node.id, node) if isinstance(node, ast.Name) else node


def _called(node: ast.expr | None) -> str:
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def _keywords(node: ast.expr | None) -> dict[str, ast.expr]:
    given = node.keywords if isinstance(node, ast.Call) else []
    return {each.arg: each.value for each in given if each.arg is not None}


def _add_all(found: ImportedSearch, space: ast.Dict, names: Names, prefix: str) -> None:
    for key, value in zip(space.keys, space.values, strict=True):
        inner = _followed(value, names)
        # A name may lead back to itself.
        others = {each: node for each, node in names.items() if node is not inner}
        if key is None:  # {**value}
            if isinstance(inner, ast.Dict):
                _add_all(found, inner, others, prefix)
            else:
                found.drop(f"parameters of {ast.unparse(value)}", "they are known to Python alone")
        elif not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            found.drop(f"parameter {ast.unparse(key)}", "its name is no text")
        elif isinstance(inner, ast.Dict):
            _add_all(found, inner, others, f"{prefix}{key.value}.")
        else:
            try:
                _add(found, f"{prefix}{key.value}", inner, names)
            except UNKNOWN:
                why = f"`{ast.unparse(value)}` is known to Python alone"
                found.drop(f"parameter {prefix}{key.value}", why)


def _add(found: ImportedSearch, name: str, node: ast.expr | None, names: Names) -> None:
    if not isinstance(node, ast.Call):
        found.constant(name, _value(node, names))
        return
    kind = _called(node)
    given = _arguments(node, kind, names)
    if kind in ("choice", "grid_search"):
        found.choice(name, given[0])
        if kind == "grid_search":
            found.set("search", sampler="grid")
    elif kind == "randn":
        mean, sd = (0.0 if given[0] is None else given[0]), (1.0 if given[1] is None else given[1])
        found.unbounded(name, kind)
        found.range(name, float(mean - WIDE * sd), float(mean + WIDE * sd))
    elif kind.removeprefix("q") in ("uniform", "loguniform", "randint", "lograndint"):
        low, high = given[:2]
        step, is_log = given[2], "log" in kind
        if kind.endswith("randint"):  # without a step its end is left out
            found.range(name, low, high if step else high - 1, log=is_log, step=step)
        else:
            found.range(name, float(low), float(high), log=is_log, step=step)
    else:
        raise ValueError(kind)


def _arguments(call: ast.Call, kind: str, names: Names) -> list[Any]:
    """Return the arguments of a distribution in the order of its signature; None: not given."""
    order = ORDER.get(kind, ("lower", "upper", "q" if kind.startswith("q") else "base"))
    by_name = {**dict(zip(order, call.args, strict=False)), **_keywords(call)}
    values = [_value(by_name.get(each), names) for each in order]
    # The base of a logarithm changes no draw, so nothing stands in the place of the step.
    return values if "base" not in order else [*values[:2], None]


def _value(node: ast.expr | None, names: Names) -> Any:
    """Return the value of a literal, or of arithmetic with some.

    Raises:
        ValueError, TypeError, LookupError, ArithmeticError: It is anything else.
    """
    if isinstance(node, ast.Name) and node.id in names:
        return _value(names[node.id], {key: each for key, each in names.items() if key != node.id})
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, names), _value(node.right, names)
        # A power, or a list times a number, in a foreign file could fill the memory.
        if isinstance(node.op, ast.Pow) and abs(right) <= MAX_EXPONENT and abs(left) < 2**16:
            return left**right
        if not isinstance(left, int | float):
            raise ValueError(left)
        return OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each, names) for each in node.elts]
    return ast.literal_eval(node) if node is not None else None


def _plain(nodes: Mapping[str, ast.expr], names: Names) -> dict[str, Any]:
    """Return the values of what is literal."""
    found = {}
    for key, node in nodes.items():
        try:
            found[key] = _value(node, names)
        except UNKNOWN:
            continue
    return found


def _take_settings(found: ImportedSearch, given: Mapping[str, ast.expr], names: Names) -> None:
    plain = _plain(given, names)
    scheduler, searcher = (_followed(given.get(n), names) for n in ("scheduler", "search_alg"))
    kind, rule = _called(scheduler), _plain(_keywords(scheduler), names)
    goals = (plain, rule, _plain(_keywords(searcher), names))
    found.metric = str(next((each["metric"] for each in goals if each.get("metric")), ""))
    found.is_maximised = next((each["mode"] for each in goals if each.get("mode")), "min") == "max"
    taken = {*FROM_OTHERS, *plain.keys() & {"metric", "mode"}}
    if isinstance(samples := plain.get("num_samples"), int) and samples > 0:
        found.set("search", trials=samples if samples > 1 else None)
        taken.add("num_samples")
    if isinstance(at_once := plain.get("max_concurrent_trials"), int):
        found.set("search", max_concurrent=at_once)
        taken.add("max_concurrent_trials")
    if isinstance(seconds := plain.get("time_budget_s"), int | float):
        found.set("budget", wall=f"{max(1, round(seconds))}s")
        taken.add("time_budget_s")
    if isinstance(devices := plain.get("resources_per_trial"), dict):
        found.set("resources", **{k: v for k, v in devices.items() if k in ("cpu", "gpu")})
        taken.add("resources_per_trial")
    for name in (each for each in given if each not in taken):
        found.drop(name, f"`{ast.unparse(given[name])}` is not taken over")
    if found.settings["search"]["sampler"] != "grid":
        found.sample(SAMPLERS, _called(searcher))
    first = max(1, int(rule.get("grace_period") or 1))
    is_hyperband = kind.startswith("HyperBand")
    if kind in HALVING:
        # Where the file gives no numbers, Ray Tune's defaults hold.
        found.steps = int(rule.get("max_t") or (81 if is_hyperband else 100))
        eta = max(2, round(rule.get("reduction_factor") or (3 if is_hyperband else 4)))
        found.set("pruning", type="asha", min_epochs=first, eta=eta)
    elif kind == "MedianStoppingRule":
        found.set("pruning", type="median", min_epochs=first)
    elif kind not in ("", "FIFOScheduler"):
        found.drop(f"scheduler {kind}", "has no counterpart; nothing ends early")
