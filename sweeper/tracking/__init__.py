"""Copies of the ledger's content in MLflow, where people look at it."""
