"""The duties of a running driver beside its trials: disks, shares, requests, progress."""
