"""The handles of sweeps and trials, on ledgers with known values."""

import inspect
import os
import re
import subprocess
import sys
from contextlib import closing
from functools import partial

import numpy as np
import pandas as pd
import pytest

import sweeper
from sweeper.api.sweeps import as_arguments
from sweeper.errors import FileFaults, NotFound, UsageError
from tests.support import compared_ledgers, ledgers
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"
BEST = (0.10, 0.11, 0.12, 0.13, 0.14, 0.15)
CONTROL = (0.50, 0.51, 0.52, 0.53, 0.54, 0.55)


def write_sweep(folder, name, methods):
    """Write a finished sweep of some methods, each with six replicates."""
    scores = [
        Scores(method=each, task=TASK, best=[v + 0.1 * i for v in BEST], control=CONTROL)
        for i, each in enumerate(methods)
    ]
    compared_ledgers.write(folder / "sweeps" / name, name, scores).close()


@pytest.fixture
def sweeps(here):
    """Two finished sweeps in the current folder: mona and orca, and pare."""
    write_sweep(here, "two", ("mona", "orca"))
    write_sweep(here, "one", ("pare",))
    return here / "sweeps"


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda params, trial: None, "a <lambda> has no name"),
        (partial(isinstance), "a partial has no name"),
        (max, "`max` must take two arguments"),
    ],
)
def test_a_function_to_tune_has_a_name_and_two_arguments(function, told):
    with pytest.raises(UsageError, match=told):
        sweeper.tune(function, {}, metric="loss")


def test_trials_are_those_of_the_export(sweeps, command):
    frame = sweeper.open("two").trials()
    (sweeps / "trials.csv").write_text(command("export", "two").out)
    exported = pd.read_csv(sweeps / "trials.csv")
    assert list(frame.columns) == list(exported.columns)
    assert len(frame) == 2 * (4 + 2 * len(BEST))
    for name in ("study", "trial", "kind", "state", "seed"):
        assert frame[name].tolist() == exported[name].tolist()
    for name in ("value", "test", "refine.lr"):  # before pandas 3 a reader rounds the last digit
        assert frame[name].tolist() == pytest.approx(exported[name].tolist(), nan_ok=True)


def test_frames_are_of_arrow_and_keep_missing_integers(sweeps):
    sweep = sweeper.open("one")
    for frame in (sweep.trials(), sweep.curves(), sweep.studies()):
        assert {type(dtype) for dtype in frame.dtypes} == {pd.ArrowDtype}
    origins = sweep.trials()["origin"]
    assert origins.isna().sum() == 4
    assert origins.dropna().tolist() == [2] * len(BEST) + [1] * len(CONTROL)


def test_curves_have_a_row_for_each_metric_of_each_epoch(sweeps):
    sweep = sweeper.open("two")
    curves = sweep.curves()
    assert list(curves.columns) == ["study", "trial", "stage", "epoch", "metric", "value"]
    # four epochs with two metrics, and the test value of the last
    assert len(curves) == len(sweep.trials()) * (4 * 2 + 1)
    mine = curves[(curves["trial"] == 2) & (curves["study"] == f"mona/{TASK}")]
    values = mine[mine["metric"] == "val/nrmse"].sort_values("epoch")["value"]
    assert values.tolist() == pytest.approx([0.25, 0.2, 0.15, 0.1])
    assert len(sweep.curves(f"orca/{TASK}")) == len(curves) // 2


