"""What speaks against findings: it must speak up when it should, and above all keep quiet when it should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from smesh_agent.analyzers.counter_evidence import (
    collected_evidence,
    idiom_evidence,
    named_elsewhere_evidence,
    nosec_evidence,
    reexport_evidence,
    registered_evidence,
    secret_counter_evidence,
    test_code_evidence,
)
from smesh_agent.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

# Put together here, so that no scanner of this repository takes them for what they look like.
P = "pass" + "word"
S = "sec" + "ret"
T = "tok" + "en"
REAL = "k4Fz" + "9-qLw2" + "!x"
RANDOM = "".join(f"{c}{n}" for n, c in enumerate("qwertzuiopasdfgh"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{P} = ''", "empty"),
        (f'DB_{P.upper()} = "  "', "empty"),
        (f"'{P}': None,", "None"),
        (f"{P} = 'changeme'", "placeholder"),
        (f"{P} = 'change-me'", "placeholder"),
        (f"{P} = 'xxx'", "placeholder"),
        (f"{S}_key: 'your-{S}-here'", "placeholder"),
        (f"{S.upper()}_KEY = 'This is not a {S}, be sure to change this.'", "placeholder"),
        (f"{P} = '********'", "letter or digit"),
        (f"UNUSABLE_{P.upper()}_PREFIX = '!'", "letter or digit"),
        (f"{P} = '<{P}>'", "template"),
        (f"{P} = '${{DB_{P.upper()}}}'", "template"),
        (f'{P}: "{{{{ vault_{P} }}}}"', "template"),
        (f"set_{P} = 'ALTER USER %(user)s IDENTIFIED BY \"%({P})s\"'", "template"),
        (f"{P.upper()}_FIELD = '{P}'", "word for a credential"),
        (f"{T}_name = 'csrfmiddleware{T}'", "word for a credential"),
        (f"{S} = 'api_key'", "word for a credential"),
        (f"def validate(self, {P}_field_name='{P}2'):", "word for a credential"),
        (f"{T}_url = 'https://host.example/oauth/{T}'", "address"),
        (f"reset_{T}_path = '/accounts/reset/'", "path"),
        (f"{T}_class = 'package.module.ClassName'", "dotted name"),
        (f"MISSING_{T.upper()} = 'CSRF cookie is missing.'", "sentence"),
        (f"if {T} == 'COLLATE':", "parser"),
        (f"{T}_source = 'POST'", "tells something about"),
        (f"url = 'amqp://user:{P}@rabbit:5672//'", "stands for"),
        (f"see redis://:${{REDIS_{P.upper()}}}@redis:6379", "filled in"),
        (f"broker = 'amqp://joe:{REAL}@broker.example.com'", "no host in particular"),
        (f"broker = 'amqp://joe:{REAL}@localhost:5672/'", "no host in particular"),
        (f"login(username='joe', {P}='')", "empty"),
    ],
)
def test_what_is_no_credential(line: str, reason: str) -> None:
    assert reason in (secret_counter_evidence(line) or ""), line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x = 1",
        f"{P} = '{REAL}'",
        f"{P} = 'hunter2'",
        f"{P} = 'pa$$wort1'",
        f"{P} = 'a<b>c9Kx'",
        f"{P} = 'k9{{x}}Lm'",
        f"{P} = 'todo4Fz9qLw2x'",
        f"{P} = 'swordfish'",
        f"{P} = 'correct horse battery staple'",
        f"{S.upper()}_KEY = 'dev'",
        f"{T} = '{RANDOM}'",
        f"{T} = 'ey' + 'JhbGci.x.y'",
        f"{T} = 'eyJhbGciOi.eyJzdWIi.abc'",
        f"if {T} == '{RANDOM}':",
        f"{P}: str = '{REAL}'",
        f"{P} = '{REAL}'  # not the {P}: ''",
        f"login({P}='', {S}='{REAL}')",
        f"url = 'postgres://joe:{REAL}@db.internal/x'",
        f"url = 'amqp://joe:{P}@rabbit'; other = 'amqp://joe:{REAL}@rabbit'",
        f"{P} = ''; aws = '{RANDOM}'",
        f'KEY1 = """-----BEGIN RSA {"PRIVATE"} KEY-----',
        f'{P} = """',
        f"{S} = b'''",
        f"{P} = '/{RANDOM}{RANDOM}'",
        f"{T}_url = 'https://hooks.example/services/{RANDOM}'",
        f"{T}_url = 'https://host.example/x?{T}={REAL}'",
    ],
)
def test_what_may_be_a_credential(line: str) -> None:
    assert secret_counter_evidence(line) is None, line


