"""Reading YAML: what a file may be, what its scalars mean, and that hostile ones cost nothing."""

import contextlib
import os
import resource
from pathlib import Path

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.reader import parse, parse_value, read_text
from tests.support.costs import is_cheap


def refusal(path: Path | str) -> str:
    with pytest.raises(FileFaults) as caught:
        read_text(Path(path))
    return str(caught.value)


def test_a_missing_file_is_told_with_the_one_meant(tmp_path: Path) -> None:
    (tmp_path / "mona_pdebench.yaml").write_text("name: x")
    told = refusal(tmp_path / "mona_pdebnch.yaml")
    assert told.endswith(f"no such file. Did you mean `{tmp_path / 'mona_pdebench.yaml'}`?")


def test_what_is_no_regular_file_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is a directory" in refusal(tmp_path)
    assert "is not a regular file" in refusal(tmp_path / "pipe.yaml")
    assert "is not a regular file" in refusal("/dev/zero")
    assert "no such file" in refusal(tmp_path / "nowhere" / "x.yaml")
    assert "not a directory" in refusal("/dev/null/x.yaml")
    assert "cannot be read" in refusal("a\0b.yaml")
    assert "cannot be read: file name too long" in refusal("a" * 5000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("name: x")
    (tmp_path / "x.yaml").chmod(0)
    assert "permission denied" in refusal(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("name: é".encode("latin-1"), "is not UTF-8 (byte 0xe9 at offset 6)"),
        ("name: x".encode("utf-16"), "is not UTF-8 but UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not a text file"),
        (b"a: " + b"x" * 300_000, "is 293 KiB; a sweep file has 256 KiB at most"),
    ],
)
def test_what_is_no_text_is_told(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "x.yaml").write_bytes(data)
    assert told in refusal(tmp_path / "x.yaml")


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - c\r\n")
    node = parse(read_text(tmp_path / "x.yaml"), "x.yaml")
    assert node.plain() == {"a": 1, "b": ["c"]}
    assert node.at(["b", 0]).origin.line == 3


def test_scalars_are_yaml_1_2() -> None:
    text = "[1e-4, 0, 0o10, 0x1F, -5, +3, .5, 1., yes, on, ~, null, True, 2024-01-01, 1:30, '1']"
    assert parse(f"a: {text}", "x").plain()["a"] == [
        1e-4, 0, 8, 31, -5, 3, 0.5, 1.0, "yes", "on", None, None, True, "2024-01-01", "1:30", "1",
    ]  # fmt: skip


def test_every_value_knows_its_line() -> None:
    node = parse("a: 1\nb:\n  c: 2\n  d: [3,\n    4]\n", "x.yaml")
    lines = [node.at(path).origin.line for path in (["a"], ["b"], ["b", "c"], ["b", "d", 1])]
    assert lines == [1, 2, 3, 5]


def test_an_option_reads_flow_style() -> None:
    texts = ("1e-4", "[a, b]", "{a: [1]}", "null", "'8'", "http://host:5000")
    values = [parse_value(text, "--set x").plain() for text in texts]
    assert values == [1e-4, ["a", "b"], {"a": [1]}, None, "8", "http://host:5000"]


ATTACKS = {
    "billion laughs": "a0: &a0 [x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)),
    "aliases": "a: [" + "*a," * 60_000 + "]",
    "brackets": "[" * 250_000,
    "braces": "{a: " * 60_000,
    "question marks": "? " * 120_000,
    "dashes": "- " * 120_000,
    "keys": "".join(f"k{i}: 1\n" for i in range(20_000)),
    "one key": "k: 1\n" * 50_000,
    "blocks": "".join(" " * i + "b:\n" for i in range(700)),
    "quote": '"' + "a" * 250_000,
    "quotes": "'" * 250_000,
    "tag": "!!" + "x" * 200_000,
    "digits": "a: " + "9" * 200_000,
    "text": "a: |\n" + " x\n" * 80_000,
    "words": "a: " + "x " * 120_000,
    "comment": "#" * 250_000,
    "directive": "%" + "a" * 250_000,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_hostile_file_costs_little(text: str) -> None:
    def read() -> None:
        with contextlib.suppress(FileFaults):
            parse(text, "x.yaml")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert is_cheap(read, within_s=1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024  # KiB
