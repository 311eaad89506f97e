"""Evidence: what a ledger gives, what its files keep, and when it no longer holds."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from sweeper.errors import UsageError
from sweeper.model import TrialKind
from sweeper.render.page.evidence_figures import curve_figures, plane_figures, svg_of
from sweeper.results.claims import evaluate, observations_of
from sweeper.results.compare import compare_studies
from sweeper.results.entries import budget
from sweeper.results.read import read_studies
from sweeper.results.reproduction.evidence import Key, Machine, Plane, read_evidence
from sweeper.results.reproduction.files import as_files, committed_evidence, find, load
from sweeper.results.reproduction.retraining import launches
from sweeper.spec.schema import Claim
from tests.support.compared_ledgers import Scores, run
from tests.support.trials import sampled

TASK = "pdebench/advection_1d"
ARMS = {"refine.freeze": ["none", "body"]}


@pytest.fixture
def ablation(sweep):
    """Two arms and the control, on six seeds."""
    levels = {"control": 0.50, "refine.freeze=none": 0.40, "refine.freeze=body": 0.60}
    studies = [
        Scores(method="orca", task=TASK, arm=arm, best=[value + 0.01 * k for k in range(6)])
        for arm, value in levels.items()
    ]
    return sweep(*studies, name="freezing", compare_by=ARMS)


@pytest.fixture
def tuned(sweep):
    """Two methods with replicates of their best trials and of their controls."""
    values = [0.1 + 0.01 * k for k in range(6)]
    return sweep(
        Scores(method="orca", task=TASK, best=values, control=[0.5 + v for v in values]),
        Scores(method="pare", task=TASK, best=[2 * v for v in values], control=[0.5] * 6),
        name="table",
    )


def written(evidence, folder):
    for name, text in as_files(evidence).items():
        (folder / name).write_text(text)
    return folder / f"{evidence.name}.json"


@pytest.mark.parametrize("which", ["ablation", "tuned"])
def test_files_keep_all_that_the_ledger_gave(which, request, tmp_path):
    evidence = read_evidence(request.getfixturevalue(which))
    again = load(written(evidence, tmp_path))
    rest = {"sweep": evidence.sweep, "curves": ()}
    assert replace(again, **rest) == replace(evidence, **rest)
    for mine, theirs in zip(evidence.arms, again.arms, strict=True):
        assert (theirs.name, theirs.arm) == (mine.name, mine.arm)
        for one, two in zip(mine.trainings, theirs.trainings, strict=True):
            for name in ("seed", "value", "test", "epochs", "seconds"):
                assert getattr(one, name) == getattr(two, name)
    assert len(again.curves) == len(evidence.curves) > 0
    assert as_files(again) == as_files(evidence)


@pytest.mark.parametrize("which", ["ablation", "tuned"])
def test_a_comparison_of_evidence_is_that_of_its_sweep(which, request, tmp_path):
    ledger = request.getfixturevalue(which)
    evidence = load(written(read_evidence(ledger), tmp_path))
    ours = compare_studies(evidence.sweep.studies, sweeps=["x"])
    theirs = compare_studies(read_studies([ledger]), sweeps=["x"])
    assert ours.effects == theirs.effects
    for mine, other in zip(ours.tasks, theirs.tasks, strict=True):
        assert mine.differences == other.differences
        assert mine.from_control == other.from_control
        assert [e.values for e in mine.entries] == [e.values for e in other.entries]
        assert [e.values for e in mine.controls] == [e.values for e in other.controls]


def test_files_keep_what_claims_are_about(sweep, tmp_path):
    """Otherwise files leave losses out, and the objective, which has a column of its own."""
    quantity = "refine/train_loss - val/nrmse"
    claim = {"says": "It fits.", "contrast": ["control"], "expect": "better", "quantity": quantity}
    question = {"title": "?", "published": "It does.", "claims": [claim]}
    ledger = sweep(
        Scores(method="orca", task=TASK, arm="control", best=[0.5 + k / 7 for k in range(6)]),
        name="freezing", compare_by=ARMS, question=question,
    )  # fmt: skip
    evidence = read_evidence(ledger)
    again = load(written(evidence, tmp_path))
    (found,), (read,) = (
        evaluate([Claim(**claim)], observations_of(each.sweep.studies))
        for each in (evidence, again)
    )
    assert found == read
    assert found.difference is not None


def test_a_row_is_a_replicate_with_its_whole_cost(ablation):
    evidence = read_evidence(ablation)
    header, first, *others = as_files(evidence)["freezing.csv"].splitlines()
    # Losses and rates say nothing to others.
    assert header == "study,seed,validation,test,epochs,device_seconds,curve/roughness"
    assert first == f"orca/{TASK}/control,100,0.5,0.5,4,8.00,0.0"
    assert len(others) == 17


def test_curves_are_means_over_seeds_with_intervals(ablation):
    points = [p for p in read_evidence(ablation).curves if p.study.endswith("control")]
    assert [p.epoch for p in points] == [1, 2, 3, 4]
    assert points[-1].mean == pytest.approx(0.525)
    assert points[-1].seeds == 6
    assert points[-1].low < points[-1].mean < points[-1].high


def test_the_figure_is_an_svg_with_a_row_for_each_arm(ablation):
    evidence = read_evidence(ablation)
    root = ElementTree.fromstring(svg_of(evidence))
    text = " ".join("".join(root.itertext()).split())
    assert root.tag.endswith("svg")
    for arm in ("none", "body", "control"):
        assert arm in text
    lines = [  # of captions and of long names of rows
        (float(place[1]), each.text)
        for each in root.iter()
        if (place := re.match(r"translate\((\S+)", each.get("transform", "")))
    ]
    assert any(line.startswith(TASK) for _, line in lines)
    assert all(x + 6.6 * len(line) < 460 for x, line in lines), "none is cut off"
    (curves,) = curve_figures(evidence)
    assert {series.name for series in curves.series} == {
        "ORCA: control", "ORCA with refine.freeze=none", "ORCA with refine.freeze=body",
    }  # fmt: skip


KEY = Key(
    settings={"fixed": {"refine.lr": 1e-3}, "methods": ["orca"]},
    code={"trainables.training.optim": "aa", "trainables.stages.stage": "bb"},
    data={TASK: "cc"},
)


def test_a_key_holds_as_long_as_nothing_changes():
    assert KEY.changes(KEY) == {}


@pytest.mark.parametrize(
    ("change", "what", "told"),
    [
        ({"settings": {**KEY.settings, "fixed": {"refine.lr": 1e-4}}}, "settings", "refine.lr"),
        ({"code": {**KEY.code, "trainables.stages.stage": "b2"}}, "code", "stages.stage"),
        ({"code": {"trainables.more": "dd"}}, "code", "stages.stage"),
        ({"data": {TASK: "c2"}}, "data", TASK),
    ],
)
def test_a_change_of_settings_code_or_data_ends_it(change, what, told):
    found = KEY.changes(replace(KEY, **change))
    assert list(found) == [what]
    assert told in found[what]


def test_a_module_that_one_side_alone_counts_is_no_change():
    more = replace(KEY, code={**KEY.code, "trainables.sources.source": "dd"})
    assert KEY.changes(more) == more.changes(KEY) == {}


def test_unknown_code_never_holds_and_absent_data_are_not_compared():
    assert list(replace(KEY, code=None).changes(KEY)) == ["code"]
    assert KEY.changes(replace(KEY, data={})) == {}


def test_names_places_and_resources_are_no_part_of_the_key(sweep):
    scores = Scores(method="orca", task=TASK, best=[0.1] * 6)
    one = read_evidence(sweep(scores, name="one"))
    two = read_evidence(sweep(scores, name="two", resources={"cpu": 2, "gpu": 0}))
    assert one.key == two.key
    assert (one.machine.cpu, two.machine.cpu) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("launches", "code"),
    [
        ([{"a": "1", "b": "2"}], {"a": "1", "b": "2"}),
        ([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}], {"a": "1", "b": "several"}),
        ([{"a": "1"}, None], None),
    ],
)
def test_the_code_is_that_of_every_launch(sweep, launches, code):
    facts = [{} if each is None else {"code": each} for each in launches]
    ledger = sweep(Scores(method="orca", task=TASK, best=[0.1] * 6), launches=facts)
    assert read_evidence(ledger).key.code == code


def test_evidence_of_the_profile_comes_before_that_of_laptop(ablation, tmp_path):
    evidence = read_evidence(ablation)
    paper = replace(evidence.sweep.record, profile="paper")
    assert find([tmp_path], "freezing", "paper") is None
    laptop = written(evidence, tmp_path)
    assert find([tmp_path], "freezing", "paper") == laptop
    for name, text in as_files(
        replace(evidence, sweep=replace(evidence.sweep, record=paper))
    ).items():
        (tmp_path / name).write_text(text)
    assert find([tmp_path], "freezing", "paper") == tmp_path / "freezing.paper.json"
    assert load(tmp_path / "freezing.paper.json").profile == "paper"


@pytest.mark.parametrize("damage", ["json", "csv", "schema", "gone"])
def test_damaged_evidence_is_told_with_its_file(ablation, tmp_path, damage):
    file = written(read_evidence(ablation), tmp_path)
    rows = file.with_suffix(".csv")
    match damage:
        case "json":
            file.write_text("{")
        case "csv":
            rows.write_text(rows.read_text().replace("0.5,", "half,"))
        case "schema":
            file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 9}))
        case "gone":
            rows.unlink()
    with pytest.raises(UsageError, match="freezing"):
        load(file)


@pytest.mark.parametrize(
    "setting",
    ["program", "programs", "profiles", "extends", "include", "notify", "resources", "tracking",
     "checkpoints", "stage_store", "else"],
)  # fmt: skip
def test_evidence_of_others_has_no_setting_that_decides_no_number(ablation, tmp_path, setting):
    """A profile, for one, would bring a program, which a confirmation runs."""
    file = written(read_evidence(ablation), tmp_path)
    content = json.loads(file.read_text())
    content["settings"][setting] = {"laptop": {"program": {"command": ["true"], "metric": "m"}}}
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=f"freezing.json: its settings have `{setting}`, but"):
        load(file)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("data",), None, "data: Input should be a valid dictionary"),
        (("code",), [], "code: Input should be a valid dictionary"),
        (("packages",), None, "packages: Input should be"),
        (("machine", "cpu"), None, "machine.cpu: Input should be a valid number"),
        (("settings", "backbones"), None, "settings.backbones: Input should be"),
        (("settings", "replicate"), "x", "settings.replicate: Input should be"),
        (("settings", "replicate"), {"seeds": "x"}, "settings.replicate.seeds: Input should be"),
        (("settings", "backbones"), {"1d": {}}, "settings.backbones.1d.name: Field required"),
        (("facts", 0, "solver_seconds"), "x", "facts.0.solver_seconds: Input should be"),
        (("sweep",), "../../x", "sweep: String should match pattern"),
        (("facts", 0, "protocol"), [], "facts.0.protocol: Input should be a valid string"),
    ],
)
def test_a_part_of_another_type_is_told_with_its_place(ablation, tmp_path, place, value, told):
    file = written(read_evidence(ablation), tmp_path)
    content = json.loads(file.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=f"freezing.json: not valid evidence .{told}"):
        load(file)


def forged(file, name, old, new):
    """Replace a text in one of the files of evidence, where it comes first."""
    place = file.with_suffix(name)
    text = place.read_text()
    assert old in text
    place.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("ending", "old", "new", "told"),
    [
        (".json", '"test": 0.525', '"test": 0.425',
         f"orca/{TASK}/control: test is 0.425, but its rows give 0.525"),
        (".json", '"validation": 0.525', '"validation": null', "validation is None, but its rows"),
        (".json", '"seeds": 6', '"seeds": 8', "seeds is 8, but its rows give 6"),
        (".csv", ",100,0.5,0.5,", ",100,0.4,0.4,", "test is 0.525, but its rows give 0.508"),
        (".csv", ",101,", ",100,", "seed 100 has several rows"),
        (".curves.csv", ",4,0.525,", ",4,0.425,", "0.425 in epoch 4 is below the best by seed"),
        (".curves.csv", ",6\n", ",7\n", "7 seeds in epoch 1, but it has 6"),
    ],
)  # fmt: skip
def test_an_aggregate_that_does_not_follow_from_its_seeds_is_told(
    ablation, tmp_path, ending, old, new, told
):
    file = written(read_evidence(ablation), tmp_path)
    load(file)
    forged(file, ending, old, new)
    with pytest.raises(UsageError, match=re.escape(told)) as error:
        load(file)
    assert str(error.value).startswith(f"{file}: orca/{TASK}/control: ")


def test_so_is_a_floor_that_is_none_of_the_predictors(sweep, tmp_path):
    facts = {"floor": {"name": "ridge", "value": 0.2}, "baselines": {"mean": 1.0, "ridge": 0.2}}
    made = sweep(Scores(method="orca", task=TASK, best=[0.3] * 6, facts=facts), name="table")
    file = written(read_evidence(made), tmp_path)
    load(file)
    forged(file, ".json", '"value": 0.2', '"value": 0.9')
    with pytest.raises(UsageError, match=r"floor's test value is 0\.9, but its predictor ridge"):
        load(file)


def test_files_keep_what_the_search_of_an_arm_drew(sweep, tmp_path):
    arms = [Scores(method="orca", task=TASK, arm=f"align.epochs={n}", best=[0.3] * 6)
            for n in (0, 5)]  # fmt: skip
    made = sweep(*arms, name="per_arm", compare_by={"align.epochs": [0, 5]})
    study, params = f"orca/{TASK}/align.epochs=5", {"refine.lr": 1e-3}
    drawn = {"kind": TrialKind.SAMPLED, "params": params, "sampled": tuple(params)}
    run(made, sampled(study, 1, seed=7001, **drawn), 0.2, arms[1])
    for k in range(6):
        again = {"kind": TrialKind.REPLICATE, "params": params, "seed": 100 + k, "origin": 1}
        run(made, sampled(study, 100_010 + k, **again), 0.2, arms[1])
    evidence = read_evidence(made)
    file = written(evidence, tmp_path)
    without, with_search = json.loads(file.read_text())["studies"].values()
    assert not {"params", "tuning"} & set(without)
    assert with_search["params"] == {"refine.lr": 1e-3}
    assert with_search["tuning"]["trials"] == 2
    # Its search has to be made again, so that its settings are not pinned.
    assert len(launches(load(file), 0, {})) == 1
    assert load(file).device_seconds == evidence.device_seconds


def test_files_keep_what_a_search_drew_and_its_cost(tuned, tmp_path):
    evidence = read_evidence(tuned)
    file = written(evidence, tmp_path)
    stated = json.loads(file.read_text())["studies"][f"orca/{TASK}"]
    assert stated["params"] == {"refine.lr": pytest.approx(3e-4)}
    assert "tuning" not in json.loads(file.read_text())["studies"][f"orca/{TASK}/control"]
    for mine, theirs in zip(evidence.sweep.studies, load(file).sweep.studies, strict=True):
        assert theirs.tuning == budget(mine)
        assert budget(theirs).trials == 3  # the preset and two that were drawn
    again = load(file)
    replicates = sum(arm.device_seconds(each) for arm in again.arms for each in arm.trainings)
    assert again.device_seconds == pytest.approx(evidence.device_seconds, abs=0.1)
    assert again.device_seconds > replicates
    assert as_files(again)["table.json"] == file.read_text()


def test_a_machine_is_told_in_words():
    assert str(Machine(slots=2, cpu=1, gpu=0)) == "2 trials at a time, each on 1 CPU core"
    assert str(Machine(slots=None, cpu=4, gpu=0.25)) == "0.25 of a GPU"
    assert str(Machine(slots=None, cpu=1, gpu=0, processor="Xeon")) == "1 CPU core (Xeon)"


def bowl(steepness, study=f"orca/{TASK}/control"):
    """Return a plane whose loss is 1 + steepness (a² + b²)."""
    steps = [k / 10 for k in range(-10, 11)]
    return Plane.of(
        study, 100, {(a, b): 1 + steepness * (a * a + b * b) for a in steps for b in steps}
    )


def test_files_keep_planes(ablation, tmp_path):
    evidence = replace(read_evidence(ablation), planes=(bowl(1), bowl(4, "other")))
    again = load(written(evidence, tmp_path))
    assert [(p.study, p.seed, p.a, p.b) for p in again.planes] == [
        (p.study, p.seed, p.a, p.b) for p in evidence.planes
    ]
    assert again.planes[1].loss[0] == pytest.approx(evidence.planes[1].loss[0], rel=1e-5)
    assert as_files(again) == as_files(evidence)


def test_contours_of_a_bowl_are_circles_and_a_steeper_bowl_has_more(ablation):
    arms = [f"orca/{TASK}/control", f"orca/{TASK}/refine.freeze=body"]
    planes = (bowl(1, arms[0]), bowl(16, arms[1]))
    figures = plane_figures(replace(read_evidence(ablation), planes=planes))
    inner = []
    for figure, steepness in zip(figures, (1, 16), strict=True):
        *lines, middle = figure.series
        assert (middle.x, middle.y) == ((0.0,), (0.0,))
        for line in lines:
            level = float(line.labels[0])
            radii = [x * x + y * y for x, y in zip(line.x, line.y, strict=True)]
            assert radii == pytest.approx([(level - 1) / steepness] * len(radii), abs=0.01)
        inner.append(len(lines))
    assert inner[1] > inner[0] > 0


def test_its_bodies_are_those_of_its_arms():
    found = load(committed_evidence() / "tokens_ecg.json").bodies
    assert found == tuple(f"minilm with 2 layers and {n} tokens" for n in (8, 64))
