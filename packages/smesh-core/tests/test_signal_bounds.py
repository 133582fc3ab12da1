"""Every bound of a signal and a stance: just inside is taken, just outside is refused with one clear line."""

from __future__ import annotations

import numpy as np
import pytest
from smesh_core import (
    DecayCurve,
    InvalidSignalError,
    Signal,
    SignalType,
    SmeshError,
    Stance,
    StanceKind,
    encode_signal,
    encode_stance,
    node_id,
)

ADA, BO = node_id("ada"), node_id("bo")
TTL_MAX_NS = 30 * 24 * 3600 * 10**9
CREATED_AT_NS_MAX = 2**63 - 1 - TTL_MAX_NS
NAN, INF = float("nan"), float("inf")

BAD_ID = [b"", b"i" * 31, b"i" * 33, "i" * 32, bytearray(32), None, 0]
BAD_SEQ = [-1, 2**63, 2**64, 1.0, NAN, "1", True, None, np.int64(1)]
BAD_CREATED = [-1, CREATED_AT_NS_MAX + 1, 2**63, 0.0, NAN, INF, "0", None, True]
BAD_TTL = [0, -1, TTL_MAX_NS + 1, 2**63, 1.5, NAN, INF, "60", None]
BAD_UNIT = [NAN, INF, -INF, -1, 2, -0.1, -5e-324, 1.0000000000000002, 1e308, "1", b"1", None, 1j, 10**400]

BAD_SIGNAL = {
    "author": BAD_ID,
    "field_id": BAD_ID,
    "seq": BAD_SEQ,
    "created_at_ns": BAD_CREATED,
    "ttl_ns": BAD_TTL,
    "payload": [b"p" * 15240, b"p" * 10**6, "text", bytearray(1), None, 0],
    "type": [0, 7, "data", None, DecayCurve.EXPONENTIAL],
    "subject": [b"", b"s" * 1025, "text", bytearray(1), 0],
    "intensity": BAD_UNIT,
    "confidence": BAD_UNIT,
    "decay": [0, 4, "step", None, SignalType.DATA],
    "rate_per_s": [NAN, INF, -INF, -1, -5e-324, 1000000.0000000001, 10**400, "0", None],
    "radius": [-1, 65536, 10**30, 5.0, NAN, "5", None, True],
}
BAD_STANCE = {
    "statement": BAD_ID,
    "author": BAD_ID,
    "field_id": BAD_ID,
    "seq": BAD_SEQ,
    "kind": [1, 3, "support", None, SignalType.QUERY],
    "created_at_ns": BAD_CREATED,
    "ttl_ns": BAD_TTL,
    "confidence": [*BAD_UNIT, 0, 0.0, -0.0],
    "reason": ["r" * 1025, "€" * 342, "\ud800", b"bytes", None, 0],
}
STATED_BOUNDS = {
    "author": "32 bytes",
    "field_id": "32 bytes",
    "statement": "32 bytes",
    "seq": str(2**63 - 1),
    "created_at_ns": str(CREATED_AT_NS_MAX),
    "ttl_ns": str(TTL_MAX_NS),
    "payload": "15239 bytes",
    "type": "SignalType",
    "subject": "1 to 1024 bytes",
    "intensity": "[0, 1]",
    "confidence": "[0, 1]",
    "decay": "DecayCurve",
    "rate_per_s": "1e+06",
    "radius": "65535",
    "kind": "StanceKind",
    "reason": "1024 bytes",
}


def signal(**changes: object) -> Signal:
    return Signal(**{"author": ADA, "seq": 1, "created_at_ns": 0, **changes})


def stance(**changes: object) -> Stance:
    values = {"statement": BO, "author": ADA, "seq": 1, "kind": StanceKind.SUPPORT, "created_at_ns": 0}
    return Stance(**{**values, **changes})


def cases(table: dict[str, list[object]]) -> list[object]:
    return [
        pytest.param(name, value, id=f"{name}-{str(value)[:12]!r}-{type(value).__name__}-{number}")
        for name, values in table.items()
        for number, value in enumerate(values)
    ]


def assert_one_clear_line(error: InvalidSignalError, owner: str, name: str) -> None:
    message = str(error)
    assert message.startswith(f"{owner}.{name} ")
    assert STATED_BOUNDS[name] in message
    assert "\n" not in message
    assert len(message) < 200
    assert isinstance(error, SmeshError)
    assert isinstance(error, ValueError)


def test_tables_cover_every_attribute() -> None:
    assert set(BAD_SIGNAL) == set(Signal.__struct_fields__)
    assert set(BAD_STANCE) == set(Stance.__struct_fields__)


@pytest.mark.parametrize(("name", "value"), cases(BAD_SIGNAL))
def test_signal_refuses(name: str, value: object) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        signal(**{name: value})
    assert_one_clear_line(caught.value, "Signal", name)


@pytest.mark.parametrize(("name", "value"), cases(BAD_STANCE))
def test_stance_refuses(name: str, value: object) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        stance(**{name: value})
    assert_one_clear_line(caught.value, "Stance", name)


@pytest.mark.parametrize("name", ["seq", "intensity"])
def test_number_too_long_to_print_is_refused_as_any_other(name: str) -> None:
    """Python refuses to print integers of more than 4,300 digits."""
    with pytest.raises(InvalidSignalError) as caught:
        signal(**{name: 10**5000})
    assert_one_clear_line(caught.value, "Signal", name)


def test_value_whose_repr_has_many_lines_is_refused_in_one() -> None:
    with pytest.raises(InvalidSignalError) as caught:
        signal(intensity=np.zeros((3, 3)))
    assert_one_clear_line(caught.value, "Signal", "intensity")


def test_first_of_several_faults_is_named() -> None:
    with pytest.raises(InvalidSignalError, match=r"^Signal\.(intensity|radius) "):
        signal(intensity=NAN, radius=-1)


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0},
        {"seq": 2**63 - 1},
        {"created_at_ns": CREATED_AT_NS_MAX, "ttl_ns": TTL_MAX_NS},
        {"ttl_ns": 1},
        {"payload": b"p" * 15239},
        {"subject": b"s"},
        {"subject": b"s" * 1024, "payload": b"p" * 15239},
        {"intensity": 0.0, "confidence": 0},
        {"intensity": 1, "confidence": 1.0},
        {"intensity": 5e-324},
        {"intensity": np.float64(0.5)},
        {"rate_per_s": 0},
        {"rate_per_s": 1e6},
        {"radius": 0},
        {"radius": 65535},
        {"author": bytes(32)},
    ],
    ids="-".join,
)
def test_signal_takes_its_bounds(changes: dict[str, object]) -> None:
    taken = signal(**changes)
    assert all(getattr(taken, name) == value for name, value in changes.items())
    assert len(encode_signal(taken)) <= 16384


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 5e-324},
        {"confidence": 1},
        {"reason": "r" * 1024},
        {"reason": "€" * 341},
        {"reason": "line\nline\x00"},
        {"created_at_ns": CREATED_AT_NS_MAX, "ttl_ns": TTL_MAX_NS},
    ],
    ids="-".join,
)
def test_stance_takes_its_bounds(changes: dict[str, object]) -> None:
    taken = stance(**changes)
    assert all(getattr(taken, name) == value for name, value in changes.items())
    assert len(encode_stance(taken)) <= 131 + 1024
