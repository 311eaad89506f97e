"""Decisions: the next trial, its end by pruning, the answer to a failure. Only the ledger is written to."""
