"""State, optimisers, losses and evaluation of models in training."""
