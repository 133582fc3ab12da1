"""The nine kinds of payload as values, and the bounds that each value keeps.

A bound is written once, in the annotation: the constructor checks it in bytes of UTF-8, and JSON Schema states it in
characters, which is weaker wherever a character takes more than a byte. The bounds of a kind are such that even with
every value at its largest the encoding fits a signal. What the kinds are for: `smesh_core.payload`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from smesh_core.errors import PayloadError
from smesh_core.limits import ID_BYTES, TTL_MAX_NS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PAYLOAD_KINDS",
    "QUOTE_BYTES_MAX",
    "Approval",
    "Claim",
    "Failure",
    "Finding",
    "Heartbeat",
    "Payload",
    "Result",
    "Review",
    "Severity",
    "Task",
    "TestResult",
    "check_payload_id",
    "payload_hints",
]

QUOTE_BYTES_MAX: Final = 1024
_NS_PER_S: Final = 10**9

# The bounds. A text's are in characters for JSON Schema and in bytes of UTF-8 for the constructor, which is stricter.
_Hex: TypeAlias = Annotated[str, Meta(min_length=2 * ID_BYTES, max_length=2 * ID_BYTES, pattern="^[0-9a-f]{64}$")]
_HexOrNone: TypeAlias = Annotated[str, Meta(max_length=2 * ID_BYTES, pattern="^([0-9a-f]{64})?$")]
_Ids: TypeAlias = Annotated[tuple[_Hex, ...], Meta(max_length=64)]
_Name: TypeAlias = Annotated[str, Meta(max_length=128)]
_GivenName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
_Key: TypeAlias = Annotated[str, Meta(max_length=256)]
_Path: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
_Quote: TypeAlias = Annotated[str, Meta(max_length=QUOTE_BYTES_MAX)]
_Command: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
_Sentence: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2048)]
_Note: TypeAlias = Annotated[str, Meta(max_length=2048)]
_Fix: TypeAlias = Annotated[str, Meta(max_length=4096)]
_Reason: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
_Reasons: TypeAlias = Annotated[tuple[_Reason, ...], Meta(max_length=16)]
_What: TypeAlias = Annotated[str, Meta(min_length=1, max_length=8192)]
_Output: TypeAlias = Annotated[str, Meta(max_length=8192)]
_Part: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
_Attempt: TypeAlias = Annotated[int, Meta(ge=1, le=255)]
_Seconds: TypeAlias = Annotated[int, Meta(ge=1, le=TTL_MAX_NS // _NS_PER_S)]
_SomeSeconds: TypeAlias = Annotated[float, Meta(ge=0.0, le=float(TTL_MAX_NS // _NS_PER_S))]
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Tokens: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Dollars: TypeAlias = Annotated[float, Meta(ge=0.0, le=1e6)]
Severity: TypeAlias = Literal["info", "low", "medium", "high"]
"""How bad a finding is if it is true, least first."""


class _Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """What all kinds share: every value is within its bounds from its construction on."""

    def __post_init__(self) -> None:
        for name, check, is_float in _CHECKS[type(self)]:
            value = getattr(self, name)
            if fault := check(value):
                raise PayloadError(f"{type(self).__name__}.{name} takes {fault}, not {_shown(value)}")
            if is_float:
                msgspec.structs.force_setattr(self, name, float(value) + 0.0)  # no negative zero, no second spelling
        self._check_together()

    def _check_together(self) -> None:
        """Raise PayloadError for values that are sound each and not together."""


class Task(_Value, frozen=True, kw_only=True, tag="task"):
    """Something to be done, by whoever has the skill.

    Attributes:
        what: what is to be done, 1 to 8,192 bytes.
        skill: the skill it needs, at most 128 bytes; empty where any agent will do.
        priority: in [0, 1].
        after: statement ids of the tasks, or of the results, that it comes after, at most 64.
        key: idempotency key, at most 256 bytes; tasks that are equal and have one are one statement, whoever says it.
        run_s_max: longest run time of an attempt, in whole seconds, at most 30 days; it voids any claim.
        effectful: whether it changes something outside the run; it then needs an owner and a key.
        owner: node id of the only agent that may run it, for an effectful task and no other.
        approver: node id of whoever must approve it before it is run; empty where nobody need.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    what: _What
    skill: _Name = ""
    priority: _Part = 0.5
    after: _Ids = ()
    key: _Key = ""
    run_s_max: _Seconds = 600
    effectful: bool = False
    owner: _HexOrNone = ""
    approver: _HexOrNone = ""

    def _check_together(self) -> None:
        if self.effectful and not (self.owner and self.key):
            raise PayloadError("an effectful Task needs an owner and a key")
        if self.owner and not self.effectful:
            raise PayloadError("only an effectful Task has an owner")


