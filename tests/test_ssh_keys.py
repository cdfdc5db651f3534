"""SSH public keys and signatures of TPM keys."""

import base64
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from ssh_fixtures import need, string

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.ssh.keys import (
    UnsupportedKeyError,
    fingerprint,
    key_type,
    public_blob,
    public_line,
    signature_algorithm,
    signature_blob,
)
from tpmwire.templates import ECC_SIGN, RSA_SIGN, ecc_sign, rsa_sign
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_HA,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SIGNATURE,
)

CURVES: dict[TPM_ECC, tuple[ec.EllipticCurve, TPM_ALG, hashes.HashAlgorithm]] = {
    TPM_ECC.NIST_P256: (ec.SECP256R1(), TPM_ALG.SHA256, hashes.SHA256()),
    TPM_ECC.NIST_P384: (ec.SECP384R1(), TPM_ALG.SHA384, hashes.SHA384()),
    TPM_ECC.NIST_P521: (ec.SECP521R1(), TPM_ALG.SHA512, hashes.SHA512()),
}
PRIMES = {
    TPM_ECC.NIST_P256: 2**256 - 2**224 + 2**192 + 2**96 - 1,
    TPM_ECC.NIST_P384: 2**384 - 2**128 - 2**96 + 2**32 - 1,
    TPM_ECC.NIST_P521: 2**521 - 1,
}
RSA_HASHES: dict[int, tuple[TPM_ALG, hashes.HashAlgorithm, bytes]] = {
    2: (TPM_ALG.SHA256, hashes.SHA256(), b"rsa-sha2-256"),
    4: (TPM_ALG.SHA512, hashes.SHA512(), b"rsa-sha2-512"),
}
every_curve = pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)

RSA_KEY = rsa.generate_private_key(65537, 2048)
KEYEDHASH = TPMT_PUBLIC(
    type=TPM_ALG.KEYEDHASH,
    nameAlg=TPM_ALG.SHA256,
    objectAttributes=TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth,
    parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
    unique=bytes(32),
)


def ecc_public(curve: TPM_ECC, x: bytes, y: bytes) -> TPMT_PUBLIC:
    return ecc_sign(curve).replace(unique=TPMS_ECC_POINT(x=x, y=y))


