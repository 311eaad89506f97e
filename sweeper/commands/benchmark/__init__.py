"""The benchmark of all evidence: its pages, and the check of what is submitted to it."""
