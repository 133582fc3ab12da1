"""What every backend must do, as checks that a test suite runs against each implementation.

A check gets a way to open a backend whose provider answers as it is told, and raises `ConformanceError` where the
backend falls short. What a provider is to say is told in words that belong to no provider (`Says`, `Fails`,
`BreaksOff`, `Hangs`); whoever tests a backend puts them into its provider's. Where a provider cannot do such a thing,
a script of answers that never hangs for instance, opening raises `CannotSayError`, and the check does not apply.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_conformance(check):
        try:
            await check(open_my_backend)
        except CannotSayError as error:
            pytest.skip(str(error))

Nothing here waits longer than `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

from smesh_agent.backends.base import Completion, Delta, Message, Request, StopReason, Tool, ToolCall
from smesh_agent.errors import (
    AgentError,
    AuthenticationError,
    BackendError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from smesh_agent.backends.base import Backend, Piece

__all__ = [
    "CHECKS",
    "PATIENCE_S",
    "TOKENS_IN",
    "TOKENS_OUT",
    "BreaksOff",
    "CannotSayError",
    "Check",
    "ConformanceError",
    "Fails",
    "Hangs",
    "OpenBackend",
    "Says",
    "Turn",
]

PATIENCE_S: Final = 20.0
"""How long a check waits for what must come at once; so long that a busy machine does not fail it."""

TOKENS_IN: Final = 11
"""What a provider counts as read where no check asks for another number."""
TOKENS_OUT: Final = 7
"""What it counts as written."""

_MANY: Final = 16
_RETRY_AFTER_S: Final = 7.0


class ConformanceError(AgentError):
    """A backend does not do what the conformance suite asks of every backend."""


class CannotSayError(AgentError):
    """A provider cannot answer so, whatever it is told."""


class Says(msgspec.Struct, frozen=True, kw_only=True):
    """The provider answers.

    Attributes:
        pieces: the text, as it comes.
        calls: tools that are asked for.
        stop: why the model stopped.
        tokens_in: what the provider counts as read.
        tokens_out: what it counts as written.
    """

    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    stop: StopReason = StopReason.END
    tokens_in: int = TOKENS_IN
    tokens_out: int = TOKENS_OUT

    @property
    def text(self) -> str:
        """All of the text."""
        return "".join(self.pieces)


class Fails(msgspec.Struct, frozen=True, kw_only=True):
    """The provider refuses.

    Attributes:
        kind: what the backend has to make of it.
        retry_after_s: how long the provider asks to wait.
    """

    kind: type[BackendError]
    retry_after_s: float | None = None


class BreaksOff(msgspec.Struct, frozen=True, kw_only=True):
    """The provider begins to answer, and the connection is lost.

    Attributes:
        pieces: the text that came before.
    """

    pieces: tuple[str, ...] = ()


class Hangs(msgspec.Struct, frozen=True, kw_only=True):
    """The provider begins to answer, and says no more.

    Attributes:
        pieces: the text that came before.
    """

    pieces: tuple[str, ...] = ()


Turn: TypeAlias = Says | Fails | BreaksOff | Hangs
"""What a provider does with a request."""


class OpenBackend(Protocol):
    """Opens a backend with a model, and closes it at the end."""

    def __call__(self, *turns: Turn) -> AbstractAsyncContextManager[Backend]:
        """See the class.

        Args:
            *turns: what the provider does with requests, one after the other; with all further ones, the last.

        Raises:
            CannotSayError: this provider cannot do so.
        """
        ...


Check: TypeAlias = Callable[[OpenBackend], Awaitable[None]]

_TOOL: Final = Tool(
    "look_up",
    "Looks something up.",
    {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
)
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}
# Characters that end lines for some, pairs and joined ones, both directions, quotes, and nothing printable at all.
_UNUSUAL: Final = (
    "a\r\nb\nc\rd\te",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "naïve \u2013 \u2018quoted\u2019 \u201cso\u201d",
    '"\\/{}[]data: [DONE]\n\n',
    "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3fd",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u200f \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u6f22\u5b57",
    "e\u0301 \u200d \ufeff",
    "\x00\x1b[31m\x7f",
)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ConformanceError(what)


@contextlib.asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    except TimeoutError as error:
        raise ConformanceError(f"what must come at once did not come for {PATIENCE_S:g} s") from error


def _asked(text: str = "Say something.", **more: Any) -> Request:
    return Request(messages=(Message(role="user", text=text),), **more)


async def _pieces(backend: Backend, request: Request) -> list[Piece]:
    pieces: list[Piece] = []
    async with _patience(), contextlib.aclosing(_stream(backend, request)) as stream:
        async for piece in stream:
            pieces.append(piece)  # noqa: PERF401 - what came before a timeout is wanted
    return pieces


async def _completion(backend: Backend, request: Request) -> Completion:
    pieces = await _pieces(backend, request)
    _require(bool(pieces) and isinstance(pieces[-1], Completion), f"an answer ended with {pieces[-1:]}")
    last = pieces[-1]
    if not isinstance(last, Completion) or any(isinstance(piece, Completion) for piece in pieces[:-1]):
        raise ConformanceError("an answer has not exactly one completion, or has it not last")
    return last


def _stream(backend: Backend, request: Request) -> Any:
    """The stream, which is a generator wherever it can be closed; typed as the interface does not."""
    stream = backend.stream(request)
    _require(hasattr(stream, "aclose"), "a stream cannot be closed before its end")
    return stream


async def it_says_what_it_is(open_backend: OpenBackend) -> None:
    """A backend has a name and a model, and knows whether it is local."""
    async with open_backend(Says(pieces=("x",))) as backend:
        _require(bool(backend.name) and backend.name.isprintable(), f"a backend is named {backend.name!r}")
        _require(bool(backend.model), "a backend does not say which model it has")
        _require(backend.is_local in {True, False}, "a backend does not know whether it is local")


async def deltas_add_up(open_backend: OpenBackend) -> None:
    """Deltas come first, hold text, and make the completion's; exactly one completion comes, and it is last."""
    says = Says(pieces=("Once ", "upon", " a ", "time."))
    async with open_backend(says) as backend:
        pieces = await _pieces(backend, _asked())
        *before, last = pieces
        if not isinstance(last, Completion):
            raise ConformanceError(f"an answer ended with {last}")
        _require(all(isinstance(piece, Delta) for piece in before), "a completion is not the last piece")
        _require(all(piece.text for piece in before), "a delta holds nothing")
        _require("".join(piece.text for piece in before) == last.text, "deltas do not add up to the completion's text")
        _require(last.text == says.text, f"the provider said {says.text!r}, the backend passed on {last.text!r}")
        _require(last.stop is StopReason.END, f"an answer that ended by itself stopped by {last.stop}")
        _require(bool(last.model), "a completion does not say which model answered")


