"""Search by several optimisers on simulated clusters: the regret that each has for its epochs.

    python -m tests.benchmarks.search run --workers 4       simulate, and save each run
    python -m tests.benchmarks.search figure                the tables and the figure of saved runs

Training is replaced by surrogates and tables of recorded curves (`tasks`), Ray by a virtual clock
(`simulation`). Runner, ledger, sampler and pruner of our arms are the shipped ones (`arms`).
"""
