"""What trials share is drawn beforehand: a pure function, feasible, distinct, with one seed."""

import json
import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from sweeper.core.stage_sharing import SharedStages
from sweeper.core.study_runner import Infeasible
from sweeper.errors import UsageError
from sweeper.search.shared_configs import draw_shared_configs
from sweeper.spec.distributions import is_active
from sweeper.spec.loader import loads_sweep
from sweeper.spec.study import InfeasibleParams, StudySpec
from sweeper.spec.sweep import Sweep
from tests.support.catalogs import three_stages

CATALOG = three_stages()
TEXT = """\
name: shared
methods: [three]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  proxy: {values: [conll2003, python_source]}
  align.distance: {values: [otdd_exact, mmd]}
  align.kernels: {min: 1, max: 4, when: {align.distance: mmd}}
  align.entropy: {min: 0.1, max: 1.0, when: {align.distance: otdd_exact}}
  replace.k0: {min: 4, max: 40}
  replace.k_end: {min: 0, max: 40}
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
search: {trials: 61, seed: 3}
stages: {align: {distinct: 5}, replace: {distinct: 3}}
"""


def load(stages: str = "{align: {distinct: 5}, replace: {distinct: 3}}", **options: Any) -> Sweep:
    text = TEXT[: TEXT.index("stages:")] + f"stages: {stages}\n"
    return loads_sweep(text, CATALOG, **options)


def complete(study: StudySpec, params: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return study.complete_params(params)
    except InfeasibleParams as error:
        raise Infeasible(str(error)) from error


def draw(sweep: Sweep, seed: int = 0) -> tuple[StudySpec, SharedStages]:
    (study,) = sweep.studies
    shared = draw_shared_configs(
        study,
        seed=seed,
        complete=lambda params: complete(study, params),
        trial_seed=lambda k: 1000 + k,
    )
    return study, shared


def of(stage: str, params: Mapping[str, Any]) -> str:
    owners = (stage, "proxy") if stage == "align" else (stage,)
    return json.dumps({k: v for k, v in params.items() if k.partition(".")[0] in owners})


def test_levels_make_a_tree_and_what_shares_a_stage_has_its_seed() -> None:
    _, shared = draw(load())
    assert (shared.order, shared.shared) == (("align", "replace", "refine"), ("align", "replace"))
    assert len(shared.configs) == 15
    assert len({shared.key(p.settings, p.seed) for p in shared.configs}) == 15
    alignments = Counter((p.seed, of("align", p.params)) for p in shared.configs)
    assert len(alignments) == 5
    assert set(alignments.values()) == {3}
    assert {seed for seed, _ in alignments} == {1000, 1001, 1002, 1003, 1004}
    assert len({of("replace", p.params) for p in shared.configs}) == 15  # drawn for each anew
    for count in range(1, 16):  # the first of them are spread evenly over alignments
        seeds = Counter(p.seed for p in shared.configs[:count])
        assert len(seeds) == min(count, 5)
        assert max(seeds.values()) - min(seeds.values()) <= 1


def test_every_prefix_is_feasible_and_honours_conditions() -> None:
    sweep = load("{replace: {distinct: 40}}")
    study, shared = draw(sweep)
    assert len(shared.configs) == 40
    for prefix in shared.configs:
        drawn = prefix.params
        active = {n for n, p in study.parameters.items() if is_active(p, drawn)} - {"refine.lr"}
        assert drawn.keys() == active
        assert all(study.parameters[name].contains(value) for name, value in drawn.items())
        settings = complete(study, drawn)
        assert settings["replace.k_end"] <= settings["replace.k0"]
        assert prefix.settings == shared.settings(settings)
        assert prefix.settings.items() >= drawn.items()
    assert {p.params["align.distance"] for p in shared.configs} == {"otdd_exact", "mmd"}


def test_a_stage_without_a_number_of_its_own_is_drawn_with_the_next() -> None:
    _, shared = draw(load("{replace: {distinct: 6}}"))
    assert len({of("align", p.params) for p in shared.configs}) > 3
    assert [p.seed for p in shared.configs] == [1000 + k for k in range(6)]
    _, alone = draw(load("{align: {distinct: 6}}"))
    assert alone.shared == ("align",)
    assert all(n.startswith(("align.", "proxy")) for p in alone.configs for n in p.params)


def test_prefixes_are_a_function_of_the_study_and_its_seed() -> None:
    assert draw(load()) == draw(load())
    assert draw(load(), seed=1)[1] != draw(load())[1]
    first, more = (draw(load(f"{{align: {{distinct: {n}}}}}"))[1].configs for n in (5, 9))
    assert more[:5] == first


def test_more_trials_add_prefixes_and_change_none() -> None:
    few, many = (draw(load("{align: {distinct: 9}}", trials=n))[1].configs for n in (6, 30))
    assert (len(few), len(many)) == (5, 9)  # one trial of each study is the preset
    assert many[:5] == few
    tree, larger = (draw(load(trials=n))[1].configs for n in (11, 40))
    assert (len(tree), len(larger)) == (10, 15)
    assert larger[:10] == tree


def test_a_small_space_has_fewer_and_never_two_that_differ_in_the_seed_alone() -> None:
    sweep = load("{align: {distinct: 50}}", sets=["align.distance=mmd"])
    _, shared = draw(sweep)
    assert len(shared.configs) == 8  # two sources, four kernels
    assert len({of("align", p.params) for p in shared.configs}) == 8


def test_where_nothing_is_feasible_it_says_so() -> None:
    (study,) = load().studies

    def refuse(params: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Infeasible("no")

    with pytest.raises(UsageError, match="none of 100 configurations drawn for `align`"):
        draw_shared_configs(study, seed=0, complete=refuse, trial_seed=lambda k: k)


def test_a_study_without_distinct_shares_nothing() -> None:
    assert draw(load("{align: {distinct: all}}"))[1] == SharedStages()
    assert draw(load("{}"))[1] == SharedStages()


def test_draws_are_uniform_over_what_is_feasible() -> None:
    values = [
        p.params["replace.k0"]
        for seed in range(8)
        for p in draw(load("{replace: {distinct: 30}}"), seed)[1].configs
    ]
    pairs = [k0 for k0 in range(4, 41) for k_end in range(k0 + 1)]  # k_end is k0 at most
    error = statistics.stdev(pairs) / len(values) ** 0.5
    assert abs(statistics.mean(values) - statistics.mean(pairs)) < 3 * error