class Claim(_Value, frozen=True, kw_only=True, tag="claim"):
    """A lease on a task.

    Attributes:
        task: statement id of the task.
        attempt: the how-manieth attempt at it, from 1, at most 255.
        lease_s: how long it holds without a heartbeat, in whole seconds, at most 30 days.
        started: whether work has begun.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    task: _Hex
    attempt: _Attempt
    lease_s: _Seconds
    started: bool = False


class Heartbeat(_Value, frozen=True, kw_only=True, tag="heartbeat"):
    """An agent is alive; it refreshes all its claims. There is no free text, so that nothing private leaks.

    Attributes:
        state: what the agent does.
        claims: how many claims it holds.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    state: Literal["idle", "working", "leaving"]
    claims: _Count = 0


class Result(_Value, frozen=True, kw_only=True, tag="result"):
    """What came of a task.

    Attributes:
        task: statement id of the task.
        output: the answer as text, at most 8,192 bytes; what is longer is an artefact.
        artefacts: SHA-256 of contents kept elsewhere, at most 64.
        tokens_in: tokens that models read for it.
        tokens_out: tokens that models wrote for it.
        cost_usd: what that cost, in US dollars, at most 1,000,000.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    task: _Hex
    output: _Output = ""
    artefacts: _Ids = ()
    tokens_in: _Tokens = 0
    tokens_out: _Tokens = 0
    cost_usd: _Dollars = 0.0


class Failure(_Value, frozen=True, kw_only=True, tag="failure"):
    """An attempt at a task came to nothing.

    Attributes:
        task: statement id of the task.
        attempt: which attempt, from 1, at most 255.
        reason: why, 1 to 2,048 bytes.
        retryable: whether another attempt may fare better.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    task: _Hex
    attempt: _Attempt
    reason: _Sentence
    retryable: bool = True


class Finding(_Value, frozen=True, kw_only=True, tag="finding"):
    """Something is wrong in one place.

    Attributes:
        kind: its class, ``CWE-78`` where a CWE applies, else a slug that agents share; 1 to 128 bytes.
        path: POSIX path relative to the tree's root, without ``..``; 1 to 1,024 bytes.
        message: one sentence, 1 to 2,048 bytes.
        severity: how bad it is if it is true.
        rule: the author's own name for what it looked for, at most 128 bytes.
        line: first line, from 1; 0 for the file as a whole.
        line_end: last line; `line` where it is not given.
        quote: the first line as it is written, cut by `cut_quote`; at most 1,024 bytes.
        fix: what to do about it, at most 4,096 bytes.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    kind: _GivenName
    path: _Path
    message: _Sentence
    severity: Severity = "medium"
    rule: _Name = ""
    line: _Count = 0
    line_end: _Count = 0
    quote: _Quote = ""
    fix: _Fix = ""

    def _check_together(self) -> None:
        if self.path.startswith("/") or ".." in self.path.split("/") or "\0" in self.path:
            raise PayloadError(f"Finding.path takes a path inside the tree, not {_shown(self.path)}")
        if self.line_end == 0:
            msgspec.structs.force_setattr(self, "line_end", self.line)
        if self.line_end < self.line or (self.line == 0 and self.line_end):
            raise PayloadError(f"Finding.line_end takes a line from {self.line} on, not {self.line_end}")


class Review(_Value, frozen=True, kw_only=True, tag="review"):
    """Somebody has read something and says what is to be thought of it. The vote itself is a stance.

    Attributes:
        of: statement id of what was read.
        verdict: whether it may stand.
        reasons: why, at most 16 of 1 to 512 bytes.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    of: _Hex
    verdict: Literal["approve", "object"]
    reasons: _Reasons = ()


