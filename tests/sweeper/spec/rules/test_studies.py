"""Learning rates fall to 0 with the last epoch, unless a file says otherwise, which is noted."""

from dataclasses import replace

import pytest

from sweeper.cli.main import run
from sweeper.errors import FileFaults
from sweeper.planning.catalog import catalog
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from tests.bad_inputs.rows import VALID, edit, parameter
from tests.support.command import ROOT
from tests.support.sweep_files import load_sweep
from trainables.methods.registry import METHODS

SPACES = ROOT / "search_spaces"
NOTE = (
    "`mona`: the rate of `refine` is 0 after epoch 6 (`refine.decay_epochs`), but a trial may have "
    "9 epochs: those after it train nothing. Leave `refine.decay_epochs` out, and it follows "
    "`refine.epochs`."
)


def decay(sweep: Sweep, stage: str = "refine") -> object:
    (study, *_) = sweep.studies
    return study.preset[f"{stage}.decay_epochs"]


@pytest.mark.parametrize(("epochs", "expected"), [((), 6.0), (("refine.epochs=9",), 9.0)])
def test_the_laptop_profile_follows_the_epochs_that_are_asked_for(epochs, expected):
    sweep = load_sweep(SPACES / "mona_pdebench.yaml", catalog(), profile="laptop", sets=epochs)
    assert (decay(sweep), sweep.notes) == (expected, ())


def test_a_schedule_that_a_file_sets_is_kept_and_noted_where_it_ends_early():
    text = edit("refine.epochs: 8", "refine.epochs: 9, refine.decay_epochs: 6")
    sweep = loads_sweep(text, catalog())
    assert (decay(sweep), sweep.notes) == (6.0, (NOTE,))
    longer = loads_sweep(text, catalog(), sets=["refine.decay_epochs=20"])
    assert (decay(longer), longer.notes) == (20.0, ())
    shorter_than_warmup = loads_sweep(text, catalog(), sets=["refine.warmup_epochs=6"])
    assert shorter_than_warmup.notes == ()  # the rate stays at its peak


@pytest.mark.parametrize(
    ("part", "settings", "told"),
    [
        ("control", {"refine.wibble": 0}, "the control of the method: unknown parameter `refine.w"),
        ("control", {"align.epochs": 0}, "the control of the method: `align.epochs`: there is no"),
        ("preset", {"refine.lr": 30}, "the preset of the method: `refine.lr`: must be less than"),
    ],
)
def test_settings_that_a_method_brings_are_no_fault_of_the_file(part, settings, told):
    broken = replace(METHODS["nft"], name="broken", **{part: settings})
    text = VALID.replace("[mona]", "[broken]").replace("meta.alpha", "refine.lr")
    with METHODS.holding("broken", broken), pytest.raises(FileFaults) as caught:
        loads_sweep(text, catalog())
    assert str(caught.value).startswith(f"sweep.yaml:2: `broken`: {told}")


def test_published_epochs_keep_their_published_schedule():
    sweep = load_sweep(SPACES / "orca_nasbench360.yaml", catalog(), profile="paper")
    study = sweep.study("orca", "nasbench360/ecg")
    assert (study.preset["refine.epochs"], study.preset["refine.decay_epochs"]) == (15, 200.0)
    assert "refine.decay_epochs" not in sweep.fixed


def test_epochs_that_are_searched_are_followed_trial_by_trial():
    text = parameter("refine.epochs: {values: [6, 9]}").replace("{refine.epochs: 8}", "{}")
    sweep = loads_sweep(text, catalog())
    (study,) = sweep.studies
    assert study.preset["refine.decay_epochs"] is None
    assert sweep.notes == ()
    pinned = loads_sweep(text, catalog(), sets=["refine.decay_epochs=6"])
    assert pinned.notes == (NOTE.replace("9 epochs", "200 epochs"),)  # the preset has them


def test_a_sweep_that_began_without_it_goes_on_without_it():
    resolved = loads_sweep(VALID, catalog()).resolved
    assert resolved["fixed"] == {"refine.epochs": 8, "refine.decay_epochs": 8}
    del resolved["fixed"]["refine.decay_epochs"]
    assert decay(loads_sweep(resolved, catalog())) == 200.0  # the task's recipe, as it began


@pytest.mark.parametrize("command", ["validate", pytest.param("plan", marks=pytest.mark.slow)])
def test_it_is_said_before_anything_is_trained(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path))
    file = tmp_path / "x.yaml"
    file.write_text(edit("refine.epochs: 8", "refine.epochs: 9, refine.decay_epochs: 6"))
    assert run([command, str(file), "--profile", "paper"]) == 0
    assert NOTE in capsys.readouterr().out
