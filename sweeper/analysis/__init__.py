"""Reads the ledger, and says what a sweep found: tables, curves, figures, one page."""
