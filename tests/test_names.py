"""Names of entities, against those that a TPM made, tpm2-tools printed, and standards publish."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import structures
from vectors import VECTORS, Vector

from tpmwire.commands import unpack_command, unpack_response
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.errors import DecodeError
from tpmwire.names import HASHES, digest, handle_name, object_name
from tpmwire.templates import ECC_SRK, RSA_SRK
from tpmwire.types import TPMT_PUBLIC
from tpmwire.wire import Encrypted

# Digests of "abc".  [RFC 3174, FIPS 180 and 202 examples, GB/T 32905 A.1]
PUBLISHED = {
    TPM_ALG.SHA1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    TPM_ALG.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    TPM_ALG.SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"
    "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    TPM_ALG.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    TPM_ALG.SM3_256: "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
    TPM_ALG.SHA3_256: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    TPM_ALG.SHA3_384: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c25"
    "96da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
    TPM_ALG.SHA3_512: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
    "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
}


def response_of(vector: Vector) -> Any:
    return unpack_response(vector.received, TPM_CC[vector.command]).response


def public_of(vector: Vector) -> Any:
    """The public area of the object in a vector, unless it travelled encrypted."""
    response, command = response_of(vector), unpack_command(vector.sent).command
    public = getattr(response, "outPublic", getattr(command, "inPublic", None))
    return public if isinstance(public, TPMT_PUBLIC) else None


def name_of(vector: Vector) -> Any:
    """The Name that the TPM answered with, unless it travelled encrypted."""
    name = getattr(response_of(vector), "name", None)
    return None if isinstance(name, Encrypted) else name


PRINTED = [vector for vector in VECTORS if "name" in vector.fields and public_of(vector)]
NAMED = [vector for vector in VECTORS if public_of(vector) and name_of(vector)]


@pytest.mark.parametrize("vector", PRINTED, ids=str)
def test_an_object_has_the_name_that_the_program_printed(vector: Vector):
    assert object_name(public_of(vector)).hex() == vector.fields["name"]


@pytest.mark.parametrize("vector", NAMED, ids=str)
def test_an_object_has_the_name_that_the_tpm_gave_it(vector: Vector):
    assert object_name(public_of(vector)) == name_of(vector)


def test_names_of_each_type_of_object_and_by_two_algorithms_were_recorded():
    publics = [public_of(vector) for vector in (*PRINTED, *NAMED)]
    types = {public.type for public in publics}
    assert types == {TPM_ALG.RSA, TPM_ALG.ECC, TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER}
    assert {public.nameAlg for public in publics} == {TPM_ALG.SHA256, TPM_ALG.SHA384}


HIERARCHIES = {
    "ecc.ctx": TPM_RH.OWNER,
    "rsa.ctx": TPM_RH.OWNER,
    "aes.ctx": TPM_RH.PLATFORM,
    "n.ctx": TPM_RH.NULL,
    "hmac.ctx": TPM_RH.OWNER,
}


@pytest.mark.parametrize(("context", "hierarchy"), HIERARCHIES.items())
def test_a_hierarchy_has_the_name_from_which_the_tpm_makes_qualified_names(
    context: str, hierarchy: TPM_RH
):
    # A qualified Name is the digest of the parent's qualified Name and the object's Name, and
    # that of a hierarchy is its Name.  [Part 1, 16]
    read = f"tpm2_readpublic -c {context}"
    vector = next(v for v in PRINTED if v.source.startswith(read))
    alg = public_of(vector).nameAlg
    name = bytes.fromhex(vector.fields["name"])
    hashed = hashlib.new(HASHES[alg], handle_name(hierarchy) + name).hexdigest()
    assert vector.fields["qualifiedName"] == f"{alg:04x}{hashed}"


def test_a_handle_is_its_own_name():
    assert handle_name(TPM_RH.OWNER) == bytes.fromhex("40000001")
    assert handle_name(0) == bytes(4)
    assert handle_name(0x02000001) == bytes.fromhex("02000001")


@pytest.mark.parametrize("alg", HASHES)
def test_digests_are_those_that_are_published(alg: int):
    if HASHES[alg] not in hashlib.algorithms_available:
        pytest.skip(f"the OpenSSL of this Python has no {HASHES[alg]}")
    assert digest(alg, b"abc").hex() == PUBLISHED[alg]


@pytest.mark.parametrize("alg", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("template", [ECC_SRK, RSA_SRK], ids=["ecc", "rsa"])
def test_a_name_is_the_algorithm_and_the_digest_of_the_public_area(template: TPMT_PUBLIC, alg: str):
    number = {"sha1": "0004", "sha256": "000b", "sha384": "000c", "sha512": "000d"}[alg]
    public = template.replace(nameAlg=int(number, 16))
    octets = bytes.fromhex(template.pack().hex().replace("000b", number, 1))
    assert object_name(public).hex() == number + hashlib.new(alg, octets).hexdigest()


@given(public=structures(TPMT_PUBLIC))
def test_an_object_without_a_name_algorithm_has_an_empty_name(public: TPMT_PUBLIC):
    assert object_name(public.replace(nameAlg=TPM_ALG.NULL)) == b""


@given(public=structures(TPMT_PUBLIC))
def test_any_public_area_has_a_name_or_is_a_decode_error(public: TPMT_PUBLIC):
    known = public.nameAlg in {*HASHES, TPM_ALG.NULL}
    try:
        name = object_name(public)
    except DecodeError:
        assert not known or HASHES[public.nameAlg] not in hashlib.algorithms_available
    else:
        assert known
        assert name[:2] == public.nameAlg.to_bytes(2, "big") or name == b""


@given(bit=st.integers(0, 31))
def test_each_attribute_counts_for_the_name_reserved_ones_too(bit: int):
    changed = ECC_SRK.replace(objectAttributes=ECC_SRK.objectAttributes ^ 1 << bit)
    assert object_name(changed) != object_name(ECC_SRK)


@pytest.mark.parametrize("alg", [TPM_ALG.NULL, TPM_ALG.RSA, TPM_ALG.SHAKE256, 0x7FFF])
def test_what_is_no_hash_algorithm_here_is_a_decode_error_that_names_it(alg: int):
    with pytest.raises(DecodeError, match=f"hash algorithm {alg:#06x} is not known"):
        digest(alg, b"")


def test_an_algorithm_that_this_machine_lacks_is_a_decode_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(HASHES, TPM_ALG.SM3_256, "of another machine")
    with pytest.raises(DecodeError, match="0x0012 is not known on this machine"):
        object_name(ECC_SRK.replace(nameAlg=TPM_ALG.SM3_256))
