"""Execution of a trial in its worker: attempts, checkpoints, shared stages and memory."""
