"""The policies of key files: as other programs wrote them, as we write them, and run for SSH."""

import base64
import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from conftest import Swtpm, forgive, left_loaded
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from hypothesis import given
from hypothesis import strategies as st
from ssh_fixtures import strings

from tpmwire import policy
from tpmwire.attributes import TPMA_LOCALITY, TPMA_NV, TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.commands import (
    EvictControl,
    NV_DefineSpace,
    NV_ReadPublic,
    NV_UndefineSpace,
    PCR_Extend,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_ECC, TPM_EO, TPM_RC, TPM_RH
from tpmwire.errors import EncodeError, Error, KeyFileError, PolicyError, TpmError
from tpmwire.keyfile import KeyFile
from tpmwire.policy import Policy
from tpmwire.policy.bodies import Alternative, Body, read_policy, write_policy
from tpmwire.ssh.occasion import Occasion
from tpmwire.ssh.pins import Ask
from tpmwire.ssh.tpmkey import TpmKey
from tpmwire.templates import ECC_SIGN, ECC_SRK, ecc_public
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_NV_PUBLIC,
    TPMS_SIGNATURE_ECDSA,
    TPMT_HA,
    TPMT_PUBLIC,
    TPMT_SIGNATURE,
)

SHA256, SHA384 = TPM_ALG.SHA256, TPM_ALG.SHA384
OWNER = Entity.permanent(TPM_RH.OWNER)

# --- what others wrote ------------------------------------------------------------------------

# go-tpm-keyfiles, testdata/p256-authvalue.tpm and testdata/skey.tpm, made by openssl_tpm2_engine.
# Copyright (c) 2024 Morten Linderud, MIT License.
AUTH_VALUE_PEM = """\
-----BEGIN TSS2 PRIVATE KEY-----
MIIBhwYGZ4EFCgEDoAMBAf+hVDBSMESgBAICAX+hPAQ6AAAAAQALAwAAAcMBCDv6
aivT+mJ3BbtOX/fR0xdRaBXOFBbND0wgPS/ZKtDuzW6AoMdyF+aTK38JLDAKoAQC
AgFroQIEAAIEQAAAAQSBiACGACMADAAGBCAAMHf1v0EvDoUfP3dzEYvmo5F3CyTB
FpUSLiWBAV1tdnF+OUwG+7uZpNaihF+kwDpaOwAQABAAAwAQACAu0qYu8sbOWoqJ
dZVJ64MVoltVH87sXD7/XlSs0e3iGQAg5TFK62WZl3M659tmvM7QcST+pnq0zepi
WGlp8NXypo0EgZAAjgAg64+59N8voRFqnhCfMeFK/waXF0R10Hlpcau2ttMXSVkA
EJaWZSVl/BEJC24ubuzr5lVtjM1f97dg6napf6JGX4ys/9VlyUUv7apK8jHtjTJp
lLswcZWBHiqVU5sfdJVbHIqFwJfprRSI43XptcY6/KK73Ra7Jz/nUrYnvjzsxDvF
3sw6LKHqMilCHx0=
-----END TSS2 PRIVATE KEY-----
"""
AUTHORIZE_PEM = """\
-----BEGIN TSS2 PRIVATE KEY-----
MIID4QYGZ4EFCgEDoYGMMIGJMIGGoAQCAgFqoX4EfABWACMACwAGAEAAAAAQABAA
AwAQACAEUsL4b9s1HHYPEWDLcBPVCwq4XOr+g4uP8q5hnA4PSQAgitb0x6MX8Us6
8Wq4UFA7EXpuzGVbUVOYVPGFJFebA98AIBswlKFTXYRk6aZCewmN3d8o67MXl4fq
VVCMf/O4Y3KcABCjggEhMIIBHTCCARmgCAwGc2VjcmV0oYIBCzCCAQcwNKAEAgIB
UaEsBCqBAFVVACIAC63CuKAkwvOxscpFDK2oNOtL1VpeCOyp7jHXDz1jVRsvAAAw
gc6gBAICAWqhgcUEgcIAVgAjAAsABgBAAAAAEAAQAAMAEAAgBFLC+G/bNRx2DxFg
y3AT1QsKuFzq/oOLj/KuYZwOD0kAIIrW9MejF/FLOvFquFBQOxF6bsxlW1FTmFTx
hSRXmwPfACAbMJShU12EZOmmQnsJjd3fKOuzF5eH6lVQjH/zuGNynAAYAAsAICFo
Cp9DRxpxvR3j/b5a1J5Af2EsIyswy/+0+16HsOhNACBDracV02dFQpPEHxDoC5A8
PWNZ9IBRaVbb2iBOa4pn9QIEQAAAAQSCATgBNgABAAsAAgQgACDgs1XU9tz9dtoJ
VHD/ax1bjg/dmfBrt13OExysV81UCQAQABAIAAAAAAABAMQSVgaBuP/8EbIaZCEr
+CjwZa+MxTEa/G1lLCz5Xr+sJnpwJ6vsIKgQWOs0lXs7ZYH6VAANrLOD0xXxBI/x
j7nxde7kHEJ16qqEmRQ8PUvZCcFAu45TqtlYOaM80zYbR++DGwdfwNs4fifYymUA
yWtNBrsQq165blZMN3ADWi3HumdaP9xr2rkCqE8/57yDff+GrDOmgtdxhRdEG6n/
D2aLxljraGbS0O5Eb1pJ/wUr4T5vjJrKjrz/H0ws5KIwwtfIQ0di+0HB92fqrd1s
ws8Xq/LPPPRxm/ku9fg0OFBb4X5COjyAjTs5xQR8sFhnqblEOCb8+Z3b2bXovBXg
dnUEgeAA3gAg3Uef/btDbW01lfVbOkpo6eav986SFV6whEyAtRRssIoAEPKjyyyK
uAXltUQApFm+oubSJ5YZZIMTOvMbfc+VIZb95oFCjVHZ0JlUBCjeoW9a5Fapp7LI
AADnGPJXe6IRlKpnYGJ8RGSFx8bgxSqH/SJdAg/c3j/abmA4SCO+LPD8AOTjiZ4d
C+PKGRCaI7bRhVpKdOpMugH6nb0cfM7VNo5DPXSkdVMBsfPZ95r3YibvQtx69zsD
M+ZaTxMbMa63ipzxg4O/vZ8WqH6L1XV9XOX77tBI9qR5fqgRVw==
-----END TSS2 PRIVATE KEY-----
"""

