"""Our search for secrets finds what detect-secrets' own scan finds, no more and no less.

Every secret here is made at run time out of harmless parts, so that no scanner finds one in this file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings, get_plugins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smesh_agent.analyzers import Secrets, Slots
from smesh_agent.analyzers.secrets import candidates, found
from smesh_agent.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def letters(length: int, seed: str = "") -> str:
    """Letters and digits without any sense."""
    text = ""
    while len(text) < length:
        digest = hashlib.sha512(f"{seed}{len(text)}".encode()).digest()
        text += "".join(c for c in base64.b64encode(digest).decode() if c.isalnum())
    return text[:length]


def hexadecimal(length: int) -> str:
    return (hashlib.sha512(b"smesh").hexdigest() * 2)[:length]


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


WORD = "pass" + "word"
SECRETS = {
    "Artifactory Credentials": f'token = "AKC{letters(14)}"',
    "AWS Access Key": f"id: AKIA{letters(16).upper()}",
    "Azure Storage Account access key": f"AccountKey={letters(88)}",
    "Basic Auth Credentials": f"see https://user:{letters(9)}@host.io/x",
    "Base64 High Entropy String": f"x = '{letters(60)}'",
    "Cloudant Credentials": f"cloudant_{WORD} = {'abcdefgh' * 3}",
    "Discord Bot Token": f"M{letters(23)}.{letters(6)}.{letters(27)}",
    "GitHub Token": f"ghp_{letters(36)}",
    "GitLab Token": f"glpat-{letters(20)}",
    "Hex High Entropy String": f'h = "{hexadecimal(40)}"',
    "IBM Cloud IAM Key": f"ibm_cloud_iam_key: {letters(44)}",
    "IBM COS HMAC Credentials": f"secret_access_key={hexadecimal(48)}",
    "JSON Web Token": f"{encoded({'alg': 'HS256'})}.{encoded({'sub': 'me'})}.{letters(40)}",
    "Mailchimp Access Key": f"{hexadecimal(32)}-us12",
    "NPM tokens": "//host.example/:_auth" + f"Token=npm_{letters(30)}",
    "OpenAI Token": f"sk-{letters(20)}T3BlbkFJ{letters(20)}",
    "Private Key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Public IP (ipv4)": "dns 8.8.4" + ".4",
    "PyPI Token": f"pypi-AgEIcHlwaS5vcmc{letters(72)}",
    "Secret Keyword": f'{WORD} = "{letters(7)}"',
    "SendGrid API Key": f"SG.{letters(22)}.{letters(43)}",
    "Slack Token": "xo" + f"xb-12345-67890-{letters(12).lower()}",
    "SoftLayer Credentials": f"softlayer_key={letters(64)}",
    "Square OAuth Secret": f"sq0csp-{letters(43)}",
    "Stripe Access Key": f"sk_live_{letters(24)}",
    "Telegram Bot Token": f"110201543:{letters(35)}",
    "Twilio API Key": f"AC{hexadecimal(32)}",
}
NOISE = [
    "",
    "   ",
    "import os",
    "def f(a, b='c'):  # a comment",
    "x = {'key': value, \"other\": [1, 2]}",
    "[section]",
    "name = value",
    "name: value # comment",
    "  continued value",
    "; comment",
    "// comment",
    "'unbalanced",
    '"""',
    "https://host.example/path?x=1",
    "a_very_long_identifier_with_more_than_twenty_four_characters = another_identifier_that_is_long()",
    f"{WORD} = get_{WORD}()",
    f"{WORD} = os.environ['{WORD.upper()}']",
    f"{WORD} = '${{{WORD}}}'",
    f"# pragma: allowlist nextline {'secret'}",
    f"if '{letters(6)}' == my_{WORD}:",
    f"PA\u017f\u017fWORD = '{letters(8)}'",
    f"my_{'secret'} => `{letters(8)}`",
    f"api_\u212aey: '{letters(8)}'",
    f"{'secret'}({json.dumps(letters(8))}, 3);",
    f"contrase\u00f1a := {letters(8)}",
    "form\x0cfeed \x0b vertical \x1c separator \u2028 line \x85",
    "\ttab: indented",
    "trailing = 'space'   \t",
    "1.2.3",
    "caf\u00e9 \u2603",
]
NAMES = [
    "a.py", "a.txt", "a.rst", "a.json", "a.yaml", "a.yml", "a.ini", "a.cfg", "a.toml", "a.js", "a.go", "a.c", "a.cpp",
    "a.properties", "a.md", "a.env", "Makefile", "a.html", "a.css", "yarn.lock", "swagger.json", "a.po",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _settings() -> Iterator[None]:
    with default_settings():
        yield


def assert_same(directory: Path, name: str, text: str) -> list[tuple[str, int, str]]:
    path = directory / name
    path.write_text(text, encoding="utf-8", newline="")
    theirs = sorted((s.type, s.line_number, s.secret_value or "") for s in scan_file(str(path)))
    assert sorted(found(str(path), text)) == theirs
    return theirs


def test_there_is_a_secret_for_every_plugin() -> None:
    assert set(SECRETS) == {plugin.secret_type for plugin in get_plugins()}


@pytest.mark.parametrize("wanted", SECRETS)
def test_every_secret_is_found_alone_and_among_others(tmp_path: Path, wanted: str) -> None:
    line = SECRETS[wanted]
    kinds = {kind for kind, _, _ in assert_same(tmp_path, "a.py", f"import os\n{line}\n")}
    # One of detect-secrets' own filters drops whatever holds no letter, and so every address.
    assert wanted in kinds or wanted == "Public IP (ipv4)"
    for text in (line, f"{line}\r\nx\r\n", f"  {line}  \n", f"# {line}", "\n".join([*NOISE, line, *NOISE])):
        assert_same(tmp_path, "a.py", text)
    assert 2 in candidates(["x = 1", line, "y = 2"])


@pytest.mark.parametrize("name", NAMES)
def test_all_secrets_in_all_sorts_of_files(tmp_path: Path, name: str) -> None:
    assert_same(tmp_path, name, "\n".join(SECRETS.values()) + "\n")
    assert_same(tmp_path, name, "\n".join([*NOISE, *SECRETS.values()]))
    # What configparser takes for a file of its own, so that values without quotes count.
    assert_same(tmp_path, name, f"[x]\nplain = {letters(60)}\nquoted = '{hexadecimal(40)}'\n")
    assert_same(tmp_path, name, f"plain = {letters(60)}\n  more\n; note\n{WORD}: {letters(9)}\n")
    assert_same(tmp_path, name, f"a:\n  - b: {letters(60)}\n    c: |\n      {hexadecimal(40)}\n")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    lines=st.lists(
        st.one_of(
            st.sampled_from(NOISE),
            st.sampled_from(sorted(SECRETS.values())),
            st.builds(
                "{}{}{}".format,
                st.sampled_from(NOISE),
                st.sampled_from(["", " ", "'"]),
                st.sampled_from(sorted(SECRETS.values())),
            ),
            st.text(alphabet="ab'\"=:;#[]{} \t\x0c\u017f\u00e9key", max_size=20),
        ),
        max_size=12,
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_mixture_gives_the_same(tmp_path: Path, name: str, lines: list[str], end: str) -> None:
    assert_same(tmp_path, name, end.join(lines))


def test_a_plain_file_costs_no_line() -> None:
    assert candidates([f"def function_{n}(argument): return argument + {n}" for n in range(500)]) == []


async def test_locks_and_undecodable_files(tmp_path: Path) -> None:
    line = SECRETS["Hex High Entropy String"]
    for name in ("uv.lock", "poetry.lock", "package-lock.json", "pnpm-lock.yaml", "deep/Cargo.lock", "a.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(line + "\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n" + line.encode() + b"\n")
    (tmp_path / "latin.py").write_bytes(b"x = 'caf\xe9'\n" + line.encode() + b"\n")
    outcome = await Secrets().run(Tree.scan(tmp_path))
    assert {(s.path, s.line) for s in outcome.observations} == {("a.py", 1), ("latin.txt", 2), ("latin.py", 2)}
    assert outcome.unread == []


async def test_shares_of_a_large_tree_are_put_together(tmp_path: Path) -> None:
    for n in range(6):
        (tmp_path / f"{n}.txt").write_text("nothing here\n" * 20_000 + SECRETS["GitHub Token"] + "\n")
    outcome = await Secrets(slots=Slots(3)).run(Tree.scan(tmp_path))
    assert [(s.path, s.line, s.rule) for s in outcome.observations] == [
        (f"{n}.txt", 20_001, "GitHub Token") for n in range(6)
    ]
