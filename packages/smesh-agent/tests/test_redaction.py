"""Redaction: no credential survives it, and the rest is still recognised, to the letter where it may be anything."""

from __future__ import annotations

import http
import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import smesh_agent
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smesh_agent.backends.base import Message, Request, Tool, ToolCall
from smesh_agent.redaction import Redactor, known_secrets, redacted, redacted_text

WORD = "pass" + "word"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f'{WORD} = "hunter2-Xk9"', f'{WORD} = "hu…"'),
        (f"login({WORD}='abc')", f"login({WORD}='…')"),
        ("broker = 'amqp://joe:k4Fz9qLw@host/v'", "broker = 'amqp://joe:…@host/v'"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----MIIEow", "-----BEGIN RSA " + "PRIVATE KEY-----"),
        (f"{WORD}: Xk9qLw2tRz", f"{WORD}: Xk…"),
        ("see aB3dE6gH9jK2mN5pQ8sT1vW4 there", "see aB… there"),
        (f'{WORD} = "never closed Xk9qLw', f'{WORD} = "ne…"'),
    ],
)
def test_what_is_shown_of_a_line(line: str, shown: str) -> None:
    assert redacted(line) == shown


SECRET = st.text(alphabet="abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=8, max_size=60)


@given(
    SECRET,
    st.sampled_from(["{w} = '{s}'", '{w}="{s}"', "{w}: {s}", "x://u:{s}@h", "f({w}='{s}', n=1)", "{w} == `{s}`"]),
)
def test_no_credential_survives(secret: str, shape: str) -> None:
    once = redacted(shape.format(w=WORD, s=secret))
    assert secret[:6] not in once
    assert redacted(once) == once


# Keys as providers build them, put together here so that nobody takes this file for a leak.
ALNUM = "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0bC3dE6gH9jK2mN5pQ8sT1vW4xY7z"
AWS = "AKIA" + "QY3ZJ7F2M5XW8N4T"
BASE64 = "MIIEowIBAAKCAQEAx5Yk9q2Lr7vTz0Wm"
JWT = ".".join(("eyJ" + "hbGciOiJIUzI1NiJ9", "eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0", "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"))
KEYS = {
    "anthropic-key": "sk-" + "ant-api03-" + ALNUM[:40],
    "aws-key": AWS,
    "github-token": "ghp_" + ALNUM[:36],
    "gitlab-token": "glpat-" + ALNUM[:20],
    "google-key": "AIza" + ALNUM[:35],
    "jwt": JWT,
    "npm-token": "npm_" + ALNUM[:36],
    "openai-key": "sk-" + "proj-" + ALNUM[:48],
    "slack-token": "xoxb-" + "123456789012-1234567890123-" + ALNUM[:24],
    "stripe-key": "sk_" + "live_" + ALNUM[:24],
}


def pem(body: str, kind: str = "RSA ") -> str:
    return f"-----BEGIN {kind}" + f"PRIVATE KEY-----{body}-----END {kind}PRIVATE KEY-----"


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    "text", ["{}", "key {}.", "x={}&y=1", '["{}"]', "curl -H 'k: {}' \\", r'"line\n{}\n"', "(`{}`)", "é{}é"]
)
def test_keys_of_providers_are_found_wherever_they_stand(kind: str, text: str) -> None:
    assert redacted_text(text.format(KEYS[kind])) == text.format(f"«redacted:{kind}-1»")


# detect-secrets' own patterns as a second opinion on what keys look like.
PLUGINS = {
    "aws.AWSKeyDetector": 1,
    "azure_storage_key.AzureStorageKeyDetector": 1,
    "discord.DiscordBotTokenDetector": 1,
    "github_token.GitHubTokenDetector": 1,
    "gitlab_token.GitLabTokenDetector": 1,
    "openai.OpenAIDetector": 1,
    "pypi_token.PypiTokenDetector": 2,
    "sendgrid.SendGridDetector": 1,
    "stripe.StripeDetector": 1,
}


