"""An ablation on a tuned base: launched to reproduce a figure, interrupted, and compared."""

import hashlib
import json
import signal
from dataclasses import replace
from pathlib import Path

from tests.support.command import Shell
from tests.support.servers.cluster import shell_on
from tests.support.small_sweep import EPOCHS, STUDY, Sweep, finish, plain, wait_for_epochs

ARMS = """
compare_by: {refine.optimizer: [adam, adamw]}
base: tuned
replicate: {seeds: 2}
profiles: {laptop: {search: {trials: 2}}}
"""


class Ablation(Sweep):
    """A sweep whose file is a question."""

    def ask(self) -> None:
        folder = self.shell.folder / "search_spaces" / "questions"
        folder.mkdir(parents=True)
        text = super().file().read_text().replace("fixed: {", "fixed: {refine.landscape: 7, ")
        (folder / f"{self.name}.yaml").write_text(text + ARMS)


def reproduce(shell: Shell, *options: str) -> dict:
    """Return the only figure of a reproduction."""
    (figure,) = shell.run("reproduce", "ablation", "--json", *options).json["figures"]
    return figure


def confirm(shell: Shell, folder: Path, **environment: str) -> dict:
    """Return the evidence after a confirmation."""
    here = replace(shell, environment={**shell.environment, **environment})
    here.run("reproduce", "confirm", "ablation", "--evidence", str(folder))
    return json.loads((folder / "ablation.json").read_text())


def check_confirmation(shell: Shell, folder: Path) -> None:
    """Check that another processor has its differences recorded."""
    file = folder / "ablation.json"
    before = file.read_bytes() + file.with_suffix(".csv").read_bytes()
    kept = confirm(shell, folder, ATEN_CPU_CAPABILITY="default")
    (found,) = kept["scatter"]
    assert found["evidence"] == hashlib.sha256(before).hexdigest()
    assert found["seed"] == int(found["evidence"], 16) % 2
    assert (found["trainings"], found["is_whole"]) == (2, True)
    assert found["processor"].endswith(", ATEN_CPU_CAPABILITY=default")


def check_evidence(shell: Shell, folder: Path) -> None:
    """Check that a finished sweep left evidence that holds, until something changes."""
    kept = json.loads((folder / "ablation.json").read_text())
    assert "trainables.stages.fine_tuning" in kept["code"]
    assert len((folder / "ablation.csv").read_text().splitlines()) == 1 + 2 * 2
    assert len((folder / "ablation.planes.csv").read_text().splitlines()) == 1 + 2 * 21 * 21
    shell.run("delete", "ablation", "--yes")
    check_confirmation(shell, folder)
    kept = json.loads((folder / "ablation.json").read_text())
    options = ("--no-run", "--evidence", str(folder))
    assert reproduce(shell, *options)["evidence"] == "valid"
    kept["data"] = dict.fromkeys(kept["data"], "0" * 64)
    (folder / "ablation.json").write_text(json.dumps(kept))
    figure = reproduce(shell, *options)
    assert figure["evidence"] == "stale"
    assert "other data (pdebench/advection_1d)" in figure["evidence_notes"][0]


def test_arms_have_the_settings_of_the_tuned_base_and_are_compared(tmp_path, ray_head, data_home):
    shell = shell_on(ray_head, tmp_path, data_home)
    sweep = Ablation(shell, "ablation")
    sweep.ask()
    kept = tmp_path / "evidence"
    kept.mkdir()
    begun = shell.start("reproduce", "ablation")
    wait_for_epochs(sweep, 3)
    begun.send_signal(signal.SIGINT)
    finish(begun, code=130)
    figure = reproduce(shell, "--evidence", str(kept))
    assert (figure["name"], figure["evidence"]) == ("ablation", "valid")
    params = {
        (study, number): params
        for study, number, params in sweep.rows("select study, number, params from trials")
    }
    assert len(params) == 2 + 2 * 3
    values = sweep.rows(f"select number from trials where study = '{STUDY}' order by value limit 1")
    best = plain(params[STUDY, values[0][0]])
    for arm in ("adam", "adamw"):
        of_arm = plain(params[f"{STUDY}/refine.optimizer={arm}", 0])
        assert of_arm == best | {"refine.optimizer": arm}
    measured = sweep.rows("select study, number, payload from events where kind='measured'")
    assert len(measured) == 8 * EPOCHS
    told = shell.run("compare", "ablation", "--by", "refine.optimizer", "--json").json
    (task,) = told["tasks"]
    assert [each["label"] for each in task["methods"]] == [
        "fno refine.optimizer=adam", "fno refine.optimizer=adamw"
    ]  # fmt: skip
    (difference,) = task["comparisons"]
    assert difference["pairs"] == 2
    assert "shipped 0 records" in shell.run("sync", "ablation").out
    page = shell.run("compare", "ablation", "--html", "page.html")
    assert "FNO with refine.optimizer=adamw" in page.out
    assert "FNO with refine.optimizer=adamw" in (tmp_path / "page.html").read_text()
    check_evidence(shell, kept)
