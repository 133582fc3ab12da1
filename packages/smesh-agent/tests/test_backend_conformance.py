"""Every backend against the conformance suite of all backends.

To add one, write what opens it with a provider that answers as told, and put it into `BACKENDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import anthropic_server
import msgspec
import ollama_server
import openai_server
import pytest
from smesh_agent.backends import claude, conformance, ollama, openai_compatible
from smesh_agent.backends.base import Completion, Delta, Settings, StopReason, Usage
from smesh_agent.backends.cassette import Recording
from smesh_agent.backends.conformance import CHECKS, BreaksOff, CannotSayError, ConformanceError, Fails, Says
from smesh_agent.backends.scripted import FAILURES, Rule, ScriptedBackend
from smesh_agent.errors import BackendError, UnreachableError
from smesh_runtime import SystemClock


@contextlib.asynccontextmanager
async def opened(make, model: str, server):
    """A backend and its provider, a server on loopback."""
    with server:
        backend = make(Settings(model=model, environment=server.environment))
        try:
            yield backend
        finally:
            await backend.close()


def open_ollama(*turns):
    return opened(ollama.make, ollama_server.MODEL, ollama_server.OllamaServer(*turns))


def open_openai_compatible(*turns):
    return opened(openai_compatible.make, openai_server.MODEL, openai_server.OpenAiServer(*turns))


def open_claude(*turns):
    return opened(claude.make, anthropic_server.MODEL, anthropic_server.AnthropicServer(*turns))


@contextlib.asynccontextmanager
async def open_recorded(*turns):
    """Ollama, whose calls are recorded: nobody is to notice."""
    with tempfile.TemporaryDirectory() as directory:
        recording = Recording(Path(directory, "calls.jsonl"), redact=lambda text: text, clock=SystemClock())
        try:
            async with open_ollama(*turns) as backend:
                yield recording.of(backend)
        finally:
            recording.close()


@contextlib.asynccontextmanager
async def open_scripted(*turns):
    """A script with a rule for each turn."""
    rules = [scripted_rule(turn) for turn in turns]
    backend = ScriptedBackend([*(msgspec.structs.replace(rule, times=1) for rule in rules[:-1]), rules[-1]])
    try:
        yield backend
    finally:
        await backend.close()


def scripted_rule(turn) -> Rule:
    match turn:
        case Says(calls=(), tokens_in=conformance.TOKENS_IN):
            return Rule(say=turn.text.replace("\\", "\\\\"), stop=turn.stop.value)
        case Fails():
            (fail,) = [fail for fail, (kind, _) in FAILURES.items() if kind is turn.kind]
            return Rule(fail=fail, retry_after_s=turn.retry_after_s)
        case BreaksOff():
            return Rule(say="".join(turn.pieces) * 2, fail="truncated")  # of which half comes
        case _:
            raise CannotSayError("a script neither hangs, nor asks for tools, nor counts tokens otherwise than it does")


BACKENDS = {
    "ollama": open_ollama,
    "openai-compatible": open_openai_compatible,
    "claude": open_claude,
    "recorded": open_recorded,
    "scripted": open_scripted,
}
CANNOT = {
    ("scripted", conformance.text_is_passed_on_at_once),  # it never hangs
    ("scripted", conformance.a_cancelled_call_ends),
    ("scripted", conformance.usage_is_what_was_counted),  # it counts tokens by a rule of its own
    ("scripted", conformance.tools_are_asked_for_and_answered),
}
"""What a backend's provider cannot be told to do."""
PAIRS = [(backend, check) for backend in BACKENDS for check in CHECKS]


def named(one) -> str:
    return one if isinstance(one, str) else one.__name__


@pytest.mark.parametrize(("backend", "check"), [pair for pair in PAIRS if pair not in CANNOT], ids=named)
async def test_conformance(backend, check) -> None:
    await check(BACKENDS[backend])


@pytest.mark.parametrize(("backend", "check"), [pair for pair in PAIRS if pair in CANNOT], ids=named)
async def test_only_what_cannot_be_said_is_left_out(backend, check) -> None:
    with pytest.raises(CannotSayError):
        await check(BACKENDS[backend])


def test_nothing_is_left_out_that_is_no_check() -> None:
    assert set(PAIRS) >= CANNOT


