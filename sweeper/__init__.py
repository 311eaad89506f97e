"""The service: launches, decides, records and compares sweeps. Does not know what a tensor is."""

__version__ = "0.1.0"
