"""`sweeper slurm`: what is checked before a job is submitted, and what is submitted."""

import sys
from pathlib import Path

import pytest

from sweeper.cli.main import run
from tests.bad_inputs.rows import VALID
from trainables import plugins

CPU = VALID.replace("name: study", "name: study\nresources: {gpu: 0, cpu: 2}")
QUARTER = VALID.replace("name: study", "name: study\nresources: {gpu: 0.25, cpu: 4}")


@pytest.fixture
def folder(here: Path) -> Path:
    (here / "x.yaml").write_text(CPU)
    return here


def test_a_job_is_submitted_with_the_script_in_the_folder_of_its_sweep(folder, fake, command):
    sent = command("slurm", "x.yaml", "--cpus-per-node", "8", "--time", "1h", "--json").json
    script = folder / "sweeps" / "study" / "slurm.sh"
    assert (sent["job"], sent["sweep"], sent["file"]) == ("4711", "study", str(script))
    assert script.read_text() == sent["script"]
    assert fake.calls("sbatch") == [f"--parsable {script}"]
    assert f"export SWEEPER_HOME={folder / 'home'}" in sent["script"]


def test_a_dry_run_prints_the_script_and_writes_nothing(folder, fake, command):
    text = command("slurm", "x.yaml", "--cpus-per-node", "8", "--dry-run").out
    assert text.startswith("#!/bin/sh\n")
    assert fake.calls("sbatch") == []
    assert not (folder / "sweeps").exists()


def test_a_dry_run_needs_no_slurm(folder, monkeypatch, command):
    monkeypatch.setenv("PATH", str(folder))
    assert run(["slurm", "x.yaml", "--cpus-per-node", "8"]) == 5
    told = command("slurm", "x.yaml", "--cpus-per-node", "8", "--dry-run")
    assert "not compared with the nodes of a cluster: no `sinfo`" in told.err
    assert told.out.startswith("#!/bin/sh\n")


def test_a_job_without_gpus_takes_what_a_launch_takes_without_them(folder, fake, command):
    profiles = "profiles: {laptop: {resources: {gpu: 0, cpu: 1}}}\n"
    (folder / "x.yaml").write_text(QUARTER + profiles)
    words = ["slurm", "x.yaml", "--dry-run", "--cpus-per-node", "8"]
    assert "launch x.yaml --profile laptop --address" in command(*words).out
    words += ["--gpus-per-node", "1", "-p", "gpu"]
    assert "launch x.yaml --profile auto --address" in command(*words).out


def test_the_launch_has_the_options_of_the_command(folder, fake, command):
    words = ["--set", "refine.epochs=3", "--trials", "9", "--name", "other", "--profile", "auto"]
    text = command("slurm", "x.yaml", "--cpus-per-node", "8", "--dry-run", *words).out
    told = "launch x.yaml --profile auto --set refine.epochs=3 --trials 9 --name other --address"
    assert told in text
    assert "#SBATCH --job-name=sweeper-other" in text


def test_a_plugin_goes_with_the_launch(folder, fake, command):
    (folder / "mine.py").write_text('SAMPLERS = {"mine": None}\n')
    words = ["slurm", "x.yaml", "--cpus-per-node", "8", "--dry-run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.path", [*sys.path])
        patch.setenv("PYTHONPATH", "")
        patch.setenv("SWEEPER_PLUGIN_FOLDERS", "")
        text = command(*words, "--plugin", "mine.py").out
    plugins.reread()  # without it
    assert f"--plugin {folder / 'mine.py'} launch x.yaml" in text


def test_cores_follow_from_the_trials_that_share_the_gpus(folder, fake, command):
    (folder / "x.yaml").write_text(QUARTER)
    text = command("slurm", "x.yaml", "--gpus-per-node", "2", "-p", "gpu", "--dry-run").out
    assert "#SBATCH --cpus-per-task=32\n" in text


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--nodes", "0"], 2, "Invalid value for '--nodes' / '-N': "),
        (["--time", "soon"], 2, "--time 'soon': write 8h, 1d12h or 90m"),
        (["-p", "debgu"], 2, "--partition: unknown partition `debgu`. Did you mean `debug`?"),
        (["--nodes", "3"], 7, "--nodes 3: partition `debug` has 2."),
        (["--cpus-per-node", "1"], 7,
         "resources.cpu: a trial asks for 2, and a node of the job has 1; write `cpu: 1` or less, "
         "or ask for more: --gpus-per-node, --cpus-per-node, --mem."),
        (["--set", "resources.gpu=1"], 7,
         "resources.gpu: a trial asks for 1, and the largest node of partition `debug` has 0;"),
        (["--set", "resources.gpu=1", "-p", "gpu"], 7,
         "resources.gpu: a trial asks for 1, and a node of the job has 0;"),
        (["--set", "refine.lrr=1"], 2, "--set refine.lrr: unknown parameter"),
        (["--storage", "postgresql+psycopg://me:hush@db/x"], 2, "--storage: a password would be"),
    ],
)  # fmt: skip
def test_bad_input_is_told_and_nothing_is_submitted(folder, fake, command, words, code, told):
    err = command("slurm", "x.yaml", "--cpus-per-node", "8", *words, code=code).err
    assert told in " ".join(err.split())
    assert "hush" not in err
    assert fake.calls("sbatch") == []
    assert not (folder / "sweeps").exists()


def test_without_gpus_the_cores_have_to_be_said(folder, fake, command):
    assert "--cpus-per-node: say how many cores" in command("slurm", "x.yaml", code=2).err


def test_a_job_that_slurm_refuses_leaves_nothing(folder, slurm_of, command):
    slurm_of(commands={"sbatch": "echo 'sbatch: error: Invalid account' >&2; exit 1"})
    told = command("slurm", "x.yaml", "--cpus-per-node", "8", "-A", "them", code=2).err
    assert "Invalid account" in told
    assert list((folder / "sweeps").iterdir()) == []


def test_a_sweep_whose_job_waits_has_not_begun(folder, fake, command):
    command("slurm", "x.yaml", "--cpus-per-node", "8")
    told = command("status", "study", code=8).err
    assert "sweep `study` has not begun: its job of SLURM waits" in told
