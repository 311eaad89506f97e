"""Checks of a merged file: keys and types, names of methods and tasks, sections, stages, secrets.

Each function reads one part, adds its faults, and returns the valid values, so that one run finds
every fault. `parameters.py` checks `parameters` and `fixed`; `rules/studies.py` checks studies.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeper import delivery
from sweeper.errors import NOT_INCLUDED, NOT_INSTALLED, unknown
from sweeper.spec.catalog import PROXY, Catalog, Settings, fault_of, of_dimension
from sweeper.spec.faults import Faults
from sweeper.spec.node import Node
from sweeper.spec.schema import ENV, REPLACED, REQUIRED, Resources, SweepFile, expand
from sweeper.text import holds_secret, printable
from trainables.spec import BackboneSpec

USER_INFO = re.compile(r"//[^/\s@]*@")  # of an address whose variables were left out
PASSWORD = re.compile(r"//[^/\s@]*:[^/\s@]+@")
TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}")  # long, of letters and digits
PROXY_KEYS = ("1d", "2d", "1d_regression", "2d_dense", "2d_regression")


def read_settings(faults: Faults, apart_from: Collection[str] = ()) -> SweepFile:
    """Return the typed settings of the file. A key with a fault gets its default."""
    known = SweepFile.model_fields.keys() - {*apart_from}
    plain = {k: v for k, v in faults.tree.plain().items() if k in known}
    for key in REQUIRED:
        if key in known and key not in plain:
            faults.add(faults.whole, f"missing key `{key}`.")
    try:
        return SweepFile.model_validate(plain)
    except ValidationError as error:
        faults.explain(error, (), SweepFile)
        wrong = {item["loc"][0] for item in error.errors()}
        return SweepFile.model_validate({k: v for k, v in plain.items() if k not in wrong})


def read_section(
    path: tuple[str, ...], model: type[BaseModel], faults: Faults, value: Any
) -> Settings | None:
    """Return the mapping at `path` with the defaults of `model`, or None after a fault."""
    try:
        return model.model_validate(value, strict=True).model_dump(mode="json", by_alias=True)
    except ValidationError as error:
        faults.explain(error, path, model)
        return None


def read_names(
    key: str,
    names: list[str],
    known: Mapping[str, object],
    faults: Faults,
    hint: Callable[[str], str | None] = lambda name: None,
) -> list[str]:
    """Return the known names of a list without duplicates; add a fault for all others.

    `hint` is a function from an unknown name to what is known of it, or None.
    """
    sound: list[str] = []
    for i, name in enumerate(names):
        node, kind = faults.tree.at([key, i]), key.removesuffix("s")
        if name not in known and (reason := hint(name)) is not None:
            faults.add(node, f"unknown {kind} `{name}`: {reason}")
        elif name not in known and key == "tasks":
            among = _variants(name, known) or known
            faults.add(node, unknown(kind, printable(name), among) + NOT_INCLUDED)
        elif name in sound:
            faults.add(node, f"`{key}` has `{name}` twice; keep one.")
        elif (fault := fault_of(kind, name, known)) is not None:
            faults.add(node, fault)
        else:
            sound.append(name)
    return sound


def _variants(name: str, known: Iterable[str]) -> list[str]:
    """Return the known variants of a task if `name` is an unknown variant of it."""
    task, suffix, _ = name.partition("@")
    return [each for each in known if suffix and each.partition("@")[0] == task]


def read_backbones(settings: SweepFile, catalog: Catalog, faults: Faults) -> dict[str, Settings]:
    """Return the backbone for each dimension, with short forms expanded."""
    backbones: dict[str, Settings] = {}
    for dimension, given in settings.backbones.items():
        node = faults.tree.at(["backbones", dimension])
        if dimension not in ("1d", "2d"):
            faults.add(node, unknown("dimension", f"backbones.{printable(dimension)}",
                                     ("backbones.1d", "backbones.2d")))  # fmt: skip
            continue
        value = {"name": given} if isinstance(given, str) else given
        section = read_section(("backbones", dimension), BackboneSpec, faults, value)
        if section is None:
            continue
        label = f"backbones.{dimension}"
        for keys, message in backbone_faults(section, dimension, catalog, label):
            faults.add(["backbones", dimension, *keys], message)
        backbones[dimension] = section
    return backbones


def backbone_faults(
    section: Settings, dimension: str, catalog: Catalog, label: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the faults of a backbone for tasks of a dimension, each with its place in `section`.

    `label` is the name of the backbone's place in messages.
    """
    name, tokens = section["name"], section.get("tokens")
    if section.get("timm") and dimension != "2d":
        message = "timm has encoders of images, for 2d tasks. For 1d, name one with `hub`."
        yield ("timm",), f"`{label}.timm`: {message}"
    elif name not in catalog.backbones and not is_elsewhere(name):
        hint = " A folder is written as a path, ./folder, or lies in SWEEPER_HOME/weights."
        message = unknown("backbone", printable(name), catalog.backbones) + hint
        yield ("name",), message + NOT_INSTALLED
    elif name in catalog.backbones and (fault := fault_of("", name, catalog.backbones)):
        yield ("name",), fault
    elif name in catalog.backbones and (fault := of_dimension(name, catalog.backbones, dimension)):
        yield (), f"`{label}`: {fault}"
    # Tokens of 2D backbones form a square grid.
    if dimension == "2d" and tokens and math.isqrt(tokens) ** 2 != tokens:
        near = math.isqrt(tokens)
        message = f"must be a square number, such as {near**2} or {(near + 1) ** 2}, but got"
        yield ("tokens",), f"`{label}.tokens` {message} {tokens}."


