"""A terminal for tests: a real pseudo-terminal, and a reader that knows what stands on its screen."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import termios
import threading

TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A terminal that understands what is written to it: two screens, a cursor, and a size that can change."""

    def __init__(self, columns: int, rows: int) -> None:
        self._master, self.device = pty.openpty()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self.written = ""
        self.is_other = False
        self.has_cursor = True
        self.overflowed = False
        self.shown: list[str] = []
        self.resize(columns, rows)
        self._reader = threading.Thread(target=self._keep_reading)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.x = self.y = 0
        fcntl.ioctl(self.device, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """What somebody in front of it types."""
        os.write(self._master, keys)

    def _keep_reading(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self._feed(self._decode(data))
        except OSError:  # EIO: the last process that had it open has ended
            return

    def _feed(self, text: str) -> None:
        self.written += text
        text = self._rest + text
        self._rest = ""
        if (cut := text.rfind("\x1b")) >= 0 and not TOKEN.match(text, cut):
            text, self._rest = text[:cut], text[cut:]
        for token in TOKEN.finditer(text):
            arguments, command, back, down, character = token.groups()
            if character:
                self._put(character)
            elif back:
                self.x = 0
            elif down:
                self.y = min(self.y + 1, self.rows - 1)
            elif command == "H":
                self.shown.append(self.screen)
                self.x = self.y = 0
            elif arguments == "?1049":
                self.is_other = command == "h"
            elif arguments == "?25":
                self.has_cursor = command == "h"

    def _put(self, character: str) -> None:
        if self.x >= self.columns:
            self.overflowed = self.overflowed or self.is_other
            return
        self.cells[self.y][self.x] = character
        self.x += 1

    @property
    def screen(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.cells)

    @property
    def frame(self) -> str:
        """The last frame that is known to be whole: another has begun since. The screen may hold half a frame."""
        return self.shown[-1] if self.shown else ""

    @property
    def text(self) -> str:
        """All that was written, styles and movements included."""
        return self.written.replace("\r\n", "\n")

    @property
    def after(self) -> str:
        """What was written since the view went away."""
        return CONTROL.sub("", self.written.rpartition("\x1b[?25h")[2]).replace("\r\n", "\n")

    def close(self) -> None:
        os.close(self.device)
        self._reader.join(60)
        os.close(self._master)
