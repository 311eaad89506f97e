"""Files and buckets: checkpoints, stage results, locks and caches."""
