"""Copies what the ledger holds to where people look: MLflow."""
