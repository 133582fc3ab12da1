"""The form of a snapshot: a head, named arrays one after the other, and a checksum; no I/O, and nothing executable.

What is read was written by somebody else, or by a disk that is failing. So a checksum is verified before anything is
interpreted, arrays take only types from a short list, each begins where the one before it ends (there are no offsets
that could overlap), and none is larger than the bytes at hand. A checksum proves nothing about intent: what the
numbers mean is checked by `snapshot_field` and `snapshot_network`, value by value.

One state has one form: what is read is written again and compared, as `decode_signal` does it. The layout is in
`docs/reference/snapshots.md`.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from smesh_core.errors import SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "MIGRATIONS",
    "SNAPSHOT_VERSION",
    "Column",
    "Migration",
    "Sections",
    "SnapshotKind",
    "conform",
    "decimal",
    "decode",
    "encode",
    "joined",
    "migrated",
    "number",
    "parted",
    "same",
    "shortened",
    "spread",
    "within",
]

Sections: TypeAlias = "dict[str, NDArray[Any]]"
Migration: TypeAlias = "Callable[[Sections], Sections]"

SNAPSHOT_VERSION: Final = 2
"""What is written. Each earlier version is read through `MIGRATIONS`."""

_MAGIC: Final = b"\x93SMESH\r\n"
"""Not text, not UTF-8, and spoilt by whoever converts line ends."""
_HEAD: Final = struct.Struct("<8sHHIQ")
"""Magic, version, kind, number of sections, length of the whole in bytes."""
_SECTION: Final = struct.Struct("<24s4sIQQ")
"""Name and dtype in ASCII filled up with zeros, dimensions (1 or 2), rows, width (0 where there is one dimension)."""
_DIGEST_BYTES: Final = 32
_ALIGNED: Final = 8
_SECTIONS_MAX: Final = 256
_WIDTH_MAX: Final = 1024
_DIGITS_MAX: Final = 4000
_DTYPES: Final = frozenset({"|u1", "|i1", "<u2", "<i4", "<u4", "<i8", "<f8"})


class SnapshotKind(IntEnum):
    """What a snapshot is of."""

    FIELD = 1
    NETWORK = 2


class Column(NamedTuple):
    """An array of a snapshot: its name, its dtype, and its width where it has rows of several entries."""

    name: str
    dtype: str
    width: int = 0


def _with_no_events(sections: Sections) -> Sections:
    """Version 1 of networks was written only while nothing was scheduled."""
    dtypes = {"ticks": "<i8", "kinds": "|u1", "arguments": "|u1", "sizes": "<i8", "values": "<i8"}
    return {**sections, **{f"event_{name}": np.zeros(0, dtype) for name, dtype in dtypes.items()}}


def _as_it_was(sections: Sections) -> Sections:
    return sections


MIGRATIONS: Final[dict[tuple[SnapshotKind, int], Migration]] = {
    (SnapshotKind.FIELD, 1): _as_it_was,
    (SnapshotKind.NETWORK, 1): _with_no_events,
}
"""From (kind, version) to what makes its sections those of the next version: pure, of sections as they were read."""


# ---- bytes


def encode(kind: SnapshotKind, sections: Mapping[str, NDArray[Any]], version: int = SNAPSHOT_VERSION) -> bytes:
    """The bytes of these sections, in their order."""
    parts: list[Any] = [b""]
    for name, array in sections.items():
        width = array.shape[1] if array.ndim > 1 else 0
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        parts.append(_SECTION.pack(name.encode(), little.dtype.str.encode(), array.ndim, len(array), width))
        parts += [little.reshape(-1).view(np.uint8).data, bytes(-little.nbytes % _ALIGNED)]
    length = _HEAD.size + sum(map(len, parts)) + _DIGEST_BYTES
    parts[0] = _HEAD.pack(_MAGIC, version, kind, len(sections), length)
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return b"".join([*parts, hashed.digest()])


def decode(snapshot: bytes, kind: SnapshotKind) -> tuple[int, Sections]:
    """The version of a snapshot of this kind, and its sections as views of its bytes, not interpreted.

    Raises:
        SnapshotError: these are not the bytes of such a snapshot.
    """
    if type(snapshot) is not bytes:
        raise SnapshotError(f"a snapshot is bytes, not {type(snapshot).__name__}")
    if not snapshot.startswith(_MAGIC):
        is_cut = len(snapshot) < len(_MAGIC) and _MAGIC.startswith(snapshot)
        raise SnapshotError("the snapshot is cut short" if is_cut else "not a snapshot: it does not begin as one")
    if len(snapshot) < _HEAD.size + _DIGEST_BYTES:
        raise SnapshotError("the snapshot is cut short")
    _, version, found, count, length = _HEAD.unpack_from(snapshot)
    if version > SNAPSHOT_VERSION:
        raise SnapshotError(f"the snapshot is of version {version}; this smesh-core reads up to {SNAPSHOT_VERSION}")
    if length != len(snapshot):
        raise SnapshotError(f"a snapshot of {length} bytes came as {len(snapshot)}")
    whole = memoryview(snapshot)
    if hashlib.sha256(whole[:-_DIGEST_BYTES]).digest() != snapshot[-_DIGEST_BYTES:]:
        raise SnapshotError("the snapshot was altered: its checksum does not fit")
    if found != kind:
        is_known = found in {int(known) for known in SnapshotKind}
        raise SnapshotError(f"a snapshot of a {SnapshotKind(found).name.lower() if is_known else 'kind unknown here'}")
    return version, _sections(whole[_HEAD.size : -_DIGEST_BYTES], count)


def _sections(body: memoryview, count: int) -> Sections:
    """The sections of a body, each of them held against the bytes that are left."""
    if count > _SECTIONS_MAX:
        raise SnapshotError(f"a snapshot has at most {_SECTIONS_MAX} sections, not {count}")
    sections: Sections = {}
    at = 0
    for _ in range(count):
        if at + _SECTION.size > len(body):
            raise SnapshotError("the snapshot ends before its last section")
        named, typed, dimensions, rows, width = _SECTION.unpack_from(body, at)
        at += _SECTION.size
        name, dtype = (text.rstrip(b"\0").decode("ascii", "replace") for text in (named, typed))
        is_known = dtype in _DTYPES and (dimensions, width > 0) in {(1, False), (2, True)} and width <= _WIDTH_MAX
        if not is_known or name in sections:
            raise SnapshotError("a section is not an array of a known form, or is there twice")
        size = rows * max(1, width) * np.dtype(dtype).itemsize
        filled = size + -size % _ALIGNED
        if filled > len(body) - at:
            raise SnapshotError("a section is longer than its snapshot")
        if any(body[at + size : at + filled]):
            raise SnapshotError("a section is not filled up with zeros")
        array: NDArray[Any] = np.frombuffer(body[at : at + size], dtype)
        sections[name] = array.reshape(rows, width) if width else array
        at += filled
    if at != len(body):
        raise SnapshotError("the snapshot goes on after its last section")
    return sections


# ---- versions


def migrated(
    kind: SnapshotKind,
    version: int,
    sections: Sections,
    *,
    migrations: Mapping[tuple[SnapshotKind, int], Migration] = MIGRATIONS,
    current: int = SNAPSHOT_VERSION,
) -> Sections:
    """Sections of an earlier version as those of the current one, one step at a time.

    Raises:
        SnapshotError: there is no way from that version.
    """
    for step in range(version, current):
        migrate = migrations.get((kind, step))
        if migrate is None:
            raise SnapshotError(f"a snapshot of version {version} can no longer be read")
        try:
            sections = migrate(sections)
        except (LookupError, ValueError, TypeError, ArithmeticError) as error:
            raise SnapshotError(f"a snapshot of version {version} that cannot be one: {_line(error)}") from None
    return sections


def conform(sections: Sections, columns: Sequence[Column]) -> None:
    """Refuse sections that are not these columns.

    Raises:
        SnapshotError: one is missing, has another form, or is not known.
    """
    for column in columns:
        array = sections.get(column.name)
        if array is None:
            raise SnapshotError(f"the snapshot has no {column.name}")
        width = array.shape[1] if array.ndim > 1 else 0
        if array.dtype.str != column.dtype or width != column.width:
            raise SnapshotError(f"the snapshot's {column.name} are not of type {column.dtype}, width {column.width}")
    if len(sections) > len(columns):
        raise SnapshotError("the snapshot has sections that are not known")


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    """Whether these are the same sections in the same order, bit for bit."""
    return list(one) == list(other) and all(_is_same(one[name], array) for name, array in other.items())


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and bool(np.array_equal(_bits(one), _bits(other)))


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    """Floats as integers, so that what compares is what is written."""
    return np.ascontiguousarray(array).view(np.int64) if array.dtype.kind == "f" else array


# ---- values in sections


def shortened(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """A column as it is written: one entry where all are the same."""
    column = np.ascontiguousarray(values, np.dtype(dtype))
    bits = _bits(column)
    return column[:1] if len(bits) > 1 and bool((bits == bits[0]).all()) else column


def spread(sections: Sections, name: str, count: int) -> NDArray[Any]:
    """A column of `count` entries from one that may have been shortened; not to be written to.

    Raises:
        SnapshotError: it has another length.
    """
    column = sections[name]
    if len(column) not in {count, min(count, 1)}:
        raise SnapshotError(f"the snapshot has {len(column)} {name} for {count}")
    return np.broadcast_to(column, (count,))


def within(name: str, values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """These values, which are at least `low` and at most `high`; NaN is neither.

    Raises:
        SnapshotError: one is not.
    """
    if len(values) and not (values.min() >= low and values.max() <= high):
        raise SnapshotError(f"the snapshot has {name} outside [{low}, {high}]")
    return values


def decimal(value: int) -> NDArray[np.uint8]:
    """A whole number of any size as a section.

    Raises:
        SnapshotError: it has more than 4,000 digits.
    """
    if abs(value) >= 10**_DIGITS_MAX:
        raise SnapshotError(f"a snapshot holds numbers of at most {_DIGITS_MAX} digits")
    return np.frombuffer(str(value).encode(), np.uint8)


def number(sections: Sections, name: str, low: int, high: int) -> int:
    """The whole number in a section.

    Raises:
        SnapshotError: it is none, or out of bounds.
    """
    said = sections[name].tobytes()
    digits = said.removeprefix(b"-")
    if not (0 < len(digits) <= _DIGITS_MAX and digits.isdigit() and low <= int(said) <= high):
        raise SnapshotError(f"the snapshot's {name} is not a whole number within its bounds")
    return int(said)


def joined(texts: Sequence[bytes], dtype: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Sizes and bytes of many texts, as two sections."""
    return np.array(list(map(len, texts)), np.dtype(dtype)), np.frombuffer(b"".join(texts), np.uint8)


def parted(sizes: NDArray[Any], text: NDArray[Any], name: str, low: int, high: int) -> list[bytes]:
    """The texts of which two sections hold the sizes, each within bounds, and the bytes.

    Raises:
        SnapshotError: they do not fit together, or a size is out of bounds.
    """
    ends = np.cumsum(within(f"sizes of {name}", sizes, low, high), dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(text):
        raise SnapshotError(f"the sizes of {name} do not fit their bytes")
    whole = text.tobytes()
    return [whole[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
