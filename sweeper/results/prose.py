"""Sentences about a sweep, and the printed names of methods, metrics and distances."""

import math
import re
from collections.abc import Sequence

from sweeper.core.ranking import T, ranked
from sweeper.model import CONTROL_ARM, StudyFacts
from sweeper.results.basis import Basis
from sweeper.results.schema import OWN, StudyOutline
from sweeper.text import counted, readable, visible

METHODS = {  # names in the papers, including other methods in published tables
    "orca": "ORCA",
    "pare": "PaRe",
    "mona": "MoNA",
    "contrastive_pare": "Contrastive PaRe",
    "recraft": "RECRAFT",
    "l2g": "L2G",
    "nft": "NFT",
    "fpt": "FPT",
    "lora": "LoRA",
    "mixup": "mixup",
    "cutmix": "CutMix",
    "fno": "FNO",
    "unet": "U-Net",
    "perceiver_io": "Perceiver IO",
    "scratch": "From scratch",
    "hand-designed": "hand-designed",
    "nas-bench-360": "NAS-Bench-360",
    "dash": "DASH",
    "pinn": "PINN",
}
METRICS = {
    "nrmse": "nRMSE",
    "relative_l2": "relative L2",
    "rmse": "RMSE",
    "mae": "MAE",
    "one_minus_r2": "1 - R²",
    "mae8": "MAE8",
    "mae8_orca": "MAE8 by ORCA's code",
    "zero_one_error": "0-1 error",
    "one_minus_macro_f1": "1 - F1",
    "one_minus_macro_f1_by_1000": "1 - F1 by thousands",
    "one_minus_auroc": "1 - AUROC",
    "one_minus_auroc_by_1000": "1 - AUROC by thousands",
    "one_minus_map": "1 - mAP",
    "one_minus_pixel_auroc": "1 - AUROC of pixels",
    "one_minus_pixel_auroc_hard": "1 - AUROC of hard answers",
}

LONG = {"nrmse": "nRMSE is the normalised root mean square error."}  # for legends
DISTANCES = {  # last part of a metric's name -> printed name, the most usual first
    "otdd_exact": "OTDD",
    "otdd_gaussian": "OTDD of Gaussians",
    "mmd": "MMD",
    "euclidean": "Euclidean distance",
}


def listed(items: Sequence[str]) -> str:
    """Return items as a list in prose: a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


_PLUGINS: dict[str, str] = {}  # method of a plugin -> its printed name, by the ledgers read so far


def read_title(name: str, facts: StudyFacts) -> None:
    """Take the printed name of a plugin's method from the facts of a study."""
    if facts.method_title and name not in METHODS:
        # A ledger of others may hide control characters in a title, which terminals obey.
        _PLUGINS[name] = visible(facts.method_title)


def method(name: str) -> str:
    """Return the printed name of a method."""
    return METHODS.get(name) or _PLUGINS.get(name, name)


def with_arm(name: str, arm: str | None) -> str:
    """Return the printed name of a method, of its arm, or of its control."""
    if arm == CONTROL_ARM:
        return f"{method(name)}: control"
    return f"{method(name)} with {arm.replace(',', ', ')}" if arm else method(name)


def metric(name: str) -> str:
    """Return the printed name of a metric without its split: `val/nrmse` is nRMSE."""
    bare = name.rpartition("/")[2]
    if (larger := maximised(bare)) is not None:
        return f"-{metric(larger)}"
    return METRICS.get(bare, re.sub("_", " ", bare))


def maximised(name: str) -> str | None:
    """Return the metric of which another one is the negative: `accuracy` of `val/neg_accuracy`."""
    bare = name.rpartition("/")[2]
    return bare.removeprefix("neg_") if bare.startswith("neg_") else None


def as_reported(name: str, value: float) -> tuple[str, float]:
    """Return a metric and a value of it as a program reports them, if that is maximised."""
    if (larger := maximised(name)) is None:
        return name, value
    return f"{name.rpartition('/')[0]}/{larger}", 0.0 - value  # no -0


TINY = 0.005  # a ratio below which a share would round to 100 %
MAX_DIGITS = 15  # of a share just below 1
MANY = 2  # a ratio from which on it is told in times instead of percent


def percentage(share: float, digits: int = 3) -> str:
    """Return a share in percent with so many significant digits: `12.3 %`, `3590 %`.

    A share just below 1 has more digits, as rounded it would be all of it: `99.97 %`.
    """
    told = float(f"{100 * share:.{digits}g}")
    while abs(share) < 1 and abs(told) >= 100 and digits < MAX_DIGITS:
        digits += 1
        told = float(f"{100 * share:.{digits}g}")
    return f"{readable(told) if digits < 5 else f'{told:.{digits}g}'} %"


