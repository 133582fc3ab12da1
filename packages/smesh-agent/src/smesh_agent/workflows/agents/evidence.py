"""Plain evidence against a result: what anybody can see who reads it, without a model.

Two kinds of it, held by two agents of separate lineages, so that what is wrong in both ways is rejected without any
model: its **form** (empty, no text, broken off, the same over and over), and its **substance** (it copies the task or
another result, or is noise). Neither ever supports a result: to look right proves nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["form_fault", "substance_fault"]

_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_TEXT_SHARE_MIN: Final = 0.5
_SAME_SHARE_MAX: Final = 0.5
_WORDS_JUDGED_MIN: Final = 12
_COPY_CHARACTERS_MIN: Final = 80
_STEM: Final = 5
_LETTERS_JUDGED_MIN: Final = 120
_COINCIDENCE_MIN: Final = 0.045


def form_fault(output: str) -> str | None:
    """What is wrong with the form of a result, in a sentence; None where nothing is."""
    text = output.strip()
    if not text:
        return "it is empty"
    if "\N{REPLACEMENT CHARACTER}" in text or sum(not one.isprintable() and not one.isspace() for one in text) > 2:
        return "it holds what is no text"
    letters = sum(one.isalpha() or one.isspace() for one in text)
    if len(text) >= _COPY_CHARACTERS_MIN and letters < _TEXT_SHARE_MIN * len(text):
        return f"only {letters / len(text):.0%} of it are letters"
    words = _WORD.findall(text.lower())
    if len(words) >= _WORDS_JUDGED_MIN:
        word, times = Counter(words).most_common(1)[0]
        if times > _SAME_SHARE_MAX * len(words):
            return f"it repeats {word!r} {times} times"
    return None


def substance_fault(what: str, output: str, others: Iterable[str]) -> str | None:
    """What is wrong with the substance of a result, in a sentence; None where nothing is.

    Args:
        what: what was to be done.
        output: the result.
        others: results of other tasks.
    """
    said = _folded(output)
    if not said:
        return "it says nothing"
    if len(said) >= _COPY_CHARACTERS_MIN:
        if said == _folded(what):
            return "it repeats the task"
        if any(said == _folded(one) for one in others):
            return "it is a copy of another task's result"
    if _is_noise(output) and not _stems(what) & _stems(output):
        return "its letters are drawn at random, and it shares no word with the task"
    return None


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _is_noise(text: str) -> bool:
    """Whether two letters of a text are the same no more often than by chance (Friedman: The index of coincidence).

    In Latin letters that is 1 in 26, and in any language that is written in them 1 in 13 to 1 in 16.
    """
    letters = [one for one in text.lower() if "a" <= one <= "z"]
    if len(letters) < _LETTERS_JUDGED_MIN or len(letters) < _TEXT_SHARE_MIN * len("".join(text.split())):
        return False
    pairs = sum(times * (times - 1) for times in Counter(letters).values())
    return pairs < _COINCIDENCE_MIN * len(letters) * (len(letters) - 1)


def _stems(text: str) -> set[str]:
    """The beginnings of the words."""
    return {word[:_STEM] for word in _WORD.findall(text.lower())}
