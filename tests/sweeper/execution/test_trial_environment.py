"""What of the user's environment trials inherit."""

import os

import pytest

from sweeper.execution.cluster import is_allowed, withheld
from sweeper.planning import resources
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID
from tests.support.canary import NAMES
from tests.support.catalogs import make_catalog

NEEDED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH",
          "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
          "PYTORCH_CUDA_ALLOC_CONF", "HF_HUB_OFFLINE", "HF_HOME", "TOKENIZERS_PARALLELISM",
          "HDF5_USE_FILE_LOCKING", "SWEEPER_HOME", "SWEEPER_LEASE", "RAY_TMPDIR",
          "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "NO_PROXY")  # fmt: skip
SECRET = (*NAMES, "WANDB_API_KEY", "GITHUB_TOKEN", "OPENAI_API_KEY", "PGPASSFILE",
          "SSH_AUTH_SOCK", "DATABASE_URL", "MLFLOW_TRACKING_URI", "HUGGING_FACE_HUB_TOKEN",
          "HF_TOKEN_PATH", "TORCH_SECRET", "PATHOLOGY_KEY", "MY_VARIABLE")  # fmt: skip


@pytest.mark.parametrize("name", NEEDED)
def test_what_trials_need_is_passed_on(name):
    assert is_allowed(name)


@pytest.mark.parametrize("name", SECRET)
def test_what_else_there_is_stays_with_the_driver(name):
    assert not is_allowed(name)


@pytest.mark.parametrize(
    ("more", "passed_on"),
    [
        ("", set()),
        ("resources: {env: [WANDB_API_KEY, UNSET]}\n", {"WANDB_API_KEY"}),
        ("checkpoints: {store: 's3://bucket/a'}\n", {"AWS_SESSION_TOKEN", "https_proxy"}),
        ("stage_store: {place: 's3://bucket/a'}\n", {"AWS_SESSION_TOKEN", "https_proxy"}),
        ("checkpoints: {store: 'gs://bucket/a'}\n",
         {"GOOGLE_APPLICATION_CREDENTIALS", "https_proxy"}),
        ("checkpoints: {store: /shared}\n", set()),
    ],
)  # fmt: skip
def test_a_sweep_passes_on_what_it_names_and_the_keys_of_its_buckets(more, passed_on):
    names = ["WANDB_API_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "https_proxy"]
    sweep = loads_sweep(VALID + more, make_catalog())
    assert set(resources.passed_on(sweep, names)) == passed_on


def test_the_environment_is_whole_again_once_a_cluster_has_it(monkeypatch):
    mine = {"PATH": "/bin", "PGPASSWORD": "x", "WANDB_API_KEY": "y", "GITHUB_TOKEN": "z"}
    monkeypatch.setattr(os, "environ", dict(mine))
    seen = {}

    def start() -> None:
        with withheld(["WANDB_API_KEY"]):
            seen.update(os.environ)
            raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        start()
    assert seen == {"PATH": "/bin", "WANDB_API_KEY": "y"}
    assert os.environ == mine
