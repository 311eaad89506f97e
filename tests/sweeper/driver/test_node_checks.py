"""Of a folder of stage results that nodes do not share users are told; it is no fault."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeper.driver import node_checks
from tests.support.pricing import sweep_of

ALPHA = {"meta.alpha": {"min": 0.1, "max": 1.0}}


class Nodes:
    """Three nodes; `blind` ones see nothing that another writes."""

    def __init__(self, *blind: str) -> None:
        self.blind = [*blind]
        self.looked: list[Path] = []

    def missing_on(self, paths: Sequence[Path]) -> tuple[dict[Path, list[str]], int]:
        assert all(path.is_file() for path in paths)
        self.looked += paths
        return {path: self.blind for path in paths if self.blind}, 3


@pytest.fixture
def folder(here: Path) -> Path:
    return here / "home" / "cache" / "stages"


def notes(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, **changes: object) -> list[str]:
    monkeypatch.setattr(node_checks, "missing_on", nodes.missing_on)
    stages = {"stages": {"meta": {"distinct": 2}}, "parameters": ALPHA}
    return list(node_checks.store_notes(sweep_of(**stages, **changes), "priced-1"))


def test_nodes_with_a_stage_store_of_their_own_are_named(folder, monkeypatch) -> None:
    nodes = Nodes("w1", "w2")
    (told,) = notes(nodes, monkeypatch)
    assert told.startswith(f"{folder}: not seen by 2 of 3 nodes (w1, w2), where stages are")
    assert "Set `stage_store.place`" in told
    assert f"`sweeper gc {folder} --release priced-1`" in told
    assert [path.parent for path in nodes.looked] == [folder]
    assert not any(folder.iterdir())  # the file that they looked for is gone


def test_a_stage_store_that_all_nodes_see_is_no_matter(folder, monkeypatch) -> None:
    nodes = Nodes()
    assert notes(nodes, monkeypatch) == []
    assert notes(nodes, monkeypatch, stage_store={"place": str(folder / "own")}) == []
    assert [path.parent for path in nodes.looked] == [folder, folder / "own"]


@pytest.mark.parametrize("store", [{"use": False}, {"place": "s3://bucket/stages"}])
def test_where_there_is_no_folder_no_node_is_asked(folder, monkeypatch, store) -> None:
    nodes = Nodes("w1")
    assert notes(nodes, monkeypatch, stage_store=store) == []
    assert nodes.looked == []
