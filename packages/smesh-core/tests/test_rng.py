"""Randomness: fixed vectors, the same draws in the kernels, and draws that look like chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import examples
from smesh_core import rng
from smesh_core.rng import Stream

word = st.integers(0, 2**64 - 1)
EDGES = [0, 2**53 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1]
"""Where a float of 53 bits would round, and where a signed integer would turn negative."""
edgy = st.one_of(st.sampled_from(EDGES), word)
counting = st.one_of(st.sampled_from([edge for edge in EDGES if edge < 2**63]), st.integers(0, 2**63 - 1))
"""Ticks, signals and hyphae are signed in the tables of a network."""


def mixed(value: int) -> int:
    """SplitMix64's finalizer in whole numbers of Python."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def keyed(seed: int, stream: int, tick: int, signal: int) -> int:
    value = mixed((seed + 0x9E3779B97F4A7C15) % 2**64) + stream * 0xD1B54A32D192ED03
    value = mixed(value % 2**64) + signal * 0x8CB92BA72F3D8DD7
    return mixed((mixed(value % 2**64) + tick * 0xABC98388FB8FAC03) % 2**64)


def drawn(key: int, edge: int) -> int:
    return mixed((key + edge * 0x9E3779B97F4A7C15) % 2**64)


# ---- vectors


def test_draws_under_a_key_are_splitmix64() -> None:
    """The sequence that other implementations give for the seed 1234567."""
    found = rng.draw(np.array([1234567], np.uint64), np.arange(1, 6))
    assert found.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


# fmt: off
GOLDEN = [
    # seed, stream, tick, signal, edge: 64 bits, unit
    (0, 0, 0, 0, 0, 6137703061587064917, "0x1.54b601a98ae5ep-2"),
    (0, 0, 0, 0, 1, 17462135594579004920, "0x1.e4abef9c1d2c1p-1"),
    (1, 0, 0, 0, 0, 6565538999594720919, "0x1.6c75ebbcd7446p-2"),
    (0, 1, 0, 0, 0, 5084986196191404764, "0x1.1a4600041f03ap-2"),
    (0, 0, 1, 0, 0, 10532905151703080997, "0x1.2458cadc0849dp-1"),
    (0, 0, 0, 1, 0, 3640297958194912475, "0x1.94277da5964ccp-3"),
    (42, 0, 17, 1000, 123456, 6874782198121744579, "0x1.7da087f0ace72p-2"),
    (42, 1, 0, 7, 14, 4751993230827767025, "0x1.07c9e2aa4a332p-2"),
    (
        9007199254740993,
        0,
        9007199254740993,
        9007199254740993,
        9007199254740993,
        2054725756662533423,
        "0x1.c83da3074b748p-4",
    ),
    (
        9223372036854775808,
        2,
        4611686018427387904,
        9223372036854775807,
        9223372036854775807,
        3874596106552085866,
        "0x1.ae2aa50b19304p-3",
    ),
    (18446744073709551615, 3, 1, 2, 3, 5058884885334556007, "0x1.18d3140017d5ep-2"),
    (-1, 3, 1, 2, 3, 5058884885334556007, "0x1.18d3140017d5ep-2"),
]
# fmt: on


@pytest.mark.parametrize(("seed", "stream", "tick", "signal", "edge", "bits", "unit"), GOLDEN)
def test_golden_vectors(seed: int, stream: int, tick: int, signal: int, edge: int, bits: int, unit: str) -> None:
    key = rng.key(seed, Stream(stream), tick, signal)
    assert rng.draw(key, edge).tolist() == [bits]
    assert rng.draw_unit(key, edge).tolist() == [float.fromhex(unit)]


def test_streams_have_their_numbers() -> None:
    """Another number is another network for the same seed."""
    assert [(stream.name, stream.value) for stream in Stream] == [
        ("RELAY", 0),
        ("EVIDENCE", 1),
        ("TOPOLOGY", 2),
        ("SCENARIO", 3),
    ]


@given(seed=st.integers(-(2**70), 2**70), stream=st.sampled_from(Stream), tick=edgy, signal=edgy, edge=edgy)
def test_draws_are_what_whole_numbers_say(seed: int, stream: Stream, tick: int, signal: int, edge: int) -> None:
    key = rng.key(seed, stream, tick, signal)
    assert key.tolist() == [keyed(seed, stream, tick, signal)]
    assert rng.draw(key, edge).tolist() == [drawn(int(key[0]), edge)]
    unit = rng.draw_unit(key, edge)
    assert unit.tolist() == [(drawn(int(key[0]), edge) >> 12) * 2.0**-52 + 2.0**-53]


@given(ticks=st.lists(counting, max_size=5), signals=st.lists(counting, max_size=5), edge=edgy)
def test_arrays_give_what_their_elements_give(ticks: list[int], signals: list[int], edge: int) -> None:
    many = rng.key(7, Stream.RELAY, np.array(ticks, np.int64)[:, None], np.array(signals, np.int64)[None, :])
    assert many.shape == (len(ticks), len(signals))
    assert many.tolist() == [[keyed(7, 0, tick, signal) for signal in signals] for tick in ticks]
    assert rng.draw(many, edge).tolist() == [[drawn(key, edge) for key in row] for row in many.tolist()]


@pytest.mark.parametrize("edge", EDGES)
def test_no_operand_is_rounded(edge: int) -> None:
    """A uint64 times a Python int is a float in places; neighbours above 2^53 would then draw alike."""
    key = rng.key(0, Stream.RELAY)
    around = [(edge + step) % 2**64 for step in (-1, 0, 1)]
    assert len({int(rng.draw(key, each)[0]) for each in around}) == 3
    assert len({int(rng.key(0, Stream.RELAY, each)[0]) for each in around}) == 3
    assert len({int(rng.key(0, Stream.RELAY, 0, each)[0]) for each in around}) == 3
    assert len({int(rng.key(each, Stream.RELAY)[0]) for each in around}) == 3
    assert key.dtype == rng.draw(key, edge).dtype == np.uint64


