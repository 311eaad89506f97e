"""The export of a sweep's evidence into a folder."""

import pytest

from sweeper.commands.results import export_evidence
from sweeper.errors import NotFound, UsageError
from tests.support.compared_ledgers import Scores, write

SCORES = Scores(method="orca", task="pdebench/advection_1d", best=[0.1, 0.2], control=[0.3, 0.4])


@pytest.fixture
def sweep(here):
    return write(here / "sweeps" / "mine", "mine", [SCORES])


def test_a_finished_sweep_leaves_numbers_key_and_figure(sweep, tmp_path):
    wrote = export_evidence("mine", tmp_path)
    assert wrote.path == tmp_path / "mine.json"
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"mine.json", "mine.csv", "mine.curves.csv", "mine.svg"}


def test_an_unfinished_sweep_leaves_none(sweep, tmp_path):
    sweep.start({})
    with pytest.raises(UsageError, match=r"not finished.*sweeper resume mine"):
        export_evidence("mine", tmp_path)


def test_neither_does_an_unknown_sweep_or_a_folder_that_is_not_there(sweep, tmp_path):
    with pytest.raises(NotFound, match="unknown sweep `yours`"):
        export_evidence("yours", tmp_path)
    with pytest.raises(UsageError, match="is no folder; make it first"):
        export_evidence("mine", tmp_path / "none")
