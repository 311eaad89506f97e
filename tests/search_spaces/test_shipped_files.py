"""Every shipped sweep file loads in every profile, is what its name says, and searches what it
should."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from sweeper.errors import FileFaults
from sweeper.ledger import Ledger
from sweeper.model import Params, StudyFacts, TrialKind
from sweeper.planning.catalog import catalog
from sweeper.planning.resuming import match
from sweeper.planning.studies import make_plans
from sweeper.spec.json_schema import json_schema
from sweeper.spec.layers import read_document, whole_text
from sweeper.spec.loader import loads_sweep
from sweeper.spec.reader import parse, read_text
from sweeper.spec.study import InfeasibleParams, Stages, StudySpec
from sweeper.spec.sweep import Sweep
from tests.support.command import ROOT
from tests.support.searches import search_of
from tests.support.sweep_files import load_sweep
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec, ModelSpec, TrialSpec
from trainables.tasks.registry import TASKS

SPACES = ROOT / "search_spaces"
FILES = sorted(SPACES.glob("*.yaml"))
BENCHMARKS = {"pdebench": 8, "nasbench360": 10}
BASELINES = {
    "pdebench": ["fno", "unet", "perceiver_io", "scratch"],
    "nasbench360": ["perceiver_io", "scratch"],
}
# mixup and cutmix are profiles of the files of PaRe
OWN_NETWORKS = ("dash", "pinn")  # methods with a network of their own, which have no backbone
SWEPT = ("orca", "pare", "mona", "contrastive_pare", "recraft", "l2g", "nft", "fpt", "lora", "dash")
SOLVED = [f"pdebench/{name}" for name in ("advection_1d", "burgers_1d", "diffusion_reaction_1d",
                                          "diffusion_sorption_1d")]  # fmt: skip
PROFILES = [
    (file, profile)
    for file in FILES
    for profile in ("paper", *read_document(file).child("profiles").children())
]
every_profile = pytest.mark.parametrize(
    ("file", "profile"), PROFILES, ids=[f"{file.stem}-{profile}" for file, profile in PROFILES]
)
on_backbones = pytest.mark.parametrize(
    ("file", "profile"), [each for each in PROFILES if not each[0].stem.startswith(OWN_NETWORKS)]
)
every_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])

SHARED = {"lr", "weight_decay", "warmup_epochs"}
MIXED = {"k0", "k_end", "k_schedule", "gamma", "lambda_mode", "lambda", "finetune"}
REPLACED = {*MIXED, "scorer", "selector", "explore_epochs", "temperature"}
ALIGNED = """
    distance epochs lr clip_norm class_mode update_mode max_samples clusters task_weight
    align_weight source_per_class label_weight solver entreg shrinkage mmd_kernel
    mmd_kernels mmd_bandwidth mmd_bandwidth_scale mmd_unbiased
"""
REALIGNED = """
    distance epochs lr clip_norm class_mode update_mode max_samples clusters label_weight joint
"""
MATCHED = "epochs lr clip_norm form max_samples clusters tau rho"
SOLVING = "lr layers waves initial_weight boundary_weight"
CONTRASTED = """
    epochs lr clusters num_scales sigma_min sigma_max noise_steps noise_space form
    temperature lambda_mean label_correlation lambda_max epsilon include_source
