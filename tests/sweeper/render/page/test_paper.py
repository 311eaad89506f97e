"""The paper: no number in its text, and every number from a file."""

import ast
import json
import re
import shutil
from dataclasses import replace

import pytest

from sweeper.render.page import paper as module
from sweeper.render.page.paper import paper_page
from sweeper.results.reproduction.audits import LengthCheck, Longer, read_remarks
from sweeper.results.reproduction.evidence import read_evidence
from sweeper.results.reproduction.files import as_files, committed_evidence, load
from sweeper.results.reproduction.paper import read_paper
from sweeper.results.reproduction.reproduction import Part, Reproduction
from sweeper.spec.schema import Claim, Question
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write

TEMPLATE = ROOT / "sweeper/render/page/templates/paper.html.j2"
NAMES = ("NAS-Bench-360", "SHA-256", "95 %")  # names, and the level of all intervals
COUNTS = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand)\b", re.I
)
TASK = "pdebench/burgers_1d@rank"
CLAIMS = [
    Claim(says="A pretrained body is better.", contrast=["nft", "scratch"], expect="better"),
    Claim(says="ORCA is better.", contrast=["orca", "nft"], expect="better"),
]
QUESTION = Question(title="Which method wins?", published="All do.", claims=CLAIMS)


def without_names(text: str) -> str:
    for name in NAMES:
        text = text.replace(name, "")
    return text


def has_number(text: str) -> bool:
    return bool(re.search(r"\d", without_names(text)) or COUNTS.search(text))


def test_the_text_of_the_template_has_no_number():
    text = re.sub(r"<pre>.*?</pre>", "", TEMPLATE.read_text(), flags=re.DOTALL)  # commands
    text = re.sub(r"cite\(.*?\)", "", text)  # names of references
    spoken = re.findall(r'"([^"]*)"', " ".join(re.findall(r"\{\{.*?\}\}", text)))
    prose = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<[^>]*>", " ", text, flags=re.DOTALL)
    for line in [*prose.splitlines(), *spoken]:
        assert not has_number(line), line


def test_the_sentences_of_the_module_have_no_number():
    tree = ast.parse((ROOT / "sweeper/render/page/paper.py").read_text())
    left_out = set()
    for node in ast.walk(tree):
        # References have years. A format is no text, and neither are docstrings and names of files.
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) in ("REFERENCES", "WORDS"):
            left_out |= set(ast.walk(node))
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            left_out |= set(ast.walk(node.format_spec))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WORDS":
            left_out |= set(ast.walk(node))
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and node.body:
            left_out |= set(ast.walk(node.body[0]))
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out
    ]
    assert texts
    assert [text for text in texts if has_number(text) and text != "paper.html.j2"] == []


@pytest.fixture
def folder(tmp_path):
    """A folder with the recorded audits, and nothing else."""
    shutil.copytree(committed_evidence() / "audits", tmp_path / "audits")
    return tmp_path


def page(folder, reproductions=()):
    found = read_paper([folder], list(reproductions), version="1", commit="c0ffee")
    return " ".join(re.sub(r"<[^>]+>", " ", paper_page(found)).split())


def change(file, edit):
    found = json.loads(file.read_text())
    edit(found)
    file.write_text(json.dumps(found))


def test_a_changed_floor_changes_the_verdicts_and_the_counts(folder):
    before = page(folder)
    audit = folder / "audits" / "pdebench.json"

    def worsen(found):
        for row in found["tasks"][0]["predictors"]:
            row["test"], row["validation"] = 0.777, 0.777

    names = [each["title"] for each in json.loads(audit.read_text())["tasks"]]
    assert f"{names[0]}, " in before.partition("below all of them")[2].partition(".")[0]
    change(audit, worsen)
    after = page(folder)
    assert names[0] not in after.partition("below all of them")[2].partition(".")[0]
    assert ("0.777" in before, "0.777" in after) == (False, True)
    word = re.compile(r"On (\w+) of (\w+) tasks a predictor")
    known = module.WORDS
    assert known.index(word.search(before)[1]) - known.index(word.search(after)[1]) == 1


def test_a_recorded_ratio_is_not_believed(folder):
    before = page(folder)
    change(folder / "audits/pdebench.json", lambda found: found["tasks"][0].update(ratio=1e9))
    assert page(folder).partition("Sources")[0] == before.partition("Sources")[0]


def test_a_margin_that_reaches_zero_clears_no_floor(folder):
    def worsen(found):
        found["seeds"][3]["fno"] = 9.0

    assert "beats the best of them on all eight" in page(folder)
    change(folder / "audits/rank/burgers_1d.json", worsen)
    assert "beats the best of them on seven of eight" in page(folder)


def test_what_has_no_record_is_printed_as_not_run(tmp_path):
    text = page(tmp_path)
    assert "No audit of the published tasks is recorded: not run." in text
    assert "No variant is recorded: not run." in text
    assert "RoBERTa-base and Swin-base, as published: not run" in text


