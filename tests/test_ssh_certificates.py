"""Public keys and certificates, read and verified: those that ssh-keygen makes, and odd ones."""

import base64
import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssh_agents import Server, mpint, server, server_of
from ssh_fixtures import need, string

from tpmwire.errors import DecodeError
from tpmwire.ssh.certificates import SUFFIX, Certificate, read_certificate, read_public
from tpmwire.ssh.publickeys import PublicKey, SignatureError, read_key

KINDS = ("ed25519", "256", "384", "521", "rsa", "sk-ed25519", "sk-256")
every_kind = pytest.mark.parametrize("kind", KINDS)
CA = server(7)


@every_kind
def test_a_signature_is_verified_with_each_kind_of_key(kind: str):
    host = server_of(kind)
    key = read_public(host.blob)
    assert isinstance(key, PublicKey)
    assert key.blob == host.blob
    key.verify(host.sign(b"data"), b"data")
    with pytest.raises(SignatureError):
        key.verify(host.sign(b"data"), b"Data")
    with pytest.raises((SignatureError, DecodeError)):
        key.verify(server(8).sign(b"data"), b"data")


@every_kind
def test_a_signature_changed_in_any_octet_does_not_count(kind: str):
    host = server_of(kind)
    key, signature = read_key(host.blob), host.sign(b"data")
    for at in range(0, len(signature), 7):
        changed = signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        with pytest.raises((SignatureError, DecodeError)):
            key.verify(changed, b"data")
    for end in range(0, len(signature), 7):
        with pytest.raises((SignatureError, DecodeError)):
            key.verify(signature[:end], b"data")
    with pytest.raises(DecodeError):
        key.verify(signature + b"\0", b"data")


@every_kind
def test_an_unsound_key_is_refused(kind: str):
    blob = server_of(kind).blob
    for end in range(len(blob)):
        with pytest.raises(DecodeError):
            read_public(blob[:end])
    with pytest.raises(DecodeError):
        read_public(blob + b"\0")


def test_rsa_signatures_count_with_both_hashes_but_not_with_sha_1():
    host = server_of("rsa")
    key = read_key(host.blob)
    for name in (b"rsa-sha2-256", b"rsa-sha2-512"):
        key.verify(host.sign(b"data", name), b"data")
    with pytest.raises(SignatureError, match="ssh-rsa"):
        key.verify(host.sign(b"data", b"ssh-rsa"), b"data")


def test_an_rsa_signature_without_its_leading_zeros_counts():
    """As OpenSSH sees it, since there are servers that leave them out."""
    host = server_of("rsa")
    for number in range(5000):
        data = number.to_bytes(4, "big")
        octets = host.sign(data)[-256:]
        if octets[0] == 0:
            short = string(b"rsa-sha2-512") + string(octets.lstrip(b"\0"))
            read_key(host.blob).verify(short, data)
            return
    pytest.fail("no such signature in 5000")


@pytest.mark.parametrize(
    ("signature", "name"),
    [(0, b"ecdsa-sha2-nistp256"), (-1, b"ecdsa-sha2-nistp256"), (1, b"ecdsa-sha2-nistp384")],
)
def test_an_odd_ecdsa_signature_does_not_count(signature: int, name: bytes):
    key = read_key(server_of("256").blob)
    number = b"\xff" if signature < 0 else bytes([signature] if signature else [])
    with pytest.raises(SignatureError):
        key.verify(string(name) + string(string(number) + string(b"\1")), b"data")


def on_curve(name: bytes, curve: bytes, point: bytes) -> bytes:
    return string(name) + string(curve) + string(point)


POINT = server_of("256").blob[-65:]


