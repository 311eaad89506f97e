"""The science: methods, stages, models and tasks. It uses torch and is independent of sweeps."""