class Faulty:
    """A backend that does one thing wrong."""

    def __init__(self, backend, fault) -> None:
        self._backend, self._fault = backend, fault

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def stream(self, request):
        return self._fault(self._backend.stream(request))


async def loses_a_delta(stream):
    lost = False
    async for piece in stream:
        if lost or isinstance(piece, Completion):
            yield piece
        lost = True


async def completes_twice(stream):
    async for piece in stream:
        yield piece
        if isinstance(piece, Completion):
            yield piece


async def never_completes(stream):
    async for piece in stream:
        if isinstance(piece, Delta):
            yield piece


async def sends_empty_deltas(stream):
    yield Delta("")
    async for piece in stream:
        yield piece


async def cuts_lines(stream):
    async for piece in stream:
        match piece:
            case Delta(text=text):
                yield Delta("".join(text.splitlines()))
            case _:
                yield msgspec.structs.replace(piece, text="".join(piece.text.splitlines()))


async def waits_for_all(stream):
    for piece in [piece async for piece in stream]:
        yield piece


async def counts_wrong(stream):
    async for piece in stream:
        is_last = isinstance(piece, Completion)
        yield msgspec.structs.replace(piece, usage=Usage(tokens_in=1, tokens_out=1)) if is_last else piece


async def knows_no_reason(stream):
    async for piece in stream:
        yield msgspec.structs.replace(piece, stop=StopReason.END) if isinstance(piece, Completion) else piece


async def forgets_ids(stream):
    async for piece in stream:
        if isinstance(piece, Completion):
            calls = tuple(msgspec.structs.replace(call, id="call") for call in piece.calls)
            piece = msgspec.structs.replace(piece, calls=calls)  # noqa: PLW2901
        yield piece


async def swallows_errors(stream):
    text = ""
    try:
        async for piece in stream:
            text += piece.text if isinstance(piece, Delta) else ""
            yield piece
    except BackendError:
        usage = Usage(tokens_in=1, tokens_out=1)
        yield Completion(text=text, stop=StopReason.END, usage=usage, model="x")


async def errs_otherwise(stream):
    try:
        async for piece in stream:
            yield piece
    except BackendError as error:
        raise UnreachableError(error.backend, error.reason) from error


async def errs_vaguely(stream):
    try:
        async for piece in stream:
            yield piece
    except BackendError as error:
        raise BackendError(error.backend, error.reason) from error


async def swallows_cancellation(stream):
    with contextlib.suppress(asyncio.CancelledError):
        async for piece in stream:
            yield piece


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (loses_a_delta, conformance.deltas_add_up),
        (completes_twice, conformance.deltas_add_up),
        (completes_twice, conformance.an_answer_may_be_empty),
        (never_completes, conformance.deltas_add_up),
        (sends_empty_deltas, conformance.deltas_add_up),
        (cuts_lines, conformance.every_character_is_kept),
        (counts_wrong, conformance.usage_is_what_was_counted),
        (knows_no_reason, conformance.a_cut_off_answer_says_so),
        (knows_no_reason, conformance.tools_are_asked_for_and_answered),
        (forgets_ids, conformance.tools_are_asked_for_and_answered),
        (swallows_errors, conformance.a_broken_answer_has_no_completion),
        (errs_otherwise, conformance.closing_twice_is_closing_once),
        (swallows_cancellation, conformance.a_cancelled_call_ends),
        *((errs_vaguely, check) for check in CHECKS if check.__name__.startswith("a_refusal_is_")),
        *((swallows_errors, check) for check in CHECKS if check.__name__.startswith("a_refusal_is_")),
    ],
    ids=lambda one: one.__name__,
)
async def test_the_suite_finds_what_is_wrong(fault, check) -> None:
    @contextlib.asynccontextmanager
    async def open_faulty(*turns):
        async with open_ollama(*turns) as backend:
            yield Faulty(backend, fault)

    with pytest.raises(ConformanceError):
        await check(open_faulty)


async def test_the_suite_does_not_wait_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(conformance, "PATIENCE_S", 0.2)

    @contextlib.asynccontextmanager
    async def open_slow(*turns):
        async with open_ollama(*turns) as backend:
            yield Faulty(backend, waits_for_all)

    with pytest.raises(ConformanceError, match="did not come"):
        await conformance.text_is_passed_on_at_once(open_slow)
