"""The upkeep of sweeps and of this machine: deletion, notes, MLflow, caches and checks."""
