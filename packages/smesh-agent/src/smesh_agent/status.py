"""What this installation is and what it can reach, as facts.

Nothing is sent anywhere but a version request to Ollama, which is on this machine unless `OLLAMA_HOST` says otherwise,
and, where an Anthropic key is set, one request without the key to see whether the API answers. A key is reported as
present or not; its value goes nowhere.
"""

from __future__ import annotations

import ipaddress
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

import httpx
import msgspec

__all__ = ["Backend", "Status", "collect"]

_DISTRIBUTIONS: Final = ("smesh-core", "smesh-runtime", "smesh-agent", "smesh-cli")
_ANALYZERS: Final = ("ruff", "bandit", "detect-secrets", "radon", "vulture")
_OLLAMA_PORT: Final = 11434
_TIMEOUT_S: Final = 2.0


class Backend(msgspec.Struct, frozen=True):
    """A source of model answers.

    Attributes:
        name: ``ollama`` or ``claude``.
        url: where it is looked for.
        reachable: whether it answered; None where it was not asked.
        key: whether a key is set; None where none is needed.
        detail: its version and models, or why it was not reached.
    """

    name: str
    url: str
    reachable: bool | None
    key: bool | None
    detail: str


class Status(msgspec.Struct, frozen=True):
    """All that `smesh status` shows; versions are None for what is not installed."""

    schema: str
    distributions: dict[str, str | None]
    python: str
    platform: str
    cpu: str
    cores: int
    engine: str
    numpy: str | None
    numba: str | None
    analyzers: dict[str, str | None]
    backends: list[Backend]


def collect() -> Status:
    """Look at this installation; takes as long as the backends do to answer, a few seconds at most."""
    return Status(
        schema="smesh.status/1",
        distributions={name: _version(name) for name in _DISTRIBUTIONS},
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        # Fields run on NumPy. Compiled kernels belong to networks, which this version does not have.
        engine="numpy",
        numpy=_version("numpy"),
        numba=_version("numba"),
        analyzers={name: _version(name) for name in _ANALYZERS},
        backends=[_ollama(os.environ.get("OLLAMA_HOST", "")), _claude(os.environ)],
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def ollama_url(host: str) -> str:
    """The address that `OLLAMA_HOST` means; empty means this machine, and 0.0.0.0 is for servers, not clients."""
    host = host.strip().rstrip("/")
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    address, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit():
        address, port = rest, str(_OLLAMA_PORT if not separator else {"https": 443}.get(scheme, 80))
    return f"{scheme}://{address.replace('0.0.0.0', '127.0.0.1') or '127.0.0.1'}:{port}"  # noqa: S104


def _ollama(host: str) -> Backend:
    url = ollama_url(host)
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=not _is_loopback(url)) as client:
            version = client.get("/api/version").raise_for_status().json()["version"]
            models = [model["name"] for model in client.get("/api/tags").raise_for_status().json()["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return Backend("ollama", url, reachable=False, key=None, detail=_why(error))
    shown = ", ".join(models) if models else "no models pulled"
    return Backend("ollama", url, reachable=True, key=None, detail=f"version {version}; {shown}")


def _claude(environment: os._Environ[str]) -> Backend:
    url = environment.get("ANTHROPIC_BASE_URL") or "https://api.anthropic.com"
    if not environment.get("ANTHROPIC_API_KEY"):
        return Backend("claude", url, reachable=None, key=False, detail="set ANTHROPIC_API_KEY to use it")
    try:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=not _is_loopback(url)) as client:
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Backend("claude", url, reachable=False, key=True, detail=_why(error))
    return Backend("claude", url, reachable=True, key=True, detail=f"answered with HTTP {answer.status_code}")


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {_TIMEOUT_S:g} s"
    if isinstance(error, httpx.HTTPStatusError):
        return f"answered with HTTP {error.response.status_code}"
    if isinstance(error, httpx.TransportError):
        return "not running, or not reachable"
    return "answered with something else than its protocol"
