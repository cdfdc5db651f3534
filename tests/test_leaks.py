"""Whatever goes wrong, and wherever: afterwards the TPM holds no object and no session of ours."""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from between import FAULTS, Between, Meddle, Send, only_at, shorten
from conftest import Swtpm, handles, left_loaded
from softkeys import cipher, key_of, parent_of
from test_client import ECC_PUBLIC, ECC_SENSITIVE, ECDSA
from test_interposer import NO_DA, PIN, SEALED, SRK

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import (
    EvictControl,
    GetRandom,
    HashSequenceStart,
    PolicyCommandCode,
    PolicyPCR,
    SequenceComplete,
    Sign,
    StartAuthSession,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from tpmwire.duplication import unwrap, wrap
from tpmwire.errors import Error
from tpmwire.policy import CommandCode, Policy
from tpmwire.session import SessionStart
from tpmwire.softkeys import SIGNS, public_of, sensitive_of
from tpmwire.transport import connect


@pytest.fixture(scope="module")
def furnished(swtpm: Swtpm) -> Swtpm:
    """A TPM with a persistent storage root key."""
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(templates.ECC_SRK) as srk:
        tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=SRK))
    # A TPM tests an algorithm before its first use, and puts that command off meanwhile.
    for scenario in SCENARIOS:
        commands_of(swtpm, scenario)
    return swtpm


Step = Callable[[], None]


def keys(tpm: Tpm, step: Step) -> None:
    """Make a key with a PIN, load it, sign, and change the PIN."""
    srk = tpm.persistent(SRK)
    made = srk.create(NO_DA, PIN)
    step()
    with srk.load(made.outPrivate, made.outPublic, PIN) as key:
        step()
        key.sign(bytes(32), ECDSA)
        step()
        private = key.change_auth(srk, b"new")
        step()
    with srk.load(private, made.outPublic, b"new"):
        step()


def data(tpm: Tpm, step: Step) -> None:
    """Seal data with a PIN, and read it, under a key of a hierarchy."""
    with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT, b"") as parent:
        step()
        made = parent.create(SEALED, PIN, b"data")
        with parent.load(made.outPrivate, made.outPublic, PIN) as sealed:
            step()
            sealed.unseal()
            step()


def sessions(tpm: Tpm, step: Step) -> None:
    """Use a policy session, a salted one, and one that ends with its command."""
    srk = tpm.persistent(SRK)
    with tpm.session(TPM_SE.POLICY, salt_key=srk) as policy:
        step()
        tpm.execute(PolicyPCR(policySession=policy.handle, pcrDigest=b"", pcrs=()))
        step()
        with tpm.session(salt_key=srk, bind=srk) as session:
            step()
            tpm.execute(GetRandom(bytesRequested=8), session.use(encrypt=True))
            step()
            tpm.execute(GetRandom(bytesRequested=8), session.use(encrypt=True, last=True))
            step()


def outside(tpm: Tpm, step: Step) -> None:
    """Use a whole key from outside, with a PIN, and a sequence."""
    with tpm.load_external(ECC_PUBLIC, ECC_SENSITIVE.replace(authValue=PIN)) as key:
        step()
        key.sign(bytes(32), ECDSA)
        step()
    begun = tpm.execute(HashSequenceStart(hashAlg=TPM_ALG.SHA256)).sequenceHandle
    step()
    tpm.execute(SequenceComplete(sequenceHandle=begun, buffer=b"data"))


def moving(tpm: Tpm, step: Step) -> None:
    """Take in a key with both wrappers, and let one go to a parent that is elsewhere."""
    srk, key = tpm.persistent(SRK), key_of("P-256")
    there = parent_of(key_of("P-256", 1), cipher())
    public = public_of(key, SIGNS | TPMA_OBJECT.noDA).replace(authPolicy=LEAVE.digest(SHA256))
    made = wrap(sensitive_of(key, PIN), public, srk.public, cipher())
    step()
    private = srk.import_(public, made)
    step()
    with srk.load(private, public, PIN) as loaded, tpm.load_external(there) as parent:
        step()
        with tpm.session(TPM_SE.POLICY, salt_key=srk) as session:
            step()
            tpm.execute(PolicyCommandCode(policySession=session.handle, code=TPM_CC.Duplicate))
            gone = loaded.duplicate(parent, session)
            step()
    assert unwrap(gone, public, there, key_of("P-256", 1)).authValue.rstrip(b"\0") == PIN


SHA256 = TPM_ALG.SHA256
LEAVE = Policy(CommandCode(TPM_CC.Duplicate))

# In the last one the handle of a sequence gets lost, which then takes its room.
SCENARIOS = [keys, data, sessions, moving, outside]
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda value: value.__name__)
Scenario = Callable[[Tpm, Step], None]


def go_on() -> None:
    """Do nothing between two commands."""


def commands_of(swtpm: Swtpm, scenario: Scenario) -> list[int]:
    between = Between(connect(swtpm.conf))
    with Tpm(between) as tpm:
        scenario(tpm, go_on)
    assert left_loaded(swtpm) == ()
    return between.codes


def handle_is_lost(fault: Meddle, code: int) -> bool:
    """Tell whether the fault hits a handle, which alone tells what has been loaded."""
    return code == TPM_CC.HashSequenceStart and fault in (shorten, spoil_hmac)


