"""Networks of published baselines, from the libraries of the extra `baselines`: a module for each.

Each is built by a function that `trainables/models/own_network.py` describes. A library is imported
when its network is built, because it takes seconds to import.
"""