PCRS = "00000001 000b 03 c30108"


def sha(alg: str, *parts: bytes | str) -> bytes:
    """Hash octets, and hex digits as those that they stand for."""
    octets = (bytes.fromhex(part) if isinstance(part, str) else part for part in parts)
    return hashlib.new(alg, b"".join(octets)).digest()


def policy_of(file: KeyFile) -> Policy:
    return read_policy(file.policy, file.auth_policy, hash_alg=file.public.nameAlg)


def test_a_policy_with_pcrs_and_a_pin_is_read_and_has_the_digest_of_the_key():
    file = KeyFile.from_pem(AUTH_VALUE_PEM)
    (pcr, content), (pin, nothing) = file.policy
    assert (pcr, pin, nothing) == (0x17F, 0x16B, b"")
    by_hand = sha("sha384", sha("sha384", bytes(48), "0000017f", content), "0000016b")
    assert by_hand == file.public.authPolicy
    assert policy_of(file).digest(SHA384) == by_hand
    assert policy_of(file).explain().splitlines() == [
        f"PCR 16 (SHA256) have a content of the digest {content[10:].hex()}",
        "the PIN of the object is proved",
    ]


def test_an_approved_policy_is_read_and_its_approval_verifies():
    file = KeyFile.from_pem(AUTHORIZE_PEM)
    (step,) = policy_of(file).steps
    assert isinstance(step, policy.Authorize)
    name = b"\0\x0b" + sha("sha256", step.key.pack())
    inner = sha("sha256", bytes(32), "0000016a", name)
    assert file.public.authPolicy == sha("sha256", inner, step.policyRef)
    assert policy_of(file).digest(SHA256) == file.public.authPolicy
    (approved,) = step.approved
    (secret,) = approved.policy.steps
    assert isinstance(secret, policy.Secret)
    assert (approved.policy.name, secret.entity.handle) == ("secret", 0x81005555)
    digest = sha("sha256", sha("sha256", bytes(32), "00000151", secret.entity.name))
    assert approved.policy.digest(SHA256) == digest
    verified(step.key, approved.signature, digest + step.policyRef)
    with pytest.raises(InvalidSignature):
        verified(step.key, approved.signature, digest + b"another reference")


