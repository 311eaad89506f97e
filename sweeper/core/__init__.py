"""Decisions about studies and trials. Nothing here does I/O, except through the ledger."""
