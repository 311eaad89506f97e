import pytest
from pydantic import ValidationError

from tests.support.own_tasks import definition
from trainables.tasks.own.definition import TaskDefinition


def test_the_content_of_a_definition_gives_the_same_definition():
    task = definition(splits={"val": ["val.npz", "more.npz"], "seed": 3}, title="Wafers")
    assert TaskDefinition.model_validate(task.content) == task
    assert "standardize" not in task.content


@pytest.mark.parametrize("key", ["title", "licence", "citation"])
def test_words_do_not_change_the_hash_of_the_data(key):
    assert definition(**{key: "other"}).data_hash == definition().data_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"standardize": False},
        {"metric": "one_minus_macro_f1"},
        {"splits": {"seed": 1}},
        {"target": {"key": "label"}},
    ],
)
def test_whatever_the_data_depend_on_changes_their_hash(changes):
    assert definition(**changes).data_hash != definition().data_hash


@pytest.mark.parametrize(
    ("given", "dimension"),
    [
        ({"path": "a.npz", "layout": "NCL"}, "1d"),
        ({"path": "a.npz", "layout": "NHWC"}, "2d"),
        ({"path": "images", "size": [8, 8]}, "2d"),
        ({"path": "sounds", "length": 100}, "1d"),
        ({"path": ["a/*.png", "b/*.jpg"]}, "2d"),
        ({"path": "table.csv"}, "1d"),
        ({"path": "a.npz"}, "1d"),
    ],
)
def test_the_dimension_follows_from_layout_keys_or_names_of_files(given, dimension):
    assert definition(input=given).dimension == dimension


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {"path": "images"}}, "say `input.layout`"),
        ({"input": {"path": ["a.png", "a.wav"]}}, "say `input.layout`"),
        ({"input": {"layout": "NCL"}}, "name the files"),
        ({"splits": {"train": "b.npz"}}, "name the inputs twice"),
        ({"metric": "nrmse"}, "not one of classification tasks: zero_one_error"),
        ({"metric": "accuracy"}, "not one of classification tasks: zero_one_error"),
        ({"kind": "segmentation"}, "kind"),
        ({"name": "wafer"}, "name"),
        ({"name": "Mine/wafer"}, "name"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_way_out(changes, message):
    with pytest.raises(ValidationError, match=message):
        definition(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"standardize": "yes"},
        {"standardize": 1},
        {"input": {"path": "a.csv", "header": "no"}},
        {"input": {"path": "a.wav", "length": "9"}},
        {"splits": {"stratified": "true"}},
        {"splits": {"seed": "1"}},
    ],
)
def test_text_is_no_boolean_and_no_number(changes):
    with pytest.raises(ValidationError, match=r"should be a valid (boolean|integer)"):
        definition(**changes)