def is_elsewhere(backbone: str) -> bool:
    """Return whether a backbone's name is a path, or a name on the hub or of timm."""
    return "/" in backbone or backbone.startswith((".", "~"))


def read_proxies(settings: SweepFile, catalog: Catalog, faults: Faults) -> dict[str, str]:
    """Return the source data for each kind of target."""
    for key, name in settings.proxies.items():
        node = faults.tree.at(["proxies", key])
        if key not in PROXY_KEYS:
            known = [f"proxies.{k}" for k in PROXY_KEYS]
            faults.add(node, unknown("dimension", f"proxies.{printable(key)}", known))
        elif (fault := fault_of("proxy", name, catalog.proxies)) is not None:
            faults.add(node, fault)
        elif (fault := of_dimension(name, catalog.proxies, key[:2])) is not None:
            faults.about(["proxies", key], f": {fault}")
    return dict(settings.proxies)


def check_dimensions(
    methods: list[str], tasks: list[str], catalog: Catalog, faults: Faults
) -> None:
    """Add a fault for each dimension of the tasks without a backbone or source data."""
    given = {key: set(faults.tree.child(key).children()) for key in ("backbones", "proxies")}
    searched = PROXY in faults.tree.child("parameters").children()
    readers = [m for m in methods if catalog.methods[m].needs_source]
    # If no method is known, one that needs a backbone may be meant.
    needs_backbone = not methods or any(catalog.methods[m].network is None for m in methods)
    for task in map(catalog.tasks.__getitem__, tasks):
        dimension, kinds = task.dimension, {task.dimension, f"{task.dimension}_{task.kind}"}
        if needs_backbone and dimension not in given["backbones"]:
            faults.add(faults.tree.at(["backbones"]) if given["backbones"] else faults.whole,
                       f"`backbones.{dimension}` is missing, but `{task.name}` is a {dimension} "
                       "task.")  # fmt: skip
        if readers and not searched and not kinds & given["proxies"]:
            faults.add(faults.tree.at(["proxies"]) if given["proxies"] else faults.whole,
                       f"`proxies.{dimension}` is missing, but `{readers[0]}` reads source data "
                       f"for {dimension} tasks.")  # fmt: skip


def check_search(catalog: Catalog, faults: Faults) -> None:
    """Add a fault for a sampler or a pruner that is unknown, or that cannot be had."""
    for kind, path, known in (
        ("sampler", ("search", "sampler"), catalog.samplers),
        ("pruner", ("pruning", "type"), catalog.pruners),
    ):
        found, node = faults.tree.trace(path)
        name = node.value
        if found != path or not isinstance(name, str):
            continue
        if name in (replaced := REPLACED[kind]) and name not in known:
            faults.about(path, f": `{name}` is gone: write `{replaced[name]}`, which is as good.")
        elif (fault := fault_of(kind, name, known)) is not None:
            faults.add(node, fault if name in known else f"`{'.'.join(path)}`: {fault}")


def check_resources(resources: Resources, faults: Faults) -> None:
    """Add a fault for processes that do not fit the GPUs, or the CPU cores, of a trial."""
    processes, gpu, cpu = resources.processes, resources.gpu, resources.cpu
    if processes is None:
        return
    message = None
    if gpu and processes != max(1, gpu):
        message = f"each GPU has one process: leave it out, or write `gpu: {processes}`."
    elif not gpu and processes > cpu:
        message = (
            f"each needs a CPU core, but `resources.cpu` is {cpu:g}: write `cpu: {processes}`."
        )
    if message is not None:
        faults.about(["resources", "processes"], f" is {processes}, and {message}")


