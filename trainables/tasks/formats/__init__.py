"""Readers of published file formats, without trust."""
