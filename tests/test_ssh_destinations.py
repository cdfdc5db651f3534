"""Destinations of keys: our agent and OpenSSH's, which answer the same."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ssh_agents import (
    ADA,
    BOB,
    FAILURE,
    LIST,
    REMOVE_ALL,
    SUCCESS,
    Ours,
    Server,
    SoftwareKey,
    Talk,
    Theirs,
    authority,
    binding,
    hop,
    listing,
    login,
    openssh_agent,
    place,
    plain,
    restriction,
    server,
    sshsig,
)
from ssh_fixtures import string

NEAR, FAR, THIRD, CA = server(1), server(2), server(3), server(7)
HERE = place()
AT_NEAR, AT_FAR = place(b"", b"near", plain(NEAR)), place(b"", b"far", plain(FAR))
TO_NEAR, ON_TO_FAR = hop(HERE, AT_NEAR), hop(AT_NEAR, AT_FAR)


@pytest.fixture(params=["ours", "theirs"])
def agents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ours | Theirs]:
    if request.param == "ours":
        yield Ours()
    else:
        with openssh_agent(tmp_path) as theirs:
            yield theirs


def to(host: Server, *, forwarding: bool = False) -> bytes:
    """Bind to a session whose id is made of the server's key."""
    return binding(host, host.blob[-32:], forwarding=forwarding)


def through(host: Server) -> bytes:
    return to(host, forwarding=True)


def bound(agents: Ours | Theirs, *bindings: bytes) -> Talk:
    talk = agents.connect()
    for request in bindings:
        assert talk(request) == SUCCESS
    return talk


def logging_in(host: Server, user: bytes = b"ada", *, hostbound: bool = True) -> bytes:
    return login(host.blob[-32:], user, ADA.blob, host.blob if hostbound else None)


def signs(talk: Talk, data: bytes) -> bool:
    answer = talk(ADA.asked_to_sign(data))
    assert answer in (FAILURE, ADA.signature(data))
    return answer != FAILURE


def sees(talk: Talk) -> bool:
    answer = talk(LIST)
    assert answer in (listing(), listing(ADA))
    return answer == listing(ADA)


