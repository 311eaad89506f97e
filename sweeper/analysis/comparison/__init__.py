"""Comparisons of methods over the sweeps that tuned them."""