def ecc_key(curve: TPM_ECC, scalar: int) -> tuple[ec.EllipticCurvePrivateKey, TPMT_PUBLIC]:
    """Make a key outside a TPM, and the public area that a TPM would have for it."""
    key = ec.derive_private_key(scalar, CURVES[curve][0])
    numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    return key, ecc_public(curve, numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big"))


def rsa_public(modulus: int, exponent: int = 0) -> TPMT_PUBLIC:
    template = rsa_sign(modulus.bit_length())
    octets = modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")
    return template.replace(
        parameters=template.parameters.replace(exponent=exponent), unique=octets
    )


def openssh_line(key: Any) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def openssh_blob(key: Any) -> bytes:
    return base64.b64decode(openssh_line(key).split()[1])


# --- public keys ------------------------------------------------------------------------------


@given(data=st.data())
def test_an_ecdsa_key_has_the_octets_that_cryptography_gives_it(data: st.DataObject):
    curve = data.draw(st.sampled_from(list(CURVES)))
    scalar = data.draw(st.integers(1, CURVES[curve][0].group_order - 1))
    key, public = ecc_key(curve, scalar)
    assert public_blob(public) == openssh_blob(key.public_key())


@pytest.mark.parametrize(
    ("curve", "scalar", "coordinate"),
    [
        (TPM_ECC.NIST_P256, 379, "x"),
        (TPM_ECC.NIST_P256, 43, "y"),
        (TPM_ECC.NIST_P256, 2376, "y"),
        (TPM_ECC.NIST_P384, 197, "x"),
        (TPM_ECC.NIST_P384, 176, "y"),
        (TPM_ECC.NIST_P521, 273, "x"),
        (TPM_ECC.NIST_P521, 73, "y"),
        (TPM_ECC.NIST_P521, 2, "x"),
    ],
)
def test_leading_zeros_of_a_coordinate_stay_whether_the_tpm_writes_them_or_not(
    curve: TPM_ECC, scalar: int, coordinate: str
):
    key, public = ecc_key(curve, scalar)
    point = public.unique
    assert getattr(point, coordinate)[0] == 0
    for x, y in (
        (point.x, point.y),
        (point.x.lstrip(b"\0"), point.y.lstrip(b"\0")),
        (b"\0" + point.x, b"\0" + point.y),
    ):
        assert public_blob(ecc_public(curve, x, y)) == openssh_blob(key.public_key())


@given(data=st.data())
def test_an_rsa_key_has_the_octets_that_cryptography_gives_it(data: st.DataObject):
    bits = data.draw(st.sampled_from([1024, 2048, 2056, 3072]))
    modulus = data.draw(st.integers(2 ** (bits - 1), 2**bits - 1)) | 1
    exponent = data.draw(st.sampled_from([3, 17, 65537, 2**31 + 1, 2**32 - 1]))
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    assert public_blob(rsa_public(modulus, exponent)) == openssh_blob(key)


def test_the_exponent_zero_of_a_tpm_is_65537():
    public = rsa_public(RSA_KEY.public_key().public_numbers().n, exponent=0)
    assert public_blob(public) == openssh_blob(RSA_KEY.public_key())


@every_curve
@given(data=st.data())
def test_a_point_beside_the_curve_is_no_key(curve: TPM_ECC, data: st.DataObject):
    """OpenSSH's clients refuse the whole list of an agent that has one such key."""
    _, public = ecc_key(curve, data.draw(st.integers(1, 2**64)))
    x, y = public.unique.x, public.unique.y
    bit = 1 << data.draw(st.integers(0, len(y) * 8 - 1))
    other = (int.from_bytes(y, "big") ^ bit).to_bytes(len(y), "big")
    with pytest.raises(UnsupportedKeyError, match="no point of nistp"):
        public_blob(ecc_public(curve, x, other))


@every_curve
def test_coordinates_beyond_the_field_are_no_key(curve: TPM_ECC):
    _, public = ecc_key(curve, 5)
    x, y = public.unique.x, public.unique.y
    larger = (int.from_bytes(x, "big") + PRIMES[curve]).to_bytes(67, "big")
    with pytest.raises(UnsupportedKeyError, match="no point of nistp"):
        public_blob(ecc_public(curve, larger, y))


@pytest.mark.parametrize(
    ("public", "message"),
    [
        (KEYEDHASH, "a key of type .*KEYEDHASH"),
        (ecc_public(TPM_ECC.BN_P256, b"\1", b"\2"), "curve .*BN_P256"),
        (ecc_public(0x7777, b"\1", b"\2"), "curve 30583"),
        (ecc_public(TPM_ECC.NIST_P256, b"", b""), "no point"),
        (ECC_SIGN, "no point"),
        (RSA_SIGN, "RSA key of 0 bits"),
        (rsa_public(2**1022 + 1), "RSA key of 1023 bits"),
        (rsa_sign(2048).replace(unique=b"\x7f" + b"\xff" * 255), "RSA key of 2047 bits"),
    ],
    ids=str,
)
def test_ssh_has_no_use_for_other_keys_and_templates(public: TPMT_PUBLIC, message: str):
    with pytest.raises(UnsupportedKeyError, match=message):
        public_blob(public)


KEYS = [(ecc_key(curve, 1234567)[1], ecc_key(curve, 1234567)[0].public_key()) for curve in CURVES]
KEYS.append((rsa_public(RSA_KEY.public_key().public_numbers().n), RSA_KEY.public_key()))
every_key = pytest.mark.parametrize(
    ("public", "key"), KEYS, ids=["nistp256", "nistp384", "nistp521", "rsa"]
)


@every_key
def test_a_public_line_is_the_one_that_cryptography_writes_with_a_comment(
    public: TPMT_PUBLIC, key: Any
):
    blob = public_blob(public)
    assert public_line(blob, "Ada at home") == openssh_line(key) + " Ada at home\n"
    assert public_line(blob, "") == openssh_line(key) + "\n"
    assert key_type(blob) == openssh_line(key).split()[0]


@every_key
def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(
    public: TPMT_PUBLIC, key: Any, tmp_path: Path
):
    need("ssh-keygen")
    file = tmp_path / "id.pub"
    file.write_text(public_line(public_blob(public), "Ada at home"))
    shown = subprocess.check_output(["ssh-keygen", "-l", "-f", file], text=True)
    bits, printed, comment = shown.split(maxsplit=2)
    assert bits == str(key.key_size)
    assert printed == fingerprint(public_blob(public))
    assert comment.startswith("Ada at home (")


@given(octets=st.binary(max_size=12))
def test_whatever_a_blob_begins_with_its_type_is_a_text(octets: bytes):
    assert isinstance(key_type(octets), str)


# --- signatures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "name", "alg"),
    [
        (2, b"rsa-sha2-256", TPM_ALG.SHA256),
        (4, b"rsa-sha2-512", TPM_ALG.SHA512),
        (6, b"rsa-sha2-256", TPM_ALG.SHA256),
    ],
)
def test_the_flags_of_an_rsa_key_choose_the_hash_as_in_openssh(
    flags: int, name: bytes, alg: TPM_ALG
):
    algorithm = signature_algorithm(rsa_public(2**2047), flags)
    assert algorithm.name == name
    assert algorithm.tpm_scheme.scheme is TPM_ALG.RSASSA
    assert algorithm.tpm_scheme.details.hashAlg is alg
    assert algorithm.digest(b"data") == hashlib.new(alg.name.lower(), b"data").digest()


