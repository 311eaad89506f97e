"""The priors of a study: those of the file, else the preset; and what a file is told."""

from typing import Any

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.distributions import Prior
from sweeper.spec.priors import priors_of
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import CATALOG, faults, load_sweep, read_again

TEXT = """\
name: s
methods: [mona]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  meta.alpha: {distribution: log_uniform_values, min: 1e-4, max: 1.0, PRIOR}
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
fixed: {refine.epochs: 8}
search: {trials: 8, priors: true}
"""
STATED = "prior: {default: 0.1, confidence: high}"


def load(text: str = TEXT, prior: str = STATED, **options: Any) -> Sweep:
    return sweep_files.load(text.replace("PRIOR", prior), **options)


def test_a_parameter_has_the_prior_of_the_file_or_else_its_preset():
    (study,) = load().studies
    assert priors_of(study) == {
        "meta.alpha": Prior(default=0.1, confidence="high"),
        "refine.lr": Prior(default=study.preset["refine.lr"], confidence="medium"),
    }


def test_a_preset_that_cannot_be_drawn_is_no_prior_and_told():
    sweep = load(TEXT.replace("max: 1e-3", "max: 2e-6"))
    (study,) = sweep.studies
    assert list(priors_of(study)) == ["meta.alpha"]
    assert sweep.notes == (
        "`search.priors`: priors of the parameters of `mona/pdebench/advection_1d`: 1 of the file. "
        "The preset is out of the range of `refine.lr`.",
    )


def test_priors_are_off_by_default():
    without = load(TEXT.replace(", priors: true", ""), "")
    assert not without.search.priors
    assert without.resolved["search"]["priors"] is False
    assert load(prior="").config_hash != without.config_hash


def test_a_prior_that_is_not_read_is_told():
    (note,) = load(TEXT.replace(", priors: true", "")).notes
    assert note.startswith("`parameters.meta.alpha.prior` has no effect: `search.priors` is false.")


def test_a_resolved_sweep_has_the_same_priors():
    sweep = load()
    again = read_again(sweep)
    assert (again.parameters, again.search) == (sweep.parameters, sweep.search)


@pytest.mark.parametrize("change", ["{value: 0.3}", "{values: [0.2, 0.3]}"])
def test_a_profile_with_other_values_drops_the_prior(change):
    text = TEXT + f"profiles: {{small: {{parameters: {{meta.alpha: {change}}}}}}}\n"
    drawn = load(text, profile="small").parameters.get("meta.alpha")
    assert drawn is None or drawn.prior is None


def refused(text: str, **options: Any) -> str:
    (fault,) = faults(text.replace("PRIOR", STATED), **options)
    return fault


def test_a_profile_that_narrows_a_range_under_a_prior_is_told_the_ways_out():
    text = TEXT + "profiles:\n  small:\n    parameters: {meta.alpha: {max: 0.01}}\n"
    assert refused(text, profile="small") == (
        "x.yaml:13: `parameters.meta.alpha.max: 0.01` leaves out `prior.default: 0.1` (line "
        "7): write `prior: {default: VALUE}` beside it, where VALUE is from 0.0001 to 0.01, or "
        "`prior: null`."
    )
    assert load(text).parameters
    for way, prior in {
        "{default: 1.0e-3}": Prior(default=1e-3, confidence="high"), "null": None
    }.items():  # fmt: skip
        mended = text.replace("max: 0.01", f"max: 0.01, prior: {way}")
        assert load(mended, profile="small").parameters["meta.alpha"].prior == prior


def test_an_option_that_narrows_a_range_under_a_prior_is_told_the_ways_out():
    option = "parameters.meta.alpha.min=0.5"
    assert refused(TEXT, sets=[option]) == (
        "--set parameters.meta.alpha.min: `parameters.meta.alpha.min: 0.5` leaves out "
        "`prior.default: 0.1` (x.yaml, line 7): write --set "
        "parameters.meta.alpha.prior.default=VALUE, where VALUE is from 0.5 to 1.0, or --set "
        "parameters.meta.alpha.prior=null."
    )
    for way in ("prior.default=0.7", "prior=null"):
        load(sets=[option, f"parameters.meta.alpha.{way}"])


def test_a_file_that_narrows_the_range_of_its_base_is_told_the_ways_out(tmp_path):
    (tmp_path / "base.yaml").write_text(TEXT.replace("PRIOR", STATED))
    file = tmp_path / "own.yaml"
    text = "extends: base.yaml\nparameters: {meta.alpha: {max: 0.01}}\n"
    file.write_text(text)
    with pytest.raises(FileFaults) as error:
        load_sweep(file, CATALOG)
    assert str(error.value) == (
        f"{file}:2: `parameters.meta.alpha.max: 0.01` leaves out `prior.default: 0.1` "
        f"({tmp_path / 'base.yaml'}, line 7): write `prior: {{default: VALUE}}` beside it, where "
        "VALUE is from 0.0001 to 0.01, or `prior: null`."
    )
    file.write_text(text.replace("0.01", "0.01, prior: null"))
    assert load_sweep(file, CATALOG).parameters["meta.alpha"].prior is None


@pytest.mark.parametrize(
    ("profile", "sets", "where"),
    [
        ("prior: {default: 2.0}", (), "x.yaml:13"),
        ("prior: {default: 2.0}, max: 0.5", (), "x.yaml:13"),
        ("max: 0.5", ("parameters.meta.alpha.prior.default=2.0",),
         "--set parameters.meta.alpha.prior.default"),
    ],
)  # fmt: skip
def test_a_later_prior_out_of_its_range_is_the_fault(profile, sets, where):
    text = f"{TEXT}profiles:\n  small:\n    parameters: {{meta.alpha: {{{profile}}}}}\n"
    told = refused(text, profile="small", sets=sets)
    assert told.startswith(f"{where}: `parameters.meta.alpha.prior.default` is 2.0, but must be")
