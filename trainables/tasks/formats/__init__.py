"""Readers of published, untrusted file formats."""
