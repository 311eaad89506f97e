"""`stages` and `stage_store`: what a file may say, what a study shares, and what is refused."""

import pytest

from sweeper.spec.json_schema import json_schema
from sweeper.spec.schema import StageStoreSection
from sweeper.spec.study import levels
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.catalogs import three_stages
from tests.support.sweep_files import CATALOG, faults, read_again
from tests.sweeper.spec.test_sweep import TEXT


def load(more: str = "", **options: object) -> Sweep:
    return sweep_files.load(TEXT + more, **options)


def refusal(more: str, **options: object) -> str:
    return "\n".join(faults(f"{TEXT}{more}\n", **options))


LINE = TEXT.count("\n") + 1
ROWS = {
    "none at all": ("stages: {align: {distinct: 0}}",
        f"x.yaml:{LINE}: `stages.align.distinct` must be greater than or equal to 1 or must be "
        "'all', but got 0."),
    "a word": ("stages: {align: {distinct: many}}",
        "`stages.align.distinct` must be a valid integer or must be 'all', but got 'many'."),
    "a key of it": ("stages: {align: {distnct: 8}}",
        f"x.yaml:{LINE}: unknown key `stages.align.distnct`. Did you mean "
        "`stages.align.distinct`?"),
    "a store's key": ("stage_store: {max_byte: 1GiB}",
        f"x.yaml:{LINE}: unknown key `stage_store.max_byte`. Did you mean "
        "`stage_store.max_bytes`?"),
    "a store's size": ("stage_store: {max_bytes: 20}", "`stage_store.max_bytes` must be a size"),
    "a store's place": ("stage_store: {place: ftp://host/x}",
        "`stage_store.place` must start with one of s3://, gs://, file:// or be a folder"),
    "a relative place": ("stage_store: {place: cache}", "`stage_store.place` must be absolute"),
    "keys in a place": ("stage_store: {place: 's3://key:word@bucket'}",
        "an address with a password in it. A sweep file holds no secret."),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), ROWS.values(), ids=ROWS.keys())
def test_what_cannot_be_is_told_with_its_line_and_the_way_out(text: str, told: str) -> None:
    assert told in refusal(text)


def test_where_only_the_seed_would_differ_it_is_a_fault() -> None:
    fixed = ["align.distance=mmd", "align.kernels=3"]
    assert refusal("stages: {align: {distinct: 4}}", sets=fixed) == (
        f"x.yaml:{LINE}: `stages.align.distinct: 4`: no parameter of `align` is searched, so that "
        "the results would differ in the seed alone. Search one, or write `distinct: 1`."
    )
    one = load("stages: {align: {distinct: 1}}\n", sets=fixed)
    assert one.study("orca", "pdebench/darcy_2d").distinct == {"align": 1}


def test_where_only_the_source_is_searched_results_differ_by_it() -> None:
    fixed = ["align.distance=mmd", "align.kernels=3"]
    sources = "parameters.proxy={values: [conll2003, python_source]}"
    sweep = load("stages: {align: {distinct: 2}}\n", sets=[*fixed, sources])
    noted = [note for note in sweep.notes if "differ in the seed" in note]
    assert [note.partition(":")[0] for note in noted] == [  # those have one source each
        "`orca/nasbench360/cifar100`",
        "`orca/pdebench/darcy_2d`",
    ]


THREE = """\
name: three
methods: [three]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  align.kernels: {min: 1, max: 4}
  refine.lr: {min: 0.1, max: 0.2}
search: {trials: 99}
"""


def test_a_stage_that_draws_nothing_of_its_own_cannot_have_several() -> None:
    text = THREE + "stages: {align: {distinct: 4}, replace: {distinct: 2}}\n"
    (fault,) = faults(text, three_stages())
    told = "no parameter of `replace` is searched, so that the results would be equal"
    assert f"`stages.replace.distinct: 2`: {told}" in fault
    alone = sweep_files.load(THREE + "stages: {replace: {distinct: 2}}\n", three_stages())
    (level,) = levels(alone.studies[0])
    assert (level.stages, list(level.parameters)) == (("align", "replace"), ["align.kernels"])