def test_the_first_draw_of_the_default_seed_is_not_the_least_there_is() -> None:
    """Seed 0, the first signal, its first tick, the first hypha: nothing would be left of a zero but zeros."""
    assert rng.draw(rng.key(0, Stream.RELAY), 0).tolist() != [0]


# ---- the kernels' own functions


@pytest.fixture(scope="module")
def scalars() -> tuple:
    """The functions of `kernels.tick`, called from compiled code as the kernels call them."""
    numba = pytest.importorskip("numba")
    tick = pytest.importorskip("smesh_core.kernels.tick")

    mix, stream_key, tick_key, draw_unit = tick.mix, tick.stream_key, tick.tick_key, tick.draw_unit
    relay, evidence = tick.RELAY, tick.EVIDENCE

    @numba.njit
    def whole(word):
        return mix(word)

    @numba.njit
    def key(seed, is_evidence, number, at):
        return tick_key(stream_key(seed, evidence if is_evidence else relay, number), at)

    @numba.njit
    def unit(key, edge):
        return draw_unit(key, edge)

    return whole, key, unit


@given(seed=edgy, is_evidence=st.booleans(), number=counting, at=counting, edge=counting)
def test_kernels_draw_alike(scalars: tuple, seed: int, is_evidence: bool, number: int, at: int, edge: int) -> None:
    mix, key, unit = scalars
    stream = Stream.EVIDENCE if is_evidence else Stream.RELAY
    assert int(mix(np.uint64(seed))) == mixed(seed) == int(rng.mix(np.array([seed], np.uint64))[0])
    ours = key(np.uint64(seed), is_evidence, number, at)
    assert int(ours) == int(rng.key(seed, stream, at, number)[0])
    assert unit(np.uint64(ours), edge) == rng.draw_unit(np.array([ours], np.uint64), edge)[0]


def test_kernels_reach_both_ends_of_the_unit(scalars: tuple) -> None:
    """The widest draws: found by turning `mix` around."""
    _, _, unit = scalars
    for bits, value in ((0, 2.0**-53), (2**64 - 1, 1 - 2.0**-53)):
        key = unmixed(bits)
        assert rng.draw(np.array([key], np.uint64), 0).tolist() == [bits]
        assert rng.draw_unit(np.array([key], np.uint64), 0).tolist() == [value]
        assert unit(np.uint64(key), 0) == value
        assert 0.0 < value < 1.0


def unmixed(value: int) -> int:
    """The word that SplitMix64's finalizer turns into this one."""

    def unshifted(shifted: int, by: int) -> int:
        found = shifted
        for _ in range(64 // by):
            found = shifted ^ found >> by
        return found

    value = unshifted(value, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    value = unshifted(value, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    return unshifted(value, 30)


# ---- chance


@examples(50)
@given(seed=word)
def test_units_are_uniform(seed: int) -> None:
    """Chi-square over 64 bins; by chance alone one run in a million goes past the bound."""
    units = rng.draw_unit(rng.key(seed, Stream.RELAY, 3, 5), np.arange(64_000))
    counts = np.bincount((units * 64).astype(np.int64), minlength=64)
    assert units.min() > 0.0
    assert units.max() < 1.0
    assert chi_square(counts) < far_out(63)


def test_units_of_neighbouring_names_are_uniform_together() -> None:
    """Pairs of draws for neighbouring seeds, streams, ticks, signals and edges fill the square evenly."""
    edges = np.arange(40_000)
    base = rng.draw_unit(rng.key(11, Stream.RELAY, 2, 4), edges)
    others = {
        "seed": rng.draw_unit(rng.key(12, Stream.RELAY, 2, 4), edges),
        "stream": rng.draw_unit(rng.key(11, Stream.EVIDENCE, 2, 4), edges),
        "tick": rng.draw_unit(rng.key(11, Stream.RELAY, 3, 4), edges),
        "signal": rng.draw_unit(rng.key(11, Stream.RELAY, 2, 5), edges),
        "edge": rng.draw_unit(rng.key(11, Stream.RELAY, 2, 4), edges + 1),
        "tick and signal changed about": rng.draw_unit(rng.key(11, Stream.RELAY, 4, 2), edges),
    }
    for name, units in others.items():
        cells = (base * 8).astype(np.int64) * 8 + (units * 8).astype(np.int64)
        assert chi_square(np.bincount(cells, minlength=64)) < far_out(63), name


def test_keys_do_not_meet() -> None:
    keys = [
        rng.key(seed, stream, np.arange(100)[:, None], np.arange(100)[None, :]).reshape(-1)
        for seed in (0, 1, 2**63)
        for stream in Stream
    ]
    everything = np.concatenate(keys)
    assert len(np.unique(everything)) == len(everything)


def test_every_bit_is_a_coin() -> None:
    words = rng.draw(rng.key(5, Stream.TOPOLOGY), np.arange(40_000))
    for bit in range(64):
        ones = int((words >> np.uint64(bit) & np.uint64(1)).sum())
        assert abs(ones - 20_000) < 5 * math.sqrt(10_000), bit


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def far_out(degrees: int) -> float:
    """The chi-square that chance exceeds once in a million times (Wilson and Hilferty 1931)."""
    return degrees * (1 - 2 / (9 * degrees) + 4.75 * math.sqrt(2 / (9 * degrees))) ** 3
