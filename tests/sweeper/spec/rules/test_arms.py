"""`compare_by`: the arms that a file makes, what they share, and what is refused."""

import pytest

from sweeper.errors import FileFaults
from sweeper.ledger.schema import studies
from sweeper.model import TrialKind
from sweeper.planning.catalog import catalog
from sweeper.spec.arms import arms_of
from sweeper.spec.loader import loads_sweep
from sweeper.spec.rules.arms import MAX_NAME
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import TASK, faults, orca_file, read_again

TEXT = orca_file(
    "parameters: {refine.lr: {distribution: log_uniform_values, min: 1.0e-6, max: 1.0e-3}}",
    "replicate: {seeds: 8}",
)
LINE = TEXT.count("\n") + 1
CROSSED = "compare_by: {refine.freeze: [none, body], align.epochs: [5, 20]}\n"


def load(more: str, text: str = TEXT) -> Sweep:
    return sweep_files.load(text + more)


def arms(sweep: Sweep) -> dict[str, StudySpec]:
    """The studies of arms by the arm's name."""
    return {study.arm.name: study for study in sweep.studies if study.arm is not None}


def test_crossed_factors_make_all_combinations_and_the_control_is_one_more():
    found = arms(load(CROSSED))
    assert list(found) == [
        "control",
        "refine.freeze=none,align.epochs=5", "refine.freeze=none,align.epochs=20",
        "refine.freeze=body,align.epochs=5", "refine.freeze=body,align.epochs=20",
    ]  # fmt: skip
    last = found["refine.freeze=body,align.epochs=20"]
    assert last.name == f"orca/{TASK}/refine.freeze=body,align.epochs=20"
    assert (last.preset["refine.freeze"], last.preset["align.epochs"]) == ("body", 20)
    assert found["control"].preset["align.epochs"] == 0
    for study in found.values():
        assert study.leading == ((TrialKind.PRESET, study.preset),)
        assert (study.num_trials, study.parameters) == (1, {})


def test_arms_differ_in_what_they_pin_alone():
    found = arms(load(CROSSED))
    (none, body) = (found[f"refine.freeze={x},align.epochs=5"].preset for x in ("none", "body"))
    assert {name for name in none if none[name] != body[name]} == {"refine.freeze"}


def test_listed_arms_may_pin_different_settings():
    text = "compare_by: [{refine.freeze: body}, {align.epochs: 5, data.samples: 64}]\n"
    found = arms(load(text))
    assert list(found) == ["control", "refine.freeze=body", "align.epochs=5,data.samples=64"]
    samples = [study.data["samples"] for study in found.values()]
    assert samples == [None, None, 64]


TWO = TEXT.replace("[orca]", "[orca, nft]")


def test_a_listed_arm_may_be_of_one_method():
    text = "compare_by: [{method: orca, align.epochs: 5}, {refine.freeze: body}, {method: nft}]\n"
    sweep = load(text, TWO)
    assert [study.name for study in sweep.studies] == [
        f"orca/{TASK}/control", f"orca/{TASK}/align.epochs=5", f"orca/{TASK}/refine.freeze=body",
        f"nft/{TASK}/refine.freeze=body", f"nft/{TASK}/preset",
    ]  # fmt: skip
    read_again(sweep)
    plain = load("", TWO).study("nft", TASK)
    assert sweep.studies[-1].settings == plain.settings


def test_an_arm_that_is_the_control_stands_for_it():
    assert list(arms(load("compare_by: {align.epochs: [0, 20]}\n"))) == [
        "align.epochs=0", "align.epochs=20"
    ]  # fmt: skip


def test_arms_may_pin_the_model_and_the_source():
    found = arms(load("compare_by: {proxy: [python_source, conll2003, digits]}\n"))
    # Images do not fit a task of one dimension.
    assert [study.proxy for study in found.values()] == [
        "python_source", "python_source", "conll2003"
    ]  # fmt: skip
    text = TEXT + "compare_by: {model.embedder_init: [random, pretrained_copy]}\n"
    found = arms(load("", text))
    assert [study.preset.get("model.embedder_init") for study in found.values()] == [
        None, "random", "pretrained_copy"
    ]  # fmt: skip
    # The control is the arm that pins its settings, though it names the default of the model.
    crossed = "compare_by: {align.epochs: [0, 5], model.embedder_init: [random, pretrained_copy]}\n"
    found = arms(load(crossed))
    assert len(found) == 4
    assert "control" not in found


def test_a_schedule_follows_the_epochs_that_an_arm_pins():
    found = arms(load("compare_by: {refine.epochs: [10, 40]}\n"))
    ends = [study.preset["refine.decay_epochs"] for study in found.values()]
    assert ends[1:] == [10, 40]
    stated = arms(load("fixed: {refine.decay_epochs: 7}\ncompare_by: {refine.epochs: [10, 40]}\n"))
    assert {study.preset["refine.decay_epochs"] for study in stated.values()} == {7}


