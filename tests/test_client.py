"""Executing commands on a TPM, and objects that are flushed on every way out."""

import dataclasses
import errno
import hashlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from between import (
    FAULTS,
    Between,
    Meddle,
    Send,
    interrupt_before,
    only_at,
    only_with,
)
from conftest import LOADED_OBJECTS, Swtpm, forgive, handles, left_loaded
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peers import PATIENCE, at_work, received

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT, TPMA_SESSION
from tpmwire.client import TRIES, Tpm
from tpmwire.commands import (
    CreatePrimary,
    CreateResponse,
    EvictControl,
    FlushContext,
    GetRandom,
    LoadExternal,
    ReadPublic,
    SelfTest,
    TestParms,
    VerifySignature,
    unpack_response,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_ECC, TPM_RC, TPM_RH, TPM_ST
from tpmwire.errors import (
    DecodeError,
    EncodeError,
    SessionError,
    TpmError,
    TpmWarning,
    TransportError,
)
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_AUTH_COMMAND,
    TPMS_AUTH_RESPONSE,
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_SCHEME_HASH,
    TPMS_SCHEME_XOR,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_PUBLIC_PARMS,
    TPMT_SENSITIVE,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)

PERSISTENT = 0x81000010
NO_DA = templates.without_lockout(templates.ECC_SIGN)
HASHES = {
    TPM_ALG.SHA256: hashes.SHA256(),
    TPM_ALG.SHA384: hashes.SHA384(),
    TPM_ALG.SHA512: hashes.SHA512(),
}
CURVES = {
    TPM_ECC.NIST_P256: ec.SECP256R1(),
    TPM_ECC.NIST_P384: ec.SECP384R1(),
    TPM_ECC.NIST_P521: ec.SECP521R1(),
}


def scheme_of(alg: TPM_ALG, hash_alg: TPM_ALG = TPM_ALG.SHA256) -> TPMT_SIG_SCHEME:
    return TPMT_SIG_SCHEME(scheme=alg, details=TPMS_SCHEME_HASH(hashAlg=hash_alg))


ECDSA = scheme_of(TPM_ALG.ECDSA)

# --- other people's cryptography --------------------------------------------------------------


def verify(public: TPMT_PUBLIC, digest: bytes, made: TPMT_SIGNATURE) -> None:
    """Verify a signature with `cryptography`; InvalidSignature."""
    hash_alg = Prehashed(HASHES[made.signature.hash])
    if public.type == TPM_ALG.ECC:
        point = [int.from_bytes(each, "big") for each in (public.unique.x, public.unique.y)]
        key = ec.EllipticCurvePublicNumbers(*point, CURVES[public.parameters.curveID]).public_key()
        numbers = made.signature.signatureR, made.signature.signatureS
        der = encode_dss_signature(*(int.from_bytes(each, "big") for each in numbers))
        key.verify(der, digest, ec.ECDSA(hash_alg))
        return
    schemes = {
        TPM_ALG.RSASSA: padding.PKCS1v15(),
        TPM_ALG.RSAPSS: padding.PSS(padding.MGF1(hash_alg._algorithm), padding.PSS.AUTO),
    }
    modulus = int.from_bytes(public.unique, "big")
    exponent = public.parameters.exponent or 65537
    rsa_key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    rsa_key.verify(made.signature.sig, digest, schemes[made.sigAlg], hash_alg)


def ecc_pair(
    key: ec.EllipticCurvePrivateKey, template: TPMT_PUBLIC
) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """Write a key of `cryptography` as a TPM has it."""
    size = (key.curve.key_size + 7) // 8
    numbers = key.private_numbers()
    point = TPMS_ECC_POINT(
        x=numbers.public_numbers.x.to_bytes(size, "big"),
        y=numbers.public_numbers.y.to_bytes(size, "big"),
    )
    scalar = numbers.private_value.to_bytes(size, "big")
    sensitive = TPMT_SENSITIVE(sensitiveType=TPM_ALG.ECC, sensitive=scalar)
    return template.replace(unique=point), sensitive


