"""The sweep file as a file: rows 1 to 21."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper.cli.main import run
from tests.bad_inputs.rows import VALID, Command, Row, edit, ids

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
TAG = "write a plain value."

ROWS = [
    Row(4, "empty", "", "x.yaml: is empty; a sweep needs a name, methods, tasks, backbones and"),
    Row(4, "only comments", "# nothing\n\n# here\n", "x.yaml: is empty; a sweep needs"),
    Row(5, "a list at the top", "- a\n- b\n",
        "x.yaml:1: expected a mapping (`key: value`) at the top, but got a list."),
    Row(5, "a text at the top", "hello\n",
        "x.yaml:1: expected a mapping (`key: value`) at the top, but got 'hello'."),
    Row(6, "tab", "name: a\nsearch:\n\ttrials: 3\n",
        "x.yaml:3: tab used for indentation; use spaces."),
    Row(7, "open bracket", "name: x\ntasks: [a,\n  b\n",
        "x.yaml:3: unclosed `[` opened at line 2."),
    Row(7, "open quote", "a: 1\nb: 'c\nd: e\n", "x.yaml:3: unclosed `'` opened at line 2."),
    Row(8, "two documents", VALID + "---\n" + VALID,
        "x.yaml:10: second YAML document; a file holds one sweep."),
    Row(9, "duplicate key", VALID + "name: other\n",
        "x.yaml:10: duplicate key `name` (first at line 1)."),
    Row(10, "latin 1", edit("name: study", "name: é").encode("latin-1"),
        "x.yaml: is not UTF-8 (byte 0xe9 at offset 6). Save it as UTF-8."),
    Row(10, "utf 16", VALID.encode("utf-16"),
        "x.yaml: is not UTF-8 but UTF-16. Save it as UTF-8."),
    Row(11, "bell", "a: 1\nb: \x07\n", "x.yaml:2: control character U+0007 is not allowed."),
    Row(11, "zero byte", VALID + "\0", "x.yaml: is not a text file (it holds zero bytes)."),
    Row(12, "windows line ends and byte-order mark",
        b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode(),
        "x.yaml: valid; 1 study of 8 trials", code=0),
    Row(13, "a tag that runs", VALID + "model: !!python/object/apply:os.system ['touch ran']\n",
        "x.yaml:10: tag `tag:yaml.org,2002:python/object/apply:os.system` is not allowed; " + TAG),
    Row(14, "a tag of one's own", VALID + "model: !Env SECRET\n",
        "x.yaml:10: tag `!Env` is not allowed; " + TAG),
    Row(15, "billion laughs", LAUGHS,
        "x.yaml:2: aliases (`*name`) are not read; write the value out."),
    Row(15, "many values", "".join(f"k{i}: 1\n" for i in range(6000)),
        "x.yaml:5000: more than 10000 values."),
    Row(16, "an alias of itself", "&a [*a]\n", "x.yaml:1: aliases (`*name`) are not read"),
    Row(17, "deep", "a: " + "[" * 5000, "x.yaml:1: nested deeper than 32 levels."),
    Row(18, "large", VALID + "#" * 300_000,
        "x.yaml: is 293 KiB; a sweep file has 256 KiB at most."),
    Row(19, "a picture", PNG, "x.yaml: is not a text file (it holds zero bytes)."),
    Row(21, "version", "version: 9\n" + VALID,
        "x.yaml:1: unknown key `version`. A sweep file has none: take it out."),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_a_file_that_is_none_is_told(command: Command, row: Row) -> None:
    command.tells(row)
    assert not (command.folder / "ran").exists()


@dataclass(frozen=True)
class PlaceRow:
    """Something other than a file at the path that a command is given."""

    number: int
    name: str
    make: Callable[[Path], object]  # in the folder x
    path: str
    told: str


NOBODY = 65534
PLACES = [
    PlaceRow(1, "missing", lambda x: (x / "mona.yaml").write_text(VALID), "x/monaa.yaml",
             "x/monaa.yaml: no such file. Did you mean `x/mona.yaml`?"),
    PlaceRow(1, "missing folder", lambda x: None, "y/mona.yaml", "y/mona.yaml: no such file."),
    PlaceRow(2, "a folder", lambda x: None, "x", "x: is a directory; expected a YAML file."),
    PlaceRow(20, "a device", lambda x: None, "/dev/zero", "/dev/zero: is not a regular file."),
    PlaceRow(20, "a pipe", lambda x: os.mkfifo(x / "p"), "x/p", "x/p: is not a regular file."),
]  # fmt: skip


@pytest.mark.parametrize("row", PLACES, ids=ids(PLACES))
def test_a_path_that_leads_to_no_file_is_told(command: Command, row: PlaceRow) -> None:
    (command.folder / "x").mkdir()
    row.make(command.folder / "x")
    told = command("validate", row.path)
    assert (told.code, told.out, told.err) == (2, [], [f"sweeper: {row.told}"])


def test_row_03_a_file_that_may_not_be_read_is_told(command: Command) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "x.yaml")
        path.write_text(VALID)
        assert command("validate", str(path)).code == 0
        path.chmod(0)
        user = os.geteuid()
        try:
            os.seteuid(NOBODY if user == 0 else user)  # root reads everything
            code = run(["validate", str(path)])
        finally:
            os.seteuid(user)
    assert code == 2
    told = command.capsys.readouterr().err
    assert told == f"sweeper: {path}: cannot be read: permission denied.\n"
