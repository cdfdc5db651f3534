"""What signatures are for, told by the data themselves."""

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssh_agents import (
    ADA,
    FAILURE,
    SUCCESS,
    Ours,
    Server,
    SoftwareKey,
    binding,
    login,
    served,
    server,
    server_of,
    sshsig,
)
from ssh_fixtures import Home, need, string

from tpmwire.ssh.agent import Agent
from tpmwire.ssh.occasion import Peer
from tpmwire.ssh.purposes import Login, Signature, read_purpose

NEAR, FAR = server(1), server(2)
SESSION = bytes(32)


def fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def purpose_told(data: bytes, *bindings: bytes) -> str:
    """Let our agent sign, and see what the key is told of it."""
    key, agents = SoftwareKey(1), Ours()
    assert agents.add(key) == SUCCESS
    talk = agents.connect()
    for request in bindings:
        assert talk(request) == SUCCESS
    assert talk(key.asked_to_sign(data))[0] == 0x0E
    return key.occasions[-1].purpose


def test_a_login_tells_the_user_and_the_server_that_the_connection_is_bound_to():
    data = login(SESSION, b"ada", ADA.blob)
    assert purpose_told(data) == "log in as “ada” at an unknown server"
    near = f"log in as “ada” at the server with key {fingerprint(NEAR.blob)}"
    assert purpose_told(data, binding(NEAR, SESSION, forwarding=False)) == near
    other = binding(NEAR, b"another", forwarding=False)
    assert purpose_told(data, other) == "log in as “ada” at an unknown server"


def test_a_login_that_is_bound_to_a_host_tells_it_by_itself():
    data = login(SESSION, b"ada", ADA.blob, FAR.blob)
    far = f"log in as “ada” at the server with key {fingerprint(FAR.blob)}"
    assert purpose_told(data) == far


def test_what_was_forwarded_tells_from_where():
    through, to = binding(NEAR, b"first", forwarding=True), binding(FAR, SESSION, forwarding=False)
    told = purpose_told(login(SESSION, b"ada", ADA.blob, FAR.blob), through, to)
    assert told == (
        f"log in as “ada” at the server with key {fingerprint(FAR.blob)}, "
        f"asked for from the server with key {fingerprint(NEAR.blob)}"
    )
    told = purpose_told(b"data", through)
    assert told == (
        f"sign something unknown, asked for from the server with key {fingerprint(NEAR.blob)}"
    )


def test_a_signature_tells_its_namespace():
    assert purpose_told(sshsig(b"git")) == "sign something in the namespace “git”"


def certified(authority: SoftwareKey, *names: bytes, kind: int = 1) -> bytes:
    """Write what an authority signs to certify a key."""
    signer = Server(authority.private)
    whole = NEAR.certificate(signer, *names, kind=kind)
    return whole[: -4 - len(signer.sign(b""))]


def test_a_certificate_to_be_made_tells_for_whom():
    told = purpose_told(certified(ADA, b"ada", b"root"))
    assert told == "certify the key of a user for “ada”, “root”"
    told = purpose_told(certified(ADA, b"a", b"b", b"c", b"d\n", b"e", kind=2))
    assert told == "certify the key of a host for “a”, “b”, “c” and 2 more"
    assert purpose_told(certified(ADA)) == "certify the key of a user for any name"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"data",
        certified(ADA, b"ada") + b"\0",
        certified(ADA, b"ada")[:-1],
        certified(ADA, b"ada", kind=3),
        certified(SoftwareKey(2), b"ada"),
        bytes(32),
        sshsig(b""),
        sshsig(b"git", b"sha1", 20),
        sshsig(b"git", b"sha512", 32),
        sshsig(b"git") + b"\0",
        sshsig(b"git")[:-1],
        sshsig(b"git")[1:],
        login(b"", b"ada", ADA.blob),
        login(SESSION, b"ada", NEAR.blob),
        login(SESSION, b"ada", ADA.blob) + b"\0",
        login(SESSION, b"ada", ADA.blob, message=51),
        login(SESSION, b"ada", ADA.blob, signed=0),
        login(SESSION, b"ada", ADA.blob, service=b"other"),
        login(SESSION, b"ada", ADA.blob, method=b"hostbased"),
        login(SESSION, b"ada", ADA.blob, algorithm=b"rsa-sha2-512"),
    ],
)
def test_anything_else_is_unknown(data: bytes):
    assert purpose_told(data) == "sign something unknown"


@given(data=st.binary(max_size=100))
def test_any_octets_are_for_something_or_not(data: bytes):
    for octets in (data, b"SSHSIG" + data, string(SESSION) + b"\x32" + data):
        read_purpose(octets, ADA.blob)


