"""Hashes, HMACs and key derivations, against published numbers and a second implementation."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from tpmwire.constants import TPM_ALG
from tpmwire.digests import digest, digest_size, equal, hash_name, hmac, kdfa, kdfe
from tpmwire.errors import DecodeError

OTHERS = {
    TPM_ALG.SHA1: hashes.SHA1(),
    TPM_ALG.SHA256: hashes.SHA256(),
    TPM_ALG.SHA384: hashes.SHA384(),
    TPM_ALG.SHA512: hashes.SHA512(),
}
ALGS = st.sampled_from([*OTHERS])
OCTETS = st.binary(max_size=80)
# As those of the specification are: no zero octet in it.
LABELS = st.binary(min_size=1, max_size=12).map(lambda label: label.replace(b"\0", b"\1"))
BITS = st.integers(1, 1100)


def masked(octets: bytes, bits: int) -> bytes:
    """Clear what is too much of the first octet."""
    if not bits % 8:
        return octets
    return bytes([octets[0] % 2 ** (bits % 8)]) + octets[1:]


# --- KDFa -------------------------------------------------------------------------------------


@given(ALGS, OCTETS, LABELS, OCTETS, OCTETS, BITS)
def test_kdfa_is_counter_mode_of_sp_800_108(
    alg: TPM_ALG, key: bytes, label: bytes, u: bytes, v: bytes, bits: int
):
    other = KBKDFHMAC(
        algorithm=OTHERS[alg],
        mode=Mode.CounterMode,
        length=(bits + 7) // 8,
        rlen=4,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        # What that class makes of label and context has no number of bits, but of octets.
        fixed=label + b"\0" + u + v + bits.to_bytes(4, "big"),
    )
    assert kdfa(alg, key, label, u, v, bits) == masked(other.derive(key), bits)


@given(ALGS, OCTETS, LABELS, OCTETS, OCTETS, st.integers(1, 140))
def test_kdfa_of_whole_octets_is_that_of_any_program(
    alg: TPM_ALG, key: bytes, label: bytes, u: bytes, v: bytes, size: int
):
    other = KBKDFHMAC(
        algorithm=OTHERS[alg],
        mode=Mode.CounterMode,
        length=size,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=u + v,
        fixed=None,
    )
    assert kdfa(alg, key, label, u, v, 8 * size) == other.derive(key)


# What libtpms tests itself with: KdfTestData.h.
@pytest.mark.parametrize(
    ("alg", "derived"),
    [
        (TPM_ALG.SHA1, "55b5a7184aa07423c47dae766c26a2377d7cf851"),
        (TPM_ALG.SHA256, "bb0259e1c8ba607e6a2cd704b69a902e9ade84c4"),
        (TPM_ALG.SHA384, "1dce70c9113eb2dba47bd9cfc72bf46f45b09312"),
        (TPM_ALG.SHA512, "8be2c1b85b78569b9fa759f5857c56d684810fd3"),
    ],
)
def test_kdfa_passes_the_self_test_of_a_tpm(alg: TPM_ALG, derived: str):
    key = bytes.fromhex("271fa08bbdc5060ec3dfa928ff9b73123a12da0c")
    u, v = bytes.fromhex("ce244f395dca7391"), bytes.fromhex("da504031ddf12e83")
    assert kdfa(alg, key, b"KDFSELFTESTLABEL", u, v, 160).hex() == derived


def test_kdfa_gives_a_published_number_of_bits_that_are_no_whole_octets():
    # github.com/chrisfenner/tpm-test-vectors, KDFa 27_SHA256_116
    derived = kdfa(
        TPM_ALG.SHA256,
        bytes.fromhex("aff14e568afc0ea51eea748c8915df067c7700"),
        b"IDENTITY",
        bytes.fromhex("ce4edfb881540700e300"),
        bytes.fromhex("68ddb4a0e59d74cd34dfe631d91e1ea3fbc95865440adedff7e9d011890fba"),
        116,
    )
    assert derived.hex() == "019ed5e0956338ddda4413ecee5cf2"


# --- KDFe -------------------------------------------------------------------------------------


@given(ALGS, OCTETS, LABELS, OCTETS, OCTETS, BITS)
def test_kdfe_is_the_concatenation_of_sp_800_56a(
    alg: TPM_ALG, z: bytes, label: bytes, u: bytes, v: bytes, bits: int
):
    info = label + b"\0" + u + v
    other = ConcatKDFHash(algorithm=OTHERS[alg], length=(bits + 7) // 8, otherinfo=info)
    assert kdfe(alg, z, label, u, v, bits) == masked(other.derive(z), bits)


# github.com/chrisfenner/tpm-test-vectors, kdfe.json; derived with go-tpm.
KDFE = [
    (
        TPM_ALG.SHA1,
        "356f9d00d61b54cf010580b1755d1975905c00",
        "CFB",
        "006c5c2bcdd650f6c836dba98c4734",
        "8849bd3d05d69f",
        7,
        "58",
    ),
    (
        TPM_ALG.SHA1,
        "00",
        "STORAGE",
        "502651f0419dc60c34baa9ff",
        "1c6664075140ddd94f5d00448100",
        329,
        "013a862af32bb4012c91baebf0e503be030cfd76ccb346d7ae2e6ce9f4cf7cd6e6cb66d1d4f9beac1aea",
    ),
    (
        TPM_ALG.SHA1,
        "",
        "STORAGE",
        "",
        "c0227aff",
        253,
        "0f10d821af67e1ec776b390f3b4572bb433efd2b94fa7842d879d24d825ed2f9",
    ),
    (
        TPM_ALG.SHA256,
        "739245447ead0deea5f834f06e043159c6ff",
        "IDENTITY",
        "ad503e36c2314ec9afa2f4047bf19ce7fbc6fe2def32c58459c0fc828c00",
        "ba6dd80b788034161743c95e8ef7a9486fbd69d3ff",
        13,
        "0956",
    ),
    (
        TPM_ALG.SHA256,
        "8995a6318a0217c7c7bf543f50da29016c4ff2a1ea5daf54ebcb00",
        "INTEGRITY",
        "8852f14d8e9b68",
        "74ff",
        336,
        "92343ef558feb95fd14838f9ca39c8618598a7eeb31af7fc276030b8c3ff326d4870f190e54abbec9da4",
    ),
    (
        TPM_ALG.SHA256,
        "e89fc5304cf46c1cf7d1f5de5d3d1ec7eddc80b0386700",
        "SECRET",
        "e602bc959fd97af0405649e0c80e02e9dd64e9d79e698292b043c79dfa9f9261",
        "",
        431,
        "3a8e893b8b76cdddbf87845b2567fa7152577829f6a55b73cb82d4a1f0342a051d6e50e20ec2f96bc4de38d7d0"
        "d79a9caf99e1d574b9",
    ),
]


@pytest.mark.parametrize(("alg", "z", "label", "u", "v", "bits", "derived"), KDFE)
def test_kdfe_gives_published_numbers(
    alg: TPM_ALG, z: str, label: str, u: str, v: str, bits: int, derived: str
):
    octets = [bytes.fromhex(each) for each in (z, u, v)]
    assert kdfe(alg, octets[0], label.encode(), *octets[1:], bits).hex() == derived


@given(ALGS, OCTETS, BITS)
def test_bits_that_are_too_many_for_the_octets_are_cleared_at_the_top(
    alg: TPM_ALG, key: bytes, bits: int
):
    for derived in (kdfa(alg, key, b"X", b"", b"", bits), kdfe(alg, key, b"X", b"", b"", bits)):
        assert len(derived) == -(-bits // 8)
        assert int.from_bytes(derived, "big").bit_length() <= bits


def test_the_top_bit_is_not_always_cleared():
    for derive in (kdfa, kdfe):
        tops = {derive(TPM_ALG.SHA256, bytes([n]), b"X", b"", b"", 9)[0] for n in range(20)}
        assert tops == {0, 1}


# --- HMAC -------------------------------------------------------------------------------------


# RFC 2202 and RFC 4231, test case 2.
@pytest.mark.parametrize(
    ("alg", "code"),
    [
        (TPM_ALG.SHA1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (TPM_ALG.SHA256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            TPM_ALG.SHA384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47"
            "e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            TPM_ALG.SHA512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ],
)
def test_an_hmac_is_the_published_one_however_the_text_is_parted(alg: TPM_ALG, code: str):
    assert hmac(alg, b"Jefe", b"what do ya want for nothing?").hex() == code
    assert hmac(alg, b"Jefe", b"what do ya ", b"", b"want for ", b"nothing?").hex() == code


@given(ALGS, st.lists(OCTETS, max_size=4))
def test_a_digest_is_that_of_the_parts_one_after_the_other(alg: TPM_ALG, parts: list[bytes]):
    hashed = hashlib.new(hash_name(alg))
    for part in parts:
        hashed.update(part)
    assert digest(alg, *parts) == hashed.digest()
    assert digest_size(alg) == len(hashed.digest()) == OTHERS[alg].digest_size


@pytest.mark.parametrize("alg", [0, TPM_ALG.NULL, TPM_ALG.AES, 0xFFFF])
def test_whatever_is_to_be_done_with_an_unknown_hash_is_a_decode_error(alg: int):
    for attempt in (
        lambda: digest(alg),
        lambda: digest_size(alg),
        lambda: hmac(alg, b"key"),
        lambda: kdfa(alg, b"key", b"X", b"", b"", 8),
        lambda: kdfe(alg, b"z", b"X", b"", b"", 8),
    ):
        with pytest.raises(DecodeError, match=f"{alg:#06x} is not known"):
            attempt()


@given(OCTETS, OCTETS)
def test_secrets_are_equal_when_all_their_octets_are(one: bytes, other: bytes):
    assert equal(one, other) == (one == other)
    assert equal(one, bytes(one))
    assert not equal(one, one + b"\0")
