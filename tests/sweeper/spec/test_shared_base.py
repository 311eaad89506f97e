"""`base: FILE`: arms have the settings that `sweeper best` wrote, and a sweep keeps them itself."""

from pathlib import Path

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.layers import whole_text
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.support.sweep_files import CATALOG, TASK, load_sweep, orca_file, read_again

BEST = orca_file(
    "model: {embedder_init: random}", "parameters: {}",
    "fixed: {align.epochs: 40, refine.lr: 3.0e-4, refine.epochs: 50, refine.weight_decay: 0.125}",
    "search: {trials: 2}", name="ablation-orca-best", source="conll2003",
)  # fmt: skip
TEXT = orca_file(
    "fixed: {refine.weight_decay: 0.5}", "search: {trials: 2}", "replicate: {seeds: 8}",
    "compare_by: {refine.freeze: [none, body]}", "base: best.yaml",
)  # fmt: skip
LINE = TEXT.count("\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "best.yaml").write_text(BEST)
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    return path


def load(file: Path, **options: object) -> Sweep:
    return load_sweep(file, CATALOG, **options)


def test_arms_and_their_control_have_the_settings_of_the_file(file):
    control, none, body = load(file).studies
    for study in (control, none, body):
        assert study.preset["refine.lr"] == 3e-4
        assert study.preset["model.embedder_init"] == "random"
        assert study.proxy == "conll2003"
    assert (none.preset["refine.freeze"], body.preset["refine.freeze"]) == ("none", "body")
    assert (control.preset["align.epochs"], body.preset["align.epochs"]) == (0, 40)


def test_fixed_settings_of_the_sweep_come_first_and_schedules_follow(file):
    *_, body = load(file).studies
    assert body.preset["refine.weight_decay"] == 0.5
    assert (body.preset["refine.epochs"], body.preset["refine.decay_epochs"]) == (50, 50)


@pytest.mark.parametrize(("own", "noted"), [("pretrained_copy", 1), ("random", 0)])
def test_a_setting_of_the_model_that_differs_from_that_of_the_file_is_noted(file, own, noted):
    file.write_text(TEXT + f"model: {{embedder_init: {own}}}\n")
    sweep = load(file)
    assert sweep.studies[-1].preset.get("model.embedder_init", own) == "random"
    notes = [note for note in sweep.notes if note.startswith("`model.embedder_init` is")]
    assert len(notes) == noted
    assert all("'random' in `base`, which holds" in note for note in notes)


def test_a_schedule_of_the_file_holds_for_its_own_number_of_epochs(file):
    best = file.parent / "best.yaml"
    best.write_text(
        BEST.replace("refine.epochs: 50", "refine.epochs: 50, refine.decay_epochs: 200")
    )
    assert load(file).studies[-1].preset["refine.decay_epochs"] == 200
    file.write_text(TEXT.replace("{refine.freeze: [none, body]}", "{refine.epochs: [10, 50]}"))
    *_, short, same = load(file).studies
    assert [arm.preset["refine.decay_epochs"] for arm in (short, same)] == [10, 50]


def test_another_file_replaces_the_first_one(file):
    (file.parent / "other.yaml").write_text(BEST.replace(", refine.weight_decay: 0.125", ""))
    file.write_text(TEXT.replace("fixed: {refine.weight_decay: 0.5}", "tracking: {}"))
    assert load(file).studies[-1].preset["refine.weight_decay"] == 0.125
    other = load(file, sets=[f"base={file.parent / 'other.yaml'}"])
    assert other.studies[-1].preset["refine.weight_decay"] == 0.25  # the preset


def test_a_sweep_needs_the_file_no_more_once_it_was_read(file):
    sweep, text = load(file), whole_text(file)
    (file.parent / "best.yaml").unlink()
    assert loads_sweep(text, CATALOG).resolved == sweep.resolved
    read_again(sweep)


def test_a_profile_may_name_the_file_and_several_files_are_joined(file):
    (file.parent / "second.yaml").write_text(BEST.replace("advection", "burgers"))
    text = TEXT.replace("advection_1d]", "advection_1d, pdebench/burgers_1d]")
    text = text.replace("base: best.yaml\n", "")
    file.write_text(text + "profiles: {mine: {base: [best.yaml, second.yaml]}}\n")
    assert load(file, profile="paper").base == "preset"
    base = load(file, profile="mine").base
    assert list(base) == [f"orca/{TASK}", "orca/pdebench/burgers_1d"]


ROWS = {
    "no such file": ("x.yaml", "base: best.yaml", "base: bets.yaml", "`base: bets.yaml`: "),
    "a word of neither kind": ("x.yaml", "base: best.yaml", "base: tuend",
        "Or write preset or tuned."),
    "per arm": ("x.yaml", "base: best.yaml", "base: best.yaml\ntune: per_arm",
        "`base` is for arms that"),
    "another task": ("x.yaml", "advection_1d]", "burgers_1d]",
        "`base` has no settings of `orca/pdebench/burgers_1d`, which was not tuned there: add a "
        "file; `sweeper best SWEEP --study METHOD/TASK` writes such a file."),
    "twice": ("x.yaml", "base: best.yaml", "base: [best.yaml, best.yaml]",
        f"settings of `orca/{TASK}` twice"),
    "never tuned": ("best.yaml", "fixed: {", "parameters2: {",
        "it has no tuned settings; `sweeper best SWEEP"),
    "still searched": ("best.yaml", "parameters: {}",
        "parameters: {align.epochs: {values: [1, 2]}}", "it still searches"),
    "another version": ("best.yaml", "refine.lr", "refine.rate", "refine.rate"),
    "no valid setting": ("best.yaml", "align.epochs: 40", "align.epochs: -1",
        "`align.epochs`: must be greater than"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "message"), ROWS.values(), ids=ROWS)
def test_a_base_that_cannot_be_used_is_a_fault_at_its_line(file, name, old, new, message):
    changed = file.parent / name
    changed.write_text(changed.read_text().replace(old, new))
    with pytest.raises(FileFaults) as caught:
        load(file)
    assert message in str(caught.value)
    assert f"x.yaml:{LINE}: " in str(caught.value)


def test_an_option_names_such_a_file_from_where_the_command_runs(file, monkeypatch):
    file.write_text(TEXT.replace(", base: best.yaml", "").replace("base: best.yaml\n", ""))
    monkeypatch.chdir(file.parent)
    assert load(file, sets=["base=best.yaml"]).studies[1].preset["refine.lr"] == 3e-4
    with pytest.raises(FileFaults, match=r"--set base: `base: other\.yaml`"):
        load(file, sets=["base=other.yaml"])