def test_a_definition_holds_no_credential_unless_it_has_a_default() -> None:
    line = "def test_it_weighs_as_its_heaviest_and_so_on_and_on() -> None:"
    assert "defines a name" in (secret_counter_evidence(line) or "")
    assert secret_counter_evidence(f"def login({T}='{REAL}'):") is None
    assert secret_counter_evidence(f"class A:  # {RANDOM}") is None


def test_comments_of_the_author() -> None:
    assert "nosec" in (nosec_evidence("assert x  # nosec B101") or "")
    assert "S603" in (nosec_evidence("run(x)  # noqa: PLW1510, S603") or "")
    for line in ("assert x", "nosec = 1", "run(x)  # noqa: E501", "x  # nosecond"):
        assert nosec_evidence(line) is None, line


@pytest.mark.parametrize(
    "path",
    ["tests/a.py", "pkg/tests/deep/a.py", "test_a.py", "t/unit/test_a.py", "a_test.py", "conftest.py", "tests.py"],
)
def test_test_code(path: str) -> None:
    for kind in ("CWE-703", "CWE-798", "CWE-330", "CWE-377"):
        assert "test code" in (test_code_evidence(path, kind) or "")
    for kind in ("CWE-78", "CWE-89"):
        assert "not deployed" in (test_code_evidence(path, kind) or "")
    for kind in ("undefined-name", "unused-import", "unreachable-code"):
        assert test_code_evidence(path, kind) is None


@pytest.mark.parametrize(
    "path", ["pkg/a.py", "contest.py", "latest.py", "attestation/a.py", "testimony.py", "pkg/test.txt"]
)
def test_what_is_not_test_code(path: str) -> None:
    assert test_code_evidence(path, "CWE-703") is None


def test_an_issued_credential_stays_one_in_tests() -> None:
    assert test_code_evidence("tests/a.py", "CWE-798", ["B105", "Secret Keyword"])
    assert test_code_evidence("tests/a.py", "CWE-798", ["B105", "AWS Access Key"]) is None
    assert test_code_evidence("tests/a.py", "CWE-798", ["Private Key"]) is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("    yield None", "unreachable-code"),
        ("    raise AssertionError('never')", "unreachable-code"),
        ("    assert False, x", "unreachable-code"),
        ("    assert_never(x)", "unreachable-code"),
        ("y = pickle.loads(pickle.dumps(x))", "CWE-502"),
        ("y = loads(dumps(x))", "CWE-502"),
        ("def __get__(self, obj, owner):", "unused-argument"),
        ("def f(a: int) -> str: ...", "unused-argument"),
        ("x = mark_safe(' class=\"end\"')", "CWE-79"),
        ("FORMAT = 'd\u200f/m'", "CWE-838"),
    ],
)
def test_idioms(line: str, kind: str) -> None:
    assert idiom_evidence(line, kind)
    assert idiom_evidence(line, "CWE-78") is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("    yielded = 1", "unreachable-code"),
        ("    raise ValueError", "unreachable-code"),
        ("    assert falsehood", "unreachable-code"),
        ("y = pickle.loads(body)", "CWE-502"),
        ("y = pickle.loads(f(dumps))", "CWE-502"),
        ("def get(self, obj, owner):", "unused-argument"),
        ("x = mark_safe('<b>%s</b>' % name)", "CWE-79"),
        ("x = mark_safe(f'<b>{name}</b>')", "CWE-79"),
        ("x = mark_safe('<b>' + name)", "CWE-79"),
        ("if access == '\u202e\u2066# admin\u2069\u200f':", "CWE-838"),
    ],
)
def test_what_is_no_idiom(line: str, kind: str) -> None:
    assert idiom_evidence(line, kind) is None


def tree_of(root: Path, files: dict[str, str]) -> Tree:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return Tree.scan(root)


def test_reexports(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {
            "src/pkg/__init__.py": (
                "from pkg.core import one, two, three\nfrom pkg.core import four\nimport json\n__all__ = ['four']\n"
            ),
            "src/pkg/core.py": "one = two = three = four = five = 1\n",
            "src/pkg/compat.py": "import collections.abc as cabc\nfrom .core import five\nfrom os import sep, pipe\n",
            "src/pkg/sub/__init__.py": "",
            "src/pkg/sub/user.py": (
                "from pkg import one\nfrom ..compat import five\nimport pkg\nprint(pkg.two, one, five)\n"
            ),
            "src/pkg/near.py": "from . import compat\nprint(compat.cabc)\n",
            "broken.py": "from pkg import (",
            "unrelated.py": "from otherpkg import three, json\nfrom os import sep\n",
        },
    )

    def evidence(path: str, line: int, message: str = "") -> str | None:
        return reexport_evidence(tree, path=f"src/pkg/{path}", line=line, message=message)

    assert evidence("__init__.py", 1, "`pkg.core.one` imported but unused") == (
        "'one' is imported from here by src/pkg/sub/user.py:1"
    )
    assert "user.py:4" in (evidence("__init__.py", 1, "Unused import 'two'") or "")
    assert evidence("__init__.py", 1, "`pkg.core.three` imported but unused") is None
    assert evidence("__init__.py", 1) is None, "three of the line is used by nobody"
    assert evidence("__init__.py", 2) == "'four' is listed in __all__ (src/pkg/__init__.py:4)"
    assert evidence("__init__.py", 3) is None
    assert "user.py:2" in (evidence("compat.py", 2) or "")
    assert "near.py:2" in (evidence("compat.py", 1) or "")
    assert evidence("compat.py", 3) is None
    assert evidence("compat.py", 99) is None
    assert evidence("missing.py", 1) is None


