"""Every question file states what was published and what would refute it, and it loads."""

from pathlib import Path

import pytest

from sweeper.planning.catalog import catalog
from sweeper.results.reach import check_reach, reach_of, spreads_of
from sweeper.results.reproduction.files import committed_evidence
from sweeper.spec.loader import load_sweep
from tests.support.command import ROOT

FILES = sorted((ROOT / "search_spaces" / "questions").glob("*.yaml"))
ON_NAS_BENCH_360 = {"fig5", "fig6", "fig7", "fig8", "fig9", "fig16"}
ENOUGH = 8  # seeds, whose smallest p is 0.008

every_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


@every_file
@pytest.mark.parametrize("profile", ["paper", "laptop"])
def test_a_question_states_its_claims_before_it_is_run(file: Path, profile: str) -> None:
    question = load_sweep(file, catalog(), profile=profile).question
    assert question is not None
    assert question.refuted_if
    assert question.source
    if ON_NAS_BENCH_360.intersection(question.figures):
        assert "measured on NAS-Bench-360" in question.source


@every_file
@pytest.mark.parametrize("profile", ["paper", "laptop"])
def test_each_claim_can_be_significant_after_the_correction(file: Path, profile: str) -> None:
    reached = reach_of(load_sweep(file, catalog(), profile=profile))
    assert [each.claim.says for each in reached if not each.can_be_significant] == []


@every_file
@pytest.mark.parametrize("profile", ["paper", "laptop"])
def test_arms_are_compared_on_enough_seeds(file: Path, profile: str) -> None:
    sweep = load_sweep(file, catalog(), profile=profile)
    assert sweep.name == file.stem
    assert sweep.notes == ()
    assert sweep.replicate is not None
    assert sweep.replicate.seeds >= ENOUGH
    check_reach(spreads_of(sweep, [committed_evidence()]), str(file))
    studies = sweep.studies
    assert all(study.arm is not None for study in studies)
    assert len(studies) >= 2 * len(sweep.tasks)
