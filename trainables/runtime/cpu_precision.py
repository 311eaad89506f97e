"""The choice of bfloat16 on a CPU, by a pilot: the same first epochs in both precisions.

Some processors multiply matrices in bfloat16 several times as fast as in float32 (AVX512-BF16,
AMX). How much of it a whole step keeps depends on the body, and on the products it would have.
"""

import time

import torch

from trainables.errors import TrainableError
from trainables.models.products import MIN_GAIN, MIN_WIDTH
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec, leaves

EPOCHS = 2  # of the pilot, in each precision
MAX_DIFFERENCE = 0.05  # of the training losses, relative: bf16 rounds to three digits
FEATURES = ("avx512_bf16", "amx_bf16")
Choice = tuple[str | None, float | None]


class Precisions:
    """Choices of the precision on this CPU, one for all trials on a task that leave it open."""

    def __init__(self) -> None:
        self._found: dict[str, Choice] = {}

    def of(self, spec: TrialSpec, parts: WarmParts, stage: str) -> Choice:
        """Return `bf16` if it pays on this CPU and trains alike, else None; and its gain.

        Args:
            spec: A trial with the products that it would have in float32.
            parts: Parts of this process.
            stage: The stage of supervised training whose epochs are compared.

        Returns:
            The precision, and how many times as fast bf16 was; None if it was not measured.
        """
        if spec.backbone is None or not leaves(spec.model.model_dump(), "precision"):
            return None, None
        width = parts.backbone(spec.backbone, spec.home).geometry.feature_width
        # Of narrow bodies nothing is measured, so that the same machine chooses alike.
        if width < MIN_WIDTH or not has_bf16():
            return None, None
        if spec.task not in self._found:
            self._found[spec.task] = _choice(spec, parts, stage)
        return self._found[spec.task]


def _choice(spec: TrialSpec, parts: WarmParts, stage: str) -> Choice:
    try:
        (seconds, losses), (shorter, others) = (
            first_epochs(spec.with_model(precision=each), parts, stage) for each in ("fp32", "bf16")
        )
    except (TrainableError, KeyError):  # it diverges, or a plugin's stage reports no loss
        return None, None
    gain, pairs = seconds / shorter, zip(losses, others, strict=True)
    are_near = all(abs(a - b) <= MAX_DIFFERENCE * abs(a) for a, b in pairs)
    return ("bf16" if gain >= MIN_GAIN and are_near else None), gain


def has_bf16() -> bool:
    """Return whether this processor multiplies matrices in bfloat16."""
    known = getattr(torch.cpu, "get_capabilities", None)  # earlier versions of torch do not say
    return known is not None and any(known().get(name) for name in FEATURES)


def first_epochs(spec: TrialSpec, parts: WarmParts, stage: str) -> tuple[float, list[float]]:
    """Return the shortest time of a core for an epoch of `stage`, and their training losses."""
    threads, times, losses = torch.get_num_threads(), [], []
    torch.set_num_threads(1)  # as of a worker with one core
    try:
        # The time of this thread alone counts: other processes may use the cores meanwhile.
        began = time.thread_time()
        for report in Training.begin(spec, parts).reports():
            now = time.thread_time()
            if report.stage == stage:
                times.append(now - began)
                losses.append(report.metrics[f"{stage}/train_loss"])
                if report.epoch == min(EPOCHS, report.num_epochs):
                    break
            began = now
    finally:
        torch.set_num_threads(threads)
    return min(times), losses
