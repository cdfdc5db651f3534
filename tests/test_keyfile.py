"""TSS2 PRIVATE KEY files: against DER written by hand, OpenSSL, tpm2-tools, and any octets."""

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import mutated, structures

from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_RH
from tpmwire.errors import EncodeError, KeyFileError
from tpmwire.keyfile import IMPORTABLE, LABEL, LEGACY_LOADABLE, LOADABLE, SEALED, KeyFile
from tpmwire.parents import open_parent
from tpmwire.ssh.keys import signature_algorithm
from tpmwire.templates import ECC_SIGN, RSA_SIGN
from tpmwire.transport import connect
from tpmwire.types import TPMS_ECC_POINT, TPMT_PUBLIC

# --- DER, put together here without any help of ours ---


def tlv(tag: int | bytes, *parts: bytes) -> bytes:
    """One element of DER."""
    head = tag if isinstance(tag, bytes) else bytes([tag])
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return head + bytes([size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return head + bytes([0x80 | len(octets)]) + octets + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


X, Y = bytes(range(1, 33)), bytes(range(33, 65))
PUBLIC = ECC_SIGN.replace(unique=TPMS_ECC_POINT(x=X, y=Y))
PLAIN = KeyFile(public=PUBLIC, private=b"private")

KIND = bytes.fromhex("06 06 67 81 05 0a 01 03")
FALSE, TRUE = bytes.fromhex("a0 03 01 01 00"), bytes.fromhex("a0 03 01 01 ff")
OWNER = bytes.fromhex("02 04 40 00 00 01")
# type ECC, SHA-256, attributes, no policy; no cipher, no scheme, P-256, no KDF
AREA = bytes.fromhex("0023 000b 00040072 0000  0010 0010 0003 0010") + b"\0\x20" + X + b"\0\x20" + Y
PUBKEY = bytes.fromhex("04 58 0056") + AREA
PRIVKEY = bytes.fromhex("04 09 0007") + b"private"

WRITTEN_BY_HAND = {
    "plain": ({}, (KIND, FALSE, OWNER)),
    "without authorization": ({"empty_auth": True}, (KIND, TRUE, OWNER)),
    "endorsement": (
        {"parent": TPM_RH.ENDORSEMENT},
        (KIND, FALSE, bytes.fromhex("02 04 40 00 00 0b")),
    ),
    "persistent parent": (
        {"parent": 0x81000001},
        (KIND, FALSE, bytes.fromhex("02 05 00 81 00 00 01")),
    ),
    "description": (
        {"description": "clé"},
        (KIND, FALSE, bytes.fromhex("a4 06 0c 04 63 6c c3 a9"), OWNER),
    ),
    "empty description": (
        {"description": ""},
        (KIND, FALSE, bytes.fromhex("a4 02 0c 00"), OWNER),
    ),
    "RSA parent": (
        {"rsa_parent": True},
        (KIND, FALSE, bytes.fromhex("a5 03 01 01 ff"), OWNER),
    ),
    "importable": (
        {"kind": IMPORTABLE, "others": (bytes.fromhex("a2 04 04 02 00 00"),)},
        (bytes.fromhex("06 06 67 81 05 0a 01 04 a0 03 01 01 00 a2 04 04 02 00 00"), OWNER),
    ),
    "sealed": ({"kind": SEALED}, (bytes.fromhex("06 06 67 81 05 0a 01 05"), FALSE, OWNER)),
    "legacy": ({"kind": LEGACY_LOADABLE}, (bytes.fromhex("06 05 67 81 05 0a 02"), FALSE, OWNER)),
    "everything": (
        {
            "empty_auth": True,
            "description": "x",
            "rsa_parent": True,
            "others": (bytes.fromhex("a1 02 30 00"), bytes.fromhex("a6 02 04 00")),
        },
        (
            *(KIND, TRUE, bytes.fromhex("a1 02 30 00"), bytes.fromhex("a4 03 0c 01 78")),
            *(bytes.fromhex("a5 03 01 01 ff"), bytes.fromhex("a6 02 04 00"), OWNER),
        ),
    ),
}


@pytest.mark.parametrize(("changes", "parts"), WRITTEN_BY_HAND.values(), ids=WRITTEN_BY_HAND.keys())
def test_a_key_file_is_the_der_that_is_written_by_hand(
    changes: dict[str, Any], parts: tuple[bytes, ...]
):
    der = sequence(*parts, PUBKEY, PRIVKEY)
    assert PLAIN.replace(**changes).to_der() == der
    assert KeyFile.from_der(der) == PLAIN.replace(**changes)


# --- what others wrote ---

OPENSSL_PEM = """\
-----BEGIN TSS2 PRIVATE KEY-----
MIHwBgZngQUKAQOgAwEBAQIEQAAAAQRYAFYAIwALAAYAcgAAABAAEAADABAAIJ/f
QQ7QanZK0xUMrXN6Y+FBuUeI8SbOFhKXYaxYw3lLACAzHdKlS6l8lt6rguNZh5hp
uT9HAexUsPet1xPEixVcfASBgAB+ACBnXrtQCCaX1nwr9pgLX2iM0QDg8EQTAh1E
l2mpJVj28QAQalH9GsLFYuTQf6/liWM6Peu21CWyp/m62tyFzlIw9xe6lt2NABXt
k8gJTZGYQlxFwBOFjcQr8kzwWtbSjldQgKjt+AM9UvQYFAHdNpUf5nXmVZ3zsqEU
1Gz1
-----END TSS2 PRIVATE KEY-----
"""
OPENSSL_PUBLIC = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEn99BDtBqdkrTFQytc3pj4UG5R4jx
Js4WEpdhrFjDeUszHdKlS6l8lt6rguNZh5hpuT9HAexUsPet1xPEixVcfA==
-----END PUBLIC KEY-----
"""


def ec_key(public: TPMT_PUBLIC) -> ec.EllipticCurvePublicKey:
    """The P-256 key of a public area, for somebody else's arithmetic."""
    x, y = (int.from_bytes(octets, "big") for octets in (public.unique.x, public.unique.y))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def spki(key: Any) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_file_of_openssl_is_read_and_its_true_is_written_as_der_has_it():
    found = KeyFile.from_pem(OPENSSL_PEM)
    assert spki(ec_key(found.public)) == OPENSSL_PUBLIC
    assert (found.kind, found.parent, found.empty_auth) == (LOADABLE, TPM_RH.OWNER, True)
    assert (found.description, found.rsa_parent, found.others) == (None, False, ())
    theirs = base64.b64decode("".join(OPENSSL_PEM.splitlines()[1:-1]))
    assert found.private == theirs[-0x7E:]
    assert theirs[11:16] == bytes.fromhex("a003010101")
    assert found.to_der() == theirs.replace(bytes.fromhex("a003010101"), TRUE, 1)


# --- round trips ---


def number_tag(number: int) -> bytes:
    """The identifier of the constructed context-specific element [number]."""
    if number < 31:
        return bytes([0xA0 | number])
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.insert(0, 0x80 | number & 0x7F)
    return bytes([0xBF, *digits])


UNKNOWN = st.sampled_from([1, 2, 3, 6, 7, 30, 31, 127, 128, 129, 255, 16383, 16384])
contents = st.binary(max_size=20) | st.sampled_from([bytes(n) for n in (127, 128, 255, 256)])
others = st.dictionaries(UNKNOWN, contents, max_size=3).map(
    lambda drawn: tuple(tlv(number_tag(n), drawn[n]) for n in sorted(drawn))
)
parents = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 0x7FFFFFFF, 0x80000000, 0x81000001])
kinds = st.sampled_from([LOADABLE, IMPORTABLE, SEALED, LEGACY_LOADABLE, "1.2", "2.23.133.10.1.6"])
keyfiles = st.builds(
    KeyFile,
    public=structures(TPMT_PUBLIC),
    private=contents | st.just(bytes(0xFFFF)),
    parent=parents,
    empty_auth=st.booleans(),
    description=st.none() | st.text(max_size=200),
    rsa_parent=st.booleans(),
    kind=kinds,
    others=others,
)