def verified(key: TPMT_PUBLIC, signature: TPMT_SIGNATURE, octets: bytes) -> None:
    """Verify a signature by somebody else's program."""
    x, y = (int.from_bytes(n, "big") for n in (key.unique.x, key.unique.y))
    made = signature.signature
    r, s = (int.from_bytes(n, "big") for n in (made.signatureR, made.signatureS))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), octets, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("pem", [AUTH_VALUE_PEM, AUTHORIZE_PEM], ids=["policy", "authPolicy"])
def test_what_others_wrote_is_written_again_as_it_was(pem: str):
    file = KeyFile.from_pem(pem)
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    written = write_policy(policy_of(file), hash_alg=file.public.nameAlg)
    assert written == (file.policy, file.auth_policy)
    again = file.with_policy(()).with_policy(*written)
    assert again == file
    # What is left out means False, and is written as such.
    if der[12] == 0xA0:
        assert again.to_der() == der
    else:
        size = (len(der) - 4 + 5).to_bytes(2, "big")
        assert again.to_der() == b"".join(
            (b"\x30\x82", size, der[4:12], bytes.fromhex("a0 03 01 01 00"), der[12:])
        )


# --- octets -----------------------------------------------------------------------------------

PLAIN = KeyFile(
    public=ECC_SIGN.replace(
        unique=TPMS_ECC_POINT(  # the generator of P-256
            x=bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
            y=bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        )
    ),
    private=b"private",
)

BY_HAND: dict[str, tuple[policy.Policy, int, str]] = {
    "AuthValue": (policy.AuthValue(), 0x16B, ""),
    "Password": (policy.Password(), 0x18C, ""),
    "PhysicalPresence": (policy.PhysicalPresence(), 0x187, ""),
    "PCR": (
        policy.PCR({SHA256: {7: bytes(32)}}).at(SHA256),
        0x17F,
        "00000001 000b 03 800000" + hashlib.sha256(bytes(32)).hexdigest(),
    ),
    "CounterTimer": (
        policy.CounterTimer(b"\1\2\3\4\5\6\7\x08", 8, TPM_EO.UNSIGNED_LE),
        0x16D,
        "0102030405060708 0008 0009",
    ),
    "CounterTimer, unknown": (policy.CounterTimer(b"", 1, 0x77), 0x16D, "0001 0077"),
    "CommandCode": (policy.CommandCode(TPM_CC.Sign), 0x16C, "0000015d"),
    "CommandCode, a vendor's": (policy.CommandCode(0x20000001), 0x16C, "20000001"),
    "Locality": (policy.Locality(TPMA_LOCALITY(0x0C)), 0x16F, "0c"),
    "Secret": (policy.Secret(OWNER, b"ref"), 0x151, "40000001 0004 40000001 0003 726566"),
    "Authorize": (
        policy.Authorize(PLAIN.public, policyRef=b"ref"),
        0x16A,
        f"0056 {PLAIN.public.pack().hex()} 0003 726566 0010",
    ),
}


@pytest.mark.parametrize(("step", "code", "octets"), BY_HAND.values(), ids=BY_HAND.keys())
def test_a_step_is_the_octets_that_are_written_by_hand(step: Any, code: int, octets: str):
    body = Body(code, bytes.fromhex(octets))
    assert write_policy(Policy(step), hash_alg=SHA256) == ((body,), ())
    read = read_policy([body], hash_alg=SHA256)
    assert read.digest(SHA256) == Policy(step).digest(SHA256)
    if step != policy.Password():
        assert read == Policy(step)


def test_what_asks_for_a_password_is_read_as_what_does_not_give_it_away():
    assert read_policy([Body(0x18C)], hash_alg=SHA256) == Policy(policy.AuthValue())


