"""The page about a sweep: figures, sections, HTML."""
