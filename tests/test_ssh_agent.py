"""The agent: octets in, octets out, with keys in software that are as real as those in a TPM."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ssh_agents import (
    ADA,
    BOB,
    EXTENSION_FAILURE,
    FAILURE,
    LIST,
    REMOVE_ALL,
    REMOVE_ALL_SSH1,
    SUCCESS,
    RefusedError,
    SoftwareKey,
    extension,
    listing,
    locking,
    openssh_agent,
    token,
    unlocking,
)
from ssh_fixtures import string

from tpmwire.ssh.agent import Agent, Conversation
from tpmwire.ssh.occasion import UNKNOWN, Occasion, Peer

CONVERSATIONS: dict[str, list[tuple[bytes, bytes]]] = {
    "list": [(LIST, listing(ADA, BOB))],
    "sign": [(ADA.asked_to_sign(b"data"), ADA.signature(b"data"))],
    "sign nothing": [(BOB.asked_to_sign(b""), BOB.signature(b""))],
    "sign much": [(BOB.asked_to_sign(bytes(200_000)), BOB.signature(bytes(200_000)))],
    "sign with an unknown key": [(SoftwareKey(3).asked_to_sign(b"data"), FAILURE)],
    "remove": [
        (ADA.removal, SUCCESS),
        (LIST, listing(BOB)),
        (ADA.asked_to_sign(b"data"), FAILURE),
        (BOB.asked_to_sign(b"data"), BOB.signature(b"data")),
    ],
    "remove twice": [(ADA.removal, SUCCESS), (ADA.removal, FAILURE), (LIST, listing(BOB))],
    "remove an unknown key": [(SoftwareKey(3).removal, FAILURE), (LIST, listing(ADA, BOB))],
    "remove each": [(BOB.removal, SUCCESS), (ADA.removal, SUCCESS), (LIST, listing())],
    "remove all": [
        (REMOVE_ALL, SUCCESS),
        (LIST, listing()),
        (ADA.asked_to_sign(b"data"), FAILURE),
        (REMOVE_ALL, SUCCESS),
    ],
    "remove all as ssh-add -D does": [
        (REMOVE_ALL, SUCCESS),
        (REMOVE_ALL_SSH1, SUCCESS),
        (LIST, listing()),
    ],
    "an extension that nobody knows": [
        (extension(b"nonsense@example.com"), FAILURE),
        (LIST, listing(ADA, BOB)),
    ],
    "lock": [
        (locking(b"Sesame"), SUCCESS),
        (LIST, listing()),
        (ADA.asked_to_sign(b"data"), FAILURE),
        (ADA.removal, FAILURE),
        (REMOVE_ALL, FAILURE),
        (REMOVE_ALL_SSH1, FAILURE),
        (token(20, b"a token"), FAILURE),
        (token(26, b"a token"), FAILURE),
        (token(21, b"a token"), FAILURE),
        (b"\x11" + ADA.as_software, FAILURE),
        (b"\x19" + ADA.as_software, FAILURE),
        (extension(b"query"), FAILURE),
        (unlocking(b"Sesame"), SUCCESS),
        (LIST, listing(ADA, BOB)),
        (ADA.asked_to_sign(b"data"), ADA.signature(b"data")),
    ],
    "lock twice": [
        (locking(b"one"), SUCCESS),
        (locking(b"two"), FAILURE),
        (unlocking(b"two"), FAILURE),
        (LIST, listing()),
        (unlocking(b"one"), SUCCESS),
        (locking(b"two"), SUCCESS),
        (unlocking(b"one"), FAILURE),
        (unlocking(b"two"), SUCCESS),
        (LIST, listing(ADA, BOB)),
    ],
    "lock with nothing": [(locking(b""), FAILURE), (LIST, listing(ADA, BOB))],
    "unlock what is not locked": [
        (unlocking(b"Sesame"), FAILURE),
        (unlocking(b""), FAILURE),
        (locking(b"Sesame"), SUCCESS),
        (unlocking(b""), FAILURE),
        (LIST, listing()),
    ],
}
every_conversation = pytest.mark.parametrize(
    "conversation", CONVERSATIONS.values(), ids=CONVERSATIONS.keys()
)
UNDERSTOOD = {0x09, 0x0B, 0x0D, 0x12, 0x13, 0x16, 0x17, 0x1B}


def begun(*keys: SoftwareKey) -> Conversation:
    return Agent(keys).conversation(Peer())


def agent() -> Conversation:
    return begun(ADA, BOB)


@every_conversation
def test_each_request_gets_the_answer_that_the_rfc_says(conversation: list[tuple[bytes, bytes]]):
    talking = agent()
    for request, answer in conversation:
        assert talking.answer(request) == answer


@every_conversation
def test_openssh_s_agent_gives_the_same_answers(
    conversation: list[tuple[bytes, bytes]], tmp_path: Path
):
    with openssh_agent(tmp_path) as theirs:
        for key in (ADA, BOB):
            assert theirs.add(key) == SUCCESS
        talk = theirs.connect()
        for request, answer in conversation:
            assert talk(request) == answer


@pytest.mark.parametrize("number", [n for n in range(256) if n not in UNDERSTOOD])
def test_a_message_that_is_not_understood_is_answered_with_failure(number: int):
    talking = agent()
    for body in (b"", b"\0\0\0\0", string(ADA.blob), bytes(64)):
        assert talking.answer(bytes([number]) + body) == FAILURE
    assert talking.answer(LIST) == listing(ADA, BOB)


def test_no_message_at_all_is_answered_with_failure():
    assert agent().answer(b"") == FAILURE


REQUESTS = {
    "list": LIST,
    "sign": ADA.asked_to_sign(b"data"),
    "remove": ADA.removal,
    "remove all": REMOVE_ALL,
    "remove all SSH1": REMOVE_ALL_SSH1,
    "lock": locking(b"Sesame"),
    "unlock": unlocking(b"Sesame"),
    "token": token(20, b"a token"),
    "constrained token": token(26, b"a token", b"1234", b"\x01\0\0\0\5"),
    "token to forget": token(21, b"a token"),
}
every_request = pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())


@every_request
def test_a_request_that_is_cut_short_anywhere_is_answered_with_failure(request_: bytes):
    talking = agent()
    for end in range(1, len(request_)):
        assert talking.answer(request_[:end]) == FAILURE
    assert talking.answer(LIST) == listing(ADA, BOB)


@every_request
def test_a_request_with_something_after_it_is_answered_with_failure(request_: bytes):
    talking = agent()
    for rest in (b"\0", b"\0\0\0\0", request_):
        assert talking.answer(request_ + rest) == FAILURE
    assert talking.answer(LIST) == listing(ADA, BOB)


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 100_000])
def test_a_length_beyond_the_message_is_answered_with_failure(size: int):
    talking, length = agent(), size.to_bytes(4, "big")
    requests = [
        b"\x0d" + length + ADA.blob + string(b"data") + bytes(4),
        b"\x0d" + string(ADA.blob) + length + b"data" + bytes(4),
        b"\x12" + length + ADA.blob,
    ]
    for request in requests:
        assert talking.answer(request) == FAILURE
    assert talking.answer(LIST) == listing(ADA, BOB)


def well_formed(answer: bytes) -> bool:
    return answer in (FAILURE, SUCCESS, EXTENSION_FAILURE) or answer[0] in (0x0C, 0x0E, 0x1D)


@given(request=st.binary(max_size=64))
def test_any_octets_get_an_answer(request: bytes):
    assert well_formed(agent().answer(request))


@given(
    number=st.sampled_from(sorted(UNDERSTOOD)),
    parts=st.lists(
        st.sampled_from([ADA.blob, string(ADA.blob), string(b"data"), bytes(4), b"\0\0\0\7"])
        | st.binary(max_size=8),
        max_size=5,
    ),
)
def test_any_parts_of_requests_get_an_answer(number: int, parts: list[bytes]):
    assert well_formed(agent().answer(bytes([number]) + b"".join(parts)))


# --- keys that are difficult ------------------------------------------------------------------


class DifficultKey(SoftwareKey):
    """A key that fails in a way of its own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(9)
        self.error = error

    def sign(self, data: bytes, flags: int, occasion: Occasion = UNKNOWN) -> bytes:
        raise self.error


