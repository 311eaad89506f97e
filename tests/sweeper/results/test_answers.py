"""The question of a sweep in comparisons: text, JSON, pages, LaTeX and CSV."""

import csv
import io
import json

import numpy as np
import pytest

from sweeper.driver import pages
from sweeper.driver.pages import report_of
from sweeper.render.frames import claim_rows
from sweeper.render.json import comparison_as_json
from sweeper.render.latex import comparison_table
from sweeper.render.page.report import render_comparison
from sweeper.results.compare import compare
from sweeper.results.verdicts import claim_heads, notes
from tests.support.compared_ledgers import Scores

TASKS = ("pdebench/advection_1d", "pdebench/darcy_2d")
LEVELS = {"control": 0.35, "meta.lambda=0.0": 0.30, "meta.lambda=1.0": 0.29}
QUESTION = {
    "title": "What in MoNA helps?",
    "published": "The <b>term</b> helps.",
    "source": "Ma et al.",
    "refuted_if": "a warm-up is as good.",
    "claims": [
        {"says": "The term helps.", "contrast": ["meta.lambda=1.0", "meta.lambda=0.0"],
         "expect": "better"},
        {"says": "MoNA & a warm-up help.", "contrast": ["meta.lambda=0.0", "control"],
         "expect": "better"},
        {"says": "More of it helps.", "trend": "meta.lambda", "expect": "better"},
        {"says": "It was measured.", "trend": "meta.lambda", "expect": "better",
         "quantity": "train/probe_error"},
    ],
}  # fmt: skip


def studies(tasks=TASKS[:1]) -> list[Scores]:
    rng = np.random.default_rng(0)
    return [
        Scores(method="mona", task=task, arm=arm, best=list(rng.normal(mean, 0.005, 8)))
        for task in tasks
        for arm, mean in LEVELS.items()
    ]


OPTIONS = {"compare_by": {"meta.lambda": [0.0, 1.0]}, "question": QUESTION}


@pytest.fixture
def asked(sweep):
    return sweep(*studies(), **OPTIONS)


def test_the_primary_claim_comes_first_and_alone_is_not_corrected(asked):
    (answer,) = compare([asked]).answers
    assert [each.verdict for each in answer.claims] == ["holds here"] * 3 + ["not run"]
    assert answer.claims[0].p_holm is None
    assert answer.claims[1].p_holm == pytest.approx(2 * answer.claims[1].p_value)
    heads = claim_heads(answer)
    assert heads[0] == "primary claim, not corrected: The term helps."
    assert heads[1].startswith("claim, corrected by Holm with 1 more: ")


def test_by_a_factor_the_question_is_answered_alike(asked):
    assert compare([asked], by="meta.lambda").answers == compare([asked]).answers


def test_only_the_tasks_that_are_compared_count(sweep):
    ledger = sweep(*studies(TASKS), **OPTIONS)
    assert compare([ledger]).answers[0].claims[0].n == len(TASKS)
    (answer,) = compare([ledger], tasks=TASKS[:1]).answers
    assert (answer.claims[0].n, answer.claims[0].is_relative) == (8, False)


def test_json_has_the_question_only_where_there_is_one(asked, sweep):
    (told,) = comparison_as_json(compare([asked]))["questions"]
    assert (told["title"], told["sweep"]) == (QUESTION["title"], asked.name)
    assert told["claims"][0]["verdict"] == "holds here"
    assert "8 seeds could have shown a difference of" in told["claims"][0]["sentences"][1]
    json.dumps(told, allow_nan=False)
    plain = sweep(Scores(method="mona", task=TASKS[0], best=[0.1] * 6))
    assert "questions" not in comparison_as_json(compare([plain]))


@pytest.mark.slow
def test_pages_show_the_published_finding_beside_the_verdicts(asked):
    for page in (render_comparison(compare([asked])), report_of(asked)):
        assert "Published: The &lt;b&gt;term&lt;/b&gt; helps. (Ma et al.)" in page
        assert page.index("primary claim, not corrected") < page.index("corrected by Holm with")
        assert "could have shown a difference of" in page
    assert "claims.csv" in pages.files(asked, None)


@pytest.mark.slow
def test_tables_have_a_row_a_claim(asked):
    comparison = compare([asked])
    rows = claim_rows(comparison)
    assert [row["verdict"] for row in rows] == ["holds here"] * 3 + ["not run"]
    assert rows[0]["detectable"] > 0
    text = pages.files(asked, None)["claims.csv"]
    (first, *others) = csv.DictReader(io.StringIO(text))
    assert (first["claim"], len(others)) == ("The term helps.", 3)
    latex = comparison_table(comparison)
    assert rf"\label{{tab:{asked.name}-claims}}" in latex
    assert r"MoNA \& a warm-up help." in latex
    assert r"with 95\,\% intervals" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2


def test_people_read_it_before_the_tables(asked, printed):
    out = printed("compare", asked.name)
    assert out.startswith("What in MoNA helps? published: The <b>term</b> helps. (Ma et al.)")
    assert out.index("primary claim, not corrected") < out.index("test/nrmse")


def test_every_contrast_says_what_its_seeds_could_have_shown(asked):
    (task,) = compare([asked]).tasks
    for each in (*task.differences, *task.from_control):
        assert each.detectable is not None
        assert each.detectable.pairs == 8
        assert each.shown_size == pytest.approx(each.sd * 1.4, rel=0.25)
    assert sum("could have shown a difference" in note for note in notes(task)) == 2
