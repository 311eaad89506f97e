"""Which checkpoints an attempt goes on from, and whether it could do with less memory."""

from contextlib import closing
from dataclasses import replace

import pytest

from sweeper.errors import NotFound
from sweeper.ledger import Ledger
from sweeper.ledger.records import CheckpointName
from sweeper.model import DataDraw, StudyFacts, TrialKind
from sweeper.planning.catalog import catalog
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.trials import TrialBuilder, find_trial, measured, training_of
from sweeper.spec.loader import loads_sweep
from sweeper.tracking.outline import Entity, read_outline, run_name
from tests.support.compared_ledgers import Scores, write
from tests.support.trials import measured as epoch
from tests.support.trials import sampled
from trainables.spec import ProgramTrial

FOUND = ["attempt-2/refine-0002", "attempt-1/refine-0001", "attempt-1/meta-0001"]


STAGES = ("meta", "refine")


def builder_of(sweep, folder, facts):
    """Return the builder of a sweep without reruns."""
    return TrialBuilder(
        sweep, CheckpointPaths(folder), folder, "holder", facts, trial_of=lambda study, number: None
    )


def test_a_program_gets_its_data_set_and_its_parameters_by_the_names_it_knows(tmp_path):
    text = """
    name: several
    program: {metric: loss, data: [small, large]}
    programs: {ours: {command: [ours, "{lr}"]}, theirs: {command: [theirs], steps: 3}}
    fixed: {lr: 0.5, theirs.width: 4}
    search: {trials: 1}
    pruning: {type: promote, min_epochs: 2}
    """
    sweep = loads_sweep(text, catalog())
    builder = builder_of(sweep, tmp_path, {study.name: StudyFacts() for study in sweep.studies})
    found = [
        ProgramTrial.model_validate(
            builder(sampled(study.name, params=study.preset, kind=TrialKind.PRESET)).spec
        )
        for study in sweep.studies
    ]
    assert [(each.program.name, each.data) for each in found] == [
        ("ours", "small"), ("ours", "large"), ("theirs", "small"), ("theirs", "large"),
    ]  # fmt: skip
    assert {each.pauses_at for each in found} == {None}  # of a program that is not searched
    assert found[1].params == {"lr": 0.5}
    assert found[3].params == {"lr": 0.5, "width": 4, "epochs": 3}


@pytest.mark.parametrize("order", [1, -1])
def test_a_checkpoint_that_was_saved_but_not_measured_is_left_out(order):
    """Whatever the order in which a store lists them: a copied sweep has other times."""
    assert measured("attempt-1/refine-0001", FOUND[::order], STAGES) == FOUND[1:]


def test_the_measured_one_and_the_fallbacks_before_it_are_kept():
    assert measured("attempt-2/refine-0002", FOUND[::-1], STAGES) == FOUND


def test_one_that_is_not_found_is_tried_first_and_the_one_before_is_next():
    """The attempt says what is wrong with it; it began afresh without a word."""
    assert measured("attempt-2/refine-0002", FOUND[1:], STAGES) == FOUND
    assert measured("attempt-1/refine-0001", [FOUND[0], FOUND[2]], STAGES) == FOUND[1:]
    assert measured("attempt-2/refine-0002", [], STAGES) == FOUND[:1]


def test_a_trial_that_measured_nothing_starts_afresh():
    assert measured(None, FOUND, STAGES) == []


@pytest.mark.parametrize("named", ["attempt-1/refine-0001", "attempt-1/meta-0001", None])
def test_a_whole_checkpoint_of_a_measured_epoch_is_used_before_the_ledger_names_it(named):
    """A report names the checkpoint of an earlier epoch; the later one may be whole by now."""
    found = ["attempt-2/refine-0003", *FOUND]
    last = epoch(2)
    assert measured(named, found, STAGES, last) == FOUND
    first = epoch(1, stage="meta")
    assert measured(None, found, STAGES, first) == FOUND[2:]


