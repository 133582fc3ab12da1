"""What this installation is and what it can reach, as facts.

Nothing is sent anywhere but two requests to Ollama, which is on this machine unless `OLLAMA_HOST` says otherwise, and,
where an Anthropic key is set, one request without the key to see whether the API answers. A key is reported as present
or not; its value goes nowhere, and neither does what stands for a password in an address.

The backends are asked at the same time, in threads that nobody waits for after the time limit: a name server that does
not answer and a server that sends a byte now and then would hold up any other way of asking.
"""

from __future__ import annotations

import os
import platform
import re
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import msgspec
from smesh_core.engine import EngineName, default_engine

from smesh_agent.backends.addresses import is_loopback
from smesh_agent.backends.ollama import ollama_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Backend", "Status", "collect", "ollama_url"]

_DISTRIBUTIONS: Final = ("smesh-core", "smesh-runtime", "smesh-agent", "smesh-cli")
_ANALYZERS: Final = ("ruff", "bandit", "detect-secrets", "radon", "vulture")
_ANTHROPIC_URL: Final = "https://api.anthropic.com"
_TIMEOUT_S: Final = 3.0
_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_CPU_FACTS: Final = Path("/proc/cpuinfo")
_USER_INFO: Final = re.compile(r"(?<=//)[^/?#]*@")


class Backend(msgspec.Struct, frozen=True):
    """A source of model answers.

    Attributes:
        name: ``ollama`` or ``claude``.
        url: where it is looked for, without any password in it.
        reachable: whether it answered; None where it was not asked.
        key: whether a key is set; None where none is needed.
        version: what it says of itself; empty where it says nothing.
        models: the models it has at hand, by name.
        detail: how it answered, or why it was not reached.
    """

    name: str
    url: str
    reachable: bool | None
    key: bool | None
    detail: str
    version: str = ""
    models: list[str] = []


class Status(msgspec.Struct, frozen=True):
    """All that `smesh status` shows; versions are None for what is not installed."""

    schema: str
    distributions: dict[str, str | None]
    python: str
    platform: str
    cpu: str
    cores: int
    engine: EngineName
    numpy: str | None
    numba: str | None
    analyzers: dict[str, str | None]
    backends: list[Backend]


class _Version(msgspec.Struct):
    """What Ollama answers to ``/api/version``."""

    version: str


class _Model(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    """What Ollama answers to ``/api/tags``."""

    models: list[_Model]


def collect(environment: Mapping[str, str] | None = None, *, timeout_s: float = _TIMEOUT_S) -> Status:
    """Look at this installation.

    Args:
        environment: where addresses and keys are set; the process's own by default.
        timeout_s: how long the backends have to answer; no longer does this take.
    """
    given = os.environ if environment is None else environment
    return Status(
        schema="smesh.status/1",
        distributions={name: _version(name) for name in _DISTRIBUTIONS},
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        engine=default_engine(),
        numpy=_version("numpy"),
        numba=_version("numba"),
        analyzers={name: _version(name) for name in _ANALYZERS},
        backends=_backends(given, timeout_s),
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _backends(environment: Mapping[str, str], timeout_s: float) -> list[Backend]:
    """Every backend, asked at the same time."""
    ollama = ollama_url(environment.get("OLLAMA_HOST", ""))
    claude = environment.get("ANTHROPIC_BASE_URL") or _ANTHROPIC_URL
    has_key = bool(environment.get("ANTHROPIC_API_KEY"))
    unasked = Backend("claude", _shown(claude), reachable=None, key=False, detail="set ANTHROPIC_API_KEY to use it")
    answers = [
        _Answer(Backend("ollama", _shown(ollama), reachable=False, key=None, detail=""), _ollama, ollama),
        _Answer(Backend("claude", _shown(claude), reachable=False, key=True, detail=""), _claude, claude),
    ]
    end_s = time.monotonic() + timeout_s
    for answer in answers if has_key else answers[:1]:
        answer.start()
    first = answers[0].within(end_s, timeout_s)
    return [first, answers[1].within(end_s, timeout_s) if has_key else unasked]


class _Answer:
    """What a backend answers, in a thread of its own; until then, that it did not."""

    def __init__(self, silent: Backend, ask: Callable[[Backend, str], Backend], url: str) -> None:
        self._silent, self._ask, self._url = silent, ask, url
        self._backend: Backend | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def within(self, end_s: float, timeout_s: float) -> Backend:
        self._thread.join(max(0.0, end_s - time.monotonic()))
        return self._backend or msgspec.structs.replace(self._silent, detail=f"no answer within {timeout_s:g} s")

    def _run(self) -> None:
        try:
            self._backend = self._ask(self._silent, self._url)
        except Exception as error:  # noqa: BLE001 - an address or an answer may be any nonsense, and httpx raises much
            self._backend = msgspec.structs.replace(self._silent, detail=_why(error))


def _ollama(silent: Backend, url: str) -> Backend:
    with _client(url) as client:
        version = msgspec.json.decode(_get(client, f"{url}/api/version"), type=_Version).version
        tags = msgspec.json.decode(_get(client, f"{url}/api/tags"), type=_Models)
    return msgspec.structs.replace(
        silent,
        reachable=True,
        detail=f"version {version}" + ("" if tags.models else "; no models pulled"),
        version=version,
        models=[model.name for model in tags.models],
    )


def _claude(silent: Backend, url: str) -> Backend:
    # httpx would send what stands for a user in the address. Any answer will do, so that its text is not read.
    with _client(url) as client, client.stream("GET", _USER_INFO.sub("", url)) as answer:
        return msgspec.structs.replace(silent, reachable=True, detail=f"answered with HTTP {answer.status_code}")


def _client(url: str) -> httpx.Client:
    # A proxy has no business between two programs of one machine.
    return httpx.Client(timeout=_TIMEOUT_S, trust_env=not is_loopback(httpx.URL(url).host))


def _get(client: httpx.Client, url: str) -> bytes:
    """What is answered with success."""
    answer = bytearray()
    with client.stream("GET", url) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            answer += chunk
            if len(answer) > _ANSWER_BYTES_MAX:
                raise msgspec.DecodeError("an answer without end")
    return bytes(answer)


def _shown(url: str) -> str:
    """An address as it may be shown: as text, and without a user's name and password."""
    text = url.encode("utf-8", "backslashreplace").decode()
    return _USER_INFO.sub("", text)


def _why(error: Exception) -> str:
    match error:
        case httpx.TimeoutException():
            return f"no answer within {_TIMEOUT_S:g} s"
        case httpx.HTTPStatusError(response=response):
            return f"answered with HTTP {response.status_code}"
        case msgspec.DecodeError() | UnicodeDecodeError() | httpx.DecodingError() | httpx.RemoteProtocolError():
            return "answered with something else than its protocol"
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | ValueError() | OverflowError():
            return "its address is not one that can be asked"
        case httpx.TransportError():
            return "not running, or not reachable"
        case _:
            return f"{type(error).__name__}: {error}"
