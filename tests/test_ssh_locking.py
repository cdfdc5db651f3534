"""The agent's lock."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ssh_agents import (
    ADA,
    FAILURE,
    LIST,
    SUCCESS,
    Ours,
    SoftwareKey,
    binding,
    extension,
    hop,
    listing,
    locking,
    place,
    plain,
    restriction,
    server,
    unlocking,
)

from tpmwire.ssh import locking as module
from tpmwire.ssh.agent import Agent
from tpmwire.ssh.locking import AgentLock, LockError
from tpmwire.ssh.occasion import Occasion, Peer


def test_only_the_passphrase_that_locked_unlocks():
    lock = AgentLock(sleep=lambda seconds: None)
    lock.lock(b"Sesame")
    for wrong in (b"sesame", b"Sesam", b"Sesame\0", b"Sesame ", b"", b"x" * 10_000):
        with pytest.raises(LockError, match="wrong passphrase"):
            lock.unlock(wrong)
        assert lock.locked
    lock.unlock(b"Sesame")
    assert not lock.locked


@settings(max_examples=20)
@given(passphrase=st.binary(min_size=1, max_size=100))
def test_any_octets_are_a_passphrase(passphrase: bytes):
    lock = AgentLock()
    lock.lock(passphrase)
    assert lock.locked
    lock.unlock(passphrase)
    assert not lock.locked


def test_each_wrong_try_takes_longer_up_to_ten_seconds_until_one_is_right():
    waits: list[float] = []
    lock = AgentLock(sleep=waits.append)
    lock.lock(b"Sesame")
    for _ in range(105):
        with pytest.raises(LockError):
            lock.unlock(b"wrong")
    assert waits == pytest.approx([n / 10 for n in range(1, 101)] + [10] * 5)
    lock.unlock(b"Sesame")
    lock.lock(b"Sesame")
    with pytest.raises(LockError):
        lock.unlock(b"wrong")
    assert waits[-1] == pytest.approx(0.1)


def test_the_lock_keeps_no_passphrase_and_salts_what_it_keeps():
    one, other = AgentLock(), AgentLock()
    one.lock(b"Sesame")
    other.lock(b"Sesame")
    assert b"Sesame" not in b"".join(v for v in vars(one).values() if isinstance(v, bytes))
    assert one._hash != other._hash


def test_guessing_is_slow():
    start = time.process_time()
    module._stretched(b"Sesame", b"salt")
    assert time.process_time() - start > 0.01


def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared = []
    monkeypatch.setattr(module, "equal", lambda one, other: compared.append((one, other)) or True)
    lock = AgentLock()
    lock.lock(b"Sesame")
    lock.unlock(b"wrong")
    ((one, other),) = compared
    assert one != other
    assert len(one) == len(other) == 64


class Pause:
    """A sleep that ends when it is told to."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()

    def __call__(self, seconds: float) -> None:
        self.begun.set()
        assert self.over.wait(60)


def test_a_wrong_try_keeps_no_other_connection_waiting():
    pause, answers = Pause(), []
    agent = Agent([ADA], lock=AgentLock(sleep=pause))
    guessing, other = agent.conversation(Peer()), agent.conversation(Peer())
    assert other.answer(locking(b"Sesame")) == SUCCESS
    thread = threading.Thread(target=lambda: answers.append(guessing.answer(unlocking(b"wrong"))))
    thread.start()
    assert pause.begun.wait(60)
    assert other.answer(LIST) == listing()
    assert other.answer(ADA.removal) == FAILURE
    assert other.answer(locking(b"Sesame")) == FAILURE
    assert answers == []
    pause.over.set()
    thread.join()
    assert answers == [FAILURE]
    assert other.answer(unlocking(b"Sesame")) == SUCCESS


def test_tries_by_many_connections_take_as_long_as_those_of_one():
    together, most, waits = 0, 0, []

    def sleep(seconds: float) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        waits.append(seconds)
        time.sleep(0.01)
        together -= 1

    lock = AgentLock(sleep=sleep)
    lock.lock(b"Sesame")

    def guess() -> None:
        with pytest.raises(LockError):
            lock.unlock(b"wrong")

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert waits == pytest.approx([n / 10 for n in range(1, 9)])


def test_a_lock_holds_for_every_connection_and_for_those_to_come():
    agent = Agent([ADA])
    earlier = agent.conversation(Peer())
    assert agent.conversation(Peer()).answer(locking(b"Sesame")) == SUCCESS
    for talking in (earlier, agent.conversation(Peer())):
        assert talking.answer(LIST) == listing()
        assert talking.answer(ADA.asked_to_sign(b"data")) == FAILURE
    assert agent.conversation(Peer()).answer(unlocking(b"Sesame")) == SUCCESS
    assert earlier.answer(LIST) == listing(ADA)


def test_a_session_is_bound_while_the_agent_is_locked_and_counts_afterwards():
    """Else a connection that was forwarded meanwhile would be taken for a local one."""
    agents, near, far = Ours(), server(1), server(2)
    assert agents.add(ADA, restriction(hop(place(), place(b"", b"near", plain(near))))) == SUCCESS
    talk = agents.connect()
    assert talk(locking(b"Sesame")) == SUCCESS
    assert talk(binding(far, b"session", forwarding=True)) == SUCCESS
    assert talk(extension(b"query")) == FAILURE
    assert talk(extension(b"tpm-add-key")) == FAILURE
    assert talk(unlocking(b"Sesame")) == SUCCESS
    assert talk(LIST) == listing()
    assert agents.connect()(LIST) == listing(ADA)


def test_who_confirms_too_late_confirms_nothing():
    key = SoftwareKey(5)

    def confirm(key: SoftwareKey, occasion: Occasion) -> bool:
        assert agent.conversation(Peer()).answer(locking(b"Sesame")) == SUCCESS
        return True

    agent = Agent(load=lambda name, pin: [key], confirm=confirm)
    talking = agent.conversation(Peer())
    added = b"\x1a" + b"\0\0\0\1k" + b"\0\0\0\0" + b"\2"
    assert talking.answer(added) == SUCCESS
    assert talking.answer(key.asked_to_sign(b"data")) == FAILURE
    assert key.occasions == []
    assert talking.answer(unlocking(b"Sesame")) == SUCCESS


def test_a_passphrase_stands_in_no_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(0)
    talking = Agent([ADA], lock=AgentLock(sleep=lambda seconds: None)).conversation(Peer())
    for request in (locking(b"Sesame"), locking(b"Sesame"), unlocking(b"Simsim")):
        talking.answer(request)
        talking.answer(request[:-1])
        talking.answer(request + b"Sesame")
    assert caplog.text
    assert "Sesame" not in caplog.text
    assert "Simsim" not in caplog.text
