"""Tables, statistics, comparisons and pages about sweeps, read from their ledgers."""
