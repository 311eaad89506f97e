"""The name of a stage's result: a hash of all that it depends on, and of nothing else.

    root    data, weights, proxy, the parts made for the target, seed, precision, what computes
    key     the stage's code, name and hyperparameters, and the key of the stage before it

So two trials have a key in common exactly if they would compute the same bits up to there.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from trainables.models.backbone import Backbone
from trainables.sources.source import Domains
from trainables.spec import TrialSpec
from trainables.stages.stage import Stage, StageConfig
from trainables.tasks.task import TaskInfo

__all__ = ["code_version", "root_key", "stage_key", "stage_keys"]

PACKAGE = "trainables"
LIBRARIES = ("torch", "transformers", "timm", "pot", "numpy", "scipy", "scikit-learn")
SHARED_CODE = ("trainables.models.cross_modal", "trainables.models.backbones.loading",
               "trainables.sources.source", "trainables.training.pseudo_labels",
               "trainables.tasks.store.store")  # fmt: skip


def root_key(spec: TrialSpec, backbone: Backbone, domains: Domains, device: torch.device) -> str:
    """Returns the name of a trial's state before its first stage.

    Names and places of weights are left out: their hash says what they are.
    """
    source = domains.source
    return _hash(
        {
            "task": [domains.target.content_hash, *_as_trained_on(domains.target.info)],
            "weights": [backbone.weights_hash, spec.backbone.weights],
            "body": [spec.backbone.layers, spec.backbone.tokens],
            "proxy": None if source is None else source.content_hash,
            "model": spec.model.model_dump(mode="json"),
            "seed": spec.seed,
            "halvings": spec.halvings,
            "computed_by": _computed_by(device),
            "libraries": [version(name) for name in LIBRARIES],
        }
    )


def stage_key(name: str, config: StageConfig, upstream: str) -> str:
    """Returns the name of the result of a stage that goes on from `upstream`'s.

    A stage without epochs does nothing, and has no key of its own.
    """
    if config.epochs == 0:
        return upstream
    module = config.implementation.partition(":")[0]
    return _hash(
        {
            "upstream": upstream,
            "stage": name,
            "code": code_version(module, type(config).__module__, *SHARED_CODE),
            "hyperparameters": config.model_dump(mode="json"),
        }
    )


def stage_keys(stages: tuple[Stage[Any], ...], root: str) -> dict[str, str]:
    """Returns the key of each stage, by its name."""
    keys: dict[str, str] = {}
    for stage in stages:
        root = keys[stage.name] = stage_key(stage.name, stage.config, root)
    return keys


@cache
def code_version(*modules: str) -> str:
    """Returns a hash of the code of modules and of all that they import of this package: of what
    Python makes of it, so that comments, docstrings and layout do not count."""
    seen: dict[str, str] = {}
    left = list(modules)
    while left:
        module = left.pop()
        if module in seen:
            continue
        path = _file(module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        seen[module] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
        left += _imports(tree)
    return _hash(seen)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith(f"{PACKAGE}."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            assert node.module is not None
            yield node.module
            for alias in node.names:
                if _is_package(node.module) and find_spec(f"{node.module}.{alias.name}"):
                    yield f"{node.module}.{alias.name}"


def _is_package(module: str) -> bool:
    return hasattr(import_module(module), "__path__")


def _file(module: str) -> Path:
    found = find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    return Path(found.origin)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                del node.body[0]
    return tree


def _as_trained_on(info: TaskInfo) -> list[Any]:
    """What a stage reads of a task besides its data."""
    return [info.name, info.kind, info.loss, info.metric, info.mask, info.channels]


def _computed_by(device: torch.device) -> list[Any]:
    """What rounding depends on: a GPU's kind, or a CPU's instructions and the threads among which
    it divides a sum."""
    if device.type == "cuda":
        return ["cuda", torch.cuda.get_device_name(device)]
    return [device.type, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


def _hash(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
