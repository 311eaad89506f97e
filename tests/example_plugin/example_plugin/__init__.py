"""Example of a plugin: one method, one benchmark and one backbone."""