@given(keyfile=keyfiles)
def test_what_is_written_is_read_as_the_same(keyfile: KeyFile):
    assert KeyFile.from_der(keyfile.to_der()) == keyfile
    pem = keyfile.to_pem()
    assert KeyFile.from_pem(pem) == keyfile
    assert KeyFile.from_pem(pem.encode()) == keyfile


@given(keyfile=keyfiles)
def test_whether_there_is_no_pin_is_always_told(keyfile: KeyFile):
    der = keyfile.to_der()
    content = der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]
    after_kind = content[2 + content[1] :]
    assert after_kind.startswith(TRUE if keyfile.empty_auth else FALSE)


def test_no_description_is_written_unless_asked_for():
    assert PLAIN.to_der() == sequence(KIND, FALSE, OWNER, PUBKEY, PRIVKEY)
    assert KeyFile(public=PUBLIC, private=b"").description is None


# --- patience with what others write ---


@pytest.mark.parametrize("octet", [0x01, 0x02, 0x7F, 0x80, 0xFE, 0xFF])
def test_any_octet_but_zero_is_true(octet: int):
    der = sequence(KIND, tlv(0xA0, tlv(0x01, bytes([octet]))), OWNER, PUBKEY, PRIVKEY)
    assert KeyFile.from_der(der).empty_auth is True
    der = sequence(KIND, tlv(0xA5, tlv(0x01, bytes([octet]))), OWNER, PUBKEY, PRIVKEY)
    assert KeyFile.from_der(der).rsa_parent is True


