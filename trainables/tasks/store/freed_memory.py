"""Memory that a solver frees, kept for its next arrays instead of given back to the kernel.

A time step makes and frees arrays of a megabyte by the dozen. The C library gives such memory
back at once, and the kernel clears every page of it anew when it is next asked for: up to half of
a generator's processor time. glibc learns how much to keep from what is freed (M_MMAP_THRESHOLD in
mallopt(3)); one array of the largest size that it learns from, never touched, teaches it. From then
on it keeps up to 64 MiB. Other C libraries take no notice.
"""

import numpy as np

__all__ = ["keep_freed_memory"]

LARGEST_LEARNT_FROM = 2**25  # bytes, with glibc's own of the block


def keep_freed_memory() -> None:
    """Has this process keep the memory of arrays that it frees, up to 64 MiB."""
    np.empty(LARGEST_LEARNT_FROM - 2**16, dtype=np.uint8)
