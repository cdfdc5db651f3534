"""Keys of tpmwire-keygen that are bound to PCRs, or to what an authority approves."""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, forgive
from keygen_fixtures import clean_home, files_in, keyfile
from programs import needs_tools, tool
from ssh_fixtures import Daemon, Home, agent, need

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG
from tpmwire.scripts import pcrs
from tpmwire.transport import connect

PIN = "1234"
ZERO = "00" * 32
MAKE = ("tpmwire-keygen", "-q", "-f", "key", "-C", "ada")
KEYS = {
    "p256": ("ecparam", "-name", "prime256v1", "-genkey", "-noout"),
    "p384": ("ecparam", "-name", "secp384r1", "-genkey", "-noout"),
    "rsa": ("genpkey", "-algorithm", "RSA"),
}

pytestmark = needs_tools


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    """A home, and PCR 16 and 23 of the TPM at zero."""
    need("ssh-add", "openssl")
    for number in (16, 23):
        tool(swtpm, "pcrreset", number)
    yield from clean_home(tmp_path, swtpm)
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


def extend(swtpm: Swtpm, number: int = 16) -> None:
    tool(swtpm, "pcrextend", f"{number}:sha256={'5a' * 32}")


def value(swtpm: Swtpm, number: int = 16) -> str:
    return tool(swtpm, "pcrread", f"sha256:{number}").split("0x")[1].strip().lower()


def authority(home: Home, kind: str = "p256", name: str = "authority") -> None:
    home.run("openssl", *KEYS[kind], "-out", f"{name}.pem")
    home.run("openssl", "pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub.pem")


def approve(home: Home, what: str, name: str = "authority") -> str:
    command = ("tpmwire-keygen", "-f", "key", "--approve-pcrs", what)
    return home.run(*command, "--authority-key", f"{name}.pem")


def signs(home: Home, daemon: Daemon) -> bool:
    return home.attempt("ssh-add", "-T", "key.pub", **daemon.env).returncode == 0


def refusal(home: Home, **env: str) -> str:
    """Let an agent in the foreground refuse, and return what it says."""
    process = home.start("tpmwire-agent", "-D", "-s", "-a", home.path / "sock", "key.tpm", **env)
    with process:
        process.stdout.readline()
        home.refuses("ssh-add", "-T", "key.pub", SSH_AUTH_SOCK=str(home.path / "sock"))
        process.terminate()
        return process.communicate(timeout=60)[1]


# --- PCRs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["", PIN])
def test_row_10_a_key_signs_while_its_pcrs_hold_and_no_longer(home: Home, swtpm: Swtpm, pin: str):
    home.run(*MAKE, "-N", pin, "--pcrs", "sha256:16,23+sha1:16")
    with agent(home, "key.tpm", **home.askpass(pin)) as daemon:
        assert signs(home, daemon)
        extend(swtpm, 23)
        assert not signs(home, daemon)
        tool(swtpm, "pcrreset", 23)
        assert signs(home, daemon)


def test_the_agent_tells_the_step_that_does_not_hold(home: Home, swtpm: Swtpm):
    home.run(*MAKE, "-N", "", "--pcrs", "sha256:16")
    extend(swtpm)
    said = refusal(home)
    assert "the policy of TPM key ada cannot be met: PCR 16 (SHA256) have a content" in said
    assert "TPM_RC_VALUE" in said


def test_a_bound_key_with_a_pin_wants_both(home: Home, swtpm: Swtpm):
    home.run(*MAKE, "-N", PIN, "--pcrs", "sha256:16")
    with agent(home, "key.tpm", **home.askpass("wrong")) as daemon:
        assert not signs(home, daemon)
    with agent(home, "key.tpm", **home.askpass(PIN)) as daemon:
        assert signs(home, daemon)


def test_the_pin_alone_opens_no_bound_key(home: Home):
    home.run(*MAKE, "-N", PIN, "--pcrs", "sha256:16")
    assert not keyfile(home).public.objectAttributes & TPMA_OBJECT.userWithAuth


