"""Exit codes, the same for every command; documented in ``docs/reference/cli.md``."""

from __future__ import annotations

from typing import Final

__all__ = ["ERROR", "FINDINGS", "INTERRUPTED", "OK", "STOPPED", "TERMINATED"]

OK: Final = 0
FINDINGS: Final = 1
"""Findings at or above ``--fail-on``."""
ERROR: Final = 2
"""Bad usage or input, or a part of the work that failed; one line on stderr says which."""
INTERRUPTED: Final = 130
"""Stopped by Ctrl-C; what was done by then is printed."""
TERMINATED: Final = 143
"""Stopped by SIGTERM; what was done by then is printed."""

STOPPED: Final = frozenset({INTERRUPTED, TERMINATED})
"""The codes that say that something may still be going on that nobody waits for."""
