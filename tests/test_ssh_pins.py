"""PINs that are kept or asked for, against a TPM that counts wrong ones."""

import threading
from collections.abc import Callable, Iterator

import pytest
from conftest import Swtpm, forgive, left_loaded
from cryptography.hazmat.primitives import hashes
from test_ssh_tpmkey import made_in, verify

from tpmwire.client import Tpm
from tpmwire.commands import DictionaryAttackParameters
from tpmwire.constants import TPM_RC, TPM_RH
from tpmwire.errors import Error, TpmError
from tpmwire.lockout import Lockout
from tpmwire.ssh import pins
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.ssh.pins import PinError
from tpmwire.ssh.tpmkey import TpmKey
from tpmwire.templates import ECC_SIGN, without_lockout
from tpmwire.transport import connect

PIN, WRONG = b"1234", b"4321"
PLAIN = "PIN for TPM key id: "
LAST = (
    "PIN for TPM key id (LAST TRY: with a wrong one the TPM locks; "
    "then one more try in at most 10 minutes): "
)


class Somebody:
    """Somebody who answers questions, one after the other; an Error when there is no answer."""

    def __init__(self, *answers: bytes | Callable[[], bytes]) -> None:
        self.answers, self.asked = [*answers], list[str]()

    def __call__(self, question: str, occasion: Occasion) -> bytes:
        self.asked.append(question)
        if not self.answers:
            raise Error("nobody answers")
        answer = self.answers.pop(0)
        return answer if isinstance(answer, bytes) else answer()


@pytest.fixture(autouse=True)
def five_tries(swtpm: Swtpm) -> Iterator[None]:
    """The TPM takes five wrong PINs, and forgives one every ten minutes."""
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(
            DictionaryAttackParameters(
                lockHandle=TPM_RH.LOCKOUT, newMaxTries=5, newRecoveryTime=600, lockoutRecovery=86400
            )
        )
        forgive(tpm)
    yield
    assert left_loaded(swtpm) == ()
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


@pytest.fixture(scope="module")
def make(swtpm: Swtpm) -> Callable[..., TpmKey]:
    """Make a key with a PIN that the lockout protects, and somebody who knows or does not."""
    keyfile = made_in(swtpm, ECC_SIGN, PIN)

    def make(ask: Somebody, seconds: float = 0.0, open_tpm: Callable[[], Tpm] | None = None):
        return TpmKey(keyfile, "id", open_tpm or (lambda: Tpm(connect(swtpm.conf))), ask, seconds)

    return make


def state(swtpm: Swtpm) -> Lockout:
    with Tpm(connect(swtpm.conf)) as tpm:
        return Lockout.read(tpm.execute)


def signs(key: TpmKey) -> bool:
    return bool(verify(key.blob, key.sign(b"data", 0), b"data", hashes.SHA256()))


def spend(swtpm: Swtpm, make: Callable[..., TpmKey], tries: int) -> None:
    """Let wrong PINs be counted, each of another client."""
    for _ in range(tries):
        with pytest.raises(Error, match="wrong"):
            make(Somebody(WRONG, WRONG)).sign(b"data", 0)


# --- tries ------------------------------------------------------------------------------------


def test_as_long_as_no_failure_was_counted_the_question_tells_no_tries(make: Callable[..., TpmKey]):
    ask = Somebody(PIN)
    assert signs(make(ask))
    assert ask.asked == [PLAIN]