@pytest.mark.parametrize(
    ("code", "octets", "message"),
    [
        (0x16B, "00", "1 octets where none is wanted"),
        (0x18C, "00", "1 octets where none is wanted"),
        (0x187, "00", "1 octets where none is wanted"),
        (0x17F, "00" * 32, "malformed"),
        (0x17F, "00" * 31, "malformed"),
        (0x17F, "00000001 000b 03 800000 00" + "00" * 32, "malformed"),
        (0x16D, "000000", "malformed"),
        (0x16C, "015d", "malformed"),
        (0x16C, "0000015d00", "malformed"),
        (0x16F, "", "malformed"),
        (0x16F, "0101", "malformed"),
        (0x151, "40000001 0004 40000001 0003 7265", "malformed"),
        (0x151, "40000001 0004 40000001 0000 00", "malformed"),
        (0x16A, "0000 0000 0010", "malformed"),
        (0x171, "", "not known what PolicyOR means"),
        (0x160, "", "not known what PolicySigned means"),
        (0x20001234, "abcd", "not known what 0x20001234 means"),
    ],
)
def test_a_step_that_makes_no_sense_is_a_key_file_error(code: int, octets: str, message: str):
    with pytest.raises(KeyFileError, match=message):
        read_policy([Body(code, bytes.fromhex(octets))], hash_alg=SHA256)


@given(
    st.lists(st.tuples(st.sampled_from([c for _, c, _ in BY_HAND.values()]), st.binary())),
    st.sampled_from([SHA256, SHA384, TPM_ALG.NULL]),
)
def test_whatever_octets_a_policy_has_it_is_read_or_a_key_file_error(
    steps: list[tuple[int, bytes]], alg: TPM_ALG
):
    bodies = tuple(Body(*step) for step in steps)
    try:
        read = read_policy(bodies, [Alternative("a", bodies)], hash_alg=alg)
    except KeyFileError:
        return
    assert isinstance(read, Policy)


def test_a_step_that_a_key_file_cannot_hold_is_an_encode_error():
    branches = policy.Or(Policy(policy.AuthValue()), Policy(policy.PhysicalPresence()))
    with pytest.raises(EncodeError, match="cannot hold the step Or"):
        write_policy(Policy(branches), hash_alg=SHA256)


def test_steps_of_unknown_kinds_survive_a_rewrite():
    bodies = (Body(0x20001234, b"whatever"), Body(0x16B), Body(0xFFFFFFFF))
    alternatives = (Alternative("a", bodies), Alternative(None, ()))
    der = PLAIN.with_policy(bodies, alternatives).to_der()
    found = KeyFile.from_der(der)
    assert found.to_der() == der
    assert (found.policy, found.auth_policy) == (bodies, alternatives)
    assert found.has_policy
    changed = found.replace(private=b"another PIN")
    assert (changed.policy, changed.auth_policy) == (bodies, alternatives)


def test_without_a_policy_none_is_read_or_written():
    assert (PLAIN.policy, PLAIN.auth_policy, PLAIN.has_policy) == ((), (), False)
    with_one = PLAIN.with_policy([Body(0x16B)], [Alternative("a", ())])
    assert with_one.with_policy(()) == PLAIN


def test_other_elements_stay_when_a_policy_is_given():
    secret, later = bytes.fromhex("a2 04 04 02 00 00"), bytes.fromhex("a6 02 04 00")
    file = PLAIN.replace(others=(secret, later)).with_policy([Body(0x16B)])
    policy_der = bytes.fromhex("a1 0e 30 0c 30 0a a0 04 02 02 01 6b a1 02 04 00")
    assert file.others == (policy_der, secret, later)


@pytest.mark.parametrize(
    "element", ["a1 02 04 00", "a1 04 30 02 30 00", "a3 04 30 02 30 00", "a1 05 30 03 02 01 05"]
)
def test_a_malformed_policy_is_kept_but_not_read(element: str):
    file = PLAIN.replace(others=(bytes.fromhex(element),))
    assert KeyFile.from_der(file.to_der()) == file
    with pytest.raises(KeyFileError, match="the policy in the TSS2 PRIVATE KEY is malformed"):
        _ = file.policy, file.auth_policy


# --- approvals --------------------------------------------------------------------------------


