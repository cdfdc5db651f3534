"""tpmwire-keygen --import: keys of OpenSSH and OpenSSL move into a TPM, and sign there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm, forgive, left_loaded
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from ssh_fixtures import Home, agent, need
from terminal import Terminal

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import EvictControl
from tpmwire.constants import TPM_RH
from tpmwire.keyfile import LOADABLE, KeyFile
from tpmwire.objects import LoadedObject
from tpmwire.scripts import keygen
from tpmwire.templates import RSA_SRK
from tpmwire.traces import read_exchanges
from tpmwire.transport import connect
from tpmwire.types import TPMT_SIGNATURE

PIN, PASSPHRASE = "1234", "correct horse"
KEYGEN = "tpmwire-keygen"


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    """A home directory with a TPM in which a test has to leave nothing loaded."""
    need("ssh-keygen")
    yield Home(tmp_path, swtpm.conf)
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)
    assert left_loaded(swtpm) == ()


def made(home: Home, *options: str, passphrase: str = "", comment: str = "ada") -> str:
    """Let ssh-keygen make a key; its fingerprint."""
    home.run(
        *("ssh-keygen", "-q", *(options or ("-t", "ecdsa")), "-N", passphrase, "-C", comment),
        *("-f", "id"),
    )
    return fingerprint(home, "id.pub")


def fingerprint(home: Home, name: str) -> str:
    return home.run("ssh-keygen", "-l", "-f", name).split()[1]


def keyfile(home: Home, name: str = "id.tpm") -> KeyFile:
    return KeyFile.from_pem((home.path / name).read_bytes())


def signs(home: Home, file: str, pin: str = PIN) -> bool:
    """Whether an agent with the TPM's key only signs so that the old public key verifies."""
    alone = home.path / "alone"  # or ssh-keygen would take the private key beside it
    alone.mkdir(exist_ok=True)
    (alone / "key.pub").write_bytes((home.path / "id.pub").read_bytes())
    home.write("text", "to be signed")
    home.write("allowed", "ada " + (home.path / "id.pub").read_text())
    (home.path / "text.sig").unlink(missing_ok=True)
    sign = ("ssh-keygen", "-Y", "sign", "-n", "file", "-f", "alone/key.pub", "text")
    with agent(home, file, **home.askpass(pin)) as daemon:
        if home.attempt(*sign, **daemon.env).returncode:
            return False
    verify = ("ssh-keygen", "-Y", "verify", "-n", "file", "-I", "ada", "-f", "allowed")
    home.run(*verify, "-s", "text.sig", given="to be signed")
    return True


# --- what moves in -----------------------------------------------------------------------------


KINDS = {
    "P-256": ("-t", "ecdsa", "-b", "256"),
    "P-384": ("-t", "ecdsa", "-b", "384"),
    "P-521": ("-t", "ecdsa", "-b", "521"),
    "RSA-2048": ("-t", "rsa", "-b", "2048"),
    "RSA-3072": ("-t", "rsa", "-b", "3072"),
}
FORMATS = ("RFC4716", "PKCS8", "PEM")  # RFC4716 means OpenSSH's own, says ssh-keygen(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_ssh_keygen_signs_in_the_tpm(home: Home, kind: str):
    print_of_old = made(home, *KINDS[kind])
    before = (home.path / "id.pub").read_bytes()
    done = home.attempt(KEYGEN, "--import", "id", "-N", PIN)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "Your identification has been saved in id.tpm\n"
        f"The key fingerprint is:\n{print_of_old} ada\n"
    )
    assert (home.path / "id.pub").read_bytes() == before
    assert signs(home, "id.tpm")


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE], ids=["clear", "encrypted"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["P-256", "RSA-2048"])
def test_every_format_is_read(home: Home, kind: str, form: str, passphrase: str):
    made(home, *KINDS[kind], "-m", form, passphrase=passphrase)
    home.run(KEYGEN, "-q", "-i", "id", "-f", "new", "-N", "", **home.askpass(passphrase))
    assert fingerprint(home, "new.pub") == fingerprint(home, "id.pub")
    assert signs(home, "new.tpm")


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("command", ["ec", "rsa", "pkcs8"])
def test_keys_of_openssl_are_read(home: Home, command: str, encrypted: bool):
    need("openssl")
    algorithm = ("RSA", "rsa_keygen_bits:2048") if command == "rsa" else ("EC", CURVE)
    home.run("openssl", "genpkey", "-algorithm", algorithm[0], "-pkeyopt", algorithm[1],
             "-out", "key")  # fmt: skip
    cipher = {True: ("-aes256", "-passout", f"pass:{PASSPHRASE}"), False: ()}
    other = cipher[encrypted] or ("-nocrypt",)
    options = ("-topk8", *[o.replace("-aes256", "-v2=aes256") for o in other])
    more = {"pkcs8": options, "rsa": ("-traditional", *cipher[encrypted])}
    more["pkcs8"] = tuple(part for o in more["pkcs8"] for part in o.split("="))
    home.run("openssl", command, *more.get(command, cipher[encrypted]),
             "-in", "key", "-out", "id.pem")  # fmt: skip
    home.run("openssl", "pkey", "-in", "key", "-pubout", "-out", "spki")
    home.run(KEYGEN, "-q", "-i", "id.pem", "-N", PIN, **home.askpass(PASSPHRASE))
    theirs = home.run("ssh-keygen", "-i", "-m", "PKCS8", "-f", "spki").split()
    assert (home.path / "id.pub").read_text().split()[:2] == theirs[:2]
    assert signs(home, "id.tpm")


