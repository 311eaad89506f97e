"""Evidence for the answers to published questions."""
