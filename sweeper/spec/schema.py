"""The keys of a sweep file: types, ranges, defaults and meanings.

`rules/file.py` checks the names of methods, tasks and backbones; `distributions.py` reads
parameters. `${env:NAME}` refers to a secret. It is stored and logged in this form, and expanded
only at the place of use.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from sweeper.errors import UsageError
from sweeper.text import holds_secret
from trainables.seeding import derive_seed
from trainables.spec import MAX_STEPS, DataSpec, ProgramSpec

PROFILES = re.compile(r"""(^|[{,\s])["']?profiles["']?\s*:""")  # in a sweep file
MAX_NAME = 63  # characters of a sweep's name
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
TRIALS = r"\.(csv|(db|sqlite3?)(#.+)?)$"  # files with trials of other programs
WARM_START = rf"({NAME}|{TRIALS})"
EXPERIMENT = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
OWN_TASK = r"^[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}$"  # name in a task file
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"  # name of an environment variable
FUNCTION = r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:)?[A-Za-z_]\w*$"  # of a program; passed without `:`
METRIC = r"^[A-Za-z0-9_.-]+$"
WORD = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
RULES = {
    NAME: "must be 1 to 63 of a-z, 0-9, - and _, and start with a letter or digit",
    WARM_START: "must be the name of a sweep, a .csv file, or a database of Optuna (.db, .sqlite)",
    EXPERIMENT: "must be 1 to 63 letters, digits, - and _, and start with a letter or digit",
    OWN_TASK: "must be BENCHMARK/NAME, such as mine/wafer, each of a-z, 0-9, - and _",
    VARIABLE: "must be the name of an environment variable: letters, digits and _, no value",
    FUNCTION: "must be MODULE:NAME, such as mine:train",
    METRIC: "must be letters, digits, _ . and -",
    WORD: "must be 1 to 63 letters, digits, _ . and -, and start with a letter or digit",
}

TEST = "test"  # the quantity of a claim: the metric of the task
MIN_LOOK = 6  # seeds: of fewer a sign-flip test rejects nothing at 0.05
REQUIRED = ("name", "methods", "tasks")
ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
STORES = ("s3", "gs", "file")
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")

SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
BYTES = {f"{p}{u}": b**i for u, b in (("iB", 1024), ("B", 1000)) for i, p in enumerate("KMGT", 1)}
BYTES["B"] = 1
DURATION = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
SIZE = r"^[0-9]+(\.[0-9]+)?(KiB|MiB|GiB|TiB|KB|MB|GB|TB|B)$"


def named_profile(text: str, profile: str) -> str:
    """Return the profile that a sweep file was read with, or "" if the file has no profiles."""
    return profile if PROFILES.search(text) else ""


def seconds(value: Any) -> float:
    """Return the seconds of a duration such as `1h30m`.

    Raises:
        ValueError: The value has no unit, is not a duration, is zero or is over a year.
    """
    if isinstance(value, str) and value and len(value) < 40 and re.fullmatch(DURATION, value):
        parts = re.findall(r"([0-9]+)([dhms])", value)
        total = float(sum(int(number) * SECONDS[unit] for number, unit in parts))
        if 0 < total <= 366 * 86_400:
            return total
        raise ValueError("must be over zero, and a year at most")
    raise ValueError("must be a duration with its unit, such as 45s, 90m, 1h30m or 2d")


def num_bytes(value: Any) -> int:
    """Return the bytes of a size such as `10GiB`.

    Raises:
        ValueError: The value has no unit, is not a size, is under 1 MB or is over 2^60 bytes.
    """
    if isinstance(value, str) and len(value) < 40 and re.fullmatch(SIZE, value):
        number = value.rstrip("KMGTiB")
        total = int(float(number) * BYTES[value.removeprefix(number)])
        if 1_000_000 <= total <= 2**60:
            return total
        raise ValueError("must be 1MB or more, and 2^60 bytes at most")
    raise ValueError("must be a size with its unit, such as 500MB or 10GiB")


Duration = Annotated[
    float,  # seconds
    BeforeValidator(seconds),
    # The resolved form is read again, and takes a duration with its unit alone.
    PlainSerializer(lambda value: f"{value:.0f}s", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION}),
]
Size = Annotated[
    int,  # bytes
    BeforeValidator(num_bytes),
    PlainSerializer(lambda value: f"{value}B", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SIZE}),
]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with each `${env:NAME}` replaced by its value. Never log the result.

    Raises:
        UsageError: A variable is not set.
    """
    missing = [name for name in ENV.findall(text) if name not in environment]
    if missing:
        raise UsageError(f"the environment variable {missing[0]} is not set, but {text} needs it.")
    return ENV.sub(lambda match: environment[match.group(1)], text)


def whole_or_shared(gpu: float) -> float:
    """Return a valid number of GPUs: a share of one GPU, or a whole number.

    Raises:
        ValueError: The number is a fraction over 1.
    """
    if gpu > 1 and gpu != int(gpu):
        raise ValueError("must be 1 or less, or a whole number")
    return gpu


def tracking_uri(uri: str) -> str:
    """Return the valid address of an MLflow server or database.

    Raises:
        ValueError: The address has no known scheme, or contains a password.
    """
    if holds_secret(ENV.sub("", uri)):
        raise ValueError("must hold no password; put it in MLFLOW_TRACKING_PASSWORD")
    if "$" in ENV.sub("", uri):
        raise ValueError("must name environment variables as ${env:NAME}")
    return uri if ENV.match(uri) else known_scheme(uri)


def known_scheme(uri: str) -> str:
    """Return the address of an MLflow server or database.

    Raises:
        ValueError: The scheme is missing or unknown. `file:` is refused, too, since it gives
            access to any folder.
    """
    if uri.partition(":")[0].partition("+")[0].lower() not in SCHEMES:
        raise ValueError(f"must start with one of {', '.join(s + ':' for s in SCHEMES)}")
    return uri


def store_url(url: str) -> str:
    """Return a valid address for checkpoints or stage results.

    Raises:
        ValueError: The address has an unknown scheme, is relative, or contains keys.
    """
    if holds_secret(url) or "@" in url:
        raise ValueError("must hold no keys; put them in AWS_ACCESS_KEY_ID and its like")
    scheme, has_scheme, rest = url.partition("://")
    if has_scheme and scheme not in STORES:
        raise ValueError(
            f"must start with one of {', '.join(f'{s}://' for s in STORES)} or be a folder"
        )
    if not has_scheme and not url.startswith("/"):
        raise ValueError("must be absolute, since it means the same on every node")
    if ".." in (rest or url).partition("?")[0].split("/"):
        raise ValueError("must not contain `..`")
    return url


class Section(BaseModel):
    """Base class of sections: frozen and strict, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