class Authority:
    """The holder of a P-256 key outside the TPM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        point = TPMS_ECC_POINT(x=numbers.x.to_bytes(32, "big"), y=numbers.y.to_bytes(32, "big"))
        plain = ecc_public(TPM_ECC.NIST_P256, TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth)
        self.public = plain.replace(unique=point)

    def sign(self, octets: bytes) -> TPMT_SIGNATURE:
        made = self._key.sign(octets, ec.ECDSA(hashes.SHA256()))
        r, s = (number.to_bytes(32, "big") for number in decode_dss_signature(made))
        details = TPMS_SIGNATURE_ECDSA(hash=SHA256, signatureR=r, signatureS=s)
        return TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=details)

    def approve(self, whole: Policy, reference: bytes = b"") -> policy.Approved:
        return policy.Approved(whole, self.sign(whole.digest(SHA256) + reference))


AUTHORITY, ANOTHER = Authority(), Authority()


def test_approved_policies_are_written_and_read_again():
    first = AUTHORITY.approve(Policy(policy.AuthValue(), name="pin"))
    second = AUTHORITY.approve(Policy(policy.CommandCode(TPM_CC.Sign), name="no pin"))
    whole = Policy(policy.Authorize(AUTHORITY.public, (first, second)), policy.PhysicalPresence())
    bodies, alternatives = write_policy(whole, hash_alg=SHA256)
    assert [body.code for body in bodies] == [0x16A, 0x187]
    assert [(a.name, [b.code for b in a.bodies]) for a in alternatives] == [
        ("pin", [0x16B, 0x16A]),
        ("no pin", [0x16C, 0x16A]),
    ]
    assert read_policy(bodies, alternatives, hash_alg=SHA256) == whole


def test_an_approval_of_an_approval_is_written_and_read_again():
    inner = policy.Authorize(
        ANOTHER.public, (ANOTHER.approve(Policy(policy.AuthValue(), name="x")),)
    )
    outer = AUTHORITY.approve(Policy(inner, name="both"))
    whole = Policy(policy.Authorize(AUTHORITY.public, (outer,)))
    bodies, alternatives = write_policy(whole, hash_alg=SHA256)
    assert [[b.code for b in a.bodies] for a in alternatives] == [[0x16B, 0x16A, 0x16A]]
    read = read_policy(bodies, alternatives, hash_alg=SHA256)
    assert [path.steps[0] for path in read.paths()] == [policy.AuthValue()]
    assert read.digest(SHA256) == whole.digest(SHA256)
    assert write_policy(read, hash_alg=SHA256) == (bodies, alternatives)


def test_what_others_have_approved_is_no_alternative():
    mine = policy.Authorize(AUTHORITY.public, policyRef=b"here")
    bodies, _ = write_policy(Policy(mine), hash_alg=SHA256)
    for key, reference in ((AUTHORITY, b"there"), (ANOTHER, b"here")):
        approved = key.approve(Policy(policy.AuthValue()), reference)
        step = policy.Authorize(key.public, (approved,), reference)
        _, alternatives = write_policy(Policy(step), hash_alg=SHA256)
        assert read_policy(bodies, alternatives, hash_alg=SHA256) == Policy(mine)
    unsigned = [Alternative("a", (Body(0x16B), *bodies)), Alternative("b", ())]
    assert read_policy(bodies, unsigned, hash_alg=SHA256) == Policy(mine)


def test_alternatives_that_others_call_alike_are_told_apart():
    steps = [
        policy.AuthValue(),
        policy.CommandCode(1),
        policy.CommandCode(2),
        policy.CommandCode(3),
    ]
    approved = tuple(AUTHORITY.approve(Policy(step)) for step in steps)
    whole = Policy(policy.Authorize(AUTHORITY.public, approved))
    bodies, alternatives = write_policy(whole, hash_alg=SHA256)
    for names in (["a", "a", "b", None], ["2", "a/b", "", "x"], ["4", "3", "2", "1"]):
        renamed = [Alternative(n, a.bodies) for n, a in zip(names, alternatives, strict=True)]
        read = read_policy(bodies, renamed, hash_alg=SHA256)
        assert len({path.labels for path in read.paths()}) == 4


def test_one_policy_does_not_ask_for_two_choices():
    """Otherwise a short file could have more ways through it than anybody can try."""
    approved = tuple(AUTHORITY.approve(Policy(policy.CommandCode(n))) for n in range(9))
    bodies, alternatives = write_policy(
        Policy(policy.Authorize(AUTHORITY.public, approved)), hash_alg=SHA256
    )
    read = read_policy(bodies * 50, alternatives, hash_alg=SHA256)
    assert len(list(islice(read.paths(), 10))) == 9


# --- SSH --------------------------------------------------------------------------------------

INDEX = 0x01800007


class NoPinError(Error):
    """Nobody gave a PIN."""


def nobody(prompt: str, occasion: Occasion) -> bytes:
    raise NoPinError(prompt)


@pytest.fixture(autouse=True)
def nothing_stays_loaded(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "swtpm" in request.fixturenames:
        assert left_loaded(request.getfixturevalue("swtpm")) == ()


def made_in(swtpm: Swtpm, whole: Policy, auth: bytes = b"", alg: TPM_ALG = SHA256) -> KeyFile:
    """Make a key that only its policy lets use, and its file."""
    attributes = ECC_SIGN.objectAttributes & ~TPMA_OBJECT.userWithAuth
    template = ECC_SIGN.replace(
        nameAlg=alg, authPolicy=whole.digest(alg), objectAttributes=attributes
    )
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        made = srk.create(template, auth)
    file = KeyFile(public=made.outPublic, private=made.outPrivate, empty_auth=not auth)
    return KeyFile.from_pem(file.with_policy(*write_policy(whole, hash_alg=alg)).to_pem())


def signs(swtpm: Swtpm, file: KeyFile, ask: Ask = nobody) -> bool:
    """Make an SSH signature, and verify it by somebody else's program."""
    key = TpmKey(file, "id", lambda: Tpm(connect(swtpm.conf)), ask)
    octets = strings(key.sign(b"data", 0))[1]
    r, s = (int.from_bytes(number, "big") for number in strings(octets))
    public: Any = load_ssh_public_key(b"ecdsa-sha2-nistp256 " + base64.b64encode(key.blob))
    public.verify(encode_dss_signature(r, s), b"data", ec.ECDSA(hashes.SHA256()))
    return True


