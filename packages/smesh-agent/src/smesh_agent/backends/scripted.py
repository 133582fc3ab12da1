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
import hashlib
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from smesh_agent.backends.base import Completion, Delta, ModelInfo, StopReason, Usage
from smesh_agent.backends.options import refuse_unknown_options
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
    from collections.abc import AsyncIterator, Callable

    from smesh_agent.backends.base import Backend, Piece, Request, Settings

__all__ = ["FAILURES", "Rule", "ScriptedBackend", "make", "read_script"]

_NAME: Final = "scripted"
_BYTES_A_TOKEN: Final = 4
_SCRIPT_BYTES_MAX: Final = 8 * 1024 * 1024
_LATENCY_S_MAX: Final = 3600.0
_WORDS_QUOTED: Final = 6
_DEPTH_MAX: Final = 32
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
        self._rules = [_Active(rule, place) for place, rule in enumerate(rules, 1)]
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
            if rule.fail == "truncated" and text:
                yield Delta(text[: len(text) // 2])
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
        drawn = hashlib.blake2b(msgspec.json.encode([self._seed, request.system, asked])).digest()
        if request.schema is not None:
            return json.dumps(_fitting(request.schema, request.schema), ensure_ascii=False)
        words = sorted(
            dict.fromkeys(_WORD.findall(asked)), key=lambda word: hashlib.blake2b(drawn + word.encode()).digest()
        )
        about = f" It is about: {', '.join(words[:_WORDS_QUOTED])}." if words else ""
        return f"This is scripted text, and no model has written it.{about}"


class _Active:
    """A rule, and how often it has answered."""

    def __init__(self, rule: Rule, place: int) -> None:
        self.rule = rule
        self._said = 0
        try:
            self._when, self._system = re.compile(rule.when), re.compile(rule.system)
        except re.error as error:
            raise BackendSettingsError(_NAME, f"rule {place}: {error.pattern!r} is no pattern: {error.msg}") from error
        if rule.fail and rule.fail not in FAILURES:
            raise BackendSettingsError(_NAME, f"rule {place}: fail is one of {', '.join(FAILURES)}, not {rule.fail!r}")

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
    try:
        latency_s, seed = float(settings.options.get("latency_s", "0")), int(settings.options.get("seed", "0"))
    except ValueError as error:
        raise BackendSettingsError(_NAME, f"latency_s takes seconds and seed a whole number: {error}") from error
    if not 0.0 <= latency_s <= _LATENCY_S_MAX:
        raise BackendSettingsError(_NAME, f"latency_s takes 0 to {_LATENCY_S_MAX:g} seconds, not {latency_s:g}")
    return ScriptedBackend(rules, model=named, latency_s=latency_s, seed=seed)


def read_script(path: Path) -> list[Rule]:
    """Read a script.

    Raises:
        BackendSettingsError: it cannot be read, is neither YAML nor JSON, or is no list of rules.
    """
    try:
        with path.open("rb") as file:
            read = file.read(_SCRIPT_BYTES_MAX + 1)
        if len(read) > _SCRIPT_BYTES_MAX:
            raise BackendSettingsError(_NAME, f"{path}: larger than {_SCRIPT_BYTES_MAX // 1024**2} MiB")
        return msgspec.convert(yaml.safe_load(read.decode()), list[Rule])
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


def _fitting(schema: Any, root: dict[str, Any], depth: int = 0) -> Any:
    """The plainest value that fits a schema.

    Raises:
        RequestRejectedError: the schema has no end, or asks for what is not known here.
    """
    if depth > _DEPTH_MAX or not isinstance(schema, dict):
        raise RequestRejectedError(_NAME, "scripted text fits no schema that contains itself; give a script")
    if isinstance(reference := schema.get("$ref"), str):
        target: Any = root
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        return _fitting(target, root, depth + 1)
    if choices := next((schema[word] for word in ("anyOf", "oneOf", "allOf") if word in schema), None):
        return _fitting(choices[0], root, depth + 1)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _PLAINEST[kind[0] if isinstance(kind, list) else kind](schema, root, depth)


def _object(schema: dict[str, Any], root: dict[str, Any], depth: int) -> dict[str, Any]:
    return {name: _fitting(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}


def _array(schema: dict[str, Any], root: dict[str, Any], depth: int) -> list[Any]:
    return [_fitting(schema["items"], root, depth + 1) for _ in range(schema.get("minItems", 0))]


def _number(schema: dict[str, Any], _root: dict[str, Any], _depth: int) -> float:
    """The least that is allowed; zero where that is allowed too."""
    least: float = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
    most: float = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    if least < 0 < most or schema.get("minimum") == 0 or schema.get("maximum") == 0:
        return 0
    if least == -math.inf:
        return most if "maximum" in schema else math.ceil(most) - 1
    if "minimum" in schema:
        return least
    return math.floor(least) + 1 if math.floor(least) + 1 <= most else (least + most) / 2


def _text(schema: dict[str, Any], _root: dict[str, Any], _depth: int) -> str:
    return "scripted".ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


_PLAINEST: Final[dict[str, Callable[[dict[str, Any], dict[str, Any], int], Any]]] = {
    "object": _object,
    "array": _array,
    "boolean": lambda *_: False,
    "null": lambda *_: None,
    "integer": _number,
    "number": _number,
    "string": _text,
}
