"""CoNLL-2003 as a source of labelled words (Tjong Kim Sang and De Meulder, CoNLL 2003).

Users supply the column files themselves, because the licence of Reuters forbids redistribution.

A line describes one word: the token in the first column and the entity tag in the last, separated
by tabs or spaces. A blank line ends a sentence; -DOCSTART- separates documents. The official files
have IOB1 tags (B- only between two adjacent entities), most copies have IOB2 tags (B- at the start
of each entity). The loader converts both to IOB2. It reads the training file alone.
"""

import re
from itertools import pairwise
from pathlib import Path

from trainables.errors import DataError
from trainables.sources.proxy import TokenProxy, hashed_sentences
from trainables.sources.registry import PROXIES, proxy_folder, way_to_import

SENTENCES = 14_041  # of the official training file
TRAINING_FILES = ("train.txt", "eng.train")
TAG = re.compile(r"O|[BI]-\S+")

Sentence = list[tuple[str, str]]  # (word, tag)


def load_conll2003(home: Path) -> TokenProxy:
    """Read the training sentences from `home/proxies/conll2003`.

    Raises:
        DataError: The file is missing, has no columns, or tags no entity.
    """
    if fault := find_conll2003_fault(home):
        raise DataError(fault)
    path = next(path for path in _candidates(home) if path.is_file())
    sentences = read_columns(path)
    tags = [to_iob2([tag for _, tag in sentence]) for sentence in sentences]
    types = sorted({tag[2:] for line in tags for tag in line if tag != "O"})
    if not types:
        raise DataError(
            f"conll2003: every word of {path} is tagged O. The entity tag must be the last column."
        )
    # Each entity type has two classes, for its first word and for the words after it.
    classes = tuple(f"{prefix}-{kind}" for kind in types for prefix in "BI")
    number = {name: index for index, name in enumerate(classes)} | {"O": -1}
    words = tuple(tuple(word for word, _ in sentence) for sentence in sentences)
    labels = tuple(tuple(number[tag] for tag in line) for line in tags)
    return hashed_sentences("conll2003", words, labels, classes)


def find_conll2003_fault(home: Path) -> str | None:
    """Return the fault that prevents loading CoNLL-2003, or None. Only names and sizes are read."""
    path = next((path for path in _candidates(home) if path.is_file()), None)
    if path is None:
        folder, hint = proxy_folder("conll2003", home), way_to_import("conll2003")
        return f"conll2003: no {' or '.join(TRAINING_FILES)} in {folder}. {hint}"
    if path.stat().st_size == 0:
        return f"conll2003: {path} is empty. {PROXIES['conll2003'].obtain}."
    return None


def read_columns(path: Path) -> list[Sentence]:
    """Read the sentences of a column file, in order.

    Raises:
        DataError: The file is not UTF-8, a line has one column, or a tag is not O, B-… or I-….
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}. Convert it to UTF-8.") from None
    # Tabs take precedence, because a word may then contain spaces. Empty sentences are dropped.
    sentences: list[Sentence] = [[]]
    for number, line in enumerate(text.split("\n"), start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or columns[0] == "-DOCSTART-":
            sentences.append([])
            continue
        tag = columns[-1].strip()
        if len(columns) < 2 or not TAG.fullmatch(tag):
            raise DataError(
                f"{path}:{number}: a line must be a word and, last, its tag O, B-… or I-…, but "
                f"got {line.strip()!r}. Save the file as CoNLL columns, in IOB1 or IOB2."
            )
        sentences[-1].append((columns[0].strip(), tag))
    return [sentence for sentence in sentences if sentence]


def to_iob2(tags: list[str]) -> list[str]:
    """Convert the tags of a sentence from IOB1 to IOB2. IOB2 tags stay unchanged."""
    # In IOB1 an entity begins with I-, unless one of the same type ends right before it.
    return [
        f"B-{tag[2:]}" if tag.startswith("I-") and tag[2:] != before[2:] else tag
        for before, tag in pairwise(["O", *tags])
    ]


def _candidates(home: Path) -> list[Path]:
    return [proxy_folder("conll2003", home) / name for name in TRAINING_FILES]
