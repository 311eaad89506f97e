"""Tasks of users, each described by a file `*.task.yaml` without code."""