def rsa_pair(key: rsa.RSAPrivateKey, template: TPMT_PUBLIC) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    numbers = key.private_numbers()
    size = key.key_size // 8
    sensitive = TPMT_SENSITIVE(
        sensitiveType=TPM_ALG.RSA, sensitive=numbers.p.to_bytes(size // 2, "big")
    )
    return template.replace(unique=numbers.public_numbers.n.to_bytes(size, "big")), sensitive


EXTERNAL = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign


def external(template: TPMT_PUBLIC) -> TPMT_PUBLIC:
    """Copy a template for a key that was made outside the TPM."""
    return template.replace(objectAttributes=EXTERNAL)


ECC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ECC_PUBLIC, ECC_SENSITIVE = ecc_pair(ECC_KEY, external(templates.ECC_SIGN))
RSA_PUBLIC, RSA_SENSITIVE = rsa_pair(RSA_KEY, external(templates.RSA_SIGN))


# --- signatures -------------------------------------------------------------------------------


@contextmanager
def child(tpm: Tpm, template: TPMT_PUBLIC, auth: bytes = b"") -> Iterator[LoadedObject]:
    """Make and load a key under the storage root key, without keeping that loaded."""
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(template, auth)
        loaded = srk.load(made.outPrivate, made.outPublic, auth)
    with loaded:
        yield loaded


def is_supported(tpm: Tpm, template: TPMT_PUBLIC) -> bool:
    parms = TPMT_PUBLIC_PARMS(type=template.type, parameters=template.parameters)
    try:
        tpm.execute(TestParms(parameters=parms))
    except TpmError:
        return False
    return True


KEYS = {
    "P-256": (templates.ecc_sign(TPM_ECC.NIST_P256), [TPM_ALG.ECDSA]),
    "P-384": (templates.ecc_sign(TPM_ECC.NIST_P384), [TPM_ALG.ECDSA]),
    "P-521": (templates.ecc_sign(TPM_ECC.NIST_P521), [TPM_ALG.ECDSA]),
    "RSA-2048": (templates.rsa_sign(2048), [TPM_ALG.RSASSA, TPM_ALG.RSAPSS]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_signature_of_any_digest_verifies_and_no_other(kind: str, tpm: Tpm):
    template, algs = KEYS[kind]
    if not is_supported(tpm, template):
        assert kind == "P-521"  # the one that a TPM may lack
        return
    with child(tpm, template) as key:
        for scheme in [scheme_of(alg, hash_alg) for alg in algs for hash_alg in HASHES]:
            check_signatures(key, scheme)


def check_signatures(key: LoadedObject, scheme: TPMT_SIG_SCHEME) -> None:
    size = HASHES[scheme.details.hashAlg].digest_size

    @settings(max_examples=10)
    @given(st.binary(min_size=size, max_size=size), st.integers(0, 127))
    def check(digest: bytes, bit: int) -> None:
        made = key.sign(digest, scheme)
        assert (made.sigAlg, made.signature.hash) == (scheme.scheme, scheme.details.hashAlg)
        verify(key.public, digest, made)
        with pytest.raises(InvalidSignature):
            # One of the first bits: ECDSA takes no more of them than its curve has.
            verify(key.public, flipped(digest, 8 * size - 1 - bit), made)

    check()


def flipped(data: bytes, bit: int) -> bytes:
    """Return the same octets with one bit of them turned."""
    number = int.from_bytes(data, "big") ^ 1 << bit
    return number.to_bytes(len(data), "big")


def test_a_key_bound_to_a_scheme_needs_none_named(tpm: Tpm):
    parameters = NO_DA.parameters.replace(
        scheme=TPMT_ECC_SCHEME(
            scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256)
        )
    )
    with child(tpm, NO_DA.replace(parameters=parameters)) as key:
        verify(key.public, bytes(32), key.sign(bytes(32)))


def test_a_key_bound_to_no_scheme_does_not_sign_without_one(tpm: Tpm):
    with child(tpm, NO_DA) as key, pytest.raises(TpmError) as caught:
        key.sign(bytes(32))
    error = caught.value
    assert (error.code, error.subject, error.index) == (TPM_RC.SCHEME, "parameter", 2)


@pytest.mark.parametrize(
    ("public", "alg"),
    [
        (ECC_PUBLIC, TPM_ALG.ECDSA),
        (RSA_PUBLIC, TPM_ALG.RSASSA),
        (RSA_PUBLIC, TPM_ALG.RSAPSS),
    ],
)
def test_the_tpm_verifies_what_others_have_signed_and_refuses_a_flipped_bit(
    public: TPMT_PUBLIC, alg: TPM_ALG, tpm: Tpm
):
    @settings(max_examples=10)
    @given(data=st.binary(max_size=100), bit=st.integers(0, 200))
    def check(data: bytes, bit: int) -> None:
        digest = hashlib.sha256(data).digest()
        made = signed_elsewhere(alg, digest)
        right = VerifySignature(keyHandle=key, digest=digest, signature=made)
        assert tpm.execute(right).validation.tag == TPM_ST.VERIFIED
        assert is_no_signature(tpm, right.replace(digest=flipped(digest, bit)))
        assert is_no_signature(tpm, right.replace(signature=wounded(made, bit)))

    with tpm.load_external(public) as key:
        check()


def is_no_signature(tpm: Tpm, command: VerifySignature) -> bool:
    with pytest.raises(TpmError) as caught:
        tpm.execute(command)
    error = caught.value
    return (error.code, error.subject, error.index) == (TPM_RC.SIGNATURE, "parameter", 2)


def signed_elsewhere(alg: TPM_ALG, digest: bytes) -> TPMT_SIGNATURE:
    """Sign with `cryptography`."""
    sha256 = Prehashed(hashes.SHA256())
    if alg == TPM_ALG.ECDSA:
        numbers = decode_dss_signature(ECC_KEY.sign(digest, ec.ECDSA(sha256)))
        r, s = (number.to_bytes(32, "big") for number in numbers)
        ecc = TPMS_SIGNATURE_ECC(hash=TPM_ALG.SHA256, signatureR=r, signatureS=s)
        return TPMT_SIGNATURE(sigAlg=alg, signature=ecc)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    sig = RSA_KEY.sign(digest, pss if alg == TPM_ALG.RSAPSS else padding.PKCS1v15(), sha256)
    return TPMT_SIGNATURE(sigAlg=alg, signature=TPMS_SIGNATURE_RSA(hash=TPM_ALG.SHA256, sig=sig))


def wounded(made: TPMT_SIGNATURE, bit: int) -> TPMT_SIGNATURE:
    field = "signatureS" if made.sigAlg == TPM_ALG.ECDSA else "sig"
    changed = made.signature.replace(**{field: flipped(made.signature[field], bit)})
    return made.replace(signature=changed)


# --- Names ------------------------------------------------------------------------------------

FREE = st.sampled_from(
    [0, *(TPMA_OBJECT[n] for n in ("userWithAuth", "adminWithPolicy", "noDA", "stClear"))]
)
FIXED = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent
HASH_ALGS = st.sampled_from([TPM_ALG.SHA1, *HASHES])
AES = st.builds(
    TPMT_SYM_DEF_OBJECT,
    algorithm=st.just(TPM_ALG.AES),
    keyBits=st.sampled_from([128, 256]),
    mode=st.just(TPM_ALG.CFB),
)
NO_CIPHER = st.just(TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.NULL))
SIGNS, DECRYPTS = TPMA_OBJECT.sign, TPMA_OBJECT.decrypt
STORES = DECRYPTS | TPMA_OBJECT.restricted


def by_hash(alg: TPM_ALG, scheme: type) -> st.SearchStrategy[Any]:
    """Schemes of one algorithm with any hash."""
    details = st.builds(TPMS_SCHEME_HASH, hashAlg=HASH_ALGS)
    return st.builds(scheme, scheme=st.just(alg), details=details)


NO_ECC_SCHEME = st.just(TPMT_ECC_SCHEME(scheme=TPM_ALG.NULL))
NO_KEYEDHASH_SCHEME = st.just(TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL))
HMAC = by_hash(TPM_ALG.HMAC, TPMT_KEYEDHASH_SCHEME)
XOR = st.builds(
    TPMT_KEYEDHASH_SCHEME,
    scheme=st.just(TPM_ALG.XOR),
    details=st.builds(TPMS_SCHEME_XOR, hashAlg=HASH_ALGS, kdf=st.just(TPM_ALG.KDF1_SP800_108)),
)


