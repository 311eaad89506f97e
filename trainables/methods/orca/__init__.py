"""ORCA: align, then refine (Shen et al., ICML 2023)."""
