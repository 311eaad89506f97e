"""Plugins: methods, tasks and other objects that installed distributions offer by name.

A distribution offers an object by an entry point of one of the groups in `GROUPS`. The objects of
this package are offered in the same way, in pyproject.toml. Names come from the metadata of the
installed distributions. An object is imported when it is looked up, and not before.

The value of an entry point is `module:OBJECT`. OBJECT may also be a mapping that holds several
objects; then the name of the entry point is the key.

Importing this module loads no torch.
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar, cast

from trainables.errors import PluginError

NOTE = "sweeper-plugin.json"  # in the metadata of a plugin that was copied: path, and source files
DISTRIBUTION = "crossmodal-sweeper"  # of this package; on PyPI, `sweeper` is another project
GROUPS = {  # entry points by group, with the word for one object in messages
    "sweeper.methods": "method",
    "sweeper.tasks": "benchmark",
    "sweeper.backbones": "backbone",
    "sweeper.sources": "source",
    "sweeper.metrics": "metric",
    "sweeper.predictors": "predictor",
    "sweeper.distances": "distance",
    "sweeper.samplers": "sampler",
    "sweeper.pruners": "pruner",
}

T = TypeVar("T")


def install(extra: str) -> str:
    """Return the command that installs an extra of this package."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An object that a distribution offers under a name, not yet imported."""

    group: str
    name: str
    value: str  # "module:OBJECT"
    distribution: str
    version: str
    load: Callable[[], object]
    read_text: Callable[[str], str | None]  # a file of the distribution's metadata, by its name

    @property
    def module(self) -> str:
        """The module that holds the object."""
        return self.value.partition(":")[0].strip()

    @property
    def is_ours(self) -> bool:
        """True if the object is built in."""
        return self.distribution == DISTRIBUTION

    @property
    def origin(self) -> str:
        """The distribution and its version, for people."""
        return f"{self.distribution} {self.version}".strip()


def offers(group: str) -> Mapping[str, tuple[Offer, ...]]:
    """Return the offers of a group by name. A name with two offers is ambiguous."""
    return _all_offers()[group]


def plugins_of(names: Mapping[str, Iterable[str]]) -> tuple[Offer, ...]:
    """Return the offers of plugins among `names`, which are by group; built-in ones are left out.

    Names that nobody offers are left out, too, such as the path of a backbone.
    """
    return tuple(
        offer
        for group, wanted in names.items()
        for name in dict.fromkeys(wanted)
        for offer in offers(group).get(name, ())
        if not offer.is_ours
    )


def reread() -> None:
    """Read the metadata anew on the next use, after a change of `sys.path`."""
    _all_offers.cache_clear()


@cache
def _all_offers() -> Mapping[str, Mapping[str, tuple[Offer, ...]]]:
    found: dict[str, dict[str, tuple[Offer, ...]]] = {group: {} for group in GROUPS}
    for distribution in _distributions():
        for entry in distribution.entry_points:
            if entry.group not in GROUPS:
                continue
            offer = Offer(
                group=entry.group,
                name=entry.name,
                value=entry.value,
                distribution=distribution.name,
                version=distribution.version,
                load=entry.load,
                read_text=distribution.read_text,
            )
            of_group = found[entry.group]
            of_group[entry.name] = (*of_group.get(entry.name, ()), offer)
    return found


def _distributions() -> Iterator[Distribution]:
    """Yield the distributions that offer something, each once: the first one on `sys.path`."""
    # All other distributions are told by their text alone: parsing them would take the time.
    seen: set[str] = set()
    for distribution in distributions():
        if "[sweeper." in (distribution.read_text("entry_points.txt") or ""):
            # PEP 503: names that differ in case or in these characters are of one distribution.
            name = re.sub(r"[-_.]+", "-", distribution.name).lower()
            if name not in seen:
                seen.add(name)
                yield distribution


