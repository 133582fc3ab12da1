r"""Scripted text in the place of a model: deterministic, offline, and called what it is wherever it shows.

It supplies text, and nothing else: what agents claim, support or think of each other never comes from here. A
**script** is a file of rules, in YAML or JSON. The first rule whose pattern is found in the last message, or whose
`system` pattern is found there, answers; one with several texts gives them in turn, and the last one from then on.

```yaml
- when: weather in (\w+)
  say: It rains in \1.
- when: joke
  say: [I know none., Still none.]
- when: secret
  say: I had rather not.
  stop: refusal
- when: overload
  fail: overloaded
  times: 2
```

Where no rule answers, or without a script, the answer is one sentence that says that it is scripted and quotes some
words of the request, or, if a schema is asked for, the plainest value that fits it; both depend on the request and the
seed alone. Tokens are counted by a rule of its own, one for every four bytes begun, which is exact for this backend.

The options are ``script`` (a path), ``latency_s`` (of every answer) and ``seed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec
import yaml
from msgspec import Meta

from smesh_agent.backends.base import Completion, Delta, ModelInfo, StopReason, Usage
from smesh_agent.backends.options import number, refuse_unknown_options
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    CallTimeoutError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from smesh_agent.backends.base import Backend, Piece, Request, Settings

__all__ = ["FAILURES", "Rule", "ScriptedBackend", "make", "read_script"]

_NAME: Final = "scripted"
_BYTES_A_TOKEN: Final = 4
_SCRIPT_BYTES_MAX: Final = 8 * 1024 * 1024
_LATENCY_S_MAX: Final = 3600.0
_WORDS_QUOTED: Final = 6
_DEPTH_MAX: Final = 32
_STEPS_MAX: Final = 20_000
_PIECE: Final = re.compile(r"\S*\s*")
_WORD: Final = re.compile(r"[^\W\d_]{5,}")

FAILURES: Final[dict[str, tuple[type[BackendError], str]]] = {
    "authentication": (AuthenticationError, "the key is not taken"),
    "garbage": (BadAnswerError, "the answer breaks the protocol"),
    "not_found": (ModelNotFoundError, "there is no such model"),
    "overloaded": (OverloadedError, "the provider is overloaded"),
    "rate_limited": (RateLimitedError, "too many requests"),
    "rejected": (RequestRejectedError, "the request is not taken"),
    "timeout": (CallTimeoutError, "nothing came for too long"),
    "truncated": (BadAnswerError, "the answer broke off in the middle"),
    "unreachable": (UnreachableError, "nobody answers"),
}
"""What a rule can make go wrong, by its name in a script."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    r"""What is answered to what.

    Attributes:
        when: regular expression, looked for in the last message; empty fits all.
        system: regular expression, looked for in what stands before the conversation; empty fits all.
        say: the answer, or several to be given in turn; ``\1`` is what the first group of `when` found.
        stop: why it ends.
        fail: what goes wrong instead; of ``truncated`` half of the answer comes.
        retry_after_s: how long a provider that fails asks to wait.
        latency_s: seconds before the answer begins; the script's own where not given.
        times: how often the rule answers; without end where not given.
    """

    when: str = ""
    system: str = ""
    say: str | Annotated[list[str], Meta(min_length=1)] = ""
    stop: Literal["end", "max_tokens", "stop_sequence", "refusal", "paused", "context_exceeded", "other"] = "end"
    fail: str = ""
    retry_after_s: Annotated[float, Meta(ge=0.0)] | None = None
    latency_s: Annotated[float, Meta(ge=0.0, le=_LATENCY_S_MAX)] | None = None
    times: Annotated[int, Meta(ge=1)] | None = None


class ScriptedBackend:
    """Answers from a script.

    Args:
        rules: the script's.
        model: what it is called.
        latency_s: seconds before an answer begins.
        seed: of answers that no rule gives.

    Raises:
        BackendSettingsError: a rule's pattern is none, or its failure is unknown.
    """

    def __init__(self, rules: list[Rule], *, model: str = _NAME, latency_s: float = 0.0, seed: int = 0) -> None:
        self._rules = [_Active(rule, f"rule {place}") for place, rule in enumerate(rules, 1)]
        self._model = model
        self._latency_s = latency_s
        self._seed = seed

    @property
    def name(self) -> str:
        """``scripted``."""
        return _NAME

    @property
    def model(self) -> str:
        """The script's name."""
        return self._model

    @property
    def is_local(self) -> bool:
        """It costs nothing."""
        return True

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See `Backend.stream`; the text comes word by word."""
        asked = request.messages[-1].text if request.messages else ""
        active = next((one for one in self._rules if one.fits(asked, request.system)), None)
        text = active.answer(asked) if active is not None else self._plain_answer(request, asked)
        rule = active.rule if active is not None else Rule()
        await asyncio.sleep(self._latency_s if rule.latency_s is None else rule.latency_s)
        if rule.fail:
            if rule.fail == "truncated" and (half := text[: len(text) // 2]):
                yield Delta(half)
            kind, reason = FAILURES[rule.fail]
            raise kind(_NAME, reason, retry_after_s=rule.retry_after_s)
        text, stop = _within(text, request, StopReason(rule.stop))
        for piece in filter(None, _PIECE.findall(text)):
            yield Delta(piece)
            await asyncio.sleep(0)
        usage = Usage(tokens_in=_tokens_in(request), tokens_out=_tokens(text))
        yield Completion(text=text, stop=stop, raw_stop=stop.value, usage=usage, model=self._model)

    async def count_tokens(self, request: Request) -> int | None:
        """See `Backend.count_tokens`."""
        return _tokens_in(request)

    async def models(self) -> list[ModelInfo]:
        """See `Backend.models`."""
        return [ModelInfo(name=self._model, detail="text from a script, no model")]

    async def close(self) -> None:
        """There is nothing to close."""

    def _plain_answer(self, request: Request, asked: str) -> str:
        if request.schema is not None:
            return json.dumps(_fitting(request.schema), ensure_ascii=False)
        drawn = hashlib.blake2b(json.dumps([self._seed, request.system, asked]).encode()).digest()
        words = sorted(
            dict.fromkeys(_WORD.findall(asked)), key=lambda word: hashlib.blake2b(drawn + word.encode()).digest()
        )
        about = f" It is about: {', '.join(words[:_WORDS_QUOTED])}." if words else ""
        return f"This is scripted text, and no model has written it.{about}"


class _Active:
    """A rule, and how often it has answered."""

    def __init__(self, rule: Rule, place: str) -> None:
        self.rule = rule
        self._said = 0
        try:
            self._when, self._system = re.compile(rule.when), re.compile(rule.system)
        except (re.error, OverflowError, RecursionError) as error:
            pattern = error.pattern if isinstance(error, re.error) else rule.when
            raise BackendSettingsError(_NAME, f"{place}: {pattern!r:.80} is no pattern: {error}") from error
        if rule.fail and rule.fail not in FAILURES:
            raise BackendSettingsError(_NAME, f"{place}: fail is one of {', '.join(FAILURES)}, not {rule.fail!r:.80}")

    def fits(self, asked: str, system: str) -> bool:
        is_left = self.rule.times is None or self._said < self.rule.times
        return is_left and self._when.search(asked) is not None and self._system.search(system) is not None

    def answer(self, asked: str) -> str:
        texts = [self.rule.say] if isinstance(self.rule.say, str) else self.rule.say
        text = texts[min(self._said, len(texts) - 1)]
        self._said += 1
        match = self._when.search(asked)
        try:
            return match.expand(text) if match is not None and "\\" in text else text
        except (re.error, IndexError):
            return text  # a backslash that means itself


def make(settings: Settings) -> Backend:
    """Scripted text.

    Raises:
        BackendSettingsError: the script cannot be read, or an option makes no sense.
    """
    refuse_unknown_options(_NAME, settings, "script", "latency_s", "seed")
    script = settings.options.get("script", "")
    rules = read_script(Path(script)) if script else []
    named = settings.model or (Path(script).name if script else _NAME)
    latency = settings.options.get("latency_s", "0")
    try:
        latency_s = float(latency)
    except ValueError:
        latency_s = math.nan
    if not 0.0 <= latency_s <= _LATENCY_S_MAX:
        reason = f"option latency_s is {latency!r}: give 0 to {_LATENCY_S_MAX:g} seconds"
        raise BackendSettingsError(_NAME, reason)
    seed = number(_NAME, settings, "seed", 0) or 0
    return ScriptedBackend(rules, model=named, latency_s=latency_s, seed=seed)


def read_script(path: Path) -> list[Rule]:
    """Read a script.

    Raises:
        BackendSettingsError: it cannot be read, is neither YAML nor JSON, is no list of rules, or a rule's pattern is
            none or its failure unknown.
    """
    try:
        with path.open("rb") as file:
            read = file.read(_SCRIPT_BYTES_MAX + 1)
        if len(read) > _SCRIPT_BYTES_MAX:
            raise BackendSettingsError(_NAME, f"{path}: larger than {_SCRIPT_BYTES_MAX // 1024**2} MiB")
        rules = msgspec.convert(_loaded(read.decode()), list[Rule])
        msgspec.json.encode(rules)  # half a surrogate pair could be passed on to nobody
    except OSError as error:
        raise BackendSettingsError(_NAME, f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BackendSettingsError(_NAME, f"{path}: not text in UTF-8 (byte {error.start + 1})") from error
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BackendSettingsError(
            _NAME, f"{path}{where}: {' '.join((error.problem or 'not YAML').split())}"
        ) from error
    except (msgspec.ValidationError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise BackendSettingsError(_NAME, f"{path}: {reason[:200]}") from error
    except (AttributeError, LookupError) as error:  # what PyYAML makes of a tag whose text is no such thing
        raise BackendSettingsError(_NAME, f"{path}: a value is not of the kind that its tag says") from error
    for place, rule in enumerate(rules, 1):
        _Active(rule, f"{path}, rule {place}")
    return rules


def _loaded(text: str) -> Any:
    """What is written in JSON, or else in YAML, which does not hold all of JSON: no tabs, no pairs of escapes."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return yaml.safe_load(text)


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN)


