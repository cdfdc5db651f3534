"""Storage parents and templates: the ones that tpm2-tools mean by the same words, on a live TPM."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import LOADED_OBJECTS, Swtpm, handles
from hypothesis import given
from hypothesis import strategies as st

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import CreatePrimary, EvictControl, FlushContext, ReadPublic
from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RC, TPM_RH
from tpmwire.errors import KeyFileError, TpmError
from tpmwire.parents import (
    HIERARCHIES,
    PERSISTENT_SRK,
    PasswordWantedError,
    default_parent,
    describe_parent,
    is_storage,
    open_parent,
    parent_word,
    parse_parent,
    with_parent_auth,
)
from tpmwire.templates import (
    ECC_SIGN,
    ECC_SRK,
    RSA_SIGN,
    RSA_SRK,
    ecc_public,
    ecc_sign,
    rsa_sign,
    without_lockout,
)
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_KEYEDHASH_PARMS,
    TPMS_SCHEME_HASH,
    TPMS_SCHEME_XOR,
    TPMS_SENSITIVE_CREATE,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SYM_DEF_OBJECT,
)

OWN = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
STORAGE = f"{OWN}|noda|restricted|decrypt"

needs_tools = pytest.mark.skipif(
    shutil.which("tpm2_createprimary") is None, reason="tpm2-tools are not installed"
)


def tool(swtpm: Swtpm, name: str, *options: str | Path) -> str:
    """Run one of tpm2-tools; what it prints."""
    done = subprocess.run(
        [f"tpm2_{name}", *map(str, options)],
        env={**os.environ, "TPM2TOOLS_TCTI": swtpm.conf},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def primary(swtpm: Swtpm, context: Path, *options: str | Path) -> str:
    """Let tpm2-tools make a primary key; its Name."""
    tool(swtpm, "createprimary", "-Q", *options, "-c", context)
    tool(swtpm, "flushcontext", "-t")
    printed = tool(swtpm, "readpublic", "-c", context)
    tool(swtpm, "flushcontext", "-t")
    return next(line[6:] for line in printed.splitlines() if line.startswith("name: "))


# --- templates ---

TEMPLATES = {
    "ECC_SRK": (ECC_SRK, "ecc256:null:aes128cfb", STORAGE),
    "RSA_SRK": (RSA_SRK, "rsa2048:null:aes128cfb", STORAGE),
    "ECC_SIGN": (ECC_SIGN, "ecc256:null:null", f"{OWN}|sign"),
    "RSA_SIGN": (RSA_SIGN, "rsa2048:null:null", f"{OWN}|sign"),
    "P-384": (ecc_sign(TPM_ECC.NIST_P384), "ecc384:null:null", f"{OWN}|sign"),
    "RSA-1024": (rsa_sign(1024), "rsa1024:null:null", f"{OWN}|sign"),
    "no lockout": (without_lockout(ECC_SIGN), "ecc256:null:null", f"{OWN}|noda|sign"),
    "no lockout, twice": (
        without_lockout(without_lockout(ECC_SIGN)),
        "ecc256:null:null",
        f"{OWN}|noda|sign",
    ),
}


@needs_tools
@pytest.mark.parametrize(
    ("template", "algorithm", "attributes"), TEMPLATES.values(), ids=TEMPLATES.keys()
)
def test_a_template_is_what_tpm2_tools_send_for_the_same_words(
    template: TPMT_PUBLIC, algorithm: str, attributes: str, swtpm: Swtpm, tmp_path: Path
):
    path = tmp_path / "template"
    tool(swtpm, "createprimary", "-G", algorithm, "-a", attributes, "--template-data", path)
    tool(swtpm, "flushcontext", "-t")
    assert template.pack() == path.read_bytes()


def test_making_a_template_leaves_the_one_that_it_was_made_of_alone():
    before = ECC_SIGN.pack()
    assert without_lockout(ECC_SIGN) != ECC_SIGN
    assert ECC_SIGN.pack() == before


# --- hierarchies ---

LETTERS = {"owner": "o", "endorsement": "e", "platform": "p", "null": "n"}


@needs_tools
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_a_hierarchy_means_the_primary_key_that_tpm2_tools_derive_in_it(
    hierarchy: str, swtpm: Swtpm, tmp_path: Path
):
    options = ("-C", LETTERS[hierarchy], "-G", "ecc", "-a", STORAGE)
    name = primary(swtpm, tmp_path / "context", *options)
    with Tpm(connect(swtpm.conf)) as tpm:
        with open_parent(tpm, HIERARCHIES[hierarchy]) as parent:
            assert parent.name.hex() == name
            assert tpm.execute(ReadPublic(objectHandle=parent)).name.hex() == name
        assert handles(tpm, LOADED_OBJECTS) == ()


@needs_tools
def test_an_rsa_parent_is_the_one_that_tpm2_tools_derive(swtpm: Swtpm, tmp_path: Path):
    name = primary(swtpm, tmp_path / "context", "-C", "o", "-G", "rsa2048", "-a", STORAGE)
    with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, TPM_RH.OWNER, rsa=True) as parent:
        assert parent.name.hex() == name
        assert parent.public.type == TPM_ALG.RSA


def test_each_hierarchy_has_a_key_of_its_own(tpm: Tpm):
    names = []
    for hierarchy in HIERARCHIES.values():
        with open_parent(tpm, hierarchy) as parent:
            names.append(parent.name)
    assert len(set(names)) == len(HIERARCHIES) == 4


def test_a_key_made_under_a_hierarchy_can_be_loaded_under_it_and_under_no_other(tpm: Tpm):
    with open_parent(tpm, TPM_RH.OWNER) as parent:
        made = parent.create(ECC_SIGN)
    with (
        open_parent(tpm, TPM_RH.OWNER) as parent,
        parent.load(made.outPrivate, made.outPublic) as key,
    ):
        assert key.public == made.outPublic
    with (
        open_parent(tpm, TPM_RH.ENDORSEMENT) as parent,
        pytest.raises(TpmError) as caught,
    ):
        parent.load(made.outPrivate, made.outPublic)
    assert caught.value.code == TPM_RC.INTEGRITY


@needs_tools
def test_the_authorization_of_a_hierarchy_is_the_one_that_is_given(swtpm: Swtpm):
    tool(swtpm, "changeauth", "-c", "o", "owner's secret")
    try:
        with Tpm(connect(swtpm.conf)) as tpm:
            with open_parent(tpm, TPM_RH.OWNER, auth=b"owner's secret") as parent:
                assert is_storage(parent.public)
            for wrong in (b"", b"other"):
                with pytest.raises(TpmError) as caught:
                    open_parent(tpm, TPM_RH.OWNER, auth=wrong)
                assert caught.value.code == TPM_RC.BAD_AUTH
            assert handles(tpm, LOADED_OBJECTS) == ()
    finally:
        tool(swtpm, "changeauth", "-c", "o", "-p", "owner's secret")


# --- persistent parents ---

ORDINARY = ECC_SIGN.objectAttributes & ~TPMA_OBJECT.sign
DERIVATION_PARENT = TPMT_PUBLIC(
    type=TPM_ALG.KEYEDHASH,
    nameAlg=TPM_ALG.SHA256,
    objectAttributes=ECC_SRK.objectAttributes,
    parameters=TPMS_KEYEDHASH_PARMS(
        scheme=TPMT_KEYEDHASH_SCHEME(
            scheme=TPM_ALG.XOR,
            details=TPMS_SCHEME_XOR(hashAlg=TPM_ALG.SHA256, kdf=TPM_ALG.KDF1_SP800_108),
        )
    ),
    unique=b"",
)
SYMMETRIC_PARENT = TPMT_PUBLIC(
    type=TPM_ALG.SYMCIPHER,
    nameAlg=TPM_ALG.SHA256,
    objectAttributes=ECC_SRK.objectAttributes,
    parameters=TPMS_SYMCIPHER_PARMS(
        sym=TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.AES, keyBits=128, mode=TPM_ALG.CFB)
    ),
    unique=b"",
)


@contextmanager
def persistent(
    tpm: Tpm, template: TPMT_PUBLIC, handle: int = PERSISTENT_SRK, auth: bytes = b""
) -> Iterator[bytes]:
    """A primary key of a template at a persistent handle, which is given free in the end."""
    sensitive = TPMS_SENSITIVE_CREATE(userAuth=auth)
    made = tpm.execute(
        CreatePrimary(primaryHandle=TPM_RH.OWNER, inSensitive=sensitive, inPublic=template)
    )
    evict = EvictControl(auth=TPM_RH.OWNER, objectHandle=made.objectHandle, persistentHandle=handle)
    try:
        tpm.execute(evict)
    finally:
        tpm.execute(FlushContext(flushHandle=made.objectHandle))
    try:
        yield made.name
    finally:
        tpm.execute(evict.replace(objectHandle=handle))


STORAGE_KEYS = {"ECC": ECC_SRK, "RSA": RSA_SRK, "symmetric": SYMMETRIC_PARENT}


@pytest.mark.parametrize("template", STORAGE_KEYS.values(), ids=STORAGE_KEYS)
def test_a_persistent_storage_key_is_a_parent_and_stays(template: TPMT_PUBLIC, tpm: Tpm):
    with persistent(tpm, template) as name:
        assert default_parent(tpm) == PERSISTENT_SRK
        with open_parent(tpm, PERSISTENT_SRK) as parent:
            assert parent.handle == PERSISTENT_SRK
            assert parent.name == name
            made = parent.create(ECC_SIGN)
            with parent.load(made.outPrivate, made.outPublic) as key:
                assert key.public == made.outPublic
        assert tpm.execute(ReadPublic(objectHandle=PERSISTENT_SRK)).name == name
        assert handles(tpm, LOADED_OBJECTS) == ()


def test_a_persistent_key_means_itself_whatever_type_a_file_wants_of_a_hierarchy(tpm: Tpm):
    with persistent(tpm, ECC_SRK) as name, open_parent(tpm, PERSISTENT_SRK, rsa=True) as parent:
        assert parent.name == name


def test_the_authorization_of_a_persistent_key_is_the_one_that_is_given(tpm: Tpm):
    with persistent(tpm, ECC_SRK, 0x81000123, b"secret"):
        with open_parent(tpm, 0x81000123, auth=b"secret") as parent:
            assert parent.create(ECC_SIGN).outPublic.type == TPM_ALG.ECC
        with open_parent(tpm, 0x81000123) as parent, pytest.raises(TpmError) as caught:
            parent.create(ECC_SIGN)
        assert caught.value.code == TPM_RC.BAD_AUTH


def test_a_persistent_parent_that_is_absent_is_a_key_file_error(tpm: Tpm):
    with pytest.raises(KeyFileError, match="its parent 0x81000001 is not in this TPM"):
        open_parent(tpm, PERSISTENT_SRK)


def test_without_a_persistent_key_the_owners_is_the_default(tpm: Tpm):
    assert default_parent(tpm) == TPM_RH.OWNER


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("decrypt", [False, True])
@pytest.mark.parametrize("sign", [False, True])
def test_a_storage_key_is_restricted_and_decrypts_and_does_not_sign(
    restricted: bool, decrypt: bool, sign: bool
):
    bits = {TPMA_OBJECT.restricted: restricted, TPMA_OBJECT.decrypt: decrypt}
    attributes = ORDINARY
    for bit, wanted in {**bits, TPMA_OBJECT.sign: sign}.items():
        attributes |= bit if wanted else TPMA_OBJECT(0)
    public = ECC_SRK.replace(objectAttributes=attributes)
    assert is_storage(public) == (restricted and decrypt and not sign)
    assert not is_storage(DERIVATION_PARENT.replace(objectAttributes=attributes))


RESTRICTED_SIGNER = ECC_SIGN.replace(
    objectAttributes=ECC_SIGN.objectAttributes | TPMA_OBJECT.restricted,
    parameters=ECC_SIGN.parameters.replace(
        scheme=TPMT_ECC_SCHEME(
            scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256)
        )
    ),
)
DECRYPTER = ecc_public(TPM_ECC.NIST_P256, ORDINARY | TPMA_OBJECT.decrypt)

NO_STORAGE_KEYS = {
    "signer": ECC_SIGN,
    "restricted signer": RESTRICTED_SIGNER,
    "decrypter": DECRYPTER,
    "parent of derived objects": DERIVATION_PARENT,
}


@pytest.mark.parametrize("template", NO_STORAGE_KEYS.values(), ids=NO_STORAGE_KEYS)
def test_a_persistent_key_of_another_kind_is_neither_parent_nor_default(
    template: TPMT_PUBLIC, tpm: Tpm
):
    with persistent(tpm, template):
        assert default_parent(tpm) == TPM_RH.OWNER
        with pytest.raises(KeyFileError, match="0x81000001 is no storage key"):
            open_parent(tpm, PERSISTENT_SRK)
        # Nor does the TPM itself make keys under it.
        with pytest.raises(TpmError) as caught:
            tpm.persistent(PERSISTENT_SRK).create(ECC_SIGN)
        assert caught.value.code in (TPM_RC.TYPE, TPM_RC.ATTRIBUTES)


class Failing:
    """A TPM that answers everything with one response code."""

    keeps_objects = False

    def __init__(self, code: int) -> None:
        self.code = code

    def send(self, command: bytes) -> bytes:
        return bytes.fromhex("8001 0000000a") + self.code.to_bytes(4, "big")

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "handle",
    [
        *(0x00000000, 0x01800001, 0x02000000, 0x03000000, 0x80000000, 0x90000000, 0xFFFFFFFF),
        *(TPM_RH.LOCKOUT, TPM_RH.RS_PW, TPM_RH.SRK, 0x40000140),
    ],
    ids=hex,
)
def test_what_is_neither_a_hierarchy_nor_persistent_is_a_key_file_error(handle: int):
    with pytest.raises(KeyFileError, match=f"parent {handle:#010x} is neither"):
        open_parent(Tpm(Failing(TPM_RC.FAILURE)), handle)


@pytest.mark.parametrize("code", [TPM_RC.FAILURE, TPM_RC.INITIALIZE, 0x1C4, 0xB0143], ids=hex)
def test_another_failure_of_the_tpm_is_not_taken_for_an_absent_key(code: int):
    with Tpm(Failing(code)) as tpm:
        for ask in (default_parent, lambda tpm: open_parent(tpm, PERSISTENT_SRK)):
            with pytest.raises(TpmError) as caught:
                ask(tpm)
            assert caught.value.raw == code


# --- parents as people write them ---


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("owner", 0x40000001),
        ("endorsement", 0x4000000B),
        ("platform", 0x4000000C),
        ("null", 0x40000007),
        ("0x81000001", 0x81000001),
        ("0X81ABCDEF", 0x81ABCDEF),
        ("81000001", 0x81000001),
    ],
)
def test_a_parent_is_a_hierarchy_by_name_or_a_persistent_handle_in_hex(text: str, handle: int):
    assert parse_parent(text) == handle


@pytest.mark.parametrize(
    "text",
    [
        *("", "Owner", "lockout", "o", "owner ", "0x", "srk"),
        *("0x40000001", "0x80000000", "0x82000000", "0x181000001", "-0x81000001", "2164260865"),
        *("0x8100000g", "0x81000001.0", "0x81000001,"),
    ],
)
def test_no_other_text_is_a_parent(text: str):
    with pytest.raises(ValueError, match="is none of owner, endorsement, platform, null, nor a"):
        parse_parent(text)


@given(handle=st.integers(0x81000000, 0x81FFFFFF))
def test_every_persistent_handle_can_be_written(handle: int):
    assert parse_parent(f"{handle:#x}") == parse_parent(f"{handle:08X}") == handle


@given(text=st.text() | st.integers().map(hex))
def test_any_text_is_a_parent_or_a_value_error(text: str):
    try:
        handle = parse_parent(text)
    except ValueError:
        return
    assert handle in HIERARCHIES.values() or handle >> 24 == 0x81


# --- passwords --------------------------------------------------------------------------------


class Work:
    """Work under a parent that goes wrong until it is given the password."""

    def __init__(self, error: Exception) -> None:
        self.error, self.given = error, []

    def __call__(self, auth: bytes | None) -> str:
        self.given.append(auth)
        if auth != b"password":
            raise self.error
        return "done"


WANTED = [
    TpmError(0x9A2, "CreatePrimary"),
    TpmError(0x98E, "Create"),
    TpmError(0x9A2, "Load"),
    TpmError(0x98E, "Import"),
    PasswordWantedError("one try is left"),
]
OTHERS = [
    TpmError(0x98E, "ObjectChangeAuth"),
    TpmError(0x9A2, "Sign"),
    TpmError(0x921, "Load"),
    TpmError(0x1DF, "Load"),
    KeyFileError("no such parent"),
]


@pytest.mark.parametrize("error", WANTED, ids=str)
def test_the_password_of_a_parent_is_asked_for_only_after_a_refusal(error: Exception):
    work = Work(error)
    assert with_parent_auth(work, lambda: b"password") == "done"
    assert work.given == [None, b"password"]


@pytest.mark.parametrize("error", WANTED, ids=str)
def test_a_wrong_password_of_a_parent_is_not_asked_for_again(error: Exception):
    work = Work(error)
    with pytest.raises(type(error)):
        with_parent_auth(work, lambda: b"wrong")
    assert work.given == [None, b"wrong"]


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_failures_are_no_reason_to_ask_for_a_password(error: Exception):
    work = Work(error)
    with pytest.raises(type(error)):
        with_parent_auth(work, lambda: b"password")
    assert work.given == [None]


@pytest.mark.parametrize(
    ("parent", "word", "description"),
    [
        (TPM_RH.OWNER, "owner", "the owner hierarchy"),
        (TPM_RH.NULL, "null", "the null hierarchy"),
        (0x81000001, "0x81000001", "the key 0x81000001"),
    ],
)
def test_parents_are_called_as_people_write_them(parent: int, word: str, description: str):
    assert (parent_word(parent), describe_parent(parent)) == (word, description)
    assert parse_parent(word) == parent
