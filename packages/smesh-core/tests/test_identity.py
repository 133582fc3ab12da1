"""Identities: keys that are none are refused, texts have one spelling, secrets stay inside.

The oracle is the arithmetic of RFC 8032, section 5.1, in affine coordinates: slow, and written from the RFC.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smesh_core.errors import IdentityError
from smesh_core.identity import (
    Identity,
    check_label,
    check_public_id,
    decode_public_id,
    encode_public_id,
    is_public_id,
    shorten_public_id,
    verify_signature,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "attestation.json").read_text(encoding="utf-8"))
ADA = Identity(bytes(range(32)), label="ada")
BO = Identity(bytes(range(1, 33)), label="bo")
DOMAIN = b"smesh/test/1"
secrets = st.binary(min_size=32, max_size=32)

# ---- the oracle

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def plus(a: Point, b: Point) -> Point:
    product = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, P - 2, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(number: int, point: Point) -> Point:
    total = NEUTRAL
    for bit in f"{number:b}":
        total = plus(total, total)
        if bit == "1":
            total = plus(total, point)
    return total


def xs(y: int) -> list[int]:
    """Every x with (x, y) on the curve: none, one, or two."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    root = pow(square, (P + 3) // 8, P)
    for candidate in (root, root * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square:
            return sorted({candidate, -candidate % P})
    return []


def spelt(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def packed(point: Point) -> bytes:
    return spelt(point[1], point[0] & 1)


BASE: Point = next((x, y) for y in [4 * pow(5, P - 2, P) % P] for x in xs(y) if x % 2 == 0)


def torsion() -> list[Point]:
    """The points whose order divides 8: the multiples of one of order 8, found by trying small y."""
    for y in range(2, 100):
        for x in xs(y):
            found = times(L, (x, y))
            if times(4, found) != NEUTRAL:
                return [times(n, found) for n in range(8)]
    raise AssertionError


def oracle_sign(secret: bytes, message: bytes) -> tuple[bytes, bytes]:
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    public = packed(times(scalar, BASE))
    r = int.from_bytes(hashlib.sha512(digest[32:] + message).digest(), "little") % L
    big_r = packed(times(r, BASE))
    k = int.from_bytes(hashlib.sha512(big_r + public + message).digest(), "little") % L
    return public, big_r + ((r + k * scalar) % L).to_bytes(32, "little")


TORSION = torsion()
SMALL = {packed(point) for point in TORSION}
# Every way to spell them: the sign of an x of 0, and y + p where that fits.
SPELLINGS_OF_SMALL = {
    spelt(y, sign) for _, y0 in TORSION for y in (y0, y0 + P) if y < 2**255 for sign in (0, 1) if xs(y0)
}

# ---- the primitive


@pytest.mark.parametrize("vector", VECTORS["rfc8032"], ids=lambda v: v["name"])
def test_the_primitive_is_that_of_rfc_8032(vector: dict[str, str]) -> None:
    secret, message = bytes.fromhex(vector["secret"]), bytes.fromhex(vector["message"])
    identity = Identity(secret)
    assert identity.public_id.hex() == vector["public"]
    assert identity.private_key().sign(message).hex() == vector["signature"]
    assert oracle_sign(secret, message) == (identity.public_id, bytes.fromhex(vector["signature"]))


@settings(max_examples=6)
@given(secrets, st.binary(max_size=200))
def test_signatures_are_the_oracles_over_domain_zero_and_message(secret: bytes, message: bytes) -> None:
    identity = Identity(secret)
    signature = identity.sign(DOMAIN, message)
    assert oracle_sign(secret, DOMAIN + b"\0" + message) == (identity.public_id, signature)
    assert verify_signature(identity.public_id, DOMAIN, message, signature)


def test_a_signature_for_one_domain_is_good_for_no_other() -> None:
    signature = ADA.sign(b"smesh/test/1", b"0\0message")
    assert verify_signature(ADA.public_id, b"smesh/test/1", b"0\0message", signature)
    assert not verify_signature(ADA.public_id, b"smesh/test/2", b"0\0message", signature)
    # The bytes of tag and message run together the same way; the zero between them does not move.
    assert not verify_signature(ADA.public_id, b"smesh/test/10", b"message", signature)


@pytest.mark.parametrize("domain", [b"", b"smesh", b"other/1", b"smesh/\0", "smesh/1", b"smesh/\xe4", b"smesh/" * 11])
def test_a_domain_that_is_none_signs_nothing(domain: bytes) -> None:
    with pytest.raises(IdentityError, match="not a domain"):
        ADA.sign(domain, b"")
    assert not verify_signature(ADA.public_id, domain, b"", bytes(64))


def test_a_message_is_bytes() -> None:
    with pytest.raises(IdentityError):
        ADA.sign(DOMAIN, "text")  # type: ignore[arg-type]


# ---- weak and misspelt keys


def test_the_oracle_finds_the_eight_points_and_all_their_spellings() -> None:
    assert len(SMALL) == 8
    assert len(SPELLINGS_OF_SMALL) == 14  # 5 values of y, 2 of them also as y + p, either sign


@pytest.mark.parametrize("key", sorted(SPELLINGS_OF_SMALL), ids=bytes.hex)
def test_keys_of_small_order_are_refused_in_every_spelling(key: bytes) -> None:
    assert not is_public_id(key)
    with pytest.raises(IdentityError):
        check_public_id(key)
    # R the neutral element and S zero: good under a key of order n for one message in n, were it not refused.
    for number in range(24):
        for signature in (packed(NEUTRAL) + bytes(32), key + bytes(32)):
            assert not verify_signature(key, DOMAIN, bytes([number]), signature)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", range(19))
def test_a_y_of_p_or_more_is_refused_where_it_would_be_a_point(y: int, sign: int) -> None:
    assert not is_public_id(spelt(y + P, sign))
    assert is_public_id(spelt(y, sign)) == (bool(xs(y)) and y not in {0, 1})


@given(secrets)
@example(spelt(2, 0))
@example(spelt(2, 1))
def test_32_bytes_are_a_public_id_exactly_when_they_are_a_strong_point(key: bytes) -> None:
    y = int.from_bytes(key, "little") % 2**255
    expected = y < P and bool(xs(y)) and key not in SPELLINGS_OF_SMALL
    assert is_public_id(key) == expected


@given(secrets)
def test_every_secret_has_a_public_id(secret: bytes) -> None:
    assert check_public_id(Identity(secret).public_id) == Identity(secret).public_id


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    nowhere = next(spelt(y, 0) for y in range(2, 50) if not xs(y))
    assert not is_public_id(nowhere)
    assert not verify_signature(nowhere, DOMAIN, b"", ADA.sign(DOMAIN, b""))


# ---- signatures that are not the one


def test_s_plus_l_is_not_a_second_signature() -> None:
    signature = ADA.sign(DOMAIN, b"message")
    s = int.from_bytes(signature[32:], "little")
    for second in (s + n * L for n in range(1, 16) if s + n * L < 2**256):
        assert not verify_signature(ADA.public_id, DOMAIN, b"message", signature[:32] + second.to_bytes(32, "little"))


def test_the_equation_is_the_one_without_cofactor() -> None:
    """R + T, T of order 8, with the S that fits it: good if both sides were multiplied by 8, and so not good here."""
    secret, message = bytes(range(32)), DOMAIN + b"\0message"
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    for shift, expected in ((NEUTRAL, True), (TORSION[1], False)):
        big_r = packed(plus(times(12345, BASE), shift))
        k = int.from_bytes(hashlib.sha512(big_r + ADA.public_id + message).digest(), "little") % L
        signature = big_r + ((12345 + k * scalar) % L).to_bytes(32, "little")
        assert verify_signature(ADA.public_id, DOMAIN, b"message", signature) is expected


def test_a_key_with_a_part_of_small_order_is_a_key() -> None:
    """Its owner had a secret: signatures whose challenge is a multiple of 8 cancel the small part."""
    mixed = packed(plus(times(777, BASE), TORSION[1]))
    assert is_public_id(mixed)
    for r in range(1, 200):
        big_r = packed(times(r, BASE))
        k = int.from_bytes(hashlib.sha512(big_r + mixed + DOMAIN + b"\0").digest(), "little") % L
        signature = big_r + ((r + k * 777) % L).to_bytes(32, "little")
        assert verify_signature(mixed, DOMAIN, b"", signature) is (k % 8 == 0)
        if k % 8 == 0:
            return
    raise AssertionError


@given(st.integers(0, 64 * 8 - 1))
def test_every_bit_of_a_signature_counts(bit: int) -> None:
    signature = int.from_bytes(ADA.sign(DOMAIN, b"message")) ^ 1 << bit
    assert not verify_signature(ADA.public_id, DOMAIN, b"message", signature.to_bytes(64))


anything = (
    st.none() | st.integers() | st.text() | st.binary() | st.binary(min_size=32, max_size=32) | st.lists(st.none())
)


@given(anything, anything | st.just(DOMAIN), anything, anything | st.binary(min_size=64, max_size=64))
def test_verification_answers_whatever_it_is_given(key: object, domain: object, message: object, sig: object) -> None:
    assert verify_signature(key, domain, message, sig) is False
    assert is_public_id(key) in {True, False}


# ---- what an identity shows


def test_an_identity_is_equal_by_its_public_id_and_by_nothing_else() -> None:
    other_label = Identity(bytes(range(32)), label="somebody else")
    assert other_label == ADA
    assert hash(other_label) == hash(ADA)
    assert Identity(bytes(range(1, 33)), label="ada") != ADA
    assert ADA.public_id != ADA
    assert len({ADA, other_label, BO}) == 2


@given(secrets)
def test_no_secret_is_shown(secret: bytes) -> None:
    identity = Identity(secret, label="ada")
    shown = f"{identity} {identity!r} {[identity]}"
    assert identity.text[:14] in shown
    assert "ada" in shown
    for spelling in (secret.hex(), repr(secret), repr(secret)[2:-1], str(list(secret))):
        assert spelling not in shown
    assert not hasattr(identity, "__dict__")


@pytest.mark.parametrize(
    "take",
    [
        copy.copy,
        copy.deepcopy,
        *[lambda identity, protocol=p: pickle.dumps(identity, protocol) for p in range(pickle.HIGHEST_PROTOCOL + 1)],
        lambda identity: copy.deepcopy({"held": [identity]}),
        lambda identity: identity.__getstate__(),
    ],
)
def test_an_identity_is_neither_copied_nor_pickled(take) -> None:
    with pytest.raises(TypeError, match="holds a secret"):
        take(ADA)


def test_what_is_public_cannot_be_set() -> None:
    for name in ("public_id", "label", "text", "nickname"):
        with pytest.raises(AttributeError):
            setattr(ADA, name, b"")


def test_the_secret_comes_out_where_it_is_asked_for() -> None:
    assert ADA.secret_bytes() == bytes(range(32))
    assert Identity(ADA.secret_bytes()) == ADA


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), bytearray(32), "s" * 32, None, 32])
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: object) -> None:
    with pytest.raises(IdentityError) as caught:
        Identity(secret)  # type: ignore[arg-type]
    assert str(caught.value) == "a secret takes 32 bytes"