"""
DRAWN = 50
SEARCHED = {  # on PDEBench, where targets have no classes and `clusters` makes some
    "orca": {"proxy", *(f"align.{key}" for key in ALIGNED.split()),
             *(f"refine.{key}" for key in {*SHARED, "finetune"})},
    "mona": {*(f"meta.{key}" for key in ("alpha", "beta", "lambda", "epochs", "inner_params")),
             *(f"refine.{key}" for key in {*SHARED, "finetune"})},
    "pare": {"proxy", *(f"replace.{key}" for key in SHARED | REPLACED)},
    "mixup": {"proxy", *(f"mix.{key}" for key in SHARED | MIXED)},
    "cutmix": {"proxy", *(f"mix.{key}" for key in SHARED | MIXED)},
    "contrastive_pare": {"proxy", *(f"contrast.{key}" for key in CONTRASTED.split()),
                         *(f"replace.{key}" for key in {*SHARED, *REPLACED, "freeze"})},
    "recraft": {"proxy", *(f"align.{key}" for key in REALIGNED.split()),
                *(f"match.{key}" for key in MATCHED.split()),
                *(f"refine.{key}" for key in {*SHARED, "finetune", "freeze"})},
    "l2g": {*(f"align.{key}" for key in ("epochs", "lr", "align_weight", "max_samples")),
            *(f"refine.{key}" for key in {*SHARED, "finetune"})},
    "pinn": {f"solve.{key}" for key in SOLVING.split()},
    "nft": {f"refine.{key}" for key in SHARED},
    "fpt": {f"refine.{key}" for key in SHARED},
    "lora": {f"refine.{key}" for key in {*SHARED, "lora_rank", "lora_alpha"}},
    "fno": {f"refine.{key}" for key in {*SHARED, "modes", "width", "layers"}},
    "unet": {f"refine.{key}" for key in {*SHARED, "width", "norm"}},
    "perceiver_io": {f"refine.{key}" for key in {
        *SHARED, "latents", "latent_width", "blocks", "bands"}},
    "dash": {f"train.{key}" for key in ("lr", "weight_decay", "momentum", "dropout")},
    "scratch": {f"refine.{key}" for key in SHARED},
}  # fmt: skip

# A launch continues a begun sweep of the same hash. A hash changes with the tasks of its
# file and with the resources of a trial; after a release, CHANGELOG.md lists it.
HASHES = {
    "baselines_nasbench360": {"paper": "f11b472496f28c7f", "laptop": "bcaa08ea39bd0c45"},
    "baselines_pdebench": {"paper": "8a9807a92c463612", "laptop": "a576702a3bb73cc6"},
    "contrastive_pare_nasbench360": {"paper": "fe977e1f2cb29816", "laptop": "da5a485d68677234"},
    "contrastive_pare_pdebench": {"paper": "590cb9d904259bb0", "laptop": "817f2ffaad8fc9e2"},
    "dash_nasbench360": {"paper": "d3044343d113070d", "laptop": "c5a90cefe322f52b"},
    "dash_pdebench": {"paper": "7010cbc3daae5956", "laptop": "37f9408c2e5af4cd"},
    "fpt_nasbench360": {"paper": "392ff2f366368fec", "laptop": "6dae5a432b921fff"},
    "fpt_pdebench": {"paper": "d4319ec4ba052734", "laptop": "c2e7db60199ec8dd"},
    "l2g_nasbench360": {"paper": "3ceba644378e5fc1", "laptop": "464b4f90fa22c51e"},
    "l2g_pdebench": {"paper": "d400b9358e5f57c4", "laptop": "6c96ca16913bd799"},
    "lora_nasbench360": {"paper": "fd283affe70ad882", "laptop": "5c5825d72c3ff51c"},
    "lora_pdebench": {"paper": "dad598154b2f25fe", "laptop": "92a175ca30c81e25"},
    "mona_nasbench360": {"paper": "518e5ba02ea5f29e", "laptop": "62ebb021e517926c"},
    "mona_pdebench": {"paper": "5a89066334fa031d", "laptop": "5ccfa9c7e5503a97"},
    "nft_nasbench360": {"paper": "c9f7daf9072e0a36", "laptop": "360f11466f441fdc"},
    "nft_pdebench": {"paper": "699864557289cb04", "laptop": "6c7b2362077ffd30"},
    "orca_nasbench360": {"paper": "cf08526f557a30ee", "laptop": "d38497ca211f9b39"},
    "orca_pdebench": {"paper": "93530c8e8babf521", "laptop": "adf45d92adc12c36"},
    "pare_nasbench360": {"paper": "4a087db4d5b02cce", "laptop": "75621856b805c62e",
        "controls": "6a7749ad223cfa42"},
    "pare_pdebench": {"paper": "18a4f5c38c14efd3", "laptop": "8e4f5f71393decac",
        "controls": "7ca69438659ba60b"},
    "pinn_pdebench": {"paper": "ff20218d8ca62a77", "laptop": "216997392d6f58cd"},
    "recraft_nasbench360": {"paper": "9f92aa6126e55ba6", "laptop": "c9ef568d4f64c9e9"},
    "recraft_pdebench": {"paper": "9c7ee013377bf80f", "laptop": "b4b19b9484d124e2"},
}  # fmt: skip


@cache
def shipped(file: Path, profile: str) -> Sweep:
    """Return the sweep of a shipped file, which several tests look at."""
    return load_sweep(file, catalog(), profile=profile)


def asked(study: StudySpec) -> Iterator[Params]:
    """Yield random suggestions."""
    sampler = search_of(study.parameters, "random", startup_trials=1)
    yield from map(sampler.ask, range(DRAWN))


def drawn(sweep: Sweep, study: StudySpec) -> Iterator[Stages | str]:
    """Yield what random suggestions make of a study's settings, or why they are infeasible."""
    for params in asked(study):
        try:
            yield study.resolve_params(params)
        except InfeasibleParams as error:
            yield str(error)


