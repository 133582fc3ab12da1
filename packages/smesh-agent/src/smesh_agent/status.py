"""What this installation is and what it can reach, as facts.

Requests go to nobody but Ollama, which is on this machine unless `OLLAMA_HOST` says otherwise (two), to the server that
`OPENAI_BASE_URL` names, if it names one (one: which models there are), and, where an Anthropic key is set, to see
whether the API answers (one). None asks a model, and none carries a key: a key is reported as present or not, and its
value goes nowhere. Neither does what stands for a user and a password in an address. A server that wants to see a key
is reached, and says nothing more.

Backends that other distributions bring are loaded, as any use of them would, and not asked.

All this goes on at the same time, in threads that nobody waits for after the time limit: a name server that does not
answer, a server that sends a byte now and then and a module that never ends would hold up any other way of asking.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import threading
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import msgspec
from smesh_core.engine import EngineName, default_engine

from smesh_agent.backends.addresses import checked_address, is_loopback, is_private, without_secrets
from smesh_agent.backends.ollama import is_unbilled, ollama_url
from smesh_agent.backends.openai_compatible import server_and_version
from smesh_agent.backends.prices import FREE, prices
from smesh_agent.backends.registry import (
    backend_for_model,
    backend_names,
    distributions,
    entry_point_of,
    load_entry_point,
)
from smesh_agent.errors import BackendError, BackendSettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smesh_agent.backends.prices import Price

__all__ = ["Backend", "ModelPrice", "Status", "TokenPrice", "collect", "ollama_url"]

_DISTRIBUTIONS: Final = ("smesh-core", "smesh-runtime", "smesh-agent", "smesh-cli")
_ANALYZERS: Final = ("ruff", "bandit", "detect-secrets", "radon", "vulture")
_ANTHROPIC_URL: Final = "https://api.anthropic.com"
_TIMEOUT_S: Final = 3.0
_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_CPU_FACTS: Final = Path("/proc/cpuinfo")
_KEY_WANTED: Final = frozenset({401, 403})
_USER_INFO: Final = re.compile(r"(?<=//)[^/?#]*@")


class TokenPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens of requests of some length cost.

    Attributes:
        prompt_tokens_max: the longest prompt that this holds for; None for any.
        input_usd: of a million tokens that are read.
        output_usd: of a million tokens that are written.
    """

    prompt_tokens_max: int | None
    input_usd: float
    output_usd: float


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs.

    Attributes:
        as_of: when that held; None where nobody is billed.
        tiers: by length of the prompt, the shortest first.
    """

    as_of: dt.date | None
    tiers: list[TokenPrice]


class Backend(msgspec.Struct, frozen=True):
    """A source of model answers.

    Attributes:
        name: what ``--backend`` calls it.
        url: where it is looked for, without any password in it; empty where it is nowhere.
        reachable: whether it answered; None where it was not asked.
        key: whether a key is set; None where none is, and none may be needed.
        detail: how it answered, or why it was not reached or asked.
        version: what it says of itself; empty where it says nothing.
        models: the models it has at hand, by name.
        prices: of those models, and of those that it is known to have without being asked; None for an unknown one.
        usable: whether it can be made at all; False where its code cannot be loaded, or somebody else wants its name.
        brought_by: the distribution that it is of, and its version; empty for those that come with SMESH.
    """

    name: str
    url: str
    reachable: bool | None
    key: bool | None
    detail: str
    version: str = ""
    models: list[str] = []
    prices: dict[str, ModelPrice | None] = {}
    usable: bool = True
    brought_by: str = ""


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


class _Tag(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    """What Ollama answers to ``/api/tags``."""

    models: list[_Tag]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    """What servers that speak OpenAI's protocol answer to ``/models``."""

    data: list[_Model]


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
    answers = [
        _unless_taken(answer)
        for answer in (
            _of_ollama(environment),
            _of_claude(environment),
            _of_openai_compatible(environment),
            _Answer(Backend("scripted", "", reachable=True, key=None, detail="text from a script, no model")),
        )
    ]
    ours = {answer.silent.name for answer in answers}
    answers += [_of_others(name) for name in backend_names() if name not in ours]
    end_s = time.monotonic() + timeout_s
    for answer in answers:
        answer.start()
    return [answer.within(end_s, timeout_s) for answer in answers]


class _Answer:
    """What a backend answers, in a thread of its own; until then, that it did not.

    Args:
        silent: what is known before it is asked.
        ask: what comes of asking; None where there is nothing to ask.
        late: what it did not do in time.
    """

    def __init__(
        self, silent: Backend, ask: Callable[[Backend], Backend] | None = None, late: str = "no answer"
    ) -> None:
        self.silent = silent
        self._ask = ask
        self._late = late
        self._backend = silent if ask is None else None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        if self._ask is not None:
            self._thread.start()

    def within(self, end_s: float, timeout_s: float) -> Backend:
        if self._ask is not None:
            self._thread.join(max(0.0, end_s - time.monotonic()))
        return self._backend or msgspec.structs.replace(self.silent, detail=f"{self._late} within {timeout_s:g} s")

    def _run(self) -> None:
        try:
            self._backend = self._ask(self.silent) if self._ask is not None else None
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            wants_key = "; it tells the rest to who shows a key, and none is sent" if code in _KEY_WANTED else ""
            self._backend = msgspec.structs.replace(
                self.silent, reachable=bool(wants_key), detail=f"answered with HTTP {code}{wants_key}"
            )
        except BaseException as error:  # noqa: BLE001 - answers may be any nonsense, and others' modules even exit
            self._backend = msgspec.structs.replace(self.silent, detail=_why(error))


