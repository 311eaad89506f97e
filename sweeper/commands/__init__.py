"""Commands, a module for each group, with typed results. Nothing here prints."""
