"""Pure decisions about the next trial, pruning and failures. Only the ledger does I/O."""
