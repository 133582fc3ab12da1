"""What signing and verifying elements costs, beside the bare library on the same bytes and an unsigned local emit.

The bare rows call `cryptography` on the very messages that are signed, prepared beforehand. All rows of one size take
turns, so that whatever else the machine does meets all of them; the fastest run of each is shown.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from typing import TYPE_CHECKING, Any

import cryptography
import machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from smesh_core import Field, Signal
from smesh_core.attestation import (
    attest,
    decode_attested,
    encode_attested,
    signed_message,
    verify,
    verify_bytes,
    verify_many,
)
from smesh_core.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

AUTHORS = 50
MESH = b"m" * 32

LOADED = """\
import sys, smesh_core, smesh_core.attestation
field = smesh_core.Field()
field.emit(smesh_core.Signal(author=bytes(32), seq=1, created_at_ns=0))
print("yes" if "cryptography" in sys.modules else "no")
"""


def identities() -> list[Identity]:
    """Fixed keys: figures do not depend on them, and a run repeats."""
    return [Identity(number.to_bytes(32)) for number in range(AUTHORS)]


def rows(size: int, repeats: int, cores: int, pool: ThreadPoolExecutor) -> dict[str, tuple[Callable[[], Any], str]]:
    """What is measured, and the row whose time it is divided by."""
    authors = identities()
    owner = [authors[number % AUTHORS] for number in range(size)]
    signals = [
        Signal(author=owner[number].public_id, seq=number, created_at_ns=0, payload=b"x" * 100)
        for number in range(size)
    ]
    attested = [attest(signal, who, mesh_id=MESH) for signal, who in zip(signals, owner, strict=True)]
    encoded = [encode_attested(one) for one in attested]
    messages = [signed_message(signal, mesh_id=MESH) for signal in signals]
    keys = {who.public_id: (who.private_key(), who.private_key().public_key()) for who in authors}
    private = [keys[who.public_id][0] for who in owner]
    public = [keys[who.public_id][1] for who in owner]

    def bare_verify() -> None:
        for key, one, message in zip(public, attested, messages, strict=True):
            key.verify(one.signature, message)

    def parsing_verify() -> None:
        for one, message in zip(attested, messages, strict=True):
            Ed25519PublicKey.from_public_bytes(one.element.author).verify(one.signature, message)

    fields = [Field() for _ in range(repeats)]

    def emit() -> None:
        field = fields.pop()
        for signal in signals:
            field.emit(signal)

    many = "verify_many, one thread"
    return {
        "emit, unsigned, local": (emit, "bare verify, keys kept"),
        "bare sign": (lambda: [k.sign(m) for k, m in zip(private, messages, strict=True)], "bare sign"),
        "attest": (lambda: [attest(s, who, mesh_id=MESH) for s, who in zip(signals, owner, strict=True)], "bare sign"),
        "bare verify, keys kept": (bare_verify, "bare verify, keys kept"),
        "bare verify, keys parsed each time": (parsing_verify, "bare verify, keys kept"),
        "verify": (lambda: [verify(one, mesh_id=MESH) for one in attested], "bare verify, keys kept"),
        "verify_bytes": (lambda: [verify_bytes(one, mesh_id=MESH) for one in encoded], "bare verify, keys kept"),
        many: (lambda: verify_many(attested, mesh_id=MESH), "bare verify, keys kept"),
        f"verify_many, {cores} threads": (
            lambda: verify_many(attested, mesh_id=MESH, share=pool.map),
            "bare verify, keys kept",
        ),
        "encode_attested": (lambda: [encode_attested(one) for one in attested], "bare verify, keys kept"),
        "decode_attested": (lambda: [decode_attested(one) for one in encoded], "bare verify, keys kept"),
    }


def us_of(work: Callable[[], Any], size: int) -> float:
    """Microseconds an item; what the work gives is let go before the next starts."""
    gc.collect()
    started = time.perf_counter_ns()
    kept = work()
    us = (time.perf_counter_ns() - started) / size / 1000
    del kept
    return us


def measure(size: int, repeats: int, cores: int) -> None:
    with ThreadPoolExecutor(cores) as pool:
        work = rows(size, repeats, cores, pool)
        us = dict.fromkeys(work, float("inf"))
        for _ in range(repeats):
            for what, (run, _base) in work.items():
                us[what] = min(us[what], us_of(run, size))
    print(f"\n{size:,} elements by {min(size, AUTHORS)} authors, fastest of {repeats} runs")
    print(f"  {'':<40}{'us each':>9}{'of bare':>10}{'of emit':>10}")
    for what, (_run, base) in work.items():
        emits = us[what] / us["emit, unsigned, local"]
        print(f"  {what:<40}{us[what]:9,.2f}{us[what] / us[base]:10.3f}{emits:10.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 100_000], help="elements at once")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each row; at most 2 above 10,000 elements")
    parser.add_argument("--threads", type=int, default=2, help="of the pool that verify_many is given")
    arguments = parser.parse_args()
    print(machine.describe())
    print(f"cryptography {cryptography.__version__}; emissions of 100 bytes of payload, on a mesh; pure Ed25519")
    done = subprocess.run([sys.executable, "-I", "-c", LOADED], capture_output=True, text=True, check=True)  # noqa: S603
    print(f"cryptography loaded by import smesh_core and a local emit: {done.stdout.strip()}")
    for size in arguments.sizes:
        small = arguments.repeats * (20 if size < 100 else 1)
        measure(size, min(2, arguments.repeats) if size > 10_000 else small, arguments.threads)


if __name__ == "__main__":
    main()
