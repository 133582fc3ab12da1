"""A model as agents use it: a backend, and all that has to stand around one.

The story of a call. Secrets are taken out of what is to be sent. Then the request is attempted: it waits for its turn
(`pacing`), the most that it can take is reserved (`budget`), it is sent, and what it took is charged. An attempt that
fails in a way that may pass is made again a little later (`retrying`). All attempts and all waits together have one
deadline, by the clock that was given. In the end a span is closed (`telemetry`) and a callback is told, whatever came
of it. A call that is cancelled, anywhere, leaves its place and its reservation at once.

On that stand streams, answers of a type (`structured`) and conversations with tools (`tools`).
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from smesh_agent.backends import structured, telemetry, tools
from smesh_agent.backends.base import Completion, Delta
from smesh_agent.backends.budget import Budget, tokens_bound
from smesh_agent.backends.pacing import Pacing
from smesh_agent.backends.prices import FREE, prices
from smesh_agent.backends.replies import Call, Reply, together
from smesh_agent.backends.retrying import Retries, draw
from smesh_agent.errors import (
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    CallTimeoutError,
    RequestRejectedError,
    SchemaError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from smesh_runtime import Clock

    from smesh_agent.backends.base import Backend, Message, Request
    from smesh_agent.backends.budget import Reservation
    from smesh_agent.backends.prices import Price, Prices
    from smesh_agent.backends.structured import Struct
    from smesh_agent.backends.tools import Ability, Conversation

__all__ = ["CALL_S_DEFAULT", "Model"]

CALL_S_DEFAULT: Final = 1800.0
"""How long a call may take, its waits and all its attempts included."""
_NS_PER_S: Final = 10**9
_BYTES_A_TOKEN: Final = 3
"""What limits of tokens a minute reckon with; `Place.took` corrects it."""


class Model:
    """A backend that takes turns, keeps to a budget, tries again, and hides secrets.

    It may be used by many at the same time; several models may share a budget and a pacing.

    Args:
        backend: the model itself.
        clock: time.
        budget: what may be spent, and the ledger of what was; a ledger without caps if not given.
        pacing: the limits to keep to; none if not given.
        retries: how often and how patiently to try again.
        prices: what models cost; those that come with this version if not given.
        redact: applied to each text of a request before it is sent. It has to leave alone what it gave out before,
            because the turns of a conversation are sent again and again.
        timeout_s: how long a call may take, its waits and all its attempts included.
        seed: of what is drawn for the waits between attempts.
        told: called with each call that is over.

    Attributes:
        backend: as given.
        budget: as given.
        price: what the model costs; None where that is not known.

    Raises:
        BackendSettingsError: the budget has a cap in USD, and the model's price is not known.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock,
        budget: Budget | None = None,
        pacing: Pacing | None = None,
        retries: Retries | None = None,
        prices: Prices | None = None,
        redact: Callable[[str], str] | None = None,
        timeout_s: float = CALL_S_DEFAULT,
        seed: int = 0,
        told: Callable[[Call], None] = lambda _: None,
    ) -> None:
        self.backend = backend
        self.budget = budget if budget is not None else Budget()
        self.price = _price_of(backend, prices)
        if self.price is None and self.budget.allowance.pusd is not None:
            raise BackendSettingsError(
                backend.name,
                f"no price of {backend.model} is known, so a budget in USD cannot be kept: "
                "give its price, or a budget in tokens",
            )
        self._clock = clock
        self._pacing = pacing if pacing is not None else Pacing(clock)
        self._retries = retries if retries is not None else Retries()
        self._redact = redact
        self._timeout_s = timeout_s
        self._seed = seed
        self._told = told
        self._calls = itertools.count()

    # ---- what agents ask for

    async def generate(self, request: Request, *, label: str = "") -> Reply:
        """Ask, and wait for the whole answer.

        Args:
            request: what is asked.
            label: whom or what for, in the ledger.

        Raises:
            BackendError: what went wrong, by kind, after as many attempts as made sense.
        """
        return await self._call(request, label, give=None)

    async def stream(self, request: Request, *, label: str = "") -> AsyncGenerator[Delta | Reply, None]:
        """Ask, and pass on the answer as it comes.

        The call goes on by itself while its reader is busy. A reader that stops early closes the generator
        (`contextlib.aclosing`), and that cancels the call.

        Yields:
            Deltas, and last the reply.

        Raises:
            BackendError: what went wrong, by kind. Once a piece of the answer was given out, nothing is attempted
                again: `BadAnswerError` then says how much had come.
        """
        pieces: asyncio.Queue[Delta | None] = asyncio.Queue()
        call = asyncio.create_task(self._call(request, label, give=pieces.put_nowait))
        call.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await call
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def structured(self, request: Request, type_: type[Struct], *, label: str = "") -> tuple[Struct, Reply]:
        """Ask for an answer of a type. A model whose answer does not fit is told why, once.

        Returns:
            The value, and the reply that it is from, with what both attempts at it took.

        Raises:
            BackendError: what went wrong, by kind.
            RequestRejectedError: the model declined, or its answer was cut off.
            SchemaError: the answer does not fit, nor does the second one.
            TypeError: the type contains itself.
        """
        request = msgspec.structs.replace(request, schema=structured.schema_of(type_), tools=())
        first = await self._whole(request, label)
        try:
            return structured.decoded(first.text, type_), first
        except structured.MisfitError as misfit:
            again = structured.repaired(request, first.completion, str(misfit))
        second = await self._whole(again, label)
        try:
            return structured.decoded(second.text, type_), together(first, second)
        except structured.MisfitError as misfit:
            raise SchemaError(
                self.backend.name,
                f"the answer is no {type_.__name__}: {misfit}; it begins {structured.shown(second.text)}",
            ) from misfit

    async def converse(
        self, request: Request, abilities: Sequence[Ability], *, rounds_max: int = tools.ROUNDS_MAX, label: str = ""
    ) -> Conversation:
        """Ask, and let the model use tools until it has said all, or until it had so many turns.

        Raises:
            BackendError: what went wrong, by kind. What goes wrong in a tool the model is told.
        """
        return await tools.converse(
            lambda asked: self.generate(asked, label=label), request, abilities, rounds_max=rounds_max
        )

    async def count_tokens(self, request: Request) -> int | None:
        """How many tokens the prompt of a request has, by the provider's own count; None where it cannot say.

        Raises:
            BackendError: what went wrong, by kind; it is not asked for again.
        """
        async with self._deadline():
            return await self.backend.count_tokens(_redacted(request, self._redact))

    async def close(self) -> None:
        """Close all connections."""
        await self.backend.close()

    async def _whole(self, request: Request, label: str) -> Reply:
        reply = await self.generate(request, label=label)
        if why := structured.unusable(reply.completion, reply.max_tokens):
            raise RequestRejectedError(self.backend.name, why)
        return reply

    # ---- the story of a call

    async def _call(self, request: Request, label: str, give: Callable[[Delta], None] | None) -> Reply:
        """One call, from what is asked to what is told of it."""
        call = _UnderWay(next(self._calls), self._clock.monotonic_ns(), give)
        request = _redacted(request, self._redact)
        span = telemetry.begin(self.backend, request, label=label, streams=give is not None)
        try:
            reply = await self._answer(request, label, call)
        except BaseException as error:
            span.failed(error, attempts=call.attempts)
            self._tell(call, label, None, error)
            raise
        span.answered(reply.completion, first_token_s=reply.first_token_s, attempts=call.attempts)
        self._tell(call, label, reply, None)
        return reply

    async def _answer(self, request: Request, label: str, call: _UnderWay) -> Reply:
        """Attempt it until it is answered, until trying again makes no sense, or until its time is over."""
        async with self._deadline(call):
            while True:
                call.attempts += 1
                try:
                    return await self._attempt(request, label, call)
                except BackendError as error:
                    if call.given_out:
                        raise BadAnswerError(
                            self.backend.name,
                            f"the answer broke off after {call.given_out} characters, which had been given out, so it "
                            f"was not asked for again: {error.reason}",
                        ) from error
                    left_s = self._timeout_s - self._since_s(call.begun_ns)
                    drawn = draw(self._seed, call.number, call.attempts)
                    wait_s = self._retries.wait_s(error, call.attempts, left_s=left_s, drawn=drawn)
                await self._clock.sleep(wait_s)

    async def _attempt(self, request: Request, label: str, call: _UnderWay) -> Reply:
        """Wait for a turn, set aside what it may take, send it, and charge what it took."""
        bound = tokens_bound(request)
        async with (
            self._pacing.place(bound // _BYTES_A_TOKEN + request.max_tokens) as place,
            self.budget.reserve(
                tokens_in=bound,
                max_tokens=request.max_tokens,
                price=self.price,
                count=lambda: self._counted(request),
                label=label,
            ) as held,
        ):
            sent = msgspec.structs.replace(request, max_tokens=held.max_tokens)
            sent_ns = self._clock.monotonic_ns()
            completion, first_ns = await self._exchange(sent, held, call)
            cost_usd = held.took(completion.usage)
            place.took(completion.usage.tokens_in + completion.usage.tokens_out)
        return Reply(
            completion=completion,
            cost_usd=cost_usd,
            latency_s=self._since_s(sent_ns),
            first_token_s=None if first_ns is None else (first_ns - sent_ns) / _NS_PER_S,
            waited_s=(sent_ns - call.begun_ns) / _NS_PER_S,
            attempts=call.attempts,
            max_tokens=held.max_tokens,
        )

    async def _exchange(self, request: Request, held: Reservation, call: _UnderWay) -> tuple[Completion, int | None]:
        """Send it once; returns the answer, and when its first text came."""
        first_ns: int | None = None
        pieces = self.backend.stream(request)
        try:
            async for piece in pieces:
                held.has_begun = True
                if isinstance(piece, Completion):
                    return piece, first_ns
                if piece.text:
                    first_ns = self._clock.monotonic_ns() if first_ns is None else first_ns
                    call.pass_on(piece)
        finally:
            if (close := getattr(pieces, "aclose", None)) is not None:
                await close()
        raise BadAnswerError(self.backend.name, "the answer ended without a word on why")

    async def _counted(self, request: Request) -> int | None:
        """The provider's count, and a little more, because providers call their own counts estimates."""
        count = await self.backend.count_tokens(request)
        return None if count is None else count + count // 20 + 64

    # ---- its time

    @asynccontextmanager
    async def _deadline(self, call: _UnderWay | None = None) -> AsyncIterator[None]:
        """End what runs within when the call's time is over, by the clock that was given."""
        try:
            async with asyncio.timeout(None) as scope:
                watch = asyncio.create_task(self._expire(scope))
                try:
                    yield
                finally:
                    watch.cancel()
        except TimeoutError as error:
            if not scope.expired():
                raise
            attempts = f", {call.attempts} attempts and their waits included" if call and call.attempts > 1 else ""
            came = f"; {call.given_out} characters had been given out" if call and call.given_out else ""
            raise CallTimeoutError(
                self.backend.name, f"the call took more than {self._timeout_s:g} s{attempts}{came}"
            ) from error

    async def _expire(self, scope: asyncio.Timeout) -> None:
        await self._clock.sleep(self._timeout_s)
        scope.reschedule(asyncio.get_running_loop().time())

    def _since_s(self, then_ns: int) -> float:
        return (self._clock.monotonic_ns() - then_ns) / _NS_PER_S

    def _tell(self, call: _UnderWay, label: str, reply: Reply | None, error: BaseException | None) -> None:
        self._told(
            Call(
                label=label,
                backend=self.backend.name,
                model=self.backend.model,
                attempts=call.attempts,
                took_s=self._since_s(call.begun_ns),
                reply=reply,
                error=error,
            )
        )


class _UnderWay:
    """A call that is under way."""

    def __init__(self, number: int, begun_ns: int, give: Callable[[Delta], None] | None) -> None:
        self.number = number
        self.begun_ns = begun_ns
        self.attempts = 0
        self.given_out = 0
        self._give = give

    def pass_on(self, delta: Delta) -> None:
        """Give a piece of the answer to whoever reads along."""
        if self._give is not None:
            self.given_out += len(delta.text)
            self._give(delta)


def _price_of(backend: Backend, known: Prices | None) -> Price | None:
    if backend.is_local:
        return FREE
    return (known if known is not None else prices()).of(backend.model)


def _redacted(request: Request, redact: Callable[[str], str] | None) -> Request:
    """A request whose every text has gone through the function: messages, what tools answered, and the system's."""
    if redact is None:
        return request

    def clean(value: Any) -> Any:
        match value:
            case str():
                return redact(value)
            case list():
                return [clean(one) for one in value]
            case dict():
                return {key: clean(one) for key, one in value.items()}
            case _:
                return value

    def cleaned(message: Message) -> Message:
        calls = tuple(msgspec.structs.replace(call, arguments=clean(call.arguments)) for call in message.calls)
        return msgspec.structs.replace(message, text=redact(message.text), calls=calls)

    return msgspec.structs.replace(
        request, system=redact(request.system), messages=tuple(cleaned(message) for message in request.messages)
    )
