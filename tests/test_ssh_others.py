"""Other agents behind ours: their keys beside ours, in a connection of its own for each client."""

import itertools
import time
from collections.abc import Callable

import pytest
from ssh_agents import (
    ADA,
    BOB,
    EXTENSION_FAILURE,
    FAILURE,
    LIST,
    REMOVE_ALL,
    SUCCESS,
    Ours,
    SoftwareKey,
    binding,
    extension,
    hop,
    listing,
    locking,
    login,
    place,
    plain,
    restriction,
    server,
    sshsig,
    token,
    unlocking,
)
from ssh_fixtures import string

from tpmwire.errors import TransportError
from tpmwire.ssh.agent import Agent, Conversation
from tpmwire.ssh.occasion import Peer
from tpmwire.ssh.others import NotOursError

CAROL, DAVE = SoftwareKey(3, "Carol"), SoftwareKey(4, "Dave")
NEAR, FAR = server(1), server(2)


class Link:
    """A connection to an agent that answers as it likes."""

    def __init__(self, other: "Another", answer: Callable[[bytes], bytes]) -> None:
        self._other, self._answer, self.closed = other, answer, False

    def request(self, request: bytes) -> bytes:
        assert not self.closed
        if self in self._other.broken:
            raise TransportError(32, "Broken pipe")
        self._other.asked.append(request)
        return self._answer(request)

    def close(self) -> None:
        self.closed = True


class Another:
    """An agent somewhere else, which can go away and come back."""

    name = "the other"

    def __init__(self, begin: Callable[[], Callable[[bytes], bytes]]) -> None:
        self.begin, self.there = begin, True
        self.links: list[Link] = []
        self.broken: list[Link] = []
        self.asked: list[bytes] = []

    @classmethod
    def having(cls, *keys: SoftwareKey) -> "Another":
        agent = Agent(keys)
        return cls(lambda: agent.conversation(Peer()).answer)

    def connect(self) -> Link:
        if not self.there:
            raise TransportError(111, "Connection refused")
        self.links.append(Link(self, self.begin()))
        return self.links[-1]

    def restart(self) -> None:
        self.broken = [*self.links]


def talking(*others: Another, keys: tuple[SoftwareKey, ...] = (ADA,)) -> Conversation:
    return Agent(keys, others=others).conversation(Peer())


def test_their_keys_are_listed_after_ours_each_once():
    also = SoftwareKey(1, "what another calls Ada")
    both = talking(Another.having(BOB, also), Another.having(CAROL, BOB))
    assert both.answer(LIST) == listing(ADA, BOB, CAROL)


def test_they_sign_with_their_keys():
    first, second = Another.having(BOB), Another.having(CAROL)
    both = talking(first, second)
    for key in (ADA, BOB, CAROL):
        assert both.answer(key.asked_to_sign(b"data")) == key.signature(b"data")
    assert both.answer(DAVE.asked_to_sign(b"data")) == FAILURE


def test_only_who_lists_a_key_is_told_what_is_to_be_signed():
    first, second = Another.having(BOB), Another.having(CAROL)
    both = talking(first, second)
    both.answer(CAROL.asked_to_sign(b"a secret"))
    both.answer(ADA.asked_to_sign(b"a secret"))
    assert not any(b"a secret" in request for request in first.asked)
    assert sum(b"a secret" in request for request in second.asked) == 1


def test_of_two_who_have_a_key_the_second_is_asked_if_the_first_refuses():
    class Refusing(SoftwareKey):
        def sign(self, data: bytes, flags: int, occasion: object = None) -> bytes:
            raise NotOursError("no")

    refusing = Another.having(Refusing(3, "Carol"))
    assert talking(refusing, Another.having(CAROL)).answer(
        CAROL.asked_to_sign(b"data")
    ) == CAROL.signature(b"data")


def test_row_6_keys_of_all_agents_behind_are_removed():
    other = Another.having(BOB, CAROL)
    both = talking(other)
    assert both.answer(BOB.removal) == SUCCESS
    assert both.answer(LIST) == listing(ADA, CAROL)
    assert both.answer(BOB.removal) == FAILURE
    third = Another.having(DAVE)
    both = talking(other, third)
    assert both.answer(REMOVE_ALL) == SUCCESS
    assert both.answer(LIST) == listing()
    assert talking(other, third, keys=()).answer(LIST) == listing()