def test_a_schedule_follows_the_epochs_of_the_file_where_only_another_arm_pins_some():
    text = "fixed: {refine.epochs: 6}\ncompare_by: [{align.epochs: 5}, {refine.epochs: 40}]\n"
    found = arms(load(text))
    assert [
        (study.preset["refine.epochs"], study.preset["refine.decay_epochs"])
        for study in found.values()
    ] == [(6, 6), (6, 6), (40, 40)]


def test_arms_keep_a_schedule_that_is_searched_with_their_base():
    text = (
        "fixed: {refine.epochs: 20}\nbase: tuned\ncompare_by: {refine.freeze: [none, body]}\n"
        "parameters: {refine.decay_epochs: {values: [5.0, 10.0]}}\n"
    )
    found = arms(load(text, TEXT.replace("parameters:", "tracking: {}  #")))
    best = {"refine.decay_epochs": 5.0}
    assert {arm.on_base(best)["refine.decay_epochs"] for arm in found.values()} == {5.0}


def test_parameters_that_nothing_searches_change_no_schedule():
    drawn = "parameters: {refine.epochs: {values: [6, 9]}}\n"
    text = TEXT.replace("parameters:", "tracking: {}  #")
    plain, beside = (
        arms(load(f"{more}compare_by: {{refine.freeze: [none, body]}}\n", text))
        for more in ("", drawn)
    )
    assert [arm.preset for arm in plain.values()] == [arm.preset for arm in beside.values()]


def test_a_condition_holds_in_the_arm_whose_model_meets_it():
    text = TEXT.replace("max: 1.0e-3}", "max: 1.0e-3, when: {model.embedder_init: random}}")
    init = (
        "refine.momentum: {values: [0.5, 0.9]}, "
        "model.embedder_init: {values: [random, pretrained_copy]}, refine.lr"
    )
    text = text.replace("refine.lr", init, 1)
    pins = "{model.embedder_init: random}, {model.embedder_init: pretrained_copy}"
    found = arms(load(f"tune: per_arm\ncompare_by: [{pins}, {{refine.freeze: body}}]\n", text))
    assert [sorted(arm.parameters) for arm in found.values()][-3:] == [
        ["refine.lr", "refine.momentum"],
        ["refine.momentum"],
        ["model.embedder_init", "refine.lr", "refine.momentum"],
    ]


def test_arms_that_differ_in_what_is_searched_alone_are_no_twins():
    pins = "compare_by: [{method: orca}, {refine.freeze: none}]\n"
    text = TEXT.replace("refine.lr:", "refine.freeze: {values: [none, body]}, refine.lr:")
    first, second = list(arms(load(f"tune: per_arm\n{pins}", text)).values())[-2:]
    assert first.parameters.keys() - second.parameters.keys() == {"refine.freeze"}


def test_another_revision_is_of_the_same_backbone():
    text = TEXT.replace("{1d: minilm}", "{1d: {hub: a/b}}")
    found = arms(load("compare_by: {backbone.revision: [main, v2]}\n", text))
    assert [arm.backbone["revision"] for arm in list(found.values())[-2:]] == ["main", "v2"]
    assert {arm.backbone["hub"] for arm in found.values()} == {"a/b"}


def test_with_per_arm_each_arm_is_searched_without_what_it_pins():
    text = "tune: per_arm\nsearch: {trials: 9}\ncompare_by: {refine.lr: [1.0e-4, 1.0e-3]}\n"
    more = "compare_by: {refine.freeze: [none, body]}\ntune: per_arm\nsearch: {trials: 9}\n"
    for study in arms(load(more)).values():
        assert (list(study.parameters), study.num_trials) == (["refine.lr"], 9)
    with pytest.raises(
        FileFaults, match=r"`parameters.refine.lr` is searched, but .* take one out"
    ):
        load(text)


def test_a_tuned_base_is_a_study_before_its_arms():
    sweep = load(CROSSED + "base: tuned\n")
    base, *rest = sweep.studies
    assert (base.name, base.arm, list(base.parameters)) == (f"orca/{TASK}", None, ["refine.lr"])
    assert {study.base for study in rest} == {base.name}
    assert sweep.replicate_of(base) is None
    assert sweep.replicate_of(rest[0]) is sweep.replicate
    found = rest[-1].on_base({**base.preset, "refine.lr": 0.5, "refine.freeze": "none"})
    assert (found["refine.lr"], found["refine.freeze"], found["align.epochs"]) == (0.5, "body", 20)


@pytest.mark.parametrize("more", [CROSSED, CROSSED + "base: tuned\n",
                                  "compare_by: {refine.epochs: [10, 40]}\n"])  # fmt: skip
