"""Published numbers: grouped by protocol and named, never ordered by merit."""

from sweeper.model import StudyFacts
from sweeper.results.comparison import by_protocol, published_of

NUMBERS = [
    {"method": "pare", "value": 0.1, "protocol": "b", "metric": "nrmse", "citation": "P"},
    {"method": "fno", "value": 0.2, "protocol": "b", "metric": "nrmse", "citation": "F"},
    {"method": "orca", "value": 0.3, "protocol": "a", "metric": "nrmse", "citation": "O"},
]


def test_numbers_are_by_protocol_and_name_whatever_the_values():
    found = published_of(StudyFacts(published=NUMBERS))
    assert [each.method for each in found] == ["orca", "fno", "pare"]
    groups = by_protocol(found)
    assert {p: [each.method for each in group] for p, group in groups.items()} == {
        "a": ["orca"],
        "b": ["fno", "pare"],
    }


def test_a_task_of_ours_has_none():
    assert published_of(StudyFacts()) == ()