def ecc_parms(scheme: Any, symmetric: Any) -> st.SearchStrategy[Any]:
    base = templates.ECC_SIGN.parameters
    curves = st.sampled_from([TPM_ECC.NIST_P256, TPM_ECC.NIST_P384])
    return st.builds(base.replace, scheme=scheme, symmetric=symmetric, curveID=curves)


def keyedhash_parms(scheme: Any) -> st.SearchStrategy[Any]:
    return st.builds(TPMS_KEYEDHASH_PARMS, scheme=scheme)


# A use, a type of object, and parameters for it; most of them, with most attributes, are accepted.
USES = [
    (SIGNS, TPM_ALG.ECC, ecc_parms(NO_ECC_SCHEME, NO_CIPHER)),
    (SIGNS, TPM_ALG.ECC, ecc_parms(by_hash(TPM_ALG.ECDSA, TPMT_ECC_SCHEME), NO_CIPHER)),
    (
        SIGNS | TPMA_OBJECT.restricted,
        TPM_ALG.ECC,
        ecc_parms(by_hash(TPM_ALG.ECDSA, TPMT_ECC_SCHEME), NO_CIPHER),
    ),
    (SIGNS | DECRYPTS, TPM_ALG.ECC, ecc_parms(NO_ECC_SCHEME, NO_CIPHER)),
    (DECRYPTS, TPM_ALG.ECC, ecc_parms(by_hash(TPM_ALG.ECDH, TPMT_ECC_SCHEME), NO_CIPHER)),
    (STORES, TPM_ALG.ECC, ecc_parms(NO_ECC_SCHEME, AES)),
    (SIGNS, TPM_ALG.KEYEDHASH, keyedhash_parms(HMAC)),
    (DECRYPTS, TPM_ALG.KEYEDHASH, keyedhash_parms(XOR)),
    (SIGNS | DECRYPTS, TPM_ALG.KEYEDHASH, keyedhash_parms(NO_KEYEDHASH_SCHEME)),
    (SIGNS | DECRYPTS, TPM_ALG.SYMCIPHER, st.builds(TPMS_SYMCIPHER_PARMS, sym=AES)),
    (STORES, TPM_ALG.SYMCIPHER, st.builds(TPMS_SYMCIPHER_PARMS, sym=AES)),
]


@st.composite
def public_areas(draw: st.DrawFn) -> TPMT_PUBLIC:
    """Templates that a TPM may accept."""
    use, kind, parameters = draw(st.sampled_from(USES))
    name_alg = draw(HASH_ALGS)
    size = hashlib.new(name_alg.name).digest_size
    attributes = use | TPMA_OBJECT.sensitiveDataOrigin | draw(st.sampled_from([FIXED, 0]))
    for _ in range(3):
        attributes |= draw(FREE)
    return TPMT_PUBLIC(
        type=kind,
        nameAlg=name_alg,
        objectAttributes=attributes,
        authPolicy=draw(st.just(b"") | st.binary(min_size=size, max_size=size)),
        parameters=draw(parameters),
        unique=TPMS_ECC_POINT() if kind == TPM_ALG.ECC else b"",
    )


def test_the_name_of_whatever_the_tpm_accepts_is_the_one_that_we_compute(tpm: Tpm):
    made_kinds = set()

    @settings(max_examples=100)
    @given(public_areas())
    def check(template: TPMT_PUBLIC) -> None:
        try:
            made = tpm.execute(CreatePrimary(primaryHandle=TPM_RH.NULL, inPublic=template))
        except TpmError:
            assume(False)
        read = tpm.execute(ReadPublic(objectHandle=made.objectHandle))
        tpm.execute(FlushContext(flushHandle=made.objectHandle))
        assert object_name(made.outPublic) == made.name == read.name
        assert read.outPublic == made.outPublic
        assert made.outPublic.replace(unique=template.unique) == template
        made_kinds.add(template.type)

    check()
    assert made_kinds == {TPM_ALG.ECC, TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER}