def spec(study: StudySpec, stages: Stages) -> TrialSpec:
    return TrialSpec(
        method=study.method,
        task=study.task,
        backbone=study.backbone_spec,
        proxy=study.proxy,
        data=DataSpec.model_validate(study.data),
        model=ModelSpec.model_validate(study.model),
        stages=stages,
        home=Path("home"),
    )


def test_each_method_has_a_file_for_each_benchmark():
    files = {f"{m}_{b}" for m in (*SWEPT, "baselines") for b in BENCHMARKS}
    assert {file.stem for file in FILES} == {*files, "pinn_pdebench"}
    assert {*METHODS} == {*SEARCHED}


@every_file
def test_a_file_is_one_method_on_a_whole_benchmark(file):
    sweep = shipped(file, "paper")
    benchmark = sweep.experiment
    whole = [t for t in catalog().tasks if t.startswith(f"{benchmark}/") and "@" not in t]
    if file.stem == f"baselines_{benchmark}":
        assert list(sweep.methods) == BASELINES[benchmark]
    else:
        assert file.stem == f"{sweep.methods[0]}_{benchmark}"
        assert len(sweep.methods) == 1
    assert sorted(sweep.tasks) == sorted(SOLVED if file.stem == "pinn_pdebench" else whole)
    assert len(whole) == BENCHMARKS[benchmark]


@every_file
def test_a_file_extends_the_base_of_its_benchmark_and_repeats_nothing_of_it(file):
    base = f"base/{file.stem.rpartition('_')[2]}.yaml"
    own = parse(read_text(file), file.name).plain()
    assert own["extends"] == base
    below = parse(read_text(SPACES / base), base).plain()
    shared = {*own} & {*below} - {"profiles"}
    differing = {
        "mona_pdebench": {"resources"},  # larger trials
        "pinn_pdebench": {"tasks", "search", "pruning"},  # few tasks and trials, dear ones
    }
    assert shared == differing.get(file.stem, set())
    assert not any(own[key].items() & below[key].items() for key in shared - {"tasks"})


@every_profile
def test_a_file_keeps_its_configuration_hash(file, profile):
    sweep = shipped(file, profile)
    assert sweep.config_hash == HASHES[file.stem][profile]


@pytest.mark.slow
@every_profile
def test_the_stored_text_of_a_file_makes_the_same_sweep(file, profile):
    sweep = shipped(file, profile)
    stored = loads_sweep(whole_text(file), catalog(), profile=profile)
    assert json.dumps(stored.resolved) == json.dumps(sweep.resolved)


