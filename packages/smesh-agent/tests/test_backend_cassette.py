"""Cassettes: what is recorded is replayed as it was, and what was not is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import msgspec
import pytest
from fake_backend import Fake, asked, completed, in_time, pieces, wants
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_agent import errors
from smesh_agent.backends.base import Completion, Delta, Message, Request, StopReason, Tool, ToolCall, Usage
from smesh_agent.backends.cassette import Cassette, Recording
from smesh_agent.errors import BackendError, CallTimeoutError, CassetteError, OverloadedError, RequestRejectedError
from smesh_agent.redaction import Redactor
from smesh_runtime import SystemClock, VirtualClock

KEY = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0bC3dE6"
MARKER = "«redacted:github-token-1»"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.jsonl"


def recording(path, *, clock=None, **more):
    return Recording(path, redact=more.pop("redact", Redactor().text), clock=clock or SystemClock(), **more)


async def heard(backend, request):
    """What comes of a request: pieces, and at the end the error if there is one."""
    came = []
    try:
        async for piece in backend.stream(request):
            came.append(piece)  # noqa: PERF401 - what came before an error is wanted
    except BackendError as error:
        came.append((type(error), error.backend, error.reason, error.retry_after_s))
    return came


async def record(path, *asks, answers, **more):
    """Ask one after the other with the recording on; what came of each."""
    keeper = recording(path, **more)
    try:
        backend = keeper.of(Fake(*answers))
        return [await heard(backend, request) for request in asks]
    finally:
        keeper.close()


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
CALLS = st.lists(st.builds(ToolCall, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=3)), max_size=2).map(tuple)
REQUESTS = st.builds(
    Request,
    messages=st.lists(
        st.builds(Message, role=st.sampled_from(["user", "assistant", "tool"]), text=TEXT, calls=CALLS, answers=TEXT),
        min_size=1,
        max_size=3,
    ).map(tuple),
    system=TEXT,
    max_tokens=st.integers(1, 10**6),
    schema=st.none() | st.dictionaries(TEXT, JSON, max_size=3),
    tools=st.lists(st.builds(Tool, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=2)), max_size=2).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    stop=st.lists(TEXT, max_size=2).map(tuple),
    caches=st.booleans(),
)
ENDS = st.builds(
    Completion,
    text=TEXT,
    calls=CALLS,
    stop=st.sampled_from(StopReason),
    raw_stop=TEXT,
    usage=st.builds(Usage, tokens_in=st.integers(0, 2**50), tokens_out=st.integers(0, 2**50), is_counted=st.booleans()),
    model=TEXT,
)
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BackendError)]
FAILURES = st.builds(
    lambda kind, reason, after_s: kind("fake", reason, retry_after_s=after_s),
    st.sampled_from([kind for kind in KINDS if kind is not CassetteError]),
    TEXT,
    st.none() | st.floats(0, 1e6),
)
ANSWERS = st.tuples(st.lists(TEXT.filter(bool).map(Delta), max_size=4), ENDS | FAILURES | st.none()).map(
    lambda answer: [*answer[0], *([answer[1]] if answer[1] is not None else [])]
)


@settings(max_examples=60, deadline=None)
@given(asks=st.lists(st.tuples(REQUESTS, ANSWERS), min_size=1, max_size=4), data=st.data())
def test_what_was_recorded_is_replayed(tmp_path_factory, asks, data) -> None:
    path = tmp_path_factory.mktemp("cassette") / "calls.jsonl"

    async def there_and_back() -> None:
        requests = [request for request, _ in asks]
        came = await record(path, *requests, answers=[answer for _, answer in asks], redact=lambda text: text)
        again = Cassette.read(path).backend()
        for place in data.draw(st.permutations(range(len(asks)))):
            if requests.count(requests[place]) == 1:
                assert await heard(again, requests[place]) == came[place]

    asyncio.run(there_and_back())


async def test_it_says_whose_the_calls_were(path) -> None:
    await record(path, asked(), answers=[completed("yes")])
    head, call = lines_of(path)
    assert head == {"schema": "smesh.cassette/1"}
    assert (call["backend"], call["model"], call["is_local"]) == ("fake", "claude-sonnet-5-5", False)
    backend = Cassette.read(path).backend()
    assert (backend.name, backend.model, backend.is_local) == ("cassette", "claude-sonnet-5-5", False)
    assert [model.name for model in await backend.models()] == ["claude-sonnet-5-5"]
    assert await backend.count_tokens(asked()) is None
    await backend.close()


async def test_whoever_is_recorded_does_not_notice(path) -> None:
    inner = Fake(completed(), count=7, model="llama3", is_local=True)
    keeper = recording(path)
    backend = keeper.of(inner)
    assert (backend.name, backend.model, backend.is_local) == ("fake", "llama3", True)
    assert await backend.count_tokens(asked()) == 7
    await backend.close()
    assert inner.closed == 1
    keeper.close()


async def test_equal_requests_are_answered_in_turn_and_then_no_more(path) -> None:
    await record(path, *[asked("a"), asked("b"), asked("a")], answers=[pieces("1"), pieces("2"), pieces("3")])
    cassette = Cassette.read(path)
    backend = cassette.backend()
    assert [(await heard(backend, asked(text)))[0] for text in "aab"] == [Delta("1"), Delta("3"), Delta("2")]
    assert cassette.left == 0
    with pytest.raises(CassetteError, match="was recorded no more often") as raised:
        await anext(backend.stream(asked("a")))
    assert raised.value.difference == ""
    assert not raised.value.retryable


async def test_the_order_of_agents_does_not_matter(path) -> None:
    texts = [f"question {n}" for n in range(20)]
    await record(path, *map(asked, texts), answers=[pieces("answer ", text) for text in texts])
    backend = Cassette.read(path).backend()
    came = await asyncio.gather(*(heard(backend, asked(text)) for text in reversed(texts)))
    assert [answer[-1].text for answer in came] == [f"answer {text}" for text in reversed(texts)]


async def test_many_may_record_at_once(path) -> None:
    keeper = recording(path)
    texts = [f"{n} " * 2000 for n in range(40)]
    backends = [keeper.of(Fake(pieces("x" * 5000))) for _ in range(4)]
    await asyncio.gather(*(heard(backends[n % 4], asked(text)) for n, text in enumerate(texts)))
    keeper.close()
    cassette = Cassette.read(path)
    assert cassette.left == len(texts)
    for text in texts:
        cassette.take(asked(text))


async def test_two_models_keep_to_themselves(path) -> None:
    keeper = recording(path)
    for model, is_local in (("large", False), ("small", True)):
        await heard(keeper.of(Fake(pieces(model), model=model, is_local=is_local)), asked())
    keeper.close()
    cassette = Cassette.read(path)
    small = cassette.backend("small")
    assert (small.model, small.is_local) == ("small", True)
    assert (await heard(small, asked()))[0] == Delta("small")
    with pytest.raises(CassetteError, match="no more often"):
        await anext(small.stream(asked()))
    assert (await heard(cassette.backend(), asked()))[0] == Delta("large")
    with pytest.raises(CassetteError, match=r"it holds no call of the model 'huge'; it has large, small"):
        cassette.backend("huge")


async def test_a_changed_prompt_is_told_by_what_is_different(path) -> None:
    first = asked("Review this:\nimport os\nimport sys\nprint(1)\n", system="You review.")
    await record(path, asked("Something else altogether."), first, answers=[completed("a")])
    backend = Cassette.read(path).backend()
    changed = msgspec.structs.replace(
        first, messages=(Message(role="user", text="Review this:\nimport os\nimport re\nprint(1)\n"),)
    )
    with pytest.raises(CassetteError) as raised:
        await anext(backend.stream(changed))
    message, difference = str(raised.value), raised.value.difference
    assert message == f"cassette: {path}: this was not asked when it was recorded; new is import re"
    assert difference.splitlines()[:2] == ["--- recorded", "+++ asked now"]
    assert [line for line in difference.splitlines()[2:] if line[0] in "+-"] == ["-import sys", "+import re"]


async def test_the_difference_is_from_what_is_still_unused(path) -> None:
    await record(path, asked("the moon is round"), asked("the sun is hot"), answers=[completed("a")])
    backend = Cassette.read(path).backend()
    await heard(backend, asked("the moon is round"))
    with pytest.raises(CassetteError) as raised:
        await anext(backend.stream(asked("the moon is square")))
    assert "the sun is hot" in raised.value.difference
    await heard(backend, asked("the sun is hot"))
    with pytest.raises(CassetteError, match="all that was recorded has been asked for") as raised:
        await anext(backend.stream(asked("the moon is square")))
    assert raised.value.difference == ""


@pytest.mark.parametrize(
    "change",
    [
        {"system": "other"},
        {"max_tokens": 5},
        {"temperature": 0.5},
        {"schema": {"type": "object"}},
        {"stop": ("x",)},
        {"tools": (Tool("t", "", {}),)},
        {"caches": False},
    ],
)
async def test_any_change_of_a_request_is_a_change(path, change) -> None:
    await record(path, asked("a"), answers=[completed("a")])
    with pytest.raises(CassetteError) as raised:
        await anext(Cassette.read(path).backend().stream(asked("a", **change)))
    (name,) = change
    assert f'"{name}"' in raised.value.difference
    assert "\n" not in str(raised.value)


async def test_a_long_difference_is_cut(path) -> None:
    await record(path, asked("\n".join(f"line {n}" for n in range(500))), answers=[completed("a")])
    with pytest.raises(CassetteError) as raised:
        await anext(Cassette.read(path).backend().stream(asked("\n".join(f"row {n}" for n in range(500)))))
    assert len(raised.value.difference.splitlines()) < 50
    assert raised.value.difference.splitlines()[-1].endswith("more lines")


async def test_no_secret_reaches_the_file(path) -> None:
    known = "correct-horse-battery"
    request = asked(
        f"Use {KEY} and {known}.",
        system=f"{known}",
        schema={"properties": {"a": {"default": KEY}}},
        tools=(Tool("t", f"with {KEY}", {"description": known}),),
        stop=(KEY,),
    )
    call = ToolCall("1", "t", {"key": KEY, known: [known]})
    answers = [
        [Delta("it is "), Delta(KEY[:10]), Delta(KEY[10:]), completed(f"it is {KEY}", calls=(call,))],
        OverloadedError("fake", f"cannot reach https://x/?key={known}"),
    ]
    again = msgspec.structs.replace(request, max_tokens=9)
    redact = Redactor([known]).text
    came = await record(path, request, again, answers=answers, redact=redact)
    assert came[0][-1].text == f"it is {KEY}"  # whoever asked gets what came
    text = path.read_text(encoding="utf-8")
    assert KEY not in text
    assert known not in text
    assert KEY[10:] not in text
    backend = Cassette.read(path).backend()
    sent = msgspec.structs.replace(again, messages=(Message(role="user", text=redact(again.messages[0].text)),))
    sent = msgspec.structs.replace(
        sent, system=redact(known), tools=(Tool("t", f"with {KEY}", {"description": redact(known)}),)
    )
    replayed = await heard(backend, msgspec.structs.replace(sent, max_tokens=request.max_tokens))
    assert replayed[0] == Delta(f"it is {MARKER}")
    assert replayed[1].text == f"it is {MARKER}"
    assert replayed[1].calls[0].arguments["key"] == MARKER
    assert (await heard(backend, sent))[0][2] == "cannot reach https://x/?key=«redacted:known-secret-1»"


@pytest.mark.parametrize("ends_by", ["cancelled", "left"])
async def test_a_call_that_was_given_up_is_replayed_as_a_timeout(path, ends_by) -> None:
    clock = VirtualClock()
    inner = Fake([Delta("first"), 100.0, completed("never")], clock=clock)
    keeper = recording(path, clock=clock)
    stream = keeper.of(inner).stream(asked())
    assert await anext(stream) == Delta("first")
    clock.advance(2.0)
    if ends_by == "cancelled":
        task = asyncio.create_task(anext(stream))
        for _ in range(10):  # until it waits for more
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await stream.aclose()
    assert inner.open == 0  # it is closed with the stream around it
    keeper.close()
    first, error = await heard(Cassette.read(path).backend(), asked())
    assert first == Delta("first")
    assert error[:3] == (CallTimeoutError, "fake", "it was given up after 2.0 s when it was recorded")


async def test_an_answer_that_is_not_wanted_any_more_is_recorded_whole(path) -> None:
    keeper = recording(path)
    stream = keeper.of(Fake(pieces("a"))).stream(asked())
    assert [await anext(stream), (await anext(stream)).text] == [Delta("a"), "a"]
    await stream.aclose()
    keeper.close()
    assert len(lines_of(path)) == 2
    assert (await heard(Cassette.read(path).backend(), asked()))[-1].text == "a"


async def test_a_call_is_on_the_disk_before_it_is_over(path) -> None:
    keeper = recording(path)
    async for piece in keeper.of(Fake(pieces("a"))).stream(asked()):
        if isinstance(piece, Completion):
            assert len(lines_of(path)) == 2
    keeper.close()


async def test_an_error_of_somebody_elses_kind_is_replayed_as_the_nearest_of_ours(path) -> None:
    class VeryOverloadedError(OverloadedError):
        pass

    await record(path, asked(), answers=[VeryOverloadedError("fake", "no", retry_after_s=3.0)])
    assert await heard(Cassette.read(path).backend(), asked()) == [(OverloadedError, "fake", "no", 3.0)]


@pytest.mark.parametrize(
    ("request_", "why"),
    [(asked("\ud800"), "surrogate"), (asked(schema={"a": object()}), "cannot be written as JSON")],
)
async def test_what_is_no_json_is_refused_before_anything_is_asked(path, request_, why) -> None:
    inner = Fake(completed())
    keeper = recording(path)
    with pytest.raises(RequestRejectedError, match=why):
        await anext(keeper.of(inner).stream(request_))
    keeper.close()
    assert inner.requests == []


@pytest.mark.parametrize("answer", [pieces("a\ud800"), wants("t", a="\ud800")])
async def test_half_a_character_in_an_answer_is_told_and_the_recording_goes_on(path, answer) -> None:
    keeper = recording(path)
    backend = keeper.of(Fake(answer, pieces("b")))
    with pytest.raises(CassetteError, match="half of a surrogate pair in an answer"):
        await heard_or_raised(backend, asked())
    assert (await heard(backend, asked()))[-1].text == "b"
    keeper.close()
    assert Cassette.read(path).left == 1


async def test_what_is_being_written_when_a_call_is_cancelled_is_written(path, monkeypatch) -> None:
    begun, may_end, sync = threading.Event(), threading.Event(), os.fsync

    def slow(file):
        begun.set()
        may_end.wait(20)
        sync(file)

    keeper = recording(path)
    monkeypatch.setattr(os, "fsync", slow)
    task = asyncio.create_task(heard(keeper.of(Fake(pieces("a"))), asked()))
    try:
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()  # or whoever waits for it would close the recording too early
    finally:
        may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    keeper.close()
    assert (await heard(Cassette.read(path).backend(), asked()))[-1].text == "a"


async def test_what_its_name_calls_a_credential_does_not_reach_the_file(path) -> None:
    call = ToolCall("1", "login", {"user": "joe", "with": [{"password": "hunter2"}]})
    said = Message(role="assistant", calls=(call,))
    request = msgspec.structs.replace(asked(), messages=(said, *asked().messages))
    arguments = {"password": "hunter2"}
    (came,) = await record(path, request, answers=[wants("login", **arguments)])
    assert came[0].calls[0].arguments == arguments
    assert "hunter2" not in path.read_text(encoding="utf-8")
    replayed = await heard(Cassette.read(path).backend(), request)
    assert replayed[0].calls[0].arguments == {"password": "«redacted:credential-1»"}


async def test_pace_is_kept_only_when_asked_for(path) -> None:
    clock = VirtualClock(5)
    keeper = recording(path, clock=clock)
    await in_time(
        clock, heard(keeper.of(Fake([1.5, Delta("a"), 2.0, Delta("b"), completed("ab")], clock=clock)), asked())
    )
    keeper.close()
    assert [event["at_s"] for event in lines_of(path)[1]["events"]] == [1.5, 3.5, 3.5]
    clock = VirtualClock()
    assert len(await in_time(clock, heard(Cassette.read(path).backend(clock=clock), asked()))) == 3
    assert clock.monotonic_ns() == 0
    await in_time(clock, heard(Cassette.read(path).backend(keeps_pace=True, clock=clock), asked()))
    assert clock.monotonic_ns() == 3_500_000_000


# ---- files


async def test_a_recording_does_not_overwrite_unless_told(path) -> None:
    await record(path, asked("old"), answers=[completed("old")])
    with pytest.raises(CassetteError, match="it is there already; record to another file"):
        recording(path)
    assert Cassette.read(path).left == 1
    await record(path, asked("new"), answers=[completed("new")], overwrites=True)
    assert (await heard(Cassette.read(path).backend(), asked("new")))[-1].text == "new"


def test_nobody_else_may_read_it(path) -> None:
    recording(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("where", ["none/calls.jsonl", ".", "a\0b"])
def test_where_nothing_can_be_written_is_said_in_a_line(tmp_path, where) -> None:
    with pytest.raises(CassetteError) as raised:
        recording(tmp_path / where)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no disk that is always full")
def test_a_full_disk_is_said_in_a_line(tmp_path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(CassetteError, match="No space left on device; the recording ends here"):
        recording(full, overwrites=True)


async def test_after_a_failed_write_nothing_is_asked_and_what_there_is_can_be_read(path, monkeypatch) -> None:
    keeper = recording(path)
    inner = Fake(pieces("a"))
    backend = keeper.of(inner)
    await heard(backend, asked("1"))
    write = os.write

    def half(file, data):
        if len(data) < 200:
            raise OSError(28, "No space left on device")
        return write(file, data[:150])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(CassetteError, match="No space left on device"):
        await heard_or_raised(backend, asked("2"))
    monkeypatch.undo()
    with pytest.raises(CassetteError, match="the recording ends here"):
        await heard_or_raised(backend, asked("3"))
    assert len(inner.requests) == 2
    keeper.close()
    cassette = Cassette.read(path)
    assert (cassette.left, cassette.torn) == (1, False)


async def heard_or_raised(backend, request):
    return [piece async for piece in backend.stream(request)]


async def test_a_closed_recording_writes_no_more(path) -> None:
    keeper = recording(path)
    backend = keeper.of(Fake(completed()))
    keeper.close()
    keeper.close()
    with pytest.raises(CassetteError, match="is closed"):
        await heard_or_raised(backend, asked())


async def test_every_beginning_of_a_file_can_be_read(path) -> None:
    await record(path, asked("1"), asked("2"), answers=[pieces("a"), pieces("b")])
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for length in [*range(ends[0] - 1, len(whole), 7), *ends, *(end - 1 for end in ends)]:
        path.write_bytes(whole[:length])
        cassette = Cassette.read(path)
        complete = sum(end - 1 <= length for end in ends) - 1
        assert cassette.left == complete
        assert cassette.torn == (length not in {*ends, *(end - 1 for end in ends)})


def test_a_killed_run_leaves_what_had_ended(path) -> None:
    code = f"""
    import asyncio, os, signal, sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from pathlib import Path
    from fake_backend import Fake, asked, pieces
    from smesh_agent.backends.cassette import Recording
    from smesh_runtime import SystemClock

    async def main():
        backend = Recording(Path({str(path)!r}), redact=str, clock=SystemClock()).of(Fake(pieces("a")))
        for n in range(5):
            async for piece in backend.stream(asked(str(n))):
                pass
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert Cassette.read(path).left == 5


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1: it is no recording of SMESH"),
        (b"\n", "line 1: it is no recording of SMESH"),
        (b"hello", "line 1: it is no recording of SMESH"),
        (b'{"schema":"smesh.casse', "line 1: it is no recording of SMESH"),
        (b'{"schema":"other/1"}\n', "line 1: it is no recording of SMESH"),
        (b"\xff\xfe\x00", "line 1: it is no recording of SMESH"),
        (b"[" * 100_000, "line 1: it is no recording of SMESH"),
        (b'{"schema":"smesh.cassette/2"}\n', "line 1: it is of 'smesh.cassette/2', and this version reads"),
        (b'{"schema":"smesh.cassette/1"}\n\n{"backend":3}\n', "line 3: it is damaged: Expected `str`, got `int`"),
        (b'{"schema":"smesh.cassette/1"}\nxx\n{"a', "line 2: it is damaged"),
        (b'{"schema":"smesh.cassette/1"}\n{"backend":"\xff"}\n', "line 2: it is damaged"),
    ],
)
def test_what_is_no_cassette_is_said_in_a_line(path, content, why) -> None:
    path.write_bytes(content)
    with pytest.raises(CassetteError) as raised:
        Cassette.read(path)
    assert str(raised.value).startswith(f"cassette: {path}, {why}")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("where", ["none.jsonl", ".", "a\0b"])
