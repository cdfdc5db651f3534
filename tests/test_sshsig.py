"""SSHSIG: tpmwire and `ssh-keygen -Y` make signatures for each other."""

import base64
import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from conftest import Swtpm, left_loaded
from hypothesis import given
from hypothesis import strategies as st
from ssh_fixtures import Home, need, string, strings

from tpmwire.constants import TPM_ALG
from tpmwire.digests import digest
from tpmwire.errors import DecodeError, Error
from tpmwire.scripts.main import main
from tpmwire.ssh.fingerprints import PublishedKey
from tpmwire.ssh.publickeys import PublicKey, SignatureError, read_key
from tpmwire.ssh.sshsig import (
    armored,
    is_armored,
    read_armored,
    signed_data,
    verify_sshsig,
)

KINDS = {
    "p256": ("-t", "ecdsa"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "p521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa"),
}
THEIRS = KINDS | {"ed25519": ("-t", "ed25519")}
every_kind = pytest.mark.parametrize("kind", KINDS)
TEXT, OTHER = "To be, or not to be\n", "To be, or not to bE\n"


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with keys of ours and of ssh-keygen, and a text with a signature by each of those."""
    need("ssh-keygen")
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    home.write("text", TEXT)
    home.write("other", OTHER)
    for kind, options in KINDS.items():
        home.run("tpmwire-keygen", *options, "-f", kind, "-N", "", "-C", "me")
    for kind, options in THEIRS.items():
        home.run("ssh-keygen", "-q", *options, "-N", "", "-f", f"their-{kind}")
        sign = ("ssh-keygen", "-Y", "sign", "-f", f"their-{kind}", "-n", "file")
        home.write(f"{kind}.theirs", home.run(*sign, given=TEXT))
    return home


@pytest.fixture
def home(swtpm: Swtpm, made: Home) -> Iterator[Home]:
    yield made
    assert left_loaded(swtpm) == ()


def public(home: Home, name: str) -> PublicKey:
    return read_key(PublishedKey.read((home.path / name).read_text()).blob)


def sign(home: Home, kind: str, *options: str) -> str:
    command = ("tpmwire", "sign", "-k", f"{kind}.tpm", "-f", "text", "-n", "file", "-o", "sig")
    home.run(*command, *options)
    return (home.path / "sig").read_text()


def verify(home: Home, key: str, signature: str, text: str, namespace: str = "file") -> str:
    """What `tpmwire verify` says, without a TPM and without the start of a Python."""
    command = ("verify", "-k", key, "-s", signature, "-n", namespace, "-f", text)
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(home.path),
        patch.dict(os.environ, {"TPMWIRE_TCTI": "device:/none"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(command)
    told = (code, bool(out.getvalue()), bool(err.getvalue()))
    assert told in ((0, True, False), (1, False, True))
    return out.getvalue() + err.getvalue()


# --- ours for ssh-keygen ----------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("hash_name", [None, "sha256", "sha512"])
def test_ssh_keygen_verifies_what_the_tpm_signs(home: Home, kind: str, hash_name: str | None):
    sign(home, kind, *(("--hash", hash_name) if hash_name else ()))
    check = ("ssh-keygen", "-Y", "check-novalidate", "-n", "file", "-s", "sig")
    assert "Good" in home.run(*check, given=TEXT)
    home.refuses(*check, given=OTHER)
    home.refuses(*("git" if word == "file" else word for word in check), given=TEXT)
    home.write("allowed", "me@example.com " + (home.path / f"{kind}.pub").read_text())
    signer = ("-f", "allowed", "-I", "me@example.com", "-n", "file", "-s", "sig")
    assert "Good" in home.run("ssh-keygen", "-Y", "verify", *signer, given=TEXT)


def test_the_armor_is_that_of_ssh_keygen(home: Home):
    ours = sign(home, "rsa").splitlines()
    theirs = (home.path / "rsa.theirs").read_text().splitlines()
    assert (ours[0], ours[-1]) == (theirs[0], theirs[-1])
    assert {len(line) for line in ours[1:-2]} == {len(line) for line in theirs[1:-2]} == {70}


def test_git_takes_such_a_signature_for_one_of_its_own(home: Home):
    need("git")
    home.run("git", "init", "-q", "repository")
    git = ("git", "-C", "repository", "-c", "user.name=Ada", "-c", "user.email=me@example.com")
    home.run(*git, "commit", "-q", "--allow-empty", "-m", "first")
    commit = home.run(*git, "cat-file", "commit", "HEAD")
    home.write("commit", commit)
    command = ("tpmwire", "sign", "-k", "p256.tpm", "-f", "commit", "-n", "git", "-o", "commit.sig")
    home.run(*command)
    lines = (home.path / "commit.sig").read_text().rstrip("\n").replace("\n", "\n ")
    head, _, message = commit.partition("\n\n")
    home.write("signed", f"{head}\ngpgsig {lines}\n\n{message}")
    made = home.run(*git, "hash-object", "-t", "commit", "-w", "../signed").strip()
    home.write("allowed", "me@example.com " + (home.path / "p256.pub").read_text())
    allowed = ("-c", f"gpg.ssh.allowedSignersFile={home.path}/allowed", "-c", "gpg.format=ssh")
    done = home.attempt(*git, *allowed, "verify-commit", made)
    assert (done.returncode, "Good" in done.stderr) == (0, True)


# --- theirs for us ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", THEIRS)
def test_what_ssh_keygen_has_signed_is_verified(home: Home, kind: str):
    key, signature = f"their-{kind}.pub", f"{kind}.theirs"
    assert verify(home, key, signature, "text") == "good signature\n"
    assert "not that of the key over these octets" in verify(home, key, signature, "other")
    assert "is for namespace 'file', not 'git'" in verify(home, key, signature, "text", "git")
    another = "their-rsa.pub" if kind != "rsa" else "their-p256.pub"
    assert "is by another key" in verify(home, another, signature, "text")


@every_kind
def test_our_own_are_verified_by_each_form_of_the_key(home: Home, kind: str):
    sign(home, kind)
    for key in (f"{kind}.pub", f"{kind}.tpm"):
        assert verify(home, key, "sig", "text") == "good signature\n"
        assert "BAD signature" in verify(home, key, "sig", "other")


def test_a_signature_over_sha1_does_not_count(home: Home):
    """One of ssh-rsa, as its octets tell; what is in it does not matter then."""
    made = string(b"ssh-rsa") + string(bytes(256))
    with pytest.raises(SignatureError, match=r"ssh-rsa.* does not count"):
        public(home, "their-rsa.pub").verify(made, b"data")


@pytest.mark.parametrize("kind", THEIRS)
def test_a_signature_that_claims_the_algorithm_of_another_key_does_not_count(home: Home, kind: str):
    key = public(home, f"their-{kind}.pub")
    for name in (b"ecdsa-sha2-nistp224", b"ssh-dss", b"", b"rsa-sha2-256", b"ssh-ed25519"):
        if name not in (kind.encode().replace(b"rsa", b"rsa-sha2-256"), f"ssh-{kind}".encode()):
            with pytest.raises(SignatureError, match=r"is not one of this key|does not count"):
                key.verify(string(name) + string(bytes(64)), b"data")


# --- the format -------------------------------------------------------------------------------


def test_what_is_signed_is_what_the_protocol_says():
    hashed = digest(TPM_ALG.SHA512, b"data")
    octets = signed_data("file", TPM_ALG.SHA512, hashed)
    assert octets[:6] == b"SSHSIG"
    assert strings(octets[6:]) == [b"file", b"", b"sha512", hashed]


def test_what_is_written_is_what_the_protocol_says():
    text = armored(b"blob", "file", TPM_ALG.SHA256, b"signature")
    octets = base64.b64decode("".join(text.splitlines()[1:-1]))
    assert octets[:10] == b"SSHSIG\0\0\0\1"
    assert strings(octets[10:]) == [b"blob", b"file", b"", b"sha256", b"signature"]
    assert is_armored(text.encode())
    assert read_armored(text.encode()).hash == TPM_ALG.SHA256


SOUND = armored(b"blob", "file", TPM_ALG.SHA256, b"signature")


def framed(octets: bytes) -> str:
    lines = SOUND.splitlines()
    return "\n".join((lines[0], base64.b64encode(octets).decode(), lines[-1], ""))


BODY = b"".join(map(string, (b"blob", b"file", b"", b"sha256", b"signature")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SOUND.replace("END", "EMD"), "not framed"),
        (SOUND + "more", "not framed"),
        ("more\n" + SOUND, "not framed"),
        (SOUND.replace("SSH SIGNATURE", "SSH SIGNATURES"), "not framed"),
        (SOUND.replace("\nU", "\n*U"), "not base64"),
        (framed(b"SSHSIC\0\0\0\1" + BODY), "does not begin as one"),
        (framed(b"SSHSIG\0\0\0\2" + BODY), "of version 2"),
        (framed(b"SSHSIG\0\0\0\1" + BODY + b"\0"), "left"),
        (framed(b"SSHSIG\0\0\0\1" + BODY[:-1]), "wanted"),
        (framed(b"SSHSIG"), "of version 0"),
    ],
)
def test_what_is_malformed_is_said(text: str, message: str):
    assert read_armored(framed(b"SSHSIG\0\0\0\1" + BODY).encode()) == read_armored(SOUND.encode())
    with pytest.raises(DecodeError, match=re.escape(message)):
        read_armored(text.encode())


def test_ends_of_lines_may_be_those_of_windows():
    assert read_armored(SOUND.replace("\n", "\r\n").encode()) == read_armored(SOUND.encode())


@pytest.mark.parametrize("name", [b"sha1", b"md5", b"sha384", b"", b"\xff"])
def test_a_hash_that_is_not_one_of_the_format_does_not_count(made: Home, name: bytes):
    key = public(made, "their-p256.pub")
    found = read_armored(SOUND.encode()).replace(public_key=key.blob, hash_algorithm=name)
    with pytest.raises(DecodeError, match="not one of SSHSIG"):
        verify_sshsig(found, key, "file", lambda alg: digest(alg, b""))


@given(data=st.data())
def test_a_signature_with_any_octet_changed_is_bad(
    theirs: tuple[PublicKey, str], data: st.DataObject
):
    key, text = theirs
    octets = bytearray(base64.b64decode("".join(text.splitlines()[1:-1])))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Error):
        check(key, framed(bytes(octets)))


@pytest.fixture(scope="module", params=["p256", "p521", "ed25519", "rsa"])
def theirs(made: Home, request: pytest.FixtureRequest) -> tuple[PublicKey, str]:
    """A key, and a signature by it that is good."""
    key = public(made, f"their-{request.param}.pub")
    text = Path(made.path / f"{request.param}.theirs").read_text()
    check(key, text)
    return key, text


def check(key: PublicKey, text: str) -> None:
    found = read_armored(text.encode())
    verify_sshsig(found, key, "file", lambda alg: digest(alg, TEXT.encode()))
