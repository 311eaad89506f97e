"""Tables of text: delimiters, decimal commas, headers, bad cells, ARFF and the .ts of UCR."""

import pytest

from tests.support.own_data import define, in_order, read
from trainables.errors import DataError, TaskDataError
from trainables.tasks.own.formats.text_tables import has_header

N = 12
HEAD = """# of UCR
@problemName Gun
@timeStamps false
@univariate {one}
@classLabel true a b
@data
"""


def table(name, *, missing="refuse", header=True, columns=("t*",), key="class"):
    return define(
        input={"path": name, "columns": list(columns), "header": header, "missing": missing},
        target={"key": key},
        splits={"val": 0.25, "test": 0.25},
    )


def rows(number="{}.5", delimiter=","):
    return [delimiter.join([number.format(i), f"{i % 7}", "ab"[i % 2]]) for i in range(N)]


@pytest.mark.parametrize(
    ("number", "delimiter"),
    [("{}.5", ";"), ("{},5", ";"), ("{},5", "\t"), ("{}.5", "|"), ("{}.5", "   "), ("{}.5", ",")],
)
@pytest.mark.parametrize("header", [True, False])
def test_delimiters_and_decimal_commas(number, delimiter, header, tmp_path):
    names = [delimiter.join(("t1", "t2", "class"))] if header else []
    (tmp_path / "s.csv").write_text("\n".join([*names, *rows(number, delimiter)]) + "\n")
    assert has_header(tmp_path / "s.csv") == header
    columns, key = (("t1", "t2"), "class") if header else (("0", "1"), "2")
    definition = table("s.csv", header=header, columns=columns, key=key)
    x = in_order(read(tmp_path, definition), "x")
    assert x[:, 0, 0].tolist() == [i + 0.5 for i in range(N)]
    assert x[:, 0, 1].tolist() == [i % 7 for i in range(N)]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("0,1,2", True),
        ("id,1,2", True),
        ("a.png,1,2", False),
        ("0.5,0.5,x", False),
        ("a,b,c", True),
        (",1.5,x", False),
        (",0,1", True),
        ("400,402,404,406,408,class", True),
        ("4,6,5,7,3,a", False),
    ],
)
def test_a_header_differs_from_its_columns(first, expected, tmp_path):
    rows = ["1,0.3,x", "2,0.4,y"] if first.count(",") == 2 else ["3,1,4,1,5,a", "9,2,6,5,3,b"]
    if first == "a.png,1,2":
        rows = ["b.png,0.3,2"]
    (tmp_path / "s.csv").write_text("\n".join([first, *rows]))
    assert has_header(tmp_path / "s.csv") is expected


def test_a_bad_cell_is_named_and_imputed_if_that_is_asked_for(tmp_path):
    lines = ["t1;t2;class", *rows("{},5", ";")]
    lines[6] = lines[6].replace("5,5", "5,5?")
    (tmp_path / "s.csv").write_text("\n".join(lines))
    with pytest.raises(
        TaskDataError, match=r"t1: 1 of 12 values is no number: `5,5\?` in row 5"
    ) as e:
        read(tmp_path, table("s.csv"))
    assert e.value.key == ("input", "missing")
    imported = read(tmp_path, table("s.csv", missing="zero"))
    x = in_order(imported, "x")[:, 0, 0]
    assert x.tolist() == [i + 0.5 if i != 5 else 0 for i in range(N)]
    assert any("`5,5?` in row 5" in note for note in imported.description["notes"])


