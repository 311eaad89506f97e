"""Pairs that are added until claims are decided: the test and its looks."""
