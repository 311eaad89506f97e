"""The names of figures and tables: stems of files, aliases, and all."""

from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.spec.shipped import Reproducible, choose, find_all, located, shipped_folder
from tests.support.command import ROOT

KNOWN = [
    Reproducible(name="freezing", aliases=("fig7",), files=(Path("freezing.yaml"),)),
    Reproducible(name="trust", aliases=("slide15", "slide20"), files=(Path("trust.yaml"),)),
    Reproducible(name="dimension", aliases=("slide20",), files=(Path("dimension.yaml"),)),
    Reproducible(name="table_pdebench", files=(Path("orca_pdebench.yaml"),)),
]


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["freezing"], ["freezing"]),
        (["fig7"], ["freezing"]),
        (["Figure 7"], ["freezing"]),
        (["fig07"], ["freezing"]),
        (["slide-15"], ["trust"]),
        (["slide20"], ["trust", "dimension"]),
        (["table_pdebench"], ["table_pdebench"]),
        (["all"], ["freezing", "trust", "dimension", "table_pdebench"]),
        (["trust", "fig7", "freezing"], ["freezing", "trust"]),
    ],
)
def test_names_and_aliases_mean_figures_each_once_in_the_order_of_the_files(names, meant):
    assert [each.name for each in choose(names, KNOWN)] == meant


def test_an_unknown_name_is_told_with_the_nearest_and_all_others():
    many = [Reproducible(name=f"question_{k}", files=(Path("x"),)) for k in range(20)]
    with pytest.raises(UsageError) as caught:
        choose(["freezin"], [*KNOWN, *many])
    assert "unknown figure or table `freezin`. Did you mean `freezing`?" in str(caught.value)
    for name in ("fig7", "slide15", "table_pdebench", "all", *(each.name for each in many)):
        assert name in str(caught.value)


def test_shipped_questions_and_tables_are_found():
    found = {each.name: each for each in find_all(ROOT / "search_spaces")}
    assert found["freezing"].aliases == ("fig7",)
    for benchmark in ("pdebench", "nasbench360"):
        table = found[f"table_{benchmark}"]
        assert {f"{m}_{benchmark}" for m in ("orca", "pare", "mona", "nft", "fpt")} <= {
            file.stem for file in table.files
        }
    aliases = [alias for each in found.values() for alias in each.aliases]
    assert set(aliases).isdisjoint(found)
    for alias in aliases:
        assert choose([alias], list(found.values())), alias


def test_the_current_folder_comes_before_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped_folder() == ROOT / "search_spaces"
    (tmp_path / "search_spaces" / "questions").mkdir(parents=True)
    assert shipped_folder() == tmp_path / "search_spaces"
    assert find_all(shipped_folder()) == []


def test_without_a_checkout_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweeper.spec.shipped.SHIPPED", tmp_path / "a")
    with pytest.raises(UsageError, match="sweeper -C CHECKOUT reproduce"):
        shipped_folder()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mona_pdebench", "mona_pdebench.yaml"),
        ("mona_pdebench.yaml", "mona_pdebench.yaml"),
        ("search_spaces/mona_pdebench.yaml", "mona_pdebench.yaml"),
        ("search_spaces/questions/freezing.yaml", "questions/freezing.yaml"),
        ("freezing", "questions/freezing.yaml"),
        ("nothing", None),
        ("search_spaces", None),
        (".", None),
        ("folder/mona_pdebench.yaml", None),
        ("search_spaces/../search_spaces/mona_pdebench.yaml", None),
        ("README.md", None),
    ],
)
def test_a_name_means_a_shipped_file_where_no_other_is(tmp_path, monkeypatch, text, meant):
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "search_spaces"
    assert located(Path(text)) == (Path(text) if meant is None else shipped / meant)
    mine = tmp_path / text
    if mine.suffix or (not mine.is_dir() and ".." not in text):
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("name: mine\n")
        assert located(Path(text)) == Path(text)
