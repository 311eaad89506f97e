"""Pure decisions: what runs next, what goes on, what a failure leads to. No I/O but the ledger."""