# ---- public ids as text

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@given(secrets)
def test_text_round_trip(secret: bytes) -> None:
    public_id = Identity(secret).public_id
    text = encode_public_id(public_id)
    assert decode_public_id(text) == public_id
    assert len(text) == 62
    assert set(text[6:]) <= set(LETTERS)
    assert text.startswith("smesh1")


@given(secrets)
def test_text_is_what_the_reference_says(secret: bytes) -> None:
    """Bits in a string, five at a time: slow, and from the page."""
    public_id = Identity(secret).public_id
    check = hashlib.sha256(b"smesh/public-id/1" + public_id).digest()[:3]
    bits = "".join(f"{byte:08b}" for byte in public_id + check)
    letters = "".join(LETTERS[int(bits[at : at + 5], 2)] for at in range(0, 280, 5))
    assert encode_public_id(public_id) == "smesh1" + letters
    assert shorten_public_id(public_id) == "smesh1" + letters[:8] + "…"


TEXT = ADA.text


@given(st.integers(0, 61), st.characters())
def test_one_other_character_is_noticed(place: int, character: str) -> None:
    other = TEXT[:place] + character + TEXT[place + 1 :]
    if other != TEXT:
        with pytest.raises(IdentityError):
            decode_public_id(other)


@given(st.integers(6, 60))
def test_two_neighbours_in_the_wrong_order_are_noticed(place: int) -> None:
    other = TEXT[:place] + TEXT[place + 1] + TEXT[place] + TEXT[place + 2 :]
    if other != TEXT:
        with pytest.raises(IdentityError, match="check"):
            decode_public_id(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smesh1",
        TEXT.upper(),
        TEXT[:6] + TEXT[6:].upper(),
        "SMESH1" + TEXT[6:],
        TEXT + " ",
        " " + TEXT,
        TEXT + "\n",
        TEXT + "=",
        TEXT[:-1],
        TEXT + "a",
        TEXT[6:],
        "smesh2" + TEXT[6:],
        TEXT[:6] + "\uff4c" + TEXT[7:],
        TEXT.encode(),
        None,
        5,
        BO.secret_bytes().hex(),
    ],
)
def test_any_other_spelling_is_refused_and_not_shown(text: object) -> None:
    with pytest.raises(IdentityError) as caught:
        decode_public_id(text)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert not (isinstance(text, str) and len(text) > 20 and text[6:20] in message)


