"""The page: published findings, a verdict for each claim, and what its numbers depend on."""

import re
from dataclasses import replace

import pytest

from sweeper.ledger import SweepRecord
from sweeper.model import Study, StudyFacts, TrialKind, TrialState, label_of
from sweeper.render.page.reproduction import render_page
from sweeper.results.comparison import CurvePoint
from sweeper.results.reproduction.evidence import Evidence, Key, Machine
from sweeper.results.reproduction.files import load
from sweeper.results.reproduction.reproduction import Part, Reproduction
from sweeper.results.schema import StudyResult, SweepResult, TrialRow
from sweeper.spec.schema import Claim, Question
from tests.support.command import ROOT
from tests.support.ledgers import RECORD
from trainables.report import Measurement

TASK = "pdebench/advection_1d"
EVIDENCE = ROOT / "trainables" / "evidence"
LEVELS = {"control": 0.5, "refine.freeze=none": 0.4, "refine.freeze=body": 0.6}
QUESTION = Question(
    figures=["fig7"],
    title="What do embedder & body contribute?",
    published="Fine-tuning the body is critical.",
    source="Somebody, 2023",
    refuted_if="a frozen body costs nothing.",
    claims=[
        Claim(
            says="The body has to be fine-tuned.",
            contrast=["refine.freeze=none", "refine.freeze=body"],
            expect="better",
        ),
        Claim(
            says="A frozen body is better than none.",
            contrast=["refine.freeze=body", "control"],
            expect="better",
        ),
    ],
)


FACTS = StudyFacts(
    samples={"train": 20, "val": 4, "test": 6}, data_source="generated", backbone="minilm",
    proxy="python_source",
)  # fmt: skip
ABLATION = {"compare_by": {"refine.freeze": ["none", "body"]}}


def studied(record: SweepRecord, name: str, levels, *, metrics, facts=FACTS, seeds=8):
    """Return a study whose configurations, by kind, differ a little from seed to seed."""
    method, _, rest = name.partition("/")
    task = "/".join(rest.split("/")[:2])
    study = Study(name=name, method=method, task=task, objective="val/nrmse", seed=0)
    trials = []
    for origin, (kind, level) in enumerate(levels.items()):
        trials.append(
            TrialRow(
                study=name, number=origin, kind=kind, params={}, seed=0, value=level,
                state=TrialState.COMPLETE,
            )
        )  # fmt: skip
        for k in range(seeds):
            test = level + 0.001 * k
            last = Measurement(stage="", epoch=6, num_epochs=6, metrics=metrics(name, test))
            trials.append(
                TrialRow(
                    study=name, number=100 * origin + k + 9, kind=TrialKind.REPLICATE, params={},
                    seed=k, value=level - 0.01, state=TrialState.COMPLETE, origin=origin,
                    test={"test/nrmse": test}, epochs=6, seconds=12.0, measurements=(last,),
                )
            )  # fmt: skip
    label = label_of(method, study.arm)
    return StudyResult(record=record, study=study, facts=facts, trials=tuple(trials), label=label)


def made(
    seeds: int = 8, *, levels=LEVELS, tasks=(TASK,), metrics=lambda name, test: {}, **changed
) -> Evidence:
    """Return evidence of three arms on each of these tasks."""
    record = replace(RECORD, name="freezing", profile="laptop", resolved=ABLATION)
    studies = tuple(
        studied(
            record, f"orca/{task}/{arm}", {TrialKind.PRESET: level}, metrics=metrics, seeds=seeds
        )
        for task in tasks
        for arm, level in levels.items()
    )
    curves = tuple(
        CurvePoint(
            study=each.study.name, metric="val/nrmse", stage="refine", epoch=epoch, mean=1 / epoch,
            low=None, high=None, seeds=seeds,
        )
        for each in studies
        for epoch in (1, 2, 3)
    )  # fmt: skip
    evidence = Evidence(
        sweep=SweepResult(record=record, studies=studies),
        key=Key(settings=ABLATION, code={}, data={}),
        question=QUESTION.model_dump(mode="json"),
        commit="c0ffee" * 6,
        packages={"torch": "2.13.0"},
        finished="2026-11-27",
        machine=Machine(slots=2, cpu=1, gpu=0),
        curves=curves,
    )
    return replace(evidence, **changed)


def reproduction(evidence: Evidence | None, **part) -> Reproduction:
    parts = (Part(name="freezing", evidence=evidence, origin="committed evidence", **part),)
    return Reproduction(
        name="freezing", aliases=("fig7",), question=QUESTION, tasks=(TASK,), parts=parts
    )