@pytest.mark.parametrize("plugin", PLUGINS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_detect_secrets_calls_a_key_is_found(plugin: str, data: st.DataObject) -> None:
    module, _, name = plugin.partition(".")
    found = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)
    pattern = data.draw(st.sampled_from(found.denylist[: PLUGINS[plugin]]))
    secret = data.draw(st.from_regex(re.compile(pattern.pattern, re.ASCII), fullmatch=True))
    assert (secret.partition("=")[2] or secret) not in redacted_text(f"see {secret} there")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'{WORD} = "hunter2-Xk9"', f'{WORD} = "«»"'),
        (f"{WORD}: str = 'hunter2'", f"{WORD}: str = '«»'"),
        (f'{{"db_{WORD}": "hunter2"}}', f'{{"db_{WORD}": "«»"}}'),
        (rf"{{\"db_{WORD}\": \"hunter2\"}}", rf"{{\"db_{WORD}\": \"«»\"}}"),
        (f'if {WORD} == "hunter2":', f'if {WORD} == "«»":'),
        (f'os.environ["DB_{WORD.upper()}"] = "hunter2"', f'os.environ["DB_{WORD.upper()}"] = "«»"'),
        (f'setenv("DB_{WORD.upper()}", "hunter2")', f'setenv("DB_{WORD.upper()}", "«»")'),
        (f'{WORD} = SecretStr("hunter2")', f'{WORD} = SecretStr("«»")'),
        (f'{WORD} = """hunter2"""', f'{WORD} = """«»"""'),
        (f'{WORD} = "hunter2, cut of', f'{WORD} = "hunter2, cut of'),
        (f'{WORD} = "hunter2', f'{WORD} = "«»'),
        (f'{WORD} = "P@$$w0rd\\"x"', f'{WORD} = "«»"'),
        (f"export DB_{WORD.upper()}=hunter", f"export DB_{WORD.upper()}=«»"),
        ("API_KEY: Xk9qLw2tRz81", "API_KEY: «»"),
        ("apiKey=Xk9qLw2tRz81&page=2", "apiKey=«»&page=2"),
        (f"mysql --{WORD} hunter2-Xk9 db", f"mysql --{WORD} «» db"),
        (f"<{WORD}>hunter2</{WORD}>", f"<{WORD}>«»</{WORD}>"),
        ('client_secret => "shhh-shhh"', 'client_secret => "«»"'),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer «»"),
        ("curl -H 'authorization: Basic cm9vdDpyb290'", "curl -H 'authorization: Basic «»'"),
        ("postgres://joe:k4Fz9qLw@db:5432/x", "postgres://joe:«»@db:5432/x"),
        ("https://hooks.slack.com/services/T0001/B0001/Xk9qLw2tRz81", "https://hooks.slack.com/services/«»"),
        (f'{WORD} = "a[x]{{Xk9}}"', f'{WORD} = "«»"'),
        (f'{WORD} = "%d0%b0%rst"', f'{WORD} = "«»"'),
        (f'forgot_{WORD} = "forgot{WORD}"', f'forgot_{WORD} = "«»"'),
        (f'{WORD} = "forgot-{WORD}"', f'{WORD} = "«»"'),
        (f'reset_{WORD} = "Reset-{WORD}-1"', f'reset_{WORD} = "«»"'),
        (f'{WORD} = "toolu_{ALNUM[:24]}"', f'{WORD} = "«»"'),
        ('public String x = "' + ALNUM[:24] + '"', 'public String x = "«»"'),
        ('x = "' + ALNUM[:24] + '"', 'x = "«»"'),
        ("x = '9f8e7d6c5b4a39281706f5e4d3c2b1a0'", "x = '«»'"),
    ],
)
def test_values_are_found_by_what_stands_before_them(text: str, shown: str) -> None:
    assert re.sub(r"«[^»]*»", "«»", redacted_text(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        f'{WORD} = "{WORD}"',
        f"{WORD} = get_{WORD}(2)",
        f"{WORD}: SecretStr",
        f"def login(user, {WORD}=None, token=token2):",
        f'{WORD} = "${{DB_{WORD.upper()}}}"',
        f"{WORD}: ${{{{ secrets.DB1_{WORD.upper()} }}}}",
        f'{WORD} = "changeme"',
        f'{WORD} = "<your {WORD}>"',
        f'error = "Wrong {WORD}: try again in 15 minutes"',
        'token = "identifier"',
        "token = tokens[pos2]",
        "token=cfg.oauth2.token1",
        f'{WORD} = r"([a-z0-9]{{24}})"',
        f"{WORD} = r'(?=[^\\v]*)[^\\v,]'",
        'token = r"[-!#$%&*+.^_|~0-9a-zA-Z]+"',
        r"'://[^{}\s]+:([^{}\s]+)@'",
        "version_pass = '%d.%d.%d-10-g92584ed'",
        f'FORGOT_{WORD.upper()} = "forgot{WORD.title()}"',
        f'{{"user.forgot_{WORD}": "forgot-{WORD}"}}',
        f'"tool_use_id": "toolu_01{ALNUM[:22]}"',
        f"(for example, `wrkspc_01{ALNUM[:22]}`)",
        f'"public_key": "{ALNUM[:44]}"',
        f"signature = '{ALNUM[:44]}'",
        '"pip-26.3-py3-none-any.whl": "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"',
        "api_key = config.api_key2",
        "secret_file = '/run/secrets/db1'",
        "secret = '/run/secrets/db1'",
        "postgres://{user}:{password}@host/db",
        "https://user:pass@host/",
        "http://host:8080/a@b",
        "a bearer of token identification-numbers",
        "bearer authentication is required",
        "commit = '9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c'",
        "x = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'",
        "x = 'application/x-www-form-urlencoded2'",
        "x = 'TestConnectionPool2WithTimeouts'",
        "x = 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'",
        "class='sk-folding-cube-animation'",
        '"-----BEGIN RSA " "PRIVATE KEY-----"',
        'if line.startswith("-----BEGIN RSA ' + 'PRIVATE KEY-----"):\n    return parse_the_body_of_it(line)\n',
        "AKIA",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize(
    "folder", [Path(smesh_agent.__file__).parent, *(Path(m.__file__).parent for m in (json, http))]
)
def test_ordinary_code_is_left_as_it_is(folder: Path) -> None:
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert redacted_text(text) == text, path


@pytest.mark.parametrize(
    "key",
    [
        pem(f"\n{BASE64}\n{BASE64}\nQw==\n"),
        pem(f"\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,ABCDEF\n\n{BASE64}\nQw==\n"),
        pem(f"\\n{BASE64}\\n{BASE64}\\n", kind=""),
        pem(f"\r\n    {BASE64}\r\n    {BASE64}\r\n    ", kind="OPENSSH "),
        pem(f'\\n" +\n  "{BASE64}\\n" +\n  "', kind="EC "),
        pem(f" {BASE64} {BASE64} "),
        pem(f"\n# {BASE64}\n# {BASE64}\n# "),
        pem(f"\n+{BASE64}\n-{BASE64}\n-Qw==\n-"),
    ],
)
def test_private_keys_go_whole_and_their_lines_stay(key: str) -> None:
    text = f"before\n{key}\nafter = 1\n"
    line_breaks = re.sub(r"[^\n\r]", "", key)
    assert redacted_text(text) == f"before\n«redacted:private-key-1»{line_breaks}\nafter = 1\n"


def test_of_a_private_key_that_is_cut_off_goes_what_is_there() -> None:
    cut = pem(f"\n{BASE64}\n{BASE64}\n").rpartition("-----END")[0]
    assert redacted_text(f"{cut}and so on\nend\n") == "«redacted:private-key-1»\n\n\nand so on\nend\n"
    putty = f"Private-Lines: 2\n{BASE64}\nQw==\nPrivate-MAC: 00\nmore\n"
    assert redacted_text(putty) == "«redacted:private-key-1»\n\n\nPrivate-MAC: 00\nmore\n"


def test_equal_secrets_have_equal_markers() -> None:
    first, second = KEYS["github-token"], KEYS["github-token"][::-1].replace("_phg", "") + "0"
    text = f"{first} ghp_{second} {first} {AWS}"
    assert (
        redacted_text(text)
        == "«redacted:github-token-1» «redacted:github-token-2» «redacted:github-token-1» «redacted:aws-key-1»"
    )


def test_known_secrets_are_found_escaped_as_well() -> None:
    secret = 'p@ss "wörd" / \\ 1'  # noqa: S105
    redactor = Redactor([secret, "short"])
    for form in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, safe="")):
        shown = redactor.text(f"short {form}")
        assert shown.strip('"') != form
        assert "1»" in shown
        assert "rd" not in shown.replace("redacted", "")
        assert shown.startswith("short ")