@every_curve
def test_the_curve_chooses_the_hash_of_an_ecdsa_signature(curve: TPM_ECC):
    algorithm = signature_algorithm(ecc_key(curve, 3)[1], 0)
    assert algorithm.name == b"ecdsa-sha2-nistp%d" % CURVES[curve][0].key_size
    assert algorithm.tpm_scheme.scheme is TPM_ALG.ECDSA
    assert algorithm.tpm_scheme.details.hashAlg is CURVES[curve][1]
    name = CURVES[curve][1].name.lower()
    assert algorithm.digest(b"data") == hashlib.new(name, b"data").digest()


@pytest.mark.parametrize("flags", [0, 1, 3, 5, 7, 8, 10, 12, 1 << 31, 0xFFFFFFFF])
def test_flags_that_mean_no_good_signature_are_refused_for_an_rsa_key(flags: int):
    with pytest.raises(UnsupportedKeyError):
        signature_algorithm(rsa_public(2**2047), flags)


@every_curve
@pytest.mark.parametrize("flags", [1, 2, 4, 6, 8, 1 << 31, 0xFFFFFFFF])
def test_any_flag_is_refused_for_an_ecdsa_key(curve: TPM_ECC, flags: int):
    with pytest.raises(UnsupportedKeyError, match="mean nothing to an ECDSA key"):
        signature_algorithm(ecc_key(curve, 3)[1], flags)


def test_there_is_no_algorithm_for_other_keys():
    for public in (KEYEDHASH, ecc_public(TPM_ECC.BN_P256, b"\1", b"\2")):
        with pytest.raises(UnsupportedKeyError, match="SSH has no use"):
            signature_algorithm(public, 2)


def sshsig(public: bytes, hash_name: bytes, digest: bytes) -> tuple[bytes, Callable[[bytes], str]]:
    """Write what is signed for a file, and what writes the signature's file.  [PROTOCOL.sshsig]"""
    namespace, reserved = string(b"file"), string(b"")
    to_sign = b"SSHSIG" + namespace + reserved + string(hash_name) + string(digest)

    def armoured(signature: bytes) -> str:
        body = b"SSHSIG" + (1).to_bytes(4, "big") + string(public)
        body += namespace + reserved + string(hash_name) + string(signature)
        lines = base64.encodebytes(body).decode()
        return f"-----BEGIN SSH SIGNATURE-----\n{lines}-----END SSH SIGNATURE-----\n"

    return to_sign, armoured


def openssh_verifies(directory: Path, line: str, text: bytes, signature: str) -> bool:
    (directory / "allowed").write_text(f"ada {line}\n")
    (directory / "text.sig").write_text(signature)
    command = ["ssh-keygen", "-Y", "verify", "-n", "file", "-I", "ada"]
    command += ["-f", str(directory / "allowed"), "-s", str(directory / "text.sig")]
    return subprocess.run(command, input=text, capture_output=True, check=False).returncode == 0