@pytest.mark.parametrize(
    ("pruning", "epochs", "judged"),
    [("{type: asha, min_epochs: 3, eta: 2}", 13, (3, 6, 12)), ("{type: none}", 9, ()),
     ("{type: promote, min_epochs: 3, eta: 2}", 12, (3, 6)),
     ("{type: median, min_epochs: 2}", 5, (2, 3, 4))],
)  # fmt: skip
def test_a_sampled_trial_is_told_after_which_epochs_it_may_be_pruned(
    tmp_path, pruning, epochs, judged
):
    text = f"{SWEEP}pruning: {pruning}\ncheckpoints: {{every: 4}}\n"
    sweep = loads_sweep(
        text.replace("{refine.b", f"{{refine.epochs: {epochs}, refine.b"), catalog()
    )
    (study,) = sweep.studies
    params = study.complete_params({"refine.lr": 1e-4})
    builder = builder_of(sweep, tmp_path, {study.name: StudyFacts()})
    for kind in (TrialKind.SAMPLED, TrialKind.PRESET):
        config = builder(sampled(study.name, 2, kind=kind, params=params))
        assert config.judged == (judged if kind is TrialKind.SAMPLED else ())
        assert config.checkpoint_every == 4


@pytest.mark.parametrize(
    ("key", "model", "of_the_sweep", "found"),
    [("products", "", "onednn", "onednn"), ("products", "", "plain", "plain"),
     ("products", "", None, "plain"), ("products", "products: plain", "onednn", "plain"),
     ("products", "products: onednn", "plain", "onednn"),
     ("products", "compile: inductor", "onednn", "plain"),  # a compiled body has torch's own
     ("precision", "", "bf16", "bf16"), ("precision", "", None, "auto"),
     ("precision", "precision: fp32", "bf16", "fp32"),
     ("precision", "precision: bf16", None, "bf16"),
     ("precision", "compile: inductor", "bf16", "auto")],
)  # fmt: skip
def test_a_trial_has_the_choice_of_its_sweep_or_of_its_settings(
    tmp_path, key, model, of_the_sweep, found
):
    sweep = loads_sweep(f"{SWEEP}model: {{{model}}}\n", catalog())
    (study,) = sweep.studies
    params = study.complete_params({"refine.lr": 1e-4})
    builder = builder_of(sweep, tmp_path, {study.name: StudyFacts(**{key: of_the_sweep})})
    config = builder(sampled(study.name, kind=TrialKind.PRESET, params=params))
    assert config.spec["model"][key] == found


@pytest.mark.parametrize("store", [None, "s3://bucket/x?region=any"])
@pytest.mark.parametrize(
    "text",
    [
        "attempt-2/refine-0002",
        "/elsewhere/sweeps/some/trials/s-t@hard/0007/attempt-2/refine-0002",
        "s3://other/y/some/s-t/0007/attempt-2/refine-0002?endpoint_override=h:1&scheme=http",
    ],
)
def test_a_checkpoint_is_found_wherever_its_sweep_is(tmp_path, text, store):
    """A ledger has its name; one from before had the place of then, which need not be any more."""
    places = CheckpointPaths(tmp_path / "some", store)
    trial = sampled("s/t@hard", 7, checkpoint=text)
    here = str(tmp_path / "some/trials/s-t-hard/0007/attempt-2/refine-0002")
    there = "s3://bucket/x/some/s-t-hard/0007/attempt-2/refine-0002?region=any"
    assert places.checkpoint(trial) == (here if store is None else there)
    assert places.placed(trial).checkpoint == places.checkpoint(trial)
    assert measured(places.checkpoint(trial), [], STAGES) == [places.checkpoint(trial)]


@pytest.mark.parametrize("text", ["../attempt-1/../../x", "attempt-1/x", "attempt-0/refine-0001",
                                  "attempt-1/refine-1", "attempt-1/../refine-0001"])  # fmt: skip
def test_what_is_no_name_of_a_checkpoint_is_read_as_none(text):
    assert CheckpointName.parse(text) is None
    assert measured("attempt-2/refine-0002", [text], STAGES) == FOUND[:1]


METHODS = ("orca", "mona", "recraft", "fpt", "pare", "mixup", "cutmix", "contrastive_pare")
MANY = """\
name: many
experiment: pdebench
methods: [orca, mona, recraft, fpt, pare, mixup, cutmix, contrastive_pare, nft, fno]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
fixed:
  refine.epochs: 9
  refine.lr: 1.0e-3
  replace.epochs: 9
  replace.lr: 1.0e-3
  mix.epochs: 9
  mix.lr: 1.0e-3
search: {trials: 2}
"""


