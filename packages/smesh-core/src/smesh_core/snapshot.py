"""Snapshots: a field or a network as bytes, and from these bytes one that goes on exactly as the first would have.

Bytes in, bytes out: where they are kept is somebody else's business. The same state gives the same bytes, so two
snapshots are compared by comparing bytes. What a snapshot promises, and its layout, stand in
`docs/reference/snapshots.md`; how bytes are made and checked in `snapshot_format`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smesh_core.errors import SnapshotError
from smesh_core.snapshot_field import FIELD_COLUMNS, field_of, field_sections
from smesh_core.snapshot_format import (
    SNAPSHOT_VERSION,
    SnapshotKind,
    conform,
    decode,
    encode,
    migrated,
    same,
)
from smesh_core.snapshot_network import NETWORK_COLUMNS, network_of, network_sections

if TYPE_CHECKING:
    from smesh_core.engine import EngineName
    from smesh_core.field import Field
    from smesh_core.network import Network
    from smesh_core.snapshot_format import Column, Sections

__all__ = ["SNAPSHOT_VERSION", "SnapshotKind", "dump_field", "dump_network", "load_field", "load_network"]


def dump_field(field: Field) -> bytes:
    """A field as bytes: settings, all elements held (expired ones too), who waits, and the names of statements.

    The field is not changed, and no id is computed for this.

    Raises:
        SnapshotError: a setting has more digits than a snapshot holds.
    """
    return encode(SnapshotKind.FIELD, field_sections(field))


def load_field(snapshot: bytes) -> Field:
    """The field that a snapshot is of; references to what it held name the same in it, or are gone in it as well.

    Raises:
        SnapshotError: these are not the bytes of a field, in one line that says why.
    """
    sections, is_current = _read(snapshot, SnapshotKind.FIELD, FIELD_COLUMNS)
    field = field_of(sections)
    if is_current and not same(sections, field_sections(field)):
        raise SnapshotError("not the one form that a field's snapshot has")
    return field


def dump_network(network: Network) -> bytes:
    """A network as bytes: topology, settings, nodes, trust, signals, arrivals, and copies on their way.

    The same on every engine, on any number of threads, and however the ticks were divided into calls of `run`.

    Raises:
        SnapshotError: nodes have labels that have no form as bytes.
    """
    return encode(SnapshotKind.NETWORK, network_sections(network))


def load_network(snapshot: bytes, *, engine: EngineName | None = None) -> Network:
    """The network that a snapshot is of, to be run on any engine.

    Args:
        snapshot: its bytes.
        engine: "numba" or "numpy"; None takes numba where it is installed.

    Raises:
        SnapshotError: these are not the bytes of a network, in one line that says why.
        EngineError: the engine that was asked for cannot be loaded.
    """
    sections, is_current = _read(snapshot, SnapshotKind.NETWORK, NETWORK_COLUMNS)
    network = network_of(sections, engine)
    if is_current and not same(sections, network_sections(network)):
        raise SnapshotError("not the one form that a network's snapshot has")
    return network


def _read(snapshot: bytes, kind: SnapshotKind, columns: tuple[Column, ...]) -> tuple[Sections, bool]:
    """The sections of a snapshot as the present version has them, and whether it is of that version."""
    version, sections = decode(snapshot, kind)
    if version == SNAPSHOT_VERSION:
        conform(sections, columns)
        return sections, True
    sections = migrated(kind, version, sections)
    conform(sections, columns)
    return {column.name: sections[column.name] for column in columns}, False
