"""Durations and sizes with their units, and references to the environment."""

import pytest

from sweeper.errors import UsageError
from sweeper.spec.schema import expand, num_bytes, seconds


def test_durations() -> None:
    texts = ("45s", "90m", "1h30m", "2d", "12h")
    assert [seconds(text) for text in texts] == [45, 5400, 5400, 172_800, 43_200]


def test_sizes() -> None:
    texts = ("1MB", "1.5GiB", "10GB", "1000000B")
    assert [num_bytes(text) for text in texts] == [10**6, 3 * 2**29, 10**10, 10**6]


@pytest.mark.parametrize(
    "text", ["", "12", 12, "h", "1h 30m", "1h\n", "30m1h", "-1h", "0s", "9999d", None]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        seconds(text)


@pytest.mark.parametrize(
    "text", ["", "10", 10, "GiB", "10 GiB", "1KB", "1MB\n", "99999999999TB", "-1GB", "1e3GB", True]
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        num_bytes(text)


def test_references_are_expanded_late_and_only_if_set() -> None:
    assert expand("http://${env:HOST}:${env:PORT}", {"HOST": "a", "PORT": "1"}) == "http://a:1"
    with pytest.raises(UsageError, match="HOST is not set"):
        expand("http://${env:HOST}", {})
