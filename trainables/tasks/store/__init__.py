"""The store of target data: Arrow files, manifests, and arrays larger than memory."""