def test_the_longer_of_two_known_secrets_leaves_no_rest() -> None:
    assert redacted_text("xhunter2hunter2x", known=["hunter2h", "hunter2hunter2"]) == "x«redacted:known-secret-1»x"
    assert redacted_text("abcdefghijkl", known=["abcdefghi", "efghijkl"]) == "«redacted:known-secret-1»"


LINE_BREAK = "[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]"
KNOWN = st.text(st.characters(codec="utf-8", exclude_characters="«»"), min_size=8, max_size=24).map(str.strip)
PIECES = st.sampled_from(
    [
        *KEYS.values(),
        f"{WORD} = '",
        "'",
        '"',
        "\n",
        "\u2028",
        " ",
        "\\",
        "://u:",
        "@h",
        "bearer ",
        "=",
        "«redacted:jwt-1»",
        "«",
        "a1",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | KNOWN | st.text(max_size=10), max_size=12), st.lists(KNOWN, max_size=3), st.data())
def test_no_known_secret_survives_and_lines_stay(pieces: list[str], known: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.permutations([*pieces, *known]))
    redactor = Redactor(known)
    text = "".join(parts)
    once = redactor.text(text)
    assert redactor.text(once) == once
    assert re.findall(LINE_BREAK, once) == re.findall(LINE_BREAK, text)
    between = re.split(r"«redacted:[a-z\-]+-\d+»", once)
    for secret in known:
        assert len(secret) < 8 or not any(secret in part for part in between)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(KEYS.values())), st.text(max_size=30), st.text(max_size=30))