def spoil_hmac(send: Send, command: bytes) -> bytes:
    """Turn the last bit, which is of an HMAC where there is one."""
    answer = send(command)
    return answer[:-1] + bytes([answer[-1] ^ 1])


@each_scenario
@pytest.mark.parametrize(("fault", "error"), FAULTS, ids=lambda value: value.__name__)
def test_a_fault_at_whatever_command_leaves_nothing_loaded(
    fault: Meddle, error: type[BaseException], scenario: Scenario, furnished: Swtpm
):
    codes = commands_of(furnished, scenario)
    for number, code in enumerate(codes, 1):
        between = Between(connect(furnished.conf), only_at(number, fault))
        with Tpm(between) as tpm, pytest.raises(error):
            scenario(tpm, go_on)
        left = left_loaded(furnished)
        assert left == () or handle_is_lost(fault, code), TPM_CC(code)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


@each_scenario
def test_a_changed_answer_to_whatever_command_leaves_nothing_loaded(
    scenario: Scenario, furnished: Swtpm
):
    codes, refused = commands_of(furnished, scenario), []
    for number, code in enumerate(codes, 1):
        between = Between(connect(furnished.conf), only_at(number, spoil_hmac))
        with Tpm(between) as tpm:
            try:
                scenario(tpm, go_on)
            except Error:
                refused.append(code)
        left = left_loaded(furnished)
        assert left == () or handle_is_lost(spoil_hmac, code), TPM_CC(code)
    # What nothing vouches for may have been taken: the qualified Name, and sequences' results.
    taken = set(codes) - set(refused)
    assert taken <= {TPM_CC.ReadPublic, TPM_CC.CreatePrimary, TPM_CC.SequenceComplete}


@each_scenario
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_exception_of_the_user_leaves_nothing_loaded(
    error: type[BaseException], scenario: Scenario, furnished: Swtpm
):
    number = 0
    while True:
        number += 1
        left = iter(range(1, number + 1))

        def step(left: Iterator[int] = left, number: int = number) -> None:
            if next(left, 0) == number:
                raise error

        try:
            with Tpm(connect(furnished.conf)) as tpm:
                scenario(tpm, step)
        except error:
            assert left_loaded(furnished) == ()
        else:
            break
    assert number > 3


@each_scenario
def test_what_is_no_longer_needed_is_flushed_at_once_not_only_at_the_end(
    scenario: Scenario, furnished: Swtpm
):
    for number in range(1, 1 + len(commands_of(furnished, scenario))):
        between = Between(connect(furnished.conf), only_at(number, spoil_hmac))
        with Tpm(between) as tpm:
            with suppress(Error):
                scenario(tpm, go_on)
            # A sequence is nobody's to flush before the end.
            left = handles(tpm, 0x80000000) + handles(tpm, 0x02000000)
            assert left == () or (scenario is outside and len(left) == 1), number


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_session_is_flushed_when_its_block_fails(error: type[BaseException], furnished: Swtpm):
    def use_session(tpm: Tpm) -> None:
        with tpm.session() as session:
            assert handles(tpm, 0x02000000) == (session.handle,)
            raise error

    with Tpm(connect(furnished.conf)) as tpm:
        with pytest.raises(error):
            use_session(tpm)
        assert handles(tpm, 0x02000000) == ()


# --- how much is asked of the chip ------------------------------------------------------------


def sent(swtpm: Swtpm, pin: bytes) -> list[int]:
    """The commands of a signature under a persistent key whose public area is known."""
    with Tpm(connect(swtpm.conf)) as tpm:
        made = tpm.persistent(SRK).create(NO_DA, pin)
        known = tpm.persistent(SRK).public
    between = Between(connect(swtpm.conf))
    with Tpm(between) as tpm:
        srk = tpm.adopt(SRK, known, tpm.persistent(SRK).name)
        del between.sent[:]
        with srk.load(made.outPrivate, made.outPublic, pin) as key:
            key.sign(bytes(32), ECDSA)
        return between.codes


def test_a_signature_takes_three_commands(furnished: Swtpm):
    assert sent(furnished, b"") == [TPM_CC.Load, TPM_CC.Sign, TPM_CC.FlushContext]


def test_a_signature_with_a_pin_takes_four(furnished: Swtpm):
    assert sorted(sent(furnished, PIN)) == sorted(
        [TPM_CC.StartAuthSession, TPM_CC.Load, TPM_CC.Sign, TPM_CC.FlushContext]
    )


def test_a_session_that_is_kept_takes_one_command_for_each_use(furnished: Swtpm):
    between = Between(connect(furnished.conf))
    with Tpm(between) as tpm:
        srk = tpm.persistent(SRK)
        made = srk.create(NO_DA, PIN)
        with (
            srk.load(made.outPrivate, made.outPublic, PIN) as key,
            tpm.session(salt_key=srk) as session,
        ):
            del between.sent[:]
            for _ in range(3):
                command = Sign(keyHandle=key, digest=bytes(32), inScheme=ECDSA)
                tpm.execute(command, session.use())
            assert between.codes == [TPM_CC.Sign] * 3


def test_starting_a_session_asks_the_chip_for_nothing_but_that():
    start = SessionStart()
    assert isinstance(start.command, StartAuthSession)
    assert TPM_CC.StartAuthSession == start.command.CC
