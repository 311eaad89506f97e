"""The part of a page on what a sweep took: studies, slots, and what had been predicted."""

from collections.abc import Sequence
from typing import Any

from sweeper.analysis.comparison.entries import TunedStudy, cost_of
from sweeper.analysis.prose import listed
from sweeper.analysis.report.page import Markup, element, join, table
from sweeper.analysis.usage import Usage, compared

MIB = 2**20


def cost_section(tuned_studies: Sequence[TunedStudy], usage: Usage) -> Markup:
    """Says what each study took, how full the slots were, and what had been predicted."""
    costs = [cost_of(tuned) for tuned in tuned_studies]
    lines: list[list[Any]] = [
        [c.study, c.trials, c.epochs, c.searched, c.repeated, c.pruned, c.failed,
         c.epoch_seconds, c.peak_memory_bytes and round(c.peak_memory_bytes / MIB)]
        for c in costs
    ]  # fmt: skip
    by_device: dict[str, float] = {}
    for each in costs:
        by_device[each.device] = by_device.get(each.device, 0.0) + each.total
    told = [f"{_hours(seconds)} of {device.upper()}" for device, seconds in by_device.items()]
    trials, epochs = sum(c.trials for c in costs), sum(c.epochs for c in costs)
    header = ["study", "trials begun", "epochs", "search, s", "replicates, s", "of pruned, s",
              "of failed, s", "s an epoch", "peak MiB"]  # fmt: skip
    note = (
        "Seconds are device-seconds: of GPUs, or of CPU cores where a trial has none; evaluation, "
        "checkpoints and epochs that were run again are in them. Seconds an epoch: the median over "
        "trials, by the clock. Peak memory: of the GPU, else of the process."
    )
    return join(
        [
            element("h2", "Cost", id="cost"),
            element("p", f"{listed(told) or 'Nothing'} for {trials} trials and {epochs} epochs."),
            table(header, lines),
            element("p", note, class_="soft"),
            *_usage(usage),
        ]
    )


def _hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{seconds / 3600:.1f} hours"


def _usage(usage: Usage) -> list[Markup]:
    share = usage.utilisation
    full = "How full its slots were is not known: its start did not record them."
    if share is not None:
        full = f"Trials ran in {share:.0%} of the time of its slots.".replace("%", " %")
    if usage.taken_over:
        full += (
            f" {usage.taken_over} epochs of stages were taken over from trials that had computed "
            "the same; they count among those of studies, and took no time."
        )
    if usage.prediction is None:
        why = (
            "Nothing was predicted: the sweep was not calibrated where it was launched. "
            "`sweeper plan FILE --calibrate` measures what its epochs cost."
        )
        return [element("p", full), element("p", why, class_="soft")]
    lines = [
        [each.title, each.low, each.expected, each.high, each.actual, each.verdict]
        for each in compared(usage)
    ]
    note = (
        "Predicted when it was last started, from pilots of a few epochs: if nothing fails. Low is "
        "of the fastest epochs measured and few that go on, high of the slowest and many. Hours of "
        "trials are those of attempts, from their start in the ledger."
    )
    header = ["predicted", "low", "expected", "high", "actual", "which is"]
    return [element("p", full), table(header, lines), element("p", note, class_="soft")]
