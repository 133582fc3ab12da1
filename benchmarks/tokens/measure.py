"""What payloads cost a model in tokens: as compact JSON, and as `smesh_core.payload_text` writes them.

Four corpora are made up from fixed lists and a fixed seed. The baseline is `msgspec.json.encode` of the same list of
payloads, without spaces. A second, (a), is JSON whose author minds tokens: with the short ids that the text uses, and
without values that are defaults; it shows what the form itself saves. Tokenizers are those that the wheel of
`mistral-common` brings along; nothing is fetched.
"""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import machine
import msgspec
from smesh_core.payload import Approval, Claim, Failure, Finding, Heartbeat, Payload, Result, Review, Task, TestResult
from smesh_core.payload_text import parse_prompt, to_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEED = 20261124
RULES = [
    ("CWE-78", "S602", "high", "`subprocess` call with `shell=True` seems safe, but may be changed in the future",
     "subprocess.run(command, shell=True, check={x})", "Pass the command as a list of arguments."),
    ("CWE-89", "S608", "high", "Possible SQL injection vector through string-based query construction",
     'cursor.execute(f"SELECT * FROM {x} WHERE id = {{key}}")', "Use a parametrised query."),
    ("CWE-22", "path-from-request", "high", "A path is built from what a request says and opened without a check",
     'return open(os.path.join(UPLOADS, {x}["name"]), "rb").read()', ""),
    ("CWE-327", "S324", "medium", "Probable use of insecure hash function: `md5`",
     "digest = hashlib.md5({x}.encode()).hexdigest()", "Use SHA-256."),
    ("CWE-703", "S110", "low", "`try`-`except`-`pass` detected, consider logging the exception",
     "except {x}Error: pass", ""),
    ("unused-import", "F401", "info", "`typing.{x}` imported but unused", "from typing import Any, {x}", ""),
    ("complexity", "C901", "low", "`handle_{x}` is too complex (14 > 10)",
     "def handle_{x}(self, request, *, retries: int = 3):", ""),
    ("CWE-502", "S301", "high", "`pickle` can be unsafe when used to deserialize untrusted data, possible issue",
     "    {x} = pickle.loads(blob)", "Use a format that holds data and no code."),
]  # fmt: skip
NAMES = ["users", "orders", "session", "payload", "Value", "Optional", "invoice", "token", "report", "cache"]
FILES = ["src/shop/api/orders.py", "src/shop/api/users.py", "src/shop/storage/sql.py", "src/shop/worker.py",
         "src/shop/auth/session.py", "tests/api/test_orders.py", "scripts/migrate.py"]  # fmt: skip
WORK = [
    ("Review {file} for injection and say which lines a request can reach", "security"),
    ("Write tests for `{x}` in {file}: the empty case, the largest, and a failure in the middle", "testing"),
    ("Split the function `handle_{x}` in {file} so that none of its parts is longer than forty lines", "python"),
    ("Say in two sentences what {file} is for, and what of it is dead", "reading"),
    ("Replace the string-built query for {x} in {file} by a parametrised one, and keep the behaviour", "python"),
]
REASONS = [
    "The new test fails without the change and passes with it.",
    "The query is still built from text in one branch.",
    "Nothing checks the case of an empty list; I ran it and it raises IndexError.",
    "Behaviour is unchanged on the 41 requests that I replayed.",
]


class Draws:
    """Choices that depend on the seed and on their number, and on nothing else."""

    def __init__(self, seed: int) -> None:
        self.seed, self.count = seed, 0

    def below(self, end: int) -> int:
        self.count += 1
        digest = hashlib.sha256(f"{self.seed}/{self.count}".encode()).digest()
        return int.from_bytes(digest[:8]) % end

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[self.below(len(choices))]

    def id(self, pool: int = 10**9) -> str:
        """A statement's or a node's id; from a small pool where several speak of one."""
        return hashlib.sha256(f"id/{self.below(pool)}".encode()).hexdigest()


def finding(draws: Draws) -> Finding:
    kind, rule, severity, message, quote, fix = draws.one_of(RULES)
    x, line = draws.one_of(NAMES), 1 + draws.below(400)
    return Finding(
        kind=kind,
        path=draws.one_of(FILES),
        message=message.format(x=x),
        severity=severity,
        rule=rule,
        line=line,
        line_end=line + (draws.below(6) if draws.below(3) == 0 else 0),
        quote=" " * 4 * draws.below(3) + quote.format(x=x),
        fix=fix,
    )


def task(draws: Draws) -> Task:
    what, skill = draws.one_of(WORK)
    return Task(
        what=what.format(file=draws.one_of(FILES), x=draws.one_of(NAMES)),
        skill=skill,
        priority=draws.below(11) / 10,
        after=tuple(draws.id(60) for _ in range(draws.below(3))),
        run_s_max=draws.one_of([300, 600, 1800]),
    )


def result(draws: Draws) -> Result:
    done = draws.one_of(REASONS) + f" `{draws.one_of(NAMES)}` in {draws.one_of(FILES)} is done."
    artefacts = tuple(draws.id() for _ in range(draws.below(2)))
    tokens = {"tokens_in": 500 + draws.below(9000), "tokens_out": 100 + draws.below(2000)}
    return Result(task=draws.id(20), output=done, artefacts=artefacts, cost_usd=draws.below(900) / 10_000, **tokens)


