"""Reading YAML: what a file may be, what its scalars mean, and that hostile ones cost nothing."""

import contextlib
import resource
from pathlib import Path

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.reader import parse, parse_value, read_text
from tests.support.costs import is_cheap


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/dev/null/x.yaml", "not a directory"),
        ("a\0b.yaml", "cannot be read"),
        ("a" * 5000, "cannot be read: file name too long"),
    ],
)
def test_what_no_path_can_be_is_refused(path: str, told: str) -> None:
    with pytest.raises(FileFaults, match=told):
        read_text(Path(path))


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