def win(folder, levels, **part):
    """Return the question which method wins, with evidence of these levels in a folder."""
    facts = {
        "floor": {"name": "ridge", "value": 0.2, "validation": 0.2},
        "baselines": {"ridge": 0.2},
        "validations": {"ridge": 0.2},
    }
    scores = [
        Scores(method=method, task=TASK, best=[level + 0.001 * k for k in range(8)], facts=facts)
        for method, level in levels.items()
    ]
    settings = {
        "parameters": {"refine.lr": {"values": [0.001, 0.01]}},
        "fixed": {"refine.epochs": 24},
    }
    return asked(folder, "which_method_wins_burgers_1d", scores, settings, **part)


def asked(folder, name, scores, settings, **part):
    """Return a question with evidence of these scores in a folder."""
    question = QUESTION.model_dump(mode="json")
    resolved = {"name": name, "resources": {"cpu": 1, "gpu": 0}, "question": question, **settings}
    made = read_evidence(write(folder / "ledger", name, scores, resolved=resolved))
    for file, text in as_files(replace(made, commit="beef" * 10)).items():
        (folder / file).write_text(text)
    evidence = load(folder / f"{name}.json")
    parts = (Part(name=name, evidence=evidence, origin="committed evidence", **part),)
    length = read_remarks([folder]).lengths.get(name)
    return Reproduction(
        name=name, question=QUESTION, tasks=(TASK,), parts=parts, measured_length=length
    )


def test_methods_that_are_tuned_alike_are_compared_by_their_claims(folder):
    found = win(folder, {"nft": 0.1, "orca": 0.12, "scratch": 0.25})
    text = page(folder, [found])
    assert "three methods that were run together on burgers_1d@rank NFT has the lowest" in text
    assert "two of three beat the best predictor" in text
    assert "that a pretrained body is better than one of random weights: holds here (diff" in text
    assert "by itself holds here, p = 0.007812; after the correction over all first claims" in text
    assert "Of two claims one holds, one fails" in text
    assert "On burgers_1d@rank trainings are cut short, so that a difference may be" in text
    assert "refine.lr from 0.001 and 0.01; refine.epochs 24" in text
    assert (
        "lower the validation error of FNO by 29 % and of NFT by 12 %, where a fall of 5 % is"
        in text
    )
    assert "which_method_wins_burgers_1d.csv" in text


def test_methods_that_lose_to_the_floor_are_not_ranked(folder):
    worse = page(folder, [win(folder, {"nft": 0.3, "orca": 0.31, "scratch": 0.25})])
    assert "run together on burgers_1d@rank From scratch has the lowest mean error" in worse
    assert "none of three beat the best predictor" in worse
    assert "random weights: not informative." in worse


def test_evidence_of_other_code_is_marked(folder):
    text = page(folder, [win(folder, {"nft": 0.1, "scratch": 0.25}, changes={"code": "a"})])
    assert "(evidence of former code, settings or data, which does not count)" in text
    assert "(evidence that does not count today)" in text


@pytest.mark.parametrize("changes", [{}, {"code": "a"}])
def test_the_paper_has_ladders_of_evidence_that_counts(folder, changes):
    levels = {"data.samples": [100, 200, 400]}
    scores = [
        Scores(method=method, task=TASK, arm=f"data.samples={samples}",
               best=[level * samples**-0.4 * (1 + 0.01 * k) for k in range(8)])
        for method, level in (("nft", 2), ("scratch", 1))
        for samples in levels["data.samples"]
    ]  # fmt: skip
    settings = {"compare_by": levels, "ladder": levels}
    text = page(folder, [asked(folder, "training_size", scores, settings, changes=changes)])
    is_told = "NFT never passes From scratch, from 100 to 400 samples" in text
    assert is_told == (not changes)
    assert ("a pretrained body or a method pays cannot be told: not run" in text) == bool(changes)


def test_a_question_without_evidence_is_printed_as_not_run(folder):
    name = "which_method_wins_darcy_2d"
    task = "pdebench/darcy_2d@rank"
    empty = Reproduction(name=name, question=QUESTION, tasks=(task,), parts=(Part(name=name),))
    text = page(folder, [empty])
    assert f"darcy_2d@rank ( {name} ): not run" in text
    assert f"Not run: {name}." in text
    assert "A comparison of methods that are tuned alike was not run." in text


def test_what_twice_the_epochs_raise_is_not_said_to_fall():
    runs = [Longer(method=m, epochs=24, validation=0.1, doubled=d) for m, d in
            (("nft", 0.093), ("contrastive_pare", 0.108), ("orca", 0.1002))]  # fmt: skip
    check = LengthCheck(allowed=0.05, runs=tuple(runs))
    assert check.is_short
    assert check.sentence.endswith(
        "twice the epochs, in one training each on the search's draw, lower the validation error "
        "of NFT by 7 %, raise the validation error of Contrastive PaRe by 8 % and leave the "
        "validation error of ORCA as it is, where a fall of 5 % is allowed."
    )
