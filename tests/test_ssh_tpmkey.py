"""Keys that sign in a TPM: loaded for each signature, and forgotten."""

import base64
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from between import Between
from conftest import Swtpm, left_loaded
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from ssh_fixtures import strings
from test_parents import persistent

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_ECC, TPM_RC, TPM_RH
from tpmwire.errors import Error, KeyFileError, TpmError
from tpmwire.importable import make_importable
from tpmwire.keyfile import IMPORTABLE, LEGACY_LOADABLE, SEALED, KeyFile
from tpmwire.parents import open_parent
from tpmwire.ssh.keys import UnsupportedKeyError, public_blob
from tpmwire.ssh.occasion import Occasion
from tpmwire.ssh.pins import Ask
from tpmwire.ssh.tpmkey import TpmKey
from tpmwire.templates import ECC_SIGN, ECC_SRK, RSA_SIGN, ecc_sign, without_lockout
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
)


class NoPinError(Error):
    """Nobody gave a PIN."""


def nobody(prompt: str, occasion: Occasion) -> bytes:
    raise NoPinError(prompt)


def verify(blob: bytes, signature: bytes, data: bytes, hash_: hashes.HashAlgorithm) -> bytes:
    """Verify an SSH signature with `cryptography`, and return the name of its algorithm."""
    kind = strings(blob)[0]
    key: Any = load_ssh_public_key(b" ".join((kind, base64.b64encode(blob))))
    name, octets = strings(signature)
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(octets, data, padding.PKCS1v15(), hash_)
    else:
        r, s = (int.from_bytes(number, "big", signed=True) for number in strings(octets))
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hash_))
    return name


@pytest.fixture(autouse=True)
def nothing_stays_loaded(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "swtpm" in request.fixturenames:
        assert left_loaded(request.getfixturevalue("swtpm")) == ()


def made_in(
    swtpm: Swtpm, template: TPMT_PUBLIC, auth: bytes = b"", hierarchy: int = TPM_RH.OWNER
) -> KeyFile:
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK, hierarchy) as srk:
        made = srk.create(template, auth)
    return KeyFile(
        public=made.outPublic, private=made.outPrivate, parent=hierarchy, empty_auth=not auth
    )


def tpm_key(swtpm: Swtpm, keyfile: KeyFile, ask_pin: Ask = nobody, comment: str = "id") -> TpmKey:
    return TpmKey(keyfile, comment, lambda: Tpm(connect(swtpm.conf)), ask_pin)


@pytest.mark.parametrize(
    ("curve", "hash_"),
    [
        (TPM_ECC.NIST_P256, hashes.SHA256()),
        (TPM_ECC.NIST_P384, hashes.SHA384()),
        (TPM_ECC.NIST_P521, hashes.SHA512()),
    ],
    ids=lambda value: value.name,
)
def test_an_ecdsa_key_signs_what_cryptography_verifies(
    swtpm: Swtpm, curve: TPM_ECC, hash_: hashes.HashAlgorithm
):
    key = tpm_key(swtpm, made_in(swtpm, ecc_sign(curve)))
    signature = key.sign(b"data", 0)
    assert verify(key.blob, signature, b"data", hash_) == strings(key.blob)[0]
    with pytest.raises(InvalidSignature):
        verify(key.blob, signature, b"date", hash_)


def test_an_rsa_key_signs_what_cryptography_verifies(swtpm: Swtpm):
    key = tpm_key(swtpm, made_in(swtpm, RSA_SIGN))
    for flags, hash_, name in (
        (2, hashes.SHA256(), b"rsa-sha2-256"),
        (4, hashes.SHA512(), b"rsa-sha2-512"),
    ):
        signature = key.sign(b"data", flags)
        assert verify(key.blob, signature, b"data", hash_) == name
        with pytest.raises(InvalidSignature):
            verify(key.blob, signature, b"date", hash_)


