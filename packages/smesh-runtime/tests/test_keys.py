"""Key files: only their owner reads them, nothing is overwritten, nothing but what was written is read."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smesh_core.errors import IdentityError
from smesh_core.identity import Identity, decode_public_id
from smesh_runtime import keys
from smesh_runtime.errors import SmeshRuntimeError
from smesh_runtime.keys import KEY_FILE_BYTES_MAX, KeyFileError, create_key_file, load_key_file, write_key_file

if TYPE_CHECKING:
    from pathlib import Path

SECRET = bytes(range(32))
ADA = Identity(SECRET, label="ada")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.key"


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def content_of(secret: str, public: str, label: str = "ada") -> bytes:
    """A key file as the reference lays it out."""
    above = (
        "smesh key file 1\n# Keep this file secret: whoever reads it can speak as this node.\n"
        f"label: {label}\npublic: {public}\nsecret: {secret}\n"
    ).encode()
    return above + b"check: " + hashlib.sha256(above).hexdigest().encode() + b"\n"


GOOD = content_of(SECRET.hex(), ADA.text)


def refused(path: Any, error: type[Exception]) -> str:
    """The one line that a load ends in, which shows nothing of the secret."""
    with pytest.raises(error) as caught:
        load_key_file(path)
    message = str(caught.value)
    assert type(caught.value) is error
    assert message.isprintable()
    assert SECRET.hex()[:16] not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


# ---- there and back


def test_a_key_file_keeps_an_identity(path: Path) -> None:
    made = create_key_file(path, label="box in the cellar")
    loaded = load_key_file(path)
    assert loaded == made
    assert loaded.label == "box in the cellar"
    assert loaded.secret_bytes() == made.secret_bytes()


def test_the_file_is_laid_out_as_the_reference_says(path: Path) -> None:
    assert write_key_file(path, ADA) is ADA
    assert path.read_bytes() == GOOD
    lines = path.read_text(encoding="utf-8").splitlines()
    assert decode_public_id(lines[3].removeprefix("public: ")) == ADA.public_id


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32),
    label=st.text(st.characters(categories=["L", "N", "P"]), max_size=64),
)
def test_any_identity_comes_back(tmp_path: Path, secret: bytes, label: str) -> None:
    try:
        identity = Identity(secret, label=label)
    except IdentityError:
        return
    path = tmp_path / "any.key"
    path.unlink(missing_ok=True)
    write_key_file(path, identity)
    loaded = load_key_file(path)
    assert (loaded.secret_bytes(), loaded.public_id, loaded.label) == (secret, identity.public_id, label)


def test_the_longest_label_fits(path: Path) -> None:
    write_key_file(path, Identity(SECRET, label="\U0001f41c" * 64))
    assert path.stat().st_size <= KEY_FILE_BYTES_MAX
    assert load_key_file(path).label == "\U0001f41c" * 64


def test_a_name_as_long_as_names_get_is_a_name(tmp_path: Path) -> None:
    for name in ("n" * 255, "\U0001f41c" * 63):
        made = create_key_file(tmp_path / name)
        assert load_key_file(tmp_path / name) == made


def test_no_two_new_keys_are_the_same(tmp_path: Path) -> None:
    made = {create_key_file(tmp_path / f"{number}.key").public_id for number in range(20)}
    assert len(made) == 20


def test_paths_may_be_text(path: Path) -> None:
    made = create_key_file(str(path))
    assert load_key_file(str(path)) == load_key_file(path) == made


# ---- a new file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_a_new_file_is_its_owners_alone_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create_key_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    load_key_file(path)


def test_the_secret_is_never_in_a_file_that_others_can_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is born with no right for others: asked of the system's own calls."""
    opened: list[tuple[int, int]] = []
    real = os.open

    def watched(name: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        opened.append((flags, mode))
        return real(name, flags, mode, **rest)

    monkeypatch.setattr(os, "open", watched)
    create_key_file(path)
    writing = [(flags, mode) for flags, mode in opened if flags & os.O_WRONLY]
    assert writing
    for flags, mode in writing:
        assert mode == 0o600
        assert flags & os.O_EXCL
        assert flags & os.O_CREAT
        assert flags & os.O_NOFOLLOW


def test_nothing_is_left_beside_a_new_file(path: Path) -> None:
    create_key_file(path)
    assert list(path.parent.iterdir()) == [path]


def refused_to_write(path: Any, error: type[Exception] = KeyFileError, **rest: Any) -> str:
    with pytest.raises(error) as caught:
        create_key_file(path, **rest)
    message = str(caught.value)
    assert message.isprintable()
    assert isinstance(caught.value, SmeshRuntimeError) is (error is KeyFileError)
    return message


@pytest.mark.parametrize("there", ["file", "folder", "link", "dangling link", "fifo"])
def test_nothing_is_ever_overwritten(path: Path, there: str) -> None:
    target = path.parent / "target"
    if there == "file":
        path.write_bytes(b"mine")
    elif there == "folder":
        path.mkdir()
    elif there == "fifo":
        os.mkfifo(path)
    else:
        if there == "link":
            target.write_bytes(b"mine")
        path.symlink_to(target)
    before = sorted(p.name for p in path.parent.iterdir())
    assert "exists already, and a key file is never overwritten" in refused_to_write(path)
    assert sorted(p.name for p in path.parent.iterdir()) == before
    if there == "file":
        assert path.read_bytes() == b"mine"
    if there == "link":
        assert target.read_bytes() == b"mine"
    assert not (there == "dangling link" and target.exists())


def test_of_many_that_create_at_once_one_wins_and_its_key_stays(path: Path) -> None:
    outcomes: list[Identity | KeyFileError] = []
    gate = threading.Barrier(8)

    def create() -> None:
        gate.wait()
        try:
            outcomes.append(create_key_file(path))
        except KeyFileError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, Identity)]
    assert len(outcomes) == 8
    assert winners == [load_key_file(path)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "link", "fchmod"])
