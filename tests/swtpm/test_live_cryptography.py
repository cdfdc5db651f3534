"""What the TPM computes, beside what others compute.  [Part 3, 14-15, 17, 19-20]"""

import hashlib
import hmac

import pytest
from claims import runs
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from keys import (
    ECDSA,
    SHA256,
    agreed,
    cipher_key,
    ecc_pair,
    hmac_key,
    point,
    rsa_pair,
    signature,
    verify,
)
from plain import sha256

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    HMAC,
    Commit,
    EC_Ephemeral,
    ECC_Parameters,
    ECDH_KeyGen,
    ECDH_ZGen,
    EncryptDecrypt,
    EncryptDecrypt2,
    EventSequenceComplete,
    Hash,
    HashSequenceStart,
    HMAC_Start,
    PCR_Read,
    RSA_Decrypt,
    RSA_Encrypt,
    SequenceComplete,
    SequenceUpdate,
    Sign,
    VerifySignature,
    ZGen_2Phase,
)
from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RH
from tpmwire.errors import TpmError
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_PCR_SELECTION,
    TPMS_SCHEME_ECDAA,
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_HA,
    TPMT_RSA_DECRYPT,
    TPMT_SIG_SCHEME,
)

DATA = b"To be, or not to be, that is the question"
KEY, IV, BLOCKS = bytes(range(16)), bytes(range(16, 32)), bytes(range(48))
OAEP = TPMT_RSA_DECRYPT(scheme=TPM_ALG.OAEP, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
SHA256_HASH = TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256)
# NIST P-256 [FIPS 186-4, D.1.2.3]
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


# --- RSA and ECC ------------------------------------------------------------------------------


@runs(RSA_Encrypt, RSA_Decrypt)
def test_rsa_encryption_is_undone_by_the_other_side(tpm: Tpm):
    pair = rsa_pair(TPMA_OBJECT.decrypt)
    oaep = padding.OAEP(padding.MGF1(SHA256), SHA256, b"label\0")
    with pair.load(tpm) as key:
        encrypt = RSA_Encrypt(keyHandle=key, message=DATA, inScheme=OAEP, label=b"label\0")
        assert pair.private.decrypt(tpm.execute(encrypt).outData, oaep) == DATA
        cipher = pair.private.public_key().encrypt(DATA, oaep)
        decrypt = RSA_Decrypt(keyHandle=key, cipherText=cipher, inScheme=OAEP, label=b"label\0")
        assert tpm.execute(decrypt).message == DATA
        with pytest.raises(TpmError, match="TPM_RC_SIZE"):
            tpm.execute(decrypt.replace(cipherText=cipher[:-1]))


@runs(ECDH_KeyGen, ECDH_ZGen)
def test_both_sides_agree_on_a_point(tpm: Tpm):
    pair, other = ecc_pair(TPMA_OBJECT.decrypt), ec.generate_private_key(ec.SECP256R1())
    with pair.load(tpm) as key:
        made = tpm.execute(ECDH_KeyGen(keyHandle=key))
        assert made.zPoint.x == agreed(pair.private, made.pubPoint)
        zgen = ECDH_ZGen(keyHandle=key, inPoint=point(other.public_key()))
        assert tpm.execute(zgen).outPoint.x == agreed(other, pair.public.unique)
        with pytest.raises(TpmError, match=r"TPM_RC_ECC_POINT \(parameter 1\)"):
            tpm.execute(ECDH_ZGen(keyHandle=key, inPoint=TPMS_ECC_POINT(x=b"\1", y=b"\1")))


@runs(ECC_Parameters)
def test_a_curve_is_that_of_the_standard(tpm: Tpm):
    curve = tpm.execute(ECC_Parameters(curveID=TPM_ECC.NIST_P256)).parameters
    numbers = (curve.p, curve.a, curve.b, curve.gX, curve.gY, curve.n, curve.h)
    assert tuple(int.from_bytes(each, "big") for each in numbers) == (P, P - 3, B, *G, N, 1)
    assert (curve.curveID, curve.keySize) == (TPM_ECC.NIST_P256, 256)


