"""Every structure, command and response, by values and octets that its schema tells."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ALL, STRUCTURES, mutated, open_ended, per_class, structures

from tpmwire import commands, types
from tpmwire.attributes import TPMA_NV_EXP, TPMA_OBJECT
from tpmwire.constants import TPM_ALG, TPM_CONSTANTS32, TPM_NT, TPM_RH, TPM_ST
from tpmwire.errors import DecodeError, EncodeError
from tpmwire.structure import Structure
from tpmwire.types import structures as structures_module

every_structure = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)


def refused_or_the_same(cls: type[Structure], data: bytes) -> bool:
    """Check the promise for octets from outside; return whether they were accepted."""
    try:
        value = cls.unpack(data)
    except DecodeError:
        return False
    assert value.pack() == data
    repr(value)
    return True


def test_the_strategies_know_all_structures_there_are():
    assert len(STRUCTURES) > 70
    assert {types.TPMT_PUBLIC, types.TPMS_ATTEST, types.TPMT_NV_PUBLIC_2} <= set(STRUCTURES)


@every_structure
@per_class
@given(data=st.data())
def test_a_value_comes_back_from_its_octets(cls: type[Structure], data: st.DataObject):
    value = data.draw(structures(cls))
    assert cls.unpack(value.pack()) == value


@every_structure
@per_class
@given(data=st.data())
def test_wounded_octets_are_a_value_that_packs_to_them_or_a_decode_error(
    cls: type[Structure], data: st.DataObject
):
    octets = data.draw(structures(cls)).pack()
    refused_or_the_same(cls, data.draw(mutated(octets)))


@every_structure
@per_class
@given(octets=st.binary(max_size=64))
def test_any_octets_are_a_value_that_packs_to_them_or_a_decode_error(
    cls: type[Structure], octets: bytes
):
    refused_or_the_same(cls, octets)


@pytest.mark.parametrize("cls", [cls for cls in ALL if not open_ended(cls)])
@per_class
@given(data=st.data())
def test_an_octet_too_few_or_too_many_is_a_decode_error(cls: type[Structure], data: st.DataObject):
    octets = data.draw(structures(cls)).pack()
    with pytest.raises(DecodeError, match="left over"):
        cls.unpack(octets + b"\0")
    if octets:
        with pytest.raises(DecodeError):
            cls.unpack(octets[:-1])


@pytest.mark.parametrize("cls", [cls for cls in ALL if open_ended(cls)])
@per_class
@given(data=st.data())
def test_octets_behind_an_open_end_belong_to_its_last_field(
    cls: type[Structure], data: st.DataObject
):
    value = data.draw(structures(cls))
    last = cls.schema.fields[-1].name
    assert cls.unpack(value.pack() + b"\0") == value.replace(**{last: value[last] + b"\0"})
    least = value.replace(**{last: b""}).pack()
    with pytest.raises(DecodeError):
        cls.unpack(least[:-1])


@every_structure
@per_class
@given(data=st.data())
def test_a_field_of_the_wrong_type_is_an_encode_error_that_names_it(
    cls: type[Structure], data: st.DataObject
):
    value = data.draw(structures(cls))
    if not cls.schema.fields:
        return
    # What decides on others is left alone: with a wrong selector the union would be named.
    selectors = {field.selector for field in cls.schema.fields}
    field = data.draw(st.sampled_from([f for f in cls.schema.fields if f.name not in selectors]))
    with pytest.raises(EncodeError) as caught:
        value.replace(**{field.name: object()}).pack()
    assert caught.value.path.startswith(f"{cls.__name__}.{field.name}")


@pytest.mark.parametrize(("alg", "size"), structures_module.DIGEST_SIZES.items())
def test_a_digest_is_as_long_as_its_algorithm_says(alg: TPM_ALG, size: int):
    octets = alg.to_bytes(2, "big") + bytes(size)
    assert types.TPMT_HA.unpack(octets) == types.TPMT_HA(hashAlg=alg, digest=bytes(size))
    assert not refused_or_the_same(types.TPMT_HA, octets[:-1])
    assert not refused_or_the_same(types.TPMT_HA, octets + b"\0")


def test_a_selector_without_a_case_is_a_decode_error_that_names_it():
    with pytest.raises(DecodeError, match=r"TPMT_HA\.digest: .*hashAlg"):
        types.TPMT_HA.unpack(b"\0\x99" + bytes(32))


def test_octets_that_a_rsa_parent_has_are_read_as_the_tables_say():
    """A public area written by hand from Part 2, table by table."""
    octets = bytes.fromhex(
        "0001 000b 00030072 0000"  # RSA, SHA-256, attributes, no policy
        "0006 0080 0043 0010 0800 00000000 0000"  # AES 128 CFB, no scheme, 2048 bits
    )
    value = types.TPMT_PUBLIC.unpack(octets)
    assert value.type is TPM_ALG.RSA
    assert value.nameAlg is TPM_ALG.SHA256
    assert value.objectAttributes == 0x30072
    assert value.parameters.symmetric == types.TPMT_SYM_DEF_OBJECT(
        algorithm=TPM_ALG.AES, keyBits=128, mode=TPM_ALG.CFB
    )
    assert value.parameters.scheme == types.TPMT_RSA_SCHEME(scheme=TPM_ALG.NULL)
    assert (value.parameters.keyBits, value.parameters.exponent) == (2048, 0)
    assert value.unique == b""


def test_reserved_attribute_bits_survive():
    octets = bytes.fromhex("0008 000b ffffffff 0000 0010 0000")
    value = types.TPMT_PUBLIC.unpack(octets)
    assert int(value.objectAttributes) == 0xFFFFFFFF
    assert value.pack() == octets


@pytest.mark.parametrize("bit", range(64))
def test_all_bits_of_an_external_index_survive_what_is_done_to_others(bit: int):
    attributes = TPMA_NV_EXP(1 << bit)
    other = TPMA_NV_EXP.PPREAD if bit != 16 else TPMA_NV_EXP.PPWRITE
    assert (attributes | other) & ~other == attributes
    assert int(~attributes) == (1 << 64) - 1 - (1 << bit)


def test_a_list_that_claims_more_elements_than_there_are_octets_ends_at_once():
    with pytest.raises(DecodeError, match="4294967295 elements claimed"):
        types.TPMS_CAPABILITY_DATA.unpack(bytes.fromhex("00000002 ffffffff 00000000"))


def test_an_unknown_number_stays_a_number():
    value = types.TPMS_ALG_PROPERTY.unpack(bytes.fromhex("7fff 80000001"))
    assert value.alg == 0x7FFF
    assert int(value.algProperties) == 0x80000001


def test_a_handle_field_takes_whatever_has_a_handle():
    class Loaded:
        handle = 0x80000001

    ticket = types.TPMT_TK_CREATION(hierarchy=Loaded())
    assert ticket.pack() == bytes.fromhex("8021 80000001 0000")
    assert types.TPMT_TK_CREATION.unpack(bytes.fromhex("8021 40000001 0000")).hierarchy is (
        TPM_RH.OWNER
    )


def test_what_the_tpm_certifies_is_read_from_the_octets_that_it_signed():
    """A quote written by hand from Part 2, table by table."""
    octets = bytes.fromhex(
        "ff544347 8018 0003 000b01 0002 abcd"  # magic, quote, signer, nonce
        "0000000000000007 00000002 00000001 01"  # clock
        "0001000200030004"  # firmware
        "00000001 000b 03 810000 0002 beef"  # PCRs 0 and 7
    )
    attest = types.TPMS_ATTEST.unpack(octets)
    assert (attest.magic, attest.type) == (TPM_CONSTANTS32.GENERATED_VALUE, TPM_ST.ATTEST_QUOTE)
    assert (attest.qualifiedSigner, attest.extraData) == (b"\x00\x0b\x01", b"\xab\xcd")
    assert attest.clockInfo == types.TPMS_CLOCK_INFO(
        clock=7, resetCount=2, restartCount=1, safe=True
    )
    assert attest.firmwareVersion == 0x0001000200030004
    assert attest.attested == types.TPMS_QUOTE_INFO(
        pcrSelect=(types.TPMS_PCR_SELECTION(hash=TPM_ALG.SHA256, pcrSelect=b"\x81\0\0"),),
        pcrDigest=b"\xbe\xef",
    )
    assert attest.pack() == octets


def test_a_template_of_a_derived_object_differs_in_its_unique_field_only():
    template = types.DerivationTemplate(
        type=TPM_ALG.KEYEDHASH,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=TPMA_OBJECT.userWithAuth | TPMA_OBJECT.fixedTPM,
        parameters=types.TPMS_KEYEDHASH_PARMS(
            scheme=types.TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)
        ),
        unique=types.TPMS_DERIVE(label=b"label", context=b"context"),
    )
    octets = bytes.fromhex("0008 000b 00000042 0000 0010 0005") + b"label\0\7context"
    assert template.pack() == octets
    assert types.DerivationTemplate.unpack(octets) == template


def test_an_external_index_is_told_by_the_kind_of_its_handle():
    octets = bytes.fromhex("11 11000001 000b 0000000400000014 0000 0008")
    public = types.TPMT_NV_PUBLIC_2.unpack(octets)
    assert isinstance(public.publicArea, types.TPMS_NV_PUBLIC_EXP_ATTR)
    assert public.publicArea.attributes == (
        TPMA_NV_EXP.EXTERNAL_NV_ANTIROLLBACK | TPMA_NV_EXP.AUTHWRITE | 1 << 4
    )
    assert public.publicArea.attributes.TPM_NT == TPM_NT.COUNTER
    with pytest.raises(DecodeError, match=r"publicArea: nothing is known for handleType"):
        types.TPMT_NV_PUBLIC_2.unpack(b"\x80" + octets[1:])


SECRET = b"\xde\xad\xbe\xef" * 4
POINT = types.TPMS_ECC_POINT(x=SECRET, y=SECRET)
CIPHER = types.TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.NULL)
SCHEME = types.TPMT_RSA_DECRYPT(scheme=TPM_ALG.NULL)


@pytest.mark.parametrize(
    "value",
    [
        types.TPMS_SENSITIVE_CREATE(userAuth=SECRET, data=SECRET),
        types.TPMT_SENSITIVE(
            sensitiveType=TPM_ALG.ECC, authValue=SECRET, seedValue=SECRET, sensitive=SECRET
        ),
        types.TPMT_SENSITIVE(sensitiveType=TPM_ALG.RSA, sensitive=SECRET),
        types.TPMT_SENSITIVE(sensitiveType=TPM_ALG.KEYEDHASH, sensitive=SECRET),
        types.TPMT_SENSITIVE(sensitiveType=TPM_ALG.SYMCIPHER, sensitive=SECRET),
        types.TPMS_AUTH_COMMAND(sessionHandle=TPM_RH.RS_PW, hmac=SECRET),
        types.TPMS_AUTH_RESPONSE(hmac=SECRET),
        commands.MakeCredential(handle=1, credential=SECRET, objectName=b""),
        commands.ActivateCredentialResponse(certInfo=SECRET),
        commands.UnsealResponse(outData=SECRET),
        commands.ObjectChangeAuth(objectHandle=1, parentHandle=1, newAuth=SECRET),
        commands.Duplicate(
            objectHandle=1, newParentHandle=1, encryptionKeyIn=SECRET, symmetricAlg=CIPHER
        ),
        commands.DuplicateResponse(encryptionKeyOut=SECRET, duplicate=SECRET, outSymSeed=b""),
        commands.Rewrap(oldParent=1, newParent=1, inDuplicate=SECRET, name=b"", inSymSeed=b""),
        commands.RewrapResponse(outDuplicate=SECRET, outSymSeed=b""),
        commands.Import(
            parentHandle=1,
            encryptionKey=SECRET,
            objectPublic=b"",
            duplicate=SECRET,
            inSymSeed=b"",
            symmetricAlg=CIPHER,
        ),
        commands.RSA_Encrypt(keyHandle=1, message=SECRET, inScheme=SCHEME),
        commands.RSA_DecryptResponse(message=SECRET),
        commands.ECDH_KeyGenResponse(zPoint=POINT, pubPoint=types.TPMS_ECC_POINT()),
        commands.ECDH_ZGenResponse(outPoint=POINT),
        commands.ZGen_2PhaseResponse(outZ1=POINT, outZ2=POINT),
        commands.ECC_Encrypt(keyHandle=1, plainText=SECRET),
        commands.ECC_DecryptResponse(plainText=SECRET),
        commands.EncryptDecrypt(keyHandle=1, decrypt=False, ivIn=b"", inData=SECRET),
        commands.EncryptDecryptResponse(outData=SECRET, ivOut=b""),
        commands.EncryptDecrypt2(keyHandle=1, decrypt=False, ivIn=b"", inData=SECRET),
        commands.EncryptDecrypt2Response(outData=SECRET, ivOut=b""),
        commands.StirRandom(inData=SECRET),
        commands.HMAC_Start(handle=1, auth=SECRET),
        commands.HashSequenceStart(auth=SECRET, hashAlg=TPM_ALG.SHA256),
        commands.PCR_SetAuthValue(pcrHandle=1, auth=SECRET),
        commands.HierarchyChangeAuth(authHandle=1, newAuth=SECRET),
        commands.NV_DefineSpace(authHandle=1, auth=SECRET, publicInfo=b""),
        commands.NV_DefineSpace2(authHandle=1, auth=SECRET, publicInfo=b""),
        commands.NV_ChangeAuth(nvIndex=1, newAuth=SECRET),
        commands.SignSequenceStart(keyHandle=1, auth=SECRET),
        commands.VerifySequenceStart(keyHandle=1, auth=SECRET),
        commands.EncapsulateResponse(sharedSecret=SECRET, ciphertext=b""),
        commands.DecapsulateResponse(sharedSecret=SECRET),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_is_shown(value: Any):
    assert "secret" in repr(value)
    for shown in (repr(value), str(value)):
        assert repr(SECRET)[2:-1] not in shown
        assert SECRET.hex() not in shown