def test_a_base_alone_is_no_sweep():
    bases = sorted((SPACES / "base").glob("*.yaml"))
    assert {base.stem for base in bases} == set(BENCHMARKS)
    for base in bases:
        with pytest.raises(FileFaults, match="missing key `name`") as caught:
            load_sweep(base, catalog())
        assert {str(fault).rpartition("missing ")[2] for fault in caught.value.faults} == {
            "key `name`.", "key `methods`.",
        }  # fmt: skip


@pytest.mark.slow
@every_profile
def test_every_profile_loads_and_its_studies_are_complete(file, profile):
    sweep = shipped(file, profile)
    assert sweep.name == file.stem
    assert sweep.profile == profile
    assert sweep.notes == ()
    for study in sweep.studies:
        for params in (study.preset, study.control):
            spec(study, study.resolve_params(params))
    assert loads_sweep(sweep.resolved, catalog(), profile=profile).resolved == sweep.resolved


@pytest.mark.slow
@every_profile
def test_every_study_starts_with_the_preset_and_the_control(file, profile, tmp_path):
    sweep = shipped(file, profile)
    ledger = Ledger.in_folder(tmp_path / sweep.name)
    match(ledger, sweep, "")
    plans = make_plans(sweep, ledger, {study.name: StudyFacts() for study in sweep.studies})
    ledger.close()
    for study, plan in zip(sweep.studies, plans, strict=True):
        (kind, preset), *others = plan.leading
        assert (kind, preset) == (TrialKind.PRESET, study.preset)
        published = METHODS[study.method].published(TASKS[study.task])
        kept = {
            k: [*v] if isinstance(v, tuple) else v
            for k, v in published.items()
            if k not in study.fixed
        }
        assert {k: preset[k] for k in kept} == kept
        if not study.entry.control:  # as nft, which is its own control
            assert not others
            continue
        ((kind, control),) = others
        assert kind is TrialKind.CONTROL
        assert {k for k in preset if preset[k] != control[k]} <= set(study.entry.control)
        assert {k: control[k] for k in study.entry.control} == study.entry.control


@pytest.mark.parametrize("profile", ["paper", "laptop"])
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_recraft_draws_settings_of_match_only_where_it_has_epochs(benchmark, profile):
    sweep = shipped(SPACES / f"recraft_{benchmark}.yaml", profile)
    for study in sweep.studies[:1]:
        names: dict[bool, set[str]] = {True: set(), False: set()}
        for params in asked(study):
            names[params["match.epochs"] > 0] |= {k for k in params if k.startswith("match.")}
        assert names[False] == {"match.epochs"}
        assert names[True] == {name for name in study.parameters if name.startswith("match.")}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_control_of_recrafts_main_figure_is_vanilla(benchmark):
    figure = ("align.joint=10", "match.epochs=0", "refine.freeze=embedder")
    sweep = load_sweep(SPACES / f"recraft_{benchmark}.yaml", catalog(), sets=figure)
    for study in sweep.studies:
        preset, control = (study.resolve_params(p) for p in (study.preset, study.control))
        assert (preset["align"]["joint"], preset["refine"]["freeze"]) == (10, "embedder")
        assert control["align"]["epochs"] == control["match"]["epochs"] == 0
        assert control["refine"] == {**preset["refine"], "freeze": "none"}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_control_of_contrastive_pare_trains_the_embedder(benchmark):
    file = SPACES / f"contrastive_pare_{benchmark}.yaml"
    for study in load_sweep(file, catalog(), sets=("replace.freeze=embedder",)).studies:
        assert study.resolve_params(study.preset)["replace"]["freeze"] == "embedder"
        assert study.resolve_params(study.control)["replace"]["freeze"] == "none"