def test_what_cannot_be_read_is_said_in_a_line(tmp_path, where) -> None:
    with pytest.raises(CassetteError) as raised:
        Cassette.read(tmp_path / where)
    assert len(str(raised.value).splitlines()) == 1


def test_an_empty_recording_answers_nothing(path) -> None:
    recording(path).close()
    with pytest.raises(CassetteError, match=r"it holds no call$"):
        Cassette.read(path).backend()


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), headed=st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, headed) -> None:
    path = tmp_path_factory.mktemp("cassette") / "calls.jsonl"
    path.write_bytes((b'{"schema":"smesh.cassette/1"}\n' if headed else b"") + content)
    try:
        Cassette.read(path)
    except CassetteError as error:
        why = str(error)
        assert len(why.splitlines()) == 1


async def test_tools_are_replayed(path) -> None:
    await record(path, asked(), answers=[wants("look_up", a={"b": [1, None]})])
    (answer,) = await heard(Cassette.read(path).backend(), asked())
    assert answer.calls == (ToolCall("1", "look_up", {"a": {"b": [1, None]}}),)


async def test_a_cassette_can_be_recorded_from_a_cassette(path, tmp_path) -> None:
    came = await record(path, asked(), answers=[pieces("a", "b")])
    keeper = recording(tmp_path / "copy.jsonl")
    assert await heard(keeper.of(Cassette.read(path).backend()), asked()) == came[0]
    keeper.close()
    assert await heard(Cassette.read(tmp_path / "copy.jsonl").backend(), asked()) == came[0]
