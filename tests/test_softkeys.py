"""Keys outside a TPM: their areas, against what a TPM accepts, has and signs with."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from softkeys import KINDS, key_of
from test_duplication import DIGEST, check_signature, scheme_of

from tpmwire import signatures, templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RC
from tpmwire.errors import DecodeError, EncodeError, TpmError
from tpmwire.pem import read_private_key, read_public_key
from tpmwire.softkeys import (
    check_binding,
    private_key_of,
    public_of,
    sensitive_of,
    sign,
)
from tpmwire.types import (
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_RSA_PARMS,
    TPMS_SYMCIPHER_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
    TPMT_SYM_DEF_OBJECT,
)

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
SIGNING = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_and_its_areas_are_one_and_the_same(kind: str):
    key = key_of(kind)
    public, sensitive = public_of(key), sensitive_of(key, b"pin")
    assert private_key_of(sensitive, public).private_numbers().public_numbers == (
        key.public_key().public_numbers()
    )
    assert public_of(key.public_key()) == public
    assert sensitive.authValue == b"pin"
    check_binding(sensitive, public)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tpm_loads_the_areas_and_signs_with_the_key(kind: str, tpm: Tpm):
    key = key_of(kind)
    with tpm.load_external(public_of(key), sensitive_of(key)) as loaded:
        check_signature(key, loaded.sign(DIGEST, scheme_of(key)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tpm_refuses_areas_that_do_not_belong_together_and_so_do_we(kind: str, tpm: Tpm):
    other = public_of(key_of(kind, 1))
    sensitive = sensitive_of(key_of(kind))
    with pytest.raises(DecodeError, match="not that of the public one"):
        private_key_of(sensitive, other)
    with pytest.raises(DecodeError, match="not that of the public one"):
        check_binding(sensitive, other)
    with pytest.raises(TpmError) as caught, tpm.load_external(other, sensitive):
        pass
    assert caught.value.code == TPM_RC.BINDING


@given(st.integers(1, 2**40) | st.integers(1, ORDER - 1))
def test_row_11_scalars_and_coordinates_are_as_long_as_the_field(scalar: int):
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    sensitive, public = sensitive_of(key), public_of(key)
    assert sensitive.sensitive == scalar.to_bytes(32, "big")
    assert isinstance(public.unique, TPMS_ECC_POINT)
    assert len(public.unique.x) == len(public.unique.y) == 32
    assert private_key_of(sensitive, public).private_numbers() == key.private_numbers()


def test_a_short_coordinate_gets_its_zeros_and_a_tpm_agrees(tpm: Tpm):
    numbers = range(1, 1000)
    keys = (ec.derive_private_key(n, ec.SECP256R1()) for n in numbers)
    key = next(key for key in keys if key.public_key().public_numbers().x < 2**248)
    public = public_of(key)
    assert isinstance(public.unique, TPMS_ECC_POINT)
    assert public.unique.x[:1] == b"\0"
    with tpm.load_external(public, sensitive_of(key)) as loaded:
        check_signature(key, loaded.sign(DIGEST, scheme_of(key)))
    # A TPM that leaves out the zeros has the same key.
    short = public.replace(unique=public.unique.replace(x=public.unique.x.lstrip(b"\0")))
    assert private_key_of(sensitive_of(key), short).private_numbers() == key.private_numbers()


def test_a_number_of_521_bits_takes_66_octets():
    sensitive, public = sensitive_of(key_of("P-521")), public_of(key_of("P-521"))
    assert isinstance(public.unique, TPMS_ECC_POINT)
    assert {len(sensitive.sensitive), len(public.unique.x), len(public.unique.y)} == {66}
    assert isinstance(public.parameters, TPMS_ECC_PARMS)
    assert public.parameters.curveID == TPM_ECC.NIST_P521


def test_an_rsa_key_has_one_prime_and_the_usual_exponent_as_zero():
    key = key_of("RSA-2048")
    sensitive, public = sensitive_of(key), public_of(key)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert isinstance(public.parameters, TPMS_RSA_PARMS)
    assert int.from_bytes(sensitive.sensitive, "big") == key.private_numbers().p
    assert len(sensitive.sensitive) == 128
    assert (public.parameters.exponent, public.parameters.keyBits) == (0, 2048)
    assert public.unique == key.public_key().public_numbers().n.to_bytes(256, "big")


def test_either_prime_gives_the_key():
    key = key_of("RSA-1024")
    assert isinstance(key, rsa.RSAPrivateKey)
    other = key.private_numbers().q.to_bytes(64, "big")
    sensitive = sensitive_of(key).replace(sensitive=other)
    found = private_key_of(sensitive, public_of(key))
    assert found.private_numbers().public_numbers == key.public_key().public_numbers()


def test_another_exponent_is_told():
    key = rsa.generate_private_key(3, 1024)
    public = public_of(key)
    assert isinstance(public.parameters, TPMS_RSA_PARMS)
    assert public.parameters.exponent == 3
    found = private_key_of(sensitive_of(key), public)
    assert found.private_numbers().public_numbers == key.public_key().public_numbers()


def test_what_no_tpm_can_have_is_an_encode_error():
    for key in (
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 1032),
        rsa.RSAPublicNumbers(2**33 + 1, 2**2047 + 1).public_key(),
    ):
        with pytest.raises(EncodeError, match="no TPM has"):
            public_of(key)
    with pytest.raises(EncodeError, match="primes"):
        sensitive_of(rsa.generate_private_key(65537, 1032))


@pytest.mark.parametrize("secret", [b"", b"\0", b"\1", b"\2", b"\xff" * 128, bytes(64)])
@pytest.mark.parametrize("kind", ["RSA-1024", "P-256"])
def test_what_is_no_secret_of_a_key_is_refused_without_telling_it(kind: str, secret: bytes):
    public, sensitive = public_of(key_of(kind)), sensitive_of(key_of(kind))
    with pytest.raises(DecodeError) as caught:
        private_key_of(sensitive.replace(sensitive=secret), public)
    assert str(caught.value) == "the sensitive area is not that of the public one"


def test_the_modulus_itself_is_no_prime():
    public, sensitive = public_of(key_of("RSA-1024")), sensitive_of(key_of("RSA-1024"))
    with pytest.raises(DecodeError, match="not that of the public one"):
        private_key_of(sensitive.replace(sensitive=public.unique), public)


def test_areas_of_different_types_are_refused():
    ecc, rsa_key = key_of("P-256"), key_of("RSA-1024")
    for sensitive, public in (
        (sensitive_of(ecc), public_of(rsa_key)),
        (sensitive_of(rsa_key), public_of(ecc)),
    ):
        with pytest.raises(DecodeError, match="of another type"):
            private_key_of(sensitive, public)
        with pytest.raises(DecodeError, match="of another type"):
            check_binding(sensitive, public)


def cipher_object(key: bytes, seed: bytes) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """An AES key that was made outside a TPM."""
    symmetric = TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.AES, keyBits=128, mode=TPM_ALG.CFB)
    public = TPMT_PUBLIC(
        type=TPM_ALG.SYMCIPHER,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=SIGNING | TPMA_OBJECT.decrypt,
        parameters=TPMS_SYMCIPHER_PARMS(sym=symmetric),
        unique=hashlib.sha256(seed + key).digest(),
    )
    sensitive = TPMT_SENSITIVE(sensitiveType=public.type, seedValue=seed, sensitive=key)
    return public, sensitive


def test_a_symmetric_key_is_bound_by_its_digest_as_a_tpm_has_it(tpm: Tpm):
    public, sensitive = cipher_object(bytes(range(16)), bytes(range(32)))
    check_binding(sensitive, public)
    with tpm.load_external(public, sensitive):
        pass
    for wrong in (
        sensitive.replace(sensitive=bytes(16)),
        sensitive.replace(seedValue=bytes(32)),
        sensitive.replace(seedValue=b""),
    ):
        with pytest.raises(DecodeError, match="not that of the public one"):
            check_binding(wrong, public)
    with pytest.raises(DecodeError, match="has no private key"):
        private_key_of(sensitive, public)


def test_the_areas_of_a_key_show_no_secret():
    key = key_of("P-256")
    sensitive = sensitive_of(key, b"a long pin", b"a seed of storage")
    for value in (sensitive.sensitive, b"a long pin", b"a seed of storage"):
        assert repr(value)[2:-1] not in repr(sensitive)


def test_an_imported_key_does_not_pretend_to_have_been_made_by_a_tpm():
    assert not public_of(key_of("P-256")).objectAttributes & TPMA_OBJECT.sensitiveDataOrigin
    assert templates.ECC_SIGN.objectAttributes & TPMA_OBJECT.sensitiveDataOrigin


# --- files of other programs ------------------------------------------------------------------


def written(tmp_path: Path, *command: str) -> bytes:
    """Run a program of OpenSSL or OpenSSH that writes a key into the file `key`."""
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return (tmp_path / "key").read_bytes()


def openssl_key(tmp_path: Path, algorithm: str, *options: str) -> bytes:
    command = ("openssl", "genpkey", "-quiet", "-algorithm", algorithm, *options, "-out", "key")
    return written(tmp_path, *command)


P256 = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")


@pytest.mark.parametrize("algorithm", [P256, ("RSA",)], ids=["p256", "rsa"])
def test_what_a_read_key_signs_openssl_verifies(tmp_path: Path, algorithm: tuple[str, ...]):
    key = read_private_key(openssl_key(tmp_path, *algorithm))
    written(tmp_path, "openssl", "pkey", "-in", "key", "-pubout", "-out", "key.pub")
    public = (tmp_path / "key.pub").read_bytes()
    assert public_of(read_public_key(public)) == public_of(key)
    made = sign(key, b"text", TPM_ALG.SHA384)
    assert signatures.verify(public_of(key), b"text", made) == TPM_ALG.SHA384
    (tmp_path / "text").write_bytes(b"text")
    details: Any = made.signature
    if made.sigAlg == TPM_ALG.RSASSA:
        octets = details.sig
    else:
        numbers = (details.signatureR, details.signatureS)
        octets = encode_dss_signature(*(int.from_bytes(n, "big") for n in numbers))
    (tmp_path / "signature").write_bytes(octets)
    verify = ("-sha384", "-verify", "key.pub", "-signature", "signature", "text")
    written(tmp_path, "openssl", "dgst", *verify)


@pytest.mark.parametrize("bits", ["256", "384", "521"])
def test_keys_are_read_as_openssh_writes_them(tmp_path: Path, bits: str):
    generate = ("ssh-keygen", "-q", "-t", "ecdsa", "-b", bits, "-N", "", "-f", "key")
    key = read_private_key(written(tmp_path, *generate))
    assert public_of(read_public_key((tmp_path / "key.pub").read_bytes())) == public_of(key)
