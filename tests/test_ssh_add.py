"""Stock ssh-add, with all that it can ask for, against our agent."""

import base64
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from ssh_agents import RefusedError, Server, SoftwareKey, served, server
from ssh_fixtures import Home, need

from tpmwire.ssh.agent import Agent
from tpmwire.ssh.locking import AgentLock
from tpmwire.ssh.occasion import Occasion
from tpmwire.ssh.others import NotOursError

PIN = "4711"


class Setting:
    """Our agent at a socket in a home, with a token that has two keys."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.keys = [SoftwareKey(1, "first"), SoftwareKey(2, "second")]
        self.confirmed = True
        self.asked: list[Occasion] = []
        lock = AgentLock(sleep=lambda seconds: None)
        self.agent = Agent(load=self._load, confirm=self._confirm, lock=lock)
        self.env = {"SSH_AUTH_SOCK": str(home.path / "agent")}

    def _load(self, name: str, pin: bytes) -> Iterable[SoftwareKey]:
        if name != "token.tpm":
            raise NotOursError(name)
        if pin.decode() != PIN:
            raise RefusedError("wrong PIN")
        return self.keys

    def _confirm(self, key: SoftwareKey, occasion: Occasion) -> bool:
        self.asked.append(occasion)
        return self.confirmed

    def run(self, *arguments: str, given: str = PIN) -> str:
        env = self.env | self.home.askpass(given)
        return self.home.run("ssh-add", *arguments, **env)

    def refuses(self, *arguments: str, given: str = PIN) -> str:
        env = self.env | self.home.askpass(given)
        return self.home.refuses("ssh-add", *arguments, **env)

    @property
    def listed(self) -> list[str]:
        """The blobs and comments that ssh-add -L prints."""
        done = self.home.attempt("ssh-add", "-L", **self.env)
        if done.returncode:
            assert done.stdout == "The agent has no identities.\n"
            return []
        return done.stdout.splitlines()

    def lines(self, *keys: SoftwareKey) -> list[str]:
        return [public_line(key.blob, key.comment).strip() for key in keys or self.keys]

    def write_public(self, key: SoftwareKey) -> str:
        self.home.write(f"{key.comment}.pub", public_line(key.blob, key.comment))
        return f"{key.comment}.pub"


def public_line(blob: bytes, comment: str) -> str:
    size = int.from_bytes(blob[:4], "big")
    return f"{blob[4 : 4 + size].decode()} {base64.b64encode(blob).decode()} {comment}\n"


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    need("ssh-add", "ssh-keygen")
    made = Setting(Home(tmp_path, ""))
    with served(made.agent, made.env["SSH_AUTH_SOCK"]):
        yield made


def test_s_adds_the_keys_of_a_token_with_its_pin_and_e_removes_them(setting: Setting):
    setting.agent.keyring.add([SoftwareKey(3, "third")])
    setting.run("-s", "token.tpm")
    assert setting.listed == setting.lines(SoftwareKey(3, "third"), *setting.keys)
    setting.run("-e", "token.tpm")
    assert setting.listed == setting.lines(SoftwareKey(3, "third"))
    setting.refuses("-e", "token.tpm")


def test_s_fails_with_a_wrong_pin_or_an_unknown_token(setting: Setting):
    setting.refuses("-s", "token.tpm", given="1234")
    setting.refuses("-s", "other.tpm")
    assert setting.listed == []


def test_l_prints_fingerprints_and_t_tries_a_key(setting: Setting):
    setting.run("-s", "token.tpm")
    public = setting.write_public(setting.keys[0])
    printed = setting.home.run("ssh-keygen", "-l", "-f", public)
    assert setting.run("-l").splitlines()[0] == printed.strip()
    setting.run("-T", public)
    setting.run("-d", public)
    setting.refuses("-T", public)


def test_d_removes_one_key_and_big_d_all(setting: Setting):
    setting.run("-s", "token.tpm")
    public = setting.write_public(setting.keys[0])
    setting.run("-d", public)
    assert setting.listed == setting.lines(setting.keys[1])
    setting.refuses("-d", public)
    setting.run("-s", "token.tpm")
    setting.run("-D")
    assert setting.listed == []


def test_t_gives_keys_a_lifetime(setting: Setting):
    setting.run("-t", "1", "-s", "token.tpm")
    time.sleep(1.2)
    assert setting.listed == []
    setting.run("-t", "1h", "-s", "token.tpm")
    assert setting.listed == setting.lines()


def test_c_makes_each_use_want_confirmation(setting: Setting):
    setting.run("-c", "-s", "token.tpm")
    public = setting.write_public(setting.keys[0])
    setting.run("-T", public)
    setting.confirmed = False
    setting.refuses("-T", public)
    assert [occasion.purpose for occasion in setting.asked] == ["sign something unknown"] * 2
    assert {occasion.peer.uid for occasion in setting.asked} == {Path.home().stat().st_uid}


def test_h_restricts_the_destinations(setting: Setting):
    ssh = setting.home.path / ".ssh"
    ssh.mkdir(mode=0o700)
    lines = [public_line(server(n).blob, "").strip() for n in (1, 2)]
    hosts = "".join(f"{name} {line}\n" for name, line in zip(("near", "far"), lines, strict=True))
    known = setting.home.write("known_hosts", hosts)
    setting.run("-H", str(known), "-h", "near", "-h", "near>far", "-s", "token.tpm")
    assert setting.listed == setting.lines()
    setting.refuses("-T", setting.write_public(setting.keys[0]))
    entry = setting.agent.keyring.find(setting.keys[0].blob)
    first, second = entry.constraints.destinations
    assert first.origin.is_origin
    assert first.target.host == second.origin.host == b"near"
    assert first.target.keys == second.origin.keys == {server(1).blob}
    assert (second.target.host, second.target.keys) == (b"far", {server(2).blob})


def test_x_locks_and_big_x_unlocks(setting: Setting):
    setting.run("-s", "token.tpm")
    setting.run("-x", given="Sesame")
    assert setting.listed == []
    setting.refuses("-T", setting.write_public(setting.keys[0]))
    setting.refuses("-s", "token.tpm")
    setting.refuses("-x", given="Sesame")
    setting.refuses("-X", given="Simsim")
    setting.run("-X", given="Sesame")
    setting.refuses("-X", given="Sesame")
    assert setting.listed == setting.lines()


def test_row_5_a_key_in_software_is_not_added_and_ssh_add_says_so(setting: Setting):
    setting.home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "soft")
    assert "agent refused operation" in setting.refuses("soft")
    assert "Identity added" not in setting.refuses("-c", "-t", "60", "soft")
    assert setting.listed == []


def test_certificates_of_keys_are_listed_and_tried(setting: Setting):
    key = setting.keys[0]
    blob = Server(key.private).certificate(server(7), b"ada", kind=1)
    key.certificates = (blob,)
    setting.run("-s", "token.tpm")
    assert setting.listed[1] == public_line(blob, "first").strip()
    assert "ED25519-CERT" in setting.run("-l")
    setting.home.write("cert.pub", public_line(blob, "first"))
    setting.run("-T", "cert.pub")
    setting.run("-d", "cert.pub")
    assert setting.listed == setting.lines()


def test_ssh_add_can_be_told_every_key_that_fits(setting: Setting):
    setting.agent.keyring.add([SoftwareKey(seed, "k" * 20) for seed in range(10, 1900)])
    assert len(setting.listed) == 1890
