"""Prompts: what every model is asked, from options, from a file, or those that come with SMESH.

A file whose name ends in ``.yaml``, ``.yml`` or ``.json`` is a list of texts; any other is read as one prompt a line,
and blank lines are left out. Prompts are asked as they stand, with nothing before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smesh_agent.errors import JobError
from smesh_agent.workflows.agents.job import FILE_BYTES_MAX, load_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["PROMPTS_DEFAULT", "PROMPTS_MAX", "checked_prompts", "read_prompts"]

PROMPTS_MAX: Final = 1000
PROMPTS_DEFAULT: Final = (
    "In one sentence: why do termites build mounds?",
    "Write a Python function that merges two sorted lists into one sorted list, and say how it works.",
)
"""What is asked where nobody says what: something short, and something longer."""

_PROMPT_BYTES_MAX: Final = 256 * 1024
_STRUCTURED: Final = frozenset({".json", ".yaml", ".yml"})


def read_prompts(path: Path) -> list[str]:
    """Read prompts from a file, see the module.

    Raises:
        JobError: it cannot be read, or holds something else than prompts.
    """
    if path.suffix.lower() in _STRUCTURED:
        read = load_text(path)
        if not (isinstance(read, list) and all(isinstance(one, str) for one in read)):
            raise JobError(f"{path}: give a list of texts, one for each prompt")
        prompts: list[str] = read
    else:
        prompts = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not prompts:
        raise JobError(f"{path}: there is no prompt in it")
    return checked_prompts(prompts, str(path))


def checked_prompts(prompts: Sequence[str], where: str) -> list[str]:
    """Prompts that can be asked, each once.

    Args:
        prompts: their texts.
        where: what they are from, for errors.

    Raises:
        JobError: one is blank, too long, no text, or there twice; or there are too many.
    """
    if len(prompts) > PROMPTS_MAX:
        raise JobError(f"{where}: {len(prompts):,} prompts, and at most {PROMPTS_MAX:,} are asked")
    for number, prompt in enumerate(prompts, 1):
        why = _why_not(prompt) or ("it is there twice" if prompt in prompts[: number - 1] else "")
        if why:
            raise JobError(f"{where}, prompt {number:,}: {why}")
    return list(prompts)


def _why_not(prompt: str) -> str:
    try:
        size = len(prompt.encode())
    except UnicodeEncodeError:
        return "it is not text in UTF-8"
    if not prompt.strip():
        return "it is blank"
    return f"it is longer than {_PROMPT_BYTES_MAX // 1024} KiB" if size > _PROMPT_BYTES_MAX else ""


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            read = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise JobError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(read) > FILE_BYTES_MAX:
        raise JobError(f"{path}: larger than {FILE_BYTES_MAX // 1024**2} MiB")
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(f"{path}: not text in UTF-8 (byte {error.start + 1})") from error
