"""Whether NumPy computes `exp` and `log` as the C library does: on processors with AVX-512 it has its own, whose last bit
may differ. `README.md` says which answers that concerns."""

import math

import numpy as np

VALUES = np.random.default_rng(0).random(10_000) * 8 + 1e-3
SAME_EXP = np.exp(VALUES).tolist() == [math.exp(value) for value in VALUES.tolist()]
SAME_LOG = np.log(VALUES).tolist() == [math.log(value) for value in VALUES.tolist()]
