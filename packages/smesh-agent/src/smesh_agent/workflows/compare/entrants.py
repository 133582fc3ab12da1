"""Entrants: the models that are compared; those that are named, or else those that are there.

A model that is named takes part, whatever it costs, or its row says why it cannot: nothing else answers in its place.
Where none is named, what can be found is: the first models that Ollama has pulled, and the first of an
OpenAI-compatible server whose address is set. What bills its tokens is not asked by surprise: without a name it takes
part only where a budget caps what it can cost. Scripted text takes part where it is named, or where nothing else is
there, and is called what it is. What is absent is listed, with what to do to have it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

import msgspec

from smesh_agent.backends import telemetry
from smesh_agent.backends.addresses import without_secrets
from smesh_agent.backends.base import Settings
from smesh_agent.backends.budget import Budget
from smesh_agent.backends.ollama import OllamaBackend
from smesh_agent.backends.openai_compatible import OpenAiCompatibleBackend
from smesh_agent.backends.prices import parse_price, prices
from smesh_agent.backends.registry import backend_for_model, backend_names
from smesh_agent.backends.session import SCRIPTED, Caps, Session
from smesh_agent.errors import BackendError, BackendSettingsError, CallTimeoutError, JobError, UnreachableError
from smesh_agent.redaction import Redactor, known_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from types import TracebackType

    from smesh_runtime import Clock

    from smesh_agent.backends.base import Backend
    from smesh_agent.backends.model import Model

__all__ = ["CHECK_S", "FIND_S", "FOUND_MAX", "Absent", "Entrant", "Lineup", "Spec", "Terms", "parse_spec"]

FOUND_MAX: Final = 3
"""Models of a backend that take part without being named; one where tokens are billed."""
FIND_S: Final = 5.0
"""How long a backend has to say which models it has, where none is named."""
CHECK_S: Final = 30.0
"""How long one has for that where a model of it is named."""

_LISTED: Final = 5
_LOOKED_AT_MAX: Final = 20
"""Models of a server that lists hundreds are not all looked at."""
_LATER: Final = "not among the first that are taken"
_AT: Final = re.compile(r"@(?=https?://)")
_EMBEDS: Final = re.compile(r"embed", re.IGNORECASE)
_PULL: Final = "`ollama pull qwen2.5:7b` gets a model"
_BILLED: Final = "its tokens are billed, and no budget is given"

_T = TypeVar("_T")


class Spec(NamedTuple):
    """A model by name: its backend, its name there (empty for the backend's default), and an address if it has one."""

    backend: str
    model: str = ""
    url: str = ""

    @property
    def shown(self) -> str:
        """As it is called here."""
        named = "scripted text" if self.backend == SCRIPTED else self.backend
        model = "" if (self.backend, self.model) == (SCRIPTED, SCRIPTED) else self.model
        of = " of " if self.backend == SCRIPTED else " "
        return named + (f"{of}{model}" if model else "") + (f" at {without_secrets(self.url)}" if self.url else "")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all models.

    Attributes:
        environment: where keys and addresses are looked up, and what its secrets are is redacted.
        call_s: how long a call may take, its waits and all its attempts included.
        prices: USD per million tokens as ``IN/OUT``, by models' names, where none is known or it is another one.
        options: what is a backend's own, by backends' names.
        budget_tokens: what all may take together; None for any number.
        budget_usd: what all may cost together; None for any number.
    """

    environment: Mapping[str, str]
    call_s: float = 300.0
    prices: Mapping[str, str] = {}
    options: Mapping[str, Mapping[str, str]] = {}
    budget_tokens: int | None = None
    budget_usd: float | None = None


class Entrant(NamedTuple):
    """A model that takes part.

    Attributes:
        name: what it is called here, and in the ledger.
        model: the model.
        address: where it was named to be, without secrets; empty for the usual place.
        is_scripted: whether its answers are scripted text and no model's.
    """

    name: str
    model: Model
    address: str = ""
    is_scripted: bool = False

    @property
    def lane(self) -> str:
        """Whom it takes turns with: models of its backend; all that are local, for they may share a processor."""
        return "local" if self.model.backend.is_local else self.model.backend.name


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """What takes no part.

    Attributes:
        name: what it is called here.
        backend: its backend.
        why: why not.
        how: what to do to have it; empty where `why` says it.
        is_named: whether it was asked for by name.
    """

    name: str
    backend: str
    why: str
    how: str = ""
    is_named: bool = False


def parse_spec(text: str) -> Spec:
    """A model as ``BACKEND``, ``BACKEND:MODEL`` or ``BACKEND:MODEL@URL``.

    Raises:
        BackendSettingsError: there is no such backend.
    """
    named, *url = _AT.split(text.strip(), maxsplit=1)
    backend, _, model = named.partition(":")
    known = backend_names()
    if backend not in known:
        meant = f"; for a model of that name give {backend_for_model(named)}:{named}" if named else ""
        raise BackendSettingsError("", f"there is no backend {backend!r}: there are {', '.join(known)}{meant}")
    return Spec(backend, model, url[0] if url else "")


class Lineup:
    """The models that are compared, with one budget; an asynchronous context manager, which closes them.

    Args:
        terms: what holds for all.
        clock: time.

    Attributes:
        entrants: who takes part, in order.
        absent: what does not.
        budget: what may be spent, and the ledger of what was.

    Raises:
        BackendError: the terms make no sense.
    """

    def __init__(self, terms: Terms, *, clock: Clock) -> None:
        self.entrants: list[Entrant] = []
        self.absent: list[Absent] = []
        self.budget = Budget(tokens=terms.budget_tokens, usd=terms.budget_usd)
        self._terms = terms
        self._clock = clock
        self._prices = prices().extended({model: parse_price(price) for model, price in terms.prices.items()})
        self._redact = Redactor(known_secrets(terms.environment)).text
        self._send_spans = telemetry.configure(terms.environment)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(asyncio.to_thread, self._send_spans)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def name(self, specs: Iterable[Spec]) -> None:
        """Take in models by name. One that cannot be had is absent, and says why.

        Raises:
            JobError: one is named twice, or a price or an option is of what was not named.
        """
        for spec in specs:
            await self._take(spec, is_named=True)
        self._require_use()

    async def find(self) -> None:
        """Take in what is there.

        Raises:
            JobError: a price or an option is of what was not found.
        """
        await self._find_claude()
        await self._find_listed("ollama", OllamaBackend, none="no model is pulled", how=_PULL)
        if self._terms.environment.get("OPENAI_BASE_URL", "").strip():
            await self._find_listed("openai-compatible", OpenAiCompatibleBackend, none="its server has no model")
        else:
            how = "set OPENAI_BASE_URL, such as to http://127.0.0.1:8000/v1"
            self._leave_out("openai-compatible", "openai-compatible", "no address is set", how)
        for other in backend_names():
            if other not in {"claude", "ollama", "openai-compatible", SCRIPTED}:
                self._leave_out(other, other, "takes part when it is named", f"--with {other}:MODEL takes it in")
        if not self.entrants:
            await self._take(Spec(SCRIPTED), is_named=True)
        self._require_use()

    # ---- what is named

    async def _take(self, spec: Spec, *, is_named: bool) -> None:
        """Take a model in, if its provider has it."""
        try:
            session, entrant = self._open(spec)
            await _within(CHECK_S, session.check(), spec.backend)
        except BackendError as error:
            self._leave_out(spec.shown, spec.backend, error.reason, is_named=is_named)
            return
        self._add(entrant)

    def _open(self, spec: Spec) -> tuple[Session, Entrant]:
        """A model, which nobody has been asked for yet.

        Raises:
            BackendError: it cannot be made, or has no price and there is a budget in USD.
        """
        settings = Settings(
            model=spec.model,
            base_url=spec.url,
            environment=self._terms.environment,
            options=self._terms.options.get(spec.backend, {}),
        )
        session = Session(
            spec.backend,
            settings,
            clock=self._clock,
            caps=Caps(call_s=self._terms.call_s),
            prices=self._prices,
            redact=self._redact,
        )
        session.budget = self.budget  # one for all
        self._stack.push_async_exit(session)
        model = session.model()
        name = spec._replace(model=model.backend.model).shown
        return session, Entrant(name, model, without_secrets(spec.url), session.is_scripted)

    def _add(self, entrant: Entrant) -> None:
        if any(one.name == entrant.name for one in self.entrants):
            raise JobError(f"{entrant.name} is named twice")
        self.entrants.append(entrant)

    def _leave_out(self, name: str, backend: str, why: str, how: str = "", *, is_named: bool = False) -> None:
        self.absent.append(Absent(name=name, backend=backend, why=why, how=how, is_named=is_named))

    def _require_use(self) -> None:
        """Check that what is said of a model or a backend is said of one that is looked at here."""
        backends = {one.model.backend.name for one in self.entrants} | {one.backend for one in self.absent}
        for backend in self._terms.options:
            if backend not in backends:
                raise JobError(f"an option is given of {backend}, which takes no part")
        named = {one.model.backend.model for one in self.entrants}
        for model in self._terms.prices:
            if model not in named and not any(one.is_named for one in self.absent):
                raise JobError(
                    f"a price is given of {model}, which takes no part; there are {', '.join(sorted(named))}"
                )

    # ---- what is found

    @property
    def _is_capped(self) -> bool:
        return self._terms.budget_tokens is not None or self._terms.budget_usd is not None

    async def _find_claude(self) -> None:
        """Claude's cheapest model, where there is a key and a budget."""
        environment = self._terms.environment
        if not any(environment.get(name, "").strip() for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")):
            self._leave_out("claude", "claude", "no key is set", "set ANTHROPIC_API_KEY")
        elif not self._is_capped:
            self._leave_out("claude", "claude", _BILLED, "--with claude takes it in, and so does a --budget")
        else:
            await self._take(Spec("claude"), is_named=False)

    async def _find_listed(
        self, backend: str, open_: Callable[[Settings], Backend], *, none: str, how: str = ""
    ) -> None:
        """The first models of a server that says which it has."""
        settings = Settings(
            environment=self._terms.environment, options=self._terms.options.get(backend, {}), timeout_s=FIND_S
        )
        try:
            server = open_(settings)
            try:
                listed = await _within(FIND_S, server.models(), backend)
            finally:
                await server.close()
        except BackendError as error:
            self._leave_out(backend, backend, error.reason, how if isinstance(error, UnreachableError) else "")
            return
        if not listed:
            self._leave_out(backend, backend, none, how)
        self._take_first(backend, [one.name for one in listed])

    def _take_first(self, backend: str, names: Iterable[str]) -> None:
        """Take in the first models that cost nothing and, if there is a budget, the first that is billed."""
        left: dict[str, list[str]] = {}
        local = billed = looked_at = 0
        for name in dict.fromkeys(names):
            if _EMBEDS.search(name):
                left.setdefault("for embeddings, by name", []).append(name)
                continue
            if local == FOUND_MAX or looked_at == _LOOKED_AT_MAX:
                left.setdefault(_LATER, []).append(name)
                continue
            looked_at += 1
            try:
                _, entrant = self._open(Spec(backend, name))
            except BackendError as error:  # it has no price, as only what is billed needs
                if billed:
                    left.setdefault(_LATER, []).append(name)
                else:
                    self._leave_out(Spec(backend, name).shown, backend, error.reason)
                billed += 1
                continue
            if entrant.model.backend.is_local:
                local += 1
            elif self._is_capped and not billed:
                billed += 1
            else:
                left.setdefault(_LATER if self._is_capped else _BILLED, []).append(name)
                continue
            self._add(entrant)
        for why, some in left.items():
            self._leave_out(f"{backend} {_listed(some)}", backend, why, f"--with {backend}:{some[0]} takes it in")


async def _within(limit_s: float, work: Coroutine[Any, Any, _T], backend: str) -> _T:
    """What a provider answers in time.

    Raises:
        CallTimeoutError: it does not.
    """
    try:
        async with asyncio.timeout(limit_s) as scope:
            return await work
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise CallTimeoutError(backend, f"no answer within {limit_s:g} s") from error


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
