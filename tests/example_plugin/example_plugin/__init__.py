"""Example of a plugin: one method, one benchmark, one backbone, one sampler and one pruner."""