def answers(given: dict[str, bytes]) -> tuple[Ask, list[str]]:
    """Make somebody who answers prompts, and a list of what they were asked."""
    asked: list[str] = []

    def answer(prompt: str, occasion: Occasion) -> bytes:
        asked.append(prompt)
        return given[prompt]

    return answer, asked


def logged(swtpm: Swtpm) -> str:
    return "".join(swtpm.log.read_text().lower().split())


PIN = "PIN for TPM key id: "


@pytest.mark.parametrize("step", [policy.AuthValue(), policy.Password()])
@pytest.mark.parametrize("alg", [SHA256, SHA384])
def test_a_key_whose_policy_wants_the_pin_signs_and_the_pin_does_not_travel(
    swtpm: Swtpm, step: Any, alg: TPM_ALG
):
    file = made_in(swtpm, Policy(step), b"unspoken", alg)
    ask, asked = answers({PIN: b"unspoken"})
    assert signs(swtpm, file, ask)
    assert asked == [PIN]
    assert b"unspoken".hex() not in logged(swtpm)


def test_a_wrong_pin_is_refused(swtpm: Swtpm):
    file = made_in(swtpm, Policy(policy.AuthValue()), b"right")
    with pytest.raises(TpmError) as caught:
        signs(swtpm, file, lambda prompt, occasion: b"wrong")
    assert caught.value.code == TPM_RC.AUTH_FAIL
    assert "left before the TPM locks" in caught.value.help
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


def test_a_key_without_a_pin_asks_for_none(swtpm: Swtpm):
    assert signs(swtpm, made_in(swtpm, Policy(policy.AuthValue())))
    assert signs(swtpm, made_in(swtpm, Policy(policy.CommandCode(TPM_CC.Sign))))


