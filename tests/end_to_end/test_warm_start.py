"""A warm start and priors on real Ray, with a source that is deleted while the sweep is open."""

from tests.support.command import Shell
from tests.support.compared_ledgers import Scores, write
from tests.support.small_sweep import STUDY, Sweep

RATE = "refine.lr"


def rates(shell: Shell, name: str) -> dict[int, float]:
    """Return the learning rate of each trial, by its number."""
    rows = shell.run("export", name, "--format", "csv").out.splitlines()
    head, *lines = (row.split(",") for row in rows)
    return {int(line[head.index("trial")]): float(line[head.index(RATE)]) for line in lines}


def test_a_sweep_begins_with_the_best_of_another_which_may_be_deleted_then(shell: Shell) -> None:
    best = Scores(method="fno", task="pdebench/advection_1d", best=[0.1], params={RATE: 3e-4})
    write(shell.folder / "sweeps" / "small", "small", [best]).close()

    file = str(Sweep(shell, "large").file())
    options = ("--set", "search.warm_start=[small]", "--set", "search.priors=true", "--json")
    begun = shell.run("launch", file, "--trials", "2", *options)
    told = " ".join(begun.err.split())
    assert f"begins with 1 configuration of small:{STUDY}" in told
    shell.run("delete", "small", "--yes")
    shell.run("launch", file, "--trials", "4", *options)

    found = rates(shell, "large")
    assert [found[1], found[2]] == [3e-4, 1e-4]  # the best, and the second best
    assert found[3] not in (found[0], found[1], found[2])
    notes = " ".join(shell.run("status", "large", "--json").json["notes"])
    assert f"its search began with configurations of small:{STUDY}" in notes
    assert "some trials are drawn around priors" in notes
