"""Typed payloads: their bounds, their bytes, their JSON, and the signals that carry them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smesh_core import (
    DecayCurve,
    InvalidSignalError,
    Signal,
    SignalType,
    decode_signal,
    encode_signal,
    node_id,
    subject,
)
from smesh_core.errors import PayloadError
from smesh_core.limits import PAYLOAD_BYTES_MAX, SUBJECT_BYTES_MAX, TTL_MAX_NS
from smesh_core.payload import (
    PAYLOAD_JSON_BYTES_MAX,
    PAYLOAD_KINDS,
    Approval,
    Claim,
    Failure,
    Finding,
    Heartbeat,
    Payload,
    Result,
    Review,
    Task,
    TestResult,
    cut_quote,
    decode_payload,
    decode_payload_json,
    encode_payload,
    encode_payload_json,
    payload_decay,
    payload_of,
    payload_schema,
    payload_signal_type,
    payload_subject,
    signal_of,
    subject_about,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "payloads.md").read_text(encoding="utf-8")
ADA, BO = node_id("ada"), node_id("bo")
HASH_A, HASH_B = "a" * 64, "0123456789abcdef" * 4
SECOND = 10**9
FINDING = Finding(kind="CWE-78", path="app.py", message="A shell", severity="high", line=5, quote="run(x)")
SAMPLES: dict[type, Payload] = {
    Task: Task(what="Fix it", skill="python", after=(HASH_A,), key="k1"),
    Claim: Claim(task=HASH_A, attempt=1, lease_s=30),
    Heartbeat: Heartbeat(state="working", claims=2),
    Result: Result(task=HASH_A, output="Done", artefacts=(HASH_B,), tokens_in=10, tokens_out=3, cost_usd=0.25),
    Failure: Failure(task=HASH_A, attempt=2, reason="Timed out"),
    Finding: FINDING,
    Review: Review(of=HASH_A, verdict="approve", reasons=("Ran it",)),
    TestResult: TestResult(of=HASH_A, command="pytest", passed=3, duration_s=1.5),
    Approval: Approval(of=HASH_A, asked_by=HASH_B, granted=True),
}
EACH = pytest.mark.parametrize("payload", SAMPLES.values(), ids=[kind.__name__ for kind in SAMPLES])

ids = st.text("0123456789abcdef", min_size=64, max_size=64)
id_lists = st.lists(ids, max_size=3).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
some_text = texts.filter(bool)
paths = some_text.map(lambda text: text.replace("\0", "").replace("..", "").lstrip("/")).filter(bool)
counts, attempts, seconds = st.integers(0, 2**31 - 1), st.integers(1, 255), st.integers(1, 30 * 24 * 3600)
tokens, words = st.integers(0, 2**53 - 1), st.sampled_from


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    first = draw(counts)
    last = draw(st.integers(first, 2**31 - 1)) if first else 0
    return Finding(
        kind=draw(some_text), path=draw(paths), message=draw(some_text), rule=draw(texts), quote=draw(texts),
        severity=draw(words(["info", "low", "medium", "high"])), line=first, line_end=last, fix=draw(texts),
    )  # fmt: skip


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    is_effectful = draw(st.booleans())
    return Task(
        what=draw(some_text), skill=draw(texts), priority=draw(st.floats(0, 1)), run_s_max=draw(seconds),
        after=draw(id_lists), key=draw(some_text if is_effectful else texts), effectful=is_effectful,
        owner=draw(ids) if is_effectful else "",
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> TestResult:
    mutants = draw(counts)
    return TestResult(
        of=draw(ids), command=draw(some_text), passed=draw(counts), failed=draw(counts), errors=draw(counts),
        duration_s=draw(st.floats(0, 2_592_000)), output=draw(texts), mutants=mutants,
        mutants_killed=draw(st.integers(0, mutants)),
    )  # fmt: skip


PAYLOADS: dict[type, st.SearchStrategy[Any]] = {
    Task: tasks(),
    Claim: st.builds(Claim, task=ids, attempt=attempts, lease_s=seconds, started=st.booleans()),
    Heartbeat: st.builds(Heartbeat, state=words(["idle", "working", "leaving"]), claims=counts),
    Result: st.builds(
        Result, task=ids, output=texts, artefacts=id_lists, tokens_in=tokens, tokens_out=tokens,
        cost_usd=st.floats(0, 1e6),
    ),
    Failure: st.builds(Failure, task=ids, attempt=attempts, reason=some_text, retryable=st.booleans()),
    Finding: findings(),
    Review: st.builds(
        Review, of=ids, verdict=words(["approve", "object"]), reasons=st.lists(some_text, max_size=3).map(tuple)
    ),
    TestResult: runs(),
    Approval: st.builds(Approval, of=ids, asked_by=ids, granted=st.booleans(), note=texts),
}  # fmt: skip
payloads = st.one_of(*PAYLOADS.values())


def signed(payload: Payload, **changed: Any) -> Signal:
    return signal_of(payload, **{"author": ADA, "seq": 1, "created_at_ns": 0, "deadline_ns": 900 * SECOND} | changed)


def one_line_refusal(do: Any, *arguments: Any) -> str:
    with pytest.raises(PayloadError) as refused:
        do(*arguments)
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 300
    return said


# ---- round trips


@given(payloads)
@settings(max_examples=300)
def test_what_is_encoded_is_decoded(payload: Payload) -> None:
    encoded = encode_payload(payload)
    assert decode_payload(encoded) == payload
    assert type(decode_payload(encoded)) is type(payload)
    assert encode_payload(decode_payload(encoded)) == encoded
    assert encode_payload_json(decode_payload_json(encode_payload_json(payload))) == encode_payload_json(payload)
    assert decode_payload_json(encode_payload_json(payload)) == payload


@given(payloads)
def test_a_signal_brings_its_payload_over_the_wire(payload: Payload) -> None:
    assert payload_of(decode_signal(encode_signal(signed(payload)))) == payload


def test_the_kinds_are_all_there_and_their_codes_stay() -> None:
    assert tuple(SAMPLES) == tuple(PAYLOADS) == PAYLOAD_KINDS
    assert [encode_payload(sample)[2] for sample in SAMPLES.values()] == list(range(1, 10))
    assert {encode_payload(sample)[0] for sample in SAMPLES.values()} == {1}


def test_the_bytes_are_as_documented() -> None:
    """Written from the msgpack specification, by hand."""
    assert encode_payload(Heartbeat(state="idle", claims=300)) == b"\x01\x93\x03\xa4idle\xcd\x01\x2c"
    assert encode_payload(Failure(task=HASH_A, attempt=2, reason="é")) == (
        b"\x01\x95\x05\xd9\x40" + b"a" * 64 + b"\x02\xa2\xc3\xa9\xc3"
    )
    assert encode_payload(Task(what="x")) == (
        b"\x01\x9a\x01\xa1x\xa0\xcb\x3f\xe0" + bytes(6) + b"\x90\xa0\xcd\x02\x58\xc2\xa0\xa0"
    )


def test_json_has_a_type_and_every_value_under_its_name() -> None:
    assert encode_payload_json(Heartbeat(state="idle")) == b'{"type":"heartbeat","state":"idle","claims":0}'
    assert json.loads(encode_payload_json(SAMPLES[TestResult])) == {
        "type": "test_result", "of": HASH_A, "command": "pytest", "passed": 3, "failed": 0, "errors": 0,
        "duration_s": 1.5, "output": "", "mutants": 0, "mutants_killed": 0,
    }  # fmt: skip


def test_json_takes_keys_in_any_order_with_white_space_and_defaults() -> None:
    assert decode_payload_json(' {"claims": 0,\n "state": "idle", "type": "heartbeat"} ') == Heartbeat(state="idle")
    assert decode_payload_json(b'{"type":"heartbeat","state":"idle"}') == Heartbeat(state="idle")
    assert decode_payload_json('{"type":"task","what":"x","priority":1}') == Task(what="x", priority=1.0)


# ---- bounds

TOO_LARGE = [
    (Task, {"what": ""}), (Task, {"what": "x" * 8193}), (Task, {"what": "é" * 4097}), (Task, {"what": "\ud800"}),
    (Task, {"what": b"x"}), (Task, {"skill": "x" * 129}), (Task, {"priority": 1.01}), (Task, {"priority": -0.01}),
    (Task, {"priority": float("nan")}), (Task, {"priority": True}), (Task, {"priority": 10**5000}),
    (Task, {"after": (HASH_A,) * 65}), (Task, {"after": [HASH_A]}), (Task, {"after": (HASH_A.upper(),)}),
    (Task, {"after": ("a" * 63,)}), (Task, {"key": "x" * 257}), (Task, {"run_s_max": 0}),
    (Task, {"run_s_max": 2592001}), (Task, {"run_s_max": 1.0}), (Task, {"effectful": 1}), (Task, {"effectful": True}),
    (Task, {"effectful": True, "owner": HASH_A, "key": ""}), (Task, {"effectful": True, "owner": ""}),
    (Task, {"owner": HASH_A}), (Claim, {"task": ""}), (Claim, {"task": "A" * 64}), (Claim, {"task": "a" * 64 + "\n"}),
    (Claim, {"attempt": 0}), (Claim, {"attempt": 256}), (Claim, {"attempt": True}), (Claim, {"lease_s": 0}),
    (Heartbeat, {"state": "asleep"}), (Heartbeat, {"state": 1}), (Heartbeat, {"claims": -1}),
    (Heartbeat, {"claims": 2**31}), (Result, {"output": "x" * 8193}), (Result, {"artefacts": (HASH_A,) * 65}),
    (Result, {"tokens_in": -1}), (Result, {"tokens_out": 2**53}), (Result, {"cost_usd": 1e6 + 1}),
    (Result, {"cost_usd": float("inf")}), (Failure, {"reason": ""}), (Failure, {"reason": "x" * 2049}),
    (Failure, {"retryable": None}), (Finding, {"kind": ""}), (Finding, {"kind": "x" * 129}), (Finding, {"path": ""}),
    (Finding, {"path": "x" * 1025}), (Finding, {"path": "/etc/passwd"}), (Finding, {"path": "a/../../b"}),
    (Finding, {"path": "a\0b"}), (Finding, {"message": ""}), (Finding, {"severity": "critical"}),
    (Finding, {"rule": "x" * 129}), (Finding, {"line": -1}), (Finding, {"line": 5, "line_end": 4}),
    (Finding, {"line": 0, "line_end": 4}), (Finding, {"quote": "x" * 1025}), (Finding, {"fix": "x" * 4097}),
    (Review, {"verdict": "maybe"}), (Review, {"reasons": ("x",) * 17}), (Review, {"reasons": ("",)}),
    (Review, {"reasons": ("x" * 513,)}), (TestResult, {"command": ""}), (TestResult, {"command": "x" * 1025}),
    (TestResult, {"passed": -1}), (TestResult, {"duration_s": -1.0}), (TestResult, {"mutants": 1, "mutants_killed": 2}),
    (TestResult, {"output": "x" * 8193}), (Approval, {"granted": "yes"}), (Approval, {"note": "x" * 2049}),
    (Approval, {"asked_by": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changed"), TOO_LARGE, ids=lambda case: getattr(case, "__name__", None))
def test_a_value_out_of_bounds_is_refused_wherever_it_comes_from(kind: type[Payload], changed: dict[str, Any]) -> None:
    values = msgspec.structs.asdict(SAMPLES[kind]) | changed
    assert kind.__name__ in one_line_refusal(lambda: kind(**values))
    code = PAYLOAD_KINDS.index(kind) + 1
    try:
        wire = b"\x01" + msgspec.msgpack.encode([code, *values.values()])
        text = json.dumps({"type": kind.__struct_config__.tag, **values})
    except (TypeError, ValueError, OverflowError):  # what neither msgpack nor JSON can say
        return
    if wire != encode_payload_or_none(values, kind):  # a list is a tuple there
        one_line_refusal(decode_payload, wire)
        one_line_refusal(decode_payload_json, text)


def encode_payload_or_none(values: dict[str, Any], kind: type[Payload]) -> bytes | None:
    try:
        return encode_payload(kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}))
    except PayloadError:
        return None


LARGEST = {
    Task: Task(what="\x01" * 8192, skill="\x01" * 128, priority=0.3, after=(HASH_A,) * 64, key="\x01" * 256,
               run_s_max=2592000, effectful=True, owner=HASH_A),
    Claim: Claim(task=HASH_A, attempt=255, lease_s=2592000, started=True),
    Heartbeat: Heartbeat(state="working", claims=2**31 - 1),
    Result: Result(task=HASH_A, output="\x01" * 8192, artefacts=(HASH_A,) * 64, tokens_in=2**53 - 1,
                   tokens_out=2**53 - 1, cost_usd=0.1),
    Failure: Failure(task=HASH_A, attempt=255, reason="\x01" * 2048),
    Finding: Finding(kind="\x01" * 128, path="\x01" * 1024, message="\x01" * 2048, severity="medium", rule="\x01" * 128,
                     line=2**31 - 1, line_end=2**31 - 1, quote="\x01" * 1024, fix="\x01" * 4096),
    Review: Review(of=HASH_A, verdict="approve", reasons=("\x01" * 512,) * 16),
    TestResult: TestResult(of=HASH_A, command="\x01" * 1024, passed=2**31 - 1, failed=2**31 - 1, errors=2**31 - 1,
                           duration_s=0.1, output="\x01" * 8192, mutants=2**31 - 1, mutants_killed=2**31 - 1),
    Approval: Approval(of=HASH_A, asked_by=HASH_A, granted=True, note="\x01" * 2048),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAYLOAD_KINDS, ids=lambda kind: kind.__name__)
def test_the_largest_value_of_a_kind_fits_a_signal_and_its_json_a_reader(kind: type[Payload]) -> None:
    """No text can be longer: one more byte is refused, by the test above."""
    largest = LARGEST[kind]
    assert len(encode_payload(largest)) <= PAYLOAD_BYTES_MAX
    assert len(encode_payload_json(largest)) <= PAYLOAD_JSON_BYTES_MAX
    assert payload_of(signed(largest)) == largest
    assert len(payload_subject(largest) or b"") <= SUBJECT_BYTES_MAX
    assert decode_payload_json(encode_payload_json(largest)) == largest


def test_a_value_has_one_spelling() -> None:
    assert repr(Task(what="x", priority=-0.0)) == repr(Task(what="x", priority=0)) == repr(Task(what="x", priority=0.0))
    assert Finding(kind="k", path="p", message="m", line=5).line_end == 5


@EACH
def test_values_do_not_change_once_made(payload: Payload) -> None:
    with pytest.raises(AttributeError):
        setattr(payload, payload.__struct_fields__[0], "x")
    assert hash(payload) == hash(decode_payload(encode_payload(payload)))


def test_a_test_result_is_no_test_class_and_says_whether_all_is_well() -> None:
    assert TestResult.__test__ is False
    assert "__test__" not in TestResult.__struct_fields__
    assert TestResult(of=HASH_A, command="c", passed=1).is_passed
    for counted in ({}, {"passed": 1, "failed": 1}, {"passed": 1, "errors": 1}):
        assert not TestResult(of=HASH_A, command="c", **counted).is_passed


# ---- hostile bytes

BEAT = encode_payload(Heartbeat(state="idle", claims=3))
NOT_CANONICAL = {
    "nothing": b"",
    "only a version": b"\x01",
    "version 0": b"\x00" + BEAT[1:],
    "version 128": b"\x80" + BEAT[1:],
    "version 255": b"\xff" + BEAT[1:],
    "unknown kind": b"\x01\x92\x0a\xa4idle",
    "kind 0": b"\x01\x93\x00\xa4idle\x03",
    "kind as text": b"\x01\x93\xa9heartbeat\xa4idle\x03",
    "no kind": b"\x01\x90",
    "a map": b"\x01\x81\xa4type\x03",
    "a value appended, in this version": b"\x01\x94\x03\xa4idle\x03\xc0",
    "a default left out": b"\x01\x92\x03\xa4idle",
    "a value left out": b"\x01\x91\x03",
    "bytes left over": BEAT + b"\xc0",
    "cut short": BEAT[:-1],
    "long form of an int": b"\x01\x93\x03\xa4idle\xcc\x03",
    "long form of a text": b"\x01\x93\x03\xd9\x04idle\x03",
    "long form of an array": b"\x01\xdc\x00\x03\x03\xa4idle\x03",
    "binary for a text": b"\x01\x93\x03\xc4\x04idle\x03",
    "not UTF-8": b"\x01\x96\x09\xd9\x40" + b"a" * 64 + b"\xd9\x40" + b"a" * 64 + b"\xc3\xa2\xff\xfe",
    "a surrogate": b"\x01\x9a\x01\xa3\xed\xa0\x80",
    "float32": b"\x01\x9a\x01\xa1x\xa0\xca\x3f\x00\x00\x00\x90\xa0\xcd\x02\x58\xc2\xa0\xa0",
    "an int for a float": b"\x01\x9a\x01\xa1x\xa0\x01\x90\xa0\xcd\x02\x58\xc2\xa0\xa0",
    "NaN": b"\x01\x9a\x01\xa1x\xa0\xcb\x7f\xf8" + bytes(6) + b"\x90\xa0\xcd\x02\x58\xc2\xa0\xa0",
    "negative zero": b"\x01\x9a\x01\xa1x\xa0\xcb\x80" + bytes(7) + b"\x90\xa0\xcd\x02\x58\xc2\xa0\xa0",
    "infinity": b"\x01\x9a\x01\xa1x\xa0\xcb\x7f\xf0" + bytes(6) + b"\x90\xa0\xcd\x02\x58\xc2\xa0\xa0",
    "a text of 4 GiB": b"\x01\x93\x03\xdb\xff\xff\xff\xff",
    "an array of 4 Gi": b"\x01\xdd\xff\xff\xff\xff\x03",
    "4 Gi values to skip": b"\x02\x94\x03\xa4idle\x03\xdd\xff\xff\xff\xff",
    "nested 15,000 deep": b"\x01" + b"\x91" * 15_000,
    "nested 15,000 deep, to skip": b"\x02\x94\x03\xa4idle\x03" + b"\x91" * 15_000 + b"\x01",
    "too long": b"\x01" * (PAYLOAD_BYTES_MAX + 1),
    "an end that was not given": b"\x01\x9a\x06\xa1k\xa1p\xa1m\xa3low\xa0\x05\x00\xa0\xa0",
}


@pytest.mark.parametrize("encoded", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_what_would_not_have_been_written_is_refused(encoded: bytes) -> None:
    one_line_refusal(decode_payload, encoded)


def test_the_cases_above_differ_from_good_ones_only_by_what_they_say() -> None:
    """So that each is refused for its own reason, and not for a slip."""
    assert decode_payload(b"\x01\x93\x03\xa4idle\x03") == Heartbeat(state="idle", claims=3)
    task = b"\x01\x9a\x01\xa1x\xa0\xcb\x3f\xe0" + bytes(6) + b"\x90\xa0\xcd\x02\x58\xc2\xa0\xa0"
    assert decode_payload(task) == Task(what="x")
    finding = b"\x01\x9a\x06\xa1k\xa1p\xa1m\xa3low\xa0\x05\x05\xa0\xa0"
    assert decode_payload(finding) == Finding(kind="k", path="p", message="m", severity="low", line=5)


@EACH
@pytest.mark.parametrize("added", [b"", b"\xc0", b"\xa3new\x93\x01\x02\x03\x81\xa1k\xcb" + bytes(8)])
def test_a_later_version_may_append_values(payload: Payload, added: bytes) -> None:
    own = encode_payload(payload)
    values = own[1] - 0x90 + {0: 0, 1: 1}.get(len(added), 3)
    assert values <= 15
    assert decode_payload(bytes([2, 0x90 + values]) + own[2:] + added) == payload


def test_a_later_version_may_append_many_values_and_nothing_else() -> None:
    own = encode_payload(Heartbeat(state="idle", claims=3))
    assert decode_payload(b"\x02\xdc\x00\x14" + own[2:] + b"\xc0" * 17) == Heartbeat(state="idle", claims=3)
    one_line_refusal(decode_payload, b"\x02\xdc\x00\x04" + own[2:] + b"\xc0")  # a head that is longer than it need be
    one_line_refusal(decode_payload, b"\x02\x94\x03\xa4idle\xcc\x03\xc0")  # a known value in its long form
    one_line_refusal(decode_payload, b"\x02\x93\x03\xa4idle\x03\xc0")  # a value beyond the array


def refused_or_same(encoded: bytes) -> None:
    payload, refused = outcome_of(decode_payload, encoded)
    assert refused.isprintable()
    assert payload is None or encode_payload(payload) == encoded or encoded[0] > 1


def outcome_of(decode: Callable[[bytes], Payload], encoded: bytes) -> tuple[Payload | None, str]:
    """What was read, or why not; any other exception than ours goes through."""
    try:
        return decode(encoded), ""
    except PayloadError as error:
        return None, str(error)


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_are_refused_or_canonical(encoded: bytes) -> None:
    refused_or_same(encoded)
    refused_or_same(b"\x01" + encoded)
    assert outcome_of(decode_payload_json, encoded)[1].isprintable()


@given(payloads.map(encode_payload), st.data())
@settings(max_examples=300)
def test_altered_bytes_are_refused_or_canonical(encoded: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(encoded) - 1))
    replaced = data.draw(st.binary(max_size=3))
    refused_or_same(encoded[:at] + replaced + encoded[at + 1 :])


JSON_REFUSED = {
    "nothing": "",
    "a number": "1",
    "no type": '{"state":"idle"}',
    "an unknown type": '{"type":"rumour","state":"idle"}',
    "an unknown key": '{"type":"heartbeat","state":"idle","mood":"good"}',
    "a key twice": '{"type":"heartbeat","state":"idle","state":"working"}',
    "the type twice": '{"type":"heartbeat","type":"heartbeat","state":"idle"}',
    "NaN": '{"type":"task","what":"x","priority":NaN}',
    "Infinity": '{"type":"result","task":"' + HASH_A + '","cost_usd":Infinity}',
    "a number beyond any": '{"type":"result","task":"' + HASH_A + '","cost_usd":1e999}',
    "an int of 5,000 digits": '{"type":"heartbeat","state":"idle","claims":' + "9" * 5000 + "}",
    "a float for an int": '{"type":"heartbeat","state":"idle","claims":1.5}',
    "a text for a number": '{"type":"heartbeat","state":"idle","claims":"1"}',
    "a surrogate": '{"type":"task","what":"\\ud800"}',
    "nested deeply": "[" * 100_000,
    "a value nested deeply": '{"type":"task","what":' + "[" * 50_000 + "]" * 50_000 + "}",
    "not UTF-8": b'{"type":"task","what":"\xff"}',
    "UTF-16": '{"type":"heartbeat","state":"idle"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"type":"heartbeat","state":"idle"}',
    "too long": " " * (PAYLOAD_JSON_BYTES_MAX + 1),
}


@pytest.mark.parametrize("text", JSON_REFUSED.values(), ids=JSON_REFUSED)
def test_json_that_is_no_payload_is_refused(text: str | bytes) -> None:
    one_line_refusal(decode_payload_json, text)


def test_what_is_no_payload_cannot_be_encoded() -> None:
    for encode in (encode_payload, encode_payload_json):
        assert "Signal" in one_line_refusal(encode, Signal(author=ADA, seq=0, created_at_ns=0))


# ---- the documented tables


def test_the_schema_is_the_documented_one() -> None:
    (block,) = re.findall(r"^```json\n(\{\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert json.loads(block) == payload_schema()


def test_types_decays_and_codes_are_the_documented_ones() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \| `(\w+)` \| (\w+) \| (\w+)", PAGE, re.MULTILINE)
    said = [
        (str(code), kind.__name__, kind.__struct_config__.tag, payload_signal_type(kind).name, payload_decay(kind).name)
        for code, kind in enumerate(PAYLOAD_KINDS, 1)
    ]
    assert [(*row[:3], row[3].upper(), row[4].upper()) for row in rows] == said


# ---- signals


@EACH
def test_a_signal_is_of_its_payloads_kind(payload: Payload) -> None:
    signal = signed(payload)
    assert signal.type is payload_signal_type(payload)
    assert signal.decay is payload_decay(payload)
    assert signal.subject == payload_subject(payload)
    assert payload_of(signal) == payload
    if not isinstance(payload, Claim | Heartbeat):
        assert (signal.decay, signal.expires_at_ns) == (DecayCurve.STEP, 900 * SECOND)


def test_claims_live_for_their_lease_and_heartbeats_for_a_minute_and_no_longer_than_the_run() -> None:
    claim, beat = Claim(task=HASH_A, attempt=1, lease_s=30), Heartbeat(state="idle")
    assert (signed(claim).ttl_ns, signed(beat).ttl_ns) == (30 * SECOND, 60 * SECOND)
    assert signed(claim, deadline_ns=None).ttl_ns == 30 * SECOND
    assert signed(claim, created_at_ns=5, deadline_ns=12).ttl_ns == 7
    assert (signed(claim).decay, signed(beat).decay) == (DecayCurve.LINEAR, DecayCurve.EXPONENTIAL)


def test_what_lives_to_the_deadline_needs_one_that_has_not_passed() -> None:
    assert "deadline" in one_line_refusal(lambda: signed(FINDING, deadline_ns=None))
    for created_at_ns in (900 * SECOND, 901 * SECOND):
        assert "deadline" in one_line_refusal(lambda at=created_at_ns: signed(FINDING, created_at_ns=at))
    with pytest.raises(InvalidSignalError, match="ttl_ns"):
        signed(FINDING, deadline_ns=TTL_MAX_NS + 1)


def test_the_rest_of_a_signal_is_the_callers() -> None:
    signal = signed(FINDING, seq=7, confidence=0.5, intensity=0.25, radius=9, field_id=bytes(32))
    assert (signal.seq, signal.confidence, signal.intensity, signal.radius) == (7, 0.5, 0.25, 9)
    assert (signal.author, signal.field_id) == (ADA, bytes(32))


@pytest.mark.parametrize(
    "changed",
    [
        {"type": SignalType.ALERT},
        {"subject": None},
        {"subject": b"x"},
        {"payload": b""},
        {"payload": b'{"type":"finding"}'},
        {"payload": encode_payload(Finding(kind="CWE-79", path="app.py", message="A shell", line=5, quote="run(x)"))},
        {"payload": encode_payload(Heartbeat(state="idle"))},
    ],
)
def test_a_signal_that_is_not_what_it_carries_is_refused(changed: dict[str, Any]) -> None:
    assert payload_of(signed(FINDING)) == FINDING
    one_line_refusal(payload_of, msgspec.structs.replace(signed(FINDING), **changed))


def test_a_keyed_task_of_a_later_version_is_read() -> None:
    """Its subject hashes what this version does not know."""
    own = encode_payload(Task(what="x", key="k"))
    later = bytes([2, own[1] + 1]) + own[2:] + b"\xc3"
    about = subject("task", "k", hashlib.sha256(later).digest())
    signal = msgspec.structs.replace(signed(Task(what="x", key="k")), payload=later, subject=about)
    assert payload_of(signal) == Task(what="x", key="k")
    one_line_refusal(payload_of, msgspec.structs.replace(signal, subject=payload_subject(Task(what="x", key="k"))))


# ---- subjects


def test_subjects_stay_what_they_are() -> None:
    digest = hashlib.sha256(b"run(x)").digest()
    assert payload_subject(FINDING) == subject("finding", "CWE-78", "app.py", digest)
    about = subject("about", bytes.fromhex(HASH_A))
    assert subject_about(HASH_A) == about
    assert payload_subject(SAMPLES[Review]) == about + subject("review", "approve")
    assert payload_subject(SAMPLES[TestResult]) == about + subject("test", "pytest", "passed")
    assert payload_subject(SAMPLES[Approval]) == about + subject("approval", "granted")
    task = SAMPLES[Task]
    assert payload_subject(task) == subject("task", "k1", hashlib.sha256(encode_payload(task)).digest())
    for own in (Task(what="x"), SAMPLES[Claim], SAMPLES[Heartbeat], SAMPLES[Result], SAMPLES[Failure]):
        assert payload_subject(own) is None


@given(findings(), findings())
@example(FINDING, msgspec.structs.replace(FINDING, quote="\trun(x)  ", message="Other words", line=9, line_end=9))
@example(FINDING, msgspec.structs.replace(FINDING, quote="run (x)"))
@example(FINDING, msgspec.structs.replace(FINDING, path="lib.py"))
def test_findings_meet_where_class_place_and_line_are_the_same(one: Finding, other: Finding) -> None:
    def place(finding: Finding) -> tuple[str, str, list[str]]:
        return finding.kind, finding.path, finding.quote.split()

    assert (payload_subject(one) == payload_subject(other)) == (place(one) == place(other))


def test_independent_authors_meet_at_one_finding() -> None:
    theirs = msgspec.structs.replace(FINDING, message="Text is run by a shell", severity="medium", quote="  run(x)")
    assert signed(FINDING).statement == signed(theirs, author=BO, seq=5).statement
    assert signed(SAMPLES[Result]).statement != signed(SAMPLES[Result], author=BO).statement


def test_nobody_changes_a_task_under_its_key() -> None:
    asked, forged = Task(what="Fix it", key="k"), Task(what="Delete it", key="k")
    assert payload_subject(asked) == payload_subject(Task(what="Fix it", key="k"))
    assert payload_subject(asked) != payload_subject(forged)


def test_long_paths_and_commands_are_told_apart_by_their_hash() -> None:
    one, other = (Finding(kind="k" * 128, path="p" * 1023 + last, message="m") for last in "ab")
    assert payload_subject(one) != payload_subject(other)
    tested, again = (TestResult(of=HASH_A, command="c" * 1023 + last) for last in "ab")
    assert payload_subject(tested) != payload_subject(again)


def test_outcomes_are_different_statements() -> None:
    def outcome(**counted: int) -> bytes | None:
        return payload_subject(TestResult(of=HASH_A, command="pytest", **counted))

    assert outcome(passed=3) == outcome(passed=4)
    assert outcome(passed=3) != outcome(passed=3, failed=1) == outcome(errors=1)


def test_a_statement_spoken_about_is_named_by_its_id() -> None:
    for wrong in ("", "a" * 63, "A" * 64, ADA):
        one_line_refusal(subject_about, wrong)


@given(st.text(max_size=600))
def test_a_quote_is_cut_between_characters(line: str) -> None:
    quote = cut_quote(line)
    assert len(quote.encode()) <= 1024
    assert cut_quote(quote) == quote
    assert line.encode(errors="replace").decode().startswith(quote)
    assert Finding(kind="k", path="p", message="m", quote=quote).quote == quote


def test_a_long_quote_loses_its_end() -> None:
    assert cut_quote("é" * 600) == "é" * 512
    assert cut_quote("x" + "é" * 600) == "x" + "é" * 511