def test_what_is_absent_is_false():
    found = KeyFile.from_der(sequence(KIND, OWNER, PUBKEY, PRIVKEY))
    assert (found.empty_auth, found.rsa_parent) == (False, False)
    rsa_parent = bytes.fromhex("a5 03 01 01 00")
    found = KeyFile.from_der(sequence(KIND, FALSE, rsa_parent, OWNER, PUBKEY, PRIVKEY))
    assert (found.empty_auth, found.rsa_parent) == (False, False)


@pytest.mark.parametrize(
    ("integer", "parent"),
    [
        ("02 04 81 00 00 01", 0x81000001),
        ("02 05 00 81 00 00 01", 0x81000001),
        ("02 04 80 00 00 00", 0x80000000),
        ("02 05 00 ff ff ff ff", 0xFFFFFFFF),
        ("02 01 00", 0),
    ],
)
def test_a_parent_is_read_with_and_without_the_octet_that_keeps_it_positive(
    integer: str, parent: int
):
    found = KeyFile.from_der(sequence(KIND, FALSE, bytes.fromhex(integer), PUBKEY, PRIVKEY))
    assert found.parent == parent
    assert KeyFile.from_der(found.to_der()) == found
    assert b"\x02\x04\x81\x00\x00\x01" not in found.to_der()


POLICY = bytes.fromhex("a1 14 30 12 30 10 a0 04 02 02 01 6b a1 02 04 00 a2 04 04 02 00 00")
SECRET = bytes.fromhex("a2 06 04 04 00 02 ab cd")
AUTH_POLICY = bytes.fromhex("a3 02 30 00")
PARENT_NAME = tlv(0xA6, tlv(0x04, b"\0\x0b", bytes(32)))
LATER = tlv(b"\xbf\x1f", b"whatever")
MUCH_LATER = (tlv(number_tag(16383), b"before"), tlv(number_tag(16384), b"the other"))


def test_elements_that_are_not_understood_survive_a_rewrite_in_order():
    unknown = (POLICY, SECRET, AUTH_POLICY, PARENT_NAME, LATER, *MUCH_LATER)
    der = sequence(KIND, FALSE, *unknown, OWNER, PUBKEY, PRIVKEY)
    found = KeyFile.from_der(der)
    assert found.others == unknown
    assert found.to_der() == der
    changed = found.replace(private=b"changed", description="a", rsa_parent=True)
    description, rsa_parent = bytes.fromhex("a4 03 0c 01 61"), bytes.fromhex("a5 03 01 01 ff")
    assert changed.to_der() == sequence(
        *(KIND, FALSE, POLICY, SECRET, AUTH_POLICY, description, rsa_parent, PARENT_NAME, LATER),
        *(*MUCH_LATER, OWNER, PUBKEY, bytes.fromhex("04 09 0007") + b"changed"),
    )


def test_elements_out_of_order_are_read_and_written_in_order():
    der = sequence(KIND, LATER, PARENT_NAME, SECRET, TRUE, OWNER, PUBKEY, PRIVKEY)
    found = KeyFile.from_der(der)
    ordered = sequence(KIND, TRUE, SECRET, PARENT_NAME, LATER, OWNER, PUBKEY, PRIVKEY)
    assert found == KeyFile.from_der(ordered)
    assert found.to_der() == ordered


def test_a_policy_is_told():
    assert KeyFile.from_der(sequence(KIND, POLICY, OWNER, PUBKEY, PRIVKEY)).has_policy
    for others in ((), (SECRET,), (AUTH_POLICY, PARENT_NAME)):
        der = sequence(KIND, TRUE, *others, OWNER, PUBKEY, PRIVKEY)
        assert not KeyFile.from_der(der).has_policy


# --- refusals ---

