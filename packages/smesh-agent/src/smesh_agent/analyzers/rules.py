"""What analyzers' rules mean: the kind they share, how bad, how sure, and what to do; kept in rules.toml."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

import msgspec

from smesh_agent.analyzers.base import Severity

__all__ = ["CREDENTIALS", "Rule", "Rules", "bandit_namesake", "rules"]

CREDENTIALS = "CWE-798"

_SEVERITIES = {severity.name.lower(): severity for severity in Severity}


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """A line of rules.toml."""

    kind: str
    severity: str
    confidence: float
    advice: str


class Rule(msgspec.Struct, frozen=True):
    """What a rule means; an empty kind or advice leaves it to the analyzer's own words."""

    kind: str
    severity: Severity
    confidence: float
    advice: str


class Rules(msgspec.Struct, frozen=True):
    """The tables of rules.toml."""

    bandit: dict[str, Rule]
    ruff: dict[str, Rule]
    ruff_groups: dict[str, Rule]
    detect_secrets: dict[str, Rule]
    radon: dict[str, Rule]
    vulture: dict[str, Rule]

    def for_ruff(self, code: str) -> Rule:
        """The rule itself, its namesake in bandit, or the longest prefix of its code that is listed.

        Raises:
            KeyError: not even the group is listed.
        """
        if rule := self.ruff.get(code) or self.bandit.get(bandit_namesake(code)):
            return rule
        for length in range(len(code) - 1, 0, -1):
            if rule := self.ruff.get(code[:length]) or self.ruff_groups.get(code[:length]):
                return rule
        raise KeyError(code)

    def for_secret(self, secret_type: str) -> Rule:
        """What detect-secrets' name for a secret means."""
        return self.detect_secrets.get(secret_type) or self.detect_secrets["*"]


def bandit_namesake(code: str) -> str:
    """The bandit test that a ruff rule was made after; empty for rules that are not of that group."""
    return f"B{code[1:]}" if code.startswith("S") and code[1:].isdigit() else ""


@functools.cache
def rules() -> Rules:
    """The tables, read once."""
    text = resources.files(__package__).joinpath("rules.toml").read_text(encoding="utf-8")
    tables = msgspec.convert(tomllib.loads(text), type=dict[str, dict[str, _Entry]])
    return Rules(
        **{
            name.replace("-", "_"): {
                code: Rule(entry.kind, _SEVERITIES[entry.severity], entry.confidence, entry.advice)
                for code, entry in table.items()
            }
            for name, table in tables.items()
        }
    )
