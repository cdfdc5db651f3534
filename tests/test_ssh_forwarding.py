"""Our agent, forwarded by real ssh through real servers: near, and from there to far."""

import base64
import getpass
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_agents import (
    LIST,
    SUCCESS,
    SoftwareKey,
    hop,
    listing,
    place,
    restriction,
    served,
    server,
    token,
)
from ssh_agents import (
    Server as Host,
)
from ssh_fixtures import Home, Server, need, string

from tpmwire.ssh.agent import Agent
from tpmwire.ssh.keys import fingerprint
from tpmwire.ssh.occasion import Peer


class Net:
    """Two servers, a client's configuration that names them, and an agent with one key."""

    def __init__(self, path: Path, stack: list[Server]) -> None:
        self.key = SoftwareKey(1, "the key")
        self.home = Home(path, "")
        self.agent = Agent(load=lambda name, pin: [self.key])
        self.env = {"SSH_AUTH_SOCK": str(path / "agent")}
        self.keys = {name: self._start(path / name, stack) for name in ("near", "far")}
        self._configure(dict(zip(("near", "far"), stack, strict=True)))

    def _start(self, path: Path, stack: list[Server]) -> bytes:
        path.mkdir()
        authority = base64.b64encode(server(7).blob).decode()
        key = base64.b64encode(self.key.blob).decode()
        authorized = f"ssh-ed25519 {key}\ncert-authority ssh-ed25519 {authority}\n"
        stack.append(Server(Home(path, ""), authorized))
        return base64.b64decode((path / "host_key.pub").read_text().split()[1])

    def _configure(self, servers: dict[str, Server]) -> None:
        hosts = []
        for name, running in servers.items():
            port = running._listener.getsockname()[1]
            hosts.append(f"Host {name}\nPort {port}\nHostKeyAlias {name}\n")
        public = (f"{name} {' '.join(self._public(name))}\n" for name in servers)
        self.home.write("known", "".join(public))
        common = f"""
            Host *
            HostName 127.0.0.1
            User {getpass.getuser()}
            ForwardAgent yes
            IdentityFile none
            PreferredAuthentications publickey
            BatchMode yes
            UserKnownHostsFile {self.home.path}/known
            GlobalKnownHostsFile none
            LogLevel ERROR
        """
        self.config = self.home.write("config", "".join(hosts) + common)

    def _public(self, name: str) -> list[str]:
        return (self.home.path / name / "host_key.pub").read_text().split()[:2]

    def write_public(self) -> Path:
        encoded = base64.b64encode(self.key.blob).decode()
        return self.home.write("key.pub", f"ssh-ed25519 {encoded}\n")

    def allow(self, *ways: tuple[str, str]) -> None:
        """Add the key for some ways; "" is where the agent is."""
        ends = {
            name: place(b"", name.encode(), string(key) + b"\0") for name, key in self.keys.items()
        }
        hops = [hop(ends.get(origin, place()), ends[target]) for origin, target in ways]
        constraints = restriction(*hops) if hops else b""
        request = token(26, b"k", b"", constraints)
        assert self.agent.conversation(Peer()).answer(request) == SUCCESS

    def command(self, *hosts: str, run: str = "echo there") -> list[str]:
        """The command that goes to hosts, one from the other."""
        command = ["sh", "-c", run]
        for host in reversed(hosts):
            command = ["ssh", "-F", str(self.config), host, shlex.join(command)]
        return command

    def goes(self, *hosts: str) -> bool:
        done = self.home.attempt(*self.command(*hosts), **self.env)
        assert done.stdout in ("there\n", ""), done.stderr
        return done.stdout == "there\n"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    need("ssh", "ssh-add", "ssh-keygen", "sshd")
    running: list[Server] = []
    try:
        made = Net(tmp_path, running)
        with served(made.agent, made.env["SSH_AUTH_SOCK"]):
            yield made
    finally:
        for one in running:
            one.close()


def test_a_key_without_constraints_goes_everywhere(net: Net):
    net.allow()
    assert net.goes("near")
    assert net.goes("far")
    assert net.goes("near", "far")
    assert net.goes("far", "near")


def test_a_key_goes_only_where_it_may(net: Net):
    net.allow(("", "near"), ("near", "far"))
    assert net.goes("near")
    assert net.goes("near", "far")
    assert not net.goes("far")


def test_a_key_that_is_not_for_going_on_is_not_even_seen_there(net: Net):
    net.allow(("", "near"))
    assert net.goes("near")
    assert not net.goes("near", "far")
    listed = net.home.run(*net.command("near", run="ssh-add -L; true"), **net.env)
    assert listed == "The agent has no identities.\n"
    assert net.agent.conversation(Peer()).answer(LIST) == listing(net.key)


def test_nobody_on_the_way_signs_anything_else(net: Net):
    net.allow(("", "near"), ("near", "far"))
    public = net.write_public()
    listed = net.home.run(*net.command("near", run="ssh-add -L"), **net.env)
    assert base64.b64encode(net.key.blob).decode() in listed
    tried = f"ssh-add -T {public} || echo refused"
    assert net.home.run(*net.command("near", run=tried), **net.env) == "refused\n"


def test_nobody_on_the_way_loads_keys(net: Net):
    net.allow()
    asked = net.home.askpass("1234")
    script = "; ".join(f"export {name}={value}" for name, value in asked.items())
    run = f"{script}; ssh-add -s k || echo refused"
    assert net.home.run(*net.command("near", run=run), **net.env) == "refused\n"
    assert net.home.run("ssh-add", "-s", "k", **net.env, **asked) == ""


def test_what_a_key_is_told_names_the_servers(net: Net):
    net.allow()
    assert net.goes("near", "far")
    near, far = (fingerprint(net.keys[name]) for name in ("near", "far"))
    user = getpass.getuser()
    purposes = [occasion.purpose for occasion in net.key.occasions]
    assert purposes == [
        f"log in as “{user}” at the server with key {near}",
        f"log in as “{user}” at the server with key {far}, "
        f"asked for from the server with key {near}",
    ]


def test_an_agent_for_logins_only_lets_one_log_in(net: Net):
    net.agent = Agent([net.key], only=frozenset({"userauth"}))
    path = str(net.home.path / "strict")
    with served(net.agent, path):
        net.env["SSH_AUTH_SOCK"] = path
        assert net.goes("near", "far")
        public = net.home.write(
            "key.pub", f"ssh-ed25519 {base64.b64encode(net.key.blob).decode()}\n"
        )
        net.home.refuses("ssh-add", "-T", public, **net.env)


def test_one_logs_in_with_a_certificate_of_the_agent(net: Net):
    key, user = SoftwareKey(5, "certified"), getpass.getuser().encode()
    forwarding = string(b"permit-agent-forwarding") + string(b"")
    made = Host(key.private).certificate(server(7), user, kind=1, extensions=forwarding)
    key.certificates = (made,)
    net.agent.keyring.add([key])
    assert net.goes("near", "far")
    assert len(key.occasions) == 2
    assert all(occasion.purpose.startswith("log in as") for occasion in key.occasions)


def test_a_locked_agent_is_of_no_use_anywhere(net: Net):
    net.allow()
    asked = net.home.askpass("Sesame")
    net.home.run("ssh-add", "-x", **net.env, **asked)
    assert not net.goes("near")
    net.home.run("ssh-add", "-X", **net.env, **asked)
    assert net.goes("near", "far")
