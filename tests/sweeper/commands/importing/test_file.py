"""The sweep files that `sweeper import` writes: valid, or clear about what is missing."""

import pytest

from sweeper.commands.importing.file import FILL_IN
from sweeper.planning.load import Options, read
from tests.support import foreign_sweeps
from tests.support.foreign_sweeps import HYDRA, WANDB

NAMED = ("wandb", "determined", "katib")  # tools whose files name the program


@pytest.mark.parametrize("tool", [*foreign_sweeps.FILES, "optuna"])
def test_a_written_file_is_valid_once_the_program_is_named(here, command, tool):
    source = foreign_sweeps.write(tool, here)
    done = command("import", tool, str(source), "-o", "mine.yaml", "--json").json
    text = (here / "mine.yaml").read_text()
    for place, reason in done["dropped"].items():
        assert f"#   {place}: {reason}" in text
    if tool not in NAMED:
        told = command("validate", "mine.yaml", code=2).err
        assert f"write the program in place of `{FILL_IN}`" in told
        (here / "mine.yaml").write_text(text.replace(FILL_IN, "train.py"))
    (here / "src").mkdir()
    for script in ("train.py", "src/main.py"):
        (here / script).touch()
    command("validate", "mine.yaml")
    sweep = read(here / "mine.yaml", Options())
    assert len(sweep.parameters) == done["parameters"]
    assert sweep.search.trials in (5, 12, 20, 30, 50)


def test_names_that_a_trial_has_itself_are_changed(here, command):
    parameters = "  epochs: {value: 10}\n  seed: {values: [1, 2]}\n  data: {value: darcy}\n"
    text = WANDB.replace("  epochs: {value: 10}\n", parameters)
    (here / "sweep.yaml").write_text(text)
    (here / "train.py").touch()
    command("import", "wandb", "sweep.yaml", "-o", "mine.yaml")
    command("validate", "mine.yaml")
    written = (here / "mine.yaml").read_text()
    assert "--seed={seed_}" in written
    assert "--data={data_}" in written


def test_an_existing_file_stays(here, command):
    source = foreign_sweeps.write("wandb", here)
    (here / "mine.yaml").write_text("mine")
    assert "exists" in command("import", "wandb", str(source), "-o", "mine.yaml", code=2).err
    assert (here / "mine.yaml").read_text() == "mine"
    command("import", "wandb", str(source), "-o", "mine.yaml", "--replace")


def test_a_grid_without_steps_is_random_and_a_metric_gets_a_name(here, command):
    (here / "sweep.yaml").write_text(WANDB.replace("method: bayes", "method: grid"))
    command("import", "wandb", "sweep.yaml", "-o", "a.yaml")
    text = (here / "a.yaml").read_text()
    assert "grid over lr, decay, noise: ranges without steps; written is random" in text
    assert "metric val/loss: let the program report it as `val_loss`" in text
    (here / "config.yaml").write_text(HYDRA)
    command("import", "hydra", "config.yaml", "-o", "b.yaml")
    assert "  - seed={seed}\n  metric: value\n  goal: maximize" in (here / "b.yaml").read_text()


def test_the_imported_file_is_never_its_own_source(here, command):
    (here / "sweep.yaml").write_text(WANDB)
    told = command("import", "wandb", "sweep.yaml", "-o", "./sweep.yaml", "--replace", code=2).err
    assert "is the file to import" in told
    assert (here / "sweep.yaml").read_text() == WANDB


def test_numbers_beyond_floats_are_told_with_the_file(here, command):
    text = "parameters: {a: {distribution: log_uniform, min: 0, max: 1000}}"
    (here / "sweep.yaml").write_text(text)
    told = command("import", "wandb", "sweep.yaml", "-o", "mine.yaml", code=2).err
    assert "sweep.yaml: has no search that can be read (OverflowError" in told
