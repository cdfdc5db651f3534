"""Whole conversations by several clients at a time, beside a model, and beside OpenSSH's agent."""

import contextlib
import itertools
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ssh_agents import (
    CONFIRM,
    EXTENSION_FAILURE,
    FAILURE,
    LIST,
    REMOVE_ALL,
    SUCCESS,
    Ours,
    Server,
    SoftwareKey,
    Talk,
    binding,
    extension,
    hop,
    lifetime,
    listing,
    locking,
    login,
    openssh_agent,
    place,
    plain,
    restriction,
    server,
    token,
    unlocking,
)

from tpmwire.ssh.agent import Agent
from tpmwire.ssh.keyring import Keyring
from tpmwire.ssh.locking import AgentLock
from tpmwire.ssh.occasion import Peer

LONG = os.environ.get("TPMWIRE_HYPOTHESIS") == "long"
KEYS = tuple(SoftwareKey(seed) for seed in range(1, 4))
NEAR, FAR, THIRD = HOSTS = server(1), server(2), server(3)
Ways = frozenset[tuple[Server | None, Server]]

keys = st.sampled_from(KEYS)
hosts = st.sampled_from(HOSTS)
passphrases = st.sampled_from([b"one", b"two", b""])
all_ways: st.SearchStrategy[Ways] = st.sampled_from(
    [
        frozenset(),
        frozenset({(None, NEAR)}),
        frozenset({(None, NEAR), (NEAR, FAR)}),
        frozenset({(None, NEAR), (NEAR, FAR), (FAR, THIRD), (NEAR, NEAR)}),
    ]
)
clients = st.integers(0, 2)


def restricted(ways: Ways) -> bytes:
    ends = {host: place(b"", b"host", plain(host)) for host in HOSTS}
    hops = (hop(ends.get(origin, place()), ends[target]) for origin, target in sorted_ways(ways))
    return restriction(*hops) if ways else b""


def sorted_ways(ways: Ways) -> list[tuple[Server | None, Server]]:
    return sorted(ways, key=lambda way: [HOSTS.index(host) if host else -1 for host in way])


@dataclass
class Held:
    """A key as the model knows it."""

    key: SoftwareKey
    end: float
    confirm: bool
    ways: Ways

    def seen_by(self, client: "Client") -> bool:
        if not self.ways or not client.attempted:
            return True
        if not client.way:
            return False
        last, forwarding = client.way[-1]
        goes_on = any(origin is last for origin, _ in self.ways)
        return self.leads(client) and (not forwarding or goes_on)

    def leads(self, client: "Client") -> bool:
        steps = itertools.pairwise([None, *(host for host, _ in client.way)])
        return all(step in self.ways for step in steps)

    def logs_in(self, client: "Client", host: Server, hostbound: bool) -> bool:
        if not self.ways:
            return True
        if not client.way or client.way[-1] != (host, False):
            return False
        return self.leads(client) and (hostbound or len(client.way) == 1)


@dataclass
class Client:
    """A client as the model knows it: the servers that its connection is bound to."""

    talk: Talk
    way: list[tuple[Server, bool]] = field(default_factory=list)
    attempted: bool = False