def test_an_epoch_that_an_attempt_repeats_counts_once(here):
    folder = here / "sweeps" / ledgers.NAME
    folder.mkdir(parents=True)
    ledgers.finished_ledger(folder).close()
    sweep = sweeper.open(ledgers.NAME)
    curves = sweep.curves(f"nft/{TASK}")
    again = curves[(curves["trial"] == 2) & (curves["metric"] == "val/nrmse")]
    assert again["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert sweep.best(f"nft/{TASK}").checkpoint.endswith("nft/002")


def test_the_best_trial_is_that_of_the_command(sweeps, command):
    best = sweeper.open("two").best(f"orca/{TASK}")
    shown = command("status", "two", "--json").json["studies"][1]["best"]
    assert (best.number, best.value, best.epoch) == (shown["trial"], shown["value"], 4)
    assert best.params == shown["params"]
    assert best.test == {"test/nrmse": pytest.approx(0.2)}
    assert best.name == f"orca/{TASK}/2"
    assert best.checkpoint is None


def test_studies_have_the_values_of_the_comparison(sweeps):
    studies = sweeper.open("two").studies().set_index("method")
    methods = sweeper.compare(["two"]).methods()
    for _, row in methods[~methods["is_control"]].iterrows():
        assert studies.loc[row["method"], "test"] == row["test"]
        assert studies.loc[row["method"], "seeds"] == row["seeds"] == len(BEST)
        for column, floor in (("floor", 1.0), ("floor_predictor", "mean")):
            assert studies.loc[row["method"], column] == row[column] == floor


def test_one_study_needs_no_name_and_several_do(sweeps):
    assert sweeper.open("one").best().study == f"pare/{TASK}"
    assert sweeper.open("one").trial(3).number == 3
    with pytest.raises(NotFound, match=f"of which study.*mona/{TASK}, orca/{TASK}"):
        sweeper.open("two").best()


def test_unknown_names_are_not_found(sweeps):
    sweep = sweeper.open("two")
    with pytest.raises(NotFound, match="Did you mean `two`"):
        sweeper.open("tow")
    with pytest.raises(NotFound, match=f"Did you mean `mona/{TASK}`"):
        sweep.best("mona/pdebench/advection1d")
    for frame in (sweep.trials, sweep.curves):
        with pytest.raises(NotFound, match="unknown study"):
            frame("nft/none")
    with pytest.raises(NotFound, match="unknown trial"):
        sweep.trial(f"mona/{TASK}/77")


def test_a_study_without_a_complete_trial_has_no_best(here):
    folder = here / "sweeps" / ledgers.NAME
    folder.mkdir(parents=True)
    ledger = ledgers.new_ledger(folder)
    steps = ledgers.script(ledger, folder)
    for _ in range(4):
        next(steps)
    ledger.close()
    sweep = sweeper.open(ledgers.NAME)
    assert sweep.state == "crashed"  # `running` without a driver
    with pytest.raises(NotFound, match="is complete"):
        sweep.best(f"mona/{TASK}")
    assert "0 of 5 trials ended" in sweep._repr_html_()
    assert sweep.studies()["best"].isna().all()
    assert len(sweep.trials()) == 1


def test_trials_has_its_columns_before_the_first_trial(here):
    folder = here / "sweeps" / ledgers.NAME
    folder.mkdir(parents=True)
    with closing(ledgers.new_ledger(folder)) as ledger:
        next(ledgers.script(ledger, folder))
    frame = sweeper.open(ledgers.NAME).trials()
    assert frame[frame["state"] == "complete"].nsmallest(5, "value").empty
    assert frame[["trial", "kind", "test", "attempts", "seed", "reason"]].empty


@pytest.mark.slow
def test_a_handle_stays_with_its_sweep_when_the_folder_changes(sweeps, tmp_path, monkeypatch):
    sweep = sweeper.open(sweeps / "one")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert sweep.status().folder == sweeps / "one"
    assert sweep.report(tmp_path / "page.html") == tmp_path / "page.html"
    assert sweep.report() == sweeps / "one" / "report.html"
    assert len(sweep.trials()) == 4 + 2 * len(BEST)
    assert not sweep.stop().was_running
    assert not sweep.cancel().was_running
    assert sweep.wait(timeout_s=0)


def test_a_sweep_shows_itself(sweeps):
    sweep = sweeper.open("two")
    assert repr(sweep) == "<Sweep two: finished, 32 of 32 trials ended>"
    best = sweep.best(f"orca/{TASK}")._repr_html_()
    assert f"orca/{TASK}/" in best
    assert "refine.lr" in best
    assert "test/nrmse" in best
    html = sweep._repr_html_()
    assert "two: finished" in html
    assert html.count("<tr") == 1 + 2  # a head, and a row for each study
    assert f"orca/{TASK}" in html


@pytest.mark.slow
def test_a_comparison_is_the_record_of_the_page(sweeps, tmp_path):
    from sweeper.commands.results import compare
    from sweeper.render.page.report import render_comparison

    comparison = sweeper.compare(["two", "one"])
    theirs = compare(["two", "one"], html=tmp_path / "page.html").comparison
    assert vars(comparison) == vars(theirs)
    assert render_comparison(comparison) == (tmp_path / "page.html").read_text()
    html = comparison._repr_html_()
    assert comparison.answer in html.replace("&#39;", "'")
    rows = re.findall(r"<tr.*?</tr>", (tmp_path / "page.html").read_text(), re.DOTALL)
    assert rows[1] in html  # that of the first method, marked as the best
    assert sweeper.compare("two").sweeps == ("two",)


def test_names_in_html_are_text(here):
    scores = [Scores(method="<b>x</b>", task=TASK, best=[0.1])]
    compared_ledgers.write(here / "sweeps" / "evil", "evil", scores).close()
    sweep = sweeper.open("evil")
    for html in (sweep._repr_html_(), sweeper.compare(["evil"])._repr_html_()):
        assert "<b>" not in html
        assert "&lt;b&gt;x" in html


def test_settings_are_written_as_yaml_of_one_line(tmp_path):
    sets = {"refine.lr": 1e-5, "tasks": [TASK], "pruning.type": "none", "x": None, "y": True}
    from sweeper.spec.reader import parse_value

    for text, (key, value) in zip(as_arguments(sets), sets.items(), strict=True):
        name, _, written = text.partition("=")
        assert name == key
        read = parse_value(written, "--set")
        assert read.plain() == value
    assert as_arguments({"a": np.int64(3), "b": np.float32(0.5), "c": tmp_path}) == (
        "a=3", "b=0.5", f'c="{tmp_path}"'
    )  # fmt: skip
    for value in (object(), float("nan"), {1, 2}):
        with pytest.raises(UsageError, match="give numbers"):
            as_arguments({"a": value})
    assert as_arguments("a=1") == ("a=1",)
    assert as_arguments(["a=1", "b=2"]) == ("a=1", "b=2")


PLUGIN = """
from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

SHOWN = Method(name="shown", title="S", citation="", stages={"refine": RefineConfig}, control={})
METHODS = {"shown": SHOWN}
"""


@pytest.mark.slow  # it starts a process: a plugin stays on the import path
def test_a_plugin_is_known_from_its_use_on(tmp_path):
    (tmp_path / "shown.py").write_text(PLUGIN)
    code = (
        "import sweeper; from sweeper.planning.catalog import catalog; "
        "before = 'shown' in catalog().methods; sweeper.use_plugin('shown.py'); "
        "print(before, 'shown' in catalog().methods)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SWEEPER_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.stdout == "False True\n", done.stderr
    with pytest.raises(UsageError, match="no such file"):
        sweeper.use_plugin(tmp_path / "none.py")


EXAMPLES = (  # a docstring that has an example, and its lines
    sweeper.open, sweeper.Sweep, sweeper.Sweep.studies, sweeper.Sweep.trials, sweeper.Sweep.curves,
    sweeper.Sweep.best, sweeper.Sweep.trial, sweeper.Trial, sweeper.compare,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shown", EXAMPLES, ids=lambda each: each.__qualname__)
def test_examples_in_docstrings_run(shown, here):
    write_sweep(here, "mona_pdebench", ("mona", "orca"))
    write_sweep(here, "pare_pdebench", ("pare",))
    text = inspect.cleandoc(shown.__doc__)
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    before_args = text.partition("\nArgs:")[0].partition("\nIts attributes:")[0]
    example = "\n".join(line for line in lines if line in before_args)
    assert "sweep" in example or "best" in example
    names = {"sweeper": sweeper, "sweep": sweeper.open("mona_pdebench")}
    exec(example, names)


def test_a_faulty_file_is_refused_before_a_process_starts(here, monkeypatch):
    monkeypatch.setattr("sweeper.api.sweeps.run", None)
    (here / "bad.yaml").write_text("name: bad\nmethds: [mona]\n")
    with pytest.raises(FileFaults) as caught:
        sweeper.launch("bad.yaml")
    assert {fault.where for fault in caught.value.faults} == {"bad.yaml"}
    assert any(fault.line == 2 and "methods" in fault.message for fault in caught.value.faults)
    assert not (here / "sweeps").exists()
    with pytest.raises(UsageError, match="a job of a cluster has no handle"):
        sweeper.launch("bad.yaml", address="http://head:8265")