ONE_MORE = b"\0"
REFUSED = {
    "nothing": b"",
    "an empty sequence": sequence(),
    "garbage after the key": sequence(KIND, FALSE, OWNER, PUBKEY, PRIVKEY) + ONE_MORE,
    "garbage after the last element": sequence(KIND, FALSE, OWNER, PUBKEY, PRIVKEY, ONE_MORE),
    "an element after the last": sequence(KIND, FALSE, OWNER, PUBKEY, PRIVKEY, PRIVKEY),
    "garbage after a BOOLEAN": sequence(
        KIND, tlv(0xA0, b"\x01\x01\xff", ONE_MORE), OWNER, PUBKEY, PRIVKEY
    ),
    "garbage after a description": sequence(
        KIND, tlv(0xA4, tlv(0x0C, b"a"), ONE_MORE), OWNER, PUBKEY, PRIVKEY
    ),
    "garbage after a TPM2B_PUBLIC": sequence(
        KIND, OWNER, tlv(0x04, b"\0\x56", AREA, ONE_MORE), PRIVKEY
    ),
    "garbage in a TPM2B_PUBLIC": sequence(
        KIND, OWNER, tlv(0x04, b"\0\x57", AREA, ONE_MORE), PRIVKEY
    ),
    "garbage after a TPM2B_PRIVATE": sequence(
        KIND, OWNER, PUBKEY, tlv(0x04, b"\0\7private", ONE_MORE)
    ),
    "a TPM2B_PUBLIC cut short": sequence(KIND, OWNER, tlv(0x04, b"\0\x56", AREA[:-1]), PRIVKEY),
    "a TPM2B_PRIVATE cut short": sequence(KIND, OWNER, PUBKEY, tlv(0x04, b"\0\7privat")),
    "a TPM2B_PUBLIC that claims too little": sequence(
        KIND, OWNER, tlv(0x04, b"\0\x55", AREA), PRIVKEY
    ),
    "a TPM2B_PUBLIC that claims too much": sequence(
        KIND, OWNER, tlv(0x04, b"\0\x57", AREA), PRIVKEY
    ),
    "no public area": sequence(KIND, OWNER, tlv(0x04, b"\0\0"), PRIVKEY),
    "no private part": sequence(KIND, OWNER, PUBKEY),
    "no parent": sequence(KIND, FALSE, PUBKEY, PRIVKEY),
    "no kind": sequence(FALSE, OWNER, PUBKEY, PRIVKEY),
    "a set": tlv(0x31, KIND, OWNER, PUBKEY, PRIVKEY),
    "two parents": sequence(KIND, OWNER, OWNER, PUBKEY, PRIVKEY),
    "an element twice": sequence(KIND, TRUE, FALSE, OWNER, PUBKEY, PRIVKEY),
    "an unknown element twice": sequence(KIND, SECRET, TRUE, SECRET, OWNER, PUBKEY, PRIVKEY),
    "an element that is primitive": sequence(KIND, tlv(0x80, b"\xff"), OWNER, PUBKEY, PRIVKEY),
    "an element without a number": sequence(KIND, tlv(0x04, b"a"), OWNER, PUBKEY, PRIVKEY),
    "an application's element": sequence(KIND, tlv(0x60, b""), OWNER, PUBKEY, PRIVKEY),
    "an optional element too late": sequence(KIND, OWNER, TRUE, PUBKEY, PRIVKEY),
    "a BOOLEAN of two octets": sequence(
        KIND, tlv(0xA0, b"\x01\x02\xff\xff"), OWNER, PUBKEY, PRIVKEY
    ),
    "a BOOLEAN of none": sequence(KIND, tlv(0xA0, b"\x01\x00"), OWNER, PUBKEY, PRIVKEY),
    "an INTEGER for a BOOLEAN": sequence(KIND, tlv(0xA0, b"\x02\x01\1"), OWNER, PUBKEY, PRIVKEY),
    "nothing for a BOOLEAN": sequence(KIND, tlv(0xA0), OWNER, PUBKEY, PRIVKEY),
    "a description that is no UTF-8": sequence(
        KIND, tlv(0xA4, tlv(0x0C, b"\xff")), OWNER, PUBKEY, PRIVKEY
    ),
    "a description of another type": sequence(
        KIND, tlv(0xA4, tlv(0x13, b"a")), OWNER, PUBKEY, PRIVKEY
    ),
    "a parent of no octets": sequence(KIND, b"\x02\x00", PUBKEY, PRIVKEY),
    "a parent with a superfluous octet": sequence(
        KIND, tlv(0x02, b"\0" + OWNER[2:]), PUBKEY, PRIVKEY
    ),
    "a parent of 33 bits": sequence(KIND, tlv(0x02, b"\1\0\0\0\0"), PUBKEY, PRIVKEY),
    "a parent of 8 octets": sequence(KIND, tlv(0x02, b"\x40" + bytes(7)), PUBKEY, PRIVKEY),
    "a parent of 300 octets": sequence(KIND, tlv(0x02, b"\x40" * 300), PUBKEY, PRIVKEY),
    "a parent that is too negative": sequence(
        KIND, tlv(0x02, b"\xff\x7f\xff\xff\xff"), PUBKEY, PRIVKEY
    ),
    "an indefinite length": b"\x30\x80" + KIND + OWNER + PUBKEY + PRIVKEY + b"\0\0",
    "a length in more octets than it needs": b"\x30\x82\0\x7a" + KIND + OWNER + PUBKEY + PRIVKEY,
    "a length that is a lie": b"\x30\x84\xff\xff\xff\xff" + KIND + OWNER + PUBKEY + PRIVKEY,
    "a kind of no numbers": sequence(b"\x06\x00", OWNER, PUBKEY, PRIVKEY),
    "a kind with a superfluous octet": sequence(b"\x06\x02\x80\x01", OWNER, PUBKEY, PRIVKEY),
}