PROMOTE = "promote"  # the type of `pruning` under which trials pause
REPLACED = {  # former samplers and types of `pruning`
    "sampler": {"bohb": "random"},
    "pruner": dict.fromkeys(("hyperband", "pasha", "curves"), PROMOTE),
}


class Search(Section):
    """The sampler and the number of trials."""

    sampler: str = Field(
        "tpe",
        description="tpe: tree-structured Parzen estimator. cqr: conformal quantile regression. "
        "gp: Gaussian process. cmaes: evolution strategy, of numbers. nsga2: genetic algorithm. "
        "qmc: Sobol points. random: independent draws. grid: every combination of choices and "
        "steps. auto: gp or tpe, as suits the study.",
    )
    trials: int = Field(
        32, ge=1, le=100_000, description="Trials of each study, with preset and control."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the sampler and of every trial.")
    max_concurrent: int | None = Field(
        None, ge=1, le=10_000, description="Concurrent trials; null: as many as fit on the cluster."
    )
    startup_trials: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Random trials of each study before the sampler learns; nsga2: the size of a "
        "population.",
    )
    deterministic: bool | Annotated[int, Field(ge=1, le=10_000)] = Field(
        False,
        description="The order of ends decides nothing: the file has the same trials with any "
        "number of slots, and after any kill. A number bounds the trials of a study that run at "
        "once, and is part of the search; true: 8.",
    )
    priors: bool = Field(
        False,
        description="Draw some trials around the `prior` of each parameter, or else around the "
        "method's preset, and some around the best trial so far (with several objectives, the "
        "latest of the front); fewer as trials end.",
    )
    warm_start: (
        list[Annotated[str, Field(pattern=WARM_START, max_length=2048)]]
        | dict[str, dict[str, list[dict[str, Any]]]]
    ) = Field(
        [],
        max_length=100,
        description="Finished sweeps, in whose place are then their best configurations by "
        "METHOD/TASK: up to 3 of the same method and benchmark are the first sampled trials of "
        "each study, and some later ones are drawn around them. Or trials of another program: a "
        "CSV file (old.csv), or a database of Optuna (old.db, or old.db#STUDY), beside this file.",
    )
    objectives: list[str] = Field(
        [],
        max_length=5,
        description="Quantities to minimise, the validation metric of the tasks first: val (or its "
        "name, such as val/nrmse), val/loss, seconds, device_seconds, peak_memory, parameters, "
        "epochs. Several need `pruning: {type: none}`. Empty: the validation metric alone.",
    )
    constraints: dict[str, str] = Field(
        {},
        max_length=10,
        description='Bounds on the same quantities, such as `peak_memory: "<= 12GiB"`. A trial '
        "that breaks one is never the best.",
    )

    @property
    def turns(self) -> int | None:
        """The virtual slots of a deterministic search, or None."""
        return (8 if self.deterministic is True else self.deterministic) or None