async def text_is_passed_on_at_once(open_backend: OpenBackend) -> None:
    """What has come is passed on before there is more."""
    async with open_backend(Hangs(pieces=("first",))) as backend:
        async with _patience(), contextlib.aclosing(_stream(backend, _asked())) as stream:
            first = await anext(stream)
        _require(first == Delta("first"), f"an answer began with {first}")


async def every_character_is_kept(open_backend: OpenBackend) -> None:
    """Text comes as it was written, whatever is in it, and goes so."""
    async with open_backend(Says(pieces=_UNUSUAL)) as backend:
        said = (await _completion(backend, _asked("".join(_UNUSUAL), system=_UNUSUAL[0]))).text
        _require(said == "".join(_UNUSUAL), f"{''.join(_UNUSUAL)!r} became {said!r}")


async def an_answer_may_be_empty(open_backend: OpenBackend) -> None:
    """A model that says nothing has answered."""
    async with open_backend(Says(tokens_out=0)) as backend:
        pieces = await _pieces(backend, _asked())
        _require(len(pieces) == 1, f"an empty answer had the pieces {pieces}")
        _require(isinstance(pieces[0], Completion) and pieces[0].text == "", "an empty answer has text")


async def usage_is_what_was_counted(open_backend: OpenBackend) -> None:
    """Tokens are those that the provider counted, or are marked as an estimate."""
    async with open_backend(Says(pieces=("some ", "words"), tokens_in=29, tokens_out=3)) as backend:
        usage = (await _completion(backend, _asked())).usage
        counts = (usage.tokens_in, usage.tokens_out)
        _require(not usage.is_counted or counts == (29, 3), f"of 29 and 3 tokens, {counts} were passed on")
        _require(min(*counts, usage.cached_in, usage.cache_written_in) >= 0, f"tokens are fewer than none: {usage}")
        _require(usage.tokens_in > 0 and usage.tokens_out > 0, "an estimate is nothing")
        _require(usage.cached_in + usage.cache_written_in <= usage.tokens_in, f"more was cached than read: {usage}")


