"""Formats of users' data: a module a family, each with guarded and blockwise reading."""
