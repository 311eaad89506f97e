"""PDEBench: its tasks, its generators and the reader of its files."""
