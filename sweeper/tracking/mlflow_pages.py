"""Addresses of the pages of MLflow's UI that show training runs.

MLflow 3.17 opens an experiment on its pages for language models, whatever the experiment's tag
`mlflow.experimentKind` says, unless the address names the other kind of work.
"""

TRAINING = "workflowType=machine_learning"
CLICK = (
    "Where MLflow shows GenAI pages (Overview, Traces) instead: click `Model training`, top left."
)


def has_pages(uri: str) -> bool:
    """Return whether a tracking URI is a server's, which a browser opens."""
    return uri.lower().startswith(("http://", "https://"))


def runs_page(server: str, experiment_id: str) -> str:
    """Return the address of an experiment's runs."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{TRAINING}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Return the address of a run, from another page of the same server."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"


def experiments_page(server: str) -> str:
    """Return the address of the list of experiments."""
    return f"{server.rstrip('/')}/#/experiments?{TRAINING}"