def _tokens_in(request: Request) -> int:
    return _tokens(request.system) + sum(_tokens(message.text) for message in request.messages)


def _within(text: str, request: Request, stop: StopReason) -> tuple[str, StopReason]:
    """The text up to a stop sequence and within the tokens that it may have."""
    ends = [place for one in request.stop if one and (place := text.find(one)) >= 0]
    if ends:
        text, stop = text[: min(ends)], StopReason.STOP_SEQUENCE
    if _tokens(text) > request.max_tokens:
        cut = text.encode("utf-8", "surrogatepass")[: request.max_tokens * _BYTES_A_TOKEN]
        return cut.decode("utf-8", "ignore"), StopReason.MAX_TOKENS
    return text, stop


# ---- the plainest value that fits a schema

_Kind: TypeAlias = Literal["object", "array", "string", "integer", "number", "boolean", "null"]
_Least: TypeAlias = Annotated[int, Meta(ge=0, le=1000)]
_Most: TypeAlias = Annotated[int, Meta(ge=0)] | float
_Bound: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_FORMATS: Final = {"date": "2000-01-01", "date-time": "2000-01-01T00:00:00Z", "time": "00:00:00Z"}
_NOTES: Final = {
    "$comment", "$defs", "$schema", "default", "definitions", "description", "discriminator", "examples", "title",
}  # fmt: skip
"""What stands in a schema and asks for nothing."""
_ALONE: Final = {"$ref", "allOf", "anyOf", "const", "enum"}
"""What has at most a type beside it here."""


