"""Windows of sub-words: how sentences with a label a word become samples with a label each.

The sub-words of all sentences, in order, are cut every `length` of them. A window's label is the
most frequent label of its sub-words, those without a label apart (ties: the lower number); windows
without any label are dropped. In a named-entity scheme the first sub-word of a word keeps B-, those
after it become I-, as an entity begins once.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["cut_windows", "label_subwords"]


def label_subwords(
    word_labels: Sequence[Sequence[int]],
    word_index: Sequence[Sequence[int]],
    *,
    classes: Sequence[str],
) -> np.ndarray:
    """Returns the label of each sub-word of all sentences in a row, int64 [sub-words].

    Args:
        word_labels: A label a word, by sentence; -1 is none.
        word_index: The word that each sub-word came from, by sentence.
        classes: Names of the labels; `I-x` continues `B-x`, other labels continue themselves.
    """
    number = {name: index for index, name in enumerate(classes)}
    continued = [
        number.get(f"I-{name[2:]}", index) if name.startswith("B-") else index
        for index, name in enumerate(classes)
    ]
    labels = []
    for of_word, words in zip(word_labels, word_index, strict=True):
        before = -1
        for word in words:
            label = of_word[word]
            labels.append(continued[label] if word == before and label >= 0 else label)
            before = word
    return np.array(labels, dtype=np.int64)


def cut_windows(
    ids: np.ndarray, labels: np.ndarray, *, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts [sub-words] into labelled windows: ids [windows, length] and labels [windows].

    What is left after the last whole window is dropped.
    """
    whole = len(ids) // length * length
    windows, inside = ids[:whole].reshape(-1, length), labels[:whole].reshape(-1, length)
    num_classes = int(labels.max(initial=-1)) + 1
    counts = np.stack([(inside == label).sum(1) for label in range(num_classes)] or [inside[:, 0]])
    labelled = (inside >= 0).any(1)
    return windows[labelled], counts.argmax(0)[labelled].astype(np.int64)