@pytest.mark.parametrize(
    "blob",
    {
        "nothing": b"",
        "an empty name": string(b""),
        "DSA": string(b"ssh-dss") + mpint(5) * 4,
        "an unknown type": string(b"ssh-ed448") + string(bytes(57)),
        "a short Ed25519 key": string(b"ssh-ed25519") + string(bytes(31)),
        "a long Ed25519 key": string(b"ssh-ed25519") + string(bytes(33)),
        "another curve": on_curve(b"ecdsa-sha2-nistp384", b"nistp256", POINT),
        "an unknown curve": on_curve(b"ecdsa-sha2-nistp256", b"secp256k1", POINT),
        "a point off the curve": on_curve(b"ecdsa-sha2-nistp256", b"nistp256", b"\4" + bytes(64)),
        "a point without y": on_curve(b"ecdsa-sha2-nistp256", b"nistp256", b"\2" + POINT[1:33]),
        "a point that is short": on_curve(b"ecdsa-sha2-nistp256", b"nistp256", POINT[:-1]),
        "another form": on_curve(b"ecdsa-sha2-nistp256", b"nistp256", b"\5" + POINT[1:]),
        "zeros before": on_curve(
            b"ecdsa-sha2-nistp256", b"nistp256", b"\4\0" + POINT[1:33] + b"\0" + POINT[33:]
        ),
        "infinity": on_curve(b"ecdsa-sha2-nistp256", b"nistp256", b"\0"),
        "no point": on_curve(b"ecdsa-sha2-nistp256", b"nistp256", b""),
        "a small RSA key": string(b"ssh-rsa") + mpint(65537) + mpint(2**1022 + 1),
        "a huge RSA key": string(b"ssh-rsa") + mpint(65537) + mpint(2**16384 + 1),
        "an even exponent": string(b"ssh-rsa") + mpint(65536) + mpint(2**2047 + 1),
        "a negative modulus": string(b"ssh-rsa") + mpint(65537) + string(b"\x80" + bytes(255)),
        "a huge exponent": string(b"ssh-rsa") + mpint(2**3000 + 1) + mpint(2**2047 + 1),
    }.values(),
)
def test_what_is_no_key_that_is_known_is_refused(blob: bytes):
    with pytest.raises(DecodeError):
        read_public(blob)


@given(blob=st.binary(max_size=200))
def test_any_octets_are_a_key_or_refused(blob: bytes):
    for octets in (blob, string(b"ssh-ed25519") + blob, string(b"ssh-rsa") + blob):
        with contextlib.suppress(DecodeError):
            assert read_public(octets).blob == octets


# --- certificates -----------------------------------------------------------------------------


def keygen(directory: Path, *arguments: str) -> None:
    command = ["ssh-keygen", "-q", *arguments]
    subprocess.run(command, cwd=directory, check=True, timeout=60, capture_output=True)


def blob_of(path: Path) -> bytes:
    return base64.b64decode(path.read_text().split()[1])


