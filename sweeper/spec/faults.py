"""Faults of a sweep file: each with its place, the rule, the value and the remedy."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sweeper.errors import Fault, FileFaults, nearest, unknown
from sweeper.spec.node import Node, Place
from sweeper.spec.schema import RULES
from sweeper.text import printable

MAX_FAULTS = 50
HIDDEN = ("notify",)  # keys whose values may be secrets, so that no message shows them
SECRET_KEY = re.compile(r"pass|secret|token|api_?key|access_?key|private_?key|credential", re.I)


class Faults:
    """All faults of a file, so that a user can fix them at once.

    Attributes:
        tree: The merged file, as far as it is known.
        notes: What a user should know, but need not fix.
    """

    def __init__(self) -> None:
        self.tree = Node({}, Place(""))  # before a file is read
        self.found: list[Fault] = []
        self.notes: dict[str, None] = {}

    @property
    def whole(self) -> Place:
        """The file without a line: the place of what is missing."""
        return Place(self.tree.origin.where)

    def add(self, place: Node | Place | Sequence[str | int], message: str) -> None:
        """Add a fault unless it was added before.

        Args:
            place: The place, or its path in the merged file.
            message: The rule, the value and the remedy.

        Raises:
            FileFaults: There are `MAX_FAULTS` faults: more would not help.
        """
        node = place if isinstance(place, Node | Place) else self.tree.at(place)
        origin = node.origin if isinstance(node, Node) else node
        fault = origin.fault(message)
        if fault in self.found:
            return
        self.found.append(fault)
        if len(self.found) == MAX_FAULTS:
            self.found.append(Fault(fault.where, None, f"stopped after {MAX_FAULTS} faults."))
            self.stop()

    def about(self, path: Sequence[str | int], message: str) -> None:
        """Add a fault whose message begins with its path in the merged file, in backticks."""
        self.add(path, f"`{dotted(path)}`{message}")

    def note(self, message: str) -> None:
        """Add a note unless it was added before."""
        self.notes[message] = None

    def stop(self) -> None:
        """Raise all faults so far in the order of lines, if there are any.

        Raises:
            FileFaults: There is a fault.
        """
        if self.found:
            # Faults without a line, such as a missing key, come last.
            raise FileFaults(sorted(self.found, key=lambda f: (f.where, f.line or 10**9)))

    def explain(
        self, error: ValidationError, path: Sequence[str | int], model: type[BaseModel]
    ) -> None:
        """Add the faults that pydantic found in the part of the merged file at `path`."""
        # A union reports an error for each of its types: one fault joins them.
        grouped: dict[tuple[str | int, ...], list[str]] = {}
        lists: set[tuple[str | int, ...]] = set()  # places where a list is missing
        for item in error.errors(include_url=False):
            location = (*path, *item["loc"])
            if item["type"] == "extra_forbidden":
                known = model_keys(model, item["loc"][:-1])
                self.add(location, unknown_key(dotted(location), known))
            elif item["type"] == "missing":
                self.add(location, f"missing key `{dotted(location)}`.")
            else:
                # The place that pydantic gives also names types of a union, which the file does not
                # have.
                walked, _ = self.tree.trace(location)
                grouped.setdefault(walked, []).append(sentence(item))
                lists |= {walked} if item["type"] == "list_type" else set()
        for walked, messages in grouped.items():
            node = self.tree.at(walked)
            message = " or ".join(dict.fromkeys(messages))
            if not walked:  # the whole mapping: the message names the key
                key = re.search(r"`([a-z_.]+)", message)
                self.add(key[1].split(".") if key else node, f"{message}.")
                continue
            is_hidden = isinstance(node.value, dict) or walked[0] in HIDDEN
            got = "" if is_hidden else f", but got {shown(node.plain())}"
            hint = ""
            if isinstance(node.value, str):
                # The allowed words are quoted in pydantic's message.
                named = re.findall(r"'([^']+)'", message)
                hint = did_you_mean(node.value, named)
                if walked in lists and node.value and not (hint or is_hidden):
                    hint = f" Write `[{printable(node.value)}]`."
            self.add(node, f"`{dotted(walked)}` {message}{got}.{hint}")


def model_keys(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """Return the keys of `model`, or of the model nested in it at `path`."""
    steps = list(path)
    while steps and (field := model.model_fields.get(str(steps.pop(0)))) is not None:
        # The type of the field may be optional, or a mapping.
        inside = [field.annotation, *get_args(field.annotation)]
        nested = [t for t in inside if isinstance(t, type) and issubclass(t, BaseModel)]
        if not nested:
            break
        if get_origin(field.annotation) is dict:
            # The keys of such a mapping are the user's, and no fields.
            del steps[:1]
        model = nested[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown key. It never shows the value of a secret."""
    last = name.rpartition(".")[2]
    if SECRET_KEY.search(last):
        return (
            f"`{printable(name)}` looks like a secret: a sweep file holds none. Put it in the "
            "environment, and write ${env:NAME} in `tracking.uri` or `notify`."
        )
    prefix = name[: len(name) - len(last)]
    return unknown("key", printable(name), [prefix + key for key in known])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question ` Did you mean ...?` if a known name is similar, else ""."""
    near = nearest(name, known)
    return f" Did you mean `{near[0]}`?" if near else ""


def sentence(item: Any) -> str:
    """Return an error of pydantic in the form `must be ...`."""
    text: str = item["msg"]
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("Input should be ", "must be ").replace("Input should ", "must ")
    if item["type"] == "string_pattern_mismatch":
        pattern = item["ctx"]["pattern"]
        text = RULES.get(pattern, f"must match {pattern}")
    return text[:1].lower() + text[1:].rstrip(".")


def dotted(path: Iterable[str | int]) -> str:
    """Return a path in the form `search.trials` or `tasks[2]`."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return printable(text.removeprefix("."))


def shown(value: Any) -> str:
    """Return a value in the notation of YAML: short, escaped, and without passwords of URLs."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"'{printable(value)}'" if value else "an empty text"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list" if len(value) > 5 else f"[{', '.join(map(shown, value))}]"
        case _:
            return printable(repr(value))
