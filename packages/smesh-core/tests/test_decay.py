"""Decay curves: the four formulas, and one answer for one emission and for many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core import DecayCurve, Field, Signal, intensities, intensity_at, node_id

EXPONENTIAL, LINEAR, SIGMOID, STEP = DecayCurve
SECOND = 10**9
TTL_MAX_NS = 30 * 24 * 3600 * SECOND

curves = st.sampled_from(DecayCurve)
units = st.floats(0, 1)
rates = st.floats(0, 1e6) | st.sampled_from([0.0, 5e-324, 1e-9, 0.1, 1.0, 1e6])
ttls = st.integers(1, TTL_MAX_NS) | st.integers(1, 1000) | st.sampled_from([1, SECOND, 60 * SECOND, TTL_MAX_NS])
Row = tuple[DecayCurve, float, float, int, int]


def many(rows: list[Row], now_ns: int) -> list[float]:
    """`intensities` of rows of (curve, intensity, rate, created_at_ns, ttl_ns)."""
    curve, intensity, rate, created, ttl = zip(*rows, strict=True)
    return intensities(
        np.array([int(c) for c in curve], np.uint8),
        np.array(intensity, np.float64),
        np.array(rate, np.float64),
        np.array(created, np.int64),
        np.array(ttl, np.int64),
        now_ns,
    ).tolist()


def one_by_one(rows: list[Row], now_ns: int) -> list[float]:
    return [intensity_at(curve, i, rate, ttl, now_ns - created) for curve, i, rate, created, ttl in rows]


@pytest.mark.parametrize(
    ("curve", "intensity", "rate", "ttl_s", "age_s", "expected"),
    [
        (EXPONENTIAL, 1.0, 0.1, 60, 10, 0.36787944117144233),
        (EXPONENTIAL, 0.5, 0.1, 60, 10, 0.18393972058572117),
        (EXPONENTIAL, 1.0, 0.0, 60, 59, 1.0),
        (EXPONENTIAL, 1.0, 2.0, 60, 3, 0.0024787521766663585),
        (LINEAR, 1.0, 0.1, 60, 15, 0.75),
        (LINEAR, 0.8, 0.1, 60, 30, 0.4),
        (LINEAR, 1.0, 99.0, 10, 9, 0.1),
        (SIGMOID, 1.0, 0.1, 60, 30, 0.5),
        (SIGMOID, 0.6, 0.1, 60, 30, 0.3),
        (SIGMOID, 1.0, 0.1, 60, 0, 0.9525741268224334),
        (SIGMOID, 1.0, 0.5, 60, 40, 0.006692850924284856),
        (SIGMOID, 1.0, 0.0, 60, 59, 0.5),
        (STEP, 0.7, 123.0, 60, 59, 0.7),
    ],
)
def test_formulas(curve: DecayCurve, intensity: float, rate: float, ttl_s: int, age_s: int, expected: float) -> None:
    actual = intensity_at(curve, intensity, rate, ttl_s * SECOND, age_s * SECOND)
    assert actual == pytest.approx(expected, rel=1e-14)
    assert many([(curve, intensity, rate, 5 * SECOND, ttl_s * SECOND)], (5 + age_s) * SECOND) == [actual]


@pytest.mark.parametrize("curve", DecayCurve)
def test_formula_between_whole_seconds(curve: DecayCurve) -> None:
    intensity, rate, ttl, age = 0.9, 0.37, 7.25, 3.125
    expected = {
        EXPONENTIAL: intensity * math.exp(-rate * age),
        LINEAR: intensity * (1 - age / ttl),
        SIGMOID: intensity / (1 + math.exp((age - ttl / 2) * rate)),
        STEP: intensity,
    }[curve]
    assert intensity_at(curve, intensity, rate, 7_250_000_000, 3_125_000_000) == pytest.approx(expected, rel=1e-14)


@given(curves, units, rates, ttls, st.integers(0, 2**62))
def test_future_is_whole_and_past_its_life_is_nothing(
    curve: DecayCurve, intensity: float, rate: float, ttl: int, away: int
) -> None:
    assert intensity_at(curve, intensity, rate, ttl, -1 - away) == intensity
    assert intensity_at(curve, intensity, rate, ttl, ttl) == 0.0
    assert intensity_at(curve, intensity, rate, ttl, ttl + away) == 0.0


@given(curves, units, rates, ttls)
def test_last_nanosecond_of_a_step_is_whole(curve: DecayCurve, intensity: float, rate: float, ttl: int) -> None:
    assert intensity_at(STEP, intensity, rate, ttl, ttl - 1) == intensity
    assert 0.0 <= intensity_at(curve, intensity, rate, ttl, ttl - 1) <= intensity


@given(curves, units, rates, ttls, st.data())
def test_curves_fall(curve: DecayCurve, intensity: float, rate: float, ttl: int, data: st.DataObject) -> None:
    younger = data.draw(st.integers(-10, ttl + 10))
    older = data.draw(st.integers(younger, ttl + 20))
    before = intensity_at(curve, intensity, rate, ttl, younger)
    after = intensity_at(curve, intensity, rate, ttl, older)
    assert 0.0 <= after <= before * (1 + 1e-15) <= 1.0 + 1e-15


@given(st.lists(st.tuples(curves, units, rates, st.integers(0, 2**62), ttls), min_size=1, max_size=70), st.data())
@settings(max_examples=60)
def test_scalar_and_vector_agree_exactly(rows: list[Row], data: st.DataObject) -> None:
    _, _, _, created, ttl = data.draw(st.sampled_from(rows))
    now_ns = created + data.draw(st.integers(0, ttl) | st.sampled_from([0, ttl // 2, ttl - 1, ttl]))
    assert many(rows, now_ns) == one_by_one(rows, now_ns)


@pytest.mark.parametrize("size", range(1, 71))
def test_scalar_and_vector_agree_at_every_size(size: int) -> None:
    """SIMD loops treat the last few elements of an array differently; each row must not care where it stands."""
    spread = [(7919 * (k + size)) % 1009 / 1009 for k in range(size)]
    for curve in DecayCurve:
        for rate in (1e-12, 0.1, 3.7, 700.0, 1e6):
            rows = [
                (
                    curve,
                    0.01 + 0.99 * part,
                    rate * (0.5 + part),
                    int(part * 40 * SECOND),
                    int((20 + 99 * part) * SECOND),
                )
                for part in spread
            ]
            for now_ns in (0, 19 * SECOND + 7, 41 * SECOND + 1):
                alone = one_by_one(rows, now_ns)
                assert many(rows, now_ns) == alone
                assert many(rows[::-1], now_ns) == alone[::-1]


@given(curves, units, rates, ttls, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1 - TTL_MAX_NS))
def test_any_clock_reading_agrees(
    curve: DecayCurve, intensity: float, rate: float, ttl: int, now_ns: int, created: int
) -> None:
    rows = [(curve, intensity, rate, created, ttl)] * 3
    assert many(rows, now_ns) == one_by_one(rows, now_ns)


def test_columns_are_not_written_to() -> None:
    intensity = np.array([1.0, 0.5])
    arguments = (np.array([0, 1], np.uint8), intensity, np.array([0.1, 0.1]))
    times = (np.array([0, 0], np.int64), np.array([10, 10], np.int64))
    intensities(*arguments, *times, 10)
    assert intensity.tolist() == [1.0, 0.5]


def test_empty_columns() -> None:
    none = np.empty(0)
    assert intensities(none.astype(np.uint8), none, none, none.astype(int), none.astype(int), 0).tolist() == []


def test_under_one_hundredth_is_expired() -> None:
    """At λ = 1/s an intensity of 1 passes 0.01 after ln 100 = 4.60517 s."""
    field = Field()
    signal = Signal(author=node_id("ada"), seq=1, created_at_ns=0, rate_per_s=1.0)
    ref = field.emit(signal)
    assert field.emissions(ref, 4_605_100_000) == [signal]
    assert field.emissions(ref, 4_605_300_000) == []
    assert field.value(ref, 4_605_300_000) == 0.0
    assert field.expire(4_605_100_000) == 0
    assert field.expire(4_605_300_000) == 1


def test_exactly_one_hundredth_is_live() -> None:
    field = Field()
    ref = field.emit(Signal(author=node_id("ada"), seq=1, created_at_ns=0, intensity=0.01, decay=STEP))
    assert field.expire(SECOND) == 0
    assert field.value(ref, SECOND) == 0.01
    faint = field.emit(Signal(author=node_id("ada"), seq=2, created_at_ns=0, intensity=0.00999, decay=STEP))
    assert field.emissions(faint, SECOND) == []
    assert field.expire(SECOND) == 1
