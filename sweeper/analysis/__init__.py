"""Findings of a sweep, read from its ledger: tables, statistics, comparisons and pages."""
