"""Redaction: no credential survives it, and the line is still recognised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.redaction import redacted

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
