"""ssh-tpm-agent and ssh-tpm-add beside ours; what wants their TPM is in tests/device."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded
from ssh_fixtures import Home, agent, need
from ssh_tpm_agent import RUN, needs_peers, signs, their_agent

pytestmark = needs_peers

ADD = (RUN, "ssh-tpm-add")
KINDS = {"ecdsa": (), "p384": ("-b", "384"), "rsa": ("-t", "rsa")}
every_kind = pytest.mark.parametrize("kind", KINDS)
PIN = "1234"


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a key of each kind, and one with a PIN."""
    need("ssh-add", "ssh-keygen")
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    for kind, options in KINDS.items():
        home.run("tpmwire-keygen", "-q", "-N", "", "-C", kind, "-f", kind, *options)
    home.run("tpmwire-keygen", "-q", "-N", PIN, "-C", "pin", "-f", "pin")
    return home.path


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm, made: Path) -> Iterator[Home]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    yield Home(tmp_path, swtpm.conf)
    assert left_loaded(swtpm) == ()


def listed(home: Home, **env: str) -> list[str]:
    """The public keys that an agent offers, without their comments."""
    lines = home.attempt("ssh-add", "-L", **env).stdout.splitlines()
    return [" ".join(line.split()[:2]) for line in lines if "AAAA" in line]


def public(home: Home, name: str) -> str:
    return " ".join((home.path / f"{name}.pub").read_text().split()[:2])


# --- their ssh-tpm-add, our agent -------------------------------------------------------------


@every_kind
def test_ssh_tpm_add_adds_our_key_to_our_agent(home: Home, kind: str):
    (home.path / "empty").mkdir()
    with agent(home, "--key-dir", "empty") as daemon:
        assert listed(home, **daemon.env) == []
        said = home.run(*ADD, f"{kind}.tpm", SSH_TPM_AUTH_SOCK=str(daemon.path))
        assert said.startswith(f"Identity added: {kind}.tpm")
        assert listed(home, **daemon.env) == [public(home, kind)]
        assert signs(home, kind, **daemon.env)


def test_it_adds_a_key_with_its_certificate(home: Home):
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ca")
    home.run("ssh-keygen", "-q", "-s", "ca", "-I", "id", "-n", "ada", "ecdsa.pub")
    (home.path / "empty").mkdir()
    with agent(home, "--key-dir", "empty") as daemon:
        home.run(*ADD, "ecdsa.tpm", SSH_TPM_AUTH_SOCK=str(daemon.path))
        assert listed(home, **daemon.env) == [public(home, "ecdsa"), public(home, "ecdsa-cert")]
        assert signs(home, "ecdsa-cert", **daemon.env)


def test_a_key_that_it_adds_has_its_pin_asked_for(home: Home):
    (home.path / "empty").mkdir()
    with agent(home, "--key-dir", "empty", **home.askpass(PIN)) as daemon:
        home.run(*ADD, "pin.tpm", SSH_TPM_AUTH_SOCK=str(daemon.path))
        assert signs(home, "pin", **daemon.env)
    assert "PIN for TPM key" in (home.path / "prompts").read_text()


def test_a_locked_agent_takes_no_key_from_it(home: Home):
    (home.path / "empty").mkdir()
    with agent(home, "--key-dir", "empty") as daemon:
        home.run("ssh-add", "-x", **daemon.env, **home.askpass("sesame"))
        home.refuses(*ADD, "ecdsa.tpm", SSH_TPM_AUTH_SOCK=str(daemon.path))
        home.run("ssh-add", "-X", **daemon.env, **home.askpass("sesame"))
        assert listed(home, **daemon.env) == []


# --- their agent, our keys --------------------------------------------------------------------


def test_their_agent_reads_our_key_files(home: Home):
    (home.path / "keys").mkdir()
    for kind in KINDS:
        shutil.copy(home.path / f"{kind}.tpm", home.path / "keys")
    with their_agent(home, "--key-dir", "keys") as env:
        assert sorted(listed(home, **env)) == sorted(public(home, kind) for kind in KINDS)


def test_our_agent_behind_theirs_signs(home: Home):
    with (
        agent(home, "ecdsa.tpm", "rsa.tpm") as daemon,
        their_agent(home, "--no-load", "-A", daemon.path) as env,
    ):
        assert listed(home, **env) == [public(home, "ecdsa"), public(home, "rsa")]
        assert signs(home, "ecdsa", **env)
        assert signs(home, "rsa", **env)


def test_their_agent_behind_ours_lists_its_keys_and_ours_sign(home: Home):
    (home.path / "keys").mkdir()
    shutil.copy(home.path / "rsa.tpm", home.path / "keys")
    with (
        their_agent(home, "--key-dir", "keys") as env,
        agent(home, "--proxy", env["SSH_AUTH_SOCK"], "ecdsa.tpm") as daemon,
    ):
        assert listed(home, **daemon.env) == [public(home, "ecdsa"), public(home, "rsa")]
        assert signs(home, "ecdsa", **daemon.env)


def test_row_6_remove_all_reaches_every_agent_behind_and_theirs(home: Home):
    (home.path / "keys").mkdir()
    shutil.copy(home.path / "rsa.tpm", home.path / "keys")
    with (
        their_agent(home, "--key-dir", "keys") as env,
        agent(home, "p384.tpm") as behind,
        agent(home, "--proxy", env["SSH_AUTH_SOCK"], "--proxy", behind.path, "ecdsa.tpm") as front,
    ):
        assert len(listed(home, **front.env)) == 3
        home.run("ssh-add", "-D", **front.env)
        assert listed(home, **front.env) == listed(home, **behind.env) == listed(home, **env) == []
