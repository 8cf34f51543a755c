"""In how many bits codes differ, counted one by one."""

import numpy as np


def hamming(a, b):
    """Of each code of `a` [n k] from each of `b` [m k]: [n m]."""
    return np.stack([(code != b).sum(axis=1) for code in a])
