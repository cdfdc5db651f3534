"""Policies without a TPM: digests against a second computation, and what is said in words."""

import hashlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpmwire import commands, policy
from tpmwire.attributes import TPMA_LOCALITY
from tpmwire.authorization import Entity
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_EO, TPM_RH, TPM_ST
from tpmwire.errors import EncodeError, Error, PolicyError
from tpmwire.policy import Policy
from tpmwire.policy.base import Step
from tpmwire.templates import ECC_SIGN
from tpmwire.types import TPMS_PCR_SELECTION, TPMT_SIG_SCHEME, TPMT_TK_AUTH

SHA256, SHA384 = TPM_ALG.SHA256, TPM_ALG.SHA384

KEY = ECC_SIGN
KEY_NAME = b"\x00\x0b" + hashlib.sha256(KEY.pack()).digest()
INDEX = Entity(0x01800001, b"\x00\x0b" + b"i" * 32)
OTHER = Entity(0x81000005, b"\x00\x0b" + b"o" * 32, b"swordfish")
D32 = bytes(range(32))
NULL_SCHEME = TPMT_SIG_SCHEME(scheme=TPM_ALG.NULL)


def sha256(*parts: bytes | str) -> bytes:
    """Hash octets, and hex digits as those that they stand for."""
    octets = (bytes.fromhex(part) if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(b"".join(octets)).digest()


def ticket(tag: int) -> policy.Ticket:
    proof = TPMT_TK_AUTH(tag=TPM_ST(tag), hierarchy=TPM_RH.OWNER, digest=D32)
    return policy.Ticket(KEY_NAME, proof, bytes(8), policyRef=b"ref")


OLD = b"\xaa" * 32
ZEROS = bytes(32)

# The arithmetic of the specification's Part 3, 23, written out for each step.
BY_HAND: dict[str, tuple[Step, Callable[[bytes], bytes]]] = {
    "Signed": (
        policy.Signed(KEY, policyRef=b"ref", cpHashA=D32, expiration=5),
        lambda old: sha256(sha256(old, "00000160", KEY_NAME), b"ref"),
    ),
    "Signed, no reference": (
        policy.Signed(KEY),
        lambda old: sha256(sha256(old, "00000160", KEY_NAME)),
    ),
    "Secret": (
        policy.Secret(OTHER, policyRef=b"ref", cpHashA=D32, expiration=-5),
        lambda old: sha256(sha256(old, "00000151", OTHER.name), b"ref"),
    ),
    "Secret of a hierarchy": (
        policy.Secret(Entity.permanent(TPM_RH.OWNER)),
        lambda old: sha256(sha256(old, "00000151 40000001")),
    ),
    "Ticket for a signature": (
        ticket(0x8025),
        lambda old: sha256(sha256(old, "00000160", KEY_NAME), b"ref"),
    ),
    "Ticket for a secret": (
        ticket(0x8023),
        lambda old: sha256(sha256(old, "00000151", KEY_NAME), b"ref"),
    ),
    "PCR": (
        policy.PCR({SHA256: {9: b"n" * 32, 0: b"z" * 32}, TPM_ALG.SHA1: {23: b"s" * 20}}),
        lambda old: sha256(
            *(old, "0000017f 00000002 000b 03 010200 0004 03 000080"),
            sha256(b"z" * 32, b"n" * 32, b"s" * 20),
        ),
    ),
    "PCR, more than others have": (
        policy.PCR({SHA256: {24: b"z" * 32}}),
        lambda old: sha256(old, "0000017f 00000001 000b 04 00000001", sha256(b"z" * 32)),
    ),
    "PCRDigest": (
        policy.PCRDigest((TPMS_PCR_SELECTION(hash=SHA384, pcrSelect=b"\1\0\0"),), D32),
        lambda old: sha256(old, "0000017f 00000001 000c 03 010000", D32),
    ),
    "Locality": (
        policy.Locality(TPMA_LOCALITY.TPM_LOC_ONE | TPMA_LOCALITY.TPM_LOC_THREE),
        lambda old: sha256(old, "0000016f 0a"),
    ),
    "NV": (
        policy.NV(INDEX, b"\1\2", TPM_EO.UNSIGNED_LE, 3),
        lambda old: sha256(old, "00000149", sha256("0102 0003 0009"), INDEX.name),
    ),
    "CounterTimer": (
        policy.CounterTimer(bytes(8), 8, TPM_EO.UNSIGNED_GE),
        lambda old: sha256(old, "0000016d", sha256(bytes(8), "0008 0007")),
    ),
    "Capability": (
        policy.Capability(TPM_CAP.TPM_PROPERTIES, 0x105, b"IBM\0", TPM_EO.NEQ, 4),
        lambda old: sha256(old, "0000019b", sha256(b"IBM\0", "0004 0001 00000006 00000105")),
    ),
    "CommandCode": (
        policy.CommandCode(TPM_CC.Duplicate),
        lambda old: sha256(old, "0000016c 0000014b"),
    ),
    "PhysicalPresence": (policy.PhysicalPresence(), lambda old: sha256(old, "00000187")),
    "CpHash": (policy.CpHash(D32), lambda old: sha256(old, "0000016e", D32)),
    "NameHash": (policy.NameHash(D32), lambda old: sha256(old, "00000170", D32)),
    "Template": (policy.Template(D32), lambda old: sha256(old, "00000190", D32)),
    "Parameters": (policy.Parameters(D32), lambda old: sha256(old, "0000019c", D32)),
    "DuplicationSelect": (
        policy.DuplicationSelect(OTHER.name, KEY_NAME),
        lambda old: sha256(old, "00000188", OTHER.name, "00"),
    ),
    "DuplicationSelect, one object": (
        policy.DuplicationSelect(OTHER.name, KEY_NAME, includeObject=True),
        lambda old: sha256(old, "00000188", KEY_NAME, OTHER.name, "01"),
    ),
    "AuthValue": (policy.AuthValue(), lambda old: sha256(old, "0000016b")),
    "Password": (policy.Password(), lambda old: sha256(old, "0000016b")),
    "NvWritten": (policy.NvWritten(), lambda old: sha256(old, "0000018f 01")),
    "NvWritten, never": (policy.NvWritten(written=False), lambda old: sha256(old, "0000018f 00")),
    "Authorize": (
        policy.Authorize(KEY, policyRef=b"ref"),
        lambda old: sha256(sha256(ZEROS, "0000016a", KEY_NAME), b"ref"),
    ),
    "AuthorizeNV": (
        policy.AuthorizeNV(INDEX),
        lambda old: sha256(ZEROS, "00000192", INDEX.name),
    ),
    "Or": (
        policy.Or(Policy(policy.AuthValue()), Policy(policy.CommandCode(0x15D))),
        lambda old: sha256(
            *(ZEROS, "00000171", sha256(old, "0000016b"), sha256(old, "0000016c 0000015d"))
        ),
    ),
}


@pytest.mark.parametrize(("step", "by_hand"), BY_HAND.values(), ids=BY_HAND.keys())
@pytest.mark.parametrize("old", [ZEROS, OLD], ids=["first", "later"])
def test_the_digest_of_a_step_is_that_of_the_specification(
    step: Step, by_hand: Callable[[bytes], bytes], old: bytes
):
    assert step.digest(SHA256, old) == by_hand(old)


def test_every_step_is_computed_by_hand():
    tried = {type(step).__name__ for step, _ in BY_HAND.values()}
    steps = {
        name
        for name in policy.__all__
        if isinstance(found := getattr(policy, name), type) and issubclass(found, Step)
    }
    assert tried == steps


def test_steps_are_hashed_one_after_the_other_from_zeros_on():
    both = Policy(policy.CommandCode(TPM_CC.Sign), policy.AuthValue())
    assert both.digest(SHA256) == sha256(sha256(ZEROS, "0000016c 0000015d"), "0000016b")
    assert Policy().digest(SHA256) == ZEROS


@pytest.mark.parametrize("alg", ["sha1", "sha384", "sha512"])
def test_another_hash_has_another_digest(alg: str):
    values = {0: b"z" * 32}
    size = hashlib.new(alg).digest_size
    code = bytes.fromhex("0000017f 00000001 000b 03 010000")
    inner = hashlib.new(alg, values[0]).digest()
    expected = hashlib.new(alg, bytes(size) + code + inner).digest()
    assert Policy(policy.PCR({SHA256: values})).digest(TPM_ALG[alg.upper()]) == expected


# --- branches ---------------------------------------------------------------------------------


def numbered(count: int) -> policy.Or:
    return policy.Or(*(Policy(policy.CommandCode(n)) for n in range(count)))


def or_by_hand(digests: Iterable[bytes]) -> bytes:
    return sha256(ZEROS, "00000171", *digests)


def leaf(number: int) -> bytes:
    return sha256(ZEROS, "0000016c", number.to_bytes(4, "big"))


@pytest.mark.parametrize("count", range(2, 9))
def test_up_to_eight_branches_stand_in_one_or(count: int):
    assert numbered(count).digest(SHA256, ZEROS) == or_by_hand(map(leaf, range(count)))


@pytest.mark.parametrize(
    ("count", "groups"),
    [
        (9, [range(5), range(5, 9)]),
        (16, [range(8), range(8, 16)]),
        (17, [range(6), range(6, 12), range(12, 17)]),
        (64, [range(n, n + 8) for n in range(0, 64, 8)]),
    ],
)
def test_more_branches_stand_in_groups(count: int, groups: list[range]):
    expected = or_by_hand([or_by_hand(map(leaf, group)) for group in groups])
    assert numbered(count).digest(SHA256, ZEROS) == expected


@given(st.integers(2, 600))
def test_groups_are_such_as_a_tpm_takes_whatever_the_number(count: int):
    levels = numbered(count)._levels(SHA256, ZEROS)
    sizes = [len(group) for groups in levels for group in groups]
    assert min(sizes) >= 2
    assert max(sizes) <= 8
    assert [digest for group in levels[0] for digest in group] == list(map(leaf, range(count)))
    assert len(levels) == 1 + (count > 8) + (count > 64) + (count > 512)


def test_a_choice_of_one_is_none():
    with pytest.raises(EncodeError, match="two branches at least"):
        policy.Or(Policy(policy.AuthValue()))


@pytest.mark.parametrize(
    "names", [("same", "same"), ("2", ""), ("a/b", "c")], ids=["same", "number", "slash"]
)
def test_branches_have_to_be_told_apart(names: tuple[str, str]):
    branches = [Policy(policy.CommandCode(n), name=name) for n, name in enumerate(names)]
    with pytest.raises(EncodeError, match="cannot be told apart"):
        policy.Or(*branches)


def test_the_ways_through_nested_branches_are_found_in_their_order():
    a, b, c, d = (Policy(policy.CommandCode(n), name="abcd"[n]) for n in range(4))
    inner = Policy(policy.AuthValue(), policy.Or(c, d), name="inner")
    whole = Policy(policy.Or(a, inner), policy.PhysicalPresence(), policy.Or(a, b))
    ways = {path.labels: path.steps for path in whole.paths()}
    assert list(ways) == [
        *(("a", "a"), ("a", "b")),
        *(("inner", "c", "a"), ("inner", "c", "b"), ("inner", "d", "a"), ("inner", "d", "b")),
    ]
    first, last = whole.steps[0], whole.steps[2]
    assert ways["inner", "d", "a"] == (
        *(policy.AuthValue(), policy.CommandCode(3), inner.steps[1], first),
        *(policy.PhysicalPresence(), policy.CommandCode(0), last),
    )


def test_what_was_approved_does_not_change_the_digest():
    approved = policy.Approved(Policy(policy.AuthValue()), signature=None)
    assert policy.Authorize(KEY, (approved,)).digest(SHA256, OLD) == policy.Authorize(KEY).digest(
        SHA256, ZEROS
    )


# --- words ------------------------------------------------------------------------------------


def test_a_policy_is_explained_line_by_line():
    whole = Policy(
        policy.PCR({SHA256: {7: b"\x11" * 32}}),
        policy.Or(
            Policy(policy.AuthValue(), policy.CommandCode(TPM_CC.Sign), name="sign"),
            Policy(policy.Secret(Entity.permanent(TPM_RH.OWNER)), policy.Locality(
                TPMA_LOCALITY.TPM_LOC_ZERO | TPMA_LOCALITY.TPM_LOC_TWO)),
        ),
    )  # fmt: skip
    assert whole.explain().splitlines() == [
        f"PCR 7 (SHA256) is {'11' * 32}",
        "one of these 2 branches holds",
        "  sign:",
        "    the PIN of the object is proved",
        "    the command is Sign",
        "  2:",
        "    the secret of TPM_RH_OWNER is given",
        "    the command comes from locality 0 or 2",
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (policy.CounterTimer((60000).to_bytes(8, "big"), 0, TPM_EO.UNSIGNED_LT), "is less than 60"),
        (policy.CounterTimer(b"\1", 24, TPM_EO.EQ), "the clock is safe is 1"),
        (policy.CounterTimer(b"\1\2\3", 1, TPM_EO.EQ), "octet 1 on of the TPMS_TIME_INFO is 66051"),
        (policy.NV(INDEX, b"\1\2", TPM_EO.BITSET, 3), "0x01800001 from octet 3 has all bits set"),
        (policy.NvWritten(written=False), "has never been written"),
        (policy.DuplicationSelect(b"\0\x0bp"), "to the new parent 000b70"),
        (policy.CommandCode(0x20000001), "the command is 0x20000001"),
        (policy.Locality(TPMA_LOCALITY(0x25)), "from locality 37"),
        (
            policy.Secret(OTHER, policyRef=b"r"),
            "0x81000005 is given with the reference 7",
        ),
        (policy.Signed(KEY), f"the ECC key {KEY_NAME.hex()} signs"),
        (ticket(0x8025), f"{KEY_NAME.hex()} has signed with the reference 726566"),
        (ticket(0x8023), f"{KEY_NAME.hex()} has given its secret"),
        (policy.Password(), "in clear"),
        (BY_HAND["PCRDigest"][0], "PCR 0 (SHA384) have a content of the digest 000102"),
        (policy.PCRDigest((), D32), "PCR none have a content"),
        (policy.Capability(TPM_CAP.TPM_PROPERTIES, 0x105, b"I"), "TPM_PROPERTIES 0x105 is 49"),
        (policy.NV(INDEX, b"\1", 0x77), "compares by 0x77 with 01"),
    ],
)
def test_a_step_is_explained_in_words(step: Step, said: str):
    assert said in step.explain()


