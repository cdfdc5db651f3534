"""No secret of the user's is shown, logged, or readable on the way to the TPM."""

import base64
import logging
import traceback
from collections.abc import Callable, Iterator

import pytest
from between import Between, Meddle, Send, only_with
from conftest import Swtpm, forgive
from cryptography.hazmat.primitives.asymmetric import ec
from test_client import ECDSA, RSA_KEY, ecc_pair, external, rsa_pair, scheme_of
from test_interposer import SEALED, SRK

from tpmwire import templates
from tpmwire.authorization import Entity, PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import Create, EvictControl, HierarchyChangeAuth, LoadExternal
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from tpmwire.errors import Error
from tpmwire.exchange import Exchange
from tpmwire.objects import LoadedObject
from tpmwire.session import SessionStart
from tpmwire.transport import connect
from tpmwire.types import TPMS_SENSITIVE_CREATE, TPMT_SENSITIVE

OLD, NEW, WRONG = b"correct horse battery", b"staple of the test 42", b"not the right PIN, no"
DATA = b"what is sealed in the TPM"
OWNER = b"the password of a hierarchy"
SCALAR = 0x5EC4E701_23456789ABCDEFFE_DCBA09876543210F_1E2D3C4B5A69788796A5B4C3
NO_DA = templates.without_lockout(templates.ECC_SIGN)

ECC = ec.derive_private_key(SCALAR, ec.SECP256R1())
ECC_PUBLIC, ECC_SENSITIVE = ecc_pair(ECC, external(templates.ECC_SIGN))
SECRETS = {
    "the old PIN": OLD,
    "the new PIN": NEW,
    "a wrong PIN": WRONG,
    "the sealed data": DATA,
    "the password of the hierarchy": OWNER,
    "the private scalar": SCALAR.to_bytes(32, "big"),
}


@pytest.fixture(scope="module")
def furnished(swtpm: Swtpm) -> Swtpm:
    """A TPM with a persistent storage root key, and a hierarchy with a password."""
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(templates.ECC_SRK) as srk:
        tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=SRK))
        with tpm.session(salt_key=srk) as session:
            command = HierarchyChangeAuth(authHandle=TPM_RH.ENDORSEMENT, newAuth=OWNER)
            tpm.execute(command, session.use(decrypt=True))
    return swtpm


@pytest.fixture
def between(furnished: Swtpm) -> Between:
    return Between(connect(furnished.conf))


@pytest.fixture
def tpm(between: Between) -> Iterator[Tpm]:
    """A TPM whose octets are all kept."""
    with Tpm(between) as tpm:
        yield tpm


def scenario(tpm: Tpm) -> Iterator[object]:
    """All that people do with secrets; what is made on the way."""
    srk = tpm.persistent(SRK)
    made = srk.create(NO_DA, OLD)
    yield made
    with srk.load(made.outPrivate, made.outPublic, OLD) as key:
        yield key
        key.sign(bytes(32), ECDSA)
        private = key.change_auth(srk, NEW)
    with srk.load(private, made.outPublic, NEW) as key:
        yield key.sign(bytes(32), ECDSA)
        key.auth = WRONG
        try:
            key.sign(bytes(32), ECDSA)
        except Error as error:
            yield error
    sealed = srk.create(SEALED, OLD, DATA)
    with srk.load(sealed.outPrivate, sealed.outPublic, OLD) as loaded:
        assert loaded.unseal() == DATA
        yield loaded
    with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT, OWNER) as primary:
        yield primary
        other = primary.create(NO_DA, NEW)
        primary.load(other.outPrivate, other.outPublic, NEW).flush()
    with tpm.load_external(ECC_PUBLIC, ECC_SENSITIVE.replace(authValue=OLD)) as own:
        yield own
        own.sign(bytes(32), ECDSA)
    with tpm.session(salt_key=srk, bind=Entity.of(srk, OLD)) as session:
        yield session
        yield session.use(), session.use(OLD)


def readings(secret: bytes) -> list[bytes]:
    """The ways in which octets are shown."""
    shown = repr(secret)[2:-1].encode()
    return [secret, shown, secret.hex().encode(), base64.b64encode(secret), str([*secret]).encode()]


def assert_not_shown(text: str) -> None:
    for name, secret in SECRETS.items():
        for reading in readings(secret):
            assert reading not in text.encode(), name


def test_nothing_on_the_way_to_the_tpm_shows_a_secret(tpm: Tpm, between: Between):
    for _ in scenario(tpm):
        pass
    octets = b"".join(between.sent) + b"\0" + b"".join(between.received)
    assert len(octets) > 5000
    for name, secret in SECRETS.items():
        assert secret not in octets, name
        assert secret[:8] not in octets, name


