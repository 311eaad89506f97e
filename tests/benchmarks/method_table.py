"""Every method on a few tasks at laptop size, with seeds: the table of trainables/LOG.md.

    python -m tests.benchmarks.method_table run FILE TASK…      appends a line a trial to FILE
    python -m tests.benchmarks.method_table print FILE          prints the table

Each arm is a method with its preset, on the same backbone, data and fine-tuning budget. Its rate is
the better of two on validation, with a seed that the table leaves out; the table is the test metric
over the other seeds. A run that is in FILE already is not repeated.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import torch
from scipy.stats import ttest_rel

from sweeper.planning.catalog import home
from trainables.methods.registry import METHODS
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.official import is_generated
from trainables.tasks.registry import TASKS

RATES = (3e-4, 1e-3)
TUNING_SEED, SEEDS = 0, (1, 2, 3)
EPOCHS = 8
LAST: Mapping[str, Any] = {  # of the stage that reports the objective, whatever the method
    "epochs": EPOCHS,
    "optimizer": "adamw",
    "weight_decay": 1e-5,
    "batch_size": 16,
    "accumulation": 1,
    "warmup_epochs": 1.0,
    "decay_epochs": float(EPOCHS),
    "clip_norm": 1.0,
}
EARLIER: Mapping[str, Mapping[str, Any]] = {  # of the others, cut down to the size
    "align": {"epochs": 20, "optimizer": "adamw", "lr": 3e-3, "source_per_class": 50},
    "warmup": {"optimizer": "adamw"},
    "meta": {"batch_size": 16, "classes": 4, "per_class": 2},
    "contrast": {"epochs": 4},
}
GENERATED: Mapping[str, Any] = {
    "samples": 260,
    "val_fraction": 0.15,
    "test_fraction": 0.2,
    "resolution": {"1d": 256, "2d": 32},
}
PUBLISHED: Mapping[str, Any] = {"samples": 350, "val_fraction": 0.25, "test_fraction": 0.4}
ARMS: Mapping[str, tuple[str, Mapping[str, Any], str]] = {  # method, settings, weights
    "nft": ("nft", {}, "pretrained"),
    "nft, quarter budget": ("nft", {"epochs": EPOCHS // 4, "decay_epochs": 2.0}, "pretrained"),
    "nft, random weights": ("nft", {}, "random"),
    **{name: (name, {}, "pretrained") for name in METHODS if name != "nft"},
}


def spec(arm: str, task: str, rate: float, seed: int) -> TrialSpec:
    """Return one trial of the table."""
    name, settings, weights = ARMS[arm]
    method, info = METHODS[name], TASKS[task]
    given: dict[str, dict[str, Any]] = {stage: {} for stage in method.stages}
    for key, value in {**method.preset, **method.published(info)}.items():
        stage, _, parameter = key.partition(".")
        given[stage][parameter] = value
    *earlier, last = method.stages
    for stage in earlier:
        small = {k: 0 for k in ("measure",) if k in method.stages[stage].model_fields}
        given[stage] |= {**EARLIER[stage], **small}
    given[last] |= {**LAST, **settings, "lr": rate}
    given[last].pop("momentum", None)
    if "explore_epochs" in method.stages[last].model_fields:
        given[last]["explore_epochs"] = 2
    backbone = {"1d": {"name": "minilm", "layers": 2, "tokens": 32},
                "2d": {"name": "dinov2_small", "layers": 2, "tokens": 36}}  # fmt: skip
    dense = info.kind == "dense"
    proxies = {
        "1d": "python_source",
        "2d": "digits_ink" if dense and last == "replace" else "digits",
    }
    return TrialSpec.model_validate(
        {
            "method": name,
            "task": task,
            "backbone": {**backbone[info.dimension], "weights": weights},
            "proxy": proxies[info.dimension] if method.needs_source else None,
            "data": GENERATED if is_generated(task) else PUBLISHED,
            "model": {"head": "linear"},
            "stages": given,
            "seed": seed,
            "home": home(),
        }
    )


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(file: Path, tasks: list[str]) -> None:
    torch.set_num_threads(1)
    parts = WarmParts()
    for task in tasks:
        for arm in ARMS:
            for rate in RATES:
                measure(file, parts, arm, task, rate, TUNING_SEED)
            for seed in SEEDS:
                measure(file, parts, arm, task, best_rate(file, arm, task), seed)


def measure(file: Path, parts: WarmParts, arm: str, task: str, rate: float, seed: int) -> None:
    key = {"arm": arm, "task": task, "rate": rate, "seed": seed}
    if any(key.items() <= row.items() for row in rows(file)):
        return
    start = process_time()
    training = Training.begin(spec(arm, task, rate, seed), parts)
    *_, last = training.reports()
    assert training.state.best is not None
    (test,) = (value for name, value in last.metrics.items() if name.startswith("test/"))
    baselines = dict(training.domains.target.baselines)
    row = key | {"val": training.state.best.value, "test": test, "baselines": baselines}
    with file.open("a") as out:
        out.write(json.dumps(row | {"seconds": process_time() - start}) + "\n")


def best_rate(file: Path, arm: str, task: str) -> float:
    tried = [r for r in rows(file) if (r["arm"], r["task"], r["seed"]) == (arm, task, TUNING_SEED)]
    return float(min(tried, key=lambda row: row["val"])["rate"])


def lines(file: Path) -> Iterator[str]:
    found = [row for row in rows(file) if row["seed"] in SEEDS]
    for task in dict.fromkeys(row["task"] for row in found):
        tests = {
            arm: {r["seed"]: r["test"] for r in found if (r["arm"], r["task"]) == (arm, task)}
            for arm in ARMS
        }
        baselines = next(row["baselines"] for row in found if row["task"] == task)
        yield f"\n{task}; baselines {baselines}\n"
        yield "| arm | rate | test, mean ± sd (each seed) | against nft: mean, t, p | s |"
        yield "|---|---|---|---|---|"
        base = tests["nft"]
        for arm, values in tests.items():
            if len(values) < len(SEEDS):
                continue
            mine = [values[s] for s in SEEDS]
            each = " ".join(f"{v:.4g}" for v in mine)
            against = "-"
            if arm != "nft":
                differences = [values[s] - base[s] for s in SEEDS]
                result = ttest_rel(mine, [base[s] for s in SEEDS])
                against = f"{mean(differences):+.4g}, {result.statistic:.1f}, {result.pvalue:.3f}"
            seconds = mean(r["seconds"] for r in found if (r["arm"], r["task"]) == (arm, task))
            rate = best_rate(file, arm, task)
            yield (
                f"| {arm} | {rate:g} | {mean(mine):.4g} ± {stdev(mine):.2g} ({each}) | {against} "
                f"| {seconds:.0f} |"
            )


if __name__ == "__main__":
    command, path, *names = sys.argv[1:]
    if command == "run":
        run(Path(path), names)
    elif command == "print":
        print("\n".join(lines(Path(path))))
    else:
        sys.exit(f"`run` or `print`, not `{command}`")
