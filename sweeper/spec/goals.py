"""The goals of a search: the objectives that it minimises, and the constraints on its trials.

    search:
      objectives: [val/nrmse, seconds]
      constraints: {peak_memory: "<= 12GiB", parameters: "<= 30M"}

The quantities are validation values at a trial's best epoch, and its measured costs. Test values
are excluded: they must not influence the search. The first objective is the validation metric of
the task, by which trials are pruned and their best weights are kept.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sweeper.spec.schema import num_bytes, seconds
from sweeper.text import JsonObject, duration, format_bytes, number

VAL = "val"  # the validation metric of a task, whatever its name is
LOSS = "val/loss"
SECONDS, DEVICE_SECONDS, PEAK_MEMORY, PARAMETERS, EPOCHS = COSTS = (
    "seconds",  # of all attempts, up to their last epochs
    "device_seconds",  # times the GPUs, or else the CPU cores, of a trial
    "peak_memory",  # bytes: of the GPU, or of the process without one
    "parameters",  # numbers of the model
    "epochs",  # of all stages
)
TIMED = (SECONDS, DEVICE_SECONDS)  # they differ from run to run
NOT_MEASURED = 1.0  # violation of a constraint on a value that a trial does not report
BOUND = re.compile(r"(<=|>=) *(\S+)")
COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMB]?)")
THOUSANDS = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A bound on a quantity of a trial. `text` is the bound as the file has it: `<= 12GiB`."""

    quantity: str
    text: str
    bound: float
    is_upper: bool = True

    def violation(self, value: float | None) -> float:
        """Return by which share of the bound a value breaks it; 0 or less if it keeps it."""
        if value is None or not math.isfinite(value):
            return NOT_MEASURED
        # A bound of 0 has no share: the excess itself counts.
        excess = value - self.bound if self.is_upper else self.bound - value
        # Samplers add the violations of all constraints, of which bytes would outweigh all others.
        return excess / (abs(self.bound) or 1.0)

    def __str__(self) -> str:
        """Return the constraint as a condition: `peak_memory <= 12GiB`."""
        return f"{self.quantity} {self.text}"


@dataclass(frozen=True, kw_only=True)
class Goals:
    """The objectives of a study, the first of which is its own, and its constraints."""

    objectives: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(cls, resolved: JsonObject, objective: str) -> "Goals":
        """Return the goals of a study of a sweep.

        Args:
            resolved: The sweep in its resolved form.
            objective: The validation metric of the study's task.
        """
        search = resolved.get("search") or {}
        names = search.get("objectives") or [VAL]
        bounds = search.get("constraints") or {}
        return cls(
            objectives=tuple(objective if name == VAL else name for name in names),
            constraints=tuple(
                read_constraint(objective if name == VAL else name, text)
                for name, text in bounds.items()
            ),
        )

    @property
    def has_several(self) -> bool:
        """True if there is more than one objective."""
        return len(self.objectives) > 1

    @property
    def are_plain(self) -> bool:
        """True if nothing but the study's own objective counts."""
        return not self.has_several and not self.constraints

    @property
    def quantities(self) -> tuple[str, ...]:
        """The names of all quantities that are measured for the goals."""
        return tuple(dict.fromkeys((*self.objectives, *(c.quantity for c in self.constraints))))

    def violations(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return by how much the values of a trial break each constraint; 0 or less: not."""
        return {str(c): c.violation(values.get(c.quantity)) for c in self.constraints}

    def violation(self, values: Mapping[str, float]) -> float:
        """Return by how much the values of a trial break all constraints together."""
        # The slack of one constraint must not make up for another one that is broken.
        return sum(each for each in self.violations(values).values() if each > 0)

    def broken(self, values: Mapping[str, float]) -> str | None:
        """Return the constraints that the values of a trial break, in words, or None."""
        words = [
            f"{c.quantity} is {shown(c.quantity, values.get(c.quantity))}, not {c.text}"
            for c in self.constraints
            if c.violation(values.get(c.quantity)) > 0
        ]
        return ", and ".join(words) or None

    def __str__(self) -> str:
        """Return the goals in words: `val/nrmse and seconds, with peak_memory <= 12GiB`."""
        text = " and ".join(self.objectives)
        return f"{text}, with {self.conditions}" if self.constraints else text

    @property
    def conditions(self) -> str:
        """The constraints in words: `peak_memory <= 12GiB and parameters <= 30M`."""
        return " and ".join(map(str, self.constraints))


def read_constraint(quantity: str, text: str) -> Constraint:
    """Return a constraint from its text in a file.

    Raises:
        ValueError: The text is no bound in the units of the quantity.
    """
    read, example = _units(quantity)
    found = BOUND.fullmatch(text)
    if found is None:
        raise ValueError(f'must be a bound with <= or >=, such as "<= {example}"')
    return Constraint(quantity=quantity, text=text, bound=read(found[2]), is_upper=found[1] == "<=")


def shown(quantity: str, value: float | None) -> str:
    """Return the value of a quantity for users."""
    if value is None or not math.isfinite(value):
        return "not measured"
    if quantity in TIMED:
        return duration(value) if value >= 60 else f"{number(value)} s"
    if quantity == PEAK_MEMORY:
        return format_bytes(value, "GiB", "MiB", digits=2)
    # A metric that is maximised is stored as its negative, of which 0 has a sign.
    return f"{value:,.0f}" if quantity in (PARAMETERS, EPOCHS) else number(value + 0.0)


def _units(quantity: str) -> tuple[Callable[[str], float], str]:
    """Return the reader of a quantity's bounds, and an example of one."""
    if quantity in TIMED:
        return seconds, "1h30m"
    if quantity == PEAK_MEMORY:
        return num_bytes, "12GiB"
    if quantity in (PARAMETERS, EPOCHS):
        return _count, "30M"
    return _value, "0.1"


def _count(text: str) -> float:
    found = COUNT.fullmatch(text)
    if found is None:
        raise ValueError("must be a number, such as 500, 250K, 30M or 1.5B")
    return float(found[1]) * THOUSANDS[found[2]]


def _value(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("must be a number, such as 0.1")
    return value