def test_the_resolved_form_makes_the_same_studies(more: str):
    read_again(load(more))


def test_without_arms_the_form_and_the_hash_are_what_they_were():
    sweep = load("")
    assert not {"compare_by", "base", "tune", "max_arms"} & sweep.resolved.keys()
    assert sweep.config_hash != load(CROSSED).config_hash


def test_a_factor_that_some_arm_leaves_open_may_be_searched():
    load("compare_by: [{refine.lr: 0.1}, {refine.freeze: body}]\nbase: tuned\n")
    closed = "compare_by: [{refine.lr: 0.1}, {refine.lr: 0.2, refine.freeze: body}]\nbase: tuned\n"
    (fault,) = faults(TEXT + closed)
    assert fault.startswith("x.yaml:7: `parameters.refine.lr` is searched")


def test_an_arm_may_pin_settings_of_the_backbone():
    found = arms(load("compare_by: {backbone.weights: [pretrained, random]}\n"))
    backbones = {name: found[name].backbone for name in found}
    assert backbones["control"] == backbones["backbone.weights=pretrained"]
    random = backbones["backbone.weights=random"]
    assert random == {**backbones["control"], "weights": "random"}
    assert all("backbone.weights" not in study.preset for study in found.values())


def test_a_pinned_origin_replaces_the_backbone_and_keeps_its_cuts():
    text = TEXT.replace("1d: minilm", "1d: {name: minilm, layers: 2, tokens: 32}")
    hub = "FacebookAI/roberta-large"
    found = arms(load(f"compare_by: [{{backbone.hub: {hub}}}, {{backbone.layers: 1}}]\n", text))
    large = found["backbone.hub=FacebookAI-roberta-large"].backbone
    assert (large["hub"], large["name"], large["layers"], large["tokens"]) == (hub, hub, 2, 32)
    assert found["backbone.layers=1"].backbone["name"] == "minilm"


def test_a_backbone_is_an_arm_on_the_tasks_of_its_dimension_alone():
    text = TEXT.replace("[pdebench/advection_1d]", "[pdebench/advection_1d, pdebench/darcy_2d]")
    text = text.replace("{1d: minilm}", "{1d: minilm, 2d: dinov2_small}")
    text = text.replace("{1d: python_source}", "{1d: python_source, 2d: digits}")
    names = "[minilm, roberta_base, swin_base, dinov2_small]"
    sweep = load(f"compare_by: {{backbone.name: {names}}}\n", text)
    assert [study.name.removeprefix("orca/pdebench/") for study in sweep.studies] == [
        "advection_1d/control", "advection_1d/backbone.name=minilm",
        "advection_1d/backbone.name=roberta_base", "darcy_2d/control",
        "darcy_2d/backbone.name=swin_base", "darcy_2d/backbone.name=dinov2_small",
    ]  # fmt: skip


def test_names_of_arms_are_safe_in_paths():
    (arm,) = arms_of([{"proxy": "../a b/ü", "align.steps": [1, 2]}])
    assert arm.name == "proxy=..-a-b,align.steps=1-2"


