"""The data of a launch: the draws of replicates, and the floors of tasks."""