def test_a_constrained_key_is_seen_here_but_signs_nothing_without_a_session(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    talk = agents.connect()
    assert sees(talk)
    for data in (b"data", logging_in(NEAR), sshsig(b"git")):
        assert not signs(talk, data)


def test_it_logs_in_where_it_may_and_nowhere_else(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    assert signs(bound(agents, to(NEAR)), logging_in(NEAR))
    assert signs(bound(agents, to(NEAR)), logging_in(NEAR, hostbound=False))
    assert not signs(bound(agents, to(FAR)), logging_in(FAR))
    assert not sees(bound(agents, to(FAR)))


def test_it_signs_nothing_but_logins_in_the_session(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    talk, session = bound(agents, to(NEAR)), NEAR.blob[-32:]
    assert sees(talk)
    for data in (
        b"",
        b"data",
        session,
        sshsig(b"git"),
        login(b"other", b"ada", ADA.blob),
        login(b"", b"ada", ADA.blob),
        login(session + b"\0", b"ada", ADA.blob),
        login(session, b"ada", BOB.blob),
        login(session, b"ada", ADA.blob, FAR.blob),
        login(session, b"ada", ADA.blob, b"nonsense"),
        login(session, b"ada", ADA.blob, service=b"ssh-userauth"),
        login(session, b"ada", ADA.blob, method=b"password"),
        login(session, b"ada", ADA.blob, method=b"publickey-hostbound-v00@openssh.com"),
        login(session, b"ada", ADA.blob, NEAR.blob, method=b"publickey"),
        login(session, b"ada", ADA.blob, message=51),
        login(session, b"ada", ADA.blob, signed=0),
        login(session, b"ada", ADA.blob, algorithm=b"ssh-rsa"),
        login(session, b"ada", ADA.blob, algorithm=b"nonsense"),
        login(session, b"ada", ADA.blob, algorithm=b"ssh-ed25519-cert-v01@openssh.com"),
        login(session, b"ada\0bob", ADA.blob),
        login(session, b"ada", ADA.blob, rest=b"\0"),
        login(session, b"ada", ADA.blob, NEAR.blob, rest=b"\0"),
    ):
        assert not signs(talk, data), data
    whole = logging_in(NEAR)
    for end in range(len(whole)):
        assert not signs(talk, whole[:end])
    assert signs(talk, whole)


@pytest.mark.parametrize(
    ("pattern", "users", "others"),
    [
        (b"ada", [b"ada"], [b"bob", b"", b"Ada", b"adam", b"ad"]),
        (b"a*", [b"ada", b"a"], [b"bob", b""]),
        (b"?d?", [b"ada", b"bdx"], [b"ad", b"adam"]),
        (b"*", [b"ada", b""], []),
        (b"*a*a", [b"ada", b"xaya"], [b"a", b"adam"]),
        (b"[a]da", [b"[a]da"], [b"ada"]),
        (b"a,b", [b"a,b"], [b"a", b"b"]),
        (b"!ada", [b"!ada"], [b"bob", b"ada"]),
    ],
)
def test_a_user_has_to_fit_the_pattern(
    agents: Ours | Theirs, pattern: bytes, users: list[bytes], others: list[bytes]
):
    at_near = place(pattern, b"near", plain(NEAR))
    assert agents.add(ADA, restriction(hop(HERE, at_near))) == SUCCESS
    for user in users + others:
        talk = bound(agents, to(NEAR))
        assert sees(talk)
        assert signs(talk, logging_in(NEAR, user)) is (user in users), user


def test_a_user_is_looked_at_where_the_login_is_and_not_on_the_way(agents: Ours | Theirs):
    by_near = hop(HERE, place(b"bob", b"near", plain(NEAR)))
    to_far = hop(AT_NEAR, place(b"ada", b"far", plain(FAR)))
    assert agents.add(ADA, restriction(by_near, to_far)) == SUCCESS
    assert signs(bound(agents, through(NEAR), to(FAR)), logging_in(FAR, b"ada"))
    assert not signs(bound(agents, through(NEAR), to(FAR)), logging_in(FAR, b"bob"))
    assert not signs(bound(agents, to(NEAR)), logging_in(NEAR, b"ada"))


def test_a_forwarded_key_is_seen_only_where_it_is_of_use(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR, ON_TO_FAR)) == SUCCESS
    assert sees(bound(agents, through(NEAR)))
    assert sees(bound(agents, through(NEAR), to(FAR)))
    assert not sees(bound(agents, through(NEAR), through(FAR)))
    assert not sees(bound(agents, through(FAR)))
    assert not sees(bound(agents, through(NEAR), binding(NEAR, b"another", forwarding=False)))
    assert not sees(bound(agents, through(NEAR), to(THIRD)))
    assert not sees(bound(agents, to(FAR)))


def test_a_forwarded_key_logs_in_only_where_it_may_and_bound_to_the_host(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR, ON_TO_FAR)) == SUCCESS
    assert signs(bound(agents, to(NEAR)), logging_in(NEAR))
    assert signs(bound(agents, through(NEAR), to(FAR)), logging_in(FAR))
    assert not signs(bound(agents, through(NEAR), to(FAR)), logging_in(FAR, hostbound=False))
    assert not signs(bound(agents, through(NEAR), to(FAR)), logging_in(NEAR))
    assert not signs(bound(agents, through(NEAR)), logging_in(NEAR))
    assert not signs(bound(agents, through(NEAR), through(FAR)), logging_in(FAR))
    assert not signs(bound(agents, through(FAR), to(NEAR)), logging_in(NEAR))
    assert not signs(bound(agents, to(FAR)), logging_in(FAR))


def test_a_key_that_may_not_be_forwarded_is_not_seen_there(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    talk = bound(agents, through(NEAR))
    assert not sees(talk)
    assert talk(ADA.removal) == FAILURE
    assert not signs(talk, logging_in(NEAR))
    assert sees(agents.connect())


def test_what_is_seen_is_removed_by_its_blob(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR, ON_TO_FAR)) == SUCCESS
    assert bound(agents, through(NEAR))(ADA.removal) == SUCCESS
    assert not sees(agents.connect())


def test_everything_is_removed_by_whoever_asks(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    assert bound(agents, through(THIRD))(REMOVE_ALL) == SUCCESS
    assert not sees(agents.connect())


def test_adding_a_key_again_replaces_its_destinations(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    assert agents.add(ADA, restriction(hop(HERE, AT_FAR))) == SUCCESS
    assert not signs(bound(agents, to(NEAR)), logging_in(NEAR))
    assert signs(bound(agents, to(FAR)), logging_in(FAR))
    assert agents.add(ADA) == SUCCESS
    assert signs(bound(agents, to(NEAR)), b"data")


# --- certificates of hosts ------------------------------------------------------------------------

NOW = int(time.time())


@pytest.mark.parametrize(
    ("certificate", "permitted"),
    [
        (NEAR.certificate(CA, b"near"), True),
        (NEAR.certificate(CA, b"other", b"near"), True),
        (NEAR.certificate(CA, b"far"), False),
        (NEAR.certificate(CA, b"near", kind=1), False),
        (NEAR.certificate(CA, b"near", valid=(NOW - 9, NOW - 5)), False),
        (NEAR.certificate(CA, b"near", valid=(NOW + 900, NOW + 999)), False),
        (NEAR.certificate(CA, b"near", critical=string(b"x") + string(b"")), False),
        (NEAR.certificate(FAR, b"near"), False),
        (FAR.certificate(CA, b"near"), True),
    ],
)
def test_a_certificate_has_to_be_that_of_the_host(
    agents: Ours | Theirs, certificate: bytes, permitted: bool
):
    at_near = place(b"", b"near", authority(CA))
    assert agents.add(ADA, restriction(hop(HERE, at_near))) == SUCCESS
    host = NEAR if NEAR.fields in certificate else FAR
    talk = bound(agents, binding(host, b"session", forwarding=False, certificate=certificate))
    data = login(b"session", b"ada", ADA.blob, certificate)
    assert signs(talk, data) is permitted
    assert sees(talk) is permitted


@pytest.mark.parametrize(
    ("certificate", "permitted"),
    [
        (NEAR.certificate(CA, b"n*r"), True),
        (NEAR.certificate(CA, b"*"), True),
        (NEAR.certificate(CA, b"f*"), False),
        (NEAR.certificate(CA), False),
    ],
)
def test_principals_are_patterns_and_there_is_one(certificate: bytes, permitted: bool):
    """As newer versions of OpenSSH see it; the one that is compared with may be older."""
    test_a_certificate_has_to_be_that_of_the_host(Ours(), certificate, permitted)


@pytest.mark.parametrize(
    "key",
    [plain(CA), authority(NEAR), plain(NEAR), plain(NEAR.certificate(CA, b"near"))],
    ids=["no authority", "the key as authority", "the key", "the certificate"],
)
def test_a_certificate_is_permitted_only_by_its_authority(agents: Ours | Theirs, key: bytes):
    assert agents.add(ADA, restriction(hop(HERE, place(b"", b"near", key)))) == SUCCESS
    certificate = NEAR.certificate(CA, b"near")
    talk = bound(agents, binding(NEAR, b"session", forwarding=False, certificate=certificate))
    assert not sees(talk)
    assert not signs(talk, login(b"session", b"ada", ADA.blob, certificate))


def test_a_plain_key_is_not_permitted_by_being_called_an_authority(agents: Ours | Theirs):
    assert agents.add(ADA, restriction(hop(HERE, place(b"", b"near", authority(NEAR))))) == SUCCESS
    assert not signs(bound(agents, to(NEAR)), logging_in(NEAR))


def test_one_may_go_on_from_a_host_with_a_certificate(agents: Ours | Theirs):
    at_near = place(b"", b"near", authority(CA))
    assert agents.add(ADA, restriction(hop(HERE, at_near), hop(at_near, AT_FAR))) == SUCCESS
    certificate = NEAR.certificate(CA, b"near")
    talk = bound(agents, binding(NEAR, b"first", forwarding=True, certificate=certificate), to(FAR))
    assert signs(talk, logging_in(FAR))


# --- constraints that make no sense ---------------------------------------------------------------


@pytest.mark.parametrize(
    "constraint",
    {
        "from a user": hop(place(b"ada", b"near", plain(NEAR)), AT_FAR),
        "from a host without a key": hop(place(b"", b"near"), AT_FAR),
        "from a key without a host": hop(place(b"", b"", plain(NEAR)), AT_FAR),
        "to nowhere": hop(HERE, HERE),
        "to a host without a key": hop(HERE, place(b"", b"near")),
        "to a key without a host": hop(HERE, place(b"", b"", plain(NEAR))),
        "something more": hop(HERE, AT_NEAR, b"more"),
        "something more there": hop(HERE, place(b"", b"n", plain(NEAR), reserved=b"more")),
        "something more here": hop(place(reserved=b"more"), AT_NEAR),
        "a key that is none": hop(HERE, place(b"", b"near", plain(b"nonsense"))),
        "a key that is cut": hop(HERE, place(b"", b"near", string(NEAR.blob))),
        "half an ending": hop(HERE, AT_NEAR)[:-1],
        "one that is odd": hop(HERE, AT_NEAR) + hop(HERE, HERE),
        "a zero in the user": hop(HERE, place(b"a\0b", b"near", plain(NEAR))),
        "a zero in the host": hop(HERE, place(b"", b"ne\0ar", plain(NEAR))),
        "too many": hop(HERE, AT_NEAR) * 1025,
        "nonsense": b"nonsense",
        "an empty one": string(b""),
    }.values(),
)
def test_a_key_with_constraints_that_make_no_sense_is_not_added(
    agents: Ours | Theirs, constraint: bytes
):
    assert agents.add(ADA, restriction(constraint)) == FAILURE
    assert not sees(agents.connect())


def test_as_much_as_is_allowed_is_allowed(agents: Ours | Theirs):
    far = hop(HERE, AT_FAR)
    assert agents.add(ADA, restriction(*[far] * 1023, TO_NEAR)) == SUCCESS
    assert signs(bound(agents, to(NEAR)), logging_in(NEAR))
    longest = place(b"a" * 255 + b"*", b"near", plain(NEAR))
    assert agents.add(ADA, restriction(hop(HERE, longest))) == SUCCESS
    assert signs(bound(agents, to(NEAR)), logging_in(NEAR, b"a" * 300))


def test_a_pattern_for_a_user_has_256_octets_at_most():
    """As newer versions of OpenSSH say; the one that is compared with may be older."""
    agents = Ours()
    for size, answer in ((257, FAILURE), (256, SUCCESS)):
        at_near = place(b"a" * size, b"near", plain(NEAR))
        assert agents.add(ADA, restriction(hop(HERE, at_near))) == answer


def test_an_empty_list_of_destinations_is_refused():
    """OpenSSH's agent takes it for no constraint at all; ours, for a mistake."""
    agents = Ours()
    assert agents.add(ADA, restriction()) == FAILURE
    assert not sees(agents.connect())


# --- all kinds of ways ----------------------------------------------------------------------------

HOSTS = (NEAR, FAR, THIRD)
ENDS = {
    NEAR: place(b"", b"near", plain(NEAR)),
    FAR: place(b"", b"far", plain(FAR), authority(CA)),
    THIRD: place(b"", b"third", plain(THIRD), plain(NEAR)),
}
ways = st.lists(st.tuples(st.sampled_from([None, *HOSTS]), st.sampled_from(HOSTS)), min_size=1)
routes = st.lists(st.tuples(st.sampled_from(HOSTS), st.booleans()), max_size=4)


def constraint(ways: list[tuple[Server | None, Server]]) -> bytes:
    return restriction(*(hop(ENDS.get(origin, HERE), ENDS[target]) for origin, target in ways))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ours, Theirs]]:
    with openssh_agent(tmp_path_factory.mktemp("agent")) as theirs:
        yield Ours(), theirs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ways=ways, route=routes, hostbound=st.booleans())