def test_decimal_commas_that_begin_late_are_no_missing_values(tmp_path):
    # The first lines have whole numbers alone, which tell neither points nor commas.
    cells = [f"{i if i < 30 else f'{i},5'};{i};{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "s.csv").write_text("\n".join(["t1;t2;class", *cells]))
    with pytest.raises(DataError, match=r"t1: `30,5` in row 30 \(counted from 0\) has a comma"):
        read(tmp_path, table("s.csv", missing="mean"))


def test_a_bad_cell_of_an_output_cannot_be_imputed(tmp_path):
    cells = [f"{i},{i},{i if i != 5 else '5?'}" for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join(["t1,t2,t3", *cells]))
    input_ = {"path": "s.csv", "columns": ["t1"], "missing": "mean"}
    outputs = define("regression", input=input_, target={"columns": ["t2", "t3"]})
    with pytest.raises(TaskDataError, match=r"`5\?` in row 5 .*\. Correct it\.$") as e:
        read(tmp_path, outputs)
    assert e.value.key == ("target", "columns")


def test_a_column_of_text_is_no_column_of_bad_cells(tmp_path):
    lines = [f"{i},{'xyz'[i % 3]}{i},{'ab'[i % 2]}" for i in range(N)]
    (tmp_path / "s.csv").write_text("\n".join(["t1,t2,class", *lines]))
    with pytest.raises(TaskDataError, match="`t2` holds string"):
        read(tmp_path, table("s.csv", missing="mean"))


def test_arff(tmp_path):
    head = "@relation r\n@attribute t1 numeric\n@attribute t2 real\n@attribute class {a,b}\n@data"
    (tmp_path / "s.arff").write_text("\n".join([head, *rows()]) + "\n")
    imported = read(tmp_path, table("s.arff"))
    assert in_order(imported, "x")[3].tolist() == [[3.5, 3.0]]
    assert imported.description["classes"] == ["a", "b"]


def test_a_missing_class_of_an_arff_file_is_no_class(tmp_path):
    head = "@relation r\n@attribute t1 numeric\n@attribute t2 real\n@attribute class {a,b}\n@data"
    lines = rows()
    lines[4] = lines[4].removesuffix("a") + "?"
    (tmp_path / "s.arff").write_text("\n".join([head, *lines]) + "\n")
    with pytest.raises(TaskDataError, match=r"the label of sample 4 .* is missing"):
        read(tmp_path, table("s.arff"))


def test_series_of_ucr(tmp_path):
    lines = [f"{i}.5,?,{i}:{'ab'[i % 2]}" for i in range(N)]
    (tmp_path / "Gun.ts").write_text(HEAD.format(one="true") + "\n".join(lines))
    definition = table("Gun.ts", columns=["x"], missing="zero")
    assert in_order(read(tmp_path, definition), "x")[3].tolist() == [[3.5, 0, 3]]


def test_series_of_uea_have_channels_and_lengths_of_their_own(tmp_path):
    lines = [
        ":".join([",".join(["1", "2", "3"][: 2 + i % 2])] * 2 + ["ab"[i % 2]]) for i in range(N)
    ]
    text = "\n".join(line.replace("1", str(i), 1) for i, line in enumerate(lines))
    (tmp_path / "Gun.ts").write_text(HEAD.format(one="false") + text)
    definition = define(
        input={"path": "Gun.ts", "columns": ["x0", "x1"], "layout": "NCL", "length": 3},
        target={"key": "class"},
        splits={"val": 0.25, "test": 0.25},
    )
    x = in_order(read(tmp_path, definition), "x")
    assert x[4].tolist() == [[4, 2, 0], [1, 2, 0]]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.ts", HEAD.format(one="true") + "1,2:a\n1,zwei:b\n", "line 8: could not convert"),
        ("a.ts", HEAD.format(one="true") + "1,2:a\n1,2:3,4:b\n", "line 8 has 2 channels"),
        ("a.ts", HEAD.replace("false", "true", 1).format(one="true"), "times, which are not read"),
        ("a.ts", "no head", "it cannot be read as a table"),
        ("a.csv", "x,y\n", "it has no rows"),
        ("a.arff", "@relation r\n@attribute t1 string\n@data\nx\n", "cannot be read as a table"),
    ],
)
def test_what_is_no_such_table_is_refused(name, text, expected, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=expected):
        read(tmp_path, table(name, columns=["x"]))