@pytest.mark.parametrize("der", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_key_file_is_refused(der: bytes):
    with pytest.raises(KeyFileError, match=f"^the {LABEL} is malformed: .+"):
        KeyFile.from_der(der)


def test_what_is_refused_is_close_to_what_is_not():
    for good in (
        sequence(KIND, OWNER, PUBKEY, PRIVKEY),
        sequence(KIND, FALSE, SECRET, OWNER, tlv(0x04, b"\0\x56", AREA), PRIVKEY),
        sequence(KIND, tlv(0xA4, tlv(0x0C, b"a")), OWNER, PUBKEY, tlv(0x04, b"\0\7private")),
        sequence(KIND, tlv(0x02, b"\xff\x00\x00\x00"), PUBKEY, PRIVKEY),
        sequence(KIND, OWNER, PUBKEY, tlv(0x04, b"\0\0")),
    ):
        assert KeyFile.from_der(good).public == PUBLIC


def test_no_beginning_of_a_key_file_is_one():
    der = PLAIN.replace(description="a", others=(SECRET,)).to_der()
    for size in range(len(der)):
        with pytest.raises(KeyFileError):
            KeyFile.from_der(der[:size])


@pytest.mark.parametrize(
    "change",
    [
        {"parent": -1},
        {"parent": 1 << 32},
        {"parent": None},
        {"private": bytes(0x10000)},
        {"private": "text"},
        {"public": PUBLIC.replace(nameAlg=0x10000)},
        {"kind": "no identifier"},
        {"kind": ""},
        {"description": "\ud800"},
        {"others": (b"",)},
        {"others": (b"junk",)},
        {"others": (SECRET + ONE_MORE,)},
        {"others": (TRUE,)},
        {"others": (SECRET, SECRET)},
        {"others": (OWNER,)},
    ],
    ids=str,
)
def test_what_could_not_be_read_again_is_not_written(change: dict[str, Any]):
    with pytest.raises(EncodeError):
        PLAIN.replace(**change).to_der()


# --- PEM ---

PEM = PLAIN.replace(private=bytes(200)).to_pem()
LINES = PEM.splitlines()


@given(keyfile=keyfiles)
def test_a_pem_file_has_lines_of_64_between_its_label(keyfile: KeyFile):
    pem = keyfile.to_pem()
    assert pem.endswith("\n")
    first, *body, last = pem.splitlines()
    assert first == "-----BEGIN TSS2 PRIVATE KEY-----"
    assert last == "-----END TSS2 PRIVATE KEY-----"
    assert {len(line) for line in body[:-1]} <= {64}
    assert 0 < len(body[-1]) <= 64
    assert base64.b64decode("".join(body)) == keyfile.to_der()


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAAwAAAA\n-----END CERTIFICATE-----\n"
READABLE = {
    "as it is": PEM,
    "with CR LF": PEM.replace("\n", "\r\n"),
    "with CR": PEM.replace("\n", "\r"),
    "without the last line break": PEM.rstrip("\n"),
    "after text": "A key.\n\u00e9\u20ac\n" + PEM,
    "before text": PEM + "\nThe end.\n",
    "after another PEM": CERTIFICATE + PEM,
    "before another PEM": PEM + CERTIFICATE,
    "with blanks at the ends of lines": PEM.replace("\n", " \t\n"),
    "with blanks at the beginnings of lines": "\n".join(
        (LINES[0], *(f"  {line}" for line in LINES[1:-1]), LINES[-1])
    ),
    "with empty lines": PEM.replace("\n", "\n\n"),
    "in one line": "\n".join((LINES[0], "".join(LINES[1:-1]), LINES[-1])),
    "in lines of 10": "\n".join(
        (LINES[0], re.sub("(.{10})", r"\1\n", "".join(LINES[1:-1])), LINES[-1])
    ),
    "before a second key": PEM + PLAIN.to_pem(),
}


@pytest.mark.parametrize("pem", READABLE.values(), ids=READABLE.keys())
def test_a_pem_file_is_read_however_it_is_laid_out(pem: str):
    assert KeyFile.from_pem(pem) == KeyFile.from_pem(pem.encode()) == KeyFile.from_pem(PEM)
    assert KeyFile.from_pem(pem).private == bytes(200)


def test_text_of_any_encoding_may_stand_before_a_pem():
    assert KeyFile.from_pem(b"\xff\xfe\x85\n" + PEM.encode()) == KeyFile.from_pem(PEM)


def with_first(characters: str) -> str:
    """The PEM file with others in the place of the first character of its base64."""
    return "\n".join((LINES[0], characters + LINES[1][1:], *LINES[2:]))


NO_PEM = {
    "nothing": ("", "no TSS2 PRIVATE KEY in it"),
    "another kind of key": (PEM.replace("TSS2", "RSA"), "no TSS2 PRIVATE KEY in it"),
    "no end": ("\n".join(LINES[:-1]), "no TSS2 PRIVATE KEY in it"),
    "no beginning": ("\n".join(LINES[1:]), "no TSS2 PRIVATE KEY in it"),
    "the end first": ("\n".join((LINES[-1], *LINES[:-1])), "no TSS2 PRIVATE KEY in it"),
    "a beginning within a line": ("x" + PEM, "no TSS2 PRIVATE KEY in it"),
    "two beginnings": ("\n".join((LINES[0], *LINES)), "is not base64"),
    "a character of no base64": (with_first("!"), "is not base64"),
    "a character too many": (with_first("!" + LINES[1][0]), "is not base64"),
    "a character of no ASCII": (with_first("\u00e9"), "is not base64"),
    "a character that is no text": (with_first("\ud800"), "is not base64"),
    "a character too few": (with_first(""), "is not base64"),
    "padding in the middle": (with_first("="), "is not base64"),
    "headers": (PEM.replace("\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1), "is not base64"),
    "nothing between": (f"{LINES[0]}\n{LINES[-1]}\n", "is malformed"),
    "something else between": (f"{LINES[0]}\nMAAwAAAA\n{LINES[-1]}\n", "is malformed"),
}


@pytest.mark.parametrize(("pem", "message"), NO_PEM.values(), ids=NO_PEM.keys())
def test_what_is_no_pem_of_a_key_is_refused_with_the_reason(pem: str, message: str):
    with pytest.raises(KeyFileError, match=message):
        KeyFile.from_pem(pem)


def test_a_beginning_without_an_end_is_refused_however_much_follows():
    # A pattern that looks for the end from every line would take hours.
    for filling in ("\n", "A\n", LINES[0] + "\n"):
        with pytest.raises(KeyFileError, match="no TSS2 PRIVATE KEY in it"):
            KeyFile.from_pem((LINES[0] + "\n" + filling * 200_000).encode())


# --- any octets ---


def read_or_refused(read: Any, data: Any) -> None:
    """Read: what is accepted has to be the same after it was written."""
    try:
        found = read(data)
    except KeyFileError:
        return
    assert isinstance(found, KeyFile)
    assert KeyFile.from_der(found.to_der()) == found
    assert KeyFile.from_pem(found.to_pem()) == found


ELEMENTS = [KIND, FALSE, POLICY, SECRET, PARENT_NAME, LATER, OWNER, PUBKEY, PRIVKEY]


@st.composite
def shaken_elements(draw: st.DrawFn) -> bytes:
    """A sequence of right length, of elements of which some are wounded, moved or doubled."""
    elements = draw(
        st.permutations(ELEMENTS) | st.lists(st.sampled_from(ELEMENTS)) | st.just(ELEMENTS)
    )
    wounded = [draw(mutated(e)) if draw(st.integers(0, 4)) == 0 else e for e in elements]
    return sequence(*wounded)


@st.composite
def wounded_inside(draw: st.DrawFn) -> bytes:
    """A sequence of right length, of elements of right lengths with wounded contents."""
    tags = [element[:1] for element in ELEMENTS]
    index = draw(st.integers(0, len(ELEMENTS) - 1))
    wound = tlv(tags[index], draw(mutated(ELEMENTS[index][2:])))
    return sequence(*ELEMENTS[:index], wound, *ELEMENTS[index + 1 :])


@given(der=keyfiles.map(KeyFile.to_der).flatmap(mutated) | shaken_elements() | wounded_inside())
@example(der=sequence(*ELEMENTS))
def test_any_wounded_der_is_a_value_or_a_key_file_error(der: bytes):
    read_or_refused(KeyFile.from_der, der)


@given(der=st.binary(max_size=64) | st.binary(max_size=64).map(sequence))
def test_any_octets_are_a_value_or_a_key_file_error(der: bytes):
    read_or_refused(KeyFile.from_der, der)
    read_or_refused(KeyFile.from_pem, der)


@given(pem=mutated(PEM.encode()))
def test_any_wounded_pem_is_a_value_or_a_key_file_error(pem: bytes):
    read_or_refused(KeyFile.from_pem, pem)
    read_or_refused(KeyFile.from_pem, pem.decode("latin-1"))


@given(text=st.text() | st.text(st.characters()).map(lambda t: f"{LINES[0]}\n{t}\n{LINES[-1]}\n"))
def test_any_text_is_a_value_or_a_key_file_error(text: str):
    read_or_refused(KeyFile.from_pem, text)


# --- other people's programs ---

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def run(*command: str | Path, conf: str = "") -> str:
    """Run a program, with `conf` as its TPM; what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "TPM2OPENSSL_TCTI": conf, "TPM2TOOLS_TCTI": conf},
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,  # without a terminal to ask on
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_provider() -> bool:
    """Whether OpenSSL has its provider for TPM 2.0."""
    if OPENSSL is None:
        return False
    printed = run("openssl", "version", "-m")  # MODULESDIR: "..."
    return (Path(printed.split('"')[1]) / "tpm2.so").exists()


needs_provider = pytest.mark.skipif(not has_provider(), reason="tpm2-openssl is not installed")
needs_tools = pytest.mark.skipif(
    shutil.which("tpm2_encodeobject") is None, reason="tpm2-tools are not installed"
)


def asn1parse(path: Path) -> list[tuple[int, str, str]]:
    """What OpenSSL finds in a PEM file: depth, type and value of each element."""
    pattern = r"d=(\d+) +hl=\d+ l= *\d+ (?:prim|cons): (.+?) *(?:\[HEX DUMP\])?(?::(.*))?"
    printed = run("openssl", "asn1parse", "-in", path).splitlines()
    found = [re.fullmatch(rf" *\d+:{pattern}", line) for line in printed]
    assert all(found)
    return [(int(match[1]), match[2], match[3] or "") for match in found if match]


@needs_openssl
@pytest.mark.parametrize(
    ("changes", "optional", "parent"),
    [
        ({}, [], "40000001"),
        ({"parent": 0x81000001, "empty_auth": True}, [], "81000001"),
        ({"parent": 0xFFFFFFFF}, [], "FFFFFFFF"),
        (
            {"description": "abc", "rsa_parent": True, "others": (AUTH_POLICY,)},
            [
                *[(1, "cont [ 3 ]", ""), (2, "SEQUENCE", "")],
                *[(1, "cont [ 4 ]", ""), (2, "UTF8STRING", "abc")],
                *[(1, "cont [ 5 ]", ""), (2, "BOOLEAN", "255")],
            ],
            "40000001",
        ),
    ],
    ids=["plain", "persistent parent", "highest parent", "everything"],
)
def test_openssl_finds_in_a_file_what_was_put_into_it(
    changes: dict[str, Any], optional: list[Any], parent: str, tmp_path: Path
):
    path = tmp_path / "key.tpm"
    keyfile = PLAIN.replace(**changes)
    path.write_text(keyfile.to_pem())
    assert asn1parse(path) == [
        (0, "SEQUENCE", ""),
        (1, "OBJECT", "2.23.133.10.1.3"),
        (1, "cont [ 0 ]", ""),
        (2, "BOOLEAN", "255" if keyfile.empty_auth else "0"),
        *optional,
        (1, "INTEGER", parent),
        (1, "OCTET STRING", PUBKEY[2:].hex().upper()),
        (1, "OCTET STRING", PRIVKEY[2:].hex().upper()),
    ]


def sign_and_verify(keyfile: KeyFile, swtpm: Swtpm, pin: bytes, key: Any) -> None:
    """Load the key of a file into the TPM, sign, and let `cryptography` verify it."""
    algorithm = signature_algorithm(keyfile.public, 0)
    data = b"data to be signed"
    with (
        Tpm(connect(swtpm.conf)) as tpm,
        open_parent(tpm, keyfile.parent) as parent,
        parent.load(keyfile.private, keyfile.public, pin) as loaded,
    ):
        made = loaded.sign(algorithm.digest(data), algorithm.tpm_scheme).signature
    numbers = (int.from_bytes(part, "big") for part in (made.signatureR, made.signatureS))
    signature = encode_dss_signature(*numbers)
    key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        key.verify(signature, data + b"!", ec.ECDSA(hashes.SHA256()))


def passin(pin: str) -> list[str]:
    """The option that tells OpenSSL a PIN."""
    return ["-passin", f"pass:{pin}"] if pin else []


PROVIDERS = ("-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2")


@needs_provider
@pytest.mark.parametrize("pin", ["", "a PIN"])
def test_a_key_that_openssl_made_is_read_and_signs(pin: str, swtpm: Swtpm, tmp_path: Path):
    path = tmp_path / "key.pem"
    options = ["-pkeyopt", f"user-auth:{pin}"] if pin else []
    run(
        *("openssl", "genpkey", *PROVIDERS[:4], "-algorithm", "EC", "-pkeyopt", "group:P-256"),
        *(*options, "-out", path),
        conf=swtpm.conf,
    )
    found = KeyFile.from_pem(path.read_bytes())
    assert (found.kind, found.parent, found.empty_auth) == (LOADABLE, TPM_RH.OWNER, not pin)
    printed = run(
        "openssl", "pkey", *PROVIDERS, "-in", path, *passin(pin), "-pubout", conf=swtpm.conf
    )
    assert spki(ec_key(found.public)).decode() == printed
    sign_and_verify(found, swtpm, pin.encode(), ec_key(found.public))


def make(swtpm: Swtpm, template: TPMT_PUBLIC, pin: bytes = b"") -> KeyFile:
    """Make a key in the TPM with nothing but the library."""
    with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, TPM_RH.OWNER) as parent:
        made = parent.create(template, auth=pin)
    return KeyFile(public=made.outPublic, private=made.outPrivate, empty_auth=not pin)


@needs_provider
@pytest.mark.parametrize("pin", ["", "a PIN"])
def test_openssl_signs_with_a_file_of_ours(pin: str, swtpm: Swtpm, tmp_path: Path):
    path, data, signature = (tmp_path / name for name in ("key.tpm", "data", "signature"))
    keyfile = make(swtpm, ECC_SIGN, pin.encode())
    path.write_text(keyfile.to_pem())
    data.write_bytes(b"data to be signed")
    run(
        *("openssl", "pkeyutl", *PROVIDERS, "-sign", "-rawin", "-digest", "sha256"),
        *("-inkey", path, *passin(pin), "-in", data, "-out", signature),
        conf=swtpm.conf,
    )
    ec_key(keyfile.public).verify(
        signature.read_bytes(), data.read_bytes(), ec.ECDSA(hashes.SHA256())
    )


@needs_provider
def test_openssl_prints_the_public_key_of_an_rsa_file_of_ours(swtpm: Swtpm, tmp_path: Path):
    path = tmp_path / "key.tpm"
    keyfile = make(swtpm, RSA_SIGN)
    path.write_text(keyfile.to_pem())
    printed = run("openssl", "pkey", *PROVIDERS, "-in", path, "-pubout", conf=swtpm.conf)
    numbers = serialization.load_pem_public_key(printed.encode()).public_numbers()
    assert numbers.n.to_bytes(256, "big") == keyfile.public.unique
    assert (numbers.e, keyfile.public.type) == (65537, TPM_ALG.RSA)


@needs_tools
@pytest.mark.parametrize("parent", ["context", "persistent"])
def test_a_file_that_tpm2_tools_made_is_read_and_signs(parent: str, swtpm: Swtpm, tmp_path: Path):
    def tool(name: str, *options: str | Path) -> str:
        printed = run(f"tpm2_{name}", *options, conf=swtpm.conf)
        run("tpm2_flushcontext", "-t", conf=swtpm.conf)
        return printed

    primary, public, private, path = (tmp_path / name for name in ("ctx", "pub", "priv", "pem"))
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    tool("createprimary", "-Q", "-G", "ecc", "-a", attributes, "-c", primary)
    where: str | Path = primary
    if parent == "persistent":
        where = "0x81000007"
        tool("evictcontrol", "-Q", "-c", primary, where)
    tool("create", "-C", where, "-G", "ecc256", "-p", "a PIN", "-u", public, "-r", private)
    tool("encodeobject", "-C", where, "-u", public, "-r", private, "-o", path)
    found = KeyFile.from_pem(path.read_bytes())
    assert found.parent == (0x81000007 if parent == "persistent" else TPM_RH.OWNER)
    assert (found.kind, found.empty_auth, found.others) == (LOADABLE, False, ())
    assert len(found.public.pack()).to_bytes(2, "big") + found.public.pack() == public.read_bytes()
    assert len(found.private).to_bytes(2, "big") + found.private == private.read_bytes()
    sign_and_verify(found, swtpm, b"a PIN", ec_key(found.public))
    if parent == "persistent":
        tool("evictcontrol", "-Q", "-c", where)


@needs_tools
def test_tpm2_tools_load_a_file_of_ours_and_call_it_by_its_name(swtpm: Swtpm, tmp_path: Path):
    path = tmp_path / "key.tpm"
    with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, TPM_RH.OWNER) as parent:
        made = parent.create(ECC_SIGN)
        with parent.load(made.outPrivate, made.outPublic) as loaded:
            name = loaded.name.hex()
    keyfile = KeyFile(public=made.outPublic, private=made.outPrivate, empty_auth=True)
    path.write_text(keyfile.to_pem())
    printed = run("tpm2_load", "-r", path, "-c", tmp_path / "context", conf=swtpm.conf)
    run("tpm2_flushcontext", "-t", conf=swtpm.conf)
    assert f"name: {name}" in printed.splitlines()


# --- the Name of the parent ---------------------------------------------------------------------

PARENT = bytes.fromhex("000b" + "5a" * 32)


def test_the_name_of_the_parent_stands_before_the_key_and_comes_back():
    text = PLAIN.replace(parent_name=PARENT).to_pem()
    first, rest = text.split("\n", 1)
    assert first == "Parent-Name: 000b" + "5a" * 32
    assert rest == PLAIN.to_pem()
    assert KeyFile.from_pem(text).parent_name == PARENT
    assert KeyFile.from_pem(rest).parent_name == b""


@pytest.mark.parametrize("text", ["a key\n", "Name: 00\n", "parent-name: 00\n", "\n\n"])
def test_other_text_before_a_key_is_no_name(text: str):
    assert KeyFile.from_pem(text + PLAIN.to_pem()) == PLAIN


def test_a_name_behind_the_key_is_none():
    assert KeyFile.from_pem(PLAIN.to_pem() + "Parent-Name: 00\n") == PLAIN


@pytest.mark.parametrize("value", ["00 0", "xy", "\xe9"])
def test_a_name_that_is_not_hexadecimal_is_a_key_file_error(value: str):
    with pytest.raises(KeyFileError, match="Parent-Name is not hexadecimal"):
        KeyFile.from_pem(f"Parent-Name: {value}\n{PLAIN.to_pem()}")
