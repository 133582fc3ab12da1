"""Counter-based randomness: a draw is a function of what it is for, not of what was drawn before it.

Every draw is named by (seed, stream, tick, signal, edge). The first four make a **key**; the last is the counter:

    key  = mix(mix(mix(mix(seed + γ) + stream · A) + signal · B) + tick · C)
    draw = mix(key + edge · γ)

so a result depends on neither the order of iteration, nor the number of threads, nor the size of a batch. `mix` is the
finalizer of SplitMix64 and γ its increment (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
OOPSLA 2014); draws under one key are a SplitMix64 sequence. A, B and C are odd constants that keep the operands apart.
This is for simulation; it is not a cryptographic generator.

All arithmetic is on NumPy's uint64: mixed with a Python int, a uint64 would silently become a float in some places.
`smesh_core.kernels` holds the same functions for single numbers, compiled; golden vectors hold both to these.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stream", "Words", "draw", "draw_unit", "key"]

Words: TypeAlias = "NDArray[np.uint64]"

GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
STREAM_STEP: Final = np.uint64(0xD1B54A32D192ED03)
SIGNAL_STEP: Final = np.uint64(0x8CB92BA72F3D8DD7)
TICK_STEP: Final = np.uint64(0xABC98388FB8FAC03)
UNIT_HALF_STEP: Final = 2.0**-53
UNIT_STEP: Final = 2.0**-52


class Stream(IntEnum):
    """What draws are for; draws of different streams are independent."""

    RELAY = 0
    EVIDENCE = 1
    TOPOLOGY = 2
    SCENARIO = 3


def mix(word: Words) -> Words:
    """SplitMix64's finalizer, a bijection of 64-bit words; elementwise, any shape."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def key(seed: int, stream: Stream, tick: object = 0, signal: object = 0) -> Words:
    """Keys of shape broadcast(tick, signal).

    Args:
        seed: any int; its lowest 64 bits count.
        stream: what the draws are for.
        tick: int or array of ints of 0 or more.
        signal: int or array of ints of 0 or more.
    """
    word = mix(np.array([seed % 2**64], np.uint64) + GAMMA) + np.array([stream], np.uint64) * STREAM_STEP
    word = mix(mix(word) + np.asarray(signal).astype(np.uint64) * SIGNAL_STEP)
    return mix(word + np.asarray(tick).astype(np.uint64) * TICK_STEP)


def draw(keys: Words, edge: object) -> Words:
    """64 random bits for each edge (int or array of ints of 0 or more) under its key; broadcasts."""
    return mix(keys + np.asarray(edge).astype(np.uint64) * GAMMA)


def draw_unit(keys: Words, edge: object) -> NDArray[np.float64]:
    """Uniform in (0, 1), never 0 and never 1: 52 of the bits of `draw`, at the middle of their step."""
    return (draw(keys, edge) >> np.uint64(12)).astype(np.float64) * UNIT_STEP + UNIT_HALF_STEP