@pytest.mark.parametrize("public", [ECC_PUBLIC, RSA_PUBLIC], ids=["ECC", "RSA"])
def test_so_is_that_of_whatever_key_comes_from_outside(public: TPMT_PUBLIC, tpm: Tpm):
    flags = st.sampled_from([0, *(flag for flag in TPMA_OBJECT if flag not in FIXED)])

    @settings(max_examples=60)
    @given(st.lists(flags, max_size=4), HASH_ALGS, st.binary(max_size=64))
    def check(chosen: list[int], name_alg: TPM_ALG, policy: bytes) -> None:
        size = hashlib.new(name_alg.name).digest_size
        attributes = TPMA_OBJECT(0)
        for flag in chosen:
            attributes |= flag
        changed = public.replace(
            objectAttributes=attributes,
            nameAlg=name_alg,
            authPolicy=policy.ljust(size, b"\0")[:size] if policy else b"",
        )
        try:
            key = tpm.load_external(changed)
        except TpmError:
            assume(False)
        with key:
            read = tpm.execute(ReadPublic(objectHandle=key))
        assert read.name == key.name == object_name(changed)
        assert read.outPublic == changed

    check()


def test_an_object_without_a_name_algorithm_has_no_name(tpm: Tpm):
    with tpm.load_external(RSA_PUBLIC.replace(nameAlg=TPM_ALG.NULL)) as key:
        assert key.name == b""
        assert tpm.execute(ReadPublic(objectHandle=key)).name == b""


# --- objects ----------------------------------------------------------------------------------


def changed_auth(tpm: Tpm, template: TPMT_PUBLIC) -> tuple[CreateResponse, bytes]:
    """Make a key with the PIN "old"; return it, and its private part with the PIN "new"."""
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(template, auth=b"old")
        with srk.load(made.outPrivate, made.outPublic, auth=b"old") as key:
            return made, key.change_auth(srk, b"new")


@pytest.mark.parametrize(
    ("template", "refusal"), [(templates.ECC_SIGN, 0x98E), (NO_DA, 0x9A2)], ids=["DA", "noDA"]
)
def test_a_changed_pin_opens_the_new_private_part_and_the_old_pin_does_not(
    template: TPMT_PUBLIC, refusal: int, tpm: Tpm
):
    made, private = changed_auth(tpm, template)
    with tpm.create_primary(templates.ECC_SRK) as srk:
        with srk.load(private, made.outPublic, auth=b"new") as key:
            verify(key.public, bytes(32), key.sign(bytes(32), ECDSA))
        with srk.load(private, made.outPublic, auth=b"old") as key:
            with pytest.raises(TpmError) as caught:
                key.sign(bytes(32), ECDSA)
            assert caught.value.raw == refusal
        with srk.load(made.outPrivate, made.outPublic, auth=b"old") as key:
            key.sign(bytes(32), ECDSA)  # an old copy stays what it was
    forgive(tpm)


def test_a_pin_is_not_changed_by_who_does_not_know_it(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(NO_DA, auth=b"old")
        with srk.load(made.outPrivate, made.outPublic, auth=b"guess") as key:
            with pytest.raises(TpmError) as caught:
                key.change_auth(srk, b"new")
            assert caught.value.raw == 0x9A2


def test_data_is_sealed_under_an_object(tpm: Tpm):
    sealed = TPMT_PUBLIC(
        type=TPM_ALG.KEYEDHASH,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=FIXED | TPMA_OBJECT.userWithAuth,
        parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
        unique=b"",
    )
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(sealed, auth=b"pin", data=b"secret")
        with srk.load(made.outPrivate, made.outPublic) as loaded:
            unseal = "8002 0000001e 0000015e %08x 0000000c 40000009 0000 00 0003 70696e"
            answer = tpm._transport.send(bytes.fromhex(unseal % loaded.handle))
            assert b"\0\6secret" in answer


@pytest.mark.parametrize(
    ("public", "sensitive", "scheme"),
    [
        (ECC_PUBLIC, ECC_SENSITIVE, ECDSA),
        (RSA_PUBLIC, RSA_SENSITIVE, scheme_of(TPM_ALG.RSASSA)),
        (RSA_PUBLIC, RSA_SENSITIVE, scheme_of(TPM_ALG.RSAPSS)),
    ],
    ids=["ECDSA", "RSASSA", "RSAPSS"],
)
def test_a_key_made_elsewhere_signs_in_the_tpm(
    public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE, scheme: TPMT_SIG_SCHEME, tpm: Tpm
):
    with tpm.load_external(public, sensitive) as key:
        verify(public, bytes(range(32)), key.sign(bytes(range(32)), scheme))


def test_the_pin_of_a_key_made_elsewhere_is_known_with_it(tpm: Tpm):
    with tpm.load_external(ECC_PUBLIC, ECC_SENSITIVE.replace(authValue=b"pin")) as key:
        verify(ECC_PUBLIC, bytes(32), key.sign(bytes(32), ECDSA))


def test_the_public_part_alone_does_not_sign(tpm: Tpm):
    with tpm.load_external(ECC_PUBLIC) as key, pytest.raises(TpmError):
        key.sign(bytes(32), ECDSA)


def test_a_secret_part_of_another_key_is_refused(tpm: Tpm):
    _, other = ecc_pair(ec.generate_private_key(ec.SECP256R1()), ECC_PUBLIC)
    with pytest.raises(TpmError) as caught:
        tpm.load_external(ECC_PUBLIC, other)
    assert caught.value.code == TPM_RC.BINDING


def test_a_private_part_of_another_parent_is_refused(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(NO_DA)
    endorsement = tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT)
    with endorsement, pytest.raises(TpmError) as caught:
        endorsement.load(made.outPrivate, made.outPublic)
    error = caught.value
    assert (error.code, error.subject, error.index) == (TPM_RC.INTEGRITY, "parameter", 1)


@contextmanager
def persistent_srk(tpm: Tpm) -> Iterator[LoadedObject]:
    with tpm.create_primary(templates.ECC_SRK) as srk:
        keep = EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=PERSISTENT)
        tpm.execute(keep)
        yield srk
    tpm.execute(keep.replace(objectHandle=PERSISTENT))