def test_ssh_keygen_certifies_with_a_key_of_the_agent(tmp_path: Path):
    need("ssh-keygen")
    key, home = SoftwareKey(1), Home(tmp_path, "")
    agent = Agent([key], only=frozenset({"certificate"}))
    encoded = base64.b64encode(key.blob).decode()
    home.write("ca.pub", f"ssh-ed25519 {encoded}\n")
    home.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "key")
    with served(agent, str(tmp_path / "agent")):
        env = {"SSH_AUTH_SOCK": str(tmp_path / "agent")}
        sign = ("ssh-keygen", "-q", "-U", "-s", "ca.pub", "-I", "id")
        home.run(*sign, "-n", "ada", "key.pub", **env)
        assert "ada" in home.run("ssh-keygen", "-L", "-f", "key-cert.pub")
        home.run(*sign, "-h", "-n", "example.com", "key.pub", **env)
        home.refuses("ssh-add", "-T", "ca.pub", **env)
    assert [occasion.purpose for occasion in key.occasions] == [
        "certify the key of a user for “ada”",
        "certify the key of a host for “example.com”",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Bøb".encode(), "Bøb"),
        (b"ada\nPIN for TPM key", "ada\\nPIN for TPM key"),
        (b"\x1b[2Jada", "\\x1b[2Jada"),
        (b"\xff", "\\xff"),
        ("ada\u202e".encode(), "ada\\u202e"),
        (b"\x7f\r\t", "\\x7f\\r\\t"),
    ],
)
def test_a_name_cannot_pretend_to_be_something_else(name: bytes, shown: str):
    told = purpose_told(login(SESSION, name, ADA.blob))
    assert told == f"log in as “{shown}” at an unknown server"
    assert purpose_told(sshsig(name)) == f"sign something in the namespace “{shown}”"


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [
        ("ed25519", [b"ssh-ed25519"]),
        ("384", [b"ecdsa-sha2-nistp384"]),
        ("rsa", [b"ssh-rsa", b"rsa-sha2-256", b"rsa-sha2-512"]),
    ],
)
def test_logins_with_keys_and_certificates_of_each_kind_are_known(
    kind: str, algorithms: list[bytes]
):
    blob = server_of(kind).blob
    certificate = server_of(kind).certificate(server(7), b"ada", kind=1)
    for algorithm in algorithms:
        data = login(SESSION, b"ada", blob, algorithm=algorithm)
        assert isinstance(read_purpose(data, blob), Login)
        certified = algorithm + b"-cert-v01@openssh.com"
        data = login(SESSION, b"ada", certificate, algorithm=certified)
        assert isinstance(read_purpose(data, certificate), Login)
        assert isinstance(read_purpose(data, blob), Login)  # as ssh asks for it
        assert read_purpose(data, server(5).blob) is None
        assert read_purpose(login(SESSION, b"ada", blob, algorithm=algorithm), certificate) is None
        broken = login(
            SESSION, b"ada", certificate[:-1] + bytes([certificate[-1] ^ 1]), algorithm=certified
        )
        assert read_purpose(broken, blob) is None
        mixed = login(SESSION, b"ada", certificate, algorithm=algorithm)
        assert read_purpose(mixed, certificate) is None


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_ssh_keygen_signs_is_known(algorithm: str, tmp_path: Path):
    """What it signs is not in the signature; whether we know it shows as it verifies there."""
    need("ssh-keygen")
    size = hashlib.new(algorithm).digest_size
    digest = hashlib.new(algorithm, b"hello\n").digest()
    data = sshsig(b"file", algorithm.encode(), size)[:-size] + digest
    assert read_purpose(data, ADA.blob) == Signature(b"file")
    blob = b"SSHSIG" + (1).to_bytes(4, "big") + string(ADA.blob) + string(b"file")
    blob += string(b"") + string(algorithm.encode()) + string(ADA.sign(data, 0))
    armoured = base64.b64encode(blob).decode()
    lines = [armoured[at : at + 70] for at in range(0, len(armoured), 70)]
    text = "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])
    (tmp_path / "sig").write_text(text)
    key = base64.b64encode(ADA.blob).decode()
    (tmp_path / "allowed").write_text(f"ada ssh-ed25519 {key}\n")
    verify = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "ada", "-n", "file", "-s", "sig"]
    subprocess.run(verify, cwd=tmp_path, input=b"hello\n", check=True, timeout=60)


# --- nothing but this is signed -------------------------------------------------------------------

DATA = {
    "userauth": login(SESSION, b"ada", ADA.blob),
    "sshsig": sshsig(b"git"),
    "certificate": certified(ADA, b"ada"),
    "": b"data",
}


@pytest.mark.parametrize(
    "only", [(), ("userauth",), ("sshsig",), ("userauth", "certificate"), None]
)
def test_nothing_is_signed_but_what_is_wanted(only: tuple[str, ...] | None):
    wanted = None if only is None else frozenset(only)
    talking = Agent([ADA], only=wanted).conversation(Peer())
    for kind, data in DATA.items():
        signed = only is None or kind in only
        answer = talking.answer(ADA.asked_to_sign(data))
        assert answer == (ADA.signature(data) if signed else FAILURE)


def test_it_is_no_login_if_it_is_one_of_another_key():
    talking = Agent([ADA], only=frozenset({"userauth"})).conversation(Peer())
    data = login(SESSION, b"ada", Server(SoftwareKey(2).private).blob)
    assert talking.answer(ADA.asked_to_sign(data)) == FAILURE
