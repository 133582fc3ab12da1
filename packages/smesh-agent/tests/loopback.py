"""A server on loopback that speaks HTTP/1.1 as told, in a thread of its own: slow, broken, cut off, or silent.

A route is a function of the request that returns a `Reply`. Parts of a body are bytes to be sent, floats of seconds to
wait before the next, or `CUT`, which ends the connection there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CUT", "HANG", "Asked", "Loopback", "Reply", "raw_server"]

CUT: Final = object()
"""The connection is closed here, without the end of the body."""
HANG: Final = object()
"""Nothing more comes, and the connection stays open."""


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered. A body of several parts, or of one that is no plain bytes, is sent in chunks."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterable[Any] = b""

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> Reply:
        """A JSON answer."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status, {"content-type": "application/json"} | named, json.dumps(value).encode())


class Loopback:
    """The server; a context manager.

    Attributes:
        asked: every request, in the order in which they came.
        cut_short: how many clients closed a connection before their answer was sent.
        open_max: how many requests were under way at the same time, at most.
        connections: how many there were.
    """

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self._answer = answer
        self.asked: list[Asked] = []
        self.cut_short = 0
        self.open_max = 0
        self.connections = 0
        self._open = 0
        self._left = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", 0), self._loop
        ).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def wait_until_left(self, count: int = 1) -> None:
        """Wait until so many clients have closed a connection before their answer was sent.

        Raises:
            AssertionError: they have not.
        """

        def wait() -> bool:
            with self._left:
                return self._left.wait_for(lambda: self.cut_short >= count, timeout=20.0)

        assert await asyncio.to_thread(wait), f"{self.cut_short} of {count} connections were closed"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # the server stops; asyncio would otherwise report it as an error of the callback
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.strip().lower(): text.strip() for name, _, text in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(method, path, headers, body)
        self.asked.append(asked)
        self._open += 1
        self.open_max = max(self.open_max, self._open)
        try:
            return await self._send(self._answer(asked), reader, writer)
        finally:
            self._open -= 1

    async def _send(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        headers = dict(reply.headers)
        is_whole = isinstance(reply.body, bytes)
        headers |= {"content-length": str(len(reply.body))} if is_whole else {"transfer-encoding": "chunked"}
        head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Status\r\n{head}\r\n".encode())
        if is_whole:
            writer.write(reply.body)
            await writer.drain()
            return True
        for part in reply.body:
            if part is CUT:
                await writer.drain()
                return False
            if part is HANG or isinstance(part, float):
                await writer.drain()
                if await self._is_gone(reader, None if part is HANG else part):
                    with self._left:
                        self.cut_short += 1
                        self._left.notify_all()
                    return False
            elif part:
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                await writer.drain()  # who pours without end waits for who reads
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _is_gone(self, reader: asyncio.StreamReader, seconds: float | None) -> bool:
        """Wait; whether the client closed its side meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                return await reader.read(1) == b""
        except TimeoutError:
            return False


@contextlib.asynccontextmanager
async def raw_server(answer: bytes):
    """A port where each connection gets these bytes, and its end."""

    async def talk(reader, writer) -> None:
        begun = await reader.read(1)
        if begun != b"\x16":  # where TLS begins
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: ([0-9]+)", head, re.IGNORECASE)[1]))
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