@pytest.mark.parametrize("pin", ["", PIN])
def test_tpm2_tools_come_to_the_same_policy(home: Home, swtpm: Swtpm, pin: str):
    extend(swtpm)
    home.run(*MAKE, "-N", pin, "--pcrs", "sha256:7,16")
    session, digest = home.path / "session", home.path / "digest"
    tool(swtpm, "startauthsession", "-S", session)
    tool(swtpm, "policypcr", "-S", session, "-l", "sha256:7,16", "-L", digest)
    if pin:
        tool(swtpm, "policyauthvalue", "-S", session, "-L", digest)
    tool(swtpm, "flushcontext", session)
    assert keyfile(home).public.authPolicy == digest.read_bytes()


def test_a_content_that_is_to_come_can_be_written(home: Home, swtpm: Swtpm):
    extend(swtpm)
    later = value(swtpm)
    tool(swtpm, "pcrreset", 16)
    home.run(*MAKE, "-N", "", "--pcrs", f"sha256:16={later},23")
    with agent(home, "key.tpm") as daemon:
        assert not signs(home, daemon)
        extend(swtpm)
        assert signs(home, daemon)


def test_the_pin_of_a_bound_key_changes_and_the_policy_stays(home: Home, swtpm: Swtpm):
    home.run(*MAKE, "-N", PIN, "--pcrs", "sha256:16")
    before = keyfile(home)
    extend(swtpm)
    home.run("tpmwire-keygen", "-p", "-q", "-f", "key", "-P", PIN, "-N", "5678")
    assert keyfile(home).replace(private=before.private) == before
    tool(swtpm, "pcrreset", 16)
    with agent(home, "key.tpm", **home.askpass("5678")) as daemon:
        assert signs(home, daemon)
    with agent(home, "key.tpm", **home.askpass(PIN)) as daemon:
        assert not signs(home, daemon)


def test_a_pin_that_the_policy_never_asks_for_is_refused(home: Home):
    home.run(*MAKE, "-N", "", "--pcrs", "sha256:16")
    before = (home.path / "key.tpm").read_bytes()
    said = home.refuses("tpmwire-keygen", "-p", "-f", "key", "-N", PIN)
    assert "asks for no PIN, so that one would protect nothing" in said
    assert (home.path / "key.tpm").read_bytes() == before


def test_programs_are_told_what_a_key_is_bound_to(home: Home, swtpm: Swtpm):
    command = ("tpmwire-keygen", "-f", "key", "-N", PIN, "--json", "--parent", "endorsement")
    told = json.loads(home.run(*command, "--pcrs", "sha256:16"))
    (first, second) = told.pop("policy")
    assert first.startswith("PCR 16 (SHA256) have a content of the digest ")
    assert second == "the PIN of the object is proved"
    assert told["public_key"] + " " + told["comment"] + "\n" == (home.path / "key.pub").read_text()
    assert (told["private"], told["public"], told["pin"]) == ("key.tpm", "key.pub", True)
    assert (told["type"], told["bits"], told["parent"]) == ("ECDSA", 256, "endorsement")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sha256", "is no selection of PCRs"),
        ("sha256:", "'' is no PCR"),
        ("md5:7", "is no selection of PCRs"),
        ("sha256:7,x", "'x' is no PCR"),
        ("sha256:-7", "'-7' is no PCR"),
        ("sha256:2040", "'2040' is no PCR"),
        ("sha256:7+sha256:8", "is no selection of PCRs"),
        ("sha256:7=00", "a PCR of this bank has 64 hexadecimal digits"),
        (f"sha1:7={ZERO}", "a PCR of this bank has 40 hexadecimal digits"),
        ("sha256:7=" + "zz" * 32, "a PCR of this bank has 64 hexadecimal digits"),
    ],
)
def test_what_is_no_selection_is_wrong_usage(home: Home, text: str, said: str):
    done = home.attempt(*MAKE, "-N", "", "--pcrs", text)
    assert done.returncode == 2
    assert said in done.stderr
    assert files_in(home.path) == []


