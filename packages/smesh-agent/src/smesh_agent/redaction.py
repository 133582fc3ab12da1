"""Redaction: text without the credentials that may stand in it.

Two tasks. `redacted` is for a **line that something has already called a credential**, so it takes away rather too much
than too little: every quoted literal, every password in a URL, what follows ``=`` or ``:`` unquoted, and any long run
of the characters that keys are made of. Names, operators and the first two characters of a literal stay, so that a
reader knows what is meant.

`Redactor` is for **any text that is about to leave the machine**, of which nobody knows whether it holds a secret. It
takes out secrets that are known, such as the values of environment variables that hold keys (`known_secrets`), and
what looks like one (`smesh_agent.credentials`), and leaves the rest as it is, to the letter. Each secret becomes a
marker such as ``«redacted:aws-key-1»``. Equal secrets get equal markers, numbered as they come; line breaks stay, so
that the numbers of lines stay true; what has been redacted is not changed by redacting it again.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

import msgspec

from smesh_agent.credentials import KINDS, Span, found, is_given_under, is_random

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from smesh_agent.backends.base import Message, Request, Tool, ToolCall

__all__ = ["KNOWN_LENGTH_MIN", "Redactor", "known_secrets", "redacted", "redacted_text"]

KNOWN_LENGTH_MIN: Final = 8
"""What is shorter is taken for no secret, because it may be an ordinary word."""

_URL_PASSWORD: Final = re.compile(r"(://[^\s:/@'\"]*:)[^\s@'\"]+@")
_QUOTED: Final = re.compile(r"""(?P<quote>'''|\"""|['"`])(?P<value>(?:\\.|(?!(?P=quote)).)*)(?P=quote)?""")
_BARE: Final = re.compile(r"(?P<before>[:=]\s*)(?P<value>[^\s'\"`(),;\[\]{}…]{6,})$")
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/=_\-]{20,}")
_KEY_BLOCK: Final = re.compile(r"-----BEGIN[^-]*-----")


def redacted(line: str) -> str:
    """The line with what may be a credential replaced by ``…``; a key block's first line says only what it is."""
    if block := _KEY_BLOCK.search(line):
        return block[0]
    line = _URL_PASSWORD.sub(r"\1…@", line)
    line = _QUOTED.sub(lambda m: f"{m['quote']}{_start(m['value'])}{m['quote']}", line)
    line = _BARE.sub(lambda m: m["before"] + _start(m["value"]), line)
    return _LONG_RUN.sub(lambda m: _start(m[0]), line)


def _start(value: str) -> str:
    """Enough of a value to know it again by, too little to use it."""
    if ("://" in value and "…@" in value) or (value.endswith("…") and len(value) <= 3):
        return value  # redacted already
    return f"{value[:2]}…" if len(value) > 3 else "…"


_KNOWN: Final = "known-secret"
_MARKER: Final = re.compile(rf"«redacted:(?:{'|'.join((*KINDS, _KNOWN))})-\d{{1,6}}»")
_NO_LINE_BREAKS: Final = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
"""All but line breaks, as `str.splitlines` has them."""
_PASSES: Final = 4
"""What stood beside a secret may only then be told to be one; a third pass has never found anything yet."""
_SECRET_VARIABLE: Final = re.compile(
    r"(?:(?:^|_)[A-Z]*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|APIKEY)|(?:^|_)(?:PASS|PWD|KEY|PAT|AUTH))"
    r"\d{0,2}$",
    re.IGNORECASE,
)
_PATH: Final = re.compile(r"(?:~|\.{1,2})?/[\w.\-]*(?:/[\w.\-]*)*")
_WORD: Final = re.compile(r"[a-z]{1,12}")

_Numbers: TypeAlias = dict[str, dict[str, int]]
"""By kind, the number of each secret."""


class Redactor:
    """Takes secrets out of texts.

    Args:
        known: secrets to be found wherever they stand, also escaped as in JSON or in a URL. Those of less than
            `KNOWN_LENGTH_MIN` characters are left out.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        forms = {
            form
            for secret in map(str.strip, known)
            if len(secret) >= KNOWN_LENGTH_MIN
            for form in (secret, *_escaped(secret))
        }
        self._known = sorted(forms, key=lambda form: (-len(form), form))

    def text(self, text: str) -> str:
        """The text with a marker for each secret; as it was where there is none."""
        return self._redacted(text, {})

    def value(self, value: Any) -> Any:
        """A value of JSON without the secrets in its texts, and without those that its keys tell of."""
        return self._value(value, {})

    def request(self, request: Request) -> Request:
        """A request without the secrets in its texts; equal secrets get equal markers in all of it."""
        numbers: _Numbers = {}
        return msgspec.structs.replace(
            request,
            system=self._redacted(request.system, numbers),
            tools=tuple(self._tool(tool, numbers) for tool in request.tools),
            messages=tuple(self._message(message, numbers) for message in request.messages),
            schema=self._value(request.schema, numbers),
            stop=tuple(self._redacted(text, numbers) for text in request.stop),
        )

    def _tool(self, tool: Tool, numbers: _Numbers) -> Tool:
        description = self._redacted(tool.description, numbers)
        return msgspec.structs.replace(tool, description=description, schema=self._value(tool.schema, numbers))

    def _message(self, message: Message, numbers: _Numbers) -> Message:
        calls = tuple(self._call(call, numbers) for call in message.calls)
        return msgspec.structs.replace(message, text=self._redacted(message.text, numbers), calls=calls)

    def _call(self, call: ToolCall, numbers: _Numbers) -> ToolCall:
        return msgspec.structs.replace(call, arguments=self._value(call.arguments, numbers))

    def _value(self, value: Any, numbers: _Numbers) -> Any:
        if isinstance(value, str):
            return self._redacted(value, numbers)
        if isinstance(value, dict):
            return {self._value(key, numbers): self._under(key, held, numbers) for key, held in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(held, numbers) for held in value]
        return value

    def _under(self, key: Any, held: Any, numbers: _Numbers) -> Any:
        if isinstance(key, str) and isinstance(held, str) and is_given_under(key, held):
            return _marker("credential", held, numbers)
        return self._value(held, numbers)

    def _redacted(self, text: str, numbers: _Numbers) -> str:
        for _ in range(_PASSES):
            spans = _outside_markers(_joined(itertools.chain(self._known_in(text), found(text))), text)
            if not spans:
                break
            parts, position = list[str](), 0
            for start, end, kind in spans:
                secret = text[start:end]
                parts += text[position:start], _marker(kind, secret, numbers), _NO_LINE_BREAKS.sub("", secret)
                position = end
            text = "".join([*parts, text[position:]])
        return text

    def _known_in(self, text: str) -> Iterator[Span]:
        for known in self._known:
            start = text.find(known)
            while start >= 0:
                yield Span(start, start + len(known), _KNOWN)
                start = text.find(known, start + len(known))


def redacted_text(text: str, *, known: Iterable[str] = ()) -> str:
    """A text with a marker for each secret that it holds; as it was where there is none.

    Args:
        text: any text.
        known: secrets to be found wherever they stand, see `Redactor`; for many texts make one of those.
    """
    return Redactor(known).text(text)


def known_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets of an environment: what variables named like keys hold, and what looks like a secret in any other.

    Left out are paths, what is shorter than `KNOWN_LENGTH_MIN`, and short words in lower case: whoever has
    ``postgres`` for a password wants to talk about it all the same.
    """
    secrets = {value.strip() for name, value in environment.items() if _SECRET_VARIABLE.search(name)}
    secrets = {secret for secret in secrets if not _WORD.fullmatch(secret) and not _is_path(secret)}
    secrets |= {value[start:end] for value in environment.values() for start, end, _ in found(value)}
    return tuple(sorted(secret for secret in secrets if len(secret) >= KNOWN_LENGTH_MIN))


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None and not is_random(text)


def _escaped(secret: str) -> tuple[str, ...]:
    """How a secret may be written in JSON and in a URL."""
    in_url = quote(secret.encode("utf-8", "surrogatepass"), safe="")
    return json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], in_url


def _marker(kind: str, secret: str, numbers: _Numbers) -> str:
    numbered = numbers.setdefault(kind, {})
    return f"«redacted:{kind}-{numbered.setdefault(secret, len(numbered) + 1)}»"


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in their order, with those that overlap made one, of the kind of the first."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if joined and span.start < joined[-1].end:
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _outside_markers(spans: list[Span], text: str) -> list[Span]:
    """The spans that do not lie within a marker."""
    if not spans or "«redacted:" not in text:
        return spans
    markers = [match.span() for match in _MARKER.finditer(text)]
    outside, index = list[Span](), 0
    for span in spans:
        while index < len(markers) and markers[index][1] < span.end:
            index += 1
        if index == len(markers) or span.start < markers[index][0]:
            outside.append(span)
    return outside
