"""detect-secrets over every text file, an order of magnitude faster than detect-secrets itself.

Its own scan hands each line to each of 27 plugins through a dependency injector, at about 170 µs a line. We
first search the whole text of a file with the plugins' own regular expressions, and hand over only the lines
on which one of them can find something. The search may find too much but never too little: a pattern that
matches a line by itself also matches it within the text (``^`` and ``$`` are made to mean line ends), and
every line that a match touches is handed over. Tests compare the result with detect-secrets' own.
"""

from __future__ import annotations

import bisect
import functools
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from smesh_agent.analyzers.base import Observation, Outcome, Unread
from smesh_agent.analyzers.host import WorkerAnalyzer
from smesh_agent.analyzers.rules import rules
from smesh_agent.analyzers.worker import why_unparsed
from smesh_agent.tree import split_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from smesh_agent.analyzers.worker import Source
    from smesh_agent.tree import SourceFile, Tree

__all__ = ["Secrets", "candidates", "found", "read"]

# Full of hashes, none of them secret; detect-secrets knows the older ones.
_LOCK_FILES = frozenset(
    {
        "bun.lock", "conda-lock.yml", "deno.lock", "gradle.lockfile", "npm-shrinkwrap.json", "pdm.lock",
        "pixi.lock", "pnpm-lock.yaml", "uv.lock", ".secrets.baseline", ".terraform.lock.hcl",
    }
)  # fmt: skip
# The secrets of these plugins are runs of at least so many word characters or dashes, in patterns that are
# slow to search for because they may begin anywhere. Whatever has no such run on its line cannot match.
_RUN_LENGTHS = {
    "CloudantDetector": 24,
    "IbmCloudIamDetector": 44,
    "IbmCosHmacDetector": 48,
    "SoftlayerDetector": 64,
}
_RUN = re.compile(rf"[\w\-]{{{min(_RUN_LENGTHS.values())},}}")
# Where each line of a file is text like this, configparser is certain to refuse it: not a comment, not a
# section, not a continuation, and no delimiter between a name and a value.
_NO_CONFIG = re.compile(r"^[^\s\[#;:=][^:=\n]*$", re.MULTILINE)


class Secrets(WorkerAnalyzer):
    """Credentials in any text file."""

    name = "detect-secrets"
    role = "security"
    lineage = "detect-secrets"
    separable = True

    def select(self, tree: Tree) -> Sequence[SourceFile]:
        """Every file but the locks of package managers."""
        return [file for file in tree.files if file.path.rpartition("/")[2] not in _LOCK_FILES]


def read(sources: Iterable[Source]) -> Outcome:
    """The secrets in these files; runs in the worker."""
    from detect_secrets.settings import default_settings  # noqa: PLC0415 - heavy, and for the worker only

    observations, unread = dict[tuple[str, str, int], Observation](), list[Unread]()
    with default_settings():
        for source in sources:
            try:
                text = source.text()
            except OSError as error:
                unread.append(Unread(source.path, why_unparsed(error)))
                continue
            for secret_type, line, _ in found(source.path, text):
                observations[secret_type, source.path, line] = _observation(secret_type, source.path, line)
    return Outcome(list(observations.values()), unread)


def found(path: str, text: str) -> Iterator[tuple[str, int, str]]:
    """Type, line and value of the secrets in a text: what detect-secrets' ``scan_file`` yields.

    To be called within detect-secrets' ``default_settings()``.
    """
    if any(is_passed_over(path) for is_passed_over in _filters_by_name()):
        return
    for lines in _readings(path, text):
        secrets = [
            (secret.type, secret.line_number, secret.secret_value or "")
            for number in candidates(lines)
            for secret in _secrets_on(path, lines, number)
        ]
        yield from secrets
        if secrets:
            return


def candidates(lines: Sequence[str]) -> list[int]:
    """The numbers of all lines on which a plugin may find something, and of some more."""
    text = "\n".join(line.rstrip() for line in lines)
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    patterns = _patterns()
    numbers = set[int]()
    for pattern in patterns.anywhere:
        for match in pattern.finditer(text):
            first = bisect.bisect_right(starts, match.start())
            numbers.update(range(first, bisect.bisect_left(starts, match.end(), lo=first) + 1))
    # Searching the lower-case text is ten times as fast; beyond ASCII lower case is another matter.
    keywords, haystack = (patterns.keyword_ascii, text.lower()) if text.isascii() else (patterns.keyword, text)
    numbers.update(bisect.bisect_right(starts, match.start()) for match in keywords.finditer(haystack))
    for number in {bisect.bisect_right(starts, match.start()) for match in _RUN.finditer(text)} - numbers:
        line = text[starts[number - 1] : starts[number] - 1]
        if any(pattern.search(line) for pattern in patterns.with_run):
            numbers.add(number)
    return sorted(number for number in numbers if number <= len(lines))


