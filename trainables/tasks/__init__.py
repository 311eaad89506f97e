"""Target tasks: benchmarks, generated and published data, and the verification of data."""