@runs(EC_Ephemeral, ZGen_2Phase)
def test_two_phases_agree_on_two_points_once(tpm: Tpm):
    scheme = TPMT_ECC_SCHEME(scheme=TPM_ALG.ECDH, details=SHA256_HASH)
    ours = ecc_pair(TPMA_OBJECT.decrypt, scheme)
    static, ephemeral = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    with ours.load(tpm) as key:
        started = tpm.execute(EC_Ephemeral(curveID=TPM_ECC.NIST_P256))
        zgen = ZGen_2Phase(
            keyA=key,
            inQsB=point(static.public_key()),
            inQeB=point(ephemeral.public_key()),
            inScheme=TPM_ALG.ECDH,
            counter=started.counter,
        )
        made = tpm.execute(zgen)
        assert made.outZ1.x == agreed(static, ours.public.unique)
        assert made.outZ2.x == agreed(ephemeral, started.Q)
        with pytest.raises(TpmError, match="from ZGen_2Phase"):
            tpm.execute(zgen)


@runs(Commit, Sign)
def test_a_commitment_is_the_point_that_its_signature_proves(tpm: Tpm):
    """With s = r + T*d, where T is the digest of nonce and message: s*G - T*Q = r*G."""
    scheme = TPMT_ECC_SCHEME(
        scheme=TPM_ALG.ECDAA, details=TPMS_SCHEME_ECDAA(hashAlg=TPM_ALG.SHA256, count=0)
    )
    pair = ecc_pair(TPMA_OBJECT.sign, scheme)
    base = TPMS_ECC_POINT(x=G[0].to_bytes(32, "big"), y=G[1].to_bytes(32, "big"))
    with pair.load(tpm) as key:
        made = tpm.execute(Commit(signHandle=key, P1=base))
        details = TPMS_SCHEME_ECDAA(hashAlg=TPM_ALG.SHA256, count=made.counter)
        signed = key.sign(sha256(DATA), TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDAA, details=details))
    nonce, s = signed.signature.signatureR, signed.signature.signatureS
    t = int.from_bytes(sha256(nonce, sha256(DATA)), "big") % N
    public = tuple(int.from_bytes(c, "big") for c in (pair.public.unique.x, pair.public.unique.y))
    committed = add(times(int.from_bytes(s, "big"), G), times(N - t, public))
    assert committed == tuple(int.from_bytes(c, "big") for c in (made.E.x, made.E.y))
    assert (TPMS_ECC_POINT(), TPMS_ECC_POINT()) == (made.K, made.L)


Affine = tuple[int, int]


def add(one: Affine | None, other: Affine | None) -> Affine | None:
    if one is None or other is None:
        return one or other
    (x, y), (u, v) = one, other
    if x == u and (y + v) % P == 0:
        return None
    slope = (3 * x * x - 3) * pow(2 * y, -1, P) if one == other else (v - y) * pow(u - x, -1, P)
    third = (slope * slope - x - u) % P
    return third, (slope * (x - third) - y) % P


def times(number: int, base: Affine) -> Affine | None:
    total, power = None, base
    while number:
        total = add(total, power) if number & 1 else total
        number, power = number >> 1, add(power, power)
    return total


@runs(Sign, VerifySignature)
def test_each_side_verifies_the_signatures_of_the_other(tpm: Tpm):
    pair = ecc_pair(TPMA_OBJECT.sign)
    with pair.load(tpm) as key:
        verify(pair.public, key.sign(sha256(DATA), ECDSA), DATA)
        check = VerifySignature(
            keyHandle=key, digest=sha256(DATA), signature=signature(pair.private, DATA)
        )
        tpm.execute(check)
        with pytest.raises(TpmError, match=r"TPM_RC_SIGNATURE \(parameter 2\)"):
            tpm.execute(check.replace(digest=sha256(DATA + b"!")))


# --- ciphers, hashes, MACs ----------------------------------------------------------------------