def test_a_key_with_a_pin_asks_for_it_by_the_name_of_the_key(swtpm: Swtpm):
    prompts = []

    def ask(prompt: str, occasion: Occasion) -> bytes:
        prompts.append(prompt)
        return b"1234"

    key = tpm_key(swtpm, made_in(swtpm, ECC_SIGN, b"1234"), ask, "Ada at home")
    assert verify(key.blob, key.sign(b"data", 0), b"data", hashes.SHA256())
    assert len(prompts) == 1
    assert "Ada at home" in prompts[0]


def test_a_key_signs_neither_with_a_wrong_pin_nor_without_one(swtpm: Swtpm):
    keyfile = made_in(swtpm, ECC_SIGN, b"1234")
    with pytest.raises(TpmError, match="wrong") as caught:
        tpm_key(swtpm, keyfile, lambda prompt, occasion: b"4321").sign(b"data", 0)
    assert caught.value.code == TPM_RC.AUTH_FAIL
    with pytest.raises(TpmError, match="wrong"):
        tpm_key(swtpm, keyfile.replace(empty_auth=True)).sign(b"data", 0)
    assert tpm_key(swtpm, keyfile, lambda prompt, occasion: b"1234").sign(b"data", 0)


def test_the_tpm_is_not_opened_for_what_cannot_be_signed(swtpm: Swtpm):
    opened = []
    keyfile = made_in(swtpm, without_lockout(ECC_SIGN), b"1234")
    key = TpmKey(keyfile, "id", lambda: opened.append(1), nobody)
    with pytest.raises(NoPinError):
        key.sign(b"data", 0)
    with pytest.raises(UnsupportedKeyError):
        key.sign(b"data", 2)
    assert opened == []


def test_a_waiting_prompt_keeps_no_other_key_waiting(swtpm: Swtpm):
    asked, answered = threading.Event(), threading.Event()

    def ask(prompt: str, occasion: Occasion) -> bytes:
        asked.set()
        assert answered.wait(60)
        return b"1234"

    slow, made = tpm_key(swtpm, made_in(swtpm, ECC_SIGN, b"1234"), ask), []
    quick = tpm_key(swtpm, made_in(swtpm, ECC_SIGN))
    thread = threading.Thread(target=lambda: made.append(slow.sign(b"slow", 0)))
    thread.start()
    assert asked.wait(60)
    assert verify(quick.blob, quick.sign(b"quick", 0), b"quick", hashes.SHA256())
    assert made == []
    answered.set()
    thread.join()
    assert verify(slow.blob, made[0], b"slow", hashes.SHA256())


def test_keys_that_sign_at_a_time_take_turns_at_the_tpm(swtpm: Swtpm):
    open_now, most = set(), [0]

    class WatchedTpm(Tpm):
        def __init__(self) -> None:
            super().__init__(connect(swtpm.conf))
            open_now.add(self)
            most[0] = max(most[0], len(open_now))

        def close(self) -> None:
            super().close()
            open_now.discard(self)

    keys = [TpmKey(made_in(swtpm, ECC_SIGN), "id", WatchedTpm, nobody) for _ in range(2)]
    start, signatures = threading.Barrier(6), {}

    def sign(number: int) -> None:
        start.wait()
        signatures[number] = keys[number % 2].sign(b"%d" % number, 0)

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(signatures) == 6
    for number, signature in signatures.items():
        assert verify(keys[number % 2].blob, signature, b"%d" % number, hashes.SHA256())


def test_a_key_of_another_tpm_is_refused_with_the_reason(swtpm: Swtpm):
    """Another hierarchy has another seed, as another TPM has."""
    keyfile = made_in(swtpm, ECC_SIGN, hierarchy=TPM_RH.ENDORSEMENT)
    assert tpm_key(swtpm, keyfile).sign(b"data", 0)
    with pytest.raises(TpmError, match="another TPM") as caught:
        tpm_key(swtpm, keyfile.replace(parent=TPM_RH.OWNER)).sign(b"data", 0)
    assert caught.value.code == TPM_RC.INTEGRITY
    assert "the parent is the right one" not in str(caught.value)