def ecdsa_signature(curve: TPM_ECC, der: bytes) -> TPMT_SIGNATURE:
    """Make the TPM's form of a signature, as long as the curve or as short as it goes."""
    r, s = decode_dss_signature(der)
    size = (CURVES[curve][0].key_size + 7) // 8
    numbers = TPMS_SIGNATURE_ECC(
        hash=CURVES[curve][1],
        signatureR=r.to_bytes(size, "big"),
        signatureS=s.to_bytes((s.bit_length() + 7) // 8, "big"),
    )
    return TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=numbers)


@every_curve
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(lambda bits, size: bits % 8 == 0, id="that wants a zero before it"),
        pytest.param(lambda bits, size: bits % 8 != 0, id="that wants none"),
        pytest.param(lambda bits, size: bits <= 8 * size - 8, id="that is short"),
    ],
)
def test_openssh_verifies_an_ecdsa_signature_with_a_number(
    curve: TPM_ECC, wanted: Callable[[int, int], bool], tmp_path: Path
):
    need("ssh-keygen")
    key, public = ecc_key(curve, 0xC0FFEE)
    blob, size = public_blob(public), (key.key_size + 7) // 8
    to_sign, armoured = sshsig(blob, b"sha512", hashlib.sha512(b"text").digest())
    bits = -1
    while bits < 0 or not wanted(bits, size):
        der = key.sign(to_sign, ec.ECDSA(CURVES[curve][2]))
        bits = decode_dss_signature(der)[0].bit_length()
    made = signature_blob(signature_algorithm(public, 0), ecdsa_signature(curve, der))
    line = public_line(blob, "")
    assert openssh_verifies(tmp_path, line, b"text", armoured(made))
    assert not openssh_verifies(tmp_path, line, b"test", armoured(made))


@pytest.mark.parametrize("flags", RSA_HASHES)
def test_openssh_verifies_an_rsa_signature(flags: int, tmp_path: Path):
    need("ssh-keygen")
    alg, hash_, _ = RSA_HASHES[flags]
    public = rsa_public(RSA_KEY.public_key().public_numbers().n)
    blob = public_blob(public)
    to_sign, armoured = sshsig(blob, b"sha256", hashlib.sha256(b"text").digest())
    octets = RSA_KEY.sign(to_sign, padding.PKCS1v15(), hash_)
    made = signature_blob(signature_algorithm(public, flags), rsa_signature(alg, octets))
    line = public_line(blob, "")
    assert openssh_verifies(tmp_path, line, b"text", armoured(made))
    assert not openssh_verifies(tmp_path, line, b"test", armoured(made))


def rsa_signature(alg: TPM_ALG, octets: bytes) -> TPMT_SIGNATURE:
    return TPMT_SIGNATURE(sigAlg=TPM_ALG.RSASSA, signature=TPMS_SIGNATURE_RSA(hash=alg, sig=octets))


@pytest.mark.parametrize(
    "made",
    [
        rsa_signature(TPM_ALG.SHA512, b"s"),
        rsa_signature(TPM_ALG.SHA256, b"s").replace(sigAlg=TPM_ALG.RSAPSS),
        TPMT_SIGNATURE(
            sigAlg=TPM_ALG.ECDSA,
            signature=TPMS_SIGNATURE_ECC(hash=TPM_ALG.SHA256, signatureR=b"\1", signatureS=b"\2"),
        ),
        TPMT_SIGNATURE(
            sigAlg=TPM_ALG.HMAC, signature=TPMT_HA(hashAlg=TPM_ALG.SHA256, digest=bytes(32))
        ),
        TPMT_SIGNATURE(sigAlg=TPM_ALG.NULL),
    ],
    ids=["another hash", "another scheme", "ECDSA", "HMAC", "none"],
)
def test_a_signature_of_another_kind_than_was_asked_for_is_refused(made: TPMT_SIGNATURE):
    algorithm = signature_algorithm(rsa_public(2**2047), 2)
    with pytest.raises(UnsupportedKeyError, match="is not what was asked for"):
        signature_blob(algorithm, made)