def test_by_whatever_way_both_agents_answer_the_same(
    both: tuple[Ours, Theirs],
    ways: list[tuple[Server | None, Server]],
    route: list[tuple[Server, bool]],
    hostbound: bool,
):
    answers = []
    for agents in both:
        assert agents.add(ADA, constraint(ways)) == SUCCESS
        talk = agents.connect()
        told = [
            talk(binding(host, b"session %d" % number, forwarding=forwarding)) == SUCCESS
            for number, (host, forwarding) in enumerate(route)
        ]
        told.append(talk(LIST) == listing(ADA))
        for number, (host, _) in enumerate(route):
            host_key = host.blob if hostbound else None
            told.append(signs(talk, login(b"session %d" % number, b"ada", ADA.blob, host_key)))
        told.append(talk(ADA.removal) == SUCCESS)
        answers.append(told)
    assert answers[0] == answers[1]


def test_a_route_is_permitted_if_each_hop_is():
    plain_ends = {host: place(b"", b"host", plain(host)) for host in HOSTS}
    ways = [(None, NEAR), (NEAR, FAR), (FAR, THIRD), (THIRD, FAR)]
    hops = [hop(plain_ends.get(origin, HERE), plain_ends[target]) for origin, target in ways]
    agents = Ours()
    assert agents.add(ADA, restriction(*hops)) == SUCCESS
    for length in range(1, 5):
        for *middle, last in itertools.product(HOSTS, repeat=length):
            before = (binding(h, b"%d" % n, forwarding=True) for n, h in enumerate(middle))
            talk = bound(agents, *before, binding(last, b"last", forwarding=False))
            data = login(b"last", b"ada", ADA.blob, last.blob)
            steps = itertools.pairwise([None, *middle, last])
            assert signs(talk, data) is all(step in ways for step in steps)


def test_a_login_by_a_certificate_of_the_key_is_a_login():
    """ssh asks for it by the plain key, if both are listed; which OpenSSH's agent refuses."""
    agents = Ours()
    certificate = Server(ADA.private).certificate(CA, b"ada", kind=1)
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    algorithm = b"ssh-ed25519-cert-v01@openssh.com"
    for host in (NEAR, FAR):
        data = login(host.blob[-32:], b"ada", certificate, host.blob, algorithm=algorithm)
        assert signs(bound(agents, to(host)), data) is (host is NEAR)
    of_bob = Server(BOB.private).certificate(CA, b"ada", kind=1)
    data = login(NEAR.blob[-32:], b"ada", of_bob, NEAR.blob, algorithm=algorithm)
    assert not signs(bound(agents, to(NEAR)), data)


def test_a_key_for_all_destinations_is_not_mistaken_for_one_that_has_some():
    agents, free = Ours(), SoftwareKey(9)
    assert agents.add(ADA, restriction(TO_NEAR)) == SUCCESS
    assert agents.add(free) == SUCCESS
    talk = bound(agents, to(FAR))
    assert talk(LIST) == listing(free)
    assert talk(free.asked_to_sign(b"data")) == free.signature(b"data")
