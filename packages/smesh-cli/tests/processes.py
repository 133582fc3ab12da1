"""Who a process has started, and whether they are still there; for tests."""

from __future__ import annotations

from pathlib import Path


def children_of(pid: int) -> dict[int, bytes]:
    """The children of a process and their command lines."""
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                line = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == pid:
                found[int(place.name)] = line
    return found


def is_alive(pid: int, line: bytes) -> bool:
    """Whether this process is still there, and no other one under its number."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == line
    except OSError:
        return False
