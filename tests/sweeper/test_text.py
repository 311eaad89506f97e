"""Numbers and bytes for people, and plain data for strict JSON."""

import json
import math

import pytest

from sweeper.text import counted, differences, format_bytes, number, readable, without_nonfinite


@pytest.mark.parametrize(
    ("count", "units", "text"),
    [
        (0, (), "0 bytes"),
        (999, (), "999 bytes"),
        (1234, (), "1.2 kB"),
        (1_250_000, (), "1.2 MB"),
        (5 * 10**9, (), "5.0 GB"),
        (1000, ("GB", "MB"), "0.0 MB"),
        (3 * 2**29, ("GiB",), "1.5 GiB"),
        (2**19, ("MiB",), "0.5 MiB"),
    ],
)
def test_bytes_are_in_the_first_unit_that_they_fill(count, units, text):
    assert format_bytes(count, *units) == text


def test_bytes_may_have_no_digits_behind_the_point():
    assert format_bytes(12_345_678, "GB", "MB", digits=0) == "12 MB"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (math.nan, "–"), (-math.inf, "–"), (3, "3"), (True, "True"), ("a", "a"),
        (0.0, "0"), (0.123456, "0.1235"), (0.000912, "9.12e-4"), (123456.0, "1.23e5"),
        (12345.6, "12346"), (1.0, "1"), (1e-6, "1e-6"), (-2.5e7, "-2.5e7"),
    ],
)  # fmt: skip
def test_a_value_for_pages_has_four_digits_or_a_dash(value, text):
    assert readable(value) == text


def test_a_value_for_a_terminal_has_four_digits_or_nothing():
    assert [number(v) for v in (None, 0.123456, 1e-6)] == ["", "0.1235", "1e-06"]


def test_what_is_not_finite_is_null_in_strict_json():
    content = {"a": math.nan, 1: [math.inf, 1.5, (None, "x")]}
    plain = without_nonfinite(content)
    assert plain == {"a": None, "1": [None, 1.5, [None, "x"]]}
    json.dumps(plain, allow_nan=False)


def test_a_count_has_a_noun_in_its_number():
    told = [counted(count, noun) for count in (0, 1, 2) for noun in ("trial", "study")]
    assert told == ["0 trials", "0 studies", "1 trial", "1 study", "2 trials", "2 studies"]


A, B, C = ({"align.epochs": epochs, "name": "arm"} for epochs in (0, 5, 10))


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ([A, B], [A, C], ["arms[1].align.epochs: 5 -> 10"]),
        ([A, B, C], [B, C], [f'arms[0]: {json.dumps(A)} -> "-"']),
        ([B], [A, B, C], [f'arms[{n}]: "-" -> {json.dumps(x)}' for n, x in ((0, A), (2, C))]),
        ([A, A], [A], [f"arms: {json.dumps([A, A])} -> {json.dumps([A])}"]),
        ([1, 2], [1, 3], ["arms: [1, 2] -> [1, 3]"]),
        ([A, B], [A, B], []),
    ],
)
def test_differences_name_what_differs_in_a_list_of_sections(old, new, lines):
    assert differences({"arms": old}, {"arms": new}) == lines