def trainings(text: str, tmp_path, *, seed: int = 5) -> dict[tuple[str, str], str]:
    """Return the training of each leading trial by method and kind."""
    found = {}
    for study in loads_sweep(text, catalog()).studies:
        for kind, params in study.leading:
            trial = sampled(study.name, 1, kind=kind, params=params, seed=seed)
            training = training_of(study, StudyFacts(), tmp_path, trial)
            assert training is not None
            assert training.stage == study.objective_stage
            found[study.method, str(kind)] = training.key
    return found


def test_the_controls_of_all_methods_and_the_preset_of_nft_are_one_training(tmp_path):
    found = trainings(MANY, tmp_path)
    controls = {found[method, "control"] for method in METHODS}
    assert controls == {found["nft", "preset"]}
    presets = [key for (method, kind), key in found.items() if kind == "preset"]
    assert len(set(presets)) == len(presets)


@pytest.mark.parametrize(
    ("old", "new", "seed"),
    [("", "", 6), ("refine.lr: 1.0e-3", "refine.lr: 2.0e-3", 5),
     ("1d: minilm", "1d: {name: minilm, layers: 2}", 5),
     ("search:", "data: {samples: 64}\nsearch:", 5),
     ("search:", "model: {head: linear}\nsearch:", 5)],
)  # fmt: skip
def test_a_training_is_another_one_with_another_seed_or_setting(tmp_path, old, new, seed):
    found = trainings(MANY, tmp_path), trainings(MANY.replace(old, new), tmp_path, seed=seed)
    one, two = (each["orca", "control"] for each in found)
    assert one != two


@pytest.mark.parametrize(("probe", "count"), [("", 1), ("\n  refine.probe_every: 3", 2)])
def test_only_a_source_that_is_probed_is_part_of_a_training(tmp_path, probe, count):
    text = MANY.replace(", fno]", "]").replace("fixed:", f"fixed:{probe}")
    found = [trainings(text.replace("python_source", name), tmp_path)["orca", "control"]
             for name in ("python_source", "noise_words")]  # fmt: skip
    assert len(set(found)) == count


@pytest.mark.parametrize("kind", [TrialKind.SAMPLED, TrialKind.RERUN])
def test_a_drawn_trial_and_a_rerun_are_trainings_of_their_own(tmp_path, kind):
    study = loads_sweep(MANY, catalog()).studies[0]
    trial = sampled(study.name, 3, kind=kind, params=study.control)
    assert training_of(study, StudyFacts(), tmp_path, trial) is None


def test_a_replicate_on_another_draw_of_the_data_is_another_training(tmp_path):
    study = loads_sweep(MANY, catalog()).studies[0]
    draw = DataDraw(seed=11, content_hash="b")
    trial = sampled(study.name, 9, kind=TrialKind.REPLICATE, params=study.control, seed=5)
    keys = {
        training_of(study, StudyFacts(draws=draws), tmp_path, trial).key
        for draws in ({}, {"5": draw})
    }
    assert len(keys) == 2


SWEEP = """\
name: some
experiment: pdebench
methods: [orca]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1.0e-6, max: 1.0e-3}
fixed: {refine.batch_size: 3, warmup.epochs: 1, warmup.batch_size: 2}
search: {trials: 2}
"""


@pytest.mark.parametrize(
    ("stage", "halvings"), [("refine", 2), ("warmup", 1), ("align", 0), (None, 2)]
)
def test_micro_batches_are_halved_until_they_are_of_one_sample(tmp_path, stage, halvings):
    """And not at all where a loss compares the samples of a batch."""
    sweep = loads_sweep(SWEEP, catalog())
    (study,) = sweep.studies
    params = study.complete_params({"refine.lr": 1e-4})
    builder = builder_of(sweep, tmp_path, {})
    told = [
        builder.can_halve(sampled(study.name, params=params, halvings=number), stage)
        for number in range(4)
    ]
    assert told == [True] * halvings + [False] * (4 - halvings)