@example(AWS, "é", "\u0130")
def test_a_key_set_off_by_blanks_never_survives(key: str, before: str, after: str) -> None:
    assert key not in redacted_text(f"{before} {key} {after}")


HOSTILE = [
    "://", "://a:b", "eyJ", "eyJaaaaaaaaa-", "token=", "token=\"token='", f'{WORD}="\\"', "\\", '"', "'a", "-",
    "-----BEGIN PRIVATE KEY-----", f"-----BEGIN PRIVATE KEY-----\n{BASE64}\n", "bearer a", "sk-a", "MIIE", "_key",
    f"--{WORD} ", "Private-Lines: 1", "«redacted:", "hunter2", "12345678:AA", "'a1B2c3D4e5F6g7H8i9J0k1'", "a.",
    "\u0130",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_no_more_time_than_its_length_tells(piece: str) -> None:
    redactor = Redactor(["hunter2hunter2"])

    def seconds(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        began_s = time.perf_counter()
        redactor.text(text)
        return time.perf_counter() - began_s

    # Four times the text takes four times as long; anything quadratic takes sixteen times, and far more than a second.
    assert min(seconds(200_000) for _ in range(2)) < max(1.0, 10 * min(seconds(50_000) for _ in range(2)))


def test_a_request_is_redacted_in_all_its_texts() -> None:
    secret = KEYS["github-token"]
    request = Request(
        system=f"Use {secret}.",
        messages=(
            Message(role="user", text=f"What is {AWS}?"),
            Message(
                role="assistant", calls=(ToolCall("1", "get", {"a": [{WORD: "hunter2"}], secret: secret, "n": 1}),)
            ),
            Message(role="tool", text=secret, answers="1"),
        ),
        schema={"properties": {WORD: {"type": "string", "default": AWS}}, "required": [WORD]},
        tools=(Tool("get", f"with {secret}", {"description": secret}),),
        stop=(AWS,),
        max_tokens=7,
    )
    aws, github = "«redacted:aws-key-1»", "«redacted:github-token-1»"
    arguments = {"a": [{WORD: "«redacted:credential-1»"}], github: github, "n": 1}
    assert Redactor().request(request) == Request(
        system=f"Use {github}.",
        messages=(
            Message(role="user", text=f"What is {aws}?"),
            Message(role="assistant", calls=(ToolCall("1", "get", arguments),)),
            Message(role="tool", text=github, answers="1"),
        ),
        schema={"properties": {WORD: {"type": "string", "default": aws}}, "required": [WORD]},
        tools=(Tool("get", f"with {github}", {"description": github}),),
        stop=(aws,),
        max_tokens=7,
    )


def test_secrets_of_an_environment() -> None:
    environment = {
        f"DB_{WORD.upper()}": "correct horse",
        "MY_API_KEY": " Xk9qLw2tRz81\n",
        "PG" + WORD.upper(): "postgres",
        "GITHUB_TOKEN": "abc",
        "TLS_KEY": "/etc/ssl/private/server.key",
        "AWS_SECRET_ACCESS_KEY": "/aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0bC3dE6gH9",
        "PWD": "/home/me/project",
        "MAX_TOKENS": "1000000000",
        "DATABASE_URL": "postgres://joe:k4Fz9qLw@db/x",
        "NOTES": f"see {AWS}",
        "PATH": "/usr/bin:/bin",
    }
    assert set(known_secrets(environment)) == {
        "correct horse",
        "Xk9qLw2tRz81",
        "/aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0bC3dE6gH9",
        "k4Fz9qLw",
        AWS,
    }


def test_half_a_pair_in_a_known_secret_breaks_nothing() -> None:
    assert redacted_text("a\udcffbcdefgh1 x", known=["a\udcffbcdefgh1"]) == "«redacted:known-secret-1» x"


def test_what_is_but_its_name_is_no_secret_in_json_either() -> None:
    assert Redactor().value({f"forgot_{WORD}": f"forgot-{WORD}"}) == {f"forgot_{WORD}": f"forgot-{WORD}"}
    assert Redactor().value({WORD: f"forgot-{WORD}"}) == {WORD: "«redacted:credential-1»"}


def test_redaction_loads_no_scanner() -> None:
    code = "import sys, smesh_agent.redaction as r; r.redacted_text('x'); sys.exit('detect_secrets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
