"""The smallest real sweeps of programs that save checkpoints: a function and a command.

Where a test is about the service, not about a method, they stand in for one, and cost half as much.
Steps after the first wait while there is a file `hold` beside the programs.
"""

import sys
from pathlib import Path

from tests.support.small_sweep import SEARCH, Sweep, plain

FUNCTION = """
import json, os, pathlib, random, time
import sweeper

hold = pathlib.Path(__file__).with_name("hold")

@sweeper.trainable
def train(params, trial):
    kept = trial.restore()
    begin = (0, 2.0 if trial.data == "large" else 1.0)
    first, at = json.loads((kept / "at.json").read_text()) if kept else begin
    for step in range(first + 1, params["epochs"] + 1):
        time.sleep(params["nap"])
        while step > 1 and hold.exists():
            time.sleep(0.05)
        with (trial.folder / "steps").open("a") as steps:
            steps.write(f"{step}\\n")
        assert trial.seed < 2**32  # as NumPy and scikit-learn ask for
        at += params["lr"] * random.Random(f"{trial.seed}{step}").random()
        folder = trial.folder / f"state-{step}"
        folder.mkdir(exist_ok=True)
        (folder / "at.json").write_text(json.dumps([step, at]))
        trial.save(folder)
        trial.report(step, {"loss": at, "test/loss": 2 * at})
"""
SCRIPT = """
import json, os, pathlib, sys
import mine

class Trial:
    seed = int(os.environ["SWEEPER_SEED"])
    folder = pathlib.Path(os.environ["SWEEPER_FOLDER"])
    data = os.environ["SWEEPER_DATA"]
    saved = None

    def restore(self):
        kept = os.environ["SWEEPER_CHECKPOINT"]
        return pathlib.Path(kept) if kept else None

    def save(self, path):
        self.saved = str(path)

    def report(self, step, metrics):
        print(json.dumps({"step": step, "checkpoint": self.saved, **metrics}))

params = json.loads(os.environ["SWEEPER_PARAMS"])
assert sys.argv[1:] == [str(params["lr"]), str(Trial.seed), *filter(None, [Trial.data])]
mine.train(params, Trial())
print("all steps are done", file=sys.stderr)
"""
AT_ONCE = "search: {trials: 3, sampler: random, max_concurrent: 2}"
FILE = f"""
name: NAME
PROGRAMS
parameters:
  lr: {{distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
fixed: {{nap: 0.6}}
{AT_ONCE}
pruning: {{type: none}}
resources: {{cpu: 1, gpu: 0, dashboard: false}}
"""
BOTH = f"""
program: {{metric: loss, steps: 4, data: [small, large], floor: 3.0}}
programs:
  ours: {{function: "mine:train"}}
  theirs: {{command: [{sys.executable}, train.py, '{{lr}}', '{{seed}}', '{{data}}']}}
replicate: {{seeds: 2}}
"""
ONE = 'program: {function: "mine:train", metric: loss, steps: 4}'


def write_programs(folder: Path) -> None:
    """Write both programs into the folder of their sweep files."""
    (folder / "mine.py").write_text(FUNCTION)
    (folder / "train.py").write_text(SCRIPT)


class ProgramSweep(Sweep):
    """A sweep of both programs, each on two data sets."""

    def file(self) -> Path:
        file = super().file()
        file.write_text(FILE.replace("NAME", self.name).replace("PROGRAMS", BOTH))
        return file

    def curves(self) -> dict[tuple[str, int], list[tuple[int, float]]]:
        """Return the objective after each epoch, of each trial by its study and its number."""
        found: dict[tuple[str, int], list[tuple[int, float]]] = {}
        query = "select study, number, payload from events where kind='measured' order by seq"
        for study, number, payload in self.rows(query):
            measured = plain(payload)
            point = (measured["epoch"], measured["objective"])
            found.setdefault((study, number), []).append(point)
        return found


class HeldSweep(Sweep):
    """Four trials of the function, one at a time, which wait where they are told to."""

    study, metric = "train/program/loss", "val/loss"

    def file(self) -> Path:
        file = super().file()
        write_programs(self.shell.folder)
        text = FILE.replace("NAME", self.name).replace("PROGRAMS", ONE)
        file.write_text(text.replace("nap: 0.6", "nap: 0").replace(AT_ONCE, SEARCH))
        return file

    def hold(self) -> None:
        """Let all trials wait before their second step."""
        (self.shell.folder / "hold").touch()

    def release(self) -> None:
        """Let them go on."""
        (self.shell.folder / "hold").unlink()
