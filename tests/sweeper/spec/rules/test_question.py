"""`question`: claims are about arms that exist, are recorded, and change no hash."""

import pytest

from sweeper.spec.rules.question import entry_names
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import faults, orca_file, read_again

TEXT = orca_file("search: {trials: 2}", "replicate: {seeds: 8}",
                 "compare_by: {align.epochs: [5, 20], refine.freeze: [none, body]}")  # fmt: skip
HEAD = """\
question:
  title: Does it help?
  published: It does.
  claims:
"""
ARMS = ('"align.epochs=5,refine.freeze=none"', "control")
LINE = TEXT.count("\n") + HEAD.count("\n") + 1


def load(*claims: str) -> Sweep:
    return sweep_files.load(TEXT + HEAD + "".join(claims))


def contrast(first: str = ARMS[0], second: str = ARMS[1], more: str = "") -> str:
    return f"    - {{says: It helps., contrast: [{first}, {second}], expect: better{more}}}\n"


def trend(factor: str) -> str:
    return f"    - {{says: It grows., trend: {factor}, expect: worse}}\n"


def test_the_first_claim_is_primary_and_a_resolved_sweep_has_the_question():
    sweep = load(contrast(), trend("align.epochs"))
    assert sweep.question is not None
    assert sweep.question.claims[0].contrast == [ARMS[0].strip('"'), "control"]
    assert read_again(sweep).question == sweep.question


def test_a_claim_may_be_of_some_tasks_and_of_a_recorded_metric():
    sweep = load(contrast(more=", tasks: [pdebench/advection_1d]"), trend("align/mmd_start"))
    assert sweep.question is not None
    assert [claim.trend for claim in sweep.question.claims] == [None, "align/mmd_start"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("", "", None),
        ("{until: decided}", "{until: decided, top: 2}", "write `top: 1`"),
        ("advection_1d]", "advection_1d, pdebench/burgers_1d]", "name one task in its `tasks`"),
        ("trend: align.epochs", "trend: align/mmd_start", "write a contrast"),
        (HEAD, "#", "has claims to decide"),
    ],
)
def test_pairs_are_added_only_to_claims_that_more_seeds_decide(old, new, why):
    text = TEXT.replace("seeds: 8", "until: decided") + HEAD + contrast() + trend("align.epochs")
    if why is None:
        replicate = sweep_files.load(text).replicate
        assert replicate is not None
        assert replicate.looks == (8, 12, 16, 24)
        return
    if new == "#":
        text = text[: text.index(HEAD)]
    found = faults(text.replace(old, new))
    assert found
    for fault in found:
        assert "`replicate.until`: " in fault
        assert why in fault
        assert "`replicate: {seeds: 8}`" in fault


def test_a_question_changes_no_hash():
    bare = sweep_files.load(TEXT)
    assert "question" not in bare.resolved
    assert load(contrast()).config_hash == bare.config_hash


def test_an_arm_has_its_method_before_it_where_there_are_several():
    two = TEXT.replace("[orca]", "[orca, mona]").replace("align.epochs: [5, 20], ", "")
    arms = ("control", "refine.freeze=none", "refine.freeze=body")
    assert entry_names(sweep_files.load(two).studies) == [
        f"{method}/{arm}" for method in ("orca", "mona") for arm in arms
    ]
    plain = TEXT.partition("compare_by")[0].replace("[orca]", "[orca, mona]")
    assert entry_names(sweep_files.load(plain).studies) == [
        "orca", "orca/control", "mona", "mona/control",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (contrast("align.epochs=5", "control"),
         f"x.yaml:{LINE}: `question.claims[0]`: unknown arm"),
        (trend("align.epoch"), f"x.yaml:{LINE}: `question.claims[0].trend`: unknown factor"),
        (trend("refine.freeze"),
         "the values of `refine.freeze` must be numbers; write a contrast."),
        (trend("aligned/mmd"),
         f"x.yaml:{LINE}: `question.claims[0].trend`: no trial records `aligned/mmd`"),
        (contrast(more=", quantity: refin/probe_error"),
         f"x.yaml:{LINE}: `question.claims[0].quantity`: no trial records `refin/probe_error`"),
        (contrast(more=", tasks: [pdebench/darcy_2d]"),
         f"x.yaml:{LINE}: `question.claims[0]`: unknown task of the sweep"),
        (contrast(more=", trend: align.epochs"), "must have either `contrast` or `trend`"),
        (contrast("control", "control"), "must have two different arms"),
        (contrast(more=", margin: 0.1"), "must have `expect: no_worse` with `margin`"),
        ("    - {says: It helps., trend: align.epochs, expect: good}\n", "must be 'better'"),
        ("    - {says: It helps., trend: align.epochs}\n",
         "missing key `question.claims[0].expect`"),
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_decided_is_a_fault(claim, message):
    assert message in "\n".join(faults(TEXT + HEAD + claim))


def test_a_question_needs_a_claim():
    (fault,) = faults(TEXT + HEAD.replace("  claims:\n", "  claims: []\n"))
    assert "question.claims" in fault
