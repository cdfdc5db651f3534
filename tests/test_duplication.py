"""Duplicates made and opened outside a TPM, with a TPM at the other end."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from conftest import Swtpm, left_loaded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from softkeys import HASHES, KINDS, STORAGE, cipher, key_of, parent_of

from tpmwire import duplication, templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import Duplicate, Import, PolicyCommandCode
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_ECC, TPM_RC, TPM_RH, TPM_SE
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import Wrapped, unwrap, wrap
from tpmwire.errors import DecodeError, EncodeError, TpmError
from tpmwire.objects import LoadedObject
from tpmwire.softkeys import NO_CIPHER, private_key_of, public_of, sensitive_of
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_KEYEDHASH_PARMS,
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)

CIPHERS = [
    *(cipher(TPM_ALG.AES, bits) for bits in (128, 192, 256)),
    *(cipher(TPM_ALG.CAMELLIA, bits) for bits in (128, 192, 256)),
    cipher(TPM_ALG.SM4),
]
WRAPPERS = [NO_CIPHER, cipher(bits=128), cipher(bits=256), cipher(TPM_ALG.CAMELLIA, 256)]
ALL_HASHES = [*HASHES, TPM_ALG.SM3_256, TPM_ALG.SHA3_256, TPM_ALG.SHA3_384, TPM_ALG.SHA3_512]

kinds = st.sampled_from(KINDS)
quick = settings(max_examples=25)
auths = st.binary(max_size=20)
wrappers = st.sampled_from(WRAPPERS)
few = settings(max_examples=15)


# --- there and back ----------------------------------------------------------------------------


@st.composite
def parents(draw: st.DrawFn) -> tuple[PrivateKey, TPMT_PUBLIC]:
    """A storage key of any kind, cipher and name algorithm."""
    # RSA-1024 has no room for the digests of the longest hashes.
    key = key_of(draw(st.sampled_from(["P-256", "P-384", "P-521", "RSA-2048"])), 1)
    # OpenSSL does not pad with SM3.
    hash_algs = HASHES if isinstance(key, rsa.RSAPrivateKey) else ALL_HASHES
    symmetric, hash_alg = draw(st.sampled_from(CIPHERS)), draw(st.sampled_from(hash_algs))
    return key, parent_of(key, symmetric, hash_alg)


@quick
@given(parents(), kinds, auths, wrappers, st.sampled_from(ALL_HASHES))
def test_what_is_wrapped_is_unwrapped_as_it_was(
    parent: tuple[PrivateKey, TPMT_PUBLIC],
    kind: str,
    auth: bytes,
    symmetric: TPMT_SYM_DEF_OBJECT,
    hash_alg: TPM_ALG,
):
    private, parent_public = parent
    public, sensitive = public_of(key_of(kind)), sensitive_of(key_of(kind), auth)
    public = public.replace(nameAlg=hash_alg)
    made = wrap(sensitive, public, parent_public, symmetric)
    assert unwrap(made, public, parent_public, private) == sensitive
    assert bool(made.encryption_key) == (symmetric != NO_CIPHER)


@quick
@given(kinds, auths, wrappers)
def test_a_parent_may_be_missing(kind: str, auth: bytes, symmetric: TPMT_SYM_DEF_OBJECT):
    public, sensitive = public_of(key_of(kind)), sensitive_of(key_of(kind), auth)
    made = wrap(sensitive, public, None, symmetric)
    assert made.encrypted_secret == b""
    assert unwrap(made, public) == sensitive


def test_without_any_wrapper_a_duplicate_is_the_sensitive_area_in_clear():
    sensitive = sensitive_of(key_of("P-256"), b"pin")
    packed = sensitive.pack()
    made = wrap(sensitive, public_of(key_of("P-256")))
    assert made.duplicate == len(packed).to_bytes(2, "big") + packed


@pytest.mark.parametrize("symmetric", WRAPPERS[1:], ids=str)
def test_every_duplicate_has_an_inner_key_of_its_own(symmetric: TPMT_SYM_DEF_OBJECT):
    # CVE-2021-3565: tpm2_import used one and the same inner key always.
    public, sensitive = public_of(key_of("P-256")), sensitive_of(key_of("P-256"))
    parent = parent_of(key_of("P-256", 1), cipher())
    made = [wrap(sensitive, public, parent, symmetric) for _ in range(8)]
    for field in ("encryption_key", "encrypted_secret", "duplicate"):
        assert len({getattr(each, field) for each in made}) == 8
    assert {8 * len(each.encryption_key) for each in made} == {symmetric.keyBits}
    assert not any(set(each.encryption_key) == {0xFF} for each in made)


# --- a TPM imports what we have wrapped --------------------------------------------------------

# What swtpm can have as parents: kind of key, cipher, name algorithm.
LIVE = {
    "ecc": (TPM_ECC.NIST_P256, cipher(), TPM_ALG.SHA256),
    "ecc-256": (TPM_ECC.NIST_P384, cipher(bits=256), TPM_ALG.SHA384),
    "ecc-521": (TPM_ECC.NIST_P521, cipher(TPM_ALG.CAMELLIA), TPM_ALG.SHA512),
    "camellia": (TPM_ECC.NIST_P256, cipher(TPM_ALG.CAMELLIA, 256), TPM_ALG.SHA1),
    "rsa": (None, cipher(), TPM_ALG.SHA256),
    "rsa-256": (None, cipher(bits=256), TPM_ALG.SHA512),
}
live_parents = pytest.mark.parametrize("parent", LIVE)


def live_template(parent: str) -> TPMT_PUBLIC:
    curve, symmetric, hash_alg = LIVE[parent]
    attributes = templates.ECC_SRK.objectAttributes
    if curve is None:
        template = templates.rsa_public(2048, attributes, symmetric)
    else:
        template = templates.ecc_public(curve, attributes, symmetric)
    return template.replace(nameAlg=hash_alg)


def imported(tpm: Tpm, parent: LoadedObject, public: TPMT_PUBLIC, made: Wrapped) -> bytes:
    """The private part that the TPM makes of a duplicate."""
    return tpm.execute(
        Import(
            parentHandle=parent,
            encryptionKey=made.encryption_key,
            objectPublic=public,
            duplicate=made.duplicate,
            inSymSeed=made.encrypted_secret,
            symmetricAlg=made.symmetric,
        )
    ).outPrivate


DIGEST = hashlib.sha256(b"to be signed").digest()


def check_signature(key: PrivateKey, signature: TPMT_SIGNATURE) -> None:
    """Let `cryptography` verify what the TPM has signed."""
    details = signature.signature
    if isinstance(key, rsa.RSAPrivateKey):
        assert isinstance(details, TPMS_SIGNATURE_RSA)
        scheme = padding.PKCS1v15()
        key.public_key().verify(details.sig, DIGEST, scheme, Prehashed(hashes.SHA256()))
    else:
        assert isinstance(details, TPMS_SIGNATURE_ECC)
        r, s = (int.from_bytes(n, "big") for n in (details.signatureR, details.signatureS))
        ecdsa = ec.ECDSA(Prehashed(hashes.SHA256()))
        key.public_key().verify(encode_dss_signature(r, s), DIGEST, ecdsa)


def scheme_of(key: PrivateKey) -> TPMT_SIG_SCHEME:
    alg = TPM_ALG.RSASSA if isinstance(key, rsa.RSAPrivateKey) else TPM_ALG.ECDSA
    return TPMT_SIG_SCHEME(scheme=alg, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))


@live_parents
def test_a_tpm_imports_what_was_wrapped_for_its_key_and_signs_with_it(parent: str, swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(live_template(parent)) as loaded:

        @few
        @given(kinds, auths, wrappers, st.sampled_from(HASHES))
        def imports(
            kind: str, auth: bytes, symmetric: TPMT_SYM_DEF_OBJECT, hash_alg: TPM_ALG
        ) -> None:
            key = key_of(kind)
            public = public_of(key).replace(nameAlg=hash_alg)
            made = wrap(sensitive_of(key, auth), public, loaded.public, symmetric)
            private = imported(tpm, loaded, public, made)
            with loaded.load(private, public, auth) as signer:
                check_signature(key, signer.sign(DIGEST, scheme_of(key)))

        imports()
    assert left_loaded(swtpm) == ()


def test_a_tpm_imports_what_has_an_inner_wrapper_only_or_none(tpm: Tpm):
    key = key_of("P-256")
    public, sensitive = public_of(key), sensitive_of(key, b"pin")
    with tpm.create_primary(templates.ECC_SRK) as parent:
        for symmetric in WRAPPERS:
            private = imported(tpm, parent, public, wrap(sensitive, public, None, symmetric))
            with parent.load(private, public, b"pin") as signer:
                check_signature(key, signer.sign(DIGEST, scheme_of(key)))


def test_an_imported_key_has_the_pin_it_was_given(tpm: Tpm):
    key = key_of("P-256")
    public = public_of(key, TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign | TPMA_OBJECT.noDA)
    with tpm.create_primary(templates.ECC_SRK) as parent:
        made = wrap(sensitive_of(key, b"pin"), public, parent.public)
        private = imported(tpm, parent, public, made)
        with parent.load(private, public, b"nip") as signer, pytest.raises(TpmError) as caught:
            signer.sign(DIGEST, scheme_of(key))
    assert caught.value.code == TPM_RC.BAD_AUTH


def test_an_imported_storage_key_is_a_parent(tpm: Tpm):
    key = key_of("P-256", 2)
    public = public_of(key, STORAGE, cipher(bits=256))
    with tpm.create_primary(templates.ECC_SRK) as parent:
        made = wrap(sensitive_of(key, seed=bytes(range(32))), public, parent.public)
        private = imported(tpm, parent, public, made)
        template = templates.ECC_SIGN.replace(
            objectAttributes=TPMA_OBJECT.sign
            | TPMA_OBJECT.userWithAuth
            | TPMA_OBJECT.sensitiveDataOrigin
        )
        with parent.load(private, public) as below:
            child = below.create(template)
            with below.load(child.outPrivate, child.outPublic) as signer:
                signer.sign(DIGEST, scheme_of(key))


def sealed(data: bytes, seed: bytes) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """Data that is sealed outside a TPM: its `unique` is the digest of seed and data."""
    public = TPMT_PUBLIC(
        type=TPM_ALG.KEYEDHASH,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=TPMA_OBJECT.userWithAuth,
        parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
        unique=hashlib.sha256(seed + data).digest(),
    )
    sensitive = TPMT_SENSITIVE(sensitiveType=public.type, seedValue=seed, sensitive=data)
    return public, sensitive


def test_sealed_data_can_be_wrapped_and_is_unsealed(tpm: Tpm):
    public, sensitive = sealed(b"a secret", bytes(range(32)))
    with tpm.create_primary(templates.ECC_SRK) as parent:
        private = imported(tpm, parent, public, wrap(sensitive, public, parent.public, cipher()))
        with parent.load(private, public) as loaded:
            assert loaded.unseal() == b"a secret"


@pytest.mark.parametrize("kind", ["P-256", "RSA-1024"])
def test_a_sensitive_area_of_another_key_is_refused_either_way(kind: str):
    sensitive, other = sensitive_of(key_of(kind)), public_of(key_of(kind, 1))
    made = wrap(sensitive, public_of(key_of(kind)))
    with pytest.raises(DecodeError, match="not that of the public one"):
        unwrap(made, other)
    with pytest.raises(EncodeError, match="not that of the public one"):
        wrap(sensitive, other)


def test_sealed_data_of_another_public_area_is_refused():
    public, _ = sealed(b"a secret", bytes(range(32)))
    _, sensitive = sealed(b"another!", bytes(range(32)))
    with pytest.raises(EncodeError, match="not that of the public one"):
        wrap(sensitive, public)


# --- we unwrap what a TPM has duplicated -------------------------------------------------------

POLICY = hashlib.sha256(
    bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + TPM_CC.Duplicate.to_bytes(4, "big")
).digest()
DUPLICABLE = TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sensitiveDataOrigin


def duplicated(
    tpm: Tpm,
    signer: LoadedObject,
    parent: LoadedObject | None,
    symmetric: TPMT_SYM_DEF_OBJECT,
    key: bytes = b"",
) -> Wrapped:
    """What TPM2_Duplicate makes of a key whose policy allows it."""
    with tpm.session(TPM_SE.POLICY) as session:
        code = TPM_CC.Duplicate
        tpm.execute(PolicyCommandCode(policySession=session, code=code))
        done = tpm.execute(
            Duplicate(
                objectHandle=signer,
                newParentHandle=parent or TPM_RH.NULL,
                encryptionKeyIn=key,
                symmetricAlg=symmetric,
            ),
            session.use(),
        )
    inner = done.encryptionKeyOut or key
    return Wrapped(done.duplicate, done.outSymSeed, inner, symmetric)


TO_SOFTWARE = {
    "ecc": ("P-256", cipher(), TPM_ALG.SHA256),
    "ecc-256": ("P-384", cipher(bits=256), TPM_ALG.SHA384),
    "ecc-521": ("P-521", cipher(TPM_ALG.CAMELLIA, 256), TPM_ALG.SHA512),
    "rsa": ("RSA-2048", cipher(), TPM_ALG.SHA1),
    "rsa-256": ("RSA-2048", cipher(bits=256), TPM_ALG.SHA512),
}


@pytest.mark.parametrize("symmetric", WRAPPERS, ids=["none", "aes-128", "aes-256", "camellia"])
@pytest.mark.parametrize("to", TO_SOFTWARE)
def test_what_a_tpm_duplicates_for_our_key_is_the_key_that_it_has(
    to: str, symmetric: TPMT_SYM_DEF_OBJECT, tpm: Tpm
):
    kind, parent_cipher, hash_alg = TO_SOFTWARE[to]
    private = key_of(kind, 1)
    public = parent_of(private, parent_cipher, hash_alg)
    template = templates.ECC_SIGN.replace(objectAttributes=DUPLICABLE, authPolicy=POLICY)
    with tpm.create_primary(templates.ECC_SRK) as srk:
        child = srk.create(template, b"p\0in\0")
        with srk.load(child.outPrivate, child.outPublic, b"p\0in\0") as signer:
            with tpm.load_external(public) as parent:
                made = duplicated(tpm, signer, parent, symmetric)
            signature = signer.sign(DIGEST, scheme_of(key_of("P-256")))
    sensitive = unwrap(made, child.outPublic, public, private)
    key = private_key_of(sensitive, child.outPublic)
    assert sensitive.authValue.rstrip(b"\0") == b"p\0in"
    check_signature(key, signature)
    assert public_of(key).unique == child.outPublic.unique


def test_a_tpm_duplicates_to_no_parent_too_and_with_an_inner_key_of_ours(tpm: Tpm):
    template = templates.rsa_sign().replace(objectAttributes=DUPLICABLE, authPolicy=POLICY)
    with tpm.create_primary(templates.ECC_SRK) as srk:
        child = srk.create(template)
        with srk.load(child.outPrivate, child.outPublic) as signer:
            made = [
                duplicated(tpm, signer, None, NO_CIPHER),
                duplicated(tpm, signer, None, cipher(), bytes(range(16))),
            ]
    one, other = (unwrap(each, child.outPublic) for each in made)
    assert one == other
    assert isinstance(private_key_of(one, child.outPublic), rsa.RSAPrivateKey)


# --- refusals ----------------------------------------------------------------------------------


def flipped(octets: bytes) -> list[bytes]:
    """The same octets with one of them changed, for each."""
    return [
        octets[:n] + bytes([octets[n] ^ 1 << n % 8]) + octets[n + 1 :] for n in range(len(octets))
    ]


def changes(made: Wrapped) -> list[Wrapped]:
    """The same duplicate with one octet changed, cut off, or added."""
    changed = []
    for field in ("duplicate", "encrypted_secret", "encryption_key"):
        value = getattr(made, field)
        others = [*flipped(value), value[:-1], value + b"\0", b""] if value else []
        changed += [replace(made, **{field: other}) for other in others]
    return changed


@pytest.mark.parametrize("symmetric", [NO_CIPHER, cipher(bits=256)], ids=["outer", "both"])
@pytest.mark.parametrize("kind", ["P-256", "RSA-2048"])
def test_a_change_of_any_octet_is_refused(kind: str, symmetric: TPMT_SYM_DEF_OBJECT):
    private, public = key_of(kind, 1), public_of(key_of("P-256"))
    parent = parent_of(private, cipher())
    made = wrap(sensitive_of(key_of("P-256"), b"pin"), public, parent, symmetric)
    assert unwrap(made, public, parent, private)
    for changed in changes(made):
        with pytest.raises(DecodeError):
            unwrap(changed, public, parent, private)


def test_a_change_of_any_octet_of_an_inner_wrapper_alone_is_refused():
    public = public_of(key_of("P-256"))
    made = wrap(sensitive_of(key_of("P-256"), b"pin"), public, None, cipher())
    for changed in changes(made):
        with pytest.raises(DecodeError, match="inner wrapper"):
            unwrap(changed, public)


def test_nothing_is_decrypted_before_the_proof_is_verified(monkeypatch: pytest.MonkeyPatch):
    private, public = key_of("P-256", 1), public_of(key_of("P-256"))
    parent = parent_of(private, cipher())
    made = wrap(sensitive_of(key_of("P-256")), public, parent, cipher())

    def decrypt(*_: Any) -> bytes:
        raise AssertionError("decrypted")

    monkeypatch.setattr(duplication, "cfb_decrypt", decrypt)
    with pytest.raises(AssertionError, match="decrypted"):
        unwrap(made, public, parent, private)
    for changed in changes(made):
        if changed.encryption_key == made.encryption_key:
            with pytest.raises(DecodeError):
                unwrap(changed, public, parent, private)


def test_a_duplicate_is_for_one_parent_one_object_and_one_purpose_only():
    private, public = key_of("P-256", 1), public_of(key_of("P-256"))
    parent = parent_of(private, cipher())
    made = wrap(sensitive_of(key_of("P-256")), public, parent)
    stranger = key_of("P-256", 2)
    changed = public.replace(objectAttributes=public.objectAttributes | TPMA_OBJECT.noDA)
    for of, under, by in (
        (public, parent_of(stranger, cipher()), stranger),
        (public, parent, stranger),
        (changed, parent, private),
        (public.replace(authPolicy=POLICY), parent, private),
    ):
        with pytest.raises(DecodeError, match="not made for this key and this Name"):
            unwrap(made, of, under, by)
    with pytest.raises(DecodeError, match="outer wrapper"):
        unwrap(made, public)


def test_half_a_parent_is_none():
    private, public = key_of("P-256", 1), public_of(key_of("P-256"))
    made = wrap(sensitive_of(key_of("P-256")), public)
    with pytest.raises(EncodeError, match="go together"):
        unwrap(made, public, parent_of(private, cipher()))
    with pytest.raises(EncodeError, match="go together"):
        unwrap(made, public, private=private)


def test_an_outer_wrapper_that_was_taken_off_is_missed():
    private, public = key_of("P-256", 1), public_of(key_of("P-256"))
    made = wrap(sensitive_of(key_of("P-256")), public)
    with pytest.raises(DecodeError):
        unwrap(made, public, parent_of(private, cipher()), private)


@pytest.mark.parametrize("attribute", [TPMA_OBJECT.fixedTPM, TPMA_OBJECT.fixedParent])
def test_what_may_not_move_is_not_wrapped_and_no_tpm_would_import_it(
    attribute: TPMA_OBJECT, tpm: Tpm
):
    key = key_of("P-256")
    public = public_of(key, TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth | attribute)
    with pytest.raises(EncodeError, match="fixedTPM or fixedParent"):
        wrap(sensitive_of(key), public)
    free = wrap(sensitive_of(key), public_of(key))
    with tpm.create_primary(templates.ECC_SRK) as srk, pytest.raises(TpmError) as caught:
        imported(tpm, srk, public, free)
    assert caught.value.code == TPM_RC.ATTRIBUTES


def test_encrypted_duplication_wants_both_wrappers():
    private, key = key_of("P-256", 1), key_of("P-256")
    attributes = TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.encryptedDuplication
    public, sensitive = public_of(key, attributes), sensitive_of(key)
    parent = parent_of(private, cipher())
    for under, symmetric in ((None, NO_CIPHER), (None, cipher()), (parent, NO_CIPHER)):
        with pytest.raises(EncodeError, match="encryptedDuplication"):
            wrap(sensitive, public, under, symmetric)
    assert unwrap(wrap(sensitive, public, parent, cipher()), public, parent, private) == sensitive
    bare = wrap(sensitive, public_of(key))
    with pytest.raises(DecodeError, match="encryptedDuplication"):
        unwrap(bare, public)


def test_a_key_that_is_no_parent_is_refused():
    public, sensitive = public_of(key_of("P-256")), sensitive_of(key_of("P-256"))
    no_cipher = parent_of(key_of("P-256", 1), NO_CIPHER)
    for parent, words in ((public, "storage key"), (no_cipher, "CFB mode")):
        with pytest.raises(DecodeError, match=words):
            wrap(sensitive, public, parent)


@pytest.mark.parametrize("bits", [0, 64, 120, 136, 512])
def test_an_odd_size_of_key_is_refused_in_either_wrapper(bits: int):
    public, sensitive = public_of(key_of("P-256")), sensitive_of(key_of("P-256"))
    for under, symmetric in (
        (parent_of(key_of("P-256", 1), cipher(bits=bits)), NO_CIPHER),
        (None, cipher(bits=bits)),
    ):
        with pytest.raises(DecodeError, match=f"with a key of {bits} bits"):
            wrap(sensitive, public, under, symmetric)


def test_a_parent_with_what_this_machine_does_not_have_is_a_decode_error():
    public, sensitive = public_of(key_of("P-256")), sensitive_of(key_of("P-256"))
    ecc = parent_of(key_of("P-256", 1), cipher())
    for parent in (
        parent_of(key_of("RSA-2048", 1), cipher(), TPM_ALG.SM3_256),
        parent_of(key_of("RSA-1024", 1), cipher(), TPM_ALG.SHA512),
        parent_of(key_of("P-256", 1), cipher(TPM_ALG.HMAC)),
        ecc.replace(nameAlg=TPM_ALG.SHAKE256_256),
        ecc.replace(parameters=ecc.parameters.replace(curveID=TPM_ECC.BN_P256)),
    ):
        with pytest.raises(DecodeError):
            wrap(sensitive, public, parent)


def test_a_pin_longer_than_the_objects_digest_is_refused():
    key = key_of("P-256")
    assert wrap(sensitive_of(key, b"p" * 32), public_of(key))
    with pytest.raises(EncodeError, match="longer than a digest") as caught:
        wrap(sensitive_of(key, b"p" * 33), public_of(key))
    assert "ppp" not in str(caught.value)


def test_a_duplicate_shows_no_secret():
    key = key_of("P-256")
    made = wrap(sensitive_of(key, b"a long pin"), public_of(key), None, cipher())
    clear = wrap(sensitive_of(key, b"a long pin"), public_of(key))
    for value in (made.encryption_key, clear.duplicate, b"a long pin"):
        assert repr(value)[2:-1] not in repr(made) + repr(clear)
        assert value.hex() not in repr(made) + repr(clear)


def test_a_damaged_sensitive_area_in_clear_is_refused():
    public = public_of(key_of("P-256"))
    for octets in (b"", b"\0", b"\0\0", b"\0\1\0"):
        with pytest.raises(DecodeError):
            unwrap(Wrapped(octets), public)