def test_text_of_bytes_that_are_no_key_is_refused_though_its_check_fits() -> None:
    for weak in (packed(NEUTRAL), spelt(2, 0)):
        bits = "".join(f"{b:08b}" for b in weak + hashlib.sha256(b"smesh/public-id/1" + weak).digest()[:3])
        text = "smesh1" + "".join(LETTERS[int(bits[at : at + 5], 2)] for at in range(0, 280, 5))
        with pytest.raises(IdentityError, match="weak"):
            decode_public_id(text)
        with pytest.raises(IdentityError):
            encode_public_id(weak)


def test_any_author_can_be_shortened_and_nothing_else() -> None:
    assert shorten_public_id(bytes(32)) == "smesh1aaaaaaaa…"
    for wrong in (b"", bytes(31), "smesh1", None):
        with pytest.raises(IdentityError):
            shorten_public_id(wrong)  # type: ignore[arg-type]


@given(st.text(max_size=80))
def test_no_text_makes_the_decoder_raise_anything_else(text: str) -> None:
    for tried in (text, "smesh1" + text, "smesh1" + (text + "a" * 56)[:56]):
        with pytest.raises(IdentityError):
            decode_public_id(tried)


# ---- labels


@pytest.mark.parametrize("label", ["", "ada", "Ada Lovelace", "box-3 (cellar)", "Zoë", "агент", "蟻", "🐜", "x" * 64])
def test_labels_that_show_are_labels(label: str) -> None:
    assert check_label(label) == label
    assert Identity(bytes(32), label=label).label == label


