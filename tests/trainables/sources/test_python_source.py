"""Python's source as labelled words."""

import io
import sysconfig
import tokenize
from collections import Counter

import pytest

from tests.support.costs import is_cheap
from trainables.errors import DataError
from trainables.sources.python_source import (
    CLASSES,
    find_python_source_fault,
    label_tokens,
    load_python_source,
)


def labelled(code: str) -> list[tuple[str, str | None]]:
    """The labelled words of one line of code, without layout."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    layout = {"NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}
    return list(label_tokens([t for t in tokens if tokenize.tok_name[t.type] not in layout]))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def area(self, r):", "def:keyword area:definition (:- self:- ,:- r:- ):- ::-"),
        ("class A(B):", "class:keyword A:definition (:- B:- ):- ::-"),
        ("y = a.b + 2.5", "y:assigned =:operator a:- .:- b:attribute +:operator 2.5:number"),
        ("a.f(n=len(x))", "a:- .:- f:method (:- n:assigned =:operator len:builtin (:- x:- ):- ):-"),
        ("g(None)  # so be it", "g:call (:- None:keyword ):- so:comment be:comment it:comment"),
        (
            "raise ValueError('too long')",
            "raise:keyword ValueError:builtin (:- too:string long:string ):-",
        ),
        ('"""Says what."""', "Says:docstring what.:docstring"),
        ("from os import path as p", "from:- os:- import:- path:- as:- p:-"),
        ("raise error from cause", "raise:keyword error:- from:keyword cause:-"),
    ],
)
def test_a_token_is_labelled_by_what_it_does(code, expected):
    assert " ".join(f"{word}:{label or '-'}" for word, label in labelled(code)) == expected


@pytest.mark.slow
def test_the_same_interpreter_gives_the_same_words_quickly(tmp_path):
    first = load_python_source(tmp_path)
    assert is_cheap(lambda: load_python_source(tmp_path), within_s=2.0)  # 0.3 s alone
    assert first == load_python_source(tmp_path)
    assert 100_000 < sum(map(len, first.sentences)) < 200_000


@pytest.mark.slow
def test_every_class_has_a_thousand_words_and_none_has_half(tmp_path):
    proxy = load_python_source(tmp_path)
    counts = Counter(label for line in proxy.labels for label in line if label >= 0)
    assert proxy.classes == CLASSES
    assert sorted(counts) == list(range(12))
    assert min(counts.values()) >= 1000
    assert max(counts.values()) < sum(counts.values()) / 2


@pytest.mark.slow
def test_words_and_labels_go_together(tmp_path):
    proxy = load_python_source(tmp_path)
    assert [len(line) for line in proxy.sentences] == [len(line) for line in proxy.labels]
    assert all(word and not word.isspace() for line in proxy.sentences for word in line)


def test_a_python_without_its_source_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert "lacks _pydecimal.py" in find_python_source_fault(tmp_path)
    with pytest.raises(DataError, match="or another 1D proxy"):
        load_python_source(tmp_path)