class TestResult(_Value, frozen=True, kw_only=True, tag="test_result"):
    """A command was run against something, and this is what it counted.

    Attributes:
        of: statement id of what was tested.
        command: the command, 1 to 1,024 bytes.
        passed: tests that passed.
        failed: tests that failed.
        errors: tests that could not be run to an end.
        duration_s: how long it took, in seconds, at most 30 days.
        output: an excerpt of what it printed, at most 8,192 bytes.
        mutants: mutants that were tried; 0 where there was no mutation testing.
        mutants_killed: how many of them a test noticed.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    __test__ = False  # or pytest would collect it

    of: _Hex
    command: _Command
    passed: _Count = 0
    failed: _Count = 0
    errors: _Count = 0
    duration_s: _SomeSeconds = 0.0
    output: _Output = ""
    mutants: _Count = 0
    mutants_killed: _Count = 0

    @property
    def is_passed(self) -> bool:
        """Whether something passed and nothing failed."""
        return self.passed > 0 and not (self.failed or self.errors)

    def _check_together(self) -> None:
        if self.mutants_killed > self.mutants:
            raise PayloadError(f"TestResult.mutants_killed takes at most mutants, {self.mutants}")


class Approval(_Value, frozen=True, kw_only=True, tag="approval"):
    """Somebody who was asked has decided. Whether its author may decide is for the reader to know.

    Attributes:
        of: statement id of what was asked for.
        asked_by: node id of whoever asked.
        granted: the decision.
        note: a word with it, at most 2,048 bytes.

    Raises:
        PayloadError: a value has the wrong type or is out of bounds.
    """

    of: _Hex
    asked_by: _Hex
    granted: bool
    note: _Note = ""


Payload: TypeAlias = Task | Claim | Heartbeat | Result | Failure | Finding | Review | TestResult | Approval
"""Any of the nine kinds."""

PAYLOAD_KINDS: Final[tuple[type[Payload], ...]] = get_args(Payload)
"""The kinds in the order of their codes on the wire, from 1; a kind's code never changes."""


# ---- bounds


def _check_of(hint: Any) -> Callable[[Any], str]:
    """A function that says what a value should have been, or nothing where it is sound."""
    meta = Meta()
    if get_origin(hint) is Annotated:
        hint, meta = get_args(hint)
    if get_origin(hint) is Literal:
        words = get_args(hint)
        return lambda value: "" if type(value) is str and value in words else f"one of {', '.join(words)}"
    if get_origin(hint) is tuple:
        return _tuple_check(_check_of(get_args(hint)[0]), meta.max_length or 0)
    if hint is bool:
        return lambda value: "" if type(value) is bool else "a bool"
    if hint is str:
        return _hex_check(meta.min_length or 0) if meta.pattern else _text_check(meta)
    least, most = meta.ge, meta.le
    if least is None or most is None:
        raise AssertionError("every number has bounds")
    kinds = (int,) if hint is int else (int, float)
    bounds = f"{'an int' if hint is int else 'a number'} in [{least}, {most}]"
    return lambda value: "" if type(value) in kinds and least <= value <= most else bounds


def _text_check(meta: Meta) -> Callable[[Any], str]:
    least, most = meta.min_length or 0, meta.max_length or 0
    bounds = f"text of {least} to {most} bytes in UTF-8"

    def check(value: Any) -> str:
        if type(value) is not str or not least <= len(value) <= most:  # no character takes less than a byte
            return bounds
        return "" if value.isascii() or _utf8_size(value) <= most else bounds

    return check


def check_payload_id(name: str, text: str) -> None:
    """Raise PayloadError unless a text is the hex of an id; `name` is what the error calls it."""
    fault = _check_of(_Hex)(text)
    if fault:
        raise PayloadError(f"a {name} takes {fault}, not {_shown(text)}")


def _hex_check(least: int) -> Callable[[Any], str]:
    digits = re.compile(f"[0-9a-f]{{{2 * ID_BYTES}}}")

    def check(value: Any) -> str:
        is_sound = type(value) is str and ((not value and not least) or digits.fullmatch(value) is not None)
        return "" if is_sound else "an id as 64 lower-case hex digits"

    return check


def _tuple_check(check_item: Callable[[Any], str], most: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if type(value) is not tuple or len(value) > most:
            return f"a tuple of at most {most}"
        fault = next(filter(None, map(check_item, value)), "")
        return f"in each place {fault}" if fault else ""

    return check


def _utf8_size(text: str) -> float:
    """Bytes of `text` in UTF-8; text that has no UTF-8 form is too long for any bound."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return math.inf


def _shown(value: object) -> str:
    """A value as an error shows it: one short line, whatever it is."""
    try:
        text = ascii(value[:40] if isinstance(value, str | bytes | tuple | list) else value)
    except (ValueError, RecursionError):  # an integer of too many digits
        return f"a very large {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:40]}…"


def payload_hints(kind: type[Payload]) -> dict[str, Any]:
    """A kind's values by name, with their annotations, in the order of the wire."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in msgspec.structs.fields(kind)}


_CHECKS: Final[dict[type, tuple[tuple[str, Callable[[Any], str], bool], ...]]] = {
    kind: tuple((name, _check_of(hint), get_args(hint)[:1] == (float,)) for name, hint in payload_hints(kind).items())
    for kind in PAYLOAD_KINDS
}