def test_a_key_that_cannot_sign_is_answered_with_failure_and_the_reason_logged(
    caplog: pytest.LogCaptureFixture,
):
    key = DifficultKey(RefusedError("the stars are wrong"))
    talking = begun(key, ADA)
    assert talking.answer(key.asked_to_sign(b"data")) == FAILURE
    assert f"{key.comment}: the stars are wrong" in caplog.text
    assert talking.answer(ADA.asked_to_sign(b"data")) == ADA.signature(b"data")


@pytest.mark.parametrize(
    "error", [ValueError("PIN 1234"), OSError(24, "PIN 1234"), EOFError(), MemoryError()], ids=repr
)
def test_a_key_that_fails_by_a_defect_is_answered_with_failure_and_no_secret_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    key = DifficultKey(error)
    talking = begun(key, ADA)
    assert talking.answer(key.asked_to_sign(b"data")) == FAILURE
    assert type(error).__name__ in caplog.text
    assert "1234" not in caplog.text
    assert talking.answer(ADA.asked_to_sign(b"data")) == ADA.signature(b"data")


def test_flags_reach_the_key():
    assert agent().answer(ADA.asked_to_sign(b"data", 2)) == FAILURE


def test_a_name_with_octets_that_are_no_utf_8_spoils_no_list():
    """Such a comment is the path of a key file, as Python reads it from a directory."""
    odd = SoftwareKey(4, b"/home/ada/caf\xe9.tpm".decode("utf-8", "surrogateescape"))
    listed = ADA.listed + string(odd.blob) + string(b"/home/ada/caf?.tpm")
    assert begun(ADA, odd).answer(LIST) == b"\x0c\0\0\0\2" + listed


