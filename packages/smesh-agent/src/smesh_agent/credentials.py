"""What credentials look like in a text, so that none leaves the machine.

Four things are looked for:

1. the keys of well-known providers, which say by their first letters what they are, and private key blocks;
2. passwords in URLs, and what follows ``Bearer`` or ``Basic``;
3. literals given to a name that ends in password, secret, token, key of an API or the like;
4. quoted strings that look drawn at random: in them the kind of character (lower case, upper case, digit) changes far
   more often than in words, numbers or alphabets.

Names of fields (``password = "password"``), templates (``"${TOKEN}"``), placeholders (``changeme``), regular
expressions, code (``token = next(tokens)``), digests, public keys and signatures that are called so, and the ids that
model APIs give out are no secrets. What cannot be told from ordinary words is not found: a passphrase in prose,
a password without a digit that is not quoted, a secret in an encoding of its own.

detect-secrets, which reviews rely on, finds lines; here the very characters are wanted, in a text of any origin, in
time linear in its length. So no pattern repeats over what it may have to give back, except within a fixed length.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KINDS", "Span", "found", "is_given_under", "is_random"]

KINDS: Final = (
    "anthropic-key", "aws-key", "azure-key", "bearer", "credential", "github-token", "gitlab-token", "google-key",
    "jwt", "npm-token", "openai-key", "private-key", "provider-key", "pypi-token", "random-string", "slack-token",
    "stripe-key", "url-password",
)  # fmt: skip
"""Every kind of secret that is told apart."""


class Span(NamedTuple):
    """Where a secret stands in a text, and of what kind it is."""

    start: int
    end: int
    kind: str


# What the keys of providers look like. A text without any of the hints cannot hold such a key, which costs next to
# nothing to find out. A key begins where no letter or digit stands before it, or after an escape such as \n.
_EDGE: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_WORD_EDGE: Final = r"(?:(?<![\w\-])|(?<=\\[nrt]))"


class _Provider(NamedTuple):
    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _provider(kind: str, hints: str, pattern: str, edge: str = _EDGE) -> _Provider:
    return _Provider(kind, tuple(hints.split()), re.compile(edge + pattern, re.ASCII))


_PROVIDERS: Final = (
    _provider("aws-key", "A3T ABIA ACCA AKIA ASIA", r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])"),
    _provider("anthropic-key", "sk-ant-", r"sk-ant-[\w\-]{16,}+"),
    _provider("openai-key", "sk-", r"sk-(?!ant-)(?=[\w\-]{0,200}\d)(?=[\w\-]{0,200}[A-Za-z0-9]{16})[\w\-]{20,}+"),
    _provider("github-token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"(?:gh[pousr]_\w{36,}+|github_pat_\w{22,}+)"),
    _provider(
        "gitlab-token",
        "glpat- gldt- glft- glsoat- glrt- glcbt- glimt- glptt- glagent- gloas- GR1348941",
        r"(?:gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-|GR1348941)[\w\-]{20,}+",
    ),
    _provider("slack-token", "xox xapp-", r"(?:xox[a-z]|xapp)-[A-Za-z0-9\-]{10,}+"),
    _provider("slack-token", "hooks.slack.com", r"hooks\.slack\.com/\w{1,20}/(?P<secret>[\w/]{20,}+)"),
    _provider("google-key", "AIza ya29. GOCSPX-", r"(?:AIza[\w\-]{35}(?![\w\-])|(?:ya29\.|GOCSPX-)[\w\-]{20,}+)"),
    _provider("stripe-key", "k_live_ k_test_ whsec_", r"(?:[srp]k_(?:live|test)_\w{16,}+|whsec_[A-Za-z0-9+/=]{24,}+)"),
    _provider("npm-token", "npm_", r"npm_[A-Za-z0-9]{36,}+"),
    _provider("pypi-token", "pypi-", r"pypi-[\w\-]{50,}+"),
    _provider("azure-key", "AccountKey=", r"AccountKey=(?P<secret>[A-Za-z0-9+/=]{40,}+)"),
    _provider("jwt", "eyJ", r"eyJ[\w\-]{8,}+={0,2}\.{1,2}[\w\-]{8,}+={0,2}(?:\.[\w\-]++){0,3}", _WORD_EDGE),
    _provider(
        "provider-key",
        "SG. hf_ gsk_ xai- r8_ pplx- hvs. ntn_ glsa_ dapi sq0 key- dop_v1_ shp lin_api_ AGE-SECRET-KEY- SK tskey- AKC",
        r"(?:SG\.[\w\-]{22}\.[\w\-]{43,}+|(?:hf|gsk|r8|ntn|glsa|lin_api)_\w{30,}+|(?:xai|pplx)-\w{40,}+"
        r"|hvs\.[\w\-]{24,}+|(?:dapi|key-|SK)[0-9a-f]{32}(?!\w)|dop_v1_[0-9a-f]{64,}+|shp[a-z]{2}_[0-9a-fA-F]{32,}+"
        r"|sq0[a-z]{3}-[\w\-]{22,}+|AGE-SECRET-KEY-1[A-Z0-9]{50,}+|tskey-\w{1,20}-[\w\-]{16,}+|AKC[A-Za-z0-9]{50,}+)",
    ),
    # Tokens of bots (Telegram, Discord) and Mailchimp say less by their first letters than by their build.
    _provider("provider-key", ":AA -us", r"(?:\d{8,10}:AA[\w\-]{33}(?![\w\-])|[0-9a-f]{32}-us\d{1,2}(?!\w))"),
    _provider("provider-key", ".", r"[MNO][\w\-]{23,25}\.[\w\-]{6}\.[\w\-]{27,38}(?![\w\-])", edge=""),
)

_URL_USER: Final = re.compile(r"://[^\s:/@'\"«»]{0,256}:(?P<secret>[^\s/@'\"«»]{1,256})@")
_BEARER: Final = re.compile(r"(?:bearer|basic|token)[ \t]{1,4}(?P<secret>[a-z0-9._~+/\-]{8,}+={0,2})")
_HEADER: Final = re.compile(r"authorization\W{1,8}$")
_RANDOM: Final = re.compile(r"(?P<quote>\\{0,3}[\"'`])(?P<secret>[A-Za-z0-9+/=_\-]{20,}+)(?=(?P=quote))")
_KEY_BEGIN: Final = re.compile(
    r"(?:-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}|(?P<putty>Private-Lines: \d{1,4}))"
    r"(?P<body>(?:[^-]|-(?!---))*+)(?P<end>-{4,6} ?END [A-Z0-9 ]{0,40}-{4,5})?"
)
_KEY_LINE_END: Final = re.compile(r"\n|\\+[nr]")
_KEY_PADDING: Final = "\"'`,;+-#>*|\\ \t\r"
"""What stands around the lines of a key where they are quoted, commented out or joined."""
_KEY_LINE_MIN: Final = 16
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=]+")

# Names of credentials, as a name may end. What is given to a strong one is a secret whatever it looks like.
_NAME: Final = re.compile(
    r"(?:(?P<strong>pass(?:w(?:or)?d|phrase|code)?|pwd|secret)|token|credentials?|key|_auth)(?:[_\-]?\d{1,3})?(?![a-z0-9])"
)
_KEY_OF: Final = re.compile(
    r"(?:api|access|account|admin|auth|client|deploy|encryption|license|master|private|secret|service|session|shared"
    r"|signing|storage|subscription|webhook)[_\-.]?$"
)
_GIVES: Final = re.compile(
    r"(?P<closed>\\{0,3}[\"'`])?\]?(?:[ \t]{0,4}:[ \t]?[A-Za-z_][\w.\[\]| ]{0,60}(?==))?"
    r"(?P<operator>[ \t]{0,8}(?:=>|:=|[!=]==?|=|:)[ \t]{0,8}|>|,[ \t]{0,8}|[ \t]{1,8})"
    r"(?:[\w.]{0,40}(?i:str|string|secret|password|bytes)\()?"
)
_QUOTE: Final = re.compile(r"[bBrRuUfF]{0,2}(?P<quote>'''|\"{3}|\\{0,3}[\"'`])")
_UNQUOTED: Final = re.compile(r"[^\s'\"`()\[\]{}<>,;&«»]{4,}+")
_FLAG: Final = re.compile(r"--[a-z][\w\-]*$")
_VARIABLE: Final = re.compile(r"(?:^|[\s\"'`;])[A-Z][A-Z0-9_]*$")
_DOTTED_NAME: Final = re.compile(r"[\w.]++")
_NUMBER: Final = re.compile(r"\d+")
_LITERAL_LENGTH_MAX: Final = 4096
_NAME_LENGTH_MAX: Final = 64

# What is no secret although it stands where one may.
_TEMPLATE: Final = re.compile(
    r"\A\$[A-Za-z_]|\$[{(]|\{\{|%s|%[dr](?![A-Za-z0-9])|%\(\w|\A[<{\[].*[>}\]]\Z|\A\{[\w.!:\[\]]{1,64}\}|\A(.)\1*\Z"
    r"|\[\^?[^\]\s]{1,64}\](?:[*+]|\{\d)",  # the last is of a regular expression
    re.DOTALL,
)
_PATH: Final = re.compile(r"https?://[^@?=]*+|(?:~|\.{1,2})?/[\w./\-]*+|[A-Za-z_]++(?:\.[A-Za-z_]++)++")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PLAIN_WORDS: Final = frozenset(
    {
        "a", "access", "account", "admin", "an", "api", "apikey", "auth", "authentication", "authorization", "aws",
        "bar", "basic", "baz", "bearer", "bool", "boolean", "change", "changeme", "client", "code", "confirm",
        "cookie", "credential", "credentials", "csrf", "current", "database", "db", "default", "demo", "deploy",
        "dummy", "else", "empty", "end", "example", "fake", "false", "field", "foo", "form", "from", "hash",
        "header", "here", "hidden", "id", "in", "input", "insert", "invalid", "is", "key", "label", "license",
        "login", "master", "me", "missing", "mode", "my", "name", "new", "nil", "no", "none", "not", "null",
        "oauth", "object", "of", "old", "optional", "or", "param", "pass", "passphrase", "passwd", "password",
        "placeholder", "prefix", "private", "prompt", "public", "pwd", "reader", "redacted", "refresh", "replace",
        "required", "reset", "sample", "secret", "secrets", "service", "session", "set", "shared", "signing", "ssh",
        "start", "str", "string", "subscription", "suffix", "test", "text", "the", "this", "to", "todo", "token",
        "tokens", "true", "type", "undefined", "unknown", "unset", "user", "username", "value", "webhook", "with",
        "your",
    }
)  # fmt: skip
_SEPARATORS: Final = re.compile(r"[_\-.]")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_DIGEST: Final = re.compile(
    r"(?i:sha\d|md5|digest|hash|checksum|commit|revision|etag|fingerprint|integrity|uuid|\.(?:whl|tar|tgz|zip)\b)"
)
_PUBLIC: Final = re.compile(r"(?i:public(?:[_\-]?key)?|signature)\W{1,6}$")
_GIVEN_OUT: Final = re.compile(r"(?:call|chatcmpl|msg|msgbatch|req|resp|srvtoolu|toolu|wrkspc)[_\-][A-Za-z0-9]+")
"""Ids that model APIs give to calls, answers and the like."""
_KINDS_OF_CHARACTERS: Final = str.maketrans(
    {
        **dict.fromkeys(map(chr, range(ord("a"), ord("z") + 1)), "a"),
        **dict.fromkeys(map(chr, range(ord("A"), ord("Z") + 1)), "A"),
        **dict.fromkeys(map(chr, range(ord("0"), ord("9") + 1)), "0"),
        **dict.fromkeys("+/=_-.~", ""),
    }
)


def found(text: str) -> Iterator[Span]:
    """Everything in a text that looks like a secret."""
    for kind, hints, pattern in _PROVIDERS:
        if any(hint in text for hint in hints):
            for match in pattern.finditer(text):
                yield Span(*match.span("secret" if "secret" in pattern.groupindex else 0), kind)
    if "PRIVATE KEY" in text or "Private-Lines: " in text:
        yield from _key_blocks(text)
    if "://" in text:
        for match in _URL_USER.finditer(text):
            if not _is_plain(match["secret"]):
                yield Span(*match.span("secret"), "url-password")
    for match in _RANDOM.finditer(text):
        if is_random(match["secret"]) and not _is_public(text, match):
            yield Span(*match.span("secret"), "random-string")
    lower = _lowered(text)
    yield from _borne(text, lower)
    yield from _given(text, lower)


def is_given_under(name: str, value: str) -> bool:
    """Whether a value is a credential because of the name under which it stands, a key of JSON for instance."""
    ending = [one for one in _names(name, _lowered(name)) if one.end == len(name)]
    return bool(ending) and _is_given(value, is_strong=ending[-1].is_strong) and not _is_its_name(value, name)


def _lowered(text: str) -> str:
    """A text in lower case, each character where it was; only one of all becomes longer in lower case."""
    return text.replace("\u0130", "i").lower()


def _borne(text: str, lower: str) -> Iterator[Span]:
    """What stands after ``Bearer`` and its like."""
    for match in _BEARER.finditer(lower):
        if match.start() and lower[match.start() - 1].isalnum():
            continue
        secret = text[slice(*match.span("secret"))]
        before = lower[max(0, match.start() - 24) : match.start()]
        if is_random(secret) or (_HEADER.search(before) and not _is_plain(secret)):
            yield Span(*match.span("secret"), "bearer")


def _key_blocks(text: str) -> Iterator[Span]:
    """Private keys, whole, or as far as they go; not where somebody only speaks of them."""
    for match in _KEY_BEGIN.finditer(text):
        end = _key_end(text, match)
        if end:
            yield Span(match.start(), end, "private-key")


def _key_end(text: str, match: re.Match[str]) -> int:
    """Where a private key ends; 0 where none follows its heading."""
    is_putty = match["putty"] is not None
    is_whole = match["end"] is not None or is_putty
    start, body_end = match.span("body")
    end = 0
    while start < body_end:
        line_end = _KEY_LINE_END.search(text, start, body_end)
        stop, after = line_end.span() if line_end else (body_end, body_end)
        words = text[start:stop].strip(_KEY_PADDING).split()
        start = after
        if not words or (words[0].endswith(":") and not is_putty):
            continue  # a blank line, or a header such as "Proc-Type: 4,ENCRYPTED"
        is_long = len(words[0]) >= _KEY_LINE_MIN
        if not all(map(_BASE64.fullmatch, words)) or not (is_long or (end and is_whole)):
            return end
        end = stop
    return match.end() if end and match["end"] else end


class _Name(NamedTuple):
    """A name that ends like that of a credential."""

    text: str
    is_strong: bool
    end: int


def _names(text: str, lower: str) -> Iterator[_Name]:
    """All names in a text that end like those of credentials."""
    for match in _NAME.finditer(lower):
        start, end = match.span()
        if lower.startswith("key", start) and not _KEY_OF.search(lower, max(0, start - 16), start):
            continue
        if match["strong"] == "pass" and start and lower[start - 1].isalpha():
            continue
        yield _Name(text[max(0, start - _NAME_LENGTH_MAX) : end], match["strong"] is not None, end)


def _given(text: str, lower: str) -> Iterator[Span]:
    """Literals given to a name that says that they are credentials."""
    past = 0
    for name in _names(text, lower):
        gives = _GIVES.match(text, name.end)
        if gives is None or name.end < past:
            continue
        operator = gives["operator"]
        if operator.isspace() and not _FLAG.search(name.text):
            continue
        if literal := _literal(text, gives.end()):
            value = text[slice(*literal)]
            if operator[0] == "," and not (gives["closed"] and _has_digit_and_letter(value)):
                continue  # more likely a list of names
            if _is_given(value, is_strong=name.is_strong) and not _is_its_name(value, name.text):
                yield Span(*literal, "credential")
        elif operator[0] != "," and (unquoted := _UNQUOTED.match(text, gives.end())):
            value, end = unquoted[0], unquoted.end()
            if operator == ">":
                is_credential = text.startswith("</", end) and _is_given(value, is_strong=name.is_strong)
            else:
                is_credential = not text.startswith(("(", "[", "{"), end) and _is_given_unquoted(name, operator, value)
            if is_credential:
                yield Span(*unquoted.span(), "credential")
                past = end
            elif len(value) > _LITERAL_LENGTH_MAX:
                past = end


def _literal(text: str, start: int) -> tuple[int, int] | None:
    """Where the inside of a quoted literal stands that begins here; it ends with its line at the latest."""
    opened = _QUOTE.match(text, start)
    if opened is None:
        return None
    quoted, limit = opened["quote"], opened.end() + _LITERAL_LENGTH_MAX
    end = text.find(quoted, opened.end(), limit)
    while end > 0 and len(quoted) == 1 and text[end - 1] == "\\" and text[end - 2] != "\\":
        end = text.find(quoted, end + 1, limit)
    line_end = text.find("\n", opened.end(), end if end > 0 else limit)
    end = line_end if line_end > 0 else end
    return opened.end(), end if end > 0 else min(limit, len(text))


def _is_given(value: str, *, is_strong: bool) -> bool:
    """Whether a quoted literal is a credential, given to such a name."""
    if len(value) < 4 or any(character.isspace() for character in value) or _is_plain(value):
        return False
    return is_strong or (len(value) >= 8 and (_has_digit_and_letter(value) or is_random(value)))


def _is_given_unquoted(name: _Name, operator: str, value: str) -> bool:
    """Whether what stands unquoted after such a name is a credential, and no code."""
    if _is_plain(value):
        return False
    is_long = len(value) >= 8 and _has_digit_and_letter(value)
    if operator == "=" and _VARIABLE.search(name.text):
        return name.is_strong or is_long
    if _DOTTED_NAME.fullmatch(value):
        return is_random(value) or (is_long and value.isalnum() and len(_NUMBER.findall(value)) >= 2)
    return is_long


def _is_plain(value: str) -> bool:
    """Whether a value is a template, a placeholder, a path, or the name of a field."""
    if value.startswith("«redacted:") or _TEMPLATE.search(value):
        return True
    if _PATH.fullmatch(value):
        return not is_random(value)
    return not any(map(str.isdigit, value)) and all(word.lower() in _PLAIN_WORDS for word in _WORD.findall(value))


def is_random(value: str) -> bool:
    """Whether a value looks drawn at random."""
    kinds = value.translate(_KINDS_OF_CHARACTERS)  # lower case, upper case and digits; what joins words is left out
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    if len(value) < 16 or "0" not in kinds or _UUID.fullmatch(value):
        return False
    if "a" in kinds and "A" in kinds:
        return changes >= 0.45 * len(kinds)
    return kinds.count("0") >= 4 and changes >= 0.25 * len(kinds)


def _is_public(text: str, match: re.Match[str]) -> bool:
    """Whether something random is said to be a digest, a public key or a signature on its line, or is an id."""
    secret, start = match["secret"], match.start()
    line_start = max(start - 200, text.rfind("\n", max(0, start - 200), start) + 1)
    if _GIVEN_OUT.fullmatch(secret) or _PUBLIC.search(text, max(line_start, start - 24), start):
        return True
    if _HEX.fullmatch(secret):
        return _DIGEST.search(text, line_start, start) is not None
    return secret.startswith(("sha256-", "sha384-", "sha512-"))


def _is_its_name(value: str, name: str) -> bool:
    """Whether a value is but the name that it is given to: ``RESET_PASSWORD = "resetPassword"``."""
    words = [word.lower() for word in _WORD.findall(value)]
    is_words = len(words) > 1 and not any(map(str.isdigit, value))
    return is_words and "".join(_SEPARATORS.split(name.lower())).endswith("".join(words))


def _has_digit_and_letter(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))
