"""The benchmarks run; what they measure is not a test's business."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("script", "arguments", "shown"),
    [
        ("core/bench.py", ["--quick", "--repeats", "1", "--only", "ticks"], "plain Python"),
        ("core/bench.py", ["--quick", "--repeats", "1", "--only", "decay"], "ratio"),
        ("core/bench.py", ["--quick", "--repeats", "1", "--only", "growth"], "reached"),
        ("core/bench.py", ["--quick", "--repeats", "1", "--only", "memory"], "peak"),
        ("field/bench.py", ["--sizes", "50", "--repeats", "1"], "reinforce"),
        ("consensus/bench.py", ["--quick", "--repeats", "1"], "baseline"),
        ("signing/bench.py", ["--sizes", "10", "--repeats", "1"], "verify_many"),
        ("snapshots/bench.py", ["--signals", "50", "--nodes", "50", "--repeats", "1"], "networks"),
        (
            "coordination/bench.py",
            ["--here", "--only", "smesh", "queue", "--tasks", "5", "--repeats", "1"],
            "3 a role that check each other",
        ),
        ("coordination/claiming.py", ["--agents", "3", "--tasks", "20", "--repeats", "1"], "in vain"),
        (
            "faults/bench.py",
            ["--here", "--only", "smesh", "queue", "--faults", "lie", "--tasks", "5", "--seeds", "1"],
            "on record",
        ),
        ("journal/bench.py", ["--emitters", "1", "3", "--emits", "5", "--rounds", "1"], "bare, 3 a commit"),
        ("journal/kill.py", ["--kills", "6", "--kills-a-journal", "3"], "of which lost: 0"),
        ("review/bench.py", ["--lines", "500", "--repeats", "1"], "one after another"),
    ],
)
def test_a_benchmark_prints_its_table(script: str, arguments: list[str], shown: str) -> None:
    run = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(run, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert "cores" in done.stdout.splitlines()[0]