def test_a_write_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    assert refused_to_write(path) == f"cannot write the key file {path}: No space left on device"
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_where_there_are_no_hard_links_a_file_is_still_new_private_and_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", fail)
    made = create_key_file(path)
    assert load_key_file(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert "exists already" in refused_to_write(path)
    assert load_key_file(path) == made


def test_the_file_is_synced_before_it_has_its_name_and_the_folder_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real_sync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def link(*names: Any) -> None:
        calls.append("link")
        real_link(*names)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    create_key_file(path)
    assert calls == ["file", "link", "folder"]


@pytest.mark.parametrize("call", ["open", "fsync"])
def test_where_folders_cannot_be_synced_a_file_is_made_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def fails_for_folders(what: Any, *rest: Any) -> Any:
        if what == path.parent or (isinstance(what, int) and stat.S_ISDIR(os.fstat(what).st_mode)):
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(what, *rest)

    monkeypatch.setattr(os, call, fails_for_folders)
    made = create_key_file(path)
    assert load_key_file(path) == made


def test_places_where_no_file_can_be_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "No such file or directory" in refused_to_write(tmp_path / "missing" / "node.key")
    assert "Not a directory" in refused_to_write(tmp_path / "file" / "node.key")
    assert "too long" in refused_to_write(tmp_path / ("n" * 300))
    assert "null byte" in refused_to_write(f"{tmp_path}/a\0b")
    assert "cannot write" in refused_to_write("")
    assert "cannot write" in refused_to_write("/")
    assert "\\n" in refused_to_write(tmp_path / "missing\nline" / "node.key")


def test_a_label_that_is_none_makes_no_file(path: Path) -> None:
    refused_to_write(path, IdentityError, label="two\nlines")
    assert list(path.parent.iterdir()) == []


# ---- whose file it is


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o644, 0o610, 0o601, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_use_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    put(path, GOOD, mode)
    assert refused(path, KeyFileError) == f"{path} can be used by others: chmod 600 {path}"
    path.chmod(0o600)
    assert load_key_file(path) == ADA


def test_the_remedy_can_be_pasted(tmp_path: Path) -> None:
    odd = put(tmp_path / "my key", GOOD, 0o644)
    assert refused(odd, KeyFileError).endswith(f"chmod 600 '{odd}'")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_the_owners_own_rights_are_the_owners_business(path: Path, mode: int) -> None:
    assert load_key_file(put(path, GOOD, mode)) == ADA


def test_another_users_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, GOOD)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert "belongs to another user" in refused(path, KeyFileError)


def test_a_link_is_followed_and_what_it_leads_to_is_judged(path: Path) -> None:
    target = put(path.parent / "mounted", GOOD)
    path.symlink_to(target)
    assert load_key_file(path) == ADA
    target.chmod(0o644)
    assert "chmod 600" in refused(path, KeyFileError)
    target.unlink()
    assert "No such file" in refused(path, KeyFileError)