class StageSearch(Section):
    """The number of configurations of a stage. Trials with the same one share its result."""

    distinct: Annotated[int, Field(ge=1, le=10_000)] | Literal["all"] = Field(
        "all",
        description="Configurations, each combined with draws of the later stages; all: each trial "
        "has its own.",
    )


class Pruning(Section):
    """The rule that ends or pauses a worse trial, in the stage that reports the objective."""

    type: str = Field(
        "asha",
        description="asha: successive halving. promote: the same, but trials pause and the best go "
        "on. median: worse than the median so far. none: nothing ends.",
    )
    min_epochs: int = Field(
        3, ge=1, le=10_000, description="Epochs before any trial is pruned or paused."
    )
    eta: int = Field(
        3, ge=2, le=100, description="Of all but median: one trial in eta continues at each rung."
    )


class Replicate(Section):
    """Repeats of a study's best configurations and its control on other seeds, after the search."""

    top: int = Field(1, ge=1, le=1000, description="Configurations of each study, the best first.")
    seeds: int = Field(
        6,
        ge=1,
        le=1000,
        description="Seeds, the same for every method; 6 or more can be significant.",
    )
    skip: int = Field(0, ge=0, le=1000, description="Seeds to leave out at the beginning.")
    until: Literal["decided"] | None = Field(
        None,
        description="decided: of an ablation with a question. In place of `seeds`, arms get more "
        "until a group-sequential test has decided their claims, or would hardly do so.",
    )
    most: int = Field(24, ge=8, le=24, description="Of `until: decided`: the most seeds of an arm.")

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds after which claims are tested; the last is the most."""
        if self.until is None:
            return (self.seeds,)
        steps = (math.ceil(self.most * share / 6) for share in (2, 3, 4, 6))
        return tuple(step for step in steps if step >= MIN_LOOK)

    def seeds_on(self, task: str, search_seed: int) -> tuple[int, ...]:
        """Return all seeds in their order, the same for every method and arm on a task."""
        numbers = range(self.skip, self.skip + self.looks[-1])
        return tuple(derive_seed(search_seed, task, "replicate", k) for k in numbers)


class Resources(Section):
    """The resources of one trial. A trial that no node can hold is refused at the start."""

    cpu: float = Field(1, gt=0, le=1024, description="CPU cores.")
    gpu: Annotated[float, AfterValidator(whole_or_shared)] = Field(
        0,
        ge=0,
        le=64,
        description="GPUs: 0.5 shares one between two trials; 2 or more of a node train one trial "
        "together, each in a process of its own.",
    )
    processes: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Processes that train one trial together, each on its part of every batch; "
        "null: one for each whole GPU, else one. More are for CPUs, and divide `cpu`.",
    )
    mps: bool = Field(
        False,
        description="Trials that share a GPU use it at once: NVIDIA's MPS is started on this "
        "machine while the sweep runs, unless it runs already. Without it they take turns.",
    )
    dashboard: bool = Field(
        True,
        description="Start Ray with its dashboard. Without it an idle Ray takes half as many "
        "core-seconds. It may change when the sweep goes on.",
    )
    memory: Size | None = Field(
        None,
        description="Main memory, such as 4GiB; null: not limited. With a GPU, CUDA may take 3 GiB "
        "more in each process.",
    )
    env: list[Annotated[str, Field(pattern=VARIABLE, max_length=200)]] = Field(
        [],
        max_length=100,
        description="Names of further environment variables that trials on this machine inherit; "
        "nodes of a cluster have their own.",
    )

    @property
    def num_processes(self) -> int:
        """The number of processes that train a trial."""
        return self.processes or max(1, int(self.gpu))


class Budget(Section):
    """Limits at which the sweep, or the search of a study, ends early.

    Running trials finish. Where trials pause, they pause at their next rungs. A limit of studies
    holds for each of them, so that compared methods have equal budgets. It counts the preset and
    sampled trials; control and replicates run, too.
    """

    wall: Duration | None = Field(
        None,
        description="Time for which the sweep runs, over all launches, such as 12h; then no new "
        "trial starts.",
    )
    device_hours: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="Hours of GPUs, or else of CPU cores, of each study; then its search ends.",
    )
    epochs: int | None = Field(
        None, ge=1, le=10**9, description="Epochs of each study; then its search ends."
    )
    no_improvement: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="The search of a study ends once so many ended trials in a row, pruned ones "
        "and infeasible ones included, have not improved its best; not where trials pause.",
    )


class Checkpoints(Section):
    """The checkpoints of running trials, and those that stay after the end of a trial."""

    every: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Epochs between two checkpoints: an interrupted trial computes at most so many "
        "again. The last epoch of a stage and those after which a trial may be pruned have one, "
        "too. No result depends on it.",
    )
    best: int = Field(1, ge=0, le=1, description="1: keep the weights of the best epoch.")
    last: int = Field(1, ge=0, le=1, description="1: keep the last state with the optimiser.")
    pruned: bool = Field(True, description="Keep the checkpoints of pruned trials, too.")
    trials: int | None = Field(
        None, ge=1, description="Only this many best trials of each study keep theirs; null: all."
    )
    max_bytes: Size | None = Field(
        None,
        description="Limit on their total size, such as 20GiB. Beyond it those of the worst trials "
        "are deleted, but not those of best or replicated trials; null: not limited.",
    )
    store: Annotated[str, AfterValidator(store_url)] | None = Field(
        None,
        max_length=2048,
        description="Their place, such as s3://bucket/folder, or a folder that all nodes share; "
        "null: the sweep's own folder. Keys of a bucket come from the environment.",
    )


class StageStoreSection(Section):
    """The store of stage results, which trials with equal settings and seed share."""

    use: bool = Field(
        True, description="false: trials share no results, even with `distinct` in `stages`."
    )
    place: Annotated[str, AfterValidator(store_url)] | None = Field(
        None,
        max_length=2048,
        description="Its place, such as s3://bucket/folder, or a folder that all nodes share; "
        "null: the stage cache in SWEEPER_HOME.",
    )
    max_bytes: Size | None = Field(
        "20GiB",
        validate_default=True,
        description="Limit on its size, such as 20GiB. Beyond it the least recently used results "
        "are deleted; null: not limited.",
    )


OnMemory = Literal["halve_batch", "retry", "fail"]
OnOther = Literal["retry", "fail"]


class Actions(Section):
    """The action after a failed attempt.

    retry: try again from the last checkpoint. halve_batch: the same with half the micro-batch size
    and an unchanged number of samples in each step. fail: end the trial.
    """

    cuda_oom: OnMemory = Field(
        "halve_batch",
        description="A GPU ran out of memory. If it is shared, a trial that cannot halve is tried "
        "again.",
    )
    host_oom: OnMemory = Field("halve_batch", description="A node ran out of memory.")
    non_finite: OnOther = Field("fail", description="A loss became NaN or infinite.")
    timeout: OnOther = Field("retry", description="The trial was silent for too long.")
    crash: OnOther = Field("retry", description="An exception, or a process that died.")
    lost_node: OnOther = Field("retry", description="The node was lost; not counted.")
    storage: OnOther = Field("retry", description="A checkpoint could not be written; not counted.")
    data: OnOther = Field("fail", description="Data or weights cannot be read.")
    config: OnOther = Field("fail", description="Settings that its task or backbone refuses.")


class Failures(Section):
    """Limits on failures of a trial and of the sweep."""

    max_attempts: int = Field(3, ge=1, le=100, description="Attempts at one trial in total.")
    max_failed_fraction: float = Field(
        0.2, ge=0, le=1, description="Largest share of failed trials; beyond: exit code 3."
    )
    silence: Duration | None = Field(
        "1h",
        validate_default=True,
        description="A trial without a report for this time is ended, such as 30m; null: never.",
    )
    actions: Actions = Actions()


class Tracking(Section):
    """The address of MLflow."""

    uri: Annotated[str, AfterValidator(tracking_uri)] | None = Field(
        None,
        max_length=2048,
        description="MLflow's tracking URI; null: MLFLOW_TRACKING_URI, else MLflow's default. "
        "${env:NAME} is read when the sweep starts, and never logged.",
    )
    required: bool = Field(False, description="Refuse to start while MLflow does not answer.")


Expect = Literal["better", "worse", "no_worse"]
LESS = " - "  # between the two metrics of a difference


class Claim(Section):
    """A statement about two arms, or about a numeric factor, that the sweep can refute."""

    says: str = Field(max_length=500, description="The claim as a sentence.")
    contrast: list[str] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="Two arms, the first compared with the second: SETTING=VALUE, `control`, "
        "METHOD or METHOD/ARM. Or one arm, whose quantity is compared with 0.",
    )
    trend: str | None = Field(
        None,
        description="Instead of `contrast`: a factor with numbers, or a metric that trials record, "
        "such as align/mmd. Arms are then ordered by their mean of it.",
    )
    expect: Expect = Field(
        description="The first arm than the second, or larger values of the factor than smaller "
        "ones. better: a lower value."
    )
    margin: float | None = Field(
        None,
        gt=0,
        description="Of no_worse: the largest difference that counts as none, in units of the "
        "quantity; over several tasks as a share of the second arm's value, if all are above 0.",
    )
    sd: float | None = Field(
        None,
        gt=0,
        description="Expected standard deviation of the paired differences (over several tasks, of "
        "the logarithms of their ratios), if it is known: a margin that the planned pairs cannot "
        "show is then a fault.",
    )
    about: str = Field(
        "",
        max_length=80,
        description="Name of the contrast, equal in each question that has it. Pages show their "
        "values side by side, and count it once.",
    )
    among: str | None = Field(
        None, description="Of a trend: only arms that pin this setting count, such as proxy."
    )
    quantity: str = Field(
        TEST,
        max_length=200,
        description="test, or the name of a metric that trials record, or the difference of two: "
        "`refine/probe_error - refine/probe_error_start`.",
    )
    tasks: list[str] = Field(
        [], max_length=1000, description="The tasks that it is about; empty: all of the sweep."
    )

    @property
    def quantities(self) -> list[str]:
        """The one or two metrics of the quantity."""
        return self.quantity.split(LESS, 1)

    @model_validator(mode="after")
    def _has_one_subject(self) -> "Claim":
        if (self.contrast is None) == (self.trend is None):
            raise ValueError("must have either `contrast` or `trend`")
        if self.contrast is not None and self.contrast[0] in self.contrast[1:]:
            raise ValueError("must have two different arms in `contrast`")
        if self.margin is not None and self.expect != "no_worse":
            raise ValueError("must have `expect: no_worse` with `margin`")
        return self


class Question(Section):
    """A question of the field, with the published answer and what would refute it."""

    figures: list[str] = Field(
        [],
        max_length=20,
        description="Other names of it for `sweeper reproduce`, such as fig7 or slide31.",
    )
    title: str = Field(max_length=500, description="The question.")
    published: str = Field(max_length=2000, description="The published finding.")
    source: str = Field("", max_length=500, description="Its paper and figure.")
    refuted_if: str = Field("", max_length=2000, description="The result that would refute it.")
    claims: list[Claim] = Field(
        min_length=1, max_length=100, description="The first is primary, and not corrected."
    )


class ProgramKeys(Section):
    """The keys of each program of a sweep."""

    function: str | None = Field(
        None,
        pattern=FUNCTION,
        max_length=500,
        description="`module:name` of `def name(params, trial)`, whose module lies beside the "
        "sweep file or is installed.",
    )
    command: list[Annotated[str, Field(max_length=10_000)]] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="The words of a command, in which {NAME} is a parameter, or {seed}, {data} and "
        "{folder} of the trial. It runs in the folder of the sweep file, without a shell, and "
        'prints a line of JSON for each report: {"step": 1, "loss": 0.5}.',
    )
    results: str | None = Field(
        None,
        pattern=WORD,
        description="A file in {folder} to which a command appends its reports as lines of JSON, "
        "or `mlflow`: the runs that it writes to MLflow; null: it prints them.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=MAX_STEPS,
        description="Reports of a trial, at most; null: as many as it makes.",
    )
    may_change: bool = Field(
        False, description="Go on with another text of the program than the sweep began with."
    )
    folder: str = Field(
        "",
        max_length=4096,
        description='Of its module or files, relative to that of the sweep file; "": the same. A '
        "job takes it along, unless it is an absolute path: then all nodes have it.",
    )
    code: str = Field(
        "", max_length=64, description="Hash of its text, which stands in the resolved file alone."
    )


class OneProgram(ProgramKeys):
    """One of several training programs."""

    @model_validator(mode="after")
    def _is_one(self) -> "OneProgram":
        if (self.function is None) == (self.command is None):
            raise ValueError("must have either `function` or `command`")
        if self.results and self.command is None:
            raise ValueError("must have a `command` with `results`: a function calls trial.report")
        return self

    def spec(self, name: str, measured: "Program") -> ProgramSpec:
        """Return the program as a worker gets it."""
        plain = self.model_dump(exclude={"may_change"}) | {"command": tuple(self.command or ())}
        return ProgramSpec(name=name, metric=measured.metric, goal=measured.goal, **plain)


Baseline = float | Annotated[str, Field(max_length=200)]


class Program(ProgramKeys):
    """A training program of your own, or what `programs` share, in place of `methods` and `tasks`.

    `parameters` and `fixed` then have its parameters by their own names.
    """

    metric: str = Field(
        pattern=METRIC, max_length=200, description="The reported value that the search follows."
    )
    goal: Literal["minimize", "maximize"] = Field(
        "minimize", description="maximize: the search minimises `neg_METRIC`, its negative."
    )
    data: list[Annotated[str, Field(pattern=WORD)]] = Field(
        [],
        max_length=1000,
        description="Names of data sets. Each program has a study on each one, and learns its name "
        "by {data}, SWEEPER_DATA or trial.data.",
    )
    floor: Baseline | dict[str, Baseline] | None = Field(
        None,
        description="What a program has to beat: the test value of a baseline, or a task of ours "
        "with this metric, whose best predictor without a network it is. Or either by data set.",
    )

    def floor_on(self, data: str) -> float | str | None:
        """Return the floor on a data set: a value, a task of ours, or None."""
        return self.floor.get(data) if isinstance(self.floor, dict) else self.floor

    @property
    def floor_tasks(self) -> list[str]:
        """The tasks of ours whose floors count."""
        return tasks_of_floor(self.floor)


def tasks_of_floor(floor: float | str | Mapping[str, float | str] | None) -> list[str]:
    """Return the tasks of ours that a program's `floor` names."""
    given = floor.values() if isinstance(floor, Mapping) else (floor,)
    return [each for each in dict.fromkeys(given) if isinstance(each, str)]