CURVE = "ec_paramgen_curve:P-256"


@pytest.mark.parametrize("parent", ["owner", "endorsement", "0x81000009"])
def test_it_moves_under_the_parent_that_is_named(home: Home, swtpm: Swtpm, parent: str):
    made(home)
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(RSA_SRK) as srk:
        evict = EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=0x81000009)
        tpm.execute(evict)
    try:
        home.run(KEYGEN, "-q", "-i", "id", "-N", PIN, "--parent", parent)
        assert signs(home, "id.tpm")
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            tpm.execute(evict.replace(objectHandle=0x81000009))


@pytest.mark.parametrize("pin", ["", PIN])
def test_the_file_tells_what_the_key_is(home: Home, pin: str):
    made(home)
    home.run(KEYGEN, "-q", "-i", "id", "-N", pin)
    file = keyfile(home)
    attributes = TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth
    expected = attributes if pin else attributes | TPMA_OBJECT.noDA
    assert file.public.objectAttributes == expected
    assert (file.kind, file.empty_auth, file.secret) == (LOADABLE, not pin, b"")
    assert len(file.parent_name) == 34
    assert (home.path / "id.tpm").stat().st_mode & 0o777 == 0o600


def test_another_pin_does_not_sign(home: Home):
    made(home)
    home.run(KEYGEN, "-q", "-i", "id", "-N", PIN)
    assert not signs(home, "id.tpm", pin="4321")


def test_the_passphrase_is_not_the_pin(home: Home):
    made(home, "-t", "ecdsa", "-m", "PEM", passphrase=PASSPHRASE)
    home.run(KEYGEN, "-q", "-i", "id", "-N", PIN, **home.askpass(PASSPHRASE))
    assert not signs(home, "id.tpm", pin=PASSPHRASE)


# --- the comment -------------------------------------------------------------------------------


def comment(home: Home, name: str = "new.pub") -> str:
    return (home.path / name).read_text().rstrip("\n").split(" ", 2)[2]


@pytest.mark.parametrize("kind", ["P-384", "RSA-2048"])
def test_the_comment_in_the_key_of_openssh_is_kept(home: Home, kind: str):
    made(home, *KINDS[kind], comment="ada of  analytical")
    (home.path / "id.pub").unlink()
    home.run(KEYGEN, "-q", "-i", "id", "-f", "new", "-N", "")
    assert comment(home) == "ada of analytical"


def test_the_comment_of_an_encrypted_key_is_that_of_its_public_key(home: Home):
    made(home, passphrase=PASSPHRASE, comment="ada of analytical")
    home.run(KEYGEN, "-q", "-i", "id", "-f", "new", "-N", "", **home.askpass(PASSPHRASE))
    assert comment(home) == "ada of analytical"


def test_the_comment_of_another_public_key_is_none(home: Home):
    made(home, passphrase=PASSPHRASE)
    other = home.path / "other"
    home.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "eve", "-f", other)
    (home.path / "id.pub").write_bytes(other.with_suffix(".pub").read_bytes())
    home.run(KEYGEN, "-q", "-i", "id", "-f", "new", "-N", "", **home.askpass(PASSPHRASE))
    assert len((home.path / "new.pub").read_text().split()) == 2


def test_a_comment_that_is_given_is_taken(home: Home):
    made(home)
    home.run(KEYGEN, "-q", "-i", "id", "-f", "new", "-N", "", "-C", "eve")
    assert comment(home) == "eve"


def test_a_comment_cannot_make_lines_or_obey_a_terminal(home: Home):
    made(home, comment="ada\nssh-rsa AAAA eve\x1b[2J\x9b")
    (home.path / "id.pub").unlink()
    printed = home.run(KEYGEN, "-i", "id", "-f", "new", "-N", "")
    assert comment(home) == "ada ssh-rsa AAAA eve [2J"
    assert (home.path / "new.pub").read_text().count("\n") == 1
    assert "\x1b" not in printed


# --- what is asked, and said -------------------------------------------------------------------


