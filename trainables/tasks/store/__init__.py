"""The store of target data: Arrow files, manifest, and what fills it."""
