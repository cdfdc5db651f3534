"""Constraints of keys that are added: our agent and OpenSSH's, which answer the same."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssh_agents import (
    ADA,
    BOB,
    CONFIRM,
    FAILURE,
    LIST,
    SUCCESS,
    Ours,
    SoftwareKey,
    Theirs,
    certificates,
    hop,
    lifetime,
    listing,
    login,
    openssh_agent,
    place,
    plain,
    restriction,
    server,
    sshsig,
    token,
)
from ssh_fixtures import string

from tpmwire.errors import DecodeError
from tpmwire.ssh.agent import Agent
from tpmwire.ssh.constraints import read_constraints
from tpmwire.ssh.keyring import FullError, Keyring, now
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.ssh.publickeys import SignatureError

NEAR = server(1)
TO_NEAR = restriction(hop(place(), place(b"", b"near", plain(NEAR))))


@pytest.fixture(params=["ours", "theirs"])
def agents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ours | Theirs]:
    if request.param == "ours":
        yield Ours()
    else:
        with openssh_agent(tmp_path) as theirs:
            yield theirs


@pytest.mark.parametrize(
    "constraints",
    {
        "none": b"",
        "lifetime": lifetime(60),
        "the longest lifetime": lifetime(2**32 - 1),
        "confirm": CONFIRM,
        "both": lifetime(60) + CONFIRM,
        "the other way round": CONFIRM + lifetime(60),
        "destinations": TO_NEAR,
        "all": CONFIRM + TO_NEAR + lifetime(60),
    }.values(),
)
def test_constraints_are_understood_in_any_order(agents: Ours | Theirs, constraints: bytes):
    assert agents.add(ADA, constraints) == SUCCESS
    assert agents.connect()(LIST) == listing(ADA)


@pytest.mark.parametrize(
    "constraints",
    {
        "a lifetime twice": lifetime(60) * 2,
        "confirm twice": CONFIRM * 2,
        "destinations twice": TO_NEAR * 2,
        "another between": lifetime(60) + CONFIRM + lifetime(60),
        "number 0": b"\0",
        "number 3": b"\3\0\0\0\1",
        "number 254": b"\xfe",
        "something unknown after": lifetime(60) + b"\7",
        "half a lifetime": lifetime(60)[:-1],
        "an extension without a name": b"\xff",
        "an extension that is unknown": b"\xff" + string(b"nonsense@example.com"),
        "one with something in it": b"\xff" + string(b"nonsense@example.com") + string(b"x"),
        "a provider": b"\xff" + string(b"sk-provider@openssh.com") + string(b"/lib/x.so"),
        "destinations that are cut": TO_NEAR[:-1],
        "something after destinations": TO_NEAR + b"\0",
    }.values(),
)
def test_a_key_whose_constraints_are_not_understood_is_not_added(
    agents: Ours | Theirs, constraints: bytes
):
    assert agents.add(BOB) == SUCCESS
    assert agents.add(ADA, constraints) == FAILURE
    assert agents.connect()(LIST) == listing(BOB)


def test_constraints_that_are_cut_short_anywhere_are_refused(agents: Ours | Theirs):
    parts = (CONFIRM, lifetime(60), TO_NEAR)
    whole, ends = b"".join(parts), {0, 1, 6, 6 + len(TO_NEAR)}
    for end in range(len(whole) + 1):
        assert agents.add(ADA, whole[:end]) == (SUCCESS if end in ends else FAILURE)


def test_nor_is_it_changed_if_it_is_there(agents: Ours | Theirs):
    assert agents.add(ADA) == SUCCESS
    assert agents.add(ADA, lifetime(0) + b"\7") == FAILURE
    assert agents.connect()(LIST) == listing(ADA)


def test_a_key_is_forgotten_when_its_time_is_over(agents: Ours | Theirs):
    assert agents.add(ADA, lifetime(1)) == SUCCESS
    assert agents.add(BOB, lifetime(60)) == SUCCESS
    talk = agents.connect()
    assert talk(LIST) == listing(ADA, BOB)
    time.sleep(2.2)  # OpenSSH counts whole seconds
    assert talk(ADA.asked_to_sign(b"data")) == FAILURE
    assert talk(ADA.removal) == FAILURE
    assert talk(LIST) == listing(BOB)


def test_adding_a_key_again_replaces_its_lifetime(agents: Ours | Theirs):
    assert agents.add(ADA, lifetime(1)) == SUCCESS
    assert agents.add(ADA, lifetime(60)) == SUCCESS
    assert agents.add(BOB, lifetime(1)) == SUCCESS
    assert agents.add(BOB) == SUCCESS
    time.sleep(2.2)
    assert agents.connect()(LIST) == listing(ADA, BOB)


# --- lifetimes, by a clock of ours ----------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_a_lifetime_ends_to_the_second():
    clock = Clock()
    ring = Keyring(clock)
    ring.add([ADA], read_constraints(lifetime(60)))
    ring.add([BOB])
    for seconds, there in ((0, True), (59.9, True), (60, False), (-100, False)):
        clock.time = 1000 + seconds
        assert (ring.find(ADA.blob) is not None) is there
        assert (ADA.blob in {entry.blob for entry in ring.entries()}) is there
    clock.time = 1e12
    assert [entry.key for entry in ring.entries()] == [BOB]


def test_a_lifetime_of_nothing_ends_at_once():
    ring = Keyring(Clock())
    ring.add([ADA], read_constraints(lifetime(0)))
    assert ring.entries() == []


def test_a_lifetime_goes_on_while_the_machine_sleeps_and_when_its_date_is_set():
    assert abs(now() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


def test_a_keyring_has_2048_entries_at_most_and_adds_all_or_none():
    ring = Keyring()
    ring.add([SoftwareKey(seed) for seed in range(1, 2048)])
    with pytest.raises(FullError):
        ring.add([SoftwareKey(5000), SoftwareKey(5001)])
    assert len(ring.entries()) == 2047
    ring.add([SoftwareKey(5000)])
    ring.add([SoftwareKey(5000)])
    assert len(ring.entries()) == 2048
    assert len(Agent(keyring=ring).conversation(Peer()).answer(LIST)) < 256 * 1024


def test_keys_are_exchanged_with_their_certificates():
    old, new = SoftwareKey(8), SoftwareKey(8, "the same, from another file")
    old.certificates, new.certificates = (b"first", b"second"), (b"second", b"third")
    ring = Keyring()
    ring.add([old, ADA])
    ring.exchange([old], [new, BOB])
    found = {entry.blob: entry.key for entry in ring.entries()}
    assert found == {
        ADA.blob: ADA,
        new.blob: new,
        b"second": new,
        b"third": new,
        BOB.blob: BOB,
    }


def test_an_entry_that_was_replaced_is_not_removed_by_who_saw_the_old_one():
    ring = Keyring()
    (old,) = ring.add([ADA])
    (new,) = ring.add([ADA], read_constraints(CONFIRM))
    assert ring.remove([old]) == 0
    assert ring.entries() == [new]
    assert ring.remove([new]) == 1
    assert ring.remove([new]) == 0


def test_what_somebody_has_added_with_constraints_keeps_them_when_its_file_is_found_again():
    ring, mine, file = Keyring(), SoftwareKey(8), SoftwareKey(8)
    ring.add([mine], read_constraints(CONFIRM), "file.tpm")
    ring.exchange([file], [SoftwareKey(8)])
    (entry,) = ring.entries()
    assert entry.key is mine
    assert entry.constraints.confirm


# --- confirmation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_key_signs_if_somebody_confirms_it(whose: str, confirmed: bool, tmp_path: Path):
    def check(agents: Ours | Theirs) -> None:
        assert agents.add(ADA, CONFIRM) == SUCCESS
        assert agents.add(BOB) == SUCCESS
        talk = agents.connect()
        assert talk(ADA.asked_to_sign(b"x")) == (ADA.signature(b"x") if confirmed else FAILURE)
        assert talk(BOB.asked_to_sign(b"x")) == BOB.signature(b"x")
        assert agents.add(ADA) == SUCCESS
        assert talk(ADA.asked_to_sign(b"x")) == ADA.signature(b"x")

    if whose == "ours":
        check(Ours(confirmed=confirmed))
    else:
        with openssh_agent(tmp_path, confirmed=confirmed) as theirs:
            check(theirs)


def adding(constraints: bytes) -> bytes:
    return token(26, b"k", b"", constraints)


def test_who_confirms_is_told_the_key_and_who_asks_for_what():
    asked: list[tuple[SoftwareKey, Occasion]] = []
    agent = Agent(
        load=lambda name, pin: [ADA], confirm=lambda key, why: asked.append((key, why)) or True
    )
    talking = agent.conversation(Peer(123, 45))
    assert talking.answer(adding(CONFIRM)) == SUCCESS
    assert talking.answer(LIST) == listing(ADA)
    assert asked == []
    talking.answer(ADA.asked_to_sign(sshsig(b"git")))
    ((key, why),) = asked
    assert key is ADA
    assert why == Occasion(Peer(123, 45), "sign something in the namespace “git”")
    talking.answer(ADA.asked_to_sign(login(b"session", b"ada", ADA.blob)))
    assert asked[1][1].purpose == "log in as “ada” at an unknown server"


def test_while_somebody_is_asked_everybody_else_is_served():
    answers = []

    def confirm(key: SoftwareKey, occasion: Occasion) -> bool:
        other = agent.conversation(Peer())
        answers.append(other.answer(LIST))
        answers.append(other.answer(BOB.asked_to_sign(b"data")))
        answers.append(other.answer(BOB.removal))
        return True

    agent = Agent([BOB], load=lambda name, pin: [ADA], confirm=confirm)
    talking = agent.conversation(Peer())
    assert talking.answer(adding(CONFIRM)) == SUCCESS
    assert talking.answer(ADA.asked_to_sign(b"data")) == ADA.signature(b"data")
    assert answers == [listing(BOB, ADA), BOB.signature(b"data"), SUCCESS]


def test_a_key_that_is_removed_while_somebody_is_asked_does_not_sign():
    def confirm(key: SoftwareKey, occasion: Occasion) -> bool:
        return agent.conversation(Peer()).answer(key.removal) == SUCCESS

    key = SoftwareKey(6)
    agent = Agent(load=lambda name, pin: [key], confirm=confirm)
    talking = agent.conversation(Peer())
    assert talking.answer(adding(CONFIRM)) == SUCCESS
    assert talking.answer(key.asked_to_sign(b"data")) == FAILURE
    assert key.occasions == []


def test_where_nobody_can_be_asked_no_key_is_added_that_wants_it():
    talking = Agent([BOB], load=lambda name, pin: [ADA]).conversation(Peer())
    assert talking.answer(adding(CONFIRM)) == FAILURE
    assert talking.answer(LIST) == listing(BOB)
    assert talking.answer(adding(b"")) == SUCCESS


def test_who_is_asked_and_fails_confirms_nothing():
    def confirm(key: SoftwareKey, occasion: Occasion) -> bool:
        raise OSError("no display")

    key = SoftwareKey(6)
    talking = Agent(load=lambda name, pin: [key], confirm=confirm).conversation(Peer())
    assert talking.answer(adding(CONFIRM)) == SUCCESS
    assert talking.answer(key.asked_to_sign(b"data")) == FAILURE
    assert key.occasions == []


# --- reading --------------------------------------------------------------------------------------


@given(octets=st.binary(max_size=30), certified=st.booleans())
def test_any_octets_are_constraints_or_refused(octets: bytes, certified: bool):
    for end in (octets, b"\xff" + string(b"restrict-destination-v00@openssh.com") + octets):
        with contextlib.suppress(DecodeError, SignatureError):
            read_constraints(end, of_token=certified)


def test_1024_certificates_are_the_most():
    blob = server(1).certificate(server(7), b"host")
    found = read_constraints(certificates(*[blob] * 1024), of_token=True)
    assert len(found.certificates) == 1024
    with pytest.raises(DecodeError):
        read_constraints(certificates(*[blob] * 1025), of_token=True)
