"""The YAML reader for sweep files: version 1.2 with the core schema, and a line for each value.

The reader handles one event at a time (https://yaml.org/spec/1.2.2/, chapter 10.3 for scalars), so
that it refuses a hostile file before the file costs time or memory. It refuses tags, anchors and
aliases, and limits depth and size. A duplicate key is a fault.
"""

import difflib
import io
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from sweeper.errors import Fault, FileFaults
from sweeper.spec.faults import Faults, shown
from sweeper.spec.node import Node, Place, Scalar
from sweeper.text import printable

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 10_000

UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_text(path: Path) -> str:
    """Return the text of a file without its byte-order mark.

    Raises:
        FileFaults: The file is missing, unreadable, too large, not a regular file, or not UTF-8.
    """

    def refuse(message: str) -> FileFaults:
        return FileFaults([Fault(printable(str(path), limit=4096), None, message)])

    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refuse("is a directory; expected a YAML file.")
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(mode):
            raise refuse("is not a regular file.")
        # One byte over the limit tells that a file is too large, even one that grows meanwhile.
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refuse(f"no such file.{_siblings(path)}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise refuse(f"cannot be read: {str(reason).lower()}.") from None

    # Frequent mistakes get a message of their own before the text is decoded.
    if len(data) > MAX_BYTES:
        size = path.stat().st_size / 1024
        raise refuse(f"is {size:.0f} KiB; a sweep file has {MAX_BYTES // 1024} KiB at most.")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise refuse("is not UTF-8 but UTF-16. Save it as UTF-8.")
    if b"\0" in data:
        raise refuse("is not a text file (it holds zero bytes).")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise refuse(f"is not UTF-8 ({at}). Save it as UTF-8.") from None


NEEDS = "a sweep needs a name, methods, tasks, backbones and parameters."


def parse(text: str, where: str, *, needs: str = NEEDS) -> Node:
    """Return the single document of a text, which must be a mapping.

    Args:
        text: The text.
        where: The name of the text in messages.
        needs: What the message about an empty text says.

    Raises:
        FileFaults: The text is not valid YAML, with every fault.
    """
    faults = Faults()
    document = _Composer(text.removeprefix("\ufeff"), where, faults).compose()
    faults.stop()
    if document is None or document.value is None:
        faults.add(Place(where), f"is empty; {needs}")
    elif not isinstance(document.value, dict):
        got = "a list" if isinstance(document.value, list) else shown(document.value)
        faults.add(document, f"expected a mapping (`key: value`) at the top, but got {got}.")
    faults.stop()
    assert document is not None
    return document


def parse_value(text: str, where: str) -> Node:
    """Return VALUE of an option KEY=VALUE: a scalar, or a list or mapping in brackets.

    Raises:
        FileFaults: The text is not YAML in flow style.
    """
    faults = Faults()
    node = _Composer(text, where, faults, flow_only=True).compose()
    if node is None:
        faults.add(Place(where), "has no value. Write KEY=VALUE; KEY=null takes a key away.")
    faults.stop()
    assert node is not None
    return node


def to_yaml(plain: Any) -> str:
    """Return plain data as YAML for `parse`."""
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 100
    yaml.dump(plain, text)
    return text.getvalue()


def _siblings(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml")]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean `{printable(str(path.parent / near[0]), limit=4096)}`?" if near else ""


class _Composer:
    """Builder of nodes from parser events. `MAX_DEPTH` limits the recursion."""

    def __init__(self, text: str, where: str, faults: Faults, *, flow_only: bool = False) -> None:
        self.text, self.where, self.faults, self.flow_only = text, where, faults, flow_only
        self.num_nodes = 0

    def compose(self) -> Node | None:
        """Return the single document, or None if the text is empty."""
        if bad := UNPRINTABLE.search(self.text):
            line = self.text.count("\n", 0, bad.start()) + 1
            self.refuse(line, f"control character U+{ord(bad.group()):04X} is not allowed.")
        documents = 0
        root: Node | None = None
        try:
            # libyaml, which `pure` avoids, reads YAML 1.1.
            events: Iterator[Any] = YAML(typ="safe", pure=True).parse(self.text)
            for event in events:
                if not isinstance(event, DocumentStartEvent):
                    continue
                documents += 1
                if documents > 1:
                    self.refuse(_line(event), "second YAML document; a file holds one sweep.")
                if event.version not in (None, (1, 2)):
                    self.refuse(_line(event), "sweep files are YAML 1.2; remove the directive.")
                root = self.node(next(events), events, depth=1)
        except MarkedYAMLError as error:
            self.syntax(error)
        except (YAMLError, ValueError, OverflowError) as error:
            self.refuse(1, f"not valid YAML: {printable(str(error))}.")
        return root

    def node(self, event: Any, events: Iterator[Any], *, depth: int) -> Node:
        line = _line(event)
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            self.refuse(line, f"more than {MAX_NODES} values.")
        if depth > MAX_DEPTH:
            self.refuse(line, f"nested deeper than {MAX_DEPTH} levels.")
        origin = self.origin(line)
        if isinstance(event, AliasEvent):
            self.faults.add(origin, "aliases (`*name`) are not read; write the value out.")
            return Node(None, origin)
        if event.anchor is not None:
            self.faults.add(origin, "anchors (`&name`) are not read; write the value out.")
        if event.tag is not None:
            message = f"tag `{printable(str(event.tag))}` is not allowed; write a plain value."
            self.faults.add(origin, message)
        if isinstance(event, ScalarEvent):
            return Node(self.scalar(event, origin), origin)
        if self.flow_only and not event.flow_style:
            self.refuse(line, "expected a scalar, a [list] or a {key: value} mapping.")
        if isinstance(event, SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(events), SequenceEndEvent):
                items.append(self.node(event, events, depth=depth + 1))
            return Node(items, origin)
        assert isinstance(event, MappingStartEvent)
        return Node(self.mapping(events, depth=depth), origin)

    def mapping(self, events: Iterator[Any], *, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key = self.node(event, events, depth=depth + 1)
            value = self.node(next(events), events, depth=depth + 1)
            # A key is its text, even if a value of the same text would be a number or null.
            name = event.value if isinstance(event, ScalarEvent) else ""
            if not name.strip():
                self.faults.add(key, "a key must be a word that is not empty.")
            elif name in entries:
                first = entries[name].origin.line
                self.faults.add(key, f"duplicate key `{printable(name)}` (first at line {first}).")
            else:
                # A fault names the line of the key, which may be above that of the value.
                entries[name] = Node(value.value, key.origin)
        return entries

    def scalar(self, event: Any, origin: Place) -> Scalar:
        text: str = event.value
        # An escape can name half of a pair, which UTF-8 cannot hold.
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.faults.add(origin, "half of a surrogate pair is not a character.")
            return None
        if not event.implicit[0]:  # quoted or block text
            return text
        if text in WORDS:
            return WORDS[text]
        if INTEGER.fullmatch(text):
            return self.integer(text, origin)
        if FLOAT.fullmatch(text) or NOT_FINITE.fullmatch(text):
            return self.real(text, origin)
        return text

    def real(self, text: str, origin: Place) -> float | None:
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        # NaN is not below infinity either, and so is refused, too.
        if not abs(number) < float("inf"):
            self.faults.add(origin, f"{printable(text)} is not a finite number.")
        # Below the least normal number digits are lost, in the end all of them.
        elif abs(number) < sys.float_info.min and re.match(r"[-+.0]*[1-9]", text):
            self.faults.add(origin, f"{printable(text)} is too close to zero; write 0, or more.")
        else:
            return number
        return None

    def integer(self, text: str, origin: Place) -> int | None:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        if base == 10 and re.match(r"[-+]?0[0-9]", text):
            message = "starts with a zero, which some readers of YAML take for octal"
            meant = re.sub(r"0+(?=[0-9])", "", text, count=1)
            self.faults.add(
                origin, f"{printable(text)} {message}; write {printable(meant)}, or quote it."
            )
            return None
        # int() refuses thousands of digits by a ValueError, and takes quadratic time before.
        if len(text) <= 30 and abs(number := int(text, base)) < 2**63:
            return number
        self.faults.add(origin, f"{printable(text)} is over the largest integer, 2^63 - 1.")
        return None

    def syntax(self, error: MarkedYAMLError) -> None:
        """Add the parser's error in words for the author of the file.

        Raises:
            FileFaults: Always.
        """
        problem = error.problem_mark or error.context_mark
        line = problem.line + 1 if problem else 1
        lines = self.text.splitlines()
        at_end = line >= len(lines) or "end of stream" in str(error.problem)
        line = min(line, max(1, len(lines)))
        written = lines[line - 1] if lines else ""
        context, opened = error.context or "", error.context_mark
        if re.match(r" *\t", written):
            self.refuse(line, "tab used for indentation; use spaces.")
        # The parser notices an unclosed bracket or quote at the end alone; its beginning is what
        # helps.
        if opened and at_end and re.search(r"flow (sequence|mapping)|quoted scalar", context):
            mark = self.text[opened.index] if opened.index < len(self.text) else "["
            self.refuse(line, f"unclosed `{mark}` opened at line {opened.line + 1}.")
        message = " ".join(filter(None, (context, str(error.problem))))
        self.refuse(line, f"not valid YAML: {printable(message, limit=200)}.")

    def origin(self, line: int) -> Place:
        return Place(self.where, None if self.flow_only else line)

    def refuse(self, line: int, message: str) -> None:
        """Add a fault that stops the reading.

        Raises:
            FileFaults: Always.
        """
        self.faults.add(self.origin(line), message)
        self.faults.stop()


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