class Registry(Mapping[str, T], Generic[T]):
    """The objects of one group by name. Built-in names come first, in the order given.

    Iteration yields names and imports nothing. A look-up imports the object; it raises KeyError for
    an unknown name, and PluginError for an object that cannot be had.

    Args:
        group: A group in `GROUPS`.
        built_in: The built-in names, in the order in which they are listed, or the built-in objects
            by name, which need no entry points.
        accepts: A function that returns whether an object belongs into this registry.
        references: A function that yields the texts `module:Name` of an object by which a trial
            finds its code, each after the words for it in messages.
    """

    def __init__(
        self,
        group: str,
        built_in: tuple[str, ...] | Mapping[str, T],
        accepts: Callable[[object], bool],
        references: Callable[[T], Iterable[tuple[str, str]]] = lambda loaded: (),
    ) -> None:
        self.group, self.kind = group, GROUPS[group]
        self._built_in, self._accepts, self._references = tuple(built_in), accepts, references
        self._own: dict[str, Offer] = {}
        if isinstance(built_in, Mapping):
            self._own = {name: _built_in_offer(group, name, built_in) for name in built_in}
        self._loaded: dict[str, tuple[Offer, T]] = {}
        self._held: dict[str, T] = {}

    def offer(self, name: str) -> Offer:
        """Return the one offer of a name.

        Raises:
            KeyError: The name is unknown.
            PluginError: Two distributions offer the name, or the installed metadata of this package
                are missing or of another version.
        """
        found = self._offers()[name]
        if len(found) > 1:
            both = " and ".join(f"`{each.value}` of {each.origin}" for each in found)
            raise PluginError(
                f"{self.kind} `{name}`: two plugins have this name: {both}. Uninstall one of them, "
                "or rename its entry point."
            )
        return found[0]

    def origins(self, name: str) -> str:
        """Return the distributions that offer a known name, for people."""
        found = self._offers()[name]
        return " and ".join("this package" if each.is_ours else each.origin for each in found)

    @contextmanager
    def holding(self, name: str, value: T) -> Iterator[None]:
        """Have an object under a name meanwhile, whether it is installed or not, as for a test."""
        self._held[name] = value
        try:
            yield
        finally:
            del self._held[name]

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Forget at the end what was held meanwhile, as after a test."""
        before = dict(self._held)
        try:
            yield
        finally:
            self._held = before

    def hold(self, name: str, value: T) -> None:
        """Have an object under a name from now on, such as the program of a user."""
        self._held[name] = value

    def __getitem__(self, name: str) -> T:
        if name in self._held:
            return self._held[name]
        offer = self.offer(name)
        known = self._loaded.get(name)
        # A change of `sys.path` may bring another object under the same name.
        if known is None or known[0] is not offer:
            known = self._loaded[name] = (offer, self._load(offer))
        return known[1]

    def __contains__(self, name: object) -> bool:
        return name in self._held or name in self._offers()

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        yield from sorted(set(self._offers()).difference(self._built_in))

    def __len__(self) -> int:
        return len(self._offers())

    def usable(self) -> dict[str, T]:
        """Import all objects, and return those that can be had, by name.

        A plugin that is damaged is left out: it must not stop the work with others. It is reported
        where it is named, and by `sweeper doctor`.
        """
        found: dict[str, T] = {}
        for name in self:
            try:
                found[name] = self[name]
            except PluginError:
                continue
        return found

    def _offers(self) -> Mapping[str, tuple[Offer, ...]]:
        found = offers(self.group)
        if self._own:
            more = {name: (offer, *found.get(name, ())) for name, offer in self._own.items()}
            return {**found, **more}
        missing = [name for name in self._built_in if name not in found]
        if missing:
            raise PluginError(
                f"the installed metadata of {DISTRIBUTION} name no {self.kind} `{missing[0]}`: the "
                "package runs from a folder of sources that is not installed, or whose metadata "
                "are outdated. Install it: pip install -e ."
            )
        return found

    def _load(self, offer: Offer) -> T:
        """Import the object of an offer.

        Raises:
            PluginError: It cannot be imported, or it is something else, or it refers to code that
                is not there.
        """
        where = f"{self.kind} `{offer.name}` of {offer.origin} (`{offer.value}`)"
        try:
            loaded = offer.load()
            if isinstance(loaded, Mapping):
                loaded = loaded[offer.name]
        except Exception as error:
            if offer.is_ours:
                raise  # a fault of this installation, which its traceback explains
            raise PluginError(f"{where} cannot be imported: {cause_of(error)}") from error
        name = getattr(loaded, "name", offer.name)
        if not self._accepts(loaded):
            kind = type(loaded).__name__
            raise PluginError(f"{where} is a {kind}, which is no {self.kind}.")
        if name != offer.name:
            raise PluginError(f"{where} calls itself `{name}`: give both the same name.")
        found = cast(T, loaded)
        for what, reference in () if offer.is_ours else self._references(found):
            if (fault := _fault_of(reference)) is not None:
                place = _place_of(reference, offer) if reference else ""
                raise PluginError(f"{where}: {what} is `{reference}`{place}, but {fault}")
        return found


def _built_in_offer(group: str, name: str, built_in: Mapping[str, object]) -> Offer:
    """Return the offer of an object that needs no entry point."""
    return Offer(
        group=group,
        name=name,
        value="built-in",
        distribution=DISTRIBUTION,
        version="",
        load=lambda: built_in,
        read_text=lambda file: None,
    )


def _fault_of(reference: str) -> str | None:
    """Return why the object that a text `module:Name` names cannot be had, or None.

    A class or a function at the top level is found in the source; then nothing is imported but the
    packages around the module. For anything else the module is imported.
    """
    module, _, name = reference.partition(":")
    if not (module and name):
        return "has to be written as `module:Name`."
    try:
        found = find_spec(module)
        if found is None or found.origin is None:
            return f"there is no module `{module}`."
        if module not in sys.modules and _defines(Path(found.origin), name):
            return None
        loaded = import_module(module)
    except Exception as error:
        return f"`{module}` cannot be imported: {cause_of(error)}"
    if hasattr(loaded, name):
        return None
    near = get_close_matches(name, vars(loaded), n=1)
    hint = (
        f" Did you mean `{near[0]}`?" if near else f" Define it there, or name what `{module}` has."
    )
    return f"{found.origin} has no `{name}`.{hint}"


def _defines(file: Path, name: str) -> bool:
    kinds = ast.ClassDef | ast.FunctionDef
    tree = ast.parse(file.read_bytes(), filename=str(file)) if file.suffix == ".py" else None
    return tree is not None and any(
        isinstance(node, kinds) and node.name == name for node in tree.body
    )


def _place_of(text: str, offer: Offer) -> str:
    """Return the place of a constant in the imported modules of an offer's package, or ""."""
    top = offer.module.partition(".")[0]
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] != top or not file:
            continue
        for node in ast.walk(ast.parse(Path(file).read_bytes())):
            if isinstance(node, ast.Constant) and node.value == text:
                return f" ({file}:{node.lineno})"
    return ""


def cause_of(error: Exception) -> str:
    """Return an error as one line, with the last place in the plugin's own code."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        # Frames of this module and of the import system say nothing about the plugin.
        if not file.startswith("<") and file != __file__ and "importlib" not in file:
            place = f" ({file}:{trace.tb_lineno})"
        trace = trace.tb_next
    text = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f" ({error.filename}:{error.lineno})", error.msg
    return with_sources(f"{type(error).__name__}: {text}{place}")


def with_sources(text: str) -> str:
    """Return a message with the files of copied plugins replaced by those that the user has."""
    for found in _distributions():
        for inside, source in json.loads(found.read_text(NOTE) or "{}").get("sources", {}).items():
            text = text.replace(str(found.locate_file(inside)), source)
    return text