def test_a_persistent_object_is_used_and_stays(tpm: Tpm):
    with persistent_srk(tpm) as srk:
        for _ in range(2):
            with tpm.persistent(PERSISTENT) as kept:
                assert (kept.handle, kept.name) == (PERSISTENT, srk.name)
                made = kept.create(NO_DA)
                with kept.load(made.outPrivate, made.outPublic) as key:
                    verify(key.public, bytes(32), key.sign(bytes(32), ECDSA))
        kept.flush()
        assert PERSISTENT in handles(tpm, 0x81000000)
    assert PERSISTENT not in handles(tpm, 0x81000000)


def test_a_persistent_object_is_used_with_its_authorization(tpm: Tpm):
    evict = EvictControl(auth=TPM_RH.OWNER, objectHandle=PERSISTENT, persistentHandle=PERSISTENT)
    with child(tpm, NO_DA, auth=b"pin") as key:
        tpm.execute(evict.replace(objectHandle=key))
    try:
        kept = tpm.persistent(PERSISTENT, b"pin")
        verify(kept.public, bytes(32), kept.sign(bytes(32), ECDSA))
        with pytest.raises(TpmError) as caught:
            tpm.persistent(PERSISTENT).sign(bytes(32), ECDSA)
        assert caught.value.raw == 0x9A2
    finally:
        tpm.execute(evict)


def test_a_persistent_object_that_is_not_there_is_a_tpm_error(tpm: Tpm):
    with pytest.raises(TpmError) as caught:
        tpm.persistent(PERSISTENT)
    error = caught.value
    assert (error.code, error.subject, error.index) == (TPM_RC.HANDLE, "handle", 1)


def test_the_authorization_of_a_hierarchy_is_given_with_the_template(tpm: Tpm):
    set_auth = "8002 {:08x} 00000129 4000000b {:08x} 40000009 0000 00 {} {}"
    empty, pin = "0000", "0003 70696e"
    old_to_new = bytes.fromhex(set_auth.format(0x20, 9, empty, pin))
    new_to_old = bytes.fromhex(set_auth.format(0x20, 12, pin, empty))
    assert tpm._transport.send(old_to_new)[6:10] == bytes(4)
    try:
        with pytest.raises(TpmError) as caught:
            tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT)
        assert caught.value.raw == 0x9A2
        with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT, b"pin") as srk:
            srk.create(NO_DA)
    finally:
        assert tpm._transport.send(new_to_old)[6:10] == bytes(4)


def test_the_repr_of_an_object_tells_its_handle_and_name(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as srk:
        srk.auth = b"swordfish"
        assert f"{srk.handle:#010x}" in repr(srk)
        assert srk.name.hex() in repr(srk)
        assert "swordfish" not in repr(srk)


def test_a_value_that_does_not_fit_is_not_sent(tpm: Tpm):
    counting = Between(tpm._transport)
    with pytest.raises(EncodeError, match=r"GetRandom.bytesRequested"):
        Tpm(counting).execute(GetRandom(bytesRequested=0x10000))
    assert counting.sent == []


# --- somebody in between ----------------------------------------------------------------------


class Scripted:
    """A transport whose answers are known before; the last one is given again and again."""

    def __init__(self, answers: Sequence[bytes], *, keeps_objects: bool = False) -> None:
        self._answers, self.keeps_objects = [*answers], keeps_objects
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, command: bytes) -> bytes:
        self.sent.append(command)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def close(self) -> None:
        self.closed = True

    @property
    def codes(self) -> list[int]:
        return [int.from_bytes(command[6:10], "big") for command in self.sent]


def answer_of(code: int) -> bytes:
    return b"\x80\x01\0\0\0\x0a" + code.to_bytes(4, "big")


SUCCESSFUL_LOAD = bytes.fromhex("8001 00000010 00000000 80000000 0000")
RANDOM = bytes.fromhex("8001 0000000e 00000000 0002 abcd")
PUT_OFF = [TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING, TPM_RC.NV_RATE]


def scenario(tpm: Tpm) -> None:
    """Do a bit of everything, with up to three objects loaded."""
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(NO_DA, auth=b"pin")
        with srk.load(made.outPrivate, made.outPublic, auth=b"pin") as key:
            signed = key.sign(bytes(32), ECDSA)
            key.change_auth(srk, b"new")
            with tpm.load_external(made.outPublic) as public:
                command = VerifySignature(keyHandle=public, digest=bytes(32), signature=signed)
                tpm.execute(command)
        tpm.execute(ReadPublic(objectHandle=srk))
        tpm.execute(GetRandom(bytesRequested=8))