def test_what_was_opened_is_judged_and_not_what_stands_there_by_then(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is put in the place of one that all can read between opening and looking."""
    put(path, GOOD, 0o644)
    real = os.open

    def swapped(name: Any, flags: int, *rest: Any) -> int:
        descriptor = real(name, flags, *rest)
        path.unlink()
        put(path, GOOD, 0o600)
        return descriptor

    monkeypatch.setattr(os, "open", swapped)
    assert "can be used by others" in refused(path, KeyFileError)


def test_where_the_system_has_no_owners_none_are_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "geteuid", raising=False)
    monkeypatch.delattr(os, "fchmod", raising=False)
    made = create_key_file(path)
    path.chmod(0o644)
    assert load_key_file(path) == made


# ---- what is no key file


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo, listening = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo, 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(listening))
        assert "not a regular file" in refused(tmp_path, KeyFileError)
        assert "not a regular file" in refused(fifo, KeyFileError)
        assert "cannot read" in refused(listening, KeyFileError)
    assert "not a regular file" in refused("/dev/null", KeyFileError)
    assert "No such file" in refused(tmp_path / "missing", KeyFileError)
    assert "null byte" in refused("a\0b", KeyFileError)
    assert "\\x1b" in refused(tmp_path / "\x1b[31m", KeyFileError)


def test_no_descriptor_stays_open(path: Path) -> None:
    put(path, GOOD)
    before = os.open(path, os.O_RDONLY)
    os.close(before)
    load_key_file(path)
    path.chmod(0o644)
    refused(path, KeyFileError)
    refused(path.parent, KeyFileError)
    refused_to_write(path)
    create_key_file(path.parent / "other.key")
    after = os.open(path, os.O_RDONLY)
    os.close(after)
    assert after == before  # the lowest number that is free


def test_a_huge_file_is_not_read(path: Path) -> None:
    put(path, GOOD)
    with path.open("r+b") as file:
        file.truncate(2**40)  # sparse
    assert "is not a key file" in refused(path, IdentityError)


def test_every_bit_of_a_key_file_counts(path: Path) -> None:
    put(path, GOOD)
    assert load_key_file(path) == ADA
    for place in range(len(GOOD)):
        altered = bytearray(GOOD)
        altered[place] ^= 1 << place % 8
        path.write_bytes(bytes(altered))
        assert "is not a key file, or it was cut or altered" in refused(path, IdentityError)


def test_a_part_of_a_key_file_is_none(path: Path) -> None:
    put(path, b"")
    for end in range(len(GOOD)):
        path.write_bytes(GOOD[:end])
        refused(path, IdentityError)
    for more in (b"\n", b" ", b"\0", GOOD):
        path.write_bytes(GOOD + more)
        refused(path, IdentityError)


OTHER = Identity(bytes(32))


@pytest.mark.parametrize(
    "content",
    [
        content_of(SECRET.hex(), OTHER.text),  # the public id of another
        content_of(SECRET.hex().upper(), ADA.text),
        content_of(" ".join(SECRET.hex()[at : at + 2] for at in range(0, 64, 2)), ADA.text),
        content_of(SECRET.hex()[2:], ADA.text),
        content_of(SECRET.hex() + "00", ADA.text),
        content_of("", ADA.text),
        content_of(SECRET.hex(), ADA.text, label="a\u202eb"),
        content_of(SECRET.hex(), ADA.text, label="a\nlabel: b"),
        content_of(SECRET.hex(), ADA.text, label=" a"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"file 1", b"file 2"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        SECRET,
        SECRET.hex().encode(),
        b"\xff" * 300,
        b"\n" * 300,
    ],
)
def test_a_file_whose_check_fits_must_still_say_the_one_right_thing(path: Path, content: bytes) -> None:
    assert "is not a key file" in refused(put(path, content), IdentityError)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=400) | st.text().map(str.encode))
def test_garbage_ends_in_one_line(tmp_path: Path, content: bytes) -> None:
    refused(put(tmp_path / "garbage.key", content), IdentityError)


def test_the_random_source_is_the_systems(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def token_bytes(size: int) -> bytes:
        asked.append(size)
        return SECRET

    monkeypatch.setattr(keys.secrets, "token_bytes", token_bytes)
    assert create_key_file(path) == ADA
    assert asked[0] == 32