class SweepFile(Section):
    """One sweep. Each method on each task is a study with a search of its own."""

    name: str = Field("", pattern=NAME, description="Name of the sweep and its folder.")
    experiment: str | None = Field(
        None,
        pattern=EXPERIMENT,
        description="MLflow experiment, usually the benchmark; null: the sweep's name.",
    )
    methods: list[str] = Field([], min_length=1, description="Methods to tune.")
    tasks: list[str] = Field([], min_length=1, description="Tasks on which the methods are tuned.")
    program: Program | None = Field(
        None, description="A training program of your own, in place of `methods` and `tasks`."
    )
    programs: dict[str, OneProgram] = Field(
        {},
        description="Several of them, by name, to be compared: each has the keys of `program` but "
        "metric, goal, data and floor, which stand there once.",
    )
    backbones: dict[str, Any] = Field({}, description="Pretrained body, by the task's dimension.")
    proxies: dict[str, str] = Field({}, description="Source data, by the task's dimension.")
    model: dict[str, Any] = Field({}, description="Parts made for the target.")
    data: dict[str, Any] = Field({}, description="Selection and number of a task's data.")
    parameters: dict[str, Any] = Field({}, description="Searched, `stage.parameter: distribution`.")
    fixed: dict[str, Any] = Field(
        {}, description="`stage.parameter: value`. Removes the name from `parameters`."
    )
    stages: dict[str, StageSearch] = Field(
        {}, description="By stage: the number of its configurations in a study."
    )
    compare_by: dict[str, list[Any]] | list[dict[str, Any]] = Field(
        {},
        description="Ablation. `setting: [values]`, all combinations of which are arms; or a list "
        "of arms, each `setting: value`, and of one method with `method: NAME`. Every arm is a "
        "study, and so is the vanilla control.",
    )
    ladder: dict[str, list[Any]] = Field(
        {},
        description="Sizes at which every method, or arm, is trained: `setting: [numbers]`, "
        "ascending; several are crossed. Each has a curve over the rungs, the size from which one "
        "is better than another, and a forecast of the largest rung. There is no vanilla control: "
        "name `nft` in `methods`. With data.samples all rungs have the test split of the largest.",
    )
    base: Literal["preset", "tuned"] | dict[str, dict[str, Any]] = Field(
        "preset",
        description="The other settings of all arms. preset: the preset with `fixed`. tuned: the "
        "best trial of a search, which runs before the arms. Or files that `sweeper best` wrote, "
        "in whose place are then the settings by METHOD/TASK; `fixed` overrides them.",
    )
    tune: Literal["shared", "per_arm"] = Field(
        "shared",
        description="shared: the arms differ in what they pin alone. per_arm: each arm is searched "
        "on its own, with an equal number of trials.",
    )
    max_arms: int = Field(32, ge=2, le=1000, description="Most arms of one method on one task.")
    question: Question | None = Field(
        None, description="What was published, and the claims that the sweep decides."
    )
    search: Search = Search()
    pruning: Pruning = Pruning()
    replicate: Replicate | None = Field(
        None, description="Null: no trial is repeated, and methods cannot be compared by tests."
    )
    resources: Resources = Resources()
    budget: Budget = Budget()
    checkpoints: Checkpoints = Checkpoints()
    stage_store: StageStoreSection | None = Field(
        None,
        description="Null: only studies with a `distinct` in `stages` use a store; otherwise all "
        "studies do.",
    )
    failures: Failures = Failures()
    tracking: Tracking = Tracking()
    notify: list[Annotated[str, Field(min_length=1, max_length=2048)]] = Field(
        [],
        max_length=20,
        description="Addresses that are told when the sweep is finished, fails early, pauses or "
        "needs a person. http:// and https:// get a POST request with JSON; others, such as "
        "slack:// and mailto://, need the extra `notify`. A secret is written as ${env:NAME}.",
    )


class DataSection(DataSpec):
    """The section `data` of a sweep file, whose seed may be one for each replicate."""

    seed: Annotated[int, Field(ge=0)] | Literal["replicate"] = Field(  # type: ignore[assignment]
        0,
        description=f"{DataSpec.model_fields['seed'].description} replicate: each seed of "
        "`replicate` has its own draw, the same for all methods, arms and controls.",
    )
