"""Private keys of other programs: read by us as by those who wrote them, and any octets."""

import base64
import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    ssh,
)
from hypothesis import given
from hypothesis import strategies as st
from softkeys import KINDS, key_of
from ssh_fixtures import need

from tpmwire.errors import KeyFileError
from tpmwire.pem import PassphraseError, read_private_key, read_public_key, write_public_key
from tpmwire.softkeys import public_of
from tpmwire.ssh.openssh import look_at

PASSPHRASE = b"correct horse"
SECRET = BestAvailableEncryption(PASSPHRASE)


def keygen(directory: Path, *options: str, passphrase: str = "") -> bytes:
    """A private key file of ssh-keygen."""
    need("ssh-keygen")
    path = directory / "id"
    command = ["ssh-keygen", "-q", "-N", passphrase, "-C", "ada", "-f", path, *options]
    subprocess.run(command, check=True, timeout=60)
    return path.read_bytes()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("encryption", [NoEncryption(), SECRET], ids=["clear", "encrypted"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_key_in_pem_is_read(
    kind: str, encryption: KeySerializationEncryption, form: PrivateFormat
):
    key = key_of(kind)
    data = key.private_bytes(Encoding.PEM, form, encryption)
    passphrase = PASSPHRASE if encryption is SECRET else None
    assert read_private_key(data, passphrase).private_numbers() == key.private_numbers()
    assert look_at(data) is None


@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
def test_an_encrypted_key_wants_its_passphrase_and_no_other(tmp_path: Path, form: str):
    data = keygen(tmp_path, "-t", "ecdsa", "-m", form, passphrase=PASSPHRASE.decode())
    with pytest.raises(PassphraseError, match="its passphrase is wanted"):
        read_private_key(data)
    with pytest.raises(PassphraseError, match="wrong, or the file is damaged"):
        read_private_key(data, b"wrong")
    assert read_private_key(data, PASSPHRASE)


def test_without_bcrypt_the_user_is_told_of_it_and_of_a_way_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = keygen(tmp_path, "-t", "ecdsa", passphrase=PASSPHRASE.decode())

    def missing(*_: object) -> bytes:
        raise UnsupportedAlgorithm("Need bcrypt module")

    monkeypatch.setattr(ssh, "_bcrypt_kdf", missing)
    with pytest.raises(KeyFileError, match=r"the Python package bcrypt.* -p -m PKCS8"):
        read_private_key(data, PASSPHRASE)
    words = ["-P", PASSPHRASE.decode(), "-N", PASSPHRASE.decode()]
    way = ["ssh-keygen", "-q", "-p", "-m", "PKCS8", "-f", tmp_path / "id", *words]
    subprocess.run(way, check=True, timeout=60)
    around = (tmp_path / "id").read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in around
    assert read_private_key(around, PASSPHRASE)


def test_a_key_that_no_tpm_has_is_refused_by_its_name():
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for read, data in ((read_private_key, private), (read_public_key, public)):
        with pytest.raises(KeyFileError, match="no TPM has Ed25519 keys"):
            read(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_key_is_written_as_cryptography_does_and_read_again(kind: str):
    public = key_of(kind).public_key()
    text = write_public_key(public_of(public))
    theirs = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert text.encode() == theirs
    assert read_public_key(theirs).public_numbers() == public.public_numbers()


# --- what a file of OpenSSH tells without its passphrase ---------------------------------------


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE.decode()])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("rsa", "ssh-rsa"),
        ("ecdsa", "ecdsa-sha2-nistp256"),
        ("ed25519", "ssh-ed25519"),
        ("dsa", "ssh-dss"),
    ],
)
def test_a_file_tells_its_type_and_if_it_is_not_encrypted_its_comment(
    tmp_path: Path, kind: str, name: str, passphrase: str
):
    outside = look_at(keygen(tmp_path, "-t", kind, passphrase=passphrase))
    assert outside is not None
    assert (outside.key_type, outside.encrypted) == (name, bool(passphrase))
    assert outside.comment == (b"" if passphrase else b"ada")


@pytest.fixture(scope="module")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return keygen(tmp_path_factory.mktemp("keys"), "-t", "ecdsa")


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """The same file with a few octets changed, or a piece cut out."""
    places = st.integers(0, len(data) - 1)
    changed = st.tuples(places, st.binary(max_size=4)).map(
        lambda at: data[: at[0]] + at[1] + data[at[0] + len(at[1]) :]
    )
    cut = st.tuples(places, places).map(lambda at: data[: min(at)] + data[max(at) :])
    return changed | cut


Read = Callable[[bytes], object]
READERS: list[Read] = [look_at, read_private_key]


@pytest.mark.parametrize("read", READERS)
@given(data=st.data())
def test_a_damaged_file_is_a_value_or_a_key_file_error(
    read: Read, data: st.DataObject, openssh: bytes
):
    octets = data.draw(damaged(openssh))
    with contextlib.suppress(KeyFileError):
        read(octets)


@given(st.binary(max_size=300))
def test_any_octets_are_a_value_or_a_key_file_error(octets: bytes):
    begin, end = (f"-----{word} OPENSSH PRIVATE KEY-----\n".encode() for word in ("BEGIN", "END"))
    for data in (octets, begin + octets + b"\n" + end):
        for read in (*READERS, read_public_key):
            with contextlib.suppress(KeyFileError):
                read(data)


def test_a_compressed_point_is_a_key_file_error(openssh: bytes):
    lines = openssh.split(b"\n")
    body = bytearray(base64.b64decode(b"".join(lines[1:-2])))
    body[body.index(b"\0\0\0\x41\x04") + 4] = 2
    damaged = b"\n".join((lines[0], base64.b64encode(body), *lines[-2:]))
    with pytest.raises(KeyFileError, match="no private key that could be read"):
        read_private_key(damaged)


@pytest.mark.parametrize("octets", [b"", b"junk", b"-----BEGIN PUBLIC KEY-----\nAA\n", b"ssh-rsa"])
def test_what_is_no_public_key_is_told(octets: bytes):
    with pytest.raises(KeyFileError, match="no public key that could be read"):
        read_public_key(octets)
