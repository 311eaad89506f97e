"""What a launch shows: plain lines in a pipe, a table on a terminal, an honest ETA."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from sweeper.driver.hooks.progress import Progress
from sweeper.model import Study, Trial, TrialKind, TrialState
from sweeper.text import duration
from tests.support.trials import measured, sampled
from trainables.report import Measurement

MONA = Study(name="mona/t", method="mona", task="t", objective="val/nrmse", seed=0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def progress(*, terminal: bool = False) -> tuple[Progress, io.StringIO, Clock]:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, force_terminal=terminal, width=110, color_system=None)
    return Progress(console, lambda: 4, 2, {"mona/t": MONA}, clock=clock), text, clock


def trial(state: TrialState, number: int = 3, **changes: object) -> Trial:
    return sampled(**{"study": "mona/t", "state": state, "number": number, **changes})


def epoch(stage: str, objective: float | None) -> Measurement:
    metrics = {f"{stage}/inner_loss": 0.25, f"{stage}/outer_loss": 0.5}
    return measured(2, objective, stage=stage, num_epochs=5, metrics=metrics)


def test_a_pipe_gets_a_plain_line_for_each_start_epoch_and_end():
    shown, text, _ = progress()
    with shown:
        shown.changed(trial(TrialState.RUNNING))
        shown.changed(trial(TrialState.RUNNING), epoch("meta", None))
        shown.changed(trial(TrialState.RUNNING), epoch("refine", 0.51234))
        shown.changed(trial(TrialState.PRUNED, reason="worse than its peers"))
    assert text.getvalue().splitlines() == [
        "mona/t/3: running [0/4]",
        "mona/t/3: meta 2/5, meta/inner_loss 0.25",
        "mona/t/3: refine 2/5, val/nrmse 0.5123",
        "mona/t/3: pruned (worse than its peers) [1/4, about 1 s to go]",
    ]


def test_a_terminal_gets_a_table_with_every_column():
    shown, text, _ = progress(terminal=True)
    with shown:
        shown.changed(trial(TrialState.RUNNING), epoch("refine", 0.5))
        shown.changed(trial(TrialState.COMPLETE, number=1, value=0.25), epoch("refine", 0.3))
    screen = text.getvalue()
    words = "epoch, validation, study's best, refine 2/5, mona/t/3, 0.25, complete"
    assert all(word in screen for word in words.split(", "))


def test_a_studys_best_is_no_control_and_a_mean_once_it_has_replicates():
    shown, _, _ = progress()

    def ended(number: int, value: float, **changes: object) -> str:
        shown.changed(trial(TrialState.COMPLETE, number, value=value, **changes))
        return shown.best_of("mona/t")

    assert shown.best_of("mona/t") == ""
    assert ended(0, 0.6, kind=TrialKind.PRESET) == "0.6"
    assert ended(1, 0.1, kind=TrialKind.CONTROL) == "0.6"
    assert ended(2, 0.4) == "0.4"
    repeated = {"kind": TrialKind.REPLICATE, "origin": 2}
    assert ended(100_000, 0.5, **repeated) == "0.5 (1 seed)"
    assert ended(100_001, 0.7, **repeated) == "0.6 (2 seeds)"


def test_what_an_earlier_launch_found_is_still_the_best():
    earlier = trial(TrialState.COMPLETE, 2, value=0.2)
    shown = Progress(Console(file=io.StringIO()), lambda: 4, 2, {"mona/t": MONA}, known=[earlier])
    shown.changed(trial(TrialState.COMPLETE, 3, value=0.3))
    assert shown.best_of("mona/t") == "0.2"


def test_the_eta_is_the_mean_time_of_ended_trials_over_what_is_left():
    shown, _, clock = progress()
    assert shown.eta_s() is None
    shown.changed(trial(TrialState.RUNNING, number=0))
    clock.now = 10.0
    shown.changed(trial(TrialState.COMPLETE, number=0, value=1.0))
    shown.changed(trial(TrialState.RUNNING, number=1))
    clock.now = 14.0
    # 2 not yet started at 10 s each and 6 s of the running one, on 2 slots
    assert shown.eta_s() == pytest.approx((20.0 + 6.0) / 2)


def lines_of(shown: Progress, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=shown.console.height, color_system=None)
    console.print(shown.view())
    return out.getvalue().splitlines()


LONG = "contrastive_pare/pdebench/diffusion_reaction_2d@hard"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_keeps_state_trial_and_best_however_narrow_it_is(width):
    shown, _, _ = progress()
    shown.console = Console(file=io.StringIO(), width=width)
    shown.studies[LONG] = replace(MONA, name=LONG)
    best = trial(TrialState.COMPLETE, 1, study=LONG, value=0.00012345)
    shown.changed(best, epoch("contrast", 0.3))
    replicate = trial(TrialState.INTERRUPTED, 100_003, study=LONG, kind=TrialKind.REPLICATE)
    shown.changed(replicate, epoch("contrast", 0.25))
    shown.changed(trial(TrialState.RUNNING, 100_004, study=LONG, kind=TrialKind.REPLICATE))
    summary, head, *rows = lines_of(shown, width)
    assert all(len(line.rstrip()) <= width for line in (summary, head, *rows))
    assert ("validation" in head, "epoch" in head) == (width > 60, width > 60)
    assert ("kind" in head) == (width > 80)
    for row, end in zip(rows, ("/100004", "/100003", "/1"), strict=True):
        state, name, *_ = row.split("  ", 1)
        assert state.strip() in ("complete", "interrupted", "running")
        assert end in name
        assert row.rstrip().endswith("0.0001234")
    assert ("diffusion_reaction_2d@hard" in rows[0]) == (width > 80)


def test_one_line_sums_up_the_sweep_with_its_floor_and_a_bar():
    shown, _, clock = progress()
    shown.floors = {"t": "0.3 (ridge)"}
    shown.changed(trial(TrialState.RUNNING, 0))
    clock.now = 65.0
    shown.changed(trial(TrialState.COMPLETE, 0, value=0.25))
    told = "1 of 4 trials ended, about 1 min 38 s to go, 1 min 05 s elapsed, best 0.25"
    summary, *_ = lines_of(shown, 110)
    assert summary.startswith(f"{told}, floor 0.3 (ridge)  ━━━")
    shown.console = Console(file=io.StringIO(), width=80)
    assert lines_of(shown, 80)[0].rstrip() == told, "what does not fit is left out"


def test_each_task_of_several_has_its_floor_in_the_table():
    shown, _, _ = progress()
    shown.studies["mona/u"] = replace(MONA, name="mona/u", task="u")
    shown.floors = {"t": "0.3 (ridge)", "u": "0.1 (knn)"}
    shown.changed(trial(TrialState.RUNNING))
    shown.changed(trial(TrialState.RUNNING, study="mona/u"))
    summary, head, *rows = lines_of(shown, 110)
    assert "floor" not in summary
    assert head.rstrip().endswith("floor")
    assert [row.rstrip()[-11:].strip() for row in rows] == ["0.3 (ridge)", "0.1 (knn)"]


@pytest.mark.parametrize(("running", "hidden"), [(3, 0), (20, 0), (40, 20)])
def test_running_trials_come_first_and_nothing_scrolls_away(running, hidden):
    shown, _, _ = progress()
    for number in range(50, 58):
        shown.changed(trial(TrialState.COMPLETE, number, value=0.5))
    for number in range(running):
        shown.changed(trial(TrialState.RUNNING, number, kind=TrialKind.CONTROL))
    shown.console = Console(file=io.StringIO(), width=110, height=24)
    lines = lines_of(shown, 110)
    assert len(lines) < 24
    assert re.search(r"mona/t/0 +control", lines[2])
    assert running >= 20 or re.search(r"mona/t/57 +sampled", lines[2 + running])
    assert (lines[-1].rstrip() == f"… and {hidden} more running") == bool(hidden)


def test_a_running_trial_that_takes_long_never_has_no_time_left():
    """It goes on at the pace of its epochs; before its first, for as long as others took."""
    shown, _, clock = progress()
    shown.changed(trial(TrialState.RUNNING, number=0))
    clock.now = 10.0
    shown.changed(trial(TrialState.PRUNED, number=0))
    shown.done = shown.planned - 1
    shown.changed(trial(TrialState.RUNNING, number=1))
    clock.now = 60.0
    assert shown.eta_s() == 10.0
    shown.changed(trial(TrialState.RUNNING, number=1), epoch("refine", 0.5))
    assert shown.eta_s() == pytest.approx(50 / 2 * 3)
    last = measured(5, num_epochs=5, is_final=True)
    shown.changed(trial(TrialState.RUNNING, number=1), last)
    assert shown.summary()[0] == "3 of 4 trials ended, about 1 s to go"
    shown.changed(trial(TrialState.COMPLETE, number=1, value=0.5))
    assert shown.summary()[0] == "4 of 4 trials ended"


def test_once_no_trial_starts_only_running_ones_have_time_left():
    shown, text, clock = progress()
    for number in range(3):
        shown.changed(trial(TrialState.RUNNING, number))
    clock.now = 10.0
    shown.changed(trial(TrialState.COMPLETE, 0))
    shown.changed(trial(TrialState.RUNNING, 1))  # it is tried again
    shown.is_ending = lambda: True  # after `stop`
    clock.now = 14.0
    assert shown.summary()[0] == "1 of 4 trials ended, about 10 s to go"
    shown.changed(trial(TrialState.COMPLETE, 2))
    shown.changed(trial(TrialState.INTERRUPTED, 1, reason="stopped by a signal"))  # after `cancel`
    assert text.getvalue().splitlines()[-1] == ("mona/t/1: interrupted (stopped by a signal) [2/4]")
    assert shown.summary()[0] == "2 of 4 trials ended"


def test_a_search_whose_budget_is_spent_has_fewer_trials_from_then_on():
    shown, text, _ = progress()
    shown.changed(trial(TrialState.RUNNING))
    shown.count_planned = lambda: 1
    shown.changed(trial(TrialState.COMPLETE, value=0.5))
    assert text.getvalue().splitlines()[-1] == "mona/t/3: complete, best val/nrmse 0.5 [1/1]"


def test_lines_have_a_metric_that_is_maximised_as_the_program_reports_it():
    shown, text, _ = progress()
    shown.studies = {"mona/t": replace(MONA, objective="val/neg_accuracy")}
    shown.changed(trial(TrialState.RUNNING), epoch("run", -0.75))
    shown.changed(trial(TrialState.COMPLETE, value=-0.75))
    first, last = text.getvalue().splitlines()
    assert first.endswith("run 2/5, val/accuracy 0.75")
    assert "complete, best val/accuracy 0.75 [" in last


def test_a_paused_trial_has_ended_for_now_and_counts_once():
    shown, text, clock = progress()
    for start, end, state in (0.0, 4.0, TrialState.PAUSED), (10.0, 16.0, TrialState.COMPLETE):
        clock.now = start
        shown.changed(trial(TrialState.RUNNING))
        assert shown.done == 0
        clock.now = end
        shown.changed(trial(state, value=0.5, reason="not promoted from refine epoch 1"))
        assert shown.done == 1
    assert shown.eta_s() == pytest.approx(3 * (4 + 6) / 2)  # two slots, three more trials
    assert "mona/t/3: paused (not promoted from refine epoch 1) [1/4, " in text.getvalue()


def test_a_trial_that_an_earlier_launch_paused_is_not_counted_twice():
    shown = replace(progress()[0], done=1, known=[trial(TrialState.PAUSED)])
    shown.changed(trial(TrialState.RUNNING))
    assert shown.done == 0
    shown.changed(trial(TrialState.COMPLETE, value=0.5))
    assert shown.done == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (65, "1 min 05 s"), (3725, "1 h 02 min")]
)
def test_durations_read_as_people_write_them(seconds, text):
    assert duration(seconds) == text


def test_a_reason_is_one_line_that_no_terminal_obeys_and_that_shows_no_password():
    shown, text, _ = progress()
    with shown:
        reason = "boom\n[red]\x1b[31m\rhttp://me:secret@host \u202e"
        shown.changed(trial(TrialState.FAILED, reason=reason))
    (line,) = text.getvalue().splitlines()
    assert r"failed (boom\n[red]\x1b[31m\rhttp://***@host \u202e) [1/4" in line
