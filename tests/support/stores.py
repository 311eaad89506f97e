"""An empty SQLite store of MLflow to copy: setting one up costs seconds."""

import tempfile
from functools import cache
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory(prefix="store")  # removed when this process ends


@cache
def empty_store() -> Path:
    """Return the file of a store that MLflow has set up, once in this process."""
    from mlflow import MlflowClient

    path = Path(FOLDER.name) / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
