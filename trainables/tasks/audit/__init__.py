"""Audits: whether a task, or a benchmark, can tell methods apart.

`benchmark.py` compares published numbers with predictors without a network. `arguments.py` has the
reasons of PDEBench's tasks, and `task.py` audits one task of a user.
"""