@pytest.mark.parametrize("authority", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_certificates_that_ssh_keygen_makes_are_read_and_verified(
    kind: str, authority: str, tmp_path: Path
):
    need("ssh-keygen")
    keygen(tmp_path, "-t", authority, "-N", "", "-f", "ca")
    keygen(tmp_path, "-t", kind, "-N", "", "-f", "key")
    keygen(tmp_path, "-s", "ca", "-I", "id", "-h", "-n", "a.example,*.b", "-V", "+1h", "key.pub")
    blob = blob_of(tmp_path / "key-cert.pub")
    found = read_public(blob)
    assert isinstance(found, Certificate)
    assert found.blob == blob
    assert found.key.blob == blob_of(tmp_path / "key.pub")
    assert found.authority.blob == blob_of(tmp_path / "ca.pub")
    assert found.principals == (b"a.example", b"*.b")
    assert found.stands_for_host(b"a.example")
    assert found.stands_for_host(b"x.b")
    assert not found.stands_for_host(b"b")


def test_a_certificate_of_a_user_with_options_is_read_and_stands_for_no_host(tmp_path: Path):
    need("ssh-keygen")
    keygen(tmp_path, "-t", "ed25519", "-N", "", "-f", "ca")
    keygen(tmp_path, "-t", "ed25519", "-N", "", "-f", "key")
    options = ("-O", "force-command=true", "-O", "no-pty")
    keygen(tmp_path, "-s", "ca", "-I", "id", "-n", "ada", *options, "key.pub")
    found = read_certificate(blob_of(tmp_path / "key-cert.pub"))
    assert found.principals == (b"ada",)
    assert not found.stands_for_host(b"ada")


@pytest.mark.parametrize("kind", ["ed25519", "256", "384", "521", "rsa"])
def test_what_a_certified_key_signs_is_verified_with_its_certificate(kind: str):
    host = server_of(kind)
    found = read_public(host.certificate(CA, b"host"))
    found.verify(host.sign(b"data"), b"data")
    with pytest.raises((SignatureError, DecodeError)):
        found.verify(CA.sign(b"data"), b"data")


@pytest.mark.parametrize("kind", ["ed25519", "256", "rsa"])
def test_a_certificate_changed_in_any_octet_is_refused(kind: str):
    blob = server_of(kind).certificate(CA, b"host", critical=b"", extensions=b"")
    for at in range(len(blob)):
        changed = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        with pytest.raises((SignatureError, DecodeError)):
            read_certificate(changed)
    for end in range(len(blob)):
        with pytest.raises((SignatureError, DecodeError)):
            read_certificate(blob[:end])
    with pytest.raises(DecodeError):
        read_certificate(blob + b"\0")


def test_a_certificate_signed_by_rsa_with_sha_1_is_refused():
    class Old(Server):
        def sign(self, data: bytes, rsa_name: bytes = b"ssh-rsa") -> bytes:
            return super().sign(data, b"ssh-rsa")

    old = Old(server_of("rsa").private)
    with pytest.raises(SignatureError, match="ssh-rsa"):
        read_certificate(server(1).certificate(old, b"host"))


@pytest.mark.parametrize("kind", ["sk-ed25519", "sk-256"])
def test_an_authenticator_may_be_an_authority_as_for_openssh(kind: str, tmp_path: Path):
    need("ssh-keygen")
    blob = server(1).certificate(server_of(kind), b"host")
    assert read_certificate(blob).authority.blob == server_of(kind).blob
    encoded = base64.b64encode(blob).decode()
    path = tmp_path / "cert.pub"
    path.write_text(f"ssh-ed25519-cert-v01@openssh.com {encoded}\n")
    keygen(tmp_path, "-L", "-f", "cert.pub")
    path.write_text(path.read_text().replace(encoded[-8:], "AAAAAAAA"))
    with pytest.raises(subprocess.CalledProcessError):
        keygen(tmp_path, "-L", "-f", "cert.pub")


def test_there_are_no_certificates_of_authenticators_here():
    for name in (b"sk-ssh-ed25519-cert-v01@openssh.com", b"sk-ssh-ed25519@openssh.com" + SUFFIX):
        with pytest.raises(DecodeError):
            read_public(string(name) + bytes(200))


def test_a_certificate_may_not_be_an_authority():
    class Certified(Server):
        blob = CA.certificate(server(8), b"host")

    with pytest.raises(DecodeError):
        read_certificate(server(1).certificate(Certified(CA.private), b"host"))


def test_a_certificate_has_the_name_of_one():
    for kind in ("ed25519", "256", "rsa"):
        with pytest.raises(DecodeError):
            read_certificate(server_of(kind).certificate(CA, b"host", suffix=b""))
        with pytest.raises(DecodeError):
            read_certificate(server_of(kind).blob)


@pytest.mark.parametrize(
    "changes",
    [{"kind": 0}, {"kind": 3}, {"critical": b"\0"}, {"extensions": string(b"permit-pty")}],
    ids=str,
)
def test_a_certificate_of_an_odd_form_is_refused_though_it_is_signed(changes: dict):
    with pytest.raises(DecodeError):
        read_certificate(server(1).certificate(CA, b"host", **changes))


def test_a_certificate_has_256_principals_at_most_and_none_with_a_zero():
    names = [b"%d" % number for number in range(257)]
    assert len(read_certificate(server(1).certificate(CA, *names[:256])).principals) == 256
    for odd in (names, [b"host\0.example"]):
        with pytest.raises(DecodeError):
            read_certificate(server(1).certificate(CA, *odd))


NOW = int(time.time())


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({}, True),
        ({"kind": 1}, False),
        ({"valid": (NOW - 10, NOW + 10**6)}, True),
        ({"valid": (NOW - 10**6, NOW)}, False),
        ({"valid": (NOW + 10**6, 2**64 - 1)}, False),
        ({"critical": string(b"odd") + string(b"")}, False),
        ({"extensions": string(b"odd") + string(b"")}, True),
    ],
    ids=str,
)
def test_a_certificate_stands_for_a_host_if_all_in_it_says_so(changes: dict, stands: bool):
    found = read_certificate(server(1).certificate(CA, b"host", **changes))
    assert found.stands_for_host(b"host") is stands
    assert not found.stands_for_host(b"other")


def test_a_certificate_without_principals_stands_for_no_host():
    assert not read_certificate(server(1).certificate(CA)).stands_for_host(b"host")