def times(ratio: float) -> str:
    """Return by how much a ratio exceeds 1: `77 %`, or from 2 on itself: `3.4 times`."""
    # Unrounded, a ratio of 1.996 would be told as 100 % beside one of 2.0 times.
    if round(ratio, 2) < MANY:
        return f"{ratio - 1:.0%}".replace("%", " %")
    return f"{ratio:,.{1 if ratio < 10 else 0}f} times"


def against(value: float, reference: float) -> str:
    """Return a value beside a reference: `57 % below`, `3.4 times that of`."""
    if not reference > 0:
        return f"{readable(value)} against"
    ratio = value / reference
    if abs(ratio - 1) < 0.005:
        return "level with"
    if round(ratio, 2) >= MANY:
        return f"{times(ratio)} that of"
    if round(100 * (1 - ratio)) == 100:  # all of it, in whole percents
        return f"{percentage(1 - ratio)} below"
    return f"{abs(ratio - 1):.0%} {'below' if ratio < 1 else 'above'}".replace("%", " %")


def data_of(facts: StudyFacts) -> str:
    """Return the source of a study's data: `official data`, or own data with their licence."""
    source = facts.data_source or "unknown"
    origin = ""
    if source == OWN:
        origin += "" if facts.origin is None else f" of {facts.origin}"
        origin += "" if facts.licence is None else f", licence: {facts.licence}"
    return f"{source} data{origin}{own_draws(facts)}"


def own_draws(facts: StudyFacts) -> str:
    """Return what is added to the source of data if each seed has its own draw, else ""."""
    if not facts.draws:
        return ""
    hashes = {draw.content_hash for draw in facts.draws.values()}
    basis = Basis.of(len(facts.draws), [hashes], [])
    return f", each seed with its own {'division of them' if basis.is_divided else 'draw'}"


FEW = 30  # validation samples
RAISE_SAMPLES = "Raise `data.samples` or `data.val_fraction`."
RAISE_SPLITS = "Give `splits.val` of its task file more samples."
REMEDIES = {"generated": RAISE_SAMPLES, OWN: RAISE_SPLITS}  # by the source of the data
SHARES = ("zero_one_error",)  # metrics that are a share of samples, with a binomial error


def few_samples(task: str, samples: int, remedy: str = "") -> str | None:
    """Return a note if there are too few validation samples, or None."""
    if samples >= FEW:
        return None
    return (
        f"{task}: {counted(samples, 'sample')} validate{'s' * (samples == 1)}, under {FEW}: each "
        f"weighs {1 / samples:.0%} of the value that settings are chosen by. {remedy}".rstrip()
    ).replace("%", " %")


def validation_notes(study: StudyOutline[T]) -> list[str]:
    """Return notes if a study's validation values cannot distinguish between its trials."""
    samples = study.facts.samples.get("val", 0)
    if samples <= 0:
        return []
    remedy = REMEDIES.get(str(study.facts.data_source), "")
    notes = [few_samples(study.study.task, samples, remedy)]
    if study.study.objective.removeprefix("val/") in SHARES:
        notes.append(_unresolved(study, samples))
    return [note for note in notes if note is not None]


def _unresolved(study: StudyOutline[T], samples: int) -> str | None:
    """Return a note if the best two trials differ by less than the standard error of one.

    The standard error of a share p of n samples is sqrt(p (1 - p) / n). The estimate of p is
    (k + 1) / (n + 2) for k errors, so that k = 0 does not give a standard error of 0.
    """
    values = sorted(t.value for t in ranked(study.trials) if t.value is not None)
    if len(values) < 2:
        return None
    best, second = values[:2]
    share = (best * samples + 1) / (samples + 2)
    error = math.sqrt(share * (1 - share) / samples)
    if second - best >= error:
        return None
    return (
        f"{study.study.name}: the best two trials differ by {second - best:.2g} in validation, and "
        f"the standard error of either is {error:.2g} on {samples} samples: chance may have chosen."
    )


def search_notes(study: StudyOutline[T]) -> list[str]:
    """Return what helped a study's search, and why it did not begin or ended early."""
    notes = []
    if study.not_begun is not None:
        notes.append(f"{study.study.name}: {study.not_begun}")
    if study.has_priors:
        notes.append(f"{study.study.name}: some trials are drawn around priors (`search.priors`)")
    if study.warm_start:
        notes.append(
            f"{study.study.name}: its search began with configurations of "
            f"{listed(study.warm_start)} (`search.warm_start`)"
        )
    if study.ended_early is not None:
        notes.append(f"{study.study.name}: its search ended early: {study.ended_early}")
    return notes