ROWS = {
    "no such setting": ("compare_by: {refine.freze: [none, body]}",
        f"x.yaml:{LINE}: unknown parameter `refine.freze`. Did you mean `refine.freeze`?"),
    "of another method": ("compare_by: {meta.alpha: [0.1, 0.2]}",
        f"x.yaml:{LINE}: `meta.alpha` is of mona, but not of orca."),
    "one value": ("compare_by: {refine.freeze: [body]}",
        f"x.yaml:{LINE}: `compare_by.refine.freeze` needs two values or more to compare."),
    "one arm": ("compare_by: [{refine.freeze: body}]",
        f"x.yaml:{LINE}: `compare_by` has one arm; list two or more."),
    "a value that is refused": ("compare_by: {refine.freeze: [none, all]}",
        f"x.yaml:{LINE}: `compare_by.refine.freeze` must be"),
    "too many": (
        "compare_by: {align.epochs: [1, 2, 3, 4], refine.freeze: [none, body]}\nmax_arms: 7",
        f"x.yaml:{LINE}: `compare_by` has 8 arms for each method and task, over `max_arms` (7): "
        "list fewer, or raise it with --max-arms 8."),
    "twice": ("compare_by: {align.epochs: [5, 5]}",
        f"x.yaml:{LINE}: `compare_by` has the arm `align.epochs=5` twice; keep one."),
    "equal once complete": ("compare_by: [{align.epochs: 20}, {refine.weight_decay: 0.25}]",
        f"x.yaml:{LINE}: `orca` on `{TASK}` has two arms that are equal once complete: "
        "`align.epochs=20` and `refine.weight_decay=0.25`; keep one."),
    "a value that the backbone refuses": ("compare_by: {backbone.weights: [random, learned]}",
        f"x.yaml:{LINE}: `compare_by.backbone.weights` must be"),
    "an unknown backbone": ("compare_by: {backbone.name: [minilm, minilmm]}",
        f"x.yaml:{LINE}: unknown backbone `minilmm`. Did you mean `minilm`?"),
    "two origins": (
        "compare_by: [{backbone.hub: a/b, backbone.name: minilm}, {backbone.layers: 1}]",
        f"x.yaml:{LINE}: `orca` on `{TASK}`"),
    "an unknown source": ("compare_by: {proxy: [python_source, conl2003]}",
        f"x.yaml:{LINE}: `compare_by.proxy`: unknown proxy"),
    "a setting of the data": ("compare_by: {data.sampels: [64, 128]}",
        f"x.yaml:{LINE}: unknown factor `data.sampels`. Did you mean `data.samples`?"),
    "two ways to tune": ("compare_by: {align.epochs: [5, 20]}\nbase: tuned\ntune: per_arm",
        f"x.yaml:{LINE + 1}: `base: tuned` is for arms that share their settings"),
    "of a method that the sweep lacks": (
        "compare_by: [{method: mona, meta.alpha: 0.1}, {align.epochs: 5}]",
        f"x.yaml:{LINE}: `compare_by[0]`: unknown method"),
    "a list of methods": ("compare_by: [{method: [orca]}, {align.epochs: 5}]",
        f"x.yaml:{LINE}: `compare_by[0]`: unknown method"),
    "of its method, but not in it": (
        "compare_by: [{method: orca, meta.alpha: 0.1}, {align.epochs: 5}]",
        f"x.yaml:{LINE}: `meta.alpha` is of mona, but not of orca."),
    "an arm of nothing": ("compare_by: [{}, {align.epochs: 5}]",
        f"x.yaml:{LINE}: `compare_by[0]` pins nothing; write `method: NAME`"),
    "a name that the ledger cannot hold": (
        f"compare_by: [{{align.steps: {list(range(1, 90))}}}, {{align.epochs: 5}}]",
        "an arm's study would have a name of 29"),
    "a setting of other backbones": ("compare_by: [{model.drop_path: 0.3}, {align.epochs: 5}]",
        f"`orca` on `{TASK}` has no such setting, so that `model.drop_path` changes nothing in"),
    "a task that no arm fits": ("compare_by: {backbone.name: [swin_base, dinov2_small]}",
        f"x.yaml:{LINE}: `orca` on `{TASK}` has no arm whose backbone and source data are of its"),
    "one method twice": ("compare_by: [{align.epochs: 5}, {method: orca, align.epochs: 5}]",
        f"x.yaml:{LINE}: `compare_by` has the arm `align.epochs=5` twice; keep one."),
}  # fmt: skip


@pytest.mark.parametrize(("more", "message"), ROWS.values(), ids=ROWS)
def test_what_cannot_be_compared_is_refused(more: str, message: str):
    assert message in "\n".join(faults(TEXT + more))


@pytest.mark.parametrize(
    ("method", "why"), [("scratch", "sets this itself"), ("fno", "has a network of its own")]
)
def test_a_backbone_that_changes_nothing_is_refused(method, why):
    text = TEXT.replace("[orca]", f"[{method}]")
    text += "compare_by: [{backbone.weights: pretrained}, {refine.lr: 0.1}]\n"
    with pytest.raises(FileFaults) as caught:
        loads_sweep(text, catalog())
    told = f"`{method}` on `{TASK}` {why}, so that `backbone.weights` changes nothing in the arm"
    assert told in str(caught.value)


def test_each_method_has_an_arm():
    with pytest.raises(
        FileFaults, match=r"no arm of `compare_by` is of nft: list `\{method: nft\}`"
    ):
        load("compare_by: [{method: orca, align.epochs: 5}, {method: orca}]\n", TWO)
    with pytest.raises(FileFaults, match=r"`align.epochs` is of orca, but not of nft"):
        load("compare_by: [{align.epochs: 5}, {align.epochs: 7}]\n", TWO)


def test_a_method_without_source_has_no_proxy_to_compare():
    text = TEXT.replace("[orca]", "[nft]").replace("proxies: {1d: python_source}\n", "")
    with pytest.raises(FileFaults, match="nft reads no source data"):
        load("compare_by: {proxy: [python_source, conll2003]}\n", text)


def test_notes_say_what_is_not_searched_and_that_one_seed_tells_nothing():
    notes = load(CROSSED).notes
    assert any(note.startswith("`parameters` are not searched") for note in notes)
    text = TEXT.replace("replicate: {seeds: 8}\n", "")
    assert any("each arm has one seed" in note for note in load(CROSSED, text).notes)


def test_the_longest_name_of_a_study_is_what_the_ledger_holds():
    assert studies.c.name.type.length == MAX_NAME
