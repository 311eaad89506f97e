"""Everything that only a GPU can show, with one command: `pytest -n 0 -m external tests/gpu`.

Faults fail. Speeds are printed in a table beside the aim, and fail nothing.
"""

from dataclasses import replace

import pytest
import torch

from tests.gpu import measures
from tests.gpu.measures import Load
from tests.support.settings import of_each_stage
from tests.support.tiny_trials import DIMENSIONS
from trainables.methods.registry import METHODS

pytestmark = [
    pytest.mark.external,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch finds none here"),
]

BF16, TF32 = (("precision", "bf16"),), (("precision", "tf32"),)
LARGE = Load(batch=64, tokens=512, settings=BF16, steps=20)
PUBLISHED = Load(batch=4, tokens=256, settings=TF32, steps=200)  # the recipe of PDEBench's tasks
LOADS = {
    "B 64, bf16": (LARGE, "45 %"),
    "B 4, tf32": (PUBLISHED, "-"),
    "B 4, bf16": (replace(PUBLISHED, settings=BF16), "-"),
    "B 4, bf16, graphs": (replace(PUBLISHED, settings=(*BF16, ("compile", "graphs"))), "25 %"),
}
REUSED, SETTLED = 20, 3  # trials in one process; after so many, its memory may grow no more


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_as_on_the_cpu(trials, method, dimension, precision):
    spec = trials.spec(method, dimension, of_each_stage(method, k0=0.5))
    model = spec.model.model_copy(update={"precision": precision})
    ours, _ = trials.run(spec.model_copy(update={"model": model}))
    theirs, _ = replace(trials, device="cpu").run(spec)
    assert ours[-1].is_final
    if precision == "fp32":
        name = next(name for name in ours[-1].metrics if name.startswith("test/"))
        assert ours[-1].metrics[name] == pytest.approx(theirs[-1].metrics[name], rel=0.05)


@pytest.mark.parametrize("name", LOADS)
def test_how_much_of_the_card_refine_uses(roberta_base, row, name):
    load, aim = LOADS[name]
    device = torch.device("cuda")
    seconds = measures.seconds_of_a_step(roberta_base, load, device)
    flops = measures.flops_of_a_step(roberta_base, replace(load, settings=()), device)
    peak = measures.peak_flops(torch.cuda.get_device_name())
    rate = flops / seconds
    share = f"{rate / peak:.1%} of the peak in bf16" if peak else "peak not known"
    value = f"{1000 * seconds:.1f} ms, {rate / 1e12:.0f} TFLOP/s, {share}"
    row(f"refine, {name}", value, f"aim {aim}")


@pytest.mark.parametrize("name", ["B 64, bf16", "B 4, tf32"])
def test_a_step_against_a_plain_loop(roberta_base, row, name):
    load, device = LOADS[name][0], torch.device("cuda")
    pairs = [
        (measures.seconds_of_a_step(roberta_base, load, device),
         measures.seconds_of_a_plain_step(roberta_base, load, device))
        for _ in range(3)
    ]  # fmt: skip
    ours, plain = (min(times) for times in zip(*pairs, strict=True))
    row(f"steps a second against plain PyTorch, {name}", f"{plain / ours:.3f}x", "aim 0.95x")


def test_trials_side_by_side_on_one_card(roberta_base, row):
    alone = None
    for count in (1, 2, 4, 8):
        rate = measures.steps_a_second_together(roberta_base, PUBLISHED, 1 / count, count)
        alone = alone or rate
        row(f"{count} trials on the card, B 4, tf32", f"{rate:.1f} steps/s in all",
            f"{rate / alone:.2f}x of one")  # fmt: skip


def test_a_process_that_runs_many_trials_does_not_grow(trials, tmp_path, row):
    held = measures.reserved_after_each(trials, tmp_path, 1.0, REUSED)
    row(f"memory held after trial {SETTLED} and {REUSED}",
        f"{held[SETTLED] / 2**20:.0f} and {held[-1] / 2**20:.0f} MiB", "flat")  # fmt: skip
    assert max(held[SETTLED:]) <= 1.01 * held[SETTLED] + 2**20


def test_a_trial_on_a_full_card_fails_for_want_of_memory_and_the_next_one_trains(trials, tmp_path):
    assert measures.failure_without_memory(trials, tmp_path / "full") == "cuda_oom"
    torch.cuda.empty_cache()
    measures.reserved_after_each(trials, tmp_path / "next", 1.0, 1)
