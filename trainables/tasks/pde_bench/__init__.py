"""PDEBench: its tasks, generators and the reader of its files."""
