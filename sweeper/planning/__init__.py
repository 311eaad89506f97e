"""The needs and costs of a launch: files, trials, resources, stage results, prices."""
