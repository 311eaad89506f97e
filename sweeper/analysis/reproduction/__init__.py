"""Evidence for the answers to published questions, and the page that compares both."""