def test_a_key_says_where_its_parent_is_if_it_was_moved(swtpm: Swtpm):
    keyfile = named(swtpm, made_in(swtpm, ECC_SIGN, hierarchy=TPM_RH.ENDORSEMENT))
    assert tpm_key(swtpm, keyfile).sign(b"data", 0)
    with pytest.raises(KeyFileError, match="right one is the primary key of the endorsement"):
        tpm_key(swtpm, keyfile.replace(parent=TPM_RH.OWNER)).sign(b"data", 0)


def test_a_key_of_another_tpm_is_told_from_a_damaged_one_by_the_name_of_the_parent(swtpm: Swtpm):
    keyfile = named(swtpm, made_in(swtpm, ECC_SIGN))
    turned = bytes([*keyfile.private[:-1], keyfile.private[-1] ^ 1])
    with pytest.raises(TpmError, match="the private part is damaged"):
        tpm_key(swtpm, keyfile.replace(private=turned)).sign(b"data", 0)
    elsewhere = keyfile.parent_name[:-1] + bytes([keyfile.parent_name[-1] ^ 1])
    with pytest.raises(KeyFileError, match="another TPM, or was cleared"):
        tpm_key(swtpm, keyfile.replace(parent_name=elsewhere)).sign(b"data", 0)


def test_nobody_is_sent_a_pin_under_another_parent(swtpm: Swtpm):
    keyfile = named(swtpm, made_in(swtpm, without_lockout(ECC_SIGN), b"1234"))
    other = keyfile.replace(parent_name=b"\0\x0b" + bytes(32))
    transport = Between(connect(swtpm.conf))
    with pytest.raises(KeyFileError):
        TpmKey(other, "id", lambda: Tpm(transport), lambda *_: b"1234").sign(b"data", 0)
    assert not {TPM_CC.Load, TPM_CC.Sign, TPM_CC.StartAuthSession} & set(transport.codes)


@pytest.mark.parametrize(("pin", "commands"), [(b"1234", 4), (b"", 3)])
def test_a_signature_under_a_persistent_parent_takes_few_commands(
    swtpm: Swtpm, pin: bytes, commands: int
):
    """As the TPM counts them.  The first signature asks for the parent; the others know it."""
    with Tpm(connect(swtpm.conf)) as tpm, persistent(tpm, ECC_SRK) as name:
        with open_parent(tpm, 0x81000001) as parent:
            made = parent.create(without_lockout(ECC_SIGN), pin)
        keyfile = KeyFile(*(made.outPublic, made.outPrivate, 0x81000001, not pin), parent_name=name)
        tpm._transport.close()
        key = tpm_key(swtpm, keyfile, lambda prompt, occasion: pin)
        counts = [executed(swtpm)]
        for _ in range(3):
            assert verify(key.blob, key.sign(b"data", 0), b"data", hashes.SHA256())
            counts.append(executed(swtpm))
        tpm._transport = connect(swtpm.conf)
    taken = [after - before for before, after in pairwise(counts)]
    assert taken == [commands + 1, commands, commands]


def executed(swtpm: Swtpm) -> int:
    """Count the commands that the TPM has executed, by its own log."""
    return swtpm.log.read_text().count("SWTPM_IO_Read: length")


def named(swtpm: Swtpm, keyfile: KeyFile) -> KeyFile:
    """Add the Name of its parent to a key file."""
    with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, keyfile.parent) as parent:
        return keyfile.replace(parent_name=parent.name)


def test_a_parent_that_the_tpm_does_not_have_is_named(swtpm: Swtpm):
    key = tpm_key(swtpm, made_in(swtpm, ECC_SIGN).replace(parent=0x8100ABCD))
    with pytest.raises(KeyFileError, match="0x8100abcd is not in this TPM"):
        key.sign(b"data", 0)


