"""State, optimisers, losses and evaluation of a model that trains."""
