"""The media that show results: pages, tables, files and texts, without arithmetic of their own."""