def _unless_taken(answer: _Answer) -> _Answer:
    """A backend of SMESH, which cannot be used where another distribution wants its name."""
    try:
        entry_point_of(answer.silent.name)
    except BackendSettingsError as error:
        return _Answer(msgspec.structs.replace(answer.silent, reachable=None, usable=False, detail=error.reason))
    return answer


def _of_ollama(environment: Mapping[str, str]) -> _Answer:
    url = ollama_url(environment.get("OLLAMA_HOST", ""))
    key = bool(environment.get("OLLAMA_API_KEY", "").strip()) or None
    silent = Backend("ollama", without_secrets(url), reachable=False, key=key, detail="")
    return _Answer(silent, partial(_ask_ollama, url=url))


def _ask_ollama(silent: Backend, *, url: str) -> Backend:
    address = _address(silent, url, "OLLAMA_HOST")
    with _client(address) as client:
        version = msgspec.json.decode(_get(client, f"{address}/api/version"), type=_Version).version
        tags = msgspec.json.decode(_get(client, f"{address}/api/tags"), type=_Tags)
    models = [model.name for model in tags.models]
    host = httpx.URL(address).host
    return msgspec.structs.replace(
        silent,
        reachable=True,
        detail=f"version {version}" + ("" if models else "; no models pulled"),
        version=version,
        models=models,
        prices={model: _price(model, is_local=is_unbilled(host, model)) for model in models},
    )


def _of_claude(environment: Mapping[str, str]) -> _Answer:
    url = environment.get("ANTHROPIC_BASE_URL", "").strip() or _ANTHROPIC_URL
    has_key = any(environment.get(name, "").strip() for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))
    silent = Backend(
        "claude",
        without_secrets(url),
        reachable=False if has_key else None,
        key=has_key,
        detail="" if has_key else "set ANTHROPIC_API_KEY to use it",
        prices={model: _price(model) for model in prices().models if backend_for_model(model) == "claude"},
    )
    return _Answer(silent, partial(_ask_claude, url=url) if has_key else None)


def _ask_claude(silent: Backend, *, url: str) -> Backend:
    address = _address(silent, url, "ANTHROPIC_BASE_URL")
    # Any answer will do, so that its text is not read.
    with _client(address) as client, client.stream("GET", address) as answer:
        return msgspec.structs.replace(silent, reachable=True, detail=f"answered with HTTP {answer.status_code}")


def _of_openai_compatible(environment: Mapping[str, str]) -> _Answer:
    url = environment.get("OPENAI_BASE_URL", "").strip()
    key = bool(environment.get("OPENAI_API_KEY", "").strip()) or None
    if not url:
        return _Answer(
            Backend("openai-compatible", "", reachable=None, key=key, detail="set OPENAI_BASE_URL to use it")
        )
    silent = Backend("openai-compatible", without_secrets(url), reachable=False, key=key, detail="")
    return _Answer(silent, partial(_ask_openai_compatible, url=url))


def _ask_openai_compatible(silent: Backend, *, url: str) -> Backend:
    server, version = server_and_version(url)
    address = _address(silent, server, "OPENAI_BASE_URL")
    with _client(address) as client:
        listed = msgspec.json.decode(_get(client, f"{address}{version}/models"), type=_Models)
    models = [model.id for model in listed.data]
    is_local = is_private(httpx.URL(address).host)
    return msgspec.structs.replace(
        silent,
        reachable=True,
        detail="" if models else "no models",
        models=models,
        prices={model: _price(model, is_local=is_local) for model in models},
    )


def _of_others(name: str) -> _Answer:
    """A backend that another distribution brings."""
    silent = Backend(name, "", reachable=None, key=None, detail="", usable=False)
    try:
        entry = entry_point_of(name)
    except BackendSettingsError as error:
        return _Answer(msgspec.structs.replace(silent, detail=error.reason))
    if entry is None:
        raise AssertionError(f"{name} comes with SMESH, and is not shown as such")
    version = f" {entry.dist.version}" if entry.dist is not None else ""
    silent = msgspec.structs.replace(silent, brought_by=distributions(entry) + version)

    def load(silent: Backend) -> Backend:
        load_entry_point(entry)
        return msgspec.structs.replace(silent, usable=True)

    return _Answer(silent, load, late="it did not load")


def _price(model: str, *, is_local: bool = False) -> ModelPrice | None:
    """What a model costs, as a run would take it."""
    price: Price | None = FREE if is_local else prices().of(model)
    if price is None:
        return None
    tiers = [
        TokenPrice(prompt_tokens_max=tier.prompt_tokens_max, input_usd=float(tier.input), output_usd=float(tier.output))
        for tier in price.tiers
    ]
    return ModelPrice(as_of=price.as_of, tiers=tiers)


def _address(silent: Backend, url: str, variable: str) -> str:
    """An address to ask, without a user: httpx would send what stands for one."""
    return str(checked_address(silent.name, _USER_INFO.sub("", url), variable)).rstrip("/")


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


def _why(error: BaseException) -> str:
    match error:
        case BackendError():
            return error.reason
        case httpx.TimeoutException():
            return f"no answer within {_TIMEOUT_S:g} s"
        case msgspec.DecodeError() | UnicodeDecodeError() | httpx.DecodingError() | httpx.RemoteProtocolError():
            return "answered with something else than its protocol"
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | ValueError() | OverflowError():
            return "its address, or that of a proxy, is not one that can be asked"
        case httpx.TransportError():
            return "not running, or not reachable"
        case _:
            return " ".join(f"{type(error).__name__}: {error}".split())