def test_a_trial_is_told_which_data_it_has_to_find_and_is_the_same_trial(tmp_path):
    sweep = loads_sweep(SWEEP, catalog())
    (study,) = sweep.studies
    params = study.complete_params({"refine.lr": 1e-4})
    one = sampled(study.name, params=params)
    told = [
        builder_of(sweep, tmp_path, {study.name: StudyFacts(content_hash=name)})(one)
        for name in ("a", "b")
    ]
    assert [config.content_hash for config in told] == ["a", "b"]
    assert replace(told[0], content_hash="b") == told[1]


ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d@hard"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The ledger of the sweep `s`, of three studies."""
    return write(
        tmp_path_factory.mktemp("s"), "s",
        [Scores(method="pare", task=ADVECTION, best=[0.1, 0.3], control=[0.4, 0.5]),
         Scores(method="pare", task=DARCY, best=[0.1]),
         Scores(method="mona", task=ADVECTION, best=[0.2])],
    )  # fmt: skip


@pytest.mark.parametrize(
    "form",
    ["{study}/{number}", "{study}/{number:03d}", "{study} {number:03d}", "s/{study}/{number}",
     "{study}/{number} {kind}", "{study} {number:03d} {kind}", " {study}/{number}\n"],
)  # fmt: skip
def test_a_trial_is_found_by_every_form_in_which_it_is_printed(ledger, form):
    for trial in ledger.trials():
        text = form.format(study=trial.study, number=trial.number, kind=trial.kind.value)
        assert find_trial(ledger, text) == trial
        assert trial.name == f"{trial.study}/{trial.number}"


def test_a_trial_is_found_by_the_name_of_its_run_in_mlflow(ledger):
    outline = read_outline(ledger)
    for trial in ledger.trials():
        name = run_name(Entity(trial.study, trial.number), outline)
        assert find_trial(ledger, name) == trial


@pytest.mark.parametrize(
    "text",
    ["", " ", "/", "/0", "//0", f"pare/{ADVECTION}/", f"pare/{ADVECTION}", f"pare/{ADVECTION}/x",
     f"pare/{ADVECTION}/-1", f"pare/{ADVECTION}/0x1", f"pare/{ADVECTION}/1.0", "0", "control",
     f"pare/{ADVECTION}/99", f"pare/{ADVECTION}/٣", f"pare/{ADVECTION}/" + "9" * 400,
     f"pare/{ADVECTION}/0/", "s/0", "003 · pare", f"orca/{ADVECTION}/0",
     "002 seed 9999 · pare · advection_1d"],
)  # fmt: skip
def test_what_names_no_trial_is_not_found_and_never_trial_0(ledger, text):
    with pytest.raises(NotFound, match=r"pare/pdebench/advection_1d|Known: 0, 1"):
        find_trial(ledger, text)


def test_a_sweep_that_has_just_begun_has_no_trial_yet(tmp_path):
    with closing(Ledger.in_folder(tmp_path / "s")) as begun, pytest.raises(NotFound) as caught:
        find_trial(begun, "0")
    assert str(caught.value) == "sweep `s` has no trial yet: its launch has just begun."


def test_in_a_lone_study_a_number_will_do_but_nothing_does_not(tmp_path):
    lone = write(tmp_path, "s", [Scores(method="pare", task=ADVECTION, best=[0.1])])
    assert find_trial(lone, "2").number == find_trial(lone, "002").number == 2
    for text in ("", "/", "/0", "//0", "s/0", f"pare/{ADVECTION}/"):
        with pytest.raises(NotFound):
            find_trial(lone, text)


def test_a_run_in_mlflow_names_the_arm_and_one_of_two_tasks_is_asked_for(tmp_path):
    arms = ("refine.freeze=none", "refine.freeze=body")
    tasks = (ADVECTION, "own/advection_1d")
    ledger = write(
        tmp_path, "s",
        [Scores(method="mona", task=ADVECTION, arm=arm, best=[0.1]) for arm in arms]
        + [Scores(method="pare", task=task, best=[0.1]) for task in tasks],
    )  # fmt: skip
    study = f"mona/{ADVECTION}/{arms[1]}"
    name = run_name(Entity(study, 0), read_outline(ledger))
    assert name == "000 · mona · advection_1d · refine.freeze=body"
    assert find_trial(ledger, name).study == study
    with pytest.raises(
        NotFound, match="can be of pare/pdebench/advection_1d or pare/own/advection"
    ):
        find_trial(ledger, "000 · pare · advection_1d")