def test_a_key_with_a_pcr_policy_signs_until_the_pcr_changes(swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm:
        whole = Policy(policy.PCR.read(tpm, {SHA256: (12,), SHA384: (12,)}), policy.AuthValue())
    file = made_in(swtpm, whole, b"pin")
    assert signs(swtpm, file, lambda prompt, occasion: b"pin")
    event = PCR_Extend(pcrHandle=12, digests=(TPMT_HA(hashAlg=SHA256, digest=b"e" * 32),))
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(event)
    with pytest.raises(PolicyError, match=r"policy of TPM key id cannot be met: PCR 12 .*VALUE"):
        signs(swtpm, file, lambda prompt, occasion: b"pin")


def approved_file(swtpm: Swtpm) -> KeyFile:
    """Make a key with three approved ways: a PIN, a PCR that is not so, and a command."""
    ways = (
        Policy(policy.AuthValue(), name="pin"),
        Policy(policy.PCR({SHA256: {13: b"n" * 32}}), name="measured"),
        Policy(policy.CommandCode(TPM_CC.Quote), name="quote"),
    )
    approved = tuple(AUTHORITY.approve(way, b"ref") for way in ways)
    return made_in(swtpm, Policy(policy.Authorize(AUTHORITY.public, approved, b"ref")), b"pin")


def without(file: KeyFile, name: str) -> KeyFile:
    left = [alternative for alternative in file.auth_policy if alternative.name != name]
    return file.with_policy(file.policy, left)


def test_of_approved_policies_one_that_holds_is_found(swtpm: Swtpm):
    file = without(approved_file(swtpm), "quote")
    ask, asked = answers({PIN: b"pin"})
    assert signs(swtpm, file, ask)
    assert asked == [PIN]
    with pytest.raises(PolicyError) as caught:
        signs(swtpm, without(file, "pin"))
    ((branch, step, reason),) = caught.value.failures
    assert (branch, step) == ("measured", f"PCR 13 (SHA256) have a content of the digest "
        f"{hashlib.sha256(b'n' * 32).hexdigest()}")  # fmt: skip
    assert "TPM_RC_VALUE" in reason


def test_people_are_asked_once_though_two_ways_want_the_same(swtpm: Swtpm, index: Entity):
    wrong = policy.PCR({SHA256: {13: b"n" * 32}})
    secrets = (policy.Secret(index), policy.AuthValue())
    approved = tuple(AUTHORITY.approve(way) for way in (Policy(*secrets, wrong), Policy(*secrets)))
    whole = Policy(policy.Authorize(AUTHORITY.public, approved))
    ask, asked = answers({PASSWORD: b"sesame", PIN: b"pin"})
    assert signs(swtpm, made_in(swtpm, whole, b"pin"), ask)
    assert sorted(asked) == [PIN, PASSWORD]


def test_an_alternative_of_an_unknown_kind_does_not_keep_from_others(swtpm: Swtpm):
    approved = AUTHORITY.approve(Policy(policy.AuthValue()))
    whole = Policy(policy.Authorize(AUTHORITY.public, (approved,)))
    file = made_in(swtpm, whole)
    (known,) = file.auth_policy
    unknown = Alternative("new", (Body(0x20001234), known.bodies[-1]))
    assert signs(swtpm, file.with_policy(file.policy, [unknown, known]))
    with pytest.raises(PolicyError, match=r"what 0x20001234 means in a key file: .* no rule"):
        signs(swtpm, file.with_policy(file.policy, [unknown]))
    (step,) = read_policy(file.policy, [unknown], hash_alg=SHA256).steps
    with pytest.raises(PolicyError, match="what 0x20001234 means"):
        step.branches[0].digest(SHA256)


def test_nobody_is_asked_if_there_is_a_way_without_a_question(swtpm: Swtpm):
    ways = (Policy(policy.AuthValue()), Policy(policy.CommandCode(TPM_CC.Sign)))
    approved = tuple(AUTHORITY.approve(way) for way in ways)
    whole = Policy(policy.Authorize(AUTHORITY.public, approved))
    assert signs(swtpm, made_in(swtpm, whole, b"pin"))


def test_a_policy_that_nobody_has_approved_is_refused(swtpm: Swtpm):
    approved = policy.Approved(
        Policy(policy.AuthValue()), ANOTHER.sign(Policy(policy.AuthValue()).digest(SHA256))
    )
    file = made_in(swtpm, Policy(policy.Authorize(AUTHORITY.public, (approved,))))
    with pytest.raises(PolicyError, match=r"TPM_RC_SIGNATURE .* from VerifySignature"):
        signs(swtpm, file)
    with pytest.raises(PolicyError, match="no approved policy is known"):
        signs(swtpm, file.with_policy(file.policy))


@pytest.fixture
def index(swtpm: Swtpm) -> Iterator[Entity]:
    """An NV index with the password "sesame"."""
    attributes = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA
    public = TPMS_NV_PUBLIC(nvIndex=INDEX, nameAlg=SHA256, attributes=attributes, dataSize=1)
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        define = NV_DefineSpace(authHandle=TPM_RH.OWNER, auth=b"sesame", publicInfo=public)
        tpm.execute_protected(define, srk)
        name = tpm.execute(NV_ReadPublic(nvIndex=INDEX)).nvName
    yield Entity(INDEX, name)
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=INDEX))


