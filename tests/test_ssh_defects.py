"""What has gone wrong in another agent for the TPM, and must not here.

The defects are numbered; a test of one is called test_row_N, here or where others are of its kind.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, forgive, left_loaded
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from keygen_fixtures import keyfile
from programs import needs_tools, tool
from ssh_fixtures import Home, agent, need

from tpmwire.client import Tpm
from tpmwire.constants import TPM_RH
from tpmwire.keyfile import KeyFile
from tpmwire.parents import open_parent
from tpmwire.templates import ECC_SIGN, without_lockout
from tpmwire.transport import connect

OLD, NEW = "old secret", "new secret"
TESTS = Path(__file__).parent
ROWS = range(1, 14)


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    need("ssh-add", "ssh-keygen")
    yield Home(tmp_path, swtpm.conf)
    assert left_loaded(swtpm) == ()
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


def test_each_row_has_a_test_of_its_name():
    text = "\n".join(path.read_text() for path in TESTS.glob("test_*.py"))
    assert {int(number) for number in re.findall(r"^def test_row_(\d+)_", text, re.M)} == {*ROWS}


# --- PINs on the bus --------------------------------------------------------------------------


class Listening:
    """What goes between programs and the TPM from now on, as its own log has it."""

    def __init__(self, swtpm: Swtpm) -> None:
        self._log, self._start = swtpm.log, swtpm.log.stat().st_size

    def heard(self, secret: str) -> bool:
        with open(self._log) as log:
            log.seek(self._start)
            said = "".join(log.read().split()).lower()
        assert said
        return secret.encode().hex() in said


def test_row_1_no_pin_is_in_clear_on_the_way_to_the_tpm(home: Home, swtpm: Swtpm):
    listening = Listening(swtpm)
    home.write("old", OLD)
    home.write("text", "text")
    home.run("tpmwire-keygen", "-q", "-f", "key", "-N", OLD)
    home.run("tpmwire", "sign", "-k", "key.tpm", "-f", "text", "-o", "sig", "--pin-file", "old")
    with agent(home, "key.tpm", **home.askpass(OLD)) as daemon:
        home.run("ssh-add", "-T", "key.pub", **daemon.env)
    with agent(home, "key.tpm", **home.askpass(NEW)) as daemon:
        home.refuses("ssh-add", "-T", "key.pub", **daemon.env)
    home.run("tpmwire-keygen", "-p", "-f", "key", "-P", OLD, "-N", NEW)
    home.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "soft")
    home.run("tpmwire-keygen", "-q", "-i", "soft", "-f", "imported", "-N", OLD)
    with agent(home, "imported.tpm", **home.askpass(OLD)) as daemon:
        home.run("ssh-add", "-T", "soft.pub", **daemon.env)
    assert not listening.heard(OLD)
    assert not listening.heard(NEW)


@needs_tools
def test_row_1_a_pin_that_is_sent_in_clear_would_be_found(swtpm: Swtpm, tmp_path: Path):
    listening = Listening(swtpm)
    tool(swtpm, "createprimary", "-p", OLD, "-c", tmp_path / "context")
    assert listening.heard(OLD)


# --- parents ----------------------------------------------------------------------------------


def test_row_10_a_key_under_the_rsa_key_of_a_hierarchy_signs(home: Home, swtpm: Swtpm):
    with (
        Tpm(connect(swtpm.conf)) as tpm,
        open_parent(tpm, TPM_RH.OWNER, rsa=True) as parent,
    ):
        made = parent.create(without_lockout(ECC_SIGN), b"")
    file = KeyFile(made.outPublic, made.outPrivate, TPM_RH.OWNER, empty_auth=True)
    home.write("key.tpm", file.replace(rsa_parent=True).to_pem())
    home.write("lost.tpm", file.to_pem())
    for name, signs in (("key", True), ("lost", False)):
        home.write(f"{name}.pub", home.run("tpmwire-keygen", "-y", "-f", name))
        with agent(home, f"{name}.tpm") as daemon:
            done = home.attempt("ssh-add", "-T", f"{name}.pub", **daemon.env)
        assert (done.returncode == 0) is signs


# --- numbers with leading zeros ---------------------------------------------------------------


CURVES = {
    "P-256": (ec.SECP256R1(), 32),
    "P-384": (ec.SECP384R1(), 48),
    "P-521": (ec.SECP521R1(), 66),
}


def short(curve: ec.EllipticCurve, size: int) -> ec.EllipticCurvePrivateKey:
    """A key whose scalar and one of whose coordinates begin with an octet of zero.

    With a scalar of less than half the bits, OpenSSH takes it for no key.
    """
    limit = 1 << 8 * (size - 1)
    for number in range(1, 1 << 16):
        key = ec.derive_private_key(limit - number, curve)
        numbers = key.public_key().public_numbers()
        if min(numbers.x, numbers.y) < limit:
            return key
    raise AssertionError("no such key")


@pytest.mark.parametrize("name", CURVES)
def test_row_11_a_key_with_leading_zeros_is_taken_in_whole_and_signs(home: Home, name: str):
    curve, size = CURVES[name]
    pem = short(curve, size).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    home.write("soft", pem.decode())
    home.write("soft.pub", home.run("ssh-keygen", "-y", "-f", "soft"))
    home.run("tpmwire-keygen", "-q", "-i", "soft", "-f", "key", "-N", "")
    unique = keyfile(home).public.unique
    assert (len(unique.x), len(unique.y)) == (size, size)
    assert (home.path / "key.pub").read_text().split()[1] == (
        (home.path / "soft.pub").read_text().split()[1]
    )
    with agent(home, "key.tpm") as daemon:
        home.run("ssh-add", "-T", "soft.pub", **daemon.env)
