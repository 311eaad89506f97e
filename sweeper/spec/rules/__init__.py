"""The checks across the parts of a sweep file, one subject a module."""
