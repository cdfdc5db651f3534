"""Bindings of connections to sessions: our agent and OpenSSH's, which answer the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_agents import (
    ADA,
    EXTENSION_FAILURE,
    FAILURE,
    LIST,
    SUCCESS,
    Ours,
    SoftwareKey,
    Theirs,
    binding,
    extension,
    hop,
    listing,
    login,
    openssh_agent,
    place,
    plain,
    restriction,
    server,
    server_of,
    token,
)
from ssh_fixtures import string

NEAR, FAR, CA = server(1), server(2), server(7)
NOT_BOUND = {FAILURE, EXTENSION_FAILURE}
BIND = b"session-bind@openssh.com"


@pytest.fixture(params=["ours", "theirs"])
def agents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ours | Theirs]:
    if request.param == "ours":
        yield Ours()
    else:
        with openssh_agent(tmp_path) as theirs:
            yield theirs


@pytest.mark.parametrize("kind", ["ed25519", "256", "384", "521", "rsa"])
def test_a_connection_is_bound_by_what_a_server_has_signed(agents: Ours | Theirs, kind: str):
    host = server_of(kind)
    for forwarding in (True, False):
        talk = agents.connect()
        assert talk(binding(host, b"session", forwarding=forwarding)) == SUCCESS


@pytest.mark.parametrize("kind", ["ed25519", "256", "384", "521", "rsa"])
def test_a_certificate_of_a_server_binds_too(agents: Ours | Theirs, kind: str):
    host = server_of(kind)
    certificate = host.certificate(CA, b"host")
    talk = agents.connect()
    bound = binding(host, b"session", forwarding=True, certificate=certificate)
    assert talk(bound) == SUCCESS


def test_what_another_has_signed_binds_nothing(agents: Ours | Theirs):
    talk = agents.connect()
    for signature in (FAR.sign(b"session"), NEAR.sign(b"another"), b"", b"nonsense"):
        signed = signature or string(b"ssh-ed25519") + string(bytes(64))
        assert talk(binding(NEAR, b"session", forwarding=True, signature=signed)) in NOT_BOUND


def test_a_request_that_is_cut_short_binds_nothing(agents: Ours | Theirs):
    talk, whole = agents.connect(), binding(NEAR, b"session", forwarding=True)
    for end in range(len(extension(BIND)), len(whole)):
        assert talk(whole[:end]) in NOT_BOUND
    assert talk(whole) == SUCCESS


def test_a_session_is_bound_again_if_it_is_the_same(agents: Ours | Theirs):
    talk = agents.connect()
    for _ in range(20):
        assert talk(binding(NEAR, b"session", forwarding=True)) == SUCCESS
    assert talk(binding(FAR, b"session", forwarding=True)) in NOT_BOUND
    assert talk(binding(FAR, b"another", forwarding=True)) == SUCCESS
    assert talk(binding(NEAR, b"third", forwarding=True)) == SUCCESS


def test_after_a_login_nothing_more_is_bound(agents: Ours | Theirs):
    talk = agents.connect()
    assert talk(binding(NEAR, b"session", forwarding=True)) == SUCCESS
    assert talk(binding(FAR, b"login", forwarding=False)) == SUCCESS
    assert talk(binding(FAR, b"another", forwarding=True)) in NOT_BOUND
    assert talk(binding(FAR, b"login", forwarding=False)) in NOT_BOUND


def test_sixteen_sessions_are_the_most(agents: Ours | Theirs):
    talk = agents.connect()
    for number in range(16):
        assert talk(binding(NEAR, b"session %d" % number, forwarding=True)) == SUCCESS
    assert talk(binding(NEAR, b"session 16", forwarding=True)) in NOT_BOUND
    assert talk(binding(NEAR, b"session 5", forwarding=True)) == SUCCESS


def test_a_session_id_has_128_octets_at_most():
    """As newer versions of OpenSSH say; the one that is compared with may be older."""
    talk = Ours().connect()
    assert talk(binding(NEAR, bytes(129), forwarding=True)) in NOT_BOUND
    assert talk(binding(NEAR, bytes(128), forwarding=True)) == SUCCESS


def test_a_failed_try_to_bind_makes_constrained_keys_useless_and_no_others():
    """Else whoever forwards an agent could have it taken for a local one."""
    agents, other = Ours(), SoftwareKey(4)
    assert agents.add(ADA, restriction(hop(place(), place(b"", b"near", plain(NEAR))))) == SUCCESS
    assert agents.add(other) == SUCCESS
    talk = agents.connect()
    assert talk(LIST) == listing(ADA, other)
    assert talk(binding(NEAR, b"session", forwarding=True, signature=FAR.sign(b"x"))) in NOT_BOUND
    assert talk(LIST) == listing(other)
    assert talk(ADA.removal) == FAILURE
    data = login(b"session", b"ada", ADA.blob)
    assert talk(ADA.asked_to_sign(data)) == FAILURE
    assert talk(other.asked_to_sign(data)) == other.signature(data)
    assert agents.connect()(LIST) == listing(ADA, other)


def test_a_failed_try_after_a_binding_changes_nothing(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(hop(place(), place(b"", b"near", plain(NEAR))))) == SUCCESS
    talk = agents.connect()
    assert talk(binding(NEAR, b"session", forwarding=False)) == SUCCESS
    assert talk(binding(FAR, b"another", forwarding=False)) in NOT_BOUND
    data = login(b"session", b"ada", ADA.blob)
    assert talk(LIST) == listing(ADA)
    assert talk(ADA.asked_to_sign(data)) == ADA.signature(data)


def test_a_binding_that_fails_is_told_from_an_extension_that_is_unknown():
    talk = Ours().connect()
    assert talk(extension(BIND)) == EXTENSION_FAILURE
    assert talk(binding(NEAR, b"s", forwarding=True) + b"\0") == EXTENSION_FAILURE
    assert talk(extension(BIND + b"\0")) == FAILURE


@pytest.mark.parametrize("forwarding", [True, False])
def test_no_keys_are_loaded_for_a_connection_that_is_bound(forwarding: bool):
    agents = Ours()
    assert agents.add(ADA) == SUCCESS
    for bound in (binding(NEAR, b"s", forwarding=forwarding), extension(BIND)):
        talk = agents.connect()
        talk(bound)
        for number, end in ((20, b""), (26, b"")):
            assert talk(token(number, b"Ada at home", b"", end)) == FAILURE


def test_a_signature_of_the_next_session_cannot_be_asked_for_on_a_bound_connection():
    agents = Ours()
    assert agents.add(ADA, restriction(hop(place(), place(b"", b"near", plain(NEAR))))) == SUCCESS
    talk = agents.connect()
    assert talk(binding(NEAR, b"session", forwarding=False)) == SUCCESS
    assert talk(ADA.asked_to_sign(login(b"another", b"ada", ADA.blob))) == FAILURE