class _Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a schema may ask for here; one that asks for anything else is not answered."""

    ref: str = msgspec.field(default="", name="$ref")
    all_of: Annotated[list[Any], Meta(min_length=1, max_length=1)] = []
    any_of: Annotated[list[Any], Meta(min_length=1)] = []
    const: Any = None
    enum: list[Any] = []
    type: _Kind | list[_Kind] = []
    properties: dict[str, Any] = {}
    required: list[str] = []
    additional_properties: Any = True
    items: Any = True
    prefix_items: list[Any] = []
    min_items: _Least = 0
    max_items: _Most = math.inf
    unique_items: bool = False
    min_length: _Least = 0
    max_length: _Most = math.inf
    pattern: str = ""
    format: Literal["", "date", "date-time", "time"] = ""
    minimum: _Bound = -math.inf
    exclusive_minimum: _Bound = -math.inf
    maximum: _Bound = math.inf
    exclusive_maximum: _Bound = math.inf


def _fitting(schema: dict[str, Any]) -> Any:
    """The plainest value that fits a JSON schema.

    Raises:
        RequestRejectedError: the schema asks for what is not known here, contradicts itself, or has no end.
    """
    try:
        plain = msgspec.json.decode(msgspec.json.encode(schema))
    except (TypeError, ValueError, RecursionError) as error:
        raise _unanswerable("it is no JSON") from error
    return _Plainest(plain).value(plain)


def _unanswerable(why: str) -> RequestRejectedError:
    return RequestRejectedError(_NAME, f"no scripted text fits the schema: {' '.join(why.split())}; give a script")


class _Plainest:
    """The plainest values for a schema and its parts."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    def value(self, schema: Any, within: tuple[str, ...] = ()) -> Any:
        """See the class; `within` has a reference for each part around this one, or nothing where there is none."""
        self._steps += 1
        if len(within) > _DEPTH_MAX or self._steps > _STEPS_MAX:
            raise _unanswerable("it is too large")
        asks: Any = {} if schema is True else schema
        try:
            if isinstance(asks, dict):
                asks = {word: asked for word, asked in asks.items() if word not in _NOTES}
            known = msgspec.convert(asks, _Schema)
            re.compile(known.pattern)
        except (msgspec.ValidationError, re.error, OverflowError, RecursionError) as error:
            raise _unanswerable(str(error)) from error
        if asks.keys() & _ALONE and len(asks.keys() - {"type"}) > 1:
            raise _unanswerable(f"it asks for {' and '.join(asks)} at once")
        kinds = [known.type] if isinstance(known.type, str) else known.type
        types = [type_ for kind in kinds for type_ in _TYPES[kind]]
        if known.ref and known.ref in within:
            raise _unanswerable(f"{known.ref} contains itself")
        for value in self._proposals(known, asks, kinds, (*within, known.ref)):
            if "type" not in asks or type(value) in types:
                return value
        raise _unanswerable("no plain value does")

    def _proposals(
        self, known: _Schema, asks: dict[str, Any], kinds: list[_Kind], within: tuple[str, ...]
    ) -> Iterator[Any]:
        if "$ref" in asks:
            yield self.value(self._target(known.ref), within)
        elif "const" in asks or "enum" in asks:
            yield from [known.const] if "const" in asks else known.enum
        elif choices := known.all_of or known.any_of:
            for choice in choices:
                with contextlib.suppress(RequestRejectedError):
                    yield self.value(choice, within)
        else:
            for kind in kinds or ["object" if known.properties or known.required else "string"]:
                yield from self._of_kind(kind, known, within)

    def _target(self, reference: str) -> Any:
        start, *names = reference.split("/")
        target = self._root if start == "#" else None
        for name in names:
            target = target.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        if target is None:
            raise _unanswerable(f"{reference} leads nowhere")
        return target

    def _of_kind(self, kind: str, known: _Schema, within: tuple[str, ...]) -> Iterator[Any]:
        match kind:
            case "object":
                yield self._object(known, within)
            case "array":
                first = known.prefix_items[: known.min_items]
                parts = [*first, *[known.items] * (known.min_items - len(first))]
                if len(parts) <= known.max_items and (len(parts) < 2 or not known.unique_items):
                    yield [self.value(part, within) for part in parts]
            case "string":
                text = "scripted"[: int(min(known.max_length, 8))].ljust(known.min_length, ".")
                text = _FORMATS.get(known.format, text)
                if known.min_length <= len(text) <= known.max_length and re.search(known.pattern, text):
                    yield text
            case "integer" | "number":
                yield from _numbers(known)
            case _:
                yield False if kind == "boolean" else None

    def _object(self, known: _Schema, within: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in dict.fromkeys((*known.properties, *known.required)):
            try:
                made[name] = self.value(known.properties.get(name, known.additional_properties), within)
            except RequestRejectedError:
                if name in known.required:
                    raise
        return made


def _numbers(known: _Schema) -> Iterator[float]:
    """Zero, or what is next to a bound or between two."""
    least, most = max(known.minimum, known.exclusive_minimum), min(known.maximum, known.exclusive_maximum)
    near = [one for end in (least, most) if math.isfinite(end) for one in (end, end // 1 + 1, -(-end // 1) - 1)]
    for one in (0, *near, (least + most) / 2):
        if known.exclusive_minimum < one < known.exclusive_maximum and known.minimum <= one <= known.maximum:
            yield int(one) if one == one // 1 else one