class _Patterns(NamedTuple):
    anywhere: list[re.Pattern[str]]
    with_run: list[re.Pattern[str]]
    keyword: re.Pattern[str]
    keyword_ascii: re.Pattern[str]


@functools.cache
def _patterns() -> _Patterns:
    """What the plugins look for, out of the plugins."""
    from detect_secrets.plugins.base import RegexBasedDetector  # noqa: PLC0415
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin  # noqa: PLC0415
    from detect_secrets.plugins.keyword import DENYLIST, KeywordDetector  # noqa: PLC0415
    from detect_secrets.settings import get_plugins  # noqa: PLC0415

    anywhere, with_run = list[re.Pattern[str]](), list[re.Pattern[str]]()
    for plugin in get_plugins():
        if isinstance(plugin, RegexBasedDetector):
            target = with_run if type(plugin).__name__ in _RUN_LENGTHS else anywhere
            target += [re.compile(regex.pattern, regex.flags | re.MULTILINE) for regex in plugin.denylist]
        elif isinstance(plugin, HighEntropyStringsPlugin):
            # Entropy is at most the logarithm of the number of characters.
            length_min = int(2**plugin.entropy_limit) + 1
            quoted = rf"['\"][{re.escape(plugin.charset)}]{{{length_min},}}['\"]"
            anywhere.append(re.compile(quoted))
        elif not isinstance(plugin, KeywordDetector):
            raise TypeError(f"detect-secrets has a plugin of an unknown sort: {type(plugin).__name__}")
    keyword = "|".join(DENYLIST)
    return _Patterns(anywhere, with_run, re.compile(keyword, re.IGNORECASE), re.compile(keyword))


class _NamedText(io.StringIO):
    """A text that knows the name of its file."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def _readings(path: str, text: str) -> Iterator[list[str]]:
    """The lines of a file, in the forms in which detect-secrets looks at them one after the other."""
    from detect_secrets.transformers import get_transformed_file  # noqa: PLC0415

    lines = list(split_lines(text))
    file = _NamedText("\n".join(lines) + "\n" if lines else "", path)
    yield get_transformed_file(file) or lines  # type: ignore[arg-type]
    if not _NO_CONFIG.search(file.getvalue()):
        file.seek(0)
        if transformed := get_transformed_file(file, use_eager_transformers=True):  # type: ignore[arg-type]
            yield transformed


def _secrets_on(path: str, lines: list[str], number: int) -> Iterator[Any]:
    """What detect-secrets finds on one line, by its own rules for what to leave out.

    These two are the inside of its ``scan_file``, which cannot be asked about some lines of a file only.
    """
    from detect_secrets.core.scan import _is_filtered_out, _scan_line  # noqa: PLC0415
    from detect_secrets.settings import get_plugins  # noqa: PLC0415
    from detect_secrets.util.code_snippet import get_code_snippet  # noqa: PLC0415

    line = lines[number - 1].rstrip()
    where: dict[str, Any] = {"filename": path, "line": line, "context": get_code_snippet(lines, number)}
    if _is_filtered_out(required_filter_parameters=["line"], **where):
        return
    for plugin in get_plugins():
        for secret in _scan_line(plugin=plugin, line_number=number, **where):
            details = {"secret": secret.secret_value, "plugin": plugin, **where}
            if not _is_filtered_out(required_filter_parameters=["context"], **details):
                yield secret


@functools.cache
def _filters_by_name() -> list[Callable[[str], bool]]:
    """What detect-secrets passes over by its name; whether the file is there has been seen to."""
    from detect_secrets.settings import get_filters  # noqa: PLC0415

    by_name = [keep for keep in get_filters() if keep.injectable_variables == {"filename"}]
    return [keep for keep in by_name if keep.__name__ != "is_invalid_file"]


def _observation(secret_type: str, path: str, line: int) -> Observation:
    rule = rules().for_secret(secret_type)
    return Observation(
        rule=secret_type,
        path=path,
        line=line,
        message=f"Possible {secret_type} (its value is not repeated here).",
        kind=rule.kind,
        severity=rule.severity,
        confidence=rule.confidence,
        advice=rule.advice,
    )
