"""Which places checkpoints may be kept in, and that nothing leads out of them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.errors import ConfigError
from trainables.storage.urls import ArtifactUrl

S3 = "s3://sweeps/team/a?endpoint_override=127.0.0.1:8333&scheme=http"
WHOLE = [
    S3,
    "s3://sweeps",
    "s3://sweeps/team?region=eu-west-1",
    "s3://sweeps/team?endpoint_override=[::1]:8333",
    "gs://sweeps/team",
    "file:///shared/sweeps",
    "file:///shared/me@here",
    "/shared/my sweeps",
]
REFUSED = {
    "ftp://host/team": "the scheme is `ftp`",
    "http://host/team": "the scheme is `http`",
    "S4://bucket/x": "the scheme is `s4`",
    "s3://key:hidden@sweeps/team": "holds credentials",
    "s3://key@sweeps/team": "holds credentials",
    "s3://sweeps/team?access_key=hidden": "`access_key` is no option",
    "s3://sweeps/team?allow_bucket_creation=true": "is no option",
    "s3://sweeps/team?scheme=file": "value of `scheme` is malformed",
    "s3://sweeps/team?endpoint_override=evil.example/x": "value of `endpoint_override`",
    "s3://sweeps/team?endpoint_override=hidden@host": "value of `endpoint_override`",
    "s3://sweeps/team?scheme=http&scheme=https": "given twice",
    "s3://sweeps/../other": "`..` cannot be part",
    "s3://sweeps/team/./a": "`.` cannot be part",
    "s3://sweeps/team//a": "`` cannot be part",
    "s3://sweeps/team/%2e%2e": "cannot be part",
    "s3://sweeps/te am": "cannot be part",
    "s3://sweeps/team#a": "a `#`",
    "s3://swe\neps/team": "cannot be seen",
    "s3://[/team": "Invalid IPv6 URL",
    "s3://key:hid/den@sweeps/team": "holds credentials",
    "s3://": "no name of a bucket",
    "s3://Sweeps/team": "no name of a bucket",
    "s3://sweeps:80/team": "no name of a bucket",
    "s3:///team": "no name of a bucket",
    "gs://sweeps/team?region=here": "`region` is no option; gs takes endpoint_override, scheme",
    "file://host/shared": "three slashes",
    "file:///shared/../etc": "without `..`",
    "file:///shared?scheme=http": "takes no options",
    "file://": "give the path of a folder",
    "../sweeps": "without `..`",
    "/shared/../etc": "without `..`",
    "": "give the path of a folder",
    "a\0b": "give the path of a folder",
}


@pytest.mark.parametrize("text", WHOLE)
def test_a_place_reads_as_it_was_written_and_so_does_one_inside(text):
    place = ArtifactUrl.parse(text)
    assert str(place) == text
    inside = place / "attempt-1" / "refine-0001"
    assert ArtifactUrl.parse(str(inside)) == inside
    assert inside.name == "refine-0001"
    assert inside.path == f"{place.path}/attempt-1/refine-0001"


@pytest.mark.parametrize(("text", "why"), REFUSED.items())
def test_anything_else_is_refused_and_no_secret_is_repeated(text, why):
    with pytest.raises(ConfigError) as found:
        ArtifactUrl.parse(text)
    assert why in str(found.value)
    assert not {"hidden", "hid", "den"} & set(re.split(r"\W", str(found.value)))


def test_folders_are_known_as_such(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert ArtifactUrl.parse("file:///shared/a").folder == Path("/shared/a")
    assert ArtifactUrl.parse("here").folder == tmp_path / "here"
    assert ArtifactUrl.parse(S3).folder is None


pieces = st.sampled_from(["s3:", "file:", "/", "..", ".", "%2e", "a", "sweeps", "?", "#", "@", ":"])


@given(st.text() | st.lists(pieces).map("".join))
def test_whatever_is_given_it_is_a_place_or_refused(text):
    try:
        place = ArtifactUrl.parse(text)
    except ConfigError:
        return
    assert ".." not in place.path.split("/")
    assert ArtifactUrl.parse(str(place)) == place


def test_the_url_of_a_folder_is_the_one_that_others_write(tmp_path):
    folder = tmp_path / "my dir, 100% µ"
    place = ArtifactUrl.parse(folder.as_uri())
    assert place.folder == folder
    assert ArtifactUrl.parse(str(place)) == place
    assert ArtifactUrl.parse("file:///my dir").folder == Path("/my dir")