def failure(draws: Draws) -> Failure:
    reason = f"The model gave up on {draws.one_of(FILES)} after 120 s: no answer that fits the schema"
    return Failure(task=draws.id(20), attempt=1 + draws.below(3), reason=reason)


def review(draws: Draws) -> Review:
    reasons = tuple(draws.one_of(REASONS) for _ in range(1 + draws.below(2)))
    return Review(of=draws.id(20), verdict=draws.one_of(["approve", "approve", "object"]), reasons=reasons)


def tested(draws: Draws) -> TestResult:
    failed = draws.below(3)
    said = "" if not failed else f"FAILED tests/api/test_orders.py::test_{draws.one_of(NAMES)} - IndexError: list index"
    seconds = draws.below(900) / 100
    return TestResult(
        of=draws.id(20), command="pytest -q tests/api", passed=41, failed=failed, duration_s=seconds, output=said
    )


def claim(draws: Draws) -> Claim:
    return Claim(task=draws.id(20), attempt=1 + draws.below(2), lease_s=60, started=draws.below(2) == 0)


def heartbeat(draws: Draws) -> Heartbeat:
    return Heartbeat(state=draws.one_of(["idle", "working"]), claims=draws.below(4))


def approval(draws: Draws) -> Approval:
    return Approval(of=draws.id(20), asked_by=draws.id(6), granted=True, note="Go on, to the staging system only")


MIXED: list[tuple[Callable[[Draws], Payload], int]] = [
    (finding, 40),
    (task, 15),
    (result, 12),
    (review, 12),
    (tested, 8),
    (claim, 5),
    (failure, 4),
    (heartbeat, 2),
    (approval, 2),
]


def corpora() -> dict[str, list[Payload]]:
    """Name to payloads, those of one kind together and findings by place, as a field's query gives them."""
    mixed = Draws(SEED + 2)
    lists: dict[str, list[Payload]] = {
        "100 findings": [finding(draws) for draws in [Draws(SEED)] for _ in range(100)],
        "50 tasks": [task(draws) for draws in [Draws(SEED + 1)] for _ in range(50)],
        "100 mixed": [make(mixed) for make, times in MIXED for _ in range(times)],
    }
    given = {name: sorted(items, key=_place) for name, items in lists.items()}
    return given | {"100 findings, in no order": lists["100 findings"]}


def _place(payload: Payload) -> tuple[str, str, int]:
    name = type(payload).__name__
    return (name, payload.path, payload.line) if isinstance(payload, Finding) else (name, "", 0)


def tokenizers() -> dict[str, Callable[[str], int]]:
    """Name to a function that counts the tokens of a text, for each tokenizer that is here."""
    data = Path(import_module("mistral_common").__file__ or "").parent / "data"
    counters: dict[str, Callable[[str], int]] = {}
    for file in sorted(data.iterdir()):
        if file.name.startswith("tekken"):
            loaded = import_module("mistral_common.tokens.tokenizers.tekken").Tekkenizer.from_file(file)
        elif ".model." in file.name and find_spec("sentencepiece"):
            module = import_module("mistral_common.tokens.tokenizers.sentencepiece")
            loaded = module.SentencePieceTokenizer(str(file))
        else:
            continue
        counters[file.name] = counter(loaded)
    return counters


def counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text, bos=False, eos=False))


def careful_json(payloads: Sequence[Payload], ids: Sequence[str]) -> str:
    """The JSON of somebody who minds tokens: short ids as the text form has them, and no value that is a default."""
    kept = []
    for payload in payloads:
        values = {"type": payload.__struct_config__.tag, **msgspec.structs.asdict(payload)}
        defaults = {field.name: field.default for field in msgspec.structs.fields(payload) if not field.required}
        if isinstance(payload, Finding):
            defaults["line_end"] = payload.line
        kept.append({name: value for name, value in values.items() if name not in defaults or value != defaults[name]})
    compact = msgspec.json.encode(kept).decode()
    for number, full in enumerate(ids, 1):
        compact = compact.replace(full, f"@{number}")
    return compact


def main() -> None:
    print(machine.describe())
    print(f"mistral-common {version('mistral-common')}, msgspec {version('msgspec')}, seed {SEED}")
    counters = tokenizers()
    for name, payloads in corpora().items():
        prompt, legend = to_prompt(payloads), to_prompt(payloads, with_ids=True)
        assert sorted(map(repr, parse_prompt(prompt.text, prompt.ids))) == sorted(map(repr, payloads))
        compact = msgspec.json.encode(payloads).decode()
        texts = [compact, prompt.text, legend.text, careful_json(payloads, prompt.ids)]
        print(f"\n{name}, {len(prompt.ids)} different ids; in brackets: tokens saved against JSON, and against (a)")
        print(f"  {'':44}{'JSON':>8}{'text':>8}{'':13}{'with legend':>12}{'':7}{'careful JSON (a)':>20}")
        for tokenizer, count in [("characters", len), *counters.items()]:
            json, text, with_legend, short = map(count, texts)
            parts = f"({1 - text / json:.0%}, {1 - text / short:.0%})"
            legend_part = f"({1 - with_legend / json:.0%})"
            print(f"  {tokenizer:44}{json:>8,}{text:>8,} {parts:>12}{with_legend:>12,} {legend_part:>6}{short:>20,}")


if __name__ == "__main__":
    main()
