"""CoNLL's column files, official (IOB1) and copied (IOB2), tabs and spaces."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import real_data
from trainables.errors import DataError
from trainables.sources.conll2003 import find_conll2003_fault, load_conll2003, read_columns, to_iob2

IOB1 = """-DOCSTART- -X- -X- O

Ann NNP B-NP I-PER
Lee NNP I-NP I-PER
met VBD B-VP O
Bob NNP B-NP I-PER
Cy NNP B-NP B-PER
. . O O

-DOCSTART- -X- -X- O

Oslo NNP B-NP I-LOC
"""
IOB2 = """Ann\tB-PER
Lee\tI-PER
met\tO
Bob\tB-PER
Cy\tB-PER
.\tO
  
Oslo\tB-LOC
"""
tags = st.lists(st.sampled_from(["O", "I-PER", "B-PER", "I-LOC", "B-LOC"]), max_size=12)


def write(home: Path, text: str, name: str = "train.txt") -> Path:
    path = home / "proxies" / "conll2003" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("text", [IOB1, IOB2, IOB2.replace("\n", "\r\n"), "\ufeff" + IOB2])
@pytest.mark.parametrize("name", ["train.txt", "eng.train"])
def test_both_schemes_and_every_separator_give_the_same_proxy(tmp_path, text, name):
    write(tmp_path, text, name)
    proxy = load_conll2003(tmp_path)
    assert proxy.classes == ("B-LOC", "I-LOC", "B-PER", "I-PER")
    assert proxy.sentences == (("Ann", "Lee", "met", "Bob", "Cy", "."), ("Oslo",))
    assert proxy.labels == ((2, 3, -1, 2, 2, -1), (0,))


@given(tags)
def test_normalising_to_iob2_is_idempotent_and_every_entity_begins_with_b(line):
    once = to_iob2(line)
    assert to_iob2(once) == once
    assert [tag[2:] for tag in once] == [tag[2:] for tag in line]
    for before, tag in zip(["O", *once], once, strict=False):
        assert not tag.startswith("I-") or before[2:] == tag[2:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word\n", r":1: .* got 'word'"),
        ("a O\nb\n", r":2: "),
        ("a O\n\nb E-PER\n", r":3: .*IOB1 or IOB2"),
        ("a NNP\n", r":1: .* tag O, B-"),
        ("a O\nb O\n", "every word .* is tagged O"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as error:
        load_conll2003(tmp_path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_utf8_says_at_which_byte(tmp_path):
    path = write(tmp_path, "")
    path.write_bytes(b"caf\xe9 O\n")
    with pytest.raises(DataError, match=r"train\.txt: not UTF-8 at byte 3"):
        load_conll2003(tmp_path)


def test_no_file_and_an_empty_file_say_what_to_do(tmp_path):
    assert "no train.txt or eng.train" in find_conll2003_fault(tmp_path)
    write(tmp_path, "")
    assert "is empty" in find_conll2003_fault(tmp_path)
    with pytest.raises(DataError, match="is empty"):
        load_conll2003(tmp_path)


def test_any_text_is_a_proxy_or_a_data_error(tmp_path):
    rng = random.Random(0)
    for _ in range(200):
        text = "".join(rng.choices(list("ab OIB-\t\n\r\x00\x85\u2028"), k=60))
        path = write(tmp_path, text)
        try:
            sentences = read_columns(path)
        except DataError:
            continue
        assert all(sentence for sentence in sentences)


def test_real_named_entities_are_read_whole(tmp_path):
    path = real_data.need("wnut17/wnut17train.conll")
    write(tmp_path, path.read_text(encoding="utf-8"))
    proxy = load_conll2003(tmp_path)
    assert len(proxy.sentences) == 3394
    assert len(proxy.classes) == 12  # six types
    begun = sum(
        proxy.classes[label][0] == "B" for line in proxy.labels for label in line if label >= 0
    )
    assert begun == 1975  # entities, as its authors count them