def test_one_that_is_not_there_is_passed_over_until_it_comes():
    other = Another.having(BOB)
    other.there = False
    both = talking(other, Another.having(CAROL))
    assert both.answer(LIST) == listing(ADA, CAROL)
    assert both.answer(BOB.asked_to_sign(b"data")) == FAILURE
    assert both.answer(REMOVE_ALL) == SUCCESS
    other.there = True
    assert both.answer(LIST) == listing(BOB)


def test_one_that_was_started_again_is_connected_to_again():
    other = Another.having(BOB)
    both = talking(other)
    assert both.answer(LIST) == listing(ADA, BOB)
    other.restart()
    assert both.answer(BOB.asked_to_sign(b"data")) == BOB.signature(b"data")
    assert [link.closed for link in other.links] == [True, False]
    both.close()
    assert all(link.closed for link in other.links)


def test_one_that_fails_after_a_while_is_not_asked_again(monkeypatch: pytest.MonkeyPatch):
    """It has asked somebody, who may not have answered."""
    other = Another.having(BOB)
    both = talking(other)
    assert both.answer(LIST) == listing(ADA, BOB)
    moments = itertools.count(step=10)
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    other.restart()
    assert both.answer(BOB.removal) == FAILURE
    assert len(other.links) == 1
    assert both.answer(BOB.removal) == SUCCESS
    assert [link.closed for link in other.links] == [True, False]


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x0c", b"\x0c\0\0\0\1", b"\x0c\xff\xff\xff\xff", b"\x0e\0\0\0\0", b"\x05", b"nonsense"],
)
def test_one_that_answers_nonsense_spoils_nothing(answer: bytes):
    strange = Another(lambda: lambda request: answer)
    both = talking(strange, Another.having(BOB))
    assert both.answer(LIST) == listing(ADA, BOB)
    assert both.answer(ADA.asked_to_sign(b"data")) == ADA.signature(b"data")
    assert both.answer(BOB.asked_to_sign(b"data")) == BOB.signature(b"data")
    assert both.answer(extension(b"query")).startswith(b"\x1d" + string(b"query"))


def test_one_that_answers_with_nothing_has_not_done_it():
    both = talking(Another(lambda: lambda request: b""), Another(lambda: lambda request: SUCCESS))
    assert both.answer(b"\x11" + DAVE.as_software) == SUCCESS


def test_nobody_passes_more_keys_than_a_client_takes():
    many = [SoftwareKey(seed, "k") for seed in range(10, 1500)]
    more = [SoftwareKey(seed, "k") for seed in range(1500, 3000)]
    answer = talking(Another.having(*many), Another.having(*more)).answer(LIST)
    assert int.from_bytes(answer[1:5], "big") == 2048
    long = [SoftwareKey(seed, "k" * 1000) for seed in range(10, 500)]
    answer = talking(Another.having(*long)).answer(LIST)
    assert answer.startswith(listing(ADA)[5:], 5)
    assert 200_000 < len(answer) <= 256 * 1024


def test_a_key_in_software_is_handed_on_until_one_takes_it():
    taken: list[bytes] = []

    def takes(request: bytes) -> bytes:
        if request[0] in (17, 25):
            taken.append(request)
            return SUCCESS
        return FAILURE

    both = talking(Another.having(BOB), Another(lambda: takes), Another(lambda: takes))
    for request in (b"\x11" + DAVE.as_software, b"\x19" + DAVE.as_software + b"\2"):
        assert both.answer(request) == SUCCESS
        assert taken.pop() == request
        assert taken == []
    assert talking(Another.having(BOB)).answer(b"\x11" + DAVE.as_software) == FAILURE


def test_a_token_that_is_not_ours_is_handed_on():
    def load(name: str, pin: bytes) -> list[SoftwareKey]:
        if name != "ours.tpm":
            raise NotOursError(name)
        return [ADA]

    provider = Agent(load=lambda name, pin: [BOB] if pin == b"1234" else [])
    other = Another(lambda: provider.conversation(Peer()).answer)
    both = Agent(load=load, others=[other]).conversation(Peer())
    assert both.answer(token(20, b"/lib/pkcs11.so", b"1")) == FAILURE
    assert both.answer(token(20, b"/lib/pkcs11.so", b"1234")) == SUCCESS
    assert both.answer(token(26, b"ours.tpm", b"1234", b"\1\0\0\0\x09")) == SUCCESS
    assert not any(b"ours.tpm" in request for request in other.asked)
    assert both.answer(LIST) == listing(ADA, BOB)
    assert both.answer(token(21, b"/lib/pkcs11.so")) == SUCCESS
    assert both.answer(token(21, b"/lib/pkcs11.so")) == FAILURE
    assert both.answer(LIST) == listing(ADA)