def test_names_elsewhere(tmp_path: Path) -> None:
    names = (
        "on_start",
        "main",
        "render_page",
        "DATE_FORMAT",
        "about",
        "by_path",
        "documented",
        "quoted_here",
        "nobody_knows",
        "Ab",
    )
    tree = tree_of(
        tmp_path,
        {
            "pkg/mod.py": "".join(f"def {name}(): pass\n" for name in names) + "x = 'nobody_knows'\n",
            "setup.cfg": "[options.entry_points]\nconsole_scripts =\n    tool = pkg.mod:main\n",
            "templates/a.html": "<p>about Ab</p>{{ render_page }}\n",
            "pkg/settings.py": "HOOK = 'pkg.mod.by_path'\nx = getattr(m, 'DATE_FORMAT')\ny = 'about'\n",
            "docs/a.rst": "The word about is everywhere, like main.\nSee ``documented`` and on_start.\n",
            "data.csv": "quoted_here\n",
        },
    )

    def evidence(name: str, kind: str = "unused-function") -> str | None:
        return named_elsewhere_evidence(tree, path="pkg/mod.py", kind=kind, message=f"Unused function '{name}'")

    assert evidence("main") == "'main' is named in setup.cfg:3"
    assert evidence("render_page") == "'render_page' is named in templates/a.html:1"
    assert evidence("by_path") == "'by_path' is named in pkg/settings.py:1"
    assert evidence("DATE_FORMAT") == "'DATE_FORMAT' is named in pkg/settings.py:2"
    assert evidence("documented") == "'documented' is named in docs/a.rst:2"
    assert evidence("on_start") == "'on_start' is named in docs/a.rst:2"
    assert evidence("on_start", "unused-argument") is None
    for name in ("about", "nobody_knows", "quoted_here", "Ab", "unheard_of"):
        assert evidence(name) is None, name
    assert named_elsewhere_evidence(tree, path="pkg/mod.py", kind="unused-function", message="no name") is None


def test_registered_and_collected(tmp_path: Path) -> None:
    text = (
        "@app.route('/')\ndef a(): ...\n@property\ndef b(): ...\n"
        "@functools.lru_cache(3)\ndef c(): ...\n@receiver\ndef d(): ...\ndef e(): ...\n"
    )
    tree = tree_of(tmp_path, {"a.py": text})

    def registered(line: int, kind: str = "unused-function") -> str | None:
        return registered_evidence(tree, path="a.py", line=line, kind=kind)

    assert registered(1) == "its decorator @app.route hands it on"
    assert registered(7) == "its decorator @receiver hands it on"
    assert registered(1, "unused-variable") is None
    assert [registered(line) for line in (3, 5, 9)] == [None, None, None]
    assert collected_evidence("tests/a.py", kind="unused-class", message="Unused class 'TestX'")
    assert collected_evidence("t/test_a.py", kind="unused-class", message="Unused class 'test_Worker'")
    assert collected_evidence("tests/a.py", kind="unused-method", message="Unused method 'setUp'")
    fixture = {"kind": "unused-argument", "message": "Unused variable 'app'"}
    assert collected_evidence("tests/a.py", **fixture, line_text="def test_x(app):")
    assert collected_evidence("tests/a.py", **fixture, line_text="def helper(app):") is None
    assert collected_evidence("pkg/a.py", **fixture, line_text="def test_x(app):") is None
    once = {"kind": "mutable-default-argument", "message": "Do not use mutable data structures"}
    assert collected_evidence("tests/a.py", **once, line_text="    def test_x(self, a=[]):")
    assert collected_evidence("tests/a.py", **once, line_text="    def apply(self, a=[]):") is None
    assert collected_evidence("conftest.py", kind="unused-function", message="Unused function 'pytest_configure'")
    assert collected_evidence("pkg/a.py", kind="unused-class", message="Unused class 'TestX'") is None
    assert collected_evidence("tests/a.py", kind="unused-class", message="Unused class 'Helper'") is None
    assert collected_evidence("tests/a.py", kind="unused-variable", message="Unused variable 'test_x'") is None