@pytest.mark.parametrize(("step", "by_hand"), BY_HAND.values(), ids=BY_HAND.keys())
def test_an_explanation_is_one_line_without_a_secret(step: Step, by_hand: object):
    for shown in (step.explain(), repr(step), repr(Policy(step))):
        assert shown
        assert "\n" not in shown
        assert "swordfish" not in shown


def test_a_step_equals_one_that_says_the_same():
    assert policy.PCR({SHA256: {1: b"a", 0: b"b"}}) == policy.PCR({SHA256: {0: b"b", 1: b"a"}})
    assert policy.PCR({SHA256: {0: b"a"}}) != policy.PCR({SHA256: {1: b"a"}})
    assert numbered(3) == numbered(3)
    assert numbered(3) != numbered(2)
    assert len({numbered(3), numbered(3), policy.PCR({SHA256: {1: b"a"}})}) == 2
    assert Policy(policy.AuthValue(), name="a") != Policy(policy.AuthValue())
    assert Policy(policy.AuthValue()) != Policy(policy.Password())


# --- digests of commands ----------------------------------------------------------------------


def test_a_command_is_told_by_its_code_its_entities_and_its_parameters():
    """[Part 1, 16.7]; NV_Certify has three handles and parameters of three kinds."""
    handles = {"signHandle": OTHER, "authHandle": INDEX, "nvIndex": INDEX}
    parameters = {"qualifyingData": b"abc", "inScheme": NULL_SCHEME, "size": 8, "offset": 1}
    command = commands.NV_Certify(**handles, **parameters)
    code, octets = "00000184", "0003 616263 0010 0008 0001"
    names = (OTHER.name, INDEX.name, INDEX.name)
    assert policy.cp_hash(SHA256, command, *names) == sha256(code, *names, octets)
    assert policy.parameters_hash(SHA256, command) == sha256(code, octets)


# --- errors -----------------------------------------------------------------------------------


def test_a_policy_error_tells_each_branch_its_step_and_the_reason():
    error = PolicyError("it fails", [("a/b", "PCR 7", "it has changed"), ("", "the PIN", "wrong")])
    assert isinstance(error, Error)
    assert str(error) == "it fails: branch a/b: PCR 7: it has changed; the PIN: wrong"
    assert error.failures == (("a/b", "PCR 7", "it has changed"), ("", "the PIN", "wrong"))
    assert str(PolicyError("only this")) == "only this"