def test_what_is_left_loaded_is_seen(swtpm: Swtpm):
    command = CreatePrimary(primaryHandle=TPM_RH.OWNER, inPublic=templates.ECC_SRK)
    no_password = TPMS_AUTH_COMMAND(sessionHandle=TPM_RH.RS_PW)
    with closing(connect(swtpm.conf)) as careless:
        made = CreatePrimary.read(careless.send(command.frame([no_password])))
    assert left_loaded(swtpm) == (made.objectHandle,)
    assert left_loaded(swtpm) == ()


@pytest.mark.parametrize(("fault", "error"), FAULTS, ids=lambda value: value.__name__)
def test_a_fault_at_whatever_command_is_told_and_leaves_nothing_loaded(
    fault: Meddle, error: type[BaseException], swtpm: Swtpm
):
    whole = Between(connect(swtpm.conf))
    with Tpm(whole) as tpm:
        scenario(tpm)
    assert len(whole.sent) == 15  # three of them start sessions for the PIN
    for number in range(1, len(whole.sent) + 1):
        transport = Between(connect(swtpm.conf), only_at(number, fault))
        with pytest.raises(error), Tpm(transport) as tpm:
            scenario(tpm)
        assert left_loaded(swtpm) == (), TPM_CC(whole.codes[number - 1])
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


# --- forged answers ---------------------------------------------------------------------------


def forging(code: TPM_CC, **changes: Callable[[Any], Any]) -> Meddle:
    """Change fields of the response to a command; of the frame, for those that it has."""

    def meddle(send: Send, command: bytes) -> bytes:
        frame = unpack_response(send(command), code)
        changed = {name: change(frame.response[name]) for name, change in changes.items()}
        return dataclasses.replace(frame, response=frame.response.replace(**changed)).pack()

    return only_with(code, meddle)


def reframing(code: TPM_CC, authorizations: tuple[Any, ...]) -> Meddle:
    """Put other authorizations into the response to a command."""

    def meddle(send: Send, command: bytes) -> bytes:
        frame = unpack_response(send(command), code)
        tag = TPM_ST.SESSIONS if authorizations else TPM_ST.NO_SESSIONS
        return dataclasses.replace(frame, tag=tag, authorizations=authorizations).pack()

    return only_with(code, meddle)


def made_another(code: TPM_CC, **changes: Any) -> Meddle:
    """Change the public area in the response to a command, and its Name with it."""

    def meddle(send: Send, command: bytes) -> bytes:
        frame = unpack_response(send(command), code)
        public = frame.response.outPublic.replace(**changes)
        algorithm = {TPM_ALG.SHA256: "sha256", TPM_ALG.SHA384: "sha384"}.get(public.nameAlg)
        changed = {"outPublic": public}
        if algorithm and code != TPM_CC.Create:
            digest = hashlib.new(algorithm, public.pack()).digest()
            changed["name"] = public.nameAlg.to_bytes(2, "big") + digest
        return dataclasses.replace(frame, response=frame.response.replace(**changed)).pack()

    return only_with(code, meddle)


def turned(name: bytes) -> bytes:
    return flipped(name, 0)


AUTH = TPMS_AUTH_RESPONSE(sessionAttributes=TPMA_SESSION.continueSession)
WEAKER = templates.ECC_SIGN.objectAttributes & ~TPMA_OBJECT.fixedTPM & ~TPMA_OBJECT.fixedParent

