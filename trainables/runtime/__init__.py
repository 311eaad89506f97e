"""A trial's life in its worker: attempts, checkpoints, shared stages, memory."""
