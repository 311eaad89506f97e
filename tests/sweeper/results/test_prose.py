"""Numbers and sentences: short, honest, right in sign."""

import pytest

from sweeper.model import StudyFacts
from sweeper.results import prose
from sweeper.results.prose import against, listed, method, metric, search_notes, times
from sweeper.results.read import read_sweep
from tests.support.compared_ledgers import Scores
from trainables.distances.registry import OWN as DISTANCES
from trainables.methods.registry import METHODS as TRAINABLE
from trainables.metrics import METRICS as MEASURED
from trainables.tasks.registry import BENCHMARKS


@pytest.mark.parametrize(
    ("value", "reference", "text"),
    [
        (0.5, 1.0, "50 % below"),
        (1.5, 1.0, "50 % above"),
        (0.997, 1.0, "level with"),
        (0.2, 0.0, "0.2 against"),
        (0.69, 0.0037, "186 times that of"),
        (1.996, 1.0, "2.0 times that of"),
        (0.0049, 1.0, "99.5 % below"),
        (1 - 0.995, 1.0, "99.5 % below"),  # which is above 0.005 by rounding
        (1e-5, 1.0, "99.999 % below"),
        (0.02, 1.0, "98 % below"),
    ],
)
def test_a_comparison_says_which_way(value, reference, text):
    assert against(value, reference) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.77, "77 %"), (2.0, "2.0 times"), (187.24, "187 times"), (5e4, "50,000 times")],
)
def test_a_large_ratio_is_told_in_times(ratio, text):
    assert times(ratio) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (-0.9999, "-99.99 %"),
        (0.999996, "99.9996 %"),
        (1e-7, "1e-5 %"),
        (0.123, "12.3 %"),
        (1.0, "100 %"),
        (35.9, "3590 %"),
    ],
)
def test_no_share_below_one_is_all_of_it(share, text):
    assert prose.percentage(share) == text


def test_own_data_without_an_origin_name_none():
    assert prose.data_of(StudyFacts(data_source="own")) == "own data"
    known = StudyFacts(data_source="own", origin="PhysioNet", licence="ODC-By")
    assert prose.data_of(known) == "own data of PhysioNet, licence: ODC-By"


def test_a_maximised_metric_of_zero_has_no_sign():
    assert str(prose.as_reported("val/neg_accuracy", 0.0)[1]) == "0.0"


def test_names_are_as_printed():
    assert (method("mona"), method("my_method")) == ("MoNA", "my_method")
    assert (metric("val/nrmse"), metric("val/relative_l2")) == ("nRMSE", "relative L2")
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_every_method_and_metric_there_is_has_a_printed_name():
    rivals = {name for each in BENCHMARKS.values() if each.results for name in each.results.rows}
    assert prose.METHODS.keys() == TRAINABLE.keys() | rivals
    assert prose.METRICS.keys() == MEASURED.keys()
    assert {name: DISTANCES[name].title for name in prose.DISTANCES} == prose.DISTANCES
    titles = {key: prose.METHODS[key].casefold() for key in TRAINABLE}
    assert titles == {key: each.title.casefold() for key, each in TRAINABLE.items()}


def test_what_helped_a_search_is_told(sweep):
    small = {"small": {"mona/pdebench/burgers_1d": [{"refine.lr": 1e-4}]}}
    scores = Scores(method="mona", task="pdebench/advection_1d", best=[0.2])
    (study,) = read_sweep(sweep(scores, search={"priors": True, "warm_start": small})).studies
    assert search_notes(study) == [
        f"{study.study.name}: some trials are drawn around priors (`search.priors`)",
        f"{study.study.name}: its search began with configurations of "
        "small:mona/pdebench/burgers_1d (`search.warm_start`)",
    ]
    (plain,) = read_sweep(sweep(scores)).studies
    assert search_notes(plain) == []
