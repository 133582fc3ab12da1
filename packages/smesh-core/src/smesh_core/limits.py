"""Every bound of the core in one place, and how they relate.

A bound protects a field from a hostile or broken author. What happens at each is written where it is enforced.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AUTHOR_SHARE",
    "CREATED_AT_NS_MAX",
    "DAMPENING_DISTRUSTED",
    "DAMPENING_TRUSTED",
    "DAMPENING_TRUST_MIN",
    "FIELD_CAPACITY",
    "ID_BYTES",
    "INTENSITY_MIN",
    "PAYLOAD_BYTES_MAX",
    "RADIUS_HOPS_DEFAULT",
    "RADIUS_HOPS_MAX",
    "RATE_DEFAULT_PER_S",
    "RATE_MAX_PER_S",
    "REASON_BYTES_MAX",
    "REINFORCE_MIN",
    "SENSE_THRESHOLD",
    "SEQ_MAX",
    "SIGNAL_BYTES_MAX",
    "SIGNAL_HEAD_BYTES",
    "STANCES_PER_STATEMENT",
    "STANCES_WAITING",
    "SUBJECT_BYTES_MAX",
    "THREADS_MAX",
    "TICK_MAX",
    "TRUST_DEFAULT",
    "TRUST_IN_SELF",
    "TRUST_MIN",
    "TTL_DEFAULT_NS",
    "TTL_MAX_NS",
]

ID_BYTES: Final = 32

SIGNAL_BYTES_MAX: Final = 16 * 1024
SIGNAL_HEAD_BYTES: Final = 121
SUBJECT_BYTES_MAX: Final = 1024
PAYLOAD_BYTES_MAX: Final = SIGNAL_BYTES_MAX - SIGNAL_HEAD_BYTES - SUBJECT_BYTES_MAX
REASON_BYTES_MAX: Final = 1024

SEQ_MAX: Final = 2**63 - 1
TTL_DEFAULT_NS: Final = 60 * 10**9
TTL_MAX_NS: Final = 30 * 24 * 3600 * 10**9
CREATED_AT_NS_MAX: Final = SEQ_MAX - TTL_MAX_NS
"""So that created_at + ttl always fits a signed 64-bit integer; the year 2262 less a month."""

RATE_DEFAULT_PER_S: Final = 0.1
RATE_MAX_PER_S: Final = 1e6
RADIUS_HOPS_DEFAULT: Final = 5
RADIUS_HOPS_MAX: Final = 65535
INTENSITY_MIN: Final = 0.01
"""An emission that has decayed under this is no longer live."""
SENSE_THRESHOLD: Final = 0.1
REINFORCE_MIN: Final = 0.5
"""Evidence and trust together that make a simulated node take a stance."""
TRUST_DEFAULT: Final = 0.5
TRUST_MIN: Final = 0.01
TRUST_IN_SELF: Final = 0.99
"""The bounds of trust; a node trusts itself most."""
DAMPENING_TRUST_MIN: Final = 0.7
"""A relay dampens less where it trusts the origin above this."""
DAMPENING_TRUSTED: Final = 0.9
DAMPENING_DISTRUSTED: Final = 0.7

THREADS_MAX: Final = 1024
TICK_MAX: Final = 2**60

FIELD_CAPACITY: Final = 1_000_000
"""Emissions a field holds unless told otherwise."""
AUTHOR_SHARE: Final = 1.0
"""Part of a field's capacity that one author may fill, unless told otherwise."""
STANCES_PER_STATEMENT: Final = 100_000
STANCES_WAITING: Final = 4096
"""Stances held for statements that are not known yet."""

if not (0 < SUBJECT_BYTES_MAX < PAYLOAD_BYTES_MAX < SIGNAL_BYTES_MAX < 2**16):
    raise AssertionError("a signal's parts must fit a signal, and their lengths 16 bits")
