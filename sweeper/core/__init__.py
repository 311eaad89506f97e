"""Pure decisions: the next trial, pruning, failures. The only I/O is that of the ledger."""
