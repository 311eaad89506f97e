"""The costs of a launch before it begins: workload, pilots, calibrations and the price."""