async def a_cut_off_answer_says_so(open_backend: OpenBackend) -> None:
    """An answer that reached the limit of tokens is told from one that ended."""
    async with open_backend(Says(pieces=("cut",), stop=StopReason.MAX_TOKENS, tokens_out=5)) as backend:
        completion = await _completion(backend, _asked(max_tokens=5))
        _require(completion.stop is StopReason.MAX_TOKENS, f"an answer that was cut off stopped by {completion.stop}")
        _require(bool(completion.raw_stop), "a completion leaves out the provider's word for why it stopped")


async def tools_are_asked_for_and_answered(open_backend: OpenBackend) -> None:
    """Calls come whole, with ids of their own, and what tools answer is taken."""
    calls = tuple(ToolCall(f"id-{n}", _TOOL.name, {"what": f'thé {n} "x"', "deep": [n, {"a": None}]}) for n in (1, 2))
    turns = (Says(pieces=("Let me see. ",), calls=calls, stop=StopReason.TOOL_USE), Says(pieces=("Found.",)))
    async with open_backend(*turns) as backend:
        request = _asked(tools=(_TOOL,))
        first = await _completion(backend, request)
        _require(first.stop is StopReason.TOOL_USE, f"an answer that asks for tools stopped by {first.stop}")
        asked = [(call.name, call.arguments) for call in first.calls]
        _require(asked == [(call.name, call.arguments) for call in calls], f"the calls became {asked}")
        ids = {call.id for call in first.calls}
        _require(len(ids) == len(calls) and all(ids), f"calls have the ids {ids}")
        answers = (
            Message(role="tool", text="here", answers=first.calls[0].id),
            Message(role="tool", text="gone", answers=first.calls[1].id, is_error=True),
        )
        said = Message(role="assistant", text=first.text, calls=first.calls)
        second = await _completion(
            backend, msgspec.structs.replace(request, messages=(*request.messages, said, *answers))
        )
        _require((second.text, second.calls) == ("Found.", ()), f"after tools had answered came {second}")


async def a_schema_changes_no_text(open_backend: OpenBackend) -> None:
    """An answer to a schema is passed on as text, for the caller to judge."""
    async with open_backend(Says(pieces=('{"colour":', ' "grün"}'))) as backend:
        said = (await _completion(backend, _asked(schema=_SCHEMA))).text
        _require(said == '{"colour": "grün"}', f"a structured answer became {said!r}")


async def all_settings_of_a_request_are_taken(open_backend: OpenBackend) -> None:
    """A system's words, stop sequences and a conversation can be sent; a temperature is sent or refused."""
    async with open_backend(Says(pieces=("fine",))) as backend:
        request = Request(
            messages=(
                Message(role="user", text="One?"),
                Message(role="assistant", text="One."),
                Message(role="user", text="Two?"),
            ),
            system="Be brief.",
            stop=("END", "\n\n"),
            max_tokens=33,
            caches=False,
        )
        _require((await _completion(backend, request)).text == "fine", "a full request was not answered")
        with contextlib.suppress(RequestRejectedError):
            await _completion(backend, msgspec.structs.replace(request, temperature=0.5))


async def many_may_ask_at_once(open_backend: OpenBackend) -> None:
    """Answers to requests under way at the same time do not mix."""
    says = Says(pieces=("a", "b", "c"))
    async with open_backend(says) as backend:
        completions = await asyncio.gather(*(_completion(backend, _asked(f"{n}")) for n in range(_MANY)))
        _require({one.text for one in completions} == {"abc"}, "answers that came at the same time mixed")


async def a_cancelled_call_ends(open_backend: OpenBackend) -> None:
    """Cancelling a call that waits for more ends it, and the backend goes on."""
    async with open_backend(Hangs(pieces=("first",)), Says(pieces=("next",))) as backend:
        began = asyncio.Event()

        async def call() -> None:
            async with contextlib.aclosing(_stream(backend, _asked())) as stream:
                async for _ in stream:
                    began.set()

        task = asyncio.create_task(call())
        async with _patience():
            await began.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        _require(task.cancelled(), "a call that was cancelled ended otherwise")
        _require((await _completion(backend, _asked())).text == "next", "after a cancelled call the backend was lost")


