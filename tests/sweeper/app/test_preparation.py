"""Preparing happens in a process of its own; what becomes of that is said."""

from types import SimpleNamespace

import psutil
import pytest

from sweeper.app import load, prepare
from sweeper.app.preparation import preparing
from sweeper.errors import SweeperError
from tests.command import ROOT


@pytest.fixture
def sweep():
    return load.read(ROOT / "search_spaces" / "mona_pdebench.yaml", load.Options(profile="laptop"))


def the_process() -> psutil.Process:
    children = psutil.Process().children()
    (found,) = (p for p in children if p.cmdline()[-1:] == ["sweeper.app.prepare"])
    return found


def test_a_studys_facts_name_every_source_that_its_trials_may_read(monkeypatch, tmp_path):
    monkeypatch.setattr(prepare, "prepare_task", lambda *_, **__: None)
    file = ROOT / "search_spaces" / "orca_pdebench.yaml"
    study = load.read(file, load.Options(profile="laptop")).studies()[0]
    task = SimpleNamespace(
        data_source="generated", content_hash="", baselines={}, train=(), val=(), test=()
    )
    parts = SimpleNamespace(
        task=lambda *_: task,
        backbone=lambda *_: SimpleNamespace(weights_hash=""),
        source=lambda *_: None,
    )
    facts = prepare._facts(study, parts, tmp_path, lambda *_: None)
    assert study.proxies == ("python_source", "noise_words")
    assert facts["proxy"] == "python_source, noise_words"


def test_one_that_is_killed_is_said_with_the_way_out(sweep):
    with preparing(sweep) as preparation:
        the_process().kill()
        with pytest.raises(SweeperError, match=r"was killed.* launch again"):
            preparation.facts(lambda *_: None)


def test_one_that_is_not_waited_for_is_ended(sweep):
    with preparing(sweep):
        process = the_process()
    assert not process.is_running()
