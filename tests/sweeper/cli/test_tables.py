"""The table that a launch ends with shows the trivial predictors that its tasks have."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.cli.tables import show_summary
from sweeper.commands.look import StudySummary, Summary, TrialSummary


def summary(*baselines: dict[str, float]) -> Summary:
    best = TrialSummary(
        trial=2, kind="sampled", state="complete", value=0.5, epoch=4, validation=0.5, test=0.4,
        seeds=1, params={}, checkpoint=None,
    )  # fmt: skip
    studies = (
        StudySummary(
            study=f"nft/task_{index}", method="nft", task=f"task_{index}", objective="val/x",
            trials={"complete": 2}, best=best, control=None, preset=None, baselines=each,
            floor=None,
            data_source=None, protocol=None, backbone=None, pretrained=None, proxy=None,
        )
        for index, each in enumerate(baselines)
    )  # fmt: skip
    return Summary(
        sweep="s", state="finished", exit_code=0, profile="paper", experiment="e", folder=Path("s"),
        trials={"complete": 2}, studies=tuple(studies), cost={}, tags={}, remarks=(), notes=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("baselines", "columns"),
    [
        (({"majority": 0.875},), ["majority"]),
        (({"mean": 0.25, "identity": 0.75},), ["predict mean", "identity"]),
        (({"median": 0.5, "mean": 0.25},), ["predict mean", "predict median"]),
        (({"mean": 0.25}, {"majority": 0.875}), ["predict mean", "majority"]),
        (({"prior": 0.625},), ["prior"]),
        (({},), []),
    ],
)
def test_its_columns_are_those_of_the_studies(capsys, monkeypatch, baselines, columns):
    monkeypatch.setenv("COLUMNS", "160")
    show_summary(summary(*baselines))
    out = capsys.readouterr().out
    header = out.splitlines()[1]
    # Without any control it has no column.
    assert header.split("seeds")[1].split() == " ".join(columns).split()
    for each in baselines:
        for value in each.values():
            assert str(value) in out


def test_a_metric_that_is_maximised_has_columns_of_what_the_program_reports(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    found = summary({})
    (study,) = found.studies
    assert study.best is not None
    best = replace(study.best, validation=-0.875, test=None)
    study = replace(study, objective="val/neg_accuracy", best=best)
    show_summary(replace(found, studies=(study,)))
    header, row = capsys.readouterr().out.splitlines()[1:3]
    assert header.split()[-1] == "accuracy"  # no test value, no column of it
    assert row.split()[-1] == "0.875"