def test_a_selection_is_read_and_written(home: Home):
    text = "sha256:0,7+sha1:1"
    assert pcrs.parse(f"sha256:7,0={ZERO}+SHA1:1") == {
        TPM_ALG.SHA256: {7: None, 0: bytes(32)},
        TPM_ALG.SHA1: {1: None},
    }
    assert pcrs.written(pcrs.parse(text)) == text
    with pytest.raises(argparse.ArgumentTypeError):
        pcrs.parse("")


def test_a_pcr_that_the_tpm_does_not_have_is_told(home: Home):
    assert "the TPM does not have all PCRs of sha256:30" in home.refuses(
        *MAKE, "-N", "", "--pcrs", "sha256:30"
    )
    assert files_in(home.path) == []


# --- authorities ------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["", PIN])
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_signs_with_what_its_authority_approves(
    home: Home, swtpm: Swtpm, kind: str, pin: str
):
    authority(home, kind)
    home.run(*MAKE, "-N", pin, "--policy-authority", "authority.pub.pem")
    approve(home, "sha256:16")
    with agent(home, "key.tpm", **home.askpass(pin)) as daemon:
        assert signs(home, daemon)
        extend(swtpm)
        assert not signs(home, daemon)
    approve(home, "sha256:16")
    with agent(home, "key.tpm", **home.askpass(pin)) as daemon:
        assert signs(home, daemon)
        tool(swtpm, "pcrreset", 16)
        assert signs(home, daemon)  # what was approved first is still approved


def test_before_anything_is_approved_a_key_does_not_sign(home: Home):
    authority(home)
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    with agent(home, "key.tpm") as daemon:
        assert not signs(home, daemon)


def test_the_agent_tells_each_approved_policy_that_does_not_hold(home: Home, swtpm: Swtpm):
    authority(home)
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    approve(home, "sha256:16")
    approve(home, "sha256:16,23")
    extend(swtpm)
    said = refusal(home)
    assert "branch sha256:16: PCR 16 (SHA256) have a content of the digest" in said
    assert "branch sha256:16,23: PCR 16 and 23 (SHA256) have a content of the digest" in said


def test_a_bound_key_wants_its_pin_whatever_is_approved(home: Home):
    authority(home)
    home.run(*MAKE, "-N", PIN, "--policy-authority", "authority.pub.pem")
    approve(home, "sha256:16")
    with agent(home, "key.tpm", **home.askpass("wrong")) as daemon:
        assert not signs(home, daemon)


def test_an_update_is_approved_without_a_tpm_and_on_another_machine(home: Home, swtpm: Swtpm):
    extend(swtpm)
    later = value(swtpm)
    tool(swtpm, "pcrreset", 16)
    authority(home)
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    conf, home.env["TPMWIRE_TCTI"] = home.env["TPMWIRE_TCTI"], "device:/dev/none"
    said = approve(home, f"sha256:16={later}")
    assert said == (
        f"Approved for key.tpm: PCR 16 (SHA256) is {later}.\n"
        "What was approved before stays approved.\n"
    )
    home.env["TPMWIRE_TCTI"] = conf
    with agent(home, "key.tpm") as daemon:
        assert not signs(home, daemon)
        extend(swtpm)
        assert signs(home, daemon)


def test_what_is_approved_twice_stands_there_once(home: Home):
    authority(home)
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    for _ in range(2):
        approve(home, "sha256:16")
    approve(home, "sha256:23")
    assert [one.name for one in keyfile(home).auth_policy] == ["sha256:16", "sha256:23"]


def test_what_another_approves_does_not_count(home: Home):
    authority(home)
    authority(home, name="other")
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    before = (home.path / "key.tpm").read_bytes()
    command = ("tpmwire-keygen", "-f", "key", "--approve-pcrs", "sha256:16")
    said = home.refuses(*command, "--authority-key", "other.pem")
    assert "the key asks another authority" in said
    assert (home.path / "key.tpm").read_bytes() == before


