"""kill -9 at any moment loses nothing that was acknowledged, and no sequence number is used twice.

20 kills of one journal, one after the other; `benchmarks/journal/kill.py` does thousands.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from smesh_runtime import JournalInUseError
from smesh_runtime.journal import Journal, JournalReader

SPEAKING = Path(__file__).parent / "speaking.py"
SEED = 7
KILLS = 20


def drawn(kill: int, what: str, below: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{SEED}/{kill}/{what}".encode()).digest()[:8]) % below


def killed(path: Path, kill: int) -> list[str]:
    """What a process that is killed at a random moment was told is kept; at times it has not even begun."""
    run, is_early = [sys.executable, str(SPEAKING), str(path)], kill % 5 == 4
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as speaker:
        assert speaker.stdout is not None
        acknowledged = [] if is_early else [speaker.stdout.readline() for _ in range(1 + drawn(kill, "words", 300))]
        threading.Event().wait(drawn(kill, "us", 300_000 if is_early else 3_000) / 1e6)
        speaker.kill()
        acknowledged += speaker.stdout.readlines()
    if acknowledged and not acknowledged[-1].endswith("\n"):
        acknowledged.pop()
    return [line.strip() for line in acknowledged]


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "field.journal"
    acknowledged: list[str] = []
    for kill in range(KILLS):
        acknowledged += killed(path, kill)
        if kill % 2 == 0:
            continue  # What this kill left behind is met first by the next process that writes.
        elements = [entry.element for entry in JournalReader(path).elements()]
        held = {element.id.hex() for element in elements}
        lost = [identity for identity in acknowledged if identity not in held]
        assert not lost, f"seed {SEED}, kill {kill}: {len(lost)} of {len(acknowledged)} acknowledged elements are lost"
        assert len({(element.author, element.seq) for element in elements}) == len(elements), f"kill {kill}"
    assert len(acknowledged) > 10 * KILLS
    assert JournalReader(path).verify() == []
    with Journal(path), pytest.raises(JournalInUseError):
        Journal(path)
