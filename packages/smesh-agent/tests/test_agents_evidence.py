"""Plain evidence: garbage and copies are seen for what they are, and honest text is left alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.workflows.agents.evidence import form_fault, substance_fault

HONEST = [
    "Termites build with pheromones.\n- Each adds a pellet where others have: pillars grow.\n- No one has a plan.",
    "The quick brown fox jumps over the lazy dog, and packs my box with five dozen jugs of liquor.",
    "yes",
    "42",
    "Ameisen finden den kürzeren Weg, weil dort mehr Pheromon liegt als auf dem längeren.",
    "シロアリは計画なしに巣を作る。それぞれが土を置き、匂いが次を呼ぶ。",
    "def shortest(paths):\n    return min(paths, key=len)  # the ants do the same\n",
    "| path | length |\n|---|---|\n| a | 12 |\n| b | 17 |\n",
    "#" * 3 + " Ants\n\n" + "They follow the stronger trail. " * 3,
]
TASK = "Collect what is known about how ants and termites find the shorter path without a plan."


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_is_left_alone(text: str) -> None:
    assert form_fault(text) is None
    assert substance_fault(TASK, text, [one for one in HONEST if one != text]) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is empty"),
        (" \n\t", "it is empty"),
        ("caf\ufffd", "it holds what is no text"),
        ("\x00\x01\x02\x03", "it holds what is no text"),
        ("9f3a0c77d1e24b58" * 8, "of it are letters"),
        ("ants ants ants " * 20, "it repeats 'ants' 60 times"),
    ],
)
def test_garbage_has_no_form(text: str, fault: str) -> None:
    assert fault in (form_fault(text) or "")


def test_copies_have_no_substance() -> None:
    copied = HONEST[0]
    assert substance_fault(TASK, f"  {copied.upper()}\n", ["x", copied]) == "it is a copy of another task's result"
    assert substance_fault(TASK, TASK, []) == "it repeats the task"
    assert substance_fault(TASK, "", []) == "it says nothing"
    assert substance_fault(TASK, "yes", ["yes"]) is None  # short answers may well be the same


@given(st.integers(0, 10**6))
def test_random_characters_are_found(seed: int) -> None:
    text = " ".join(hashlib.sha256(b"%d %d" % (seed, n)).hexdigest() for n in range(8))
    assert form_fault(text) is not None
    letters = " ".join(
        "".join(chr(97 + byte % 26) for byte in hashlib.sha256(b"%d %d" % (seed, n)).digest()[:9]) for n in range(40)
    )
    assert "at random" in (substance_fault(TASK, letters, []) or "")


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_judged_without_breaking(what: str, output: str) -> None:
    form_fault(output)
    substance_fault(what, output, [what])
