"""Lines and server-sent events, however the bytes were cut apart on their way."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smesh_agent.backends.lines import Events, Lines, TooLongError

texts = st.text(st.sampled_from("ab:, \r\n\r\n\u2028\x85"), max_size=40).map(str.encode)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def lines_of(chunks, bytes_max: int = 1000) -> list[bytes]:
    lines = Lines(bytes_max)
    return [line for chunk in chunks for line in lines.feed(chunk)] + lines.end()


def events_of(data: bytes) -> list[bytes]:
    events = Events(1000)
    return [one for one in [*map(events.feed, lines_of([data])), events.end()] if one is not None]


@given(texts, st.lists(st.integers(0, 100), max_size=8))
@example(b"a\r\nb", [2])
@example(b"a\r\n\nb", [2, 3])
@example(b"a\r\r\nb", [2, 3])
def test_lines_are_the_same_wherever_bytes_are_cut(data, places) -> None:
    expected = re.split(rb"\r\n|\r|\n", data)
    expected = expected if expected[-1] else expected[:-1]
    assert lines_of(cut(data, places)) == expected


def test_a_line_is_passed_on_when_it_ends() -> None:
    lines = Lines(100)
    assert lines.feed(b"one\ntw") == [b"one"]
    assert lines.feed(b"o\r") == [b"two"]
    assert lines.feed(b"\nthree") == []
    assert lines.end() == [b"three"]
    assert lines.end() == []


@given(st.integers(1, 50), st.lists(st.integers(0, 100), max_size=8))
def test_a_line_has_a_greatest_length(bytes_max, places) -> None:
    assert lines_of(cut(b"x" * bytes_max + b"\ny", places), bytes_max) == [b"x" * bytes_max, b"y"]
    with pytest.raises(TooLongError):
        lines_of(cut(b"x" * (bytes_max + 1), places), bytes_max)


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data:one\r\n\r\ndata:  two\r\n\r\n", [b"one", b" two"]),
        (b": a comment\n\ndata: one\n: another\ndata: more\n\n", [b"one\nmore"]),
        (b"event: message\nid: 7\nretry: 10\ndata: one\n\n", [b"one"]),
        (b"event: ping\n\n\n\n", []),
        (b"data\n\n", [b""]),
        (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
        (b"data: one\n\n\xef\xbb\xbfdata: two\n\n", [b"one"]),
        (b"data: [DONE]", [b"[DONE]"]),
        (b"data: [DONE]\n", [b"[DONE]"]),
        (b'{"error": "no event"}\n', []),
        (b"", []),
    ],
)
def test_events(data, events) -> None:
    assert events_of(data) == events


def test_an_event_has_a_greatest_length() -> None:
    events = Events(10)
    assert events.feed(b"data: 123456789") is None
    assert events.feed(b"") == b"123456789"
    for _ in range(5):
        assert events.feed(b"data: ") is None
    with pytest.raises(TooLongError):
        events.feed(b"data: 12345")
