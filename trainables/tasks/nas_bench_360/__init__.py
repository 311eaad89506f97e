"""NAS-Bench-360: its tasks and the readers of its files."""
