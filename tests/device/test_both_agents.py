"""ssh-tpm-agent on the same TPM as tpmwire: each makes keys that sign in the other's agent.

Its programs open /dev/tpmrm0 and nothing else.  Its agent signs with RSA keys by TPM2_RSA_Decrypt,
which those of ours refuse, as they are for signing only; so RSA keys go one way.
"""

from pathlib import Path

import pytest
from ssh_fixtures import Home, agent, need
from ssh_tpm_agent import RUN, needs_peers, signs, their_agent

pytestmark = [pytest.mark.device, needs_peers]

KEYGEN = (RUN, "ssh-tpm-keygen")
PIN = "1234"
KINDS = {"ecdsa": (), "p384": ("-b", "384"), "rsa": ("-t", "rsa")}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_curve = pytest.mark.parametrize("kind", ["ecdsa", "p384"])


@pytest.fixture
def home(device: str, tmp_path: Path) -> Home:
    if device != "/dev/tpmrm0":
        pytest.skip("ssh-tpm-agent opens /dev/tpmrm0 and nothing else")
    need("ssh-add", "ssh-keygen")
    (tmp_path / "keys").mkdir()
    return Home(tmp_path, f"device:{device}")


def made_by_them(home: Home, kind: str, pin: str = "") -> None:
    command = (*KEYGEN, "-f", "key", *KINDS[kind], "-C", "theirs")
    home.run(*command, *(("-N", pin) if pin else ()), **home.askpass(pin))


# --- their keys, our agent --------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["", PIN])
@every_kind
def test_a_key_of_ssh_tpm_keygen_signs_in_our_agent(home: Home, kind: str, pin: str):
    made_by_them(home, kind, pin)
    with agent(home, "key.tpm", **home.askpass(pin)) as daemon:
        assert signs(home, "key", **daemon.env)
    told = home.run("tpmwire", "inspect", "key.tpm")
    assert "made in its TPM, and never anywhere else" in told
    assert ("none: whoever has" in told) is (not pin)
    assert home.run("tpmwire-keygen", "-y", "-f", "key").split() == (
        [*(home.path / "key.pub").read_text().split()[:2], "theirs"]
    )


def test_its_pin_is_changed_by_us_and_then_it_is_theirs_again(home: Home):
    need("request-key")
    made_by_them(home, "ecdsa", PIN)
    home.run("tpmwire-keygen", "-p", "-f", "key", "-P", PIN, "-N", "new")
    for pin in (PIN, "new"):
        with agent(home, "key.tpm", **home.askpass(pin)) as daemon:
            assert signs(home, "key", **daemon.env) is (pin == "new")
    (home.path / "key.tpm").rename(home.path / "keys/key.tpm")
    with their_agent(home, "--key-dir", "keys", **home.askpass("new")) as env:
        assert signs(home, "key", **env)


# --- our keys, their agent --------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["", PIN])
@every_curve
def test_a_key_of_ours_signs_in_their_agent(home: Home, kind: str, pin: str):
    if pin:
        need("request-key")  # of keyutils, without which it keeps no PIN and asks for none
    home.run("tpmwire-keygen", "-q", "-f", "keys/key", "-N", pin, *KINDS[kind])
    (home.path / "keys/key.pub").rename(home.path / "key.pub")
    with their_agent(home, "--key-dir", "keys", **home.askpass(pin)) as env:
        assert signs(home, "key", **env)


# --- keys from outside ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-t", "ecdsa"), ("-t", "rsa", "-b", "2048")])
def test_what_they_wrap_for_our_parent_is_taken_in_and_signs(home: Home, options: tuple[str, ...]):
    home.run("tpmwire-keygen", "-q", "--export-parent", "parent.pem")
    home.run("ssh-keygen", "-q", "-N", "", "-f", "soft", *options)
    home.run(*KEYGEN, "--wrap", "soft", "--wrap-with", "parent.pem", "-f", "wrapped")
    home.run("tpmwire-keygen", "-q", "-i", "wrapped.tpm", "-f", "key")
    assert (
        home.run("tpmwire-keygen", "-y", "-f", "key").split()[:2]
        == ((home.path / "soft.pub").read_text().split()[:2])
    )
    with agent(home, "key.tpm") as daemon:
        assert signs(home, "soft", **daemon.env)
    with agent(home, "wrapped.tpm") as daemon:
        assert signs(home, "soft", **daemon.env)


def test_what_we_wrap_is_taken_in_by_them_and_signs(home: Home):
    home.run("tpmwire-keygen", "-q", "--export-parent", "parent.pem")
    home.run("ssh-keygen", "-q", "-N", "", "-f", "soft", "-t", "ecdsa")
    wrap = ("tpmwire-keygen", "-q", "-N", "", "-i", "soft", "--wrap-for", "parent.pem")
    home.run(*wrap, "-f", "wrapped", TPMWIRE_TCTI="device:/none")
    home.run(*KEYGEN, "--import", "wrapped.tpm", "-f", "keys/key")
    with their_agent(home, "--key-dir", "keys") as env:
        assert signs(home, "soft", **env)