def page(*found: Reproduction) -> str:
    """Return the page's text, without tags and figures."""
    text = render_page(found, profile="laptop")
    text = re.sub(r"<(style|script|svg)\b.*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_claim_stands_with_its_verdict_numbers_and_what_was_published():
    text = page(reproduction(made()))
    assert "One primary claim: holds here. One other contrast: does not hold." in text
    assert "Published: Fine-tuning the body is critical. (Somebody, 2023)" in text
    assert f"(Somebody, 2023) Asked here on {TASK}. It would be refuted if" in text
    assert "It would be refuted if a frozen body costs nothing." in text
    assert "holds here The body has to be fine-tuned. (first claim)" in text
    assert "does not hold A frozen body is better than none." in text
    assert "p = 0.007812, 8 seeds" in text
    assert "8 seeds could have shown a difference of" in text
    assert "ORCA with refine.freeze=body 0.6035" in text


def test_a_ratio_over_tasks_is_told_in_percent_beside_the_same_contrast_elsewhere():
    claim = QUESTION.claims[0].model_copy(update={"about": "the body"})
    question = QUESTION.model_copy(update={"claims": [claim]})
    one = replace(reproduction(made()), question=question)
    two = tuple(f"own/{i}" for i in range(2))
    over_tasks = replace(reproduction(made(tasks=two)), name="other", question=question, tasks=two)
    text = page(one, over_tasks)
    assert "The same contrast elsewhere: other -33.1 % (p = 0.5)." in text
    assert "The same contrast elsewhere: freezing -0.2 (p = 0.007812)." in text


def test_the_page_tells_under_which_conditions_the_numbers_were_obtained():
    text = page(reproduction(made()))
    for told in ("Profile laptop", "20 / 4 / 6 samples, generated data", "minilm", "8 seeds",
                 "source python_source", "2 trials at a time, each on 1 CPU core", "torch 2.13.0",
                 "commit c0ffeec0ffee", "All else is the preset of the method."):  # fmt: skip
        assert told in text


def test_its_figures_have_an_interval_for_each_arm_and_a_curve():
    html = render_page([reproduction(made())], profile="laptop")
    assert html.count("<figure") == 2
    assert "nRMSE by epoch of refine" in html


def test_a_recorded_metric_is_drawn_against_the_error_over_all_arms():
    drawn = made(metrics=lambda name, test: {"align/otdd_exact_start": 10.0 * test})
    claim = Claim(says="Nearer is better.", trend="align/otdd_exact_start", expect="worse")
    part = Part(name="freezing", evidence=drawn, origin="evidence")
    question = QUESTION.model_copy(update={"claims": [claim]})
    html = render_page([Reproduction(name="x", question=question, parts=(part,))], profile="laptop")
    assert "align/otdd_exact_start and test error, by seed" in html
    assert "Not counted: 1 exploratory, written after the launch." in html


def test_the_distance_of_several_sources_is_drawn_without_a_claim_about_it():
    metrics = {"align/otdd_exact_start": 7.0, "align/mmd_start": 0.1}
    evidence = made(
        levels={"control": 0.5, "proxy=digits": 0.4, "proxy=noise": 0.6},
        metrics=lambda name, test: {} if name.endswith("control") else metrics,
        curves=(),
    )
    part = Part(name="x", origin="evidence", evidence=evidence)
    html = render_page([Reproduction(name="x", question=QUESTION, parts=(part,))], profile="laptop")
    assert html.count("by seed</figcaption>") == 1
    assert "align/otdd_exact_start and test error, by seed" in html


def test_of_several_tasks_the_page_tells_what_fewer_would_have_shown():
    both = made(tasks=(TASK, "pdebench/darcy_2d"), curves=())
    text = page(reproduction(both))
    assert "Over all tasks, and on fewer of them" in text
    assert "33.1 % lower with refine.freeze=none" in text
    assert "2 tasks, 8 seeds" in text


def test_what_was_not_run_is_told_so():
    each = reproduction(None, note="Its sweep is running: 3 of 9 trials ended.")
    text = page(each)
    assert each.evidence == "not run"
    assert "One primary claim: not run. One other contrast: not run." in text
    assert "freezing: not run. Its sweep is running: 3 of 9 trials ended." in text
    assert "Nothing" not in text


def test_evidence_of_something_else_is_shown_with_what_differs():
    each = reproduction(made(), changes={"code": "trainables.training.optim", "data": TASK})
    assert each.evidence == "stale"
    told = f"evidence of other code (trainables.training.optim) and other data ({TASK})."
    assert told in page(each)
    assert "holds here" in page(each)


@pytest.mark.parametrize(
    ("question", "is_late"),
    [
        (QUESTION.model_dump(mode="json"), False),
        (None, True),
        (QUESTION.model_copy(update={"claims": QUESTION.claims[:1]}).model_dump(mode="json"), True),
    ],
)
def test_claims_that_were_not_there_at_the_launch_are_told(question, is_late):
    each = replace(reproduction(made(question=question)), commit="badcafe" * 6)
    assert "their file is of commit badcafebadca" in page(each)
    assert any(claim.is_exploratory for claim in each.claims) is is_late
    assert ("(exploratory)" in page(each)) is is_late
    assert ("exploratory, written after the launch" in page(each)) is is_late
    fixed = "fixed by commit c0ffeec0ffee before freezing was launched"
    assert (fixed in page(each)) is not is_late


def test_few_seeds_settle_nothing():
    each = reproduction(made(seeds=3))
    assert {claim.verdict.value for claim in each.claims} == {"cannot tell"}


def test_text_of_files_is_escaped():
    html = render_page([reproduction(made())], profile="<b>")
    assert "embedder &amp; body" in html
    assert "profile &lt;b&gt;" in html


def test_a_table_has_its_methods_without_claims():
    each = Reproduction(name="table_pdebench", parts=reproduction(made()).parts)
    text = page(each)
    assert each.claims == ()
    assert "No claim is tested here." in text
    assert "Table: pdebench" in text


def tuned(sweep: str, method: str, best: float) -> Part:
    """Return the evidence of one tuned method and its control."""
    facts = replace(FACTS, published=[
        {"method": "fno", "value": 0.011, "metric": "nrmse", "protocol": "official",
         "citation": "Takamoto et al."},
    ])  # fmt: skip
    record = replace(RECORD, name=sweep, profile="laptop", resolved={})
    levels = {TrialKind.PRESET: best, TrialKind.CONTROL: 0.9}
    study = studied(record, f"{method}/{TASK}", levels, facts=facts, metrics=lambda name, test: {})
    evidence = made(
        sweep=SweepResult(record=record, studies=(study,)), question=None, curves=(),
        key=Key(settings={}, code={}, data={}),
    )  # fmt: skip
    return Part(name=sweep, evidence=evidence, origin="committed evidence")


def test_a_table_compares_methods_of_several_sweeps_with_their_controls():
    parts = (tuned("orca_pdebench", "orca", 0.4), tuned("pare_pdebench", "pare", 0.2))
    lacking = Part(name="mona_pdebench")
    text = page(Reproduction(name="table_pdebench", parts=(*parts, lacking)))
    for told in ("ORCA 0.4035", "PaRe 0.2035", "ORCA: control 0.9035", "mona_pdebench: not run.",
                 "Published numbers on pdebench/advection_1d: 1"):  # fmt: skip
        assert told in text


def test_two_sweeps_of_one_method_are_told_apart():
    parts = (tuned("nft_pdebench", "nft", 0.4), tuned("baselines_pdebench", "nft", 0.8))
    text = page(Reproduction(name="table_pdebench", parts=parts))
    assert "NFT (nft_pdebench) 0.4035" in text
    assert "NFT (baselines_pdebench) 0.8035" in text


@pytest.mark.parametrize(
    ("name", "arm", "mean"),
    [
        ("freezing", "refine.freeze=body", 0.1792),
        ("what_matters_in_mona", "meta.lambda=1.0", 0.1104),
    ],
)
def test_committed_evidence_gives_the_logged_numbers(name, arm, mean):
    part = Part(name=name, evidence=load(EVIDENCE / f"{name}.json"), origin="committed evidence")
    (task,) = Reproduction(name=name, parts=(part,)).comparison.tasks
    (entry,) = (each for each in task.entries if each.label.endswith(arm))
    assert entry.mean == pytest.approx(mean, abs=5e-5)


@pytest.mark.parametrize("file", sorted(EVIDENCE.glob("*.json")), ids=lambda file: file.stem)
def test_all_committed_evidence_can_be_read_and_has_its_figure(file):
    evidence = load(file)
    assert all(arm.trainings for arm in evidence.arms)
    assert evidence.arms
    assert file.with_suffix(".svg").is_file()
    assert sum(each.stat().st_size for each in EVIDENCE.glob(f"{file.stem}.*")) < 150_000
