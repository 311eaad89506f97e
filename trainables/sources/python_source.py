"""Python's standard library as a source of labelled words. Every machine has it.

A sentence is a logical line of source code. A word is a token of the line, or a word inside a
string or comment. The label is the syntactic role of the token. Commas, brackets and names without
a role have no label, like the words between named entities. Another release of Python may give
other words and another content hash.
"""

import builtins
import keyword
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from trainables.errors import DataError
from trainables.sources.proxy import TokenProxy, hashed_sentences
from trainables.sources.registry import PROXIES

CLASSES = (
    "assigned",  # a name before `=`: a variable or a keyword argument
    "attribute",
    "builtin",
    "call",  # a name before `(`
    "comment",
    "definition",  # the name of a function or class in its definition
    "docstring",
    "keyword",
    "method",  # an attribute before `(`
    "number",
    "operator",
    "string",
)
MODULES = (  # a mixture of prose, tables, formulas and classes, so that every class is frequent
    "_pydecimal.py",
    "argparse.py",
    "ast.py",
    "calendar.py",
    "colorsys.py",
    "html/entities.py",
    "inspect.py",
    "statistics.py",
    "typing.py",
)
DELIMITERS = frozenset(["(", ")", "[", "]", "{", "}", ",", ":", ";", ".", "->", "..."])
BUILTINS = frozenset(
    name for name, value in vars(builtins).items() if getattr(value, "__module__", "") == "builtins"
)
LAYOUT = frozenset({"ENCODING", "NL", "INDENT", "DEDENT", "ENDMARKER"})

Word = tuple[str, str | None]  # text and class


def load_python_source(home: Path) -> TokenProxy:
    """Read the chosen modules as text, without importing them. `home` is not used.

    Raises:
        DataError: The standard library is not installed as .py files.
    """
    if fault := find_python_source_fault(home):
        raise DataError(fault)
    number = {name: index for index, name in enumerate(CLASSES)}
    sentences: list[tuple[str, ...]] = []
    labels: list[tuple[int, ...]] = []
    for module in MODULES:
        for line in _logical_lines(_library() / module):
            words = list(label_tokens(line))
            if words:
                sentences.append(tuple(text for text, _ in words))
                labels.append(tuple(-1 if name is None else number[name] for _, name in words))
    return hashed_sentences("python_source", sentences, labels, CLASSES)


def find_python_source_fault(home: Path) -> str | None:
    """Return the fault that prevents loading Python's source, or None."""
    missing = [module for module in MODULES if not (_library() / module).is_file()]
    if missing:
        return (
            f"python_source: {_library()} lacks {', '.join(missing)}. "
            f"{PROXIES['python_source'].obtain}; take such a Python, or another 1D proxy."
        )
    return None


def label_tokens(line: list[tokenize.TokenInfo]) -> Iterator[Word]:
    """Yield the words of one logical line, each with its class, or None without a role."""
    # Words of strings and comments take the class of their token. Names in an import have no class,
    # because their role is unknown there.
    before, in_import = "", False
    for token, after in zip(line, [*(t.string for t in line[1:]), ""], strict=True):
        text, kind = token.string, tokenize.tok_name[token.type]
        if kind == "COMMENT":
            yield from ((word, "comment") for word in text.lstrip("#!").split())
            continue
        if kind == "STRING":
            stands_alone = len(line) == 1
            name = "docstring" if stands_alone else "string"
            # The prefix and the quotes of a literal are no words.
            yield from ((word, name) for word in text.lstrip("rbuRBU").strip("\"'").split())
        elif kind in ("FSTRING_MIDDLE", "TSTRING_MIDDLE"):
            # From Python 3.12 on the text of an f-string is a token of its own.
            yield from ((word, "string") for word in text.split())
        elif kind == "NUMBER":
            yield text, "number"
        elif kind == "NAME":
            # `from` begins an import only at the start of a line: `yield from` and `raise X from Y`
            # are none.
            in_import = in_import or text == "import" or (text == "from" and not before)
            yield text, None if in_import else _class_of_name(text, before, after)
        elif kind == "OP":
            yield text, None if text in DELIMITERS else "operator"
        before = text


def _class_of_name(name: str, before: str, after: str) -> str | None:
    if keyword.iskeyword(name):
        return "keyword"
    if before in ("def", "class"):
        return "definition"
    if before == ".":
        return "method" if after == "(" else "attribute"
    if name in BUILTINS:
        return "builtin"
    return {"(": "call", "=": "assigned"}.get(after)


def _logical_lines(path: Path) -> Iterator[list[tokenize.TokenInfo]]:
    line: list[tokenize.TokenInfo] = []
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            kind = tokenize.tok_name[token.type]
            # A line of comments alone ends with NL instead of NEWLINE. So does a line break within
            # brackets, which ends no logical line.
            ends_comment = kind == "NL" and all(t.type == tokenize.COMMENT for t in line)
            if line and (kind == "NEWLINE" or ends_comment):
                yield line
                line = []
            elif kind not in LAYOUT:
                line.append(token)
    if line:
        yield line


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))