PASSWORD = "Password of 0x01800007: "


def test_a_key_whose_policy_wants_another_secret_asks_for_it_and_does_not_tell_it(
    swtpm: Swtpm, index: Entity
):
    file = made_in(swtpm, Policy(policy.Secret(index, b"ref"), policy.AuthValue()), b"unsaid")
    ask, asked = answers({PASSWORD: b"sesame", PIN: b"unsaid"})
    assert signs(swtpm, file, ask)
    assert sorted(asked) == [PIN, PASSWORD]
    assert b"sesame".hex() not in logged(swtpm)
    assert b"unsaid".hex() not in logged(swtpm)
    with pytest.raises(PolicyError, match=r"secret of 0x01800007.*TPM_RC_BAD_AUTH"):
        signs(swtpm, file, lambda prompt, occasion: b"wrong")


def test_the_secret_of_a_hierarchy_is_asked_for(swtpm: Swtpm):
    file = made_in(swtpm, Policy(policy.Secret(OWNER)))
    ask, asked = answers({"Password of TPM_RH_OWNER: ": b""})
    assert signs(swtpm, file, ask)
    assert len(asked) == 1


def test_a_secret_goes_to_nobody_but_whom_the_policy_means(swtpm: Swtpm, index: Entity):
    impostor = Entity(INDEX, b"\0\x0b" + bytes(32))
    gone = [Entity(h, b"\0\x0b" + bytes(32)) for h in (0x81004444, 0x80ABCDEF, 0x0180ABCD)]
    for entity in (impostor, *gone):
        file = made_in(swtpm, Policy(policy.Secret(entity)))
        with pytest.raises(PolicyError, match=r"0x0?[18].* is not (in this TPM|what the policy)"):
            signs(swtpm, file, lambda prompt, occasion: b"sesame")
    assert b"sesame".hex() not in logged(swtpm)


def test_a_key_in_the_tpm_can_be_what_opens_another(swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        made = srk.create(ECC_SIGN, b"sesame")
        with srk.load(made.outPrivate, made.outPublic) as loaded:
            name = loaded.name
            keep = EvictControl(auth=TPM_RH.OWNER, objectHandle=loaded, persistentHandle=0x81005555)
            tpm.execute(keep)
    try:
        file = made_in(swtpm, Policy(policy.Secret(Entity(0x81005555, name))))
        assert signs(swtpm, file, lambda prompt, occasion: b"sesame")
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            tpm.execute(
                EvictControl(
                    auth=TPM_RH.OWNER, objectHandle=0x81005555, persistentHandle=0x81005555
                )
            )


def test_a_policy_that_is_not_that_of_the_key_is_refused_at_once(swtpm: Swtpm):
    file = made_in(swtpm, Policy(policy.AuthValue()))
    wrong = file.with_policy([Body(TPM_CC.PolicyCommandCode, bytes.fromhex("0000015d"))])
    for refused in (wrong, PLAIN.with_policy([Body(0x16B)])):
        with pytest.raises(KeyFileError, match="is not that of the key"):
            TpmKey(refused, "id", Tpm, nobody)
    with pytest.raises(KeyFileError, match="not known what 0x20001234 means"):
        TpmKey(file.with_policy([Body(0x20001234)]), "id", Tpm, nobody)
    with pytest.raises(KeyFileError, match="used by a policy only"):
        TpmKey(file.with_policy(()), "id", Tpm, nobody)
