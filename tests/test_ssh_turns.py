"""Taking turns: one at a time, and who came first is served first."""

import threading
import time
from collections.abc import Callable

import pytest

from tpmwire.ssh.turns import Turns

PATIENCE = 60


def waiting(turns: Turns, count: int) -> None:
    """Wait until so many are in the queue."""
    end = time.monotonic() + PATIENCE
    while len(turns._waiting) != count:
        assert time.monotonic() < end
        time.sleep(0.001)


def start(*targets: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def test_who_came_first_is_served_first():
    turns, served = Turns(), list[int]()

    def take(number: int) -> None:
        with turns:
            served.append(number)

    threads = []
    with turns:
        for number in range(20):
            threads += start(lambda number=number: take(number))
            waiting(turns, number + 1)
    for thread in threads:
        thread.join()
    assert served == [*range(20)]


def test_there_is_one_at_a_time():
    turns, inside, most = Turns(), set[int](), [0]

    def take() -> None:
        for _ in range(200):
            with turns:
                inside.add(threading.get_ident())
                most[0] = max(most[0], len(inside))
                inside.discard(threading.get_ident())

    for thread in start(*[take] * 8):
        thread.join()
    assert most == [1]
    assert turns.acquire(timeout=0)


def test_who_wants_it_again_waits_for_those_who_came_before():
    turns, order = Turns(), list[str]()
    turns.acquire()
    (thread,) = start(lambda: (turns.acquire(), order.append("other"), turns.release()))
    waiting(turns, 1)
    turns.release()
    with turns:
        order.append("again")
    thread.join()
    assert order == ["other", "again"]


def test_an_error_inside_lets_the_next_one_have_it():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    assert turns.acquire(timeout=0)


def test_who_has_no_time_leaves_the_queue():
    turns = Turns()
    turns.acquire()
    began = time.monotonic()
    assert not turns.acquire(timeout=0.2)
    assert 0.1 < time.monotonic() - began < 10
    waiting(turns, 0)
    turns.release()
    assert turns.acquire(timeout=0)


def test_a_turn_that_comes_at_the_last_moment_is_not_lost():
    turns = Turns()
    turns.acquire()
    own = threading.Lock()
    own.acquire()
    turns._waiting.append(own)
    turns.release()  # hands it over to whoever has just given up
    assert not turns._given_up(own)
    turns.release()
    assert turns.acquire(timeout=0)
