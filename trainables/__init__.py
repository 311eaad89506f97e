"""The science: methods, stages, networks, tasks. Knows torch; knows nothing of sweeps."""