@on_backbones
def test_a_swin_starts_with_the_published_drop_path(file, profile):
    sweep = shipped(file, profile)
    for study in sweep.studies:
        rates = [params.get("model.drop_path") for params in (study.preset, study.control)]
        is_swin = study.backbone is not None and study.backbone["name"] == "swin_base"
        assert rates == [0.1 if is_swin else None] * 2
    assert sweep.resolved["model"]["drop_path"] is None


@pytest.mark.slow
@on_backbones
def test_embedder_initialisation_may_be_searched(file, profile):
    searched = "parameters.model.embedder_init={values: [pretrained_copy, random]}"
    sweep = load_sweep(file, catalog(), profile=profile, sets=[searched])
    plain = shipped(file, profile)
    for study, without in zip(sweep.studies, plain.studies, strict=True):
        if study.backbone is None:  # a network of its own has no embedder
            assert study == without
            continue
        assert set(study.parameters) == {*without.parameters, "model.embedder_init"}
        assert study.preset == {**without.preset, "model.embedder_init": "pretrained_copy"}


@every_profile
def test_a_study_searches_what_its_method_is_to_be_tuned_by(file, profile):
    sweep = shipped(file, profile)
    for study in sweep.studies:
        expected = set(SEARCHED[study.method]) - set(sweep.fixed)
        if sweep.experiment != "pdebench":
            expected = {name for name in expected if not name.endswith(".clusters")}
        if profile == "laptop":
            expected = {name for name in expected if not name.endswith(".finetune")}
        assert set(study.parameters) == expected


@pytest.mark.slow
@every_profile
def test_what_a_sampler_may_draw_makes_a_trial_or_is_infeasible_for_a_reason(file, profile):
    sweep = shipped(file, profile)
    for study in sweep.studies:
        made = list(drawn(sweep, study))
        reasons = [outcome for outcome in made if isinstance(outcome, str)]
        assert len(reasons) < 0.3 * DRAWN, reasons[:3]
        assert all(reason.startswith("`contrast`: sigma_max ") for reason in reasons)
        for stages in made[:5]:
            if not isinstance(stages, str):
                trial = spec(study, stages)
                for name, config in METHODS[study.method].stages.items():
                    config(**trial.stages[name])


@pytest.mark.slow
@every_profile
def test_every_profile_runs_with_a_tiny_backbone_few_data_and_one_epoch(file, profile):
    sets = ["backbones={1d: {name: ./tiny, tokens: 8}, 2d: {name: ./tiny_2d}}", "data.samples=64",
            "data.resolution={1d: 32, 2d: 16}"]  # fmt: skip
    methods = shipped(file, profile).methods
    sets += {f"{catalog().methods[method].objective_stage}.epochs=1" for method in methods}
    sweep = load_sweep(file, catalog(), profile=profile, sets=sets, trials=3)
    assert sweep.backbones["1d"]["name"] == "./tiny"
    assert all(study.num_trials == 3 for study in sweep.studies)


@every_file
def test_auto_is_the_laptop_where_no_gpu_is_visible(file):
    assert load_sweep(file, catalog(), has_gpu=False).profile == "laptop"
    assert load_sweep(file, catalog(), has_gpu=True).profile == "paper"


@every_file
def test_the_laptop_profile_needs_no_gpu_no_hub_and_no_source_to_be_downloaded(file):
    sweep = shipped(file, "laptop")
    assert {backbone["name"] for backbone in sweep.backbones.values()} == {"minilm", "dinov2_small"}
    sources = {proxy for study in sweep.studies for proxy in study.proxies}
    assert sources <= {"python_source", "noise_words", "digits", "digits_ink", "noise"}
    assert sweep.resources.gpu == 0


@pytest.mark.slow
def test_a_third_party_finds_the_files_valid_under_our_schema(tmp_path):
    schema = tmp_path / "sweep.schema.json"
    schema.write_text(json.dumps(json_schema(catalog())))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema)]
    files = [*FILES, *SPACES.glob("questions/*.yaml")]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    assert len(files) > len(FILES) > 0
    assert done.returncode == 0, done.stdout + done.stderr