def test_a_wrong_pin_is_asked_for_anew_with_the_tries_that_are_left(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    ask = Somebody(WRONG, b"another", PIN)
    assert signs(make(ask))
    assert ask.asked == [
        PLAIN,
        "Wrong PIN. PIN for TPM key id (4 tries left): ",
        "Wrong PIN. PIN for TPM key id (3 tries left): ",
    ]
    assert state(swtpm).failures == 2


def test_after_three_wrong_pins_nobody_is_asked_any_more(swtpm: Swtpm, make: Callable[..., TpmKey]):
    ask = Somebody(b"1", b"2", b"3", PIN)
    with pytest.raises(TpmError, match="wrong") as caught:
        make(ask).sign(b"data", 0)
    assert caught.value.code == TPM_RC.AUTH_FAIL
    assert (len(ask.asked), state(swtpm).failures) == (3, 3)


def test_a_program_that_always_gives_the_same_wrong_pin_spends_one_try(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    with pytest.raises(TpmError, match="wrong"):
        make(Somebody(WRONG, WRONG, WRONG)).sign(b"data", 0)
    assert state(swtpm).failures == 1


def test_the_last_try_is_told_to_be_one(swtpm: Swtpm, make: Callable[..., TpmKey]):
    spend(swtpm, make, 4)
    ask = Somebody(PIN)
    assert signs(make(ask))
    assert ask.asked == [LAST]


def test_an_empty_answer_does_not_spend_the_last_try(swtpm: Swtpm, make: Callable[..., TpmKey]):
    spend(swtpm, make, 4)
    with pytest.raises(PinError, match="no PIN was given, and the last try is not spent on that"):
        make(Somebody(b"")).sign(b"data", 0)
    assert state(swtpm).tries_left == 1


def test_a_locked_tpm_is_told_and_nobody_is_asked(swtpm: Swtpm, make: Callable[..., TpmKey]):
    spend(swtpm, make, 5)
    ask = Somebody(PIN)
    with pytest.raises(PinError, match=r"locked after too many .* in at most 10 minutes"):
        make(ask).sign(b"data", 0)
    assert ask.asked == []


def test_if_others_spend_the_tries_meanwhile_a_pin_is_not_used_for_the_last_one(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    """Who was asked did not know that it would be the last."""

    def meanwhile() -> bytes:
        spend(swtpm, make, 4)
        return WRONG

    ask = Somebody(meanwhile)
    with pytest.raises(Error, match="nobody answers"):
        make(ask).sign(b"data", 0)
    assert ask.asked == [PLAIN, LAST]
    assert state(swtpm).tries_left == 1


def test_a_pin_that_was_given_before_and_may_be_wrong_is_not_used_for_the_last_try(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    spend(swtpm, make, 4)
    ask = Somebody()
    key = make(ask)
    key.pins.give(WRONG)
    with pytest.raises(Error, match="nobody answers"):
        key.sign(b"data", 0)
    assert (ask.asked, state(swtpm).tries_left) == ([LAST], 1)


def test_a_pin_that_has_been_right_is_used_though_there_is_one_try_left(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    key = make(Somebody())
    key.pins.give(PIN)
    assert signs(key)
    spend(swtpm, make, 4)
    assert signs(key)


def test_a_key_that_is_exempt_from_the_lockout_is_asked_for_without_a_look_at_it(swtpm: Swtpm):
    opened = []

    def open_tpm() -> Tpm:
        opened.append(1)
        return Tpm(connect(swtpm.conf))

    ask = Somebody(PIN)
    exempt = made_in(swtpm, without_lockout(ECC_SIGN), PIN)
    assert signs(TpmKey(exempt, "id", open_tpm, ask))
    assert (ask.asked, opened) == ([PLAIN], [1])


def test_a_pin_is_not_tried_out_by_the_last_try(swtpm: Swtpm, make: Callable[..., TpmKey]):
    key = make(Somebody())
    with pytest.raises(TpmError, match="wrong"):
        key.prove(WRONG)
    spend(swtpm, make, 3)
    for pin in (PIN, WRONG):
        with pytest.raises(PinError, match="not tried out"):
            key.prove(pin)
    assert state(swtpm).tries_left == 1


def test_a_pin_that_was_tried_out_is_kept_and_known_to_be_right(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    key = make(Somebody())
    key.prove(PIN)
    spend(swtpm, make, 4)
    assert signs(key)


# --- keeping ----------------------------------------------------------------------------------


def test_a_pin_is_not_kept_unless_that_is_wanted(make: Callable[..., TpmKey]):
    ask = Somebody(PIN, PIN)
    key = make(ask)
    assert signs(key)
    assert signs(key)
    assert len(ask.asked) == 2


def test_a_pin_is_kept_for_the_time_that_was_said_and_not_longer(
    make: Callable[..., TpmKey], monkeypatch: pytest.MonkeyPatch
):
    now = [1000.0]
    monkeypatch.setattr(pins, "now", lambda: now[0])
    ask = Somebody(PIN, PIN)
    key = make(ask, 60)
    for moment, questions in ((1000.0, 1), (1059.9, 1), (1060.0, 2), (1119.9, 2)):
        now[0] = moment
        assert signs(key)
        assert len(ask.asked) == questions


def test_the_time_goes_on_while_the_machine_sleeps():
    """CLOCK_BOOTTIME does; CLOCK_MONOTONIC does not."""
    import time

    assert abs(pins.now() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


def test_a_wrong_pin_is_not_kept(make: Callable[..., TpmKey]):
    ask = Somebody(WRONG, PIN)
    key = make(ask, 3600)
    assert signs(key)
    assert signs(key)
    assert len(ask.asked) == 2


def test_a_kept_pin_that_is_wrong_is_dropped_and_asked_for(
    swtpm: Swtpm, make: Callable[..., TpmKey]
):
    ask = Somebody(PIN)
    key = make(ask, 3600)
    key.pins.give(WRONG)
    assert signs(key)
    assert signs(key)
    assert ask.asked == ["PIN for TPM key id (4 tries left): "]
    assert state(swtpm).failures == 1


def test_a_failure_that_is_not_the_pins_drops_nothing(swtpm: Swtpm, make: Callable[..., TpmKey]):
    works = [True]

    def open_tpm() -> Tpm:
        return Tpm(connect(swtpm.conf if works[0] else "swtpm:path=/nowhere"))

    ask = Somebody(PIN)
    key = make(ask, 3600, open_tpm)
    assert signs(key)
    works[0] = False
    with pytest.raises(Error, match="No such file"):
        key.sign(b"data", 0)
    works[0] = True
    assert signs(key)
    assert len(ask.asked) == 1


def test_nobody_is_asked_for_the_pin_of_a_tpm_that_is_not_there(make: Callable[..., TpmKey]):
    ask = Somebody(PIN)
    with pytest.raises(Error, match="No such file"):
        make(ask, 0.0, lambda: Tpm(connect("swtpm:path=/nowhere"))).sign(b"data", 0)
    assert ask.asked == []


def test_of_many_who_want_a_kept_pin_at_a_time_one_is_asked_for(make: Callable[..., TpmKey]):
    asked, answered, made = threading.Event(), threading.Event(), []

    def wait() -> bytes:
        asked.set()
        assert answered.wait(60)
        return PIN

    ask = Somebody(wait)
    key = make(ask, 3600)
    threads = [threading.Thread(target=lambda: made.append(signs(key))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert asked.wait(60)
    answered.set()
    for thread in threads:
        thread.join()
    assert made == [True] * 5
    assert ask.asked == [PLAIN]


def test_the_question_goes_to_whom_the_occasion_tells(make: Callable[..., TpmKey]):
    occasions = []

    def ask(question: str, occasion: Occasion) -> bytes:
        occasions.append(occasion)
        return PIN

    occasion = Occasion(Peer(17, 18), "login")
    make(ask).sign(b"data", 0, occasion)
    assert occasions == [occasion]
