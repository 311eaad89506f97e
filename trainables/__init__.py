"""The science: methods, stages, models, tasks. It knows torch, and nothing of sweeps."""
