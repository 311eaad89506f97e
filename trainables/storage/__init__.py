"""Files and buckets: checkpoints, stage results, locks, caches."""
