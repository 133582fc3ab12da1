"""Decay of whole columns at once: the four curves of `smesh_core.decay`, without a branch, so that it runs in vectors.

numba's `exp` calls the C library for one number at a time, which would take most of the time. `exponential` is a
polynomial instead: with ``n = round(x / ln 2)`` and ``r = x - n ln 2`` in two parts, so that no digits are lost,
``e^x = 2^n · e^r``, and on |r| <= ln 2 / 2 the Taylor polynomial of degree 13 is exact to less than a unit in the last
place (Muller: Elementary Functions, 2016, chapters 3 and 11). Property tests hold the curves to NumPy's within a few
units of the intensity at emission.
"""

from __future__ import annotations

import numpy as np

from smesh_core.kernels._jit import entry, inner
from smesh_core.signal import DecayCurve

EXPONENTIAL, LINEAR, SIGMOID = int(DecayCurve.EXPONENTIAL), int(DecayCurve.LINEAR), int(DecayCurve.SIGMOID)
EXPONENT_MAX = 700.0
S_PER_NS = 1e-9
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ROUND = 6755399441055744.0
"""1.5 · 2^52: adding and subtracting it rounds a number to a whole one."""
ONE_BITS = np.int64(1023)
MANTISSA_BITS = np.int64(52)


@inner
def exponential(x):
    """e^x for |x| <= 700."""
    n = (x * LOG2_E + ROUND) - ROUND
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    power_of_two = np.int64((np.int64(n) + ONE_BITS) << MANTISSA_BITS).view(np.float64)
    return p * power_of_two


@entry(
    np.dtype(np.uint8), np.dtype(np.float64), np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.int64), int,
    np.dtype(np.float64), may_contract=True,
)  # fmt: skip
def decay_columns(curve, intensity, rate_per_s, created_at_ns, ttl_ns, now_ns, left):
    """Write the intensity at `now_ns` of each of n emissions to `left`; all columns have the shape (n,)."""
    for i in range(len(left)):
        age_ns = now_ns - created_at_ns[i]
        age, ttl = np.float64(age_ns), np.float64(ttl_ns[i])
        is_exponential, is_linear, is_sigmoid = curve[i] == EXPONENTIAL, curve[i] == LINEAR, curve[i] == SIGMOID
        rate = rate_per_s[i] * S_PER_NS
        exponent = (age - 0.5 * ttl) * rate if is_sigmoid else -age * rate
        power = exponential(min(max(exponent, -EXPONENT_MAX), EXPONENT_MAX))
        # Each curve as one fraction, so that there is one division, the slowest of all that is done here.
        above = power if is_exponential else (ttl - age if is_linear else 1.0)
        below = ttl if is_linear else (1.0 + power if is_sigmoid else 1.0)
        faded = intensity[i] * above / below
        faded = intensity[i] if age_ns < 0 else faded
        left[i] = faded if age_ns < ttl_ns[i] else 0.0