PRIMARY, LOAD, CREATE = TPM_CC.CreatePrimary, TPM_CC.Load, TPM_CC.Create
FORGERIES: dict[str, tuple[Meddle, type[Exception], str]] = {
    "other Name": (forging(PRIMARY, name=turned), DecodeError, "the Name from the TPM"),
    "other attributes": (
        made_another(PRIMARY, objectAttributes=WEAKER),
        DecodeError,
        "outPublic.objectAttributes: the TPM made another kind",
    ),
    "other policy": (made_another(PRIMARY, authPolicy=bytes(32)), DecodeError, "authPolicy"),
    "other hash": (made_another(PRIMARY, nameAlg=TPM_ALG.SHA384), DecodeError, "nameAlg"),
    "unknown hash": (made_another(PRIMARY, nameAlg=0x1234), DecodeError, "0x1234 is not known"),
    "other curve": (
        made_another(PRIMARY, parameters=templates.ecc_sign(TPM_ECC.NIST_P384).parameters),
        DecodeError,
        "outPublic.parameters",
    ),
    "other type": (
        made_another(
            PRIMARY, type=TPM_ALG.RSA, parameters=templates.RSA_SIGN.parameters, unique=bytes(256)
        ),
        DecodeError,
        "outPublic.type",
    ),
    "no authorization": (reframing(PRIMARY, ()), DecodeError, "the tag is not that"),
    "two authorizations": (reframing(PRIMARY, (AUTH, AUTH)), DecodeError, "2 authorizations where"),
    "a nonce": (reframing(PRIMARY, (AUTH.replace(nonce=b"n"),)), SessionError, "a nonce"),
    "an HMAC": (reframing(PRIMARY, (AUTH.replace(hmac=b"h"),)), SessionError, "an HMAC"),
    "other attributes, Create": (
        made_another(CREATE, objectAttributes=WEAKER),
        DecodeError,
        "outPublic.objectAttributes",
    ),
    "two authorizations, Create": (reframing(CREATE, (AUTH, AUTH)), DecodeError, "2 authoriz"),
    "other Name, Load": (forging(LOAD, name=turned), DecodeError, "the Name from the TPM"),
    "no Name, Load": (forging(LOAD, name=lambda name: b""), DecodeError, "the Name from the TPM"),
    "no authorization, Load": (reframing(LOAD, ()), DecodeError, "the tag is not that"),
    "other Name, LoadExternal": (
        forging(TPM_CC.LoadExternal, name=turned),
        DecodeError,
        "the Name from the TPM",
    ),
    "an authorization, LoadExternal": (
        reframing(TPM_CC.LoadExternal, (AUTH,)),
        DecodeError,
        "the tag is not that",
    ),
    "an HMAC, Sign": (reframing(TPM_CC.Sign, (AUTH.replace(hmac=b"h"),)), SessionError, "an HMAC"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_answer_is_refused_and_the_object_flushed_at_once(forgery: str, tpm: Tpm):
    meddle, error, message = FORGERIES[forgery]
    inner = tpm._transport
    forged = Tpm(Between(inner, meddle))
    with pytest.raises(error, match=message):
        sign_once(forged)
    assert handles(tpm, LOADED_OBJECTS) == ()


def sign_once(tpm: Tpm) -> None:
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(NO_DA)
        with tpm.load_external(made.outPublic):
            pass
        with srk.load(made.outPrivate, made.outPublic) as key:
            key.sign(bytes(32), ECDSA)


def test_an_answer_from_earlier_is_refused(tpm: Tpm):
    recorded: dict[bytes, bytes] = {}

    def replay(send: Send, command: bytes) -> bytes:
        answer = send(command)
        return recorded.setdefault(command[6:10], answer)

    replayed = Tpm(Between(tpm._transport, only_with(TPM_CC.Load, replay)))
    with replayed.create_primary(templates.ECC_SRK) as srk:
        first, second = srk.create(NO_DA), srk.create(NO_DA)
        srk.load(first.outPrivate, first.outPublic).flush()
        with pytest.raises(DecodeError, match="the Name from the TPM"):
            srk.load(second.outPrivate, second.outPublic)
        assert handles(tpm, LOADED_OBJECTS) == (srk.handle,)


@pytest.mark.parametrize("code", [PRIMARY, CREATE, LOAD, TPM_CC.LoadExternal, TPM_CC.Sign])
def test_an_answer_to_another_command_is_refused(code: TPM_CC, tpm: Tpm):
    def swap(send: Send, command: bytes) -> bytes:
        return send(GetRandom(bytesRequested=16).frame())

    with pytest.raises(DecodeError):
        sign_once(Tpm(Between(tpm._transport, only_with(code, swap))))
    assert handles(tpm, LOADED_OBJECTS) == ()


def test_a_persistent_object_that_is_called_by_another_name_is_refused_and_stays(tpm: Tpm):
    transport = Between(tpm._transport, forging(TPM_CC.ReadPublic, name=turned))
    with persistent_srk(tpm):
        with pytest.raises(DecodeError, match="the Name from the TPM"):
            Tpm(transport).persistent(PERSISTENT)
        assert PERSISTENT in handles(tpm, 0x81000000)
    assert transport.codes == [TPM_CC.ReadPublic]


# --- ways out ---------------------------------------------------------------------------------


def test_an_object_is_flushed_when_its_block_ends_and_its_handle_is_free(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as srk:
        assert handles(tpm, LOADED_OBJECTS) == (srk.handle,)
    assert handles(tpm, LOADED_OBJECTS) == ()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_object_is_flushed_when_its_block_fails(error: type[BaseException], tpm: Tpm):
    with pytest.raises(error), tpm.create_primary(templates.ECC_SRK):
        raise error
    assert handles(tpm, LOADED_OBJECTS) == ()


def test_the_failure_of_a_block_is_not_hidden_by_that_of_flushing(tpm: Tpm):
    failing = Tpm(Between(tpm._transport, only_with(TPM_CC.FlushContext, lose_answer)))
    with pytest.raises(ZeroDivisionError), failing.create_primary(templates.ECC_SRK):
        raise ZeroDivisionError
    with pytest.raises(TransportError), failing.create_primary(templates.ECC_SRK):
        pass


def lose_answer(send: Send, command: bytes) -> bytes:
    send(command)
    raise TransportError(errno.EIO, "lost")


def test_an_object_is_flushed_once_and_its_successor_not_at_all(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as first:
        first.flush()
        second = tpm.create_primary(templates.ECC_SIGN)
        assert second.handle == first.handle
        first.flush()
    with second:
        assert second.sign(bytes(32), ECDSA).sigAlg == TPM_ALG.ECDSA


def test_closing_flushes_what_is_left(swtpm: Swtpm):
    transport = Between(connect(swtpm.conf))
    with Tpm(transport) as tpm:
        for _ in range(3):
            tpm.create_primary(templates.ECC_SRK)
        assert len(handles(tpm, LOADED_OBJECTS)) == 3
    assert transport.codes.count(TPM_CC.FlushContext) == 3
    assert left_loaded(swtpm) == ()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_flush_that_fails_at_the_end_does_not_keep_the_others(number: int, swtpm: Swtpm):
    def answer_wrong(send: Send, command: bytes) -> bytes:
        send(command)
        return bytes.fromhex("8001 0000000a 00000101")

    transport = Between(connect(swtpm.conf), only_at(3 + number, answer_wrong))
    leave_three_objects(Tpm(transport))
    assert transport.codes[3:] == [TPM_CC.FlushContext] * 3
    assert left_loaded(swtpm) == ()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_signal_at_the_end_does_not_keep_anything_loaded(number: int, swtpm: Swtpm):
    transport = Between(connect(swtpm.conf), only_at(3 + number, interrupt_before))
    with pytest.raises(KeyboardInterrupt):
        leave_three_objects(Tpm(transport))
    assert left_loaded(swtpm) == ()
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def leave_three_objects(tpm: Tpm) -> None:
    with tpm:
        for _ in range(3):
            tpm.create_primary(templates.ECC_SRK)


def test_after_closing_there_is_no_tpm(swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm:
        srk = tpm.create_primary(templates.ECC_SRK)
    tpm.close()
    with pytest.raises(TransportError, match="the connection is closed"):
        tpm.execute(GetRandom(bytesRequested=1))
    with pytest.raises(TransportError, match="the connection is closed"):
        srk.create(NO_DA)
    with pytest.raises(TransportError, match="the connection is closed"):
        srk.flush()
    assert left_loaded(swtpm) == ()


def test_behind_a_resource_manager_nothing_is_flushed_at_the_end():
    transport = Scripted([SUCCESSFUL_LOAD], keeps_objects=False)
    with Tpm(transport) as tpm:
        tpm.execute(LoadExternal(inPublic=ECC_PUBLIC))
    assert transport.codes == [TPM_CC.LoadExternal]
    assert transport.closed


INTERRUPTED = """
import os, sys
import tpmwire
from tpmwire import templates
from tpmwire.constants import TPM_RH
with tpmwire.open(sys.argv[1]) as tpm:
    template = templates.RSA_SIGN.replace(unique=os.urandom(256))
    tpm.create_primary(template, TPM_RH.NULL)
    print("not reached")
"""


def test_ctrl_c_while_an_rsa_key_is_made_leaves_nothing_loaded(swtpm: Swtpm, tmp_path: Path):
    child: Future[subprocess.Popen[bytes]] = Future()
    codes: list[int] = []

    def talk(connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as real:
            real.settimeout(PATIENCE)
            real.connect(str(swtpm.path))
            while command := message(connection):
                codes.append(int.from_bytes(command[6:10], "big"))
                real.sendall(command)
                if codes[-1] == TPM_CC.CreatePrimary:
                    child.result(PATIENCE).send_signal(signal.SIGINT)
                connection.sendall(message(real))

    path = tmp_path / "between"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    program = [sys.executable, "-c", INTERRUPTED, f"swtpm:path={path}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with at_work(listener, talk=talk), subprocess.Popen(program, **pipes) as process:
        child.set_result(process)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert printed == b""
    assert b"KeyboardInterrupt" in errors
    assert codes == [TPM_CC.CreatePrimary, TPM_CC.FlushContext]
    assert left_loaded(swtpm) == ()


def message(connection: socket.socket) -> bytes:
    """Receive a whole command or response, or nothing at the end."""
    header = received(connection, 10)
    return header + received(connection, int.from_bytes(header[2:6], "big") - len(header))


# --- a TPM that puts off ----------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses made instead of making them."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


@pytest.mark.parametrize("code", PUT_OFF)
def test_a_command_that_is_put_off_is_sent_again_as_it_was(code: TPM_RC, pauses: list[float]):
    transport = Scripted([answer_of(code), answer_of(code), answer_of(code), RANDOM])
    command = GetRandom(bytesRequested=2)
    assert Tpm(transport).execute(command).randomBytes == b"\xab\xcd"
    assert transport.sent == [command.frame()] * 4
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    assert pauses[0] > 0


@pytest.mark.parametrize("code", PUT_OFF)
def test_a_command_is_not_put_off_for_ever(code: TPM_RC, pauses: list[float]):
    transport = Scripted([answer_of(code)])
    with pytest.raises(TpmWarning) as caught:
        Tpm(transport).execute(GetRandom(bytesRequested=2))
    assert (caught.value.code, caught.value.command) == (code, "GetRandom")
    assert transport.sent == [GetRandom(bytesRequested=2).frame()] * TRIES
    assert len(pauses) == TRIES - 1
    assert 5 < sum(pauses) < 60
    assert max(pauses) <= 1


@pytest.mark.parametrize("code", PUT_OFF)
def test_a_self_test_is_not_asked_for_again(code: TPM_RC, pauses: list[float]):
    transport = Scripted([answer_of(code)])
    with pytest.raises(TpmWarning) as caught:
        Tpm(transport).execute(SelfTest(fullTest=True))
    assert caught.value.code == code
    assert len(transport.sent) == 1
    assert pauses == []


def test_every_other_refusal_is_final(pauses: list[float]):
    for code in set(TPM_RC) - {TPM_RC.SUCCESS, *PUT_OFF}:
        assert is_final(code), code
    assert pauses == []


@given(st.integers(0x1000, 0xFFFFFFFF))
def test_so_is_one_that_nobody_knows(code: int):
    assert is_final(code)


def is_final(code: int) -> bool:
    transport = Scripted([answer_of(code)])
    with pytest.raises(TpmError) as caught:
        Tpm(transport).execute(GetRandom(bytesRequested=2))
    assert (caught.value.raw, caught.value.command) == (code, "GetRandom")
    return len(transport.sent) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "8001 0000000a 000000",
        "8001 0000000c 00000000 0002 abcd",
        "8001 0000000e 00000101 0002 abcd",
        "8001 0000000f 00000000 0002 abcd 00",
        "8001 00000010 00000000 0002 abcd",
    ],
)
def test_an_answer_that_makes_no_sense_is_a_decode_error(answer: str):
    transport = Scripted([bytes.fromhex(answer)])
    with pytest.raises(DecodeError):
        Tpm(transport).execute(GetRandom(bytesRequested=2))
