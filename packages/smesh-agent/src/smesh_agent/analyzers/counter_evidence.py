"""What speaks against a finding, as pure functions; a witness that finds such a reason inhibits with it.

Each answers one sentence, or None when it cannot tell. They speak up on positive evidence only: that a
function recognises nothing is no reason to believe the finding.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from smesh_agent.analyzers.names import imports_of, mentions_in
from smesh_agent.analyzers.rules import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smesh_agent.tree import Tree

__all__ = [
    "FOUND_BY_NAME",
    "VOID_IN_TESTS",
    "collected_evidence",
    "idiom_evidence",
    "named_elsewhere_evidence",
    "nosec_evidence",
    "reexport_evidence",
    "registered_evidence",
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
"""Kinds that mean nothing in test code, and why; other weaknesses (CWE-…) have a reason in common."""
_NOT_DEPLOYED = "it runs on input that its authors wrote, and is not deployed"

FOUND_BY_NAME = frozenset(
    {
        "unused-attribute", "unused-class", "unused-function", "unused-method", "unused-property",
        "unused-variable",
    }
)  # fmt: skip
"""The kinds of findings whose definitions something outside the code may find by their names."""

# Shorter names are in every text.
_NAME_CHARACTERS_MIN = 3

# A name and the literal it is given or compared with; f-strings count as far as they are literal.
_PAIR = re.compile(
    r"""(?P<name>[A-Za-z_][\w\-]*)['"]?\]?\s*(?::\s*str\s*)?(?P<operator>===?|!==?|:=|=>|=|:)\s*
        (?P<prefix>[A-Za-z@]{0,2})(?P<quote>'''|\"""|'(?!'')|"(?!"")|`)(?P<value>(?:\\.|(?!(?P=quote)).)*)(?P=quote)""",
    re.VERBOSE,
)
_BARE_PAIR = re.compile(
    r"(?P<name>[A-Za-z_][\w\-]*)['\"]?\]?\s*[:=]\s*(?P<value>None|null|nil|True|False|true|false)\b"
)
# The names that make bandit or detect-secrets look at a value.
_SENSITIVE = re.compile(r"pas+wo?r?d|pass(?:phrase)?|passwd|pwd|token|secret|contrase[nñ]a|_?key", re.IGNORECASE)
_URL_CREDENTIALS = re.compile(r"://(?P<user>[^\s:/@'\"]*):(?P<password>[^\s/@'\"]+)@(?P<host>[\w.\-]*)")
_EXAMPLE_HOSTS = re.compile(
    r"(?:[\w\-]+\.)*(?:example(?:\.(?:com|net|org))?|test|invalid)|localhost|127\.0\.0\.1|host(?:name)?|server|proxyserver|domain",
    re.IGNORECASE,
)

_TEMPLATE = re.compile(
    r"\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_]\w*|\{\{.*\}\}|\{[\w.!:\[\]]*\}|%\(\w+\)[sdr]|%s|<[^<>]+>|\[[A-Za-z_ \-]+\]"
)
# These make a template of what is around them as well; a password may have a dollar or a bracket in it.
_TEMPLATE_PART = re.compile(r"\$\{[^}]*\}|\{\{.*\}\}|%\(\w+\)[sdr]")
_PLACEHOLDER = re.compile(
    r"""(?<![A-Za-z0-9.])(?:change[ _\-]?(?:me|this|it)|replace[ _\-]?(?:me|this|with)|fill[ _\-]?(?:me|in)|insert[ _\-]
        |todo|fixme|placeholder|dummy|redacted|example|sample|fake|not[ _\-](?:a[ _\-])?(?:real[ _\-])?secret)
        (?![A-Za-z0-9.])|(?<![A-Za-z0-9.])your[ _\-]
        |^(?:xxx+|\*+|\.\.+|-+|_+|\?+|n/?a|none|null|undefined|foo|bar|baz)$""",
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
_URL = re.compile(r"https?://[^\s@?=]+", re.IGNORECASE)
_URL_PATH = re.compile(r"\.{0,2}/(?:[a-z0-9_.\-]{0,24}/)*[a-z0-9_.\-]{0,24}")
_SENTENCE = re.compile(r"[A-Z][\w',\-]*(?: [\w'\",()%\-]+){2,}[.:!?]")
_KEY_BLOCK = re.compile(r"-----BEGIN|PuTTY-User-Key-File")
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=_\-]{20,}")
# A name that ends so tells something about a credential, not the credential.
_ABOUT = re.compile(
    r"_?(?:url|uri|path|field|fields|name|prefix|suffix|header|param|type|source|label|file)$", re.IGNORECASE
)
_NOSEC = re.compile(r"#\s*(?:nosec\b|noqa:[^#]*\bS\d+)", re.IGNORECASE)

_QUOTED = re.compile(r"[`']([\w.]+)[`']")
_DECORATOR = re.compile(r"\s*@(?P<name>[A-Za-z_][\w.]*[.\w])(?P<rest>\(|\s*(?:#|$))")
# These wrap a definition and give it back under its name, to nobody else.
_PASSIVE_DECORATORS = frozenset(
    {
        "abstractmethod", "asynccontextmanager", "cache", "cached_property", "classmethod", "contextmanager",
        "dataclass", "deprecated", "final", "lru_cache", "njit", "overload", "override", "property", "setter",
        "singledispatch", "staticmethod", "total_ordering", "unique", "wraps",
    }
)  # fmt: skip
_TEST_HOOKS = frozenset(
    {
        "setUp", "tearDown", "setUpClass", "tearDownClass", "setUpModule", "tearDownModule", "asyncSetUp",
        "asyncTearDown", "setUpTestData", "setup_method", "teardown_method", "setup_class", "teardown_class",
        "setup_module", "teardown_module", "setup_function", "teardown_function", "load_tests",
    }
)  # fmt: skip

# What stands on a line, of what kind it is then found, and what it means there.
_IDIOMS = (
    ("unreachable-code", re.compile(r"^\s*yield\b"), "a yield that is never reached makes a generator of its function"),
    (
        "unreachable-code",
        re.compile(r"^\s*(?:raise (?:Assertion|NotImplemented)Error\b|assert (?:False|0)\b|assert_never\()"),
        "it guards against being reached",
    ),
    ("unused-argument", re.compile(r"\bdef __\w+__\("), "the arguments of a special method are fixed by its protocol"),
    ("unused-argument", re.compile(r"\bdef \w+\(.*:\s*\.\.\.\s*(?:#.*)?$"), "the function is a stub"),
    (
        "CWE-79",
        re.compile(r"""\b(?:mark_safe|Markup)\(\s*(?:'[^'{%]*'|"[^"{%]*")\s*\)"""),
        "what it marks as safe is a constant",
    ),
    (
        # Trojan source needs embeddings, overrides or isolates; a mark only settles its neighbours.
        "CWE-838",
        re.compile("^[^\u202a-\u202e\u2066-\u2069]*[\u200e\u200f\u061c][^\u202a-\u202e\u2066-\u2069]*$"),
        "a direction mark alone cannot reorder code",
    ),
    ("CWE-502", re.compile(r"\bloads\((?:\w+\.)*dumps\("), "it reads back what it has itself just written"),
)

# A name can look like an issuer's token ("weighs_as_…" holds "ghs_as_…").
_DEFINITION = re.compile(r"\s*(?:async def|def|class)\s+\w+\s*[(:][^=\"'#]*$")
_TEST_SIGNATURE = re.compile(r"\s*(?:async )?def test")

_TEST_DIRECTORIES = frozenset({"t", "test", "tests", "testing", "__tests__"})
_TEST_NAME = re.compile(r"test_[^/]*\.pyi?|[^/]*_tests?\.py|tests?\.py|conftest\.py", re.IGNORECASE)
# What detect-secrets recognises by the issuer's own format: a real one in a test is as lost as elsewhere.
_MADE_UP_RULES = re.compile(r"[BS]10[567]|Secret Keyword|Basic Auth Credentials|.* High Entropy String")


def secret_counter_evidence(line_text: str) -> str | None:
    """Why what stands on this line is no credential: every value it could be is empty, a template, a name..."""
    if _KEY_BLOCK.search(line_text):
        return None
    if _DEFINITION.match(line_text):
        return "the line defines a name and holds no value"
    rest, reasons = line_text, list[str]()
    for value, reason in _judged(line_text):
        if reason is None:
            return None
        reasons.append(reason)
        rest = rest.replace(value, "") if value else rest
    # Another value, without a name we know, may be what was found.
    return reasons[0] if reasons and not any(map(_looks_random, _LONG_RUN.findall(rest))) else None


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
        return f"'{url['host']}' in the URL is no host in particular"
    return None


def _why_no_credential(name: str, operator: str, value: str) -> str | None:
    for holds, reason in _HARMLESS_VALUES:
        if holds(value):
            return reason.format(value=value)
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


def _looks_random(text: str) -> bool:
    return bool(re.search(r"\d", text) and re.search(r"[A-Za-z]", text) and len(set(text)) > 9)


def _split_camel_case(value: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", value)


_HARMLESS_VALUES: tuple[tuple[Callable[[str], object], str], ...] = (
    (lambda value: not value.strip(), "the value is empty"),
    (
        lambda value: _TEMPLATE.fullmatch(value) or _TEMPLATE_PART.search(value),
        "the value is a template, filled in elsewhere",
    ),
    (lambda value: not re.search(r"[^\W_]", value), "the value holds no letter or digit"),
    # Some addresses are credentials: who has a webhook's may use it.
    (
        lambda value: _URL.fullmatch(value) and not any(map(_looks_random, _LONG_RUN.findall(value))),
        "the value is an address without credentials",
    ),
    (_URL_PATH.fullmatch, "the value is a path"),
    (_PLACEHOLDER.search, "'{value}' is a placeholder"),
    (_names_a_field, "'{value}' is a word for a credential, not one"),
    (_SENTENCE.fullmatch, "the value is a sentence for people to read"),
    (lambda value: _DOTTED_NAME.fullmatch(value) and not value.startswith("eyJ"), "'{value}' is a dotted name"),
)


def nosec_evidence(line_text: str) -> str | None:
    """The author has looked at this line and said so, in the comment bandit or ruff asks for."""
    comment = _NOSEC.search(line_text)
    return f"its author marked the line '{comment[0].strip()}'" if comment else None


def test_code_evidence(
    path: str,
    kind: str,
    rules: Iterable[str] = (),  # noqa: PT028 - not a test
) -> str | None:
    """Why a finding of this kind means little here: it is test code, and the kind is a weakness or in VOID_IN_TESTS.

    Args:
        path: where the finding is.
        kind: what it is.
        rules: the analyzers' names for it. A credential that is recognised by its issuer's own format stays
            one, wherever it is.
    """
    reason = VOID_IN_TESTS.get(kind, _NOT_DEPLOYED if kind.startswith("CWE-") else None)
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


def idiom_evidence(line_text: str, kind: str) -> str | None:
    """Why what the line does is meant: it is a known way of saying something else."""
    for known_kind, idiom, meaning in _IDIOMS:
        if kind == known_kind and idiom.search(line_text):
            return meaning
    return None


def reexport_evidence(tree: Tree, *, path: str, line: int, message: str = "") -> str | None:
    """Why an import that its own module does not use is used: others import the name from there.

    Args:
        tree: where to look.
        path: the module of the import.
        line: the line it is on.
        message: the finding's; where it names some of the names on that line in quotes, only those count.

    The first call for a tree parses all its Python (1 to 2 s for 100,000 lines): keep it off the event loop.
    """
    imports = imports_of(tree)
    names = imports.bound_on(path, line)
    mentioned = {part.rpartition(".")[2] for part in _QUOTED.findall(message)}
    names = [name for name in names if name in mentioned] or names
    uses = [imports.reexport_of(path, name) for name in names]
    if not uses or None in uses:
        return None
    return f"'{names[0]}' is {uses[0]}"


def named_elsewhere_evidence(tree: Tree, *, path: str, kind: str, message: str) -> str | None:
    """Why a definition that no code mentions may be used: a string, a template or a document names it.

    Args:
        tree: where to look.
        path: where it is defined; what this file says of it does not count.
        kind: the finding's; only definitions that can be found by name from outside are looked for.
        message: the finding's, which gives the name in quotes.

    The first call for a tree reads all its text (about 1 s for 100,000 lines): keep it off the event loop.
    """
    name = _name_in(message)
    if kind not in FOUND_BY_NAME or len(name) < _NAME_CHARACTERS_MIN:
        return None
    place = mentions_in(tree).of(name, outside=path)
    return f"'{name}' is named in {place}" if place else None


def registered_evidence(tree: Tree, *, path: str, line: int, kind: str) -> str | None:
    """Why a definition that no code mentions is used: its decorator hands it to something, as a route does."""
    if kind not in {"unused-function", "unused-class", "unused-method"}:
        return None
    decorator = _DECORATOR.match(tree.line(path, line))
    if decorator is None or decorator["name"].rpartition(".")[2] in _PASSIVE_DECORATORS:
        return None
    return f"its decorator @{decorator['name']} hands it on"


def collected_evidence(path: str, *, kind: str, message: str, line_text: str = "") -> str | None:
    """Why a definition or argument that no code mentions is used: the test runner goes by its name."""
    name = _name_in(message)
    if _is_test_code(path) and _TEST_SIGNATURE.match(line_text):
        if kind == "unused-argument":
            return f"pytest is asked for the fixture '{name}' by naming it"
        if kind == "mutable-default-argument":
            return "the test runner calls it once"
    if kind in {"unused-function", "unused-class", "unused-method"} and _is_test_code(path):
        if name.lower().startswith("test"):
            return f"the test runner collects '{name}' by its name"
        if name in _TEST_HOOKS or (name.startswith("pytest_") and path.endswith("conftest.py")):
            return f"the test runner calls '{name}'"
    return None


def _name_in(message: str) -> str:
    return next(iter(re.findall(r"[`'](\w+)[`']", message)), "")
