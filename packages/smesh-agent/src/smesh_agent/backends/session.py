"""A session: the models of one run, and what they share.

They share a budget with its ledger, limits, the redaction of secrets, and, where the run is recorded or replayed, a
cassette. A session reaches out to nobody until it is asked to `check`, which says what a run would otherwise find out
half-way: that a provider is not reached, does not take the key, or does not have the model.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import msgspec
from smesh_runtime import SystemClock

from smesh_agent.backends import telemetry
from smesh_agent.backends.base import Settings
from smesh_agent.backends.budget import Budget
from smesh_agent.backends.cassette import Cassette, Recording
from smesh_agent.backends.model import Model
from smesh_agent.backends.pacing import Pacing
from smesh_agent.backends.prices import parse_price
from smesh_agent.backends.prices import prices as known_prices
from smesh_agent.backends.registry import backend_for_model, make_backend
from smesh_agent.errors import ModelNotFoundError
from smesh_agent.redaction import Redactor, known_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from smesh_runtime import Clock

    from smesh_agent.backends.prices import Prices
    from smesh_agent.backends.replies import Call

__all__ = ["SCRIPTED", "Caps", "Session", "open_session"]

SCRIPTED = "scripted"


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a session may take; None is without limit.

    Attributes:
        tokens: read and written, in all.
        usd: spent, in all.
        concurrency: calls at the same time.
        requests_per_minute: sent.
        tokens_per_minute: read and written.
        call_s: how long a call may take, its waits and all its attempts included.
    """

    tokens: int | None = None
    usd: float | None = None
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    call_s: float = 1800.0


def open_session(
    backend: str,
    model: str,
    *,
    environment: Mapping[str, str],
    clock: Clock | None = None,
    base_url: str = "",
    options: Mapping[str, str] | None = None,
    scripted_options: Mapping[str, str] | None = None,
    caps: Caps | None = None,
    price: str = "",
    record: Path | None = None,
    replay: Path | None = None,
    seed: int = 0,
    told: Callable[[Call], None] = lambda _: None,
) -> Session:
    """The session that a user asks for.

    Args:
        backend: a backend's name; of an empty one the model's name says which, and without that it is ``scripted``.
        model: the model's name; empty for the backend's own default.
        environment: where keys and addresses are looked up, and what its secrets are is redacted.
        clock: time; the machine's by default.
        base_url: where the backend is, if not at its usual place.
        options: what is the backend's own.
        scripted_options: options of the scripted backend, where none are given.
        caps: what the run may take.
        price: USD per million tokens as ``IN/OUT``, where none is known or it is another one.
        record: a new file that calls are recorded to.
        replay: a recording that answers in the place of the backend.
        seed: of what is drawn.
        told: called with each call that is over.

    Raises:
        BackendError: what is asked for is not to be had.
    """
    clock = clock if clock is not None else SystemClock()
    redactor = Redactor(known_secrets(environment))
    name = backend or (backend_for_model(model) if model else SCRIPTED)
    if not options and name == SCRIPTED:
        options = scripted_options
    settings = Settings(model=model, base_url=base_url, environment=environment, options=options or {})
    prices = known_prices()
    if price:
        prices = prices.extended({model: parse_price(price)})
    send_spans = telemetry.configure(environment)
    recording = Recording(record, redact=redactor.text, clock=clock) if record is not None else None
    return Session(
        name,
        settings,
        clock=clock,
        caps=caps,
        prices=prices,
        redact=redactor.text,
        recording=recording,
        cassette=Cassette.read(replay) if replay is not None else None,
        ending=send_spans,
        seed=seed,
        told=told,
    )


class Session:
    """The models of one run; an asynchronous context manager, which closes them.

    Args:
        backend: a backend's name.
        settings: what backends are made from.
        clock: time.
        caps: what the run may take.
        prices: what models cost; those that come with this version if not given.
        redact: takes secrets out of what is sent.
        recording: takes down all calls; closed with the session.
        cassette: answers in the place of the backend.
        ending: called, in a thread, when the session ends.
        seed: of what is drawn for waits.
        told: called with each call that is over.

    Attributes:
        backend_name: what answers.
        budget: what may be spent, and the ledger of what was.
    """

    def __init__(
        self,
        backend: str,
        settings: Settings,
        *,
        clock: Clock,
        caps: Caps | None = None,
        prices: Prices | None = None,
        redact: Callable[[str], str] | None = None,
        recording: Recording | None = None,
        cassette: Cassette | None = None,
        ending: Callable[[], None] = lambda: None,
        seed: int = 0,
        told: Callable[[Call], None] = lambda _: None,
    ) -> None:
        caps = caps if caps is not None else Caps()
        self.backend_name = "cassette" if cassette is not None else backend
        self.budget = Budget(tokens=caps.tokens, usd=caps.usd)
        self._settings = settings
        self._clock = clock
        self._caps = caps
        self._pacing = Pacing(
            clock,
            concurrency_max=caps.concurrency,
            requests_per_minute=caps.requests_per_minute,
            tokens_per_minute=caps.tokens_per_minute,
        )
        self._prices = prices if prices is not None else known_prices()
        self._redact = redact
        self._recording = recording
        self._cassette = cassette
        self._ending = ending
        self._seed = seed
        self._told = told
        self._models: dict[str, Model] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for model in self._models.values():
            await model.backend.close()
        if self._recording is not None:
            self._recording.close()
        await asyncio.to_thread(self._ending)

    def model(self, name: str = "") -> Model:
        """A model of this session, made once; the run's own if it is not named.

        Raises:
            BackendSettingsError: it cannot be made, or has no price and there is a cap in USD.
        """
        name = name or self._settings.model
        if name not in self._models:
            settings = msgspec.structs.replace(self._settings, model=name)
            if self._cassette is not None:
                backend = self._cassette.backend(name)
            else:
                backend = make_backend(self.backend_name, settings)
            if self._recording is not None:
                backend = self._recording.of(backend)
            self._models[name] = Model(
                backend,
                clock=self._clock,
                budget=self.budget,
                pacing=self._pacing,
                prices=self._prices,
                redact=self._redact,
                timeout_s=self._caps.call_s,
                seed=self._seed,
                told=self._told,
            )
        return self._models[name]

    @property
    def model_name(self) -> str:
        """The run's own model, by its provider's name."""
        return self.model().backend.model

    @property
    def is_scripted(self) -> bool:
        """Whether what answers is a script and no model."""
        if self._cassette is not None:
            return self._cassette.is_scripted
        return self.backend_name == SCRIPTED

    async def check(self) -> None:
        """See whether every model of the session is to be had, without asking it anything.

        Raises:
            BackendError: one is not, and why.
        """
        for model in list(self._models.values()):
            backend = model.backend
            at_hand = [one.name for one in await backend.models()]
            if at_hand and not any(_is(one, backend.model) for one in at_hand):
                some = ", ".join(at_hand[:8])
                raise ModelNotFoundError(backend.name, f"there is no model {backend.model}; there are {some}")


def _is(at_hand: str, asked: str) -> bool:
    """Whether a name in a provider's list means the model that is asked for; Ollama lists tags that need no saying."""
    return asked in {at_hand, at_hand.removesuffix(":latest")}