@pytest.mark.parametrize(
    "hidden",
    [
        "\n",
        "\0",
        "\x1b",
        "\x7f",
        "\x85",
        "\u2028",
        "\t",
        "\u202e",
        "\u2066",
        "\u2069",
        "\u200e",
        "\u061c",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\u00ad",
        "\ud800",
        "\ue000",
        "\U000e0041",
        "\u00a0",
        "\u3000",
        "\u2800",
        "\u3164",
        "\ufe0f",
        "\U000e0100",
        "\u034f",
        "\u115f",
        "\U000fffff",
    ],
    ids=ascii,
)
def test_a_label_with_a_character_that_does_not_show_is_refused(hidden: str) -> None:
    with pytest.raises(IdentityError) as caught:
        check_label(f"a{hidden}b")
    assert f"character 2 is U+{ord(hidden):04X}" in str(caught.value)
    assert hidden not in str(caught.value)
    with pytest.raises(IdentityError):
        Identity(bytes(32), label=f"a{hidden}b")


@pytest.mark.parametrize("label", [" a", "a ", "x" * 65, b"ada", None, 5])
def test_other_things_are_no_labels(label: object) -> None:
    with pytest.raises(IdentityError):
        check_label(label)  # type: ignore[arg-type]


@given(st.text(max_size=70))
def test_a_label_is_one_line_that_shows_or_an_error_of_one_line(text: str) -> None:
    try:
        label = check_label(text)
    except IdentityError as error:
        label, said = "", str(error)
    else:
        said = label
    assert said.isprintable()
    assert len(label.encode()) <= 256


# ---- what it costs those who do not sign


def test_neither_import_nor_a_local_field_loads_cryptography() -> None:
    program = """\
import sys
import smesh_core, smesh_core.field, smesh_core.identity, smesh_core.attestation
field, ada, bo = smesh_core.Field(), smesh_core.node_id("ada"), smesh_core.node_id("bo")
ref = field.emit(smesh_core.Signal(author=ada, seq=1, created_at_ns=0))
field.reinforce(ref, by=bo, now_ns=0)
field.sense(0)
def loaded():
    return sorted(name for name in sys.modules if name.split(".")[0] in {"cryptography", "_cffi_backend", "cffi"})
print(loaded())
smesh_core.identity.Identity(bytes(32))
print("cryptography" in loaded())
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "True"], done.stderr
