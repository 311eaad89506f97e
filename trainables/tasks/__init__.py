"""Target tasks: benchmarks, generated and published data, and their verification."""