class Model(RuleBasedStateMachine):
    """An agent with everything, and what it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.confirmed, self.held = 0.0, True, dict[bytes, Held]()
        self.locked: bytes | None = None
        self.agent = Agent(
            load=lambda name, pin: [KEYS[int(name)]],
            confirm=lambda key, occasion: self.confirmed,
            keyring=Keyring(lambda: self.time),
            lock=AgentLock(sleep=lambda seconds: None),
        )
        self.clients = [self.client() for _ in range(3)]

    def client(self) -> Client:
        return Client(self.agent.conversation(Peer()).answer)

    @property
    def living(self) -> dict[bytes, Held]:
        return {blob: held for blob, held in self.held.items() if self.time < held.end}

    @rule(who=clients)
    def connects_anew(self, who: int) -> None:
        self.clients[who] = self.client()

    @rule(who=clients, key=keys, seconds=st.sampled_from([None, 0, 5, 60]))
    def adds(self, who: int, key: SoftwareKey, seconds: int | None) -> None:
        self.add(self.clients[who], Held(key, self.end(seconds), False, frozenset()), seconds)

    @rule(who=clients, key=keys, confirm=st.booleans(), ways=all_ways)
    def adds_constrained(self, who: int, key: SoftwareKey, confirm: bool, ways: Ways) -> None:
        self.add(self.clients[who], Held(key, self.end(None), confirm, ways), None)

    def end(self, seconds: int | None) -> float:
        return float("inf") if seconds is None else self.time + seconds

    def add(self, client: Client, held: Held, seconds: int | None) -> None:
        constraints = b"" if seconds is None else lifetime(seconds)
        constraints += restricted(held.ways) + (CONFIRM if held.confirm else b"")
        name = str(KEYS.index(held.key)).encode()
        allowed = self.locked is None and not client.attempted
        answer = client.talk(token(26, name, b"", constraints))
        assert answer == (SUCCESS if allowed else FAILURE)
        if allowed:
            self.held = self.living | {held.key.blob: held}

    @rule(who=clients, key=keys)
    def removes(self, who: int, key: SoftwareKey) -> None:
        client, held = self.clients[who], self.living.get(key.blob)
        there = self.locked is None and held is not None and held.seen_by(client)
        assert client.talk(key.removal) == (SUCCESS if there else FAILURE)
        if there:
            del self.held[key.blob]

    @rule(who=clients, key=keys)
    def removes_by_token(self, who: int, key: SoftwareKey) -> None:
        client, held = self.clients[who], self.living.get(key.blob)
        there = self.locked is None and held is not None and held.seen_by(client)
        request = token(21, str(KEYS.index(key)).encode())
        assert client.talk(request) == (SUCCESS if there else FAILURE)
        if there:
            del self.held[key.blob]

    @rule(who=clients)
    def removes_all(self, who: int) -> None:
        answer = self.clients[who].talk(REMOVE_ALL)
        assert answer == (FAILURE if self.locked else SUCCESS)
        if not self.locked:
            self.held = {}

    @rule(seconds=st.sampled_from([1.0, 4.0, 60.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.time += seconds

    @rule()
    def somebody_changes_their_mind(self) -> None:
        self.confirmed = not self.confirmed

    @rule(who=clients, passphrase=passphrases)
    def locks(self, who: int, passphrase: bytes) -> None:
        possible = self.locked is None and passphrase != b""
        assert self.clients[who].talk(locking(passphrase)) == (SUCCESS if possible else FAILURE)
        if possible:
            self.locked = passphrase

    @precondition(lambda self: self.locked is not None)
    @rule(who=clients, passphrase=passphrases)
    def unlocks(self, who: int, passphrase: bytes) -> None:
        right = passphrase == self.locked
        assert self.clients[who].talk(unlocking(passphrase)) == (SUCCESS if right else FAILURE)
        if right:
            self.locked = None

    @rule(who=clients, host=hosts, forwarding=st.booleans())
    def binds(self, who: int, host: Server, forwarding: bool) -> None:
        client = self.clients[who]
        session = b"%d" % len(client.way)
        possible = all(forwarded for _, forwarded in client.way) and len(client.way) < 16
        answer = client.talk(binding(host, session, forwarding=forwarding))
        assert answer == (SUCCESS if possible else EXTENSION_FAILURE)
        client.attempted = True
        if possible:
            client.way.append((host, forwarding))

    @rule(who=clients)
    def binds_to_nonsense(self, who: int) -> None:
        client = self.clients[who]
        client.attempted = True
        signature = THIRD.sign(b"nonsense")
        request = binding(NEAR, b"session", forwarding=False, signature=signature)
        assert client.talk(request) == EXTENSION_FAILURE

    @rule(who=clients, key=keys, host=hosts, hostbound=st.booleans())
    def logs_in(self, who: int, key: SoftwareKey, host: Server, hostbound: bool) -> None:
        client, held = self.clients[who], self.living.get(key.blob)
        session = b"%d" % (len(client.way) - 1)
        data = login(session, b"ada", key.blob, host.blob if hostbound else None)
        # Without a host in it, a login is wherever its session is.
        where = host if hostbound or not client.way else client.way[-1][0]
        signed = held is not None and held.logs_in(client, where, hostbound)
        self.check_signature(client, held, data, signed)

    @rule(who=clients, key=keys)
    def signs_something(self, who: int, key: SoftwareKey) -> None:
        held = self.living.get(key.blob)
        data = b"something"
        if held is None:
            assert self.clients[who].talk(key.asked_to_sign(data)) == FAILURE
        else:
            self.check_signature(self.clients[who], held, data, not held.ways)

    def check_signature(
        self, client: Client, held: Held | None, data: bytes, permitted: bool
    ) -> None:
        if held is None:
            return
        signed = permitted and self.locked is None and (self.confirmed or not held.confirm)
        answer = client.talk(held.key.asked_to_sign(data))
        assert answer == (held.key.signature(data) if signed else FAILURE)

    @rule(who=clients)
    def asks_nonsense(self, who: int) -> None:
        for request in (
            b"",
            b"\x0d",
            b"\x1b",
            b"\x17",
            extension(b"nonsense"),
            token(26, b"0")[:-1],
        ):
            assert self.clients[who].talk(request) == FAILURE

    @invariant()
    def lists_what_there_is(self) -> None:
        for client in self.clients:
            seen = [held.key for held in self.living.values() if held.seen_by(client)]
            expected = [] if self.locked is not None else seen
            assert client.talk(LIST) == listing(*expected)


TestModel = Model.TestCase
TestModel.settings = settings(deadline=None, max_examples=500 if LONG else 40)


class Beside(RuleBasedStateMachine):
    """Our agent and OpenSSH's, which are told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.clients: list[list[Talk]] = []
        self.bound: list[int] = []

    @initialize()
    def start(self) -> None:
        directory = self.stack.enter_context(tempfile.TemporaryDirectory())
        theirs = self.stack.enter_context(openssh_agent(Path(directory)))
        self.agents = (Ours(), theirs)
        self.clients = [[agent.connect() for agent in self.agents] for _ in range(3)]
        self.locked = False

    def teardown(self) -> None:
        self.stack.close()

    def same(self, who: int, request: bytes) -> bytes:
        ours, theirs = (talk(request) for talk in self.clients[who])
        # Older ones do not tell an extension that fails from one that is unknown.
        assert theirs == ours or (ours, theirs) == (EXTENSION_FAILURE, FAILURE)
        return ours

    @rule(who=clients)
    def connects_anew(self, who: int) -> None:
        self.clients[who] = [agent.connect() for agent in self.agents]

    @rule(key=keys, confirm=st.booleans(), ways=all_ways)
    def adds(self, key: SoftwareKey, confirm: bool, ways: Ways) -> None:
        constraints = restricted(ways) + (CONFIRM if confirm else b"")
        ours, theirs = (agent.add(key, constraints) for agent in self.agents)
        assert ours == theirs

    @rule(who=clients, key=keys)
    def removes(self, who: int, key: SoftwareKey) -> None:
        self.same(who, key.removal)

    @rule(who=clients)
    def removes_all(self, who: int) -> None:
        self.same(who, REMOVE_ALL)

    @rule(who=clients, passphrase=st.sampled_from([b"one", b""]))
    def locks(self, who: int, passphrase: bytes) -> None:
        if self.same(who, locking(passphrase)) == SUCCESS:
            self.locked = True

    @rule(who=clients, passphrase=st.sampled_from([b"one", b"one", b"one", b"two", b""]))
    def unlocks(self, who: int, passphrase: bytes) -> None:
        if self.same(who, unlocking(passphrase)) == SUCCESS:
            self.locked = False

    # Older ones do not bind while they are locked.
    @precondition(lambda self: not self.locked)
    @rule(who=clients, host=hosts, session=st.sampled_from([b"1", b"2", b"3"]), on=st.booleans())
    def binds(self, who: int, host: Server, session: bytes, on: bool) -> None:
        self.same(who, binding(host, session, forwarding=on))

    @rule(
        who=clients,
        key=keys,
        host=st.sampled_from([None, *HOSTS]),
        session=st.sampled_from([b"1", b"2", b"3"]),
    )
    def logs_in(self, who: int, key: SoftwareKey, host: Server | None, session: bytes) -> None:
        host_key = None if host is None else host.blob
        self.same(who, key.asked_to_sign(login(session, b"ada", key.blob, host_key)))

    @rule(who=clients, key=keys)
    def signs_something(self, who: int, key: SoftwareKey) -> None:
        self.same(who, key.asked_to_sign(b"something"))

    @rule(who=clients)
    def asks_nonsense(self, who: int) -> None:
        self.same(who, extension(b"nonsense@example.com"))

    @invariant()
    def lists_the_same(self) -> None:
        for who in range(len(self.clients)):
            self.same(who, LIST)


TestBeside = Beside.TestCase
TestBeside.settings = settings(
    deadline=None, max_examples=500 if LONG else 20, suppress_health_check=[HealthCheck.too_slow]
)