def test_an_approval_that_was_tampered_with_does_not_count(home: Home):
    authority(home)
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    approve(home, "sha256:16")
    file = keyfile(home)
    (approved,) = file.auth_policy
    *steps, last = approved.bodies
    damaged = last._replace(octets=last.octets[:-1] + bytes([last.octets[-1] ^ 1]))
    forged = approved._replace(bodies=(*steps, damaged))
    (home.path / "key.tpm").write_text(file.with_policy(file.policy, [forged]).to_pem())
    assert "TPM_RC_SIGNATURE" in refusal(home)


def test_tpm2_tools_verify_what_was_approved(home: Home, swtpm: Swtpm):
    """The key's policy is met step by step by tpm2-tools, with the signature from the file."""
    authority(home, "rsa")
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    approve(home, "sha256:16")
    signature = keyfile(home).auth_policy[0].bodies[-1].octets[-256:]
    (home.path / "signature").write_bytes(signature)
    session, digest = home.path / "session", home.path / "digest"
    tool(swtpm, "startauthsession", "-S", session)
    tool(swtpm, "policypcr", "-S", session, "-l", "sha256:16", "-L", digest)
    tool(swtpm, "flushcontext", session)
    verify = ("dgst", "-sha256", "-verify", "authority.pub.pem", "-signature", "signature")
    assert home.run("openssl", *verify, "digest") == "Verified OK\n"


@pytest.mark.parametrize("form", ["pem", "encrypted pem", "openssh"])
def test_the_authority_has_its_key_in_any_usual_form(home: Home, form: str):
    authority(home)
    asking: dict[str, str] = {}
    if form == "encrypted pem":
        pass_out = ("-aes256", "-passout", "pass:secret")
        home.run("openssl", "pkey", "-in", "authority.pem", *pass_out, "-out", "e.pem")
        asking = home.askpass("secret")
    elif form == "openssh":
        shutil.copy(home.path / "authority.pem", home.path / "e.pem")
        (home.path / "e.pem").chmod(0o600)
        home.run("ssh-keygen", "-q", "-p", "-N", "", "-f", "e.pem")
        line = home.run("ssh-keygen", "-y", "-f", "e.pem")
        home.write("authority.pub.pem", line)
    else:
        shutil.copy(home.path / "authority.pem", home.path / "e.pem")
    home.run(*MAKE, "-N", "", "--policy-authority", "authority.pub.pem")
    command = ("tpmwire-keygen", "-q", "-f", "key", "--approve-pcrs", "sha256:16")
    assert home.run(*command, "--authority-key", "e.pem", **asking) == ""
    with agent(home, "key.tpm") as daemon:
        assert signs(home, daemon)
    if asking:
        said = home.refuses(*command, "--authority-key", "e.pem", **home.askpass("wrong"))
        assert "the passphrase is wrong, or the file is damaged" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--policy-authority", "none"], 1, "none: No such file or directory"),
        (["--policy-authority", "junk"], 1, "junk: no public key that could be read in it"),
        (["--policy-authority", "ed.pub"], 1, "ed.pub: no TPM has Ed25519 keys"),
        (["--policy-authority", "junk", "--pcrs", "sha256:7"], 2, "not allowed with argument"),
        (["--authority-key", "junk"], 2, "--authority-key means nothing here"),
    ],
)
def test_an_authority_that_is_none_binds_no_key(
    home: Home, arguments: list[str], code: int, said: str
):
    home.write("junk", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ed")
    done = home.attempt(*MAKE, "-N", "", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert not (home.path / "key.tpm").exists()


def test_approving_wants_a_key_and_one_that_is_asked(home: Home):
    authority(home)
    home.run(*MAKE, "-N", "", "--pcrs", "sha256:16")
    command = ("tpmwire-keygen", "-f", "key", "--approve-pcrs", "sha256:16")
    done = home.attempt(*command)
    assert done.returncode == 2
    assert "--approve-pcrs wants the key that signs it" in done.stderr
    said = home.refuses(*command, "--authority-key", "authority.pem")
    assert "the key asks no authority" in said