def check_compilation(model: Settings, resources: Resources, faults: Faults) -> None:
    """Add a fault for CUDA graphs without a GPU, and for oneDNN's products in a compiled body."""
    if model.get("compile") == "graphs" and not resources.gpu:
        message = "`model.compile: graphs` needs a GPU, but `resources.gpu` is 0"
        faults.add(["model", "compile"], f"{message}: write `inductor` or `off`.")
    if (model.get("compile"), model.get("products")) == ("inductor", "onednn"):
        message = "`model.products: onednn` cannot be compiled: write `plain`, or `compile: off`."
        faults.add(["model", "products"], message)


def check_secrets(faults: Faults) -> None:
    """Add faults for passwords in addresses, and for `${env:...}` where none is read.

    `check_notify` checks the addresses of `notify`.
    """

    def walk(node: Node, path: tuple[str | int, ...]) -> None:
        if path == ("tracking", "uri") or path[:1] == ("notify",):
            return
        if isinstance(node.value, dict):
            for key, child in node.value.items():
                walk(child, (*path, key))
        elif isinstance(node.value, list):
            for i, child in enumerate(node.value):
                walk(child, (*path, i))
        elif isinstance(node.value, str):
            if holds_secret(node.value):
                faults.add(node, "an address with a password in it. A sweep file holds no secret.")
            elif ENV.search(node.value) or "${" in node.value:
                message = "${env:NAME} is read in `tracking.uri` and `notify` only."
                faults.add(node, f"`{printable('.'.join(map(str, path)))}`: {message}")

    walk(faults.tree, ())


def check_environment(uri: str | None, environment: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for each variable in `tracking.uri` that the environment lacks."""
    for name in ENV.findall(uri or ""):
        if name not in environment:
            message = f": the environment variable {printable(name)} is not set; set it."
            faults.about(["tracking", "uri"], message)


def check_notify(
    addresses: Iterable[str],
    environment: Mapping[str, str] | None,
    faults: Faults,
    *,
    document: Node,
) -> None:
    """Add a fault for each address of `notify` that shows a secret or cannot be used.

    Args:
        addresses: Those of `tree`.
        environment: The variables that addresses may name; None: they are not known here.
        faults: The faults so far.
        document: The file with all profiles: the ledger keeps its text.
    """
    for profile in document.child("profiles").children().values():
        for node in profile.child("notify").items():
            if fault := _secret_fault(str(node.value)):
                faults.add(node, f"`notify`: {fault}.")
    for i, address in enumerate(addresses):
        fault = _secret_fault(address) or _address_fault(address, environment)
        if fault:  # the address is not shown, whatever it is
            faults.about(["notify", i], f": {fault}.")


def _address_fault(address: str, environment: Mapping[str, str] | None) -> str | None:
    """Return why nothing can be sent to an address, as far as it is known here, or None."""
    names = ENV.findall(address)
    if environment is None:
        # With a variable the address is not known in full, and the machine of the launch may have
        # other packages.
        can_tell = not names and delivery.is_webhook(address)
        return delivery.fault_of(address) if can_tell else None
    if missing := [name for name in names if name not in environment]:
        return f"the environment variable {printable(missing[0])} is not set; set it"
    return delivery.fault_of(expand(address, environment))


def _secret_fault(address: str) -> str | None:
    """Return why an address as it is written may show a secret, or None."""
    text = ENV.sub("", address)
    scheme, has_scheme, rest = text.partition("://")
    is_named = text != address
    hint = "a sweep file holds no secret: put it in the environment, and write ${env:NAME}"
    if "$" in text:
        return "write environment variables as ${env:NAME}"
    if not (has_scheme or is_named):
        return "it must be an address with its scheme, such as https:// or slack://"
    if PASSWORD.search(text) or holds_secret(USER_INFO.sub("", text)):
        return f"it has a password or a token in it; {hint}"
    is_webhook = delivery.is_webhook(text)
    if has_scheme and not is_webhook and not is_named:
        return f"an address of `{printable(scheme)}` has a secret in it as a rule; {hint}"
    parts = rest.partition("/")[2] if is_webhook else rest or text  # the host of a webhook is none
    if any(map(TOKEN.fullmatch, re.split(r"[/?&=@:.,#]", parts))):
        return f"it has what looks like a token in it; {hint}"
    # Services put tokens, of whatever look, behind the first part of a webhook's path.
    if is_webhook and not is_named and len(list(filter(None, re.split(r"[/?#]", parts)))) > 1:
        return f"what follows the first part of a webhook's path is a secret as a rule; {hint}"
    return None
