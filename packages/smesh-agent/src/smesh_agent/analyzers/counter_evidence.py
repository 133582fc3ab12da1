"""What speaks against a finding, as pure functions; a witness that finds such a reason inhibits with it.

Each answers one sentence, or None when it cannot tell. They speak up on positive evidence only: that a
function recognises nothing is no reason to believe the finding.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from smesh_agent.analyzers.names import names_in
from smesh_agent.analyzers.rules import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smesh_agent.tree import Tree

__all__ = [
    "VOID_IN_TESTS",
    "named_elsewhere_evidence",
    "nosec_evidence",
    "reexport_evidence",
    "secret_counter_evidence",
    "test_code_evidence",
]

VOID_IN_TESTS = MappingProxyType(
    {
        "CWE-703": "asserting is what tests do, and they are not run under -O",
        CREDENTIALS: "credentials in tests are made up",
        "CWE-330": "tests need no unpredictable numbers",
        "CWE-377": "tests do not share their temporary paths with an attacker",
        "useless-expression": "tests evaluate expressions for the exceptions they raise",
    }
)
"""The kinds that mean nothing in test code, and why."""

# A name and the literal it is given or compared with; f-strings count as far as they are literal.
_PAIR = re.compile(
    r"""(?P<name>[A-Za-z_][\w\-]*)['"]?\]?\s*(?::\s*str\s*)?(?P<operator>===?|!==?|:=|=>|=|:)\s*
        (?P<prefix>[A-Za-z@]{0,2})(?P<quote>'''|\"""|['"`])(?P<value>(?:\\.|(?!(?P=quote)).)*)(?P=quote)""",
    re.VERBOSE,
)
_BARE_PAIR = re.compile(
    r"(?P<name>[A-Za-z_][\w\-]*)['\"]?\]?\s*[:=]\s*(?P<value>None|null|nil|True|False|true|false)\b"
)
# The names that make bandit or detect-secrets look at a value.
_SENSITIVE = re.compile(r"pas+wo?r?d|pass(?:phrase)?|passwd|pwd|token|secret|contrase[nñ]a|_?key", re.IGNORECASE)
_URL_CREDENTIALS = re.compile(r"://(?P<user>[^\s:/@'\"]*):(?P<password>[^\s/@'\"]+)@(?P<host>[\w.\-]*)")
_EXAMPLE_HOSTS = re.compile(
    r"(?:[\w\-]+\.)*(?:example(?:\.(?:com|net|org))?|test|invalid)|host(?:name)?|server|proxyserver|domain",
    re.IGNORECASE,
)

_TEMPLATE = re.compile(
    r"\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_]\w*|\{\{.*\}\}|\{[\w.!:\[\]]*\}|%\(\w+\)[sdr]|%s|<[^<>]+>|\[[A-Za-z_ \-]+\]"
)
_PLACEHOLDER = re.compile(
    r"""change[ _\-]?(?:me|this|it)|replace[ _\-]?(?:me|this|with)|your[ _\-]|fill[ _\-]?(?:me|in)|insert[ _\-]
        |todo|fixme|placeholder|dummy|redacted|example|sample|not[ _\-](?:a[ _\-])?(?:real[ _\-])?secret
        |(?:^|[ _\-])fake|^(?:xxx+|\*+|\.\.+|-+|_+|\?+|n/?a|none|null|undefined|foo|bar|baz)$""",
    re.IGNORECASE | re.VERBOSE,
)
_FIELD_WORDS = frozenset(
    {
        "password", "passwd", "pwd", "passphrase", "token", "secret", "key", "credential", "credentials",
        "api", "access", "account", "admin", "auth", "authorization", "aws", "bearer", "client", "code", "confirm",
        "cookie", "csrf", "csrfmiddlewaretoken", "current", "db", "email", "fallbacks", "field", "form", "hash",
        "header", "help", "id", "in", "input", "label", "login", "middleware", "missing", "mode", "my", "name",
        "new", "oauth", "old", "param", "prefix", "private", "public", "refresh", "reset", "s3", "service",
        "session", "set", "ssh", "suffix", "temporary", "type", "unusable", "usable", "user", "username", "x",
    }
)  # fmt: skip
_CREDENTIAL_WORDS = frozenset(
    {"password", "passwd", "pwd", "passphrase", "token", "secret", "key", "credential", "credentials",
     "csrfmiddlewaretoken"}
)  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]?[a-z]*\d[a-z]*(?=\W|_|$)")
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w{0,30}(?:\.[A-Za-z_]\w{0,30})+")
_URL = re.compile(r"https?://[^\s@]+", re.IGNORECASE)
_URL_PATH = re.compile(r"\.{0,2}/(?:[a-z0-9_.\-]{0,24}/)*[a-z0-9_.\-]{0,24}")
_SENTENCE = re.compile(r"[A-Z][\w',\-]*(?: [\w'\",()%\-]+){2,}[.:!?]")
# A name that ends so tells something about a credential, not the credential.
_ABOUT = re.compile(
    r"_?(?:url|uri|path|field|fields|name|prefix|suffix|header|param|type|source|label|file)$", re.IGNORECASE
)
_NOSEC = re.compile(r"#\s*(?:nosec\b|noqa:[^#]*\bS\d+)", re.IGNORECASE)

_TEST_DIRECTORIES = frozenset({"test", "tests", "testing", "__tests__"})
_TEST_NAME = re.compile(r"test_[^/]*\.pyi?|[^/]*_tests?\.py|tests?\.py|conftest\.py", re.IGNORECASE)
# What detect-secrets recognises by the issuer's own format: a real one in a test is as lost as elsewhere.
_MADE_UP_RULES = re.compile(r"[BS]10[567]|Secret Keyword|Basic Auth Credentials|.* High Entropy String")


def secret_counter_evidence(line_text: str) -> str | None:
    """Why what stands on this line is no credential: every value it could be is empty, a template, a name..."""
    reasons = [reason for _, reason in _judged(line_text)]
    if not reasons or None in reasons:
        return None
    return reasons[0]


def _judged(text: str) -> Iterator[tuple[str, str | None]]:
    """Each value on the line that may be meant, and why it is no credential, if we can tell."""
    for url in _URL_CREDENTIALS.finditer(text):
        yield url["password"], _why_url_is_harmless(url)
    rest = _URL_CREDENTIALS.sub("://", text)
    for pair in _PAIR.finditer(rest):
        if _SENSITIVE.search(pair["name"]):
            yield pair["value"], _why_no_credential(pair["name"], pair["operator"], pair["value"])
    for pair in _BARE_PAIR.finditer(rest):
        if _SENSITIVE.search(pair["name"]):
            yield pair["value"], f"the value is {pair['value']}"


def _why_url_is_harmless(url: re.Match[str]) -> str | None:
    password = url["password"]
    if _TEMPLATE.fullmatch(password):
        return "the password in the URL is filled in elsewhere"
    if _PLACEHOLDER.search(password) or _names_a_field(password):
        return f"'{password}' in the URL stands for a password"
    if _EXAMPLE_HOSTS.fullmatch(url["host"]):
        return f"'{url['host']}' in the URL is not a real host"
    return None


def _why_no_credential(name: str, operator: str, value: str) -> str | None:
    if not value.strip():
        return "the value is empty"
    if _TEMPLATE.search(value):
        return "the value is a template, filled in elsewhere"
    if not re.search(r"[^\W_]", value):
        return "the value holds no letter or digit"
    if _PLACEHOLDER.search(value):
        return f"'{value}' is a placeholder"
    if _names_a_field(value):
        return f"'{value}' only names a field"
    if _SENTENCE.fullmatch(value):
        return "the value is a sentence for people to read"
    if _URL.fullmatch(value) or _URL_PATH.fullmatch(value):
        return "the value is an address without credentials"
    if _DOTTED_NAME.fullmatch(value) and not value.startswith("eyJ"):
        return f"'{value}' is a dotted name"
    if _ABOUT.search(name) and re.fullmatch(r"[A-Za-z][\w\- ]{0,30}", value):
        return f"'{name}' tells something about a credential, not the credential"
    if name in {"token", "tok"} and operator in {"==", "!="} and re.fullmatch(r"[A-Za-z]{1,12}", value):
        return f"'{value}' is a word that a parser looks for"
    return None


def _names_a_field(value: str) -> bool:
    """Whether a value is made of nothing but the words that fields for credentials are named with."""
    if not re.fullmatch(r"[A-Za-z][\w.\- ]*", value):
        return False
    words = [
        re.sub(r"\d+$", "", word) or word for word in re.split(r"[\W_]+", _split_camel_case(value).lower()) if word
    ]
    return bool(words) and set(words) <= _FIELD_WORDS and not _CREDENTIAL_WORDS.isdisjoint(words)


def _split_camel_case(value: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", value)


def nosec_evidence(line_text: str) -> str | None:
    """The author has looked at this line and said so, in the comment bandit or ruff asks for."""
    comment = _NOSEC.search(line_text)
    return f"its author marked the line '{comment[0].strip()}'" if comment else None


def test_code_evidence(path: str, kind: str, rules: Iterable[str] = ()) -> str | None:
    """Why a finding of this kind means nothing here: it is test code, and the kind is in VOID_IN_TESTS.

    Args:
        path: where the finding is.
        kind: what it is.
        rules: the analyzers' names for it. A credential that is recognised by its issuer's own format stays
            one, wherever it is.
    """
    reason = VOID_IN_TESTS.get(kind)
    if reason is None or not _is_test_code(path):
        return None
    if kind == CREDENTIALS and any(not _MADE_UP_RULES.fullmatch(rule) for rule in rules):
        return None
    return f"this is test code: {reason}"


# pytest would take the function for a test in every module that imports it.
test_code_evidence.__test__ = False  # type: ignore[attr-defined]


def _is_test_code(path: str) -> bool:
    *directories, name = path.split("/")
    return not _TEST_DIRECTORIES.isdisjoint(directories) or _TEST_NAME.fullmatch(name) is not None


def reexport_evidence(tree: Tree, *, path: str, line: int, message: str = "") -> str | None:
    """Why an import that its own module does not use is used: others import the name from there.

    Args:
        tree: where to look.
        path: the module of the import.
        line: the line it is on.
        message: the finding's; where it names some of the names on that line in quotes, only those count.

    The first call for a tree reads all its Python (about 1 s for 100,000 lines): keep it off the event loop.
    """
    index = names_in(tree)
    names = index.imported_on(path, line)
    mentioned = {part.rpartition(".")[2] for part in re.findall(r"[`']([\w.]+)[`']", message)}
    names = [name for name in names if name in mentioned] or names
    uses = [index.reexport_of(path, name) for name in names]
    if not uses or None in uses:
        return None
    return f"'{names[0]}' is {uses[0]}"


def named_elsewhere_evidence(tree: Tree, *, path: str, line: int, message: str) -> str | None:
    """Why a function, class, method or attribute that no code mentions may be used: something else names it.

    Args:
        tree: where to look.
        path: where it is defined; what this file says of it does not count.
        line: the line it is defined on.
        message: the finding's, which gives the name in quotes.

    The first call for a tree reads all its text: keep it off the event loop.
    """
    name = next(iter(re.findall(r"[`'](\w+)[`']", message)), "")
    if not name or (name not in tree.line(path, line) and name not in "\n".join(tree.text_lines(path))):
        return None
    place = names_in(tree).mention_of(name, outside=path)
    return f"'{name}' is named in {place}" if place else None