def test_the_same_secrets_are_there_to_be_found_where_nothing_hides_them(furnished: Swtpm):
    # So that the test before this one can be trusted.
    between = Between(connect(furnished.conf))
    with Tpm(between) as tpm:
        sensitive = TPMS_SENSITIVE_CREATE(userAuth=OLD, data=DATA)
        tpm.execute(Create(parentHandle=SRK, inSensitive=sensitive, inPublic=SEALED))
        loaded = tpm.execute(LoadExternal(inPrivate=ECC_SENSITIVE, inPublic=ECC_PUBLIC))
        LoadedObject(tpm, loaded.objectHandle, ECC_PUBLIC).flush()
    octets = b"".join(between.sent)
    for name in ("the old PIN", "the sealed data", "the private scalar"):
        assert SECRETS[name] in octets


def test_an_rsa_key_from_outside_is_hidden_too(tpm: Tpm, between: Between):
    public, sensitive = rsa_pair(RSA_KEY, external(templates.RSA_SIGN))
    with tpm.load_external(public, sensitive) as key:
        key.sign(bytes(32), scheme_of(TPM_ALG.RSASSA))
    octets = b"".join(between.sent) + b"".join(between.received)
    numbers = RSA_KEY.private_numbers()
    for prime in (numbers.p, numbers.q):
        assert prime.to_bytes(128, "big") not in octets


def test_nothing_that_is_made_on_the_way_shows_a_secret(tpm: Tpm):
    count = 0
    for made in scenario(tpm):
        assert_not_shown(f"{made!r} {made!s}")
        count += 1
    assert count == 9


def secret_values() -> list[object]:
    """Values that hold secrets, of every layer."""
    bound = Entity.permanent(TPM_RH.OWNER, OLD)
    start = SessionStart(TPM_SE.HMAC, bind=bound)
    sensitive = TPMS_SENSITIVE_CREATE(userAuth=OLD, data=DATA)
    create = Create(parentHandle=bound, inSensitive=sensitive, inPublic=SEALED)
    return [
        bound,
        start,
        start.command,
        sensitive,
        create,
        create.frame,
        ECC_SENSITIVE.replace(authValue=NEW),
        LoadExternal(inPrivate=ECC_SENSITIVE, inPublic=ECC_PUBLIC),
        HierarchyChangeAuth(authHandle=bound, newAuth=NEW),
        PasswordSession(OLD),
        Exchange(create, [PasswordSession(OLD).use()], [bound]),
    ]


@pytest.mark.parametrize("number", range(11))
def test_no_value_that_holds_a_secret_shows_it(number: int):
    value = secret_values()[number]
    for shown in (repr(value), str(value), f"{value}", repr([value]), f"{ {1: value} }"):
        assert_not_shown(shown)


def test_nothing_is_logged_that_shows_a_secret(tpm: Tpm, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        for _ in scenario(tpm):
            pass
    assert_not_shown(caplog.text)


def spoil(send: Send, command: bytes) -> bytes:
    answer = send(command)
    return answer[:-1] + bytes([answer[-1] ^ 1])


def refuse(send: Send, command: bytes) -> bytes:
    return bytes.fromhex("80010000000a0000098e")


CODES = [TPM_CC.Create, TPM_CC.Sign, TPM_CC.ObjectChangeAuth, TPM_CC.Unseal, TPM_CC.LoadExternal]


@pytest.mark.parametrize("meddle", [spoil, refuse], ids=lambda value: value.__name__)
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_no_traceback_shows_a_secret(furnished: Swtpm, code: TPM_CC, meddle: Meddle):
    between = Between(connect(furnished.conf), only_with(code, meddle))
    told = []
    with Tpm(between) as tpm:
        try:
            for _ in scenario(tpm):
                pass
        except Error as error:
            told = traceback.format_exception(error)
            told += [str(error), repr(error), repr(vars(error)), repr(error.args)]
    assert told or code == TPM_CC.Sign
    assert_not_shown("".join(told))


TOO_LONG = b"a PIN that is too long " * 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: TPMS_SENSITIVE_CREATE(userAuth=TOO_LONG).pack(),
        lambda: PasswordSession(TOO_LONG),
        lambda: TPMT_SENSITIVE(
            sensitiveType=TPM_ALG.ECC, authValue=TOO_LONG, sensitive=b"x"
        ).pack(),
        lambda: TPMT_SENSITIVE(sensitiveType=TPM_ALG.ECC, sensitive=TOO_LONG * 9).pack(),
    ],
)
def test_a_secret_that_does_not_fit_is_not_shown(make: Callable[[], object]):
    with pytest.raises(Error) as caught:
        make()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "too long " * 2 not in shown
    assert TOO_LONG.hex()[:40] not in shown


def test_a_wrong_pin_of_a_protected_key_is_not_shown(tpm: Tpm):
    srk = tpm.persistent(SRK)
    made = srk.create(templates.ECC_SIGN, OLD)
    key = srk.load(made.outPrivate, made.outPublic, WRONG)
    with key, pytest.raises(Error) as caught:
        key.sign(bytes(32), ECDSA)
    assert_not_shown("".join(traceback.format_exception(caught.value)))
    forgive(tpm)
