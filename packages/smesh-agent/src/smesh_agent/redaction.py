"""Redaction: a line of source without the credentials that may stand in it.

It is applied to lines that something has already called a credential, so it takes away rather too much than too
little: every quoted literal, every password in a URL, what follows ``=`` or ``:`` unquoted, and any long run of the
characters that keys are made of. Names, operators and the first two characters of a literal stay, so that a reader
knows what is meant.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redacted"]

_URL_PASSWORD: Final = re.compile(r"(://[^\s:/@'\"]*:)[^\s@'\"]+@")
_QUOTED: Final = re.compile(r"""(?P<quote>'''|\"""|['"`])(?P<value>(?:\\.|(?!(?P=quote)).)*)(?P=quote)?""")
_BARE: Final = re.compile(r"(?P<before>[:=]\s*)(?P<value>[^\s'\"`(),;\[\]{}…]{6,})$")
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/=_\-]{20,}")
_KEY_BLOCK: Final = re.compile(r"-----BEGIN[^-]*-----")


def redacted(line: str) -> str:
    """The line with what may be a credential replaced by ``…``; a key block's first line says only what it is."""
    if block := _KEY_BLOCK.search(line):
        return block[0]
    line = _URL_PASSWORD.sub(r"\1…@", line)
    line = _QUOTED.sub(lambda m: f"{m['quote']}{_start(m['value'])}{m['quote']}", line)
    line = _BARE.sub(lambda m: m["before"] + _start(m["value"]), line)
    return _LONG_RUN.sub(lambda m: _start(m[0]), line)


def _start(value: str) -> str:
    """Enough of a value to know it again by, too little to use it."""
    if ("://" in value and "…@" in value) or (value.endswith("…") and len(value) <= 3):
        return value  # redacted already
    return f"{value[:2]}…" if len(value) > 3 else "…"
