"""Kernels: compiled scans over arrays, in threads that hold no GIL. Importing this imports numba.

Examples
--------
>>> import numpy as np
>>> from mmapio import kernels
>>> d = kernels.describe(np.array([[3, 1], [2, 9]], dtype=">u4"))
>>> d.count, d.min, d.max, d.sum
(4, 1, 9, 15)
"""

from mmapio.kernels.bytescan import byte_counts
from mmapio.kernels.describe import Description, describe

__all__ = ["Description", "byte_counts", "describe"]
