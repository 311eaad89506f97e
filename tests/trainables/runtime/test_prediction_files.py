"""The inputs of a model in a table: the columns of its training, in their order."""

import pytest

from trainables.errors import DataError
from trainables.runtime.prediction_files import read_inputs


@pytest.mark.parametrize(
    ("header", "expected"), [("b,x,a\n", [[3.0, 1.0]]), ("", [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])]
)
def test_columns_are_taken_by_their_names_if_there_are_any(tmp_path, header, expected):
    (tmp_path / "i.csv").write_text(header + "1,2,3\n" * (2 - bool(header)))
    assert read_inputs(tmp_path / "i.csv", columns=("a", "b")).rows.tolist() == expected


def test_a_header_of_numbers_is_no_sample(tmp_path):
    (tmp_path / "i.csv").write_text("402,400,404\n1,2,3\n4,5,6\n")
    columns = ("400", "402")
    assert read_inputs(tmp_path / "i.csv", columns=columns).rows.tolist() == [[2, 1], [5, 4]]
    # A model of columns without names takes them by their places, whatever their numbers.
    (tmp_path / "i.csv").write_text("1,0\n0,0\n")
    assert read_inputs(tmp_path / "i.csv", columns=("0", "1")).rows.tolist() == [[1, 0], [0, 0]]
    (tmp_path / "i.csv").write_text("1.5,2\n")
    assert read_inputs(tmp_path / "i.csv", columns=("0", "1")).rows.tolist() == [[1.5, 2]]


def test_a_table_without_a_column_of_the_training_needs_names(tmp_path):
    (tmp_path / "i.csv").write_text("u,v\n1,2\n")
    with pytest.raises(DataError, match="no column `b`, by which the model was trained"):
        read_inputs(tmp_path / "i.csv", columns=("u", "b"))
    assert read_inputs(tmp_path / "i.csv", ["v", "u"], columns=("a", "b")).rows.tolist() == [[2, 1]]
