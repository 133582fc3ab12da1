"""Decay: how an emission's intensity fades with its age.

With age t and life ttl in seconds and rate λ per second:

* exponential ``I e^(-λt)``
* linear ``I (1 - t/ttl)``
* sigmoid ``I / (1 + e^((t - ttl/2) λ))``
* step ``I``

An emission from the future (t < 0) has not decayed; at ``t >= ttl`` nothing is left. Every curve falls with t, so
an emission that has once faded under `limits.INTENSITY_MIN` stays under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smesh_core.engine import compiled_kernels
from smesh_core.errors import InvalidSignalError
from smesh_core.signal import DecayCurve

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["intensities", "intensity_at"]

_EXPONENTIAL, _LINEAR, _SIGMOID, _STEP = map(int, DecayCurve)
_EXPONENT_MAX = 700.0
"""e^700 is finite in binary64; a sigmoid is 0 for all practical purposes long before it."""


def intensity_at(curve: int, intensity: float, rate_per_s: float, ttl_ns: int, age_ns: int) -> float:
    """Intensity in [0, 1] of one emission at an age in nanoseconds."""
    if age_ns >= ttl_ns:
        return 0.0
    if age_ns < 0 or curve == _STEP:
        return intensity
    age_s = age_ns / 1e9
    if curve == _EXPONENTIAL:
        return intensity * float(np.exp(-rate_per_s * age_s))
    ttl_s = ttl_ns / 1e9
    if curve == _LINEAR:
        return intensity * (1.0 - age_s / ttl_s)
    return intensity / (1.0 + float(np.exp(min((age_s - ttl_s / 2) * rate_per_s, _EXPONENT_MAX))))


def intensities(
    curve: NDArray[np.uint8],
    intensity: NDArray[np.float64],
    rate_per_s: NDArray[np.float64],
    created_at_ns: NDArray[np.int64],
    ttl_ns: NDArray[np.int64],
    now_ns: int,
    *,
    compiled: bool = False,
) -> NDArray[np.float64]:
    """Intensity at `now_ns` of n emissions given as columns of shape (n,), as `intensity_at` has it.

    Elementwise, so that an emission's intensity does not depend on which others are asked about; both functions use
    NumPy's exp, so that an emission is live for both or for neither.

    Args:
        curve: a `DecayCurve` each.
        intensity: at creation, in [0, 1].
        rate_per_s: λ, per second.
        created_at_ns: when each was made.
        ttl_ns: life of each.
        now_ns: when.
        compiled: by the numba kernel, which is some ten times faster on many columns, and may differ in the last
            places of the intensity at creation; contiguous columns of the dtypes above only.

    Raises:
        EngineError: numba was asked for, and cannot be loaded.
    """
    if compiled:
        return _compiled(curve, intensity, rate_per_s, created_at_ns, ttl_ns, now_ns)
    age_ns = now_ns - created_at_ns
    age_s, ttl_s = age_ns / 1e9, ttl_ns / 1e9
    left = intensity.copy()
    fading = (age_ns >= 0) & (age_ns < ttl_ns)
    at = np.flatnonzero(fading & (curve == _EXPONENTIAL))
    left[at] = intensity[at] * np.exp(-rate_per_s[at] * age_s[at])
    at = np.flatnonzero(fading & (curve == _LINEAR))
    left[at] = intensity[at] * (1.0 - age_s[at] / ttl_s[at])
    at = np.flatnonzero(fading & (curve == _SIGMOID))
    past_middle = np.minimum((age_s[at] - ttl_s[at] / 2) * rate_per_s[at], _EXPONENT_MAX)
    left[at] = intensity[at] / (1.0 + np.exp(past_middle))
    left[age_ns >= ttl_ns] = 0.0
    return left


def _compiled(
    curve: NDArray[np.uint8],
    intensity: NDArray[np.float64],
    rate_per_s: NDArray[np.float64],
    created_at_ns: NDArray[np.int64],
    ttl_ns: NDArray[np.int64],
    now_ns: int,
) -> NDArray[np.float64]:
    columns: dict[str, tuple[NDArray[Any], type[np.generic]]] = {
        "curve": (curve, np.uint8),
        "intensity": (intensity, np.float64),
        "rate_per_s": (rate_per_s, np.float64),
        "created_at_ns": (created_at_ns, np.int64),
        "ttl_ns": (ttl_ns, np.int64),
    }
    for name, (column, dtype) in columns.items():
        # The kernel is entered past numba's own look at types, so this look is the only one.
        if column.dtype != dtype or column.shape != curve.shape or column.ndim != 1 or not column.flags.c_contiguous:
            raise InvalidSignalError(f"{name} takes a contiguous column of {dtype.__name__}, as long as the others")
    left = np.empty(len(curve))
    compiled_kernels().decay.decay_columns(curve, intensity, rate_per_s, created_at_ns, ttl_ns, now_ns, left)
    return left
