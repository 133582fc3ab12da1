"""The kernel that decays whole columns, held to the function that fields use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import DecayCurve, InvalidSignalError, intensities, limits

decay = pytest.importorskip("smesh_core.kernels.decay")

UNITS = 8
"""Of the last place of the intensity at emission; each step rounds, and the exponent carries its rounding along."""

rows = st.tuples(
    st.sampled_from(list(DecayCurve)),
    st.floats(0.0, 1.0),
    st.floats(0.0, limits.RATE_MAX_PER_S),
    st.integers(0, 10**15),
    st.integers(1, limits.TTL_MAX_NS),
)


def both(columns: list[tuple], now_ns: int) -> tuple[np.ndarray, np.ndarray]:
    kinds = (np.uint8, np.float64, np.float64, np.int64, np.int64)
    arrays = [np.array(column, kind) for column, kind in zip(zip(*columns, strict=True), kinds, strict=True)]
    left = np.full(len(columns), np.nan)
    decay.decay_columns(*arrays, now_ns, left)
    assert left.tolist() == intensities(*arrays, now_ns, compiled=True).tolist()
    return left, intensities(*arrays, now_ns)


@given(columns=st.lists(rows, min_size=1, max_size=40), now_ns=st.integers(0, 10**15 + limits.TTL_MAX_NS))
def test_every_curve_is_that_of_the_field(columns: list[tuple], now_ns: int) -> None:
    ours, theirs = both(columns, now_ns)
    at_emission = np.array([intensity for _, intensity, *_ in columns])
    assert (np.abs(ours - theirs) <= UNITS * np.spacing(at_emission)).all()
    assert (ours >= 0.0).all()
    assert (ours <= at_emission).all()


@pytest.mark.parametrize("curve", DecayCurve)
def test_edges_are_exact(curve: DecayCurve) -> None:
    """From the future nothing has decayed; at the end nothing is left, and a unit before it something is."""
    ttl_ns = 10**10
    ours, _ = both([(curve, 0.75, 0.0, 100, ttl_ns)] * 3, 99)
    assert ours.tolist() == [0.75] * 3
    ours, _ = both([(curve, 0.75, 0.0, 100, ttl_ns)], 100 + ttl_ns)
    assert ours.tolist() == [0.0]
    ours, theirs = both([(curve, 0.75, 0.0, 100, ttl_ns)], 99 + ttl_ns)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-15)
    assert ours[0] > 0.0


def test_columns_of_any_length() -> None:
    """Vectors take several at a time, and what is left over by itself."""
    for count in range(1, 40):
        columns = [(DecayCurve(i % 4), 1.0, 0.1, i * 10**8, 60 * 10**9) for i in range(count)]
        ours, theirs = both(columns, 5 * 10**9)
        assert ours == pytest.approx(theirs, rel=1e-14)


@pytest.mark.parametrize("column", range(5))
def test_columns_of_another_kind_are_refused(column: int) -> None:
    sound = [np.zeros(4, np.uint8), np.zeros(4), np.zeros(4), np.zeros(4, np.int64), np.ones(4, np.int64)]
    for unsound in (sound[column].astype(np.float32), np.resize(sound[column], 8)[::2], np.resize(sound[column], 5)):
        columns = [*sound[:column], unsound, *sound[column + 1 :]]
        with pytest.raises(InvalidSignalError, match="column of"):
            intensities(*columns, 0, compiled=True)