def test_a_dialogue(home: Home):
    made(home, "-t", "ecdsa", "-m", "PEM", passphrase=PASSPHRASE)
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -i id
            Enter passphrase for id: <*wrong>
            id: the passphrase is wrong, or the file is damaged. Try again.
            Enter passphrase for id: <*{PASSPHRASE}>
            Enter PIN (empty for no PIN): <*{PIN}>
            Enter same PIN again: <*{PIN}>
            Your identification has been saved in id.tpm
            The key fingerprint is:
            SHA256:[...] ada
            tpmwire-keygen: id still is the key: whoever has it, [...]
            $ echo $?
            0
        """)
    assert signs(home, "id.tpm")


def test_after_three_wrong_passphrases_nothing_is_made(home: Home):
    made(home, "-t", "ecdsa", "-m", "PKCS8", passphrase=PASSPHRASE)
    said = home.refuses(KEYGEN, "-i", "id", "-N", PIN, **home.askpass("wrong"))
    assert said.count("the passphrase is wrong") == 3
    assert (home.path / "prompts").read_text() == "Enter passphrase for id: \n" * 3
    assert not (home.path / "id.tpm").exists()


def test_the_passphrase_comes_from_a_descriptor(home: Home):
    made(home, "-t", "ecdsa", "-m", "PEM", passphrase=PASSPHRASE)
    home.write("lines", f"{PASSPHRASE}\nrest\n")
    script = "tpmwire-keygen -q -i id -N '' --passphrase-fd 5"
    assert home.run("sh", "-c", f"exec 5<lines; {script}; cat <&5") == "rest\n"
    assert signs(home, "id.tpm")


def test_a_descriptor_that_gives_no_passphrase_is_told(home: Home):
    made(home, "-t", "ecdsa", "-m", "PEM", passphrase=PASSPHRASE)
    home.write("lines", "wrong\n")
    script = "tpmwire-keygen -q -i id -N '' --passphrase-fd 5"
    assert "id: the passphrase is wrong" in home.refuses("sh", "-c", f"{script} 5<lines")
    assert "descriptor 5: Bad file descriptor" in home.refuses("sh", "-c", script)
    negative = script.replace(" 5", " -5")
    assert "a descriptor is a number" in home.refuses("sh", "-c", negative)


def test_the_user_is_told_that_the_old_file_still_is_the_key(home: Home):
    made(home)
    said = home.attempt(KEYGEN, "-q", "-i", "id", "-N", PIN)
    assert said.stdout == ""
    assert "tpmwire-keygen: id still is the key: whoever has it, or a copy of it" in said.stderr


def test_without_a_terminal_a_pin_has_to_be_given(home: Home):
    made(home)
    assert "nobody to ask for a PIN" in home.refuses(KEYGEN, "-i", "id")
    assert not (home.path / "id.tpm").exists()


def test_without_a_terminal_the_passphrase_comes_from_a_descriptor(home: Home):
    made(home, passphrase=PASSPHRASE)
    said = home.refuses("setsid", "--wait", KEYGEN, "-i", "id", "-N", "")
    assert said == (
        "tpmwire-keygen: id: nobody can be asked for its passphrase; --passphrase-fd reads it\n"
    )


def test_what_stands_in_the_way_stays_unless_one_says_yes(home: Home):
    made(home)
    home.write("id.tpm", "precious")
    assert "nothing was changed" in home.refuses(KEYGEN, "-i", "id", "-N", "", given="n\n")
    assert (home.path / "id.tpm").read_text() == "precious"
    home.run(KEYGEN, "-i", "id", "-N", "", given="y\n")
    assert signs(home, "id.tpm")


def test_the_public_key_of_another_key_stands_in_the_way(home: Home):
    made(home)
    home.write("new.pub", "ssh-rsa AAAA eve\n")
    said = home.refuses(KEYGEN, "-i", "id", "-f", "new", "-N", "", given="n\n")
    assert "new.pub already exists" in said
    assert (home.path / "new.pub").read_text() == "ssh-rsa AAAA eve\n"
    assert not (home.path / "new.tpm").exists()


# --- what is refused ---------------------------------------------------------------------------


def pem(home: Home, key: object) -> None:
    octets = key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    home.write("id", octets.decode())


def refused(home: Home) -> str:
    said = home.refuses(KEYGEN, "-i", "id", "-N", "", SSH_ASKPASS="false")
    assert "Traceback" not in said
    assert not (home.path / "id.tpm").exists()
    return said


@pytest.mark.parametrize("form", FORMATS[:2])
def test_ed25519_is_refused_in_plain_words(home: Home, form: str):
    made(home, "-t", "ed25519", "-m", form)
    said = refused(home)
    assert said.startswith("tpmwire-keygen: id: no TPM has ")
    assert said.endswith(
        ("Ed25519 keys, only RSA and ECDSA\n", "ed25519 keys, only RSA and ECDSA\n")
    )


def test_an_encrypted_ed25519_key_is_refused_before_its_passphrase_is_asked_for(home: Home):
    made(home, "-t", "ed25519", passphrase=PASSPHRASE)
    home.refuses(KEYGEN, "-i", "id", "-N", "", **home.askpass(PASSPHRASE))
    assert not (home.path / "prompts").exists()


def test_dsa_is_refused(home: Home):
    pem(home, dsa.generate_private_key(2048))
    assert "no TPM has DSA keys, only RSA and ECDSA" in refused(home)


def test_curves_that_no_tpm_has_are_refused(home: Home):
    pem(home, ec.generate_private_key(ec.SECP256K1()))
    assert "id: no TPM has the curve secp256k1" in refused(home)


def test_a_curve_that_ssh_has_not_is_refused(home: Home):
    pem(home, ec.generate_private_key(ec.SECP224R1()))
    assert "SSH has no use for curve" in refused(home)


def test_a_size_that_this_tpm_has_not_is_refused_before_anybody_is_asked(home: Home):
    pem(home, rsa.generate_private_key(65537, 4096))
    assert "id: this TPM takes no RSA-4096 keys" in refused(home)


def test_an_exponent_that_this_tpm_has_not_is_refused_or_signs(home: Home):
    pem(home, rsa.generate_private_key(3, 2048))
    done = home.attempt(KEYGEN, "-q", "-i", "id", "-N", "")
    assert done.returncode == 0 or "no RSA-2048 with exponent 3 keys" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "garbage",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n???\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_is_refused(home: Home, content: str):
    home.write("id", content)
    assert refused(home).startswith("tpmwire-keygen: id: ")


def test_a_public_key_is_no_private_one(home: Home):
    made(home)
    (home.path / "id.pub").rename(home.path / "id")
    assert "id: no private key that could be read in it" in refused(home)


def test_a_key_file_of_this_tpm_is_in_it_already(home: Home):
    home.run(KEYGEN, "-q", "-N", "", "-f", "new")
    said = home.refuses(KEYGEN, "-i", "new.tpm", "-f", "other")
    assert "new.tpm: there is nothing in it that could be imported" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("--wrap-for", "x"),
        ("--export-parent", "x", "-i", "id"),
        ("-i", "id", "-b", "256"),
        ("-i", "id", "--passphrase-fd", "x"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(home: Home, arguments: tuple[str, ...]):
    made(home)
    assert home.attempt(KEYGEN, "-N", "", *arguments).returncode == 2


def test_nothing_is_written_if_the_tpm_does_not_sign_with_the_key_as_it_should(
    home: Home, swtpm: Swtpm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    made(home)
    honest = LoadedObject.sign

    def of_something_else(key: LoadedObject, digest: bytes, *rest: Any) -> TPMT_SIGNATURE:
        return honest(key, bytes(len(digest)), *rest)

    monkeypatch.setattr(LoadedObject, "sign", of_something_else)
    path = str(home.path / "id")
    assert keygen.main(["-q", "-i", path, "-N", PIN, "--tpm", swtpm.conf]) == 1
    assert "does not sign in the TPM as it should" in capsys.readouterr().err
    assert not (home.path / "id.tpm").exists()


# --- nothing private gets out ------------------------------------------------------------------


def secrets_of(home: Home) -> list[bytes]:
    """The octets of the private key that nobody but its owner should see."""
    key = serialization.load_ssh_private_key((home.path / "id").read_bytes(), None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return [key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")]
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = key.private_numbers()
    return [n.to_bytes((n.bit_length() + 7) // 8, "big") for n in (numbers.p, numbers.q, numbers.d)]


@pytest.mark.parametrize("kind", ["P-256", "P-521", "RSA-2048"])
def test_no_octet_of_the_private_key_is_in_a_file_a_message_or_on_the_way(
    home: Home, swtpm: Swtpm, kind: str
):
    made(home, *KINDS[kind])
    done = home.attempt(
        *("tpmwire", "record", "--out", "rec.pcapng", "--"),
        *(KEYGEN, "-i", "id", "-f", "new", "-N", PIN),
    )
    assert done.returncode == 0, done.stderr
    with open(swtpm.log, "rb") as log:
        spoken = list(read_exchanges(log))
    sent = b"".join(each.octets for pair in spoken for each in pair[:2] if each)
    seen = [
        sent,
        (home.path / "rec.pcapng").read_bytes(),
        keyfile(home, "new.tpm").to_der(),
        (done.stdout + done.stderr).encode(),
    ]
    assert b"\x00\x00\x01\x56" in sent  # TPM2_Import
    for secret in secrets_of(home):
        for some in (secret[:16], secret[-16:]):
            assert not any(some in octets or some.hex().encode() in octets for octets in seen)
    assert PIN.encode() not in sent
