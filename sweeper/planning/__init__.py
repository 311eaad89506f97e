"""What a launch needs and costs: files, trials, resources, stage results, prices."""