def test_of_two_entries_of_a_key_one_is_listed():
    again = SoftwareKey(1, "Ada elsewhere")
    assert begun(ADA, again, BOB).answer(LIST) == listing(again, BOB)


# --- several at a time ------------------------------------------------------------------------


class AgentMachine(RuleBasedStateMachine):
    """An agent beside a dictionary that does the same."""

    KEYS = tuple(SoftwareKey(seed) for seed in range(1, 5))
    keys = st.sampled_from(KEYS)

    def __init__(self) -> None:
        super().__init__()
        self.agent = begun(*self.KEYS)
        self.model = {key.blob: key for key in self.KEYS}

    @rule(key=keys, data=st.binary(max_size=8))
    def sign(self, key: SoftwareKey, data: bytes) -> None:
        expected = key.signature(data) if key.blob in self.model else FAILURE
        assert self.agent.answer(key.asked_to_sign(data)) == expected

    @rule(key=keys)
    def remove(self, key: SoftwareKey) -> None:
        expected = SUCCESS if self.model.pop(key.blob, None) else FAILURE
        assert self.agent.answer(key.removal) == expected

    @rule(request=st.sampled_from([REMOVE_ALL, REMOVE_ALL_SSH1]))
    def remove_all(self, request: bytes) -> None:
        self.model.clear()
        assert self.agent.answer(request) == SUCCESS

    @rule(request=st.binary(max_size=8).map(lambda body: b"\x0d" + body))
    def ask_nonsense(self, request: bytes) -> None:
        assert self.agent.answer(request) == FAILURE

    @invariant()
    def lists_what_is_left(self) -> None:
        assert self.agent.answer(LIST) == listing(*self.model.values())


TestAgent = AgentMachine.TestCase


def at_once(*works: Callable[[], None]) -> None:
    """Run functions in threads that start together; what one raises is raised here."""
    start, errors = threading.Barrier(len(works)), []

    def run(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_of_many_who_remove_a_key_one_succeeds():
    keys = [SoftwareKey(seed) for seed in range(1, 200)]
    talking, answers = begun(*keys), []
    everything = {listing(*keys[start:]) for start in range(len(keys) + 1)}

    def remove() -> None:
        for key in keys:
            answers.append((talking.answer(key.removal), key.blob))

    def watch() -> None:
        for _ in range(500):
            assert talking.answer(LIST) in everything

    at_once(remove, remove, remove, remove, watch, watch)
    assert sorted(blob for answer, blob in answers if answer == SUCCESS) == sorted(
        key.blob for key in keys
    )


def test_a_signature_that_takes_its_time_keeps_nobody_waiting():
    started, go_on = threading.Event(), threading.Event()

    class SlowKey(SoftwareKey):
        def sign(self, data: bytes, flags: int, occasion: Occasion = UNKNOWN) -> bytes:
            started.set()
            assert go_on.wait(60)
            return super().sign(data, flags)

    slow, made = SlowKey(7), []
    talking = begun(slow, ADA)
    thread = threading.Thread(
        target=lambda: made.append(talking.answer(slow.asked_to_sign(b"data")))
    )
    thread.start()
    assert started.wait(60)
    assert talking.answer(LIST) == listing(slow, ADA)
    assert talking.answer(ADA.asked_to_sign(b"data")) == ADA.signature(b"data")
    assert talking.answer(slow.removal) == SUCCESS
    assert made == []
    go_on.set()
    thread.join()
    assert made == [slow.signature(b"data")]