async def a_stream_may_be_left(open_backend: OpenBackend) -> None:
    """Who has enough closes the stream, and the backend goes on."""
    async with open_backend(Says(pieces=("one", "two")), Says(pieces=("next",))) as backend:
        async with _patience(), contextlib.aclosing(_stream(backend, _asked())) as stream:
            await anext(stream)
        _require((await _completion(backend, _asked())).text == "next", "after a stream was left the backend was lost")


async def a_broken_answer_has_no_completion(open_backend: OpenBackend) -> None:
    """An answer that broke off ends with an error after what came of it."""
    async with open_backend(BreaksOff(pieces=("first",)), Says(pieces=("next",))) as backend:
        pieces: list[Piece] = []
        try:
            async with _patience(), contextlib.aclosing(_stream(backend, _asked())) as stream:
                async for piece in stream:
                    pieces.append(piece)  # noqa: PERF401 - what came before the error is wanted
        except BackendError as error:
            _require(error.retryable, f"an answer that broke off is not worth another try: {error}")
        else:
            raise ConformanceError("an answer that broke off ended as if it were whole")
        _require(pieces == [Delta("first")], f"an answer that broke off had the pieces {pieces}")
        _require((await _completion(backend, _asked())).text == "next", "after a broken answer the backend was lost")


def _error_check(kind: type[BackendError], retry_after_s: float | None = None) -> Check:
    async def check(open_backend: OpenBackend) -> None:
        async with open_backend(Fails(kind=kind, retry_after_s=retry_after_s)) as backend:
            try:
                pieces = await _pieces(backend, _asked())
            except BackendError as error:
                _require(type(error) is kind, f"{kind.__name__} was to come, and {type(error).__name__} came: {error}")
                _require(error.backend == backend.name, f"an error is of the backend {error.backend!r}")
                _require(str(error).isprintable() and bool(error.reason), f"an error is not one line: {str(error)!r}")
                waits = error.retry_after_s
                _require(waits == retry_after_s, f"to wait {retry_after_s} s was asked, and {waits} was passed on")
            else:
                raise ConformanceError(f"a provider's refusal became the answer {pieces}")

    check.__name__ = f"a_refusal_is_{kind.__name__}"
    check.__doc__ = f"A provider's refusal is {kind.__name__}, in one line."
    return check


async def models_are_listed(open_backend: OpenBackend) -> None:
    """The models at hand have names, and the backend's own is among them."""
    async with open_backend(Says(pieces=("x",))) as backend:
        async with _patience():
            names = [model.name for model in await backend.models()]
        _require(backend.model in names, f"{backend.model!r} is not among the models {names}")


async def tokens_are_counted_or_not(open_backend: OpenBackend) -> None:
    """A provider that counts tokens counts some; one that does not says so."""
    async with open_backend(Says(pieces=("x",))) as backend:
        async with _patience():
            count = await backend.count_tokens(_asked())
        _require(count is None or count > 0, f"a request has {count} tokens")


async def closing_twice_is_closing_once(open_backend: OpenBackend) -> None:
    """A backend may be closed twice, and who asks a closed one gets an answer or an error of a backend."""
    async with open_backend(Says(pieces=("x",))) as backend:
        await _completion(backend, _asked())
        async with _patience():
            await backend.close()
            await backend.close()
        try:
            await _completion(backend, _asked())
        except BackendError as error:
            _require(not error.retryable, "a closed backend is said to be worth another try")


CHECKS: Final[tuple[Check, ...]] = (
    it_says_what_it_is,
    deltas_add_up,
    text_is_passed_on_at_once,
    every_character_is_kept,
    an_answer_may_be_empty,
    usage_is_what_was_counted,
    a_cut_off_answer_says_so,
    tools_are_asked_for_and_answered,
    a_schema_changes_no_text,
    all_settings_of_a_request_are_taken,
    many_may_ask_at_once,
    a_cancelled_call_ends,
    a_stream_may_be_left,
    a_broken_answer_has_no_completion,
    _error_check(AuthenticationError),
    _error_check(ModelNotFoundError),
    _error_check(RequestRejectedError),
    _error_check(RateLimitedError, _RETRY_AFTER_S),
    _error_check(OverloadedError),
    models_are_listed,
    tokens_are_counted_or_not,
    closing_twice_is_closing_once,
)
"""Every check of the suite."""
