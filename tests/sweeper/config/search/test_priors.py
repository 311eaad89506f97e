"""The priors of a study: those of the file, else the preset; and what a file is told."""

import pytest

from sweeper.config.distributions import Prior
from sweeper.config.loader import loads_sweep
from sweeper.config.search.priors import priors_of
from sweeper.config.sweep import Sweep
from tests.support.catalogs import make_catalog

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


def load(text: str = TEXT, prior: str = STATED) -> Sweep:
    return loads_sweep(text.replace("PRIOR", prior), make_catalog())


def test_a_parameter_has_the_prior_of_the_file_or_else_its_preset() -> None:
    (study,) = load().studies()
    assert priors_of(study) == {
        "meta.alpha": Prior(default=0.1, confidence="high"),
        "refine.lr": Prior(default=study.preset["refine.lr"], confidence="medium"),
    }


def test_a_preset_that_cannot_be_drawn_is_no_prior_and_told() -> None:
    sweep = load(TEXT.replace("max: 1e-3", "max: 2e-6"))
    (study,) = sweep.studies()
    assert list(priors_of(study)) == ["meta.alpha"]
    assert sweep.notes == (
        "`search.priors`: priors of the parameters of `mona/pdebench/advection_1d`: 1 of the file. "
        "The preset is out of the range of `refine.lr`.",
    )


def test_priors_are_off_by_default_and_then_leave_the_hash_as_it_is() -> None:
    without = load(TEXT.replace(", priors: true", ""), "")
    assert not without.search.priors
    assert "priors" not in without.resolved["search"]
    assert load(prior="").config_hash != without.config_hash


def test_a_prior_that_is_not_read_is_told() -> None:
    (note,) = load(TEXT.replace(", priors: true", "")).notes
    assert note.startswith("`parameters.meta.alpha.prior` has no effect: `search.priors` is false.")


def test_a_resolved_sweep_has_the_same_priors() -> None:
    sweep = load()
    again = loads_sweep(sweep.resolved, make_catalog())
    assert again.parameters == sweep.parameters
    assert again.search == sweep.search
    assert again.config_hash == sweep.config_hash


@pytest.mark.parametrize("change", ["{value: 0.3}", "{values: [0.2, 0.3]}"])
def test_a_profile_with_other_values_drops_the_prior(change: str) -> None:
    text = TEXT + f"profiles: {{small: {{parameters: {{meta.alpha: {change}}}}}}}\n"
    sweep = loads_sweep(text.replace("PRIOR", STATED), make_catalog(), profile="small")
    drawn = sweep.parameters.get("meta.alpha")
    assert drawn is None or drawn.prior is None