POLICY = bytes.fromhex("a110 300e 300c a004 0202 016b a104 0402 abcd")
PLAIN = KeyFile(
    public=ECC_SIGN.replace(
        unique=TPMS_ECC_POINT(  # the generator of P-256
            x=bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
            y=bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        )
    ),
    private=b"private",
)
NOTHING = TPMA_OBJECT(0)


def with_attributes(added: TPMA_OBJECT, removed: TPMA_OBJECT = NOTHING) -> KeyFile:
    attributes = PLAIN.public.objectAttributes & ~removed | added
    return PLAIN.replace(public=PLAIN.public.replace(objectAttributes=attributes))


@pytest.mark.parametrize(
    ("keyfile", "message"),
    [
        (PLAIN.replace(kind=SEALED), "cannot be loaded as it is"),
        (PLAIN.replace(kind="1.2.3"), "cannot be loaded as it is"),
        (PLAIN.replace(others=(POLICY,)), "policy of the key is malformed"),
        (PLAIN.replace(others=(POLICY[:8],)), "is malformed"),
        (with_attributes(NOTHING, TPMA_OBJECT.userWithAuth), "used by a policy only"),
        (with_attributes(TPMA_OBJECT.restricted), "signs nothing from outside"),
        (with_attributes(TPMA_OBJECT.decrypt, TPMA_OBJECT.sign), "signs nothing from outside"),
    ],
    ids=[
        *("sealed", "unknown", "policy", "cut policy"),
        *("no auth", "restricted", "decrypts"),
    ],
)
def test_a_key_that_cannot_be_used_this_way_is_refused_at_once(keyfile: KeyFile, message: str):
    with pytest.raises(KeyFileError, match=message):
        TpmKey(keyfile, "id", Tpm, nobody)


def test_other_keys_that_sign_are_taken():
    for keyfile in (
        PLAIN,
        PLAIN.replace(kind=LEGACY_LOADABLE),
        with_attributes(TPMA_OBJECT.decrypt),
    ):
        assert TpmKey(keyfile, "id", Tpm, nobody).blob == public_blob(PLAIN.public)


def test_ssh_has_no_use_for_a_sealed_secret():
    sealed = TPMT_PUBLIC(
        type=TPM_ALG.KEYEDHASH,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=TPMA_OBJECT.userWithAuth,
        parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
        unique=bytes(32),
    )
    with pytest.raises(UnsupportedKeyError):
        TpmKey(PLAIN.replace(kind=SEALED, public=sealed), "id", Tpm, nobody)


def test_an_importable_key_is_taken_in_once_and_signs(swtpm: Swtpm):
    """What was wrapped by `cryptography` outside, with the key pair that it verifies with."""
    outside = ec.generate_private_key(ec.SECP256R1())
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        keyfile = make_importable(outside, srk.public)
    before = executed(swtpm)
    key = tpm_key(swtpm, keyfile)
    assert verify(key.blob, key.sign(b"data", 0), b"data", hashes.SHA256())
    first = executed(swtpm) - before
    assert verify(key.blob, key.sign(b"again", 0), b"again", hashes.SHA256())
    assert executed(swtpm) - before - first == first - 1  # without Import
    point = outside.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert key.blob.endswith(point)
    assert keyfile.kind == IMPORTABLE


def test_a_key_wrapped_for_another_parent_is_told(swtpm: Swtpm):
    outside = ec.generate_private_key(ec.SECP256R1())
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK, TPM_RH.NULL) as other:
        keyfile = make_importable(outside, other.public)
    with pytest.raises(KeyFileError, match="another key than when it was made"):
        tpm_key(swtpm, keyfile).sign(b"data", 0)
    with pytest.raises(KeyFileError, match="not wrapped for this parent"):
        tpm_key(swtpm, keyfile.replace(parent_name=b"")).sign(b"data", 0)