def test_extensions_that_we_do_not_have_are_handed_on():
    def answers(request: bytes) -> bytes:
        if request == extension(b"query"):
            names = (b"session-bind@openssh.com", b"odd@example.com")
            return b"\x1d" + b"".join(map(string, (b"query", *names)))
        if request == extension(b"odd@example.com", b"body"):
            return b"\x1d" + string(b"odd@example.com") + b"answer"
        return EXTENSION_FAILURE if b"odd@" in request else FAILURE

    both = talking(Another.having(BOB), Another(lambda: answers))
    answer = b"\x1d" + string(b"odd@example.com") + b"answer"
    assert both.answer(extension(b"odd@example.com", b"body")) == answer
    assert both.answer(extension(b"odd@example.com", b"else")) == EXTENSION_FAILURE
    assert both.answer(extension(b"even@example.com")) == FAILURE
    names = (b"query", b"session-bind@openssh.com", b"odd@example.com")
    assert both.answer(extension(b"query")) == b"\x1d" + b"".join(map(string, names))


def test_a_locked_agent_passes_nothing_on_but_bindings():
    other = Another.having(BOB)
    both = talking(other)
    assert both.answer(LIST) == listing(ADA, BOB)
    assert both.answer(locking(b"Sesame")) == SUCCESS
    other.asked.clear()
    assert both.answer(LIST) == listing()
    for request in (
        BOB.asked_to_sign(b"data"),
        BOB.removal,
        REMOVE_ALL,
        b"\x11" + DAVE.as_software,
        token(20, b"x"),
        extension(b"odd@example.com"),
        extension(b"query"),
    ):
        assert both.answer(request) == FAILURE
    assert other.asked == []
    bound = binding(NEAR, b"session", forwarding=True)
    assert both.answer(bound) == SUCCESS
    assert other.asked == [bound]
    assert both.answer(unlocking(b"Sesame")) == SUCCESS
    assert both.answer(LIST) == listing(ADA, BOB)


def test_what_is_only_signed_here_holds_for_their_keys_too():
    only = frozenset({"sshsig"})
    both = Agent([ADA], others=[Another.having(BOB)], only=only).conversation(Peer())
    for key in (ADA, BOB):
        assert both.answer(key.asked_to_sign(b"data")) == FAILURE
        data = sshsig(b"git")
        assert both.answer(key.asked_to_sign(data)) == key.signature(data)


# --- bindings -------------------------------------------------------------------------------------


def constrained() -> tuple[Ours, Another]:
    """Another agent whose key is for one server, by way of no other."""
    agents = Ours()
    assert agents.add(BOB, restriction(hop(place(), place(b"", b"near", plain(NEAR))))) == SUCCESS
    return agents, Another(agents.connect)


def test_their_keys_that_are_for_some_servers_are_used_there_and_nowhere_else():
    _, other = constrained()
    data = login(b"session", b"ada", BOB.blob, NEAR.blob)
    both = talking(other)
    assert both.answer(LIST) == listing(ADA, BOB)
    assert both.answer(BOB.asked_to_sign(data)) == FAILURE
    assert both.answer(binding(NEAR, b"session", forwarding=False)) == SUCCESS
    assert both.answer(BOB.asked_to_sign(data)) == BOB.signature(data)
    elsewhere = talking(other)
    assert elsewhere.answer(binding(FAR, b"session", forwarding=False)) == SUCCESS
    assert elsewhere.answer(LIST) == listing(ADA)


def test_each_client_has_bindings_of_its_own():
    _, other = constrained()
    agent = Agent([ADA], others=[other])
    far, near = agent.conversation(Peer()), agent.conversation(Peer())
    assert far.answer(binding(FAR, b"session", forwarding=True)) == SUCCESS
    assert far.answer(LIST) == listing(ADA)
    assert near.answer(LIST) == listing(ADA, BOB)


@pytest.mark.parametrize("valid", [True, False])
def test_one_that_was_started_again_is_told_of_earlier_bindings(valid: bool):
    agents, other = constrained()
    agents.add(CAROL)
    both = talking(other)
    assert both.answer(LIST) == listing(ADA, BOB, CAROL)
    signature = b"" if valid else FAR.sign(b"nonsense")
    bound = binding(NEAR, b"session", forwarding=True, signature=signature)
    assert both.answer(bound) == (SUCCESS if valid else EXTENSION_FAILURE)
    assert both.answer(LIST) == listing(ADA, CAROL)
    other.restart()
    assert both.answer(LIST) == listing(ADA, CAROL)
    assert both.answer(BOB.removal) == FAILURE
