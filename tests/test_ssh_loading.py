"""Loading keys by a token's id, or as the file of a key, and forgetting them again."""

import logging
from collections.abc import Iterable

import pytest
from ssh_agents import (
    ADA,
    BOB,
    EXTENSION_FAILURE,
    FAILURE,
    LIST,
    REMOVE_ALL,
    SUCCESS,
    RefusedError,
    Server,
    SoftwareKey,
    binding,
    certificates,
    extension,
    hop,
    lifetime,
    listing,
    locking,
    place,
    plain,
    restriction,
    server,
    token,
)
from ssh_fixtures import string

from tpmwire.ssh.agent import Agent, Conversation
from tpmwire.ssh.occasion import Peer
from tpmwire.ssh.others import NotOursError

CA = server(7)
TOKENS = {"ada.tpm": [ADA], "both.tpm": [ADA, BOB], "none.tpm": []}


class Tokens:
    """What stands for the files of a directory."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def load(self, name: str, pin: bytes) -> Iterable[SoftwareKey]:
        self.asked.append((name, pin))
        if name not in TOKENS:
            raise NotOursError(f"{name!r} is no token of ours")
        if pin == b"wrong":
            raise RefusedError("wrong PIN")
        yield from TOKENS[name]


def talking_to(tokens: Tokens, *keys: SoftwareKey) -> Conversation:
    return Agent(keys, load=tokens.load).conversation(Peer())


def certified(key: SoftwareKey, *names: bytes, kind: int = 1) -> bytes:
    return Server(key.private).certificate(CA, *names, kind=kind)


def listed(*pairs: tuple[bytes, SoftwareKey]) -> bytes:
    entries = (string(blob) + string(key.comment.encode()) for blob, key in pairs)
    return b"\x0c" + len(pairs).to_bytes(4, "big") + b"".join(entries)


def test_keys_of_a_token_are_added_and_removed_by_its_id():
    tokens = Tokens()
    talking = talking_to(tokens, SoftwareKey(3))
    assert talking.answer(token(20, b"both.tpm", b"1234")) == SUCCESS
    assert talking.answer(LIST) == listing(SoftwareKey(3), ADA, BOB)
    assert tokens.asked == [("both.tpm", b"1234")]
    assert talking.answer(ADA.asked_to_sign(b"data")) == ADA.signature(b"data")
    assert talking.answer(token(21, b"ada.tpm")) == FAILURE
    assert talking.answer(token(21, b"both.tpm")) == SUCCESS
    assert talking.answer(LIST) == listing(SoftwareKey(3))
    assert talking.answer(token(21, b"both.tpm")) == FAILURE
    assert talking.answer(token(21, b"")) == FAILURE


@pytest.mark.parametrize(
    ("name", "pin"), [(b"unknown.tpm", b""), (b"ada.tpm", b"wrong"), (b"none.tpm", b"")]
)
def test_a_token_that_gives_no_key_is_a_failure(name: bytes, pin: bytes):
    talking = talking_to(Tokens())
    for request in (token(20, name, pin), token(26, name, pin, lifetime(60))):
        assert talking.answer(request) == FAILURE
    assert talking.answer(LIST) == listing()


def test_an_agent_that_loads_nothing_says_so():
    talking = Agent([ADA]).conversation(Peer())
    for request in (token(20, b"ada.tpm"), token(26, b"ada.tpm"), token(21, b"ada.tpm")):
        assert talking.answer(request) == FAILURE


def test_a_key_in_software_is_a_failure_and_not_lost():
    talking = talking_to(Tokens())
    for request in (b"\x11" + ADA.as_software, b"\x19" + ADA.as_software + lifetime(60)):
        assert talking.answer(request) == FAILURE
    assert talking.answer(LIST) == listing()


def test_a_failed_request_changes_nothing_of_a_key_that_is_there():
    talking = talking_to(Tokens())
    assert talking.answer(token(26, b"ada.tpm", b"", lifetime(60))) == SUCCESS
    assert talking.answer(token(26, b"ada.tpm", b"wrong", lifetime(0))) == FAILURE
    assert talking.answer(token(26, b"ada.tpm", b"", lifetime(0) * 2)) == FAILURE
    assert talking.answer(LIST) == listing(ADA)


def test_constraints_are_read_before_a_token_is_opened():
    tokens = Tokens()
    assert talking_to(tokens).answer(token(26, b"ada.tpm", b"1234", b"\7")) == FAILURE
    assert tokens.asked == []


def test_an_id_may_have_octets_that_are_no_utf_8():
    tokens = Tokens()
    talking_to(tokens).answer(token(20, b"caf\xe9.tpm"))
    assert tokens.asked[0][0].encode("utf-8", "surrogateescape") == b"caf\xe9.tpm"


def test_no_token_is_opened_for_a_connection_from_elsewhere_or_when_locked():
    tokens = Tokens()
    talking = talking_to(tokens)
    assert talking.answer(binding(server(1), b"session", forwarding=True)) == SUCCESS
    assert talking.answer(token(20, b"ada.tpm", b"1234")) == FAILURE
    talking = talking_to(tokens)
    assert talking.answer(locking(b"Sesame")) == SUCCESS
    assert talking.answer(token(20, b"ada.tpm", b"1234")) == FAILURE
    assert tokens.asked == []


def test_who_does_not_see_a_key_does_not_remove_it_by_its_token():
    agent = Agent(load=Tokens().load)
    only_here = restriction(hop(place(), place(b"", b"near", plain(server(1)))))
    assert agent.conversation(Peer()).answer(token(26, b"ada.tpm", b"", only_here)) == SUCCESS
    far = agent.conversation(Peer())
    assert far.answer(binding(server(2), b"session", forwarding=True)) == SUCCESS
    assert far.answer(token(21, b"ada.tpm")) == FAILURE
    assert agent.conversation(Peer()).answer(LIST) == listing(ADA)


def test_a_pin_stands_in_no_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    talking = talking_to(Tokens())
    for name in (b"ada.tpm", b"unknown.tpm"):
        for request in (token(20, name, b"S3cret"), token(26, name, b"S3cret", b"\7")):
            talking.answer(request)
            talking.answer(request[:-1])
            talking.answer(request + b"S3cret")
    assert caplog.text
    assert "S3cret" not in caplog.text


# --- certificates ---------------------------------------------------------------------------------


def test_a_certificate_is_an_identity_of_its_own_that_signs_with_its_key():
    key, blobs = SoftwareKey(8), [certified(SoftwareKey(8), name) for name in (b"ada", b"root")]
    key.certificates = tuple(blobs)
    talking = Agent([key]).conversation(Peer())
    assert talking.answer(LIST) == listed((key.blob, key), (blobs[0], key), (blobs[1], key))
    for blob in blobs:
        request = b"\x0d" + string(blob) + string(b"data") + bytes(4)
        assert talking.answer(request) == key.signature(b"data")
    assert talking.answer(b"\x12" + string(blobs[0])) == SUCCESS
    assert talking.answer(b"\x12" + string(blobs[0])) == FAILURE
    assert talking.answer(key.removal) == SUCCESS
    assert talking.answer(LIST) == listed((blobs[1], key))
    assert talking.answer(REMOVE_ALL) == SUCCESS
    assert talking.answer(LIST) == listing()


def test_a_certificate_that_is_not_listed_is_not_signed_with():
    talking = Agent([ADA]).conversation(Peer())
    request = b"\x0d" + string(certified(ADA, b"ada")) + string(b"data") + bytes(4)
    assert talking.answer(request) == FAILURE


def test_certificates_that_come_with_a_token_are_given_to_the_keys_they_fit():
    ada, bob, other = (certified(key, b"x") for key in (ADA, BOB, SoftwareKey(3)))
    talking = talking_to(Tokens())
    together = certificates(other, bob, ada)
    assert talking.answer(token(26, b"both.tpm", b"", together + lifetime(60))) == SUCCESS
    assert talking.answer(LIST) == listed((ADA.blob, ADA), (ada, ADA), (BOB.blob, BOB), (bob, BOB))
    assert talking.answer(token(21, b"both.tpm")) == SUCCESS
    assert talking.answer(LIST) == listing()


def test_certificates_have_the_lifetime_of_what_came_with_them():
    talking = talking_to(Tokens())
    constraints = certificates(certified(ADA, b"x")) + lifetime(0)
    assert talking.answer(token(26, b"ada.tpm", b"", constraints)) == SUCCESS
    assert talking.answer(LIST) == listing()


def test_only_certificates_are_added_if_so_wanted():
    ada = certified(ADA, b"x")
    talking = talking_to(Tokens())
    assert talking.answer(token(26, b"both.tpm", b"", certificates(ada, only=True))) == SUCCESS
    assert talking.answer(LIST) == listed((ada, ADA))
    assert talking.answer(ADA.asked_to_sign(b"data")) == FAILURE
    talking = talking_to(Tokens())
    for none in (certificates(only=True), certificates(certified(SoftwareKey(3)), only=True)):
        assert talking.answer(token(26, b"ada.tpm", b"", none)) == FAILURE
        assert talking.answer(LIST) == listing()


def test_plain_keys_among_certificates_are_passed_over_and_nonsense_is_refused():
    talking = talking_to(Tokens())
    assert talking.answer(token(26, b"ada.tpm", b"", certificates(BOB.blob))) == SUCCESS
    assert talking.answer(LIST) == listing(ADA)
    sound = certified(ADA, b"x")
    broken = sound[:-1] + bytes([sound[-1] ^ 1])
    for odd in (certificates(b"nonsense"), certificates(broken), certificates() * 2):
        assert talking.answer(token(26, b"both.tpm", b"", odd)) == FAILURE
    assert talking.answer(LIST) == listing(ADA)


# --- the extension of ssh-tpm-agent ---------------------------------------------------------------


def pem_added(
    pem: bytes = b"ada",
    certificate: bytes = b"",
    constraints: bytes = b"",
    *,
    kind: int = 17,
    name: bytes = b"TPMKEY",
) -> bytes:
    contents = bytes([kind]) + string(name) + string(pem) + string(certificate) + constraints
    return extension(b"tpm-add-key", contents)


def load_pem(pem: bytes) -> SoftwareKey:
    if pem != b"ada":
        raise RefusedError("not a key file")
    return ADA


def talking_pem() -> Conversation:
    return Agent(load_pem=load_pem, confirm=lambda key, why: False).conversation(Peer())


@pytest.mark.parametrize("kind", [17, 25])
def test_ssh_tpm_add_adds_a_key(kind: int):
    talking = talking_pem()
    assert talking.answer(pem_added(kind=kind)) == SUCCESS
    assert talking.answer(LIST) == listing(ADA)
    assert talking.answer(ADA.removal) == SUCCESS


def test_it_adds_a_key_with_a_certificate_and_constraints():
    talking, blob = talking_pem(), certified(ADA, b"x")
    assert talking.answer(pem_added(certificate=blob, constraints=b"\2" + lifetime(60))) == SUCCESS
    assert talking.answer(LIST) == listed((ADA.blob, ADA), (blob, ADA))
    assert talking.answer(ADA.asked_to_sign(b"data")) == FAILURE  # nobody confirms it
    assert talking.answer(pem_added(constraints=lifetime(0))) == SUCCESS
    assert talking.answer(ADA.asked_to_sign(b"data")) == FAILURE


@pytest.mark.parametrize(
    "request_",
    {
        "no key file": pem_added(b"nonsense"),
        "another certificate": pem_added(certificate=certified(BOB, b"x")),
        "no certificate": pem_added(certificate=b"nonsense"),
        "another kind": pem_added(kind=18),
        "another name": pem_added(name=b"ssh-rsa"),
        "an unknown constraint": pem_added(constraints=b"\7"),
        "certificates": pem_added(constraints=certificates(certified(ADA, b"x"))),
        "nothing": extension(b"tpm-add-key"),
        "half of it": pem_added()[:-3],
    }.values(),
)
def test_what_it_cannot_add_is_told_as_a_failure_of_the_extension(request_: bytes):
    talking = talking_pem()
    assert talking.answer(request_) == EXTENSION_FAILURE
    assert talking.answer(LIST) == listing()


def test_it_adds_nothing_from_elsewhere_or_when_locked():
    talking = talking_pem()
    assert talking.answer(binding(server(1), b"session", forwarding=True)) == SUCCESS
    assert talking.answer(pem_added()) == EXTENSION_FAILURE
    talking = talking_pem()
    assert talking.answer(locking(b"Sesame")) == SUCCESS
    assert talking.answer(pem_added()) == FAILURE


def test_a_query_tells_what_extensions_there_are():
    head = b"\x1d" + string(b"query") + string(b"session-bind@openssh.com")
    assert Agent().conversation(Peer()).answer(extension(b"query")) == head
    assert talking_pem().answer(extension(b"query")) == head + string(b"tpm-add-key")
    assert talking_pem().answer(extension(b"query", b"\0")) == EXTENSION_FAILURE


def test_an_extension_that_the_agent_does_not_have_is_not_one_that_failed():
    talking = Agent().conversation(Peer())
    for name in (b"tpm-add-key", b"nonsense@example.com", b"", b"Query", b"query\0"):
        assert talking.answer(extension(name)) == FAILURE
    for cut in (b"\x1b", b"\x1b\0\0\0\5quer"):
        assert talking.answer(cut) == FAILURE