@runs(EncryptDecrypt, EncryptDecrypt2)
def test_a_cipher_gives_what_everybody_gets(tpm: Tpm):
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    expected = encryptor.update(BLOCKS) + encryptor.finalize()
    plain = {"decrypt": False, "mode": TPM_ALG.CBC, "ivIn": IV, "inData": BLOCKS}
    with cipher_key(tpm, KEY) as key:
        for command in (EncryptDecrypt, EncryptDecrypt2):
            encrypt = command(keyHandle=key, **plain)
            made = tpm.execute(encrypt)
            assert (made.outData, made.ivOut) == (expected, expected[-16:])
            assert tpm.execute(encrypt.replace(decrypt=True, inData=expected)).outData == BLOCKS


@runs(Hash)
@pytest.mark.parametrize("name", ["sha1", "sha256", "sha384", "sha512"])
def test_a_hash_is_that_of_hashlib(tpm: Tpm, name: str):
    answer = tpm.execute(Hash(data=DATA, hashAlg=TPM_ALG[name.upper()], hierarchy=TPM_RH.OWNER))
    assert answer.outHash == hashlib.new(name, DATA).digest()
    assert answer.validation.hierarchy is TPM_RH.OWNER


@runs(HMAC)
def test_an_hmac_is_that_of_the_standard_library(tpm: Tpm):
    with hmac_key(tpm, KEY) as key:
        assert tpm.execute(HMAC(handle=key, buffer=DATA)).outHMAC == hmac.digest(
            KEY, DATA, "sha256"
        )


@runs(HMAC_Start, SequenceUpdate, SequenceComplete)
def test_an_hmac_over_parts_is_that_over_the_whole(tpm: Tpm):
    with hmac_key(tpm, KEY) as key:
        sequence = tpm.execute(HMAC_Start(handle=key, auth=b"pin")).sequenceHandle
        pin = PasswordSession(b"pin")
        tpm.execute(SequenceUpdate(sequenceHandle=sequence, buffer=DATA[:7]), pin)
        end = SequenceComplete(sequenceHandle=sequence, buffer=DATA[7:])
        assert tpm.execute(end, pin).result == hmac.digest(KEY, DATA, "sha256")


@runs(HashSequenceStart, SequenceUpdate, SequenceComplete)
def test_a_hash_over_parts_is_that_over_the_whole(tpm: Tpm):
    """There is a ticket, as the first part shows that no structure of the TPM begins there."""
    start = HashSequenceStart(hashAlg=TPM_ALG.SHA384)
    sequence = tpm.execute(start).sequenceHandle
    for part in (DATA[:4], b"", DATA[4:20]):
        tpm.execute(SequenceUpdate(sequenceHandle=sequence, buffer=part))
    end = SequenceComplete(sequenceHandle=sequence, buffer=DATA[20:], hierarchy=TPM_RH.ENDORSEMENT)
    answer = tpm.execute(end)
    assert answer.result == hashlib.sha384(DATA).digest()
    assert answer.validation.hierarchy is TPM_RH.ENDORSEMENT


@runs(HashSequenceStart, SequenceUpdate, EventSequenceComplete)
def test_an_event_over_parts_is_hashed_for_each_bank_and_goes_into_the_pcr(tpm: Tpm):
    only_16 = (TPMS_PCR_SELECTION(hash=TPM_ALG.SHA256, pcrSelect=b"\0\0\1"),)
    (before,) = tpm.execute(PCR_Read(pcrSelectionIn=only_16)).pcrValues
    sequence = tpm.execute(HashSequenceStart(hashAlg=TPM_ALG.NULL)).sequenceHandle
    tpm.execute(SequenceUpdate(sequenceHandle=sequence, buffer=DATA[:5]))
    end = EventSequenceComplete(pcrHandle=16, sequenceHandle=sequence, buffer=DATA[5:])
    results = tpm.execute(end).results
    assert TPMT_HA(hashAlg=TPM_ALG.SHA256, digest=sha256(DATA)) in results
    for each in results:
        assert each.digest == hashlib.new(TPM_ALG(each.hashAlg).name.lower(), DATA).digest()
    assert tpm.execute(PCR_Read(pcrSelectionIn=only_16)).pcrValues == (
        sha256(before, sha256(DATA)),
    )
