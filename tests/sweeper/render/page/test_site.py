"""The pages of the benchmark: what a reader sees of methods, evidence and its state."""

import re
from dataclasses import replace

import pytest

from sweeper.render.page.site import INDEX, headline, render_site
from sweeper.results.reproduction.benchmark import Standings
from sweeper.results.reproduction.evidence import Retraining, read_evidence
from sweeper.results.reproduction.files import load
from sweeper.results.reproduction.reproduction import Part
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores

EVIDENCE = ROOT / "trainables" / "evidence"
TASK = "pdebench/advection_1d"
FACTS = {"floor": {"name": "ridge", "value": 0.9, "seconds": 0.25}, "baselines": {"closed_form": 0}}
AGAIN = Retraining(on="2026-11-29", commit=None, trainings=4, seed=3, processor="that one")


def values(level):
    return [level + 0.001 * k for k in range(8)]


@pytest.fixture
def evidence(sweep):
    """Two tuned methods, of which the first one leads."""
    studies = [
        Scores(method=method, task=TASK, best=values(level), control=values(0.6), facts=FACTS)
        for method, level in {"orca": 0.2, "pare": 0.3}.items()
    ]
    return read_evidence(sweep(*studies, name="mine", provenance={"processor": "this one"}))


def shown(evidence, page=INDEX, **changes):
    """Return the text of a page, one line for each row of its tables."""
    part = Part(name=evidence.name, evidence=evidence, origin="evidence", changes=changes)
    files = {evidence.name: ["evidence/mine.json", "evidence/mine.csv"]}
    html = render_site(Standings(parts=(part,)), files)[page]
    return html, [re.sub(r"<[^>]+>", "|", line) for line in html.splitlines()]


def row(lines, *words):
    (found,) = [line for line in lines if all(word in line for word in words)]
    return found


def test_methods_controls_floors_and_closed_forms_are_rows(evidence):
    _, lines = shown(evidence)
    assert "0.2035 leads" in row(lines, "ORCA", "leads", "0.2035 leads")
    assert "0.3035 higher" in row(lines, "PaRe", "0.3035 higher")
    assert "0.6035" in row(lines, "|vanilla fine-tuning, untuned|")
    assert "0.9 (ridge regression)" in row(lines, "0.9 (ridge regression)")
    assert "|closed form|" in row(lines, "|closed form|", "|–|")


def test_the_cost_of_tuning_and_of_a_training_stands_beside_quality(evidence):
    _, lines = shown(evidence)
    found = row(lines, "ORCA", "0.226×")
    # Three candidates and one training of four epochs, of two seconds each.
    assert "|24||8|" in found.replace("||", "|", 0).replace("|||", "||")
    assert "0.25" in row(lines, "floor: ridge regression")


def test_stale_evidence_is_told_wherever_its_numbers_are(evidence):
    html, lines = shown(evidence)
    assert "stale: other" not in html
    html, lines = shown(evidence, code="trainables.training.optim", data=TASK)
    assert "0.2035 leads, stale" in row(lines, "0.2035 leads")
    assert html.count("stale: other code and data") == 1 + 3  # its file, two methods, a control
    assert "1 of these is stale" in html


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "0 of 8 seeds confirmed"),
        ({"confirmed": AGAIN}, "1 of 8 seeds confirmed on another processor"),
        ({"confirmed": replace(AGAIN, processor="this one")}, "1 of 8 seeds confirmed"),
        ({"scatter": (replace(AGAIN, spread=0.4),), "confirmed": replace(AGAIN, seed=5)},
         "2 of 8 seeds confirmed on another processor"),
        ({"scatter": (AGAIN, replace(AGAIN, spread=1.2))}, "0 of 8 seeds confirmed"),
    ],
)  # fmt: skip
def test_seeds_that_were_trained_again_are_counted(evidence, changes, told):
    _, lines = shown(replace(evidence, **changes))
    assert f"holds; {told}|" in row(lines, "0.226×")


def test_a_page_of_each_evidence_has_every_seed_and_the_files_are_linked(evidence):
    html, _ = shown(evidence)
    for link in ("mine.html", "evidence/mine.json", "evidence/mine.csv"):
        assert f'href="{link}"' in html
    _, lines = shown(evidence, "mine.html")
    for seed in range(100, 108):
        assert sum(f"|{seed}|" in line for line in lines) == 4  # two methods, two controls


def test_boards_of_one_task_and_size_have_places_of_their_own():
    found = [load(file) for file in EVIDENCE.glob("*_ecg.json")]
    parts = tuple(Part(name=e.name, evidence=e, origin="evidence", changes={}) for e in found)
    names = {each.name: [f"{each.name}.json"] for each in found}
    page = render_site(Standings(parts=parts), names)[INDEX]
    places = re.findall(r'<h2 id="(physionet-ecg[^"]*)"', page)
    assert len(places) == len(set(places)) == len(names)
    assert all(f'href="#{place}"' in page for place in places)
    assert "own data, each seed" in page


def test_without_evidence_there_is_an_empty_page():
    assert "0 methods on 0 boards" in headline(Standings(parts=()))
    assert list(render_site(Standings(parts=()), {})) == [INDEX]
