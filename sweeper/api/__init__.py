"""The Python API: handles of sweeps and trials, for scripts and notebooks."""
