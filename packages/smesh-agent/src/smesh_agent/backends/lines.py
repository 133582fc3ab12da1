"""Lines and events cut out of bytes as they come: without I/O, and never holding more than a limit.

Ollama sends a JSON document a line (NDJSON), OpenAI-compatible servers send server-sent events (WHATWG HTML, section
9.2): lines of ``field: value``, an empty line at the end of each event. Of the fields only ``data`` matters here; a
line that begins with a colon is a comment, which servers send to keep a silent connection open.

A line ends with LF, CR LF or CR, wherever the bytes were cut apart on their way. No other character ends one:
U+2028 and its like are text.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Events", "Lines", "TooLongError"]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class TooLongError(Exception):
    """A line or an event is longer than the limit."""


class Lines:
    """Cuts bytes into lines.

    Args:
        bytes_max: how long a line may be.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._begun = bytearray()
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in the next bytes, without their ends.

        Raises:
            TooLongError: a line is longer than the limit; there is no way on from here.
        """
        if self._after_cr and chunk.startswith(b"\n"):  # the second half of a CR LF
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        ended = []
        for piece in chunk.splitlines(keepends=True):
            text = piece.rstrip(b"\r\n")
            self._begun += text
            if len(self._begun) > self._bytes_max:
                raise TooLongError
            if len(text) < len(piece):
                ended.append(self._take())
        return ended

    def end(self) -> list[bytes]:
        """The last line, if it has no end; nothing otherwise."""
        return [self._take()] if self._begun else []

    def _take(self) -> bytes:
        line = bytes(self._begun)
        self._begun.clear()
        return line


class Events:
    """Puts the lines of server-sent events together.

    Args:
        bytes_max: how long the data of an event may be.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._data: list[bytes] = []
        self._bytes = 0
        self._is_first = True

    def feed(self, line: bytes) -> bytes | None:
        """The data of the event that ends with a line; None where none does.

        Raises:
            TooLongError: the event is longer than the limit.
        """
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self.end()
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._bytes += len(value) + 1
            if self._bytes > self._bytes_max:
                raise TooLongError
            self._data.append(value)
        return None

    def end(self) -> bytes | None:
        """The data of the event under way; None where there is none.

        The standard drops an event that no empty line ends. Servers that forget the last one mean it nevertheless.
        """
        if not self._data:
            return None
        data = b"\n".join(self._data)
        self._data.clear()
        self._bytes = 0
        return data
