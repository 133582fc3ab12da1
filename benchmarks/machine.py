"""What every benchmark says about where and when it ran."""

from __future__ import annotations

import datetime as dt
import platform
from pathlib import Path


def describe() -> str:
    """One line: date, processor, cores, Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(names) or "?"
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return f"{day}, {names[0] if names else cpu}, {cores} cores, Python {platform.python_version()}"