def test_a_stage_cannot_vary_more_than_what_is_shared_after_it() -> None:
    text = THREE + "stages: {align: {distinct: all}, replace: {distinct: 2}}\n"
    assert faults(text, three_stages()) == [
        "x.yaml:10: `stages.align.distinct: all`: `replace` comes after it and has 2: a stage "
        "varies no more than what is shared after it. Write a number, or take it out to draw it "
        "together with `replace`."
    ]


def test_a_condition_on_what_is_drawn_later_is_a_fault() -> None:
    lines = (
        "align.entropy: {min: 0.1, max: 1.0, when: {align.distance: [otdd_exact, otdd_gaussian]}}"
    )
    assert lines in TEXT
    text = TEXT.replace(lines, "align.entropy: {min: 0.1, max: 1.0, when: {refine.clip_norm: 1}}")
    text = text.replace("parameters:\n", "parameters:\n  refine.clip_norm: {values: [1, 2]}\n")
    assert not sweep_files.load(text).stages
    (fault,) = faults(text + "stages: {align: {distinct: 4}}\n")
    told = "`refine.clip_norm` is drawn after what `stages.align.distinct` shares"
    assert f"`parameters.align.entropy.when`: {told}" in fault


def test_where_no_two_trials_share_it_is_a_note() -> None:
    notes = " ".join(load("stages: {align: {distinct: 7}}\n").notes)
    assert "7 sampled trials a study and 7 configurations of `align`" in notes
    assert load("stages: {align: {distinct: 6}}\n").notes == load().notes


def test_a_study_has_the_numbers_of_its_own_stages() -> None:
    sweep = load("stages: {align: {distinct: 4}}\n")
    orca, pare = (sweep.study(m, "pdebench/darcy_2d") for m in ("orca", "pare"))
    assert (orca.distinct, pare.distinct) == ({"align": 4}, {})
    (level,) = levels(orca)
    assert (level.stages, level.distinct) == (("align",), 4)
    assert set(level.parameters) == {"align.distance", "align.kernels", "align.entropy"}
    assert levels(pare) == ()


def test_all_is_what_a_file_without_the_key_says() -> None:
    sweep = load("stages: {align: {distinct: all}}\n")
    assert sweep.studies == load().studies
    assert sweep.resolved["stages"] == {"align": {"distinct": "all"}}


def test_the_store_is_used_by_studies_that_share_or_by_all_where_it_is_written_out() -> None:
    def stores(more: str) -> list[StageStoreSection | None]:
        sweep = load(more)
        return [sweep.stage_store_of(sweep.study(m, "pdebench/darcy_2d")) for m in ("orca", "pare")]

    assert stores("") == [None, None]
    assert stores("stages: {align: {distinct: 4}}\n") == [StageStoreSection(), None]
    assert stores("stage_store: {}\n") == [StageStoreSection(), StageStoreSection()]
    (store, _) = stores("stage_store: {place: s3://bucket/x, max_bytes: null}\n")
    assert store is not None
    assert (store.place, store.max_bytes) == ("s3://bucket/x", None)
    assert StageStoreSection().max_bytes == 20 * 2**30


def test_both_are_in_what_a_sweep_resolves_to_and_in_its_hash_once_they_say_something() -> None:
    plain = load()
    assert (plain.resolved["stages"], plain.resolved["stage_store"]) == ({}, None)
    hashes = {plain.config_hash}
    for more in ("stages: {align: {distinct: 4}}\n", "stages: {align: {distinct: 5}}\n",
                 "stage_store: {}\n", "stage_store: {max_bytes: 1GiB}\n"):  # fmt: skip
        sweep = load(more)
        read_again(sweep)
        hashes.add(sweep.config_hash)
    assert len(hashes) == 5
    assert load("stages: {}\nstage_store: null\n").config_hash == plain.config_hash


def test_an_editor_knows_the_stages() -> None:
    properties = json_schema(CATALOG)["else"]["properties"]["stages"]["anyOf"][0]["properties"]
    assert set(properties) == {"align", "meta", "refine", "replace"}
    assert properties["align"]["properties"]["distinct"]["anyOf"] == [
        {"type": "integer", "minimum": 1, "maximum": 10_000},
        {"type": "string", "const": "all"},
    ]
