"""tpmwire sign and verify, against OpenSSL, which makes and checks the same signatures."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from conftest import Swtpm, forgive, left_loaded
from hypothesis import example, given
from hypothesis import strategies as st
from ssh_fixtures import Home, need
from terminal import Terminal
from test_keyfile_policy import OWNER, made_in

from tpmwire import detached, policy
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.errors import AttestationError, DecodeError
from tpmwire.policy import Policy
from tpmwire.scripts.main import main
from tpmwire.signatures import verify_digest
from tpmwire.softkeys import public_of
from tpmwire.ssh.fingerprints import PublishedKey
from tpmwire.ssh.publickeys import read_key
from tpmwire.transport import connect
from tpmwire.types.objects import TPMT_PUBLIC

KINDS = {
    "p256": ("-t", "ecdsa"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "p521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa"),
}
DEFAULT = {"p256": "sha256", "p384": "sha384", "p521": "sha512", "rsa": "sha256"}
SIZE = {"p256": 32, "p384": 48, "p521": 66}
HASHES = ("sha256", "sha384", "sha512")
every_kind = pytest.mark.parametrize("kind", KINDS)
every_curve = pytest.mark.parametrize("kind", SIZE)
every_hash = pytest.mark.parametrize("hash_name", HASHES)

TEXT, OTHER = "To be, or not to be\n", "To be, or not to bE\n"
NOWHERE = {"TPMWIRE_TCTI": "device:/none"}


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one key of each kind, its public part in PEM too, and a text."""
    need("openssl", "ssh-keygen")
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    for kind, options in KINDS.items():
        home.run("tpmwire-keygen", *options, "-f", kind, "-N", "", "-C", f"my {kind} key")
        home.write(f"{kind}.pem", home.run("ssh-keygen", "-e", "-m", "PKCS8", "-f", f"{kind}.pub"))
    home.run("tpmwire-keygen", "-f", "pin", "-N", "1234", "-C", "my key")
    home.write("text", TEXT)
    home.write("other", OTHER)
    return home


@pytest.fixture
def home(swtpm: Swtpm, made: Home) -> Iterator[Home]:
    """That home, and no signature; what a test leaves loaded in the TPM is a failure."""
    for old in made.path.glob("*sig"):
        old.unlink()
    yield made
    assert left_loaded(swtpm) == ()


def sign(home: Home, kind: str, *options: str) -> Path:
    home.run("tpmwire", "sign", "-k", f"{kind}.tpm", "-f", "text", "-o", "sig", *options)
    return home.path / "sig"


def openssl(pem: str, hash_name: str, signature: str, text: str) -> tuple[str, ...]:
    return ("openssl", "dgst", f"-{hash_name}", "-verify", pem, "-signature", signature, text)


def verifying(key: str, text: str, *options: str) -> tuple[str, ...]:
    return ("tpmwire", "verify", "-k", key, "-f", text, "-s", "sig", *options)


def good(home: Home, *command: str) -> None:
    assert outcome(home, *command) == (0, "good signature\n", "")


def bad(home: Home, *command: str) -> None:
    code, out, err = outcome(home, *command)
    assert (code, out) == (1, "")
    assert err.startswith("tpmwire verify: BAD signature: ")


def outcome(home: Home, program: str, *arguments: str) -> tuple[int, str, str]:
    """What comes of a program that reaches no TPM; our own one without the start of a Python."""
    if program != "tpmwire":
        done = home.attempt(program, *arguments, **NOWHERE)
        return done.returncode, done.stdout, done.stderr
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(home.path),
        patch.dict(os.environ, NOWHERE),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        return main(arguments), out.getvalue(), err.getvalue()


# --- what OpenSSL says ------------------------------------------------------------------------


@every_kind
def test_openssl_verifies_a_signature_over_the_hash_of_the_key(home: Home, kind: str):
    sign(home, kind)
    assert "OK" in home.run(*openssl(f"{kind}.pem", DEFAULT[kind], "sig", "text"))
    home.refuses(*openssl(f"{kind}.pem", DEFAULT[kind], "sig", "other"))


@every_kind
@every_hash
def test_openssl_verifies_a_signature_over_the_hash_that_was_chosen(
    home: Home, kind: str, hash_name: str
):
    sign(home, kind, "--hash", hash_name)
    for verified in HASHES:
        command = openssl(f"{kind}.pem", verified, "sig", "text")
        assert (home.attempt(*command).returncode == 0) == (verified == hash_name)


@every_curve
def test_a_raw_signature_is_r_and_s_as_long_as_the_field(home: Home, kind: str):
    octets = sign(home, kind, "--format", "raw").read_bytes()
    size = SIZE[kind]
    assert len(octets) == 2 * size
    r, s = octets[:size].hex(), octets[size:].hex()
    home.write("numbers", f"asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x{r}\ns=INTEGER:0x{s}\n")
    home.run("openssl", "asn1parse", "-genconf", "numbers", "-noout", "-out", "der.sig")
    assert "OK" in home.run(*openssl(f"{kind}.pem", DEFAULT[kind], "der.sig", "text"))


def test_a_raw_signature_of_an_rsa_key_is_its_octets(home: Home):
    assert len(sign(home, "rsa", "--format", "raw").read_bytes()) == 256
    assert "OK" in home.run(*openssl("rsa.pem", "sha256", "sig", "text"))


GENERATED = {
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "p521": ("EC", "ec_paramgen_curve:P-521"),
    "rsa": ("RSA", "rsa_keygen_bits:3072"),
}


@pytest.fixture(scope="module")
def others(made: Home) -> Home:
    """The same home, with keys that OpenSSL has made."""
    for kind, (algorithm, parameter) in GENERATED.items():
        generate = ("openssl", "genpkey", "-quiet", "-algorithm", algorithm)
        made.run(*generate, "-pkeyopt", parameter, "-out", f"their-{kind}")
        made.run("openssl", "pkey", "-in", f"their-{kind}", "-pubout", "-out", f"their-{kind}.pem")
    return made


@pytest.mark.parametrize("kind", GENERATED)
@every_hash
def test_what_openssl_has_signed_is_verified(others: Home, home: Home, kind: str, hash_name: str):
    home.run(*("openssl", "dgst", f"-{hash_name}", "-sign", f"their-{kind}", "-out", "sig", "text"))
    good(home, *verifying(f"their-{kind}.pem", "text", "--hash", hash_name))
    bad(home, *verifying(f"their-{kind}.pem", "other", "--hash", hash_name))
    bad(home, *verifying(f"{kind}.pem", "text", "--hash", hash_name))
    another = HASHES[HASHES.index(hash_name) - 1]
    bad(home, *verifying(f"their-{kind}.pem", "text", "--hash", another))


@pytest.mark.parametrize("algorithm", ["ed25519", "x25519"])
def test_a_key_in_pem_of_a_kind_that_no_tpm_has_is_no_key(home: Home, algorithm: str):
    home.run("openssl", "genpkey", "-algorithm", algorithm, "-out", "odd")
    home.run("openssl", "pkey", "-in", "odd", "-pubout", "-out", "odd.pem")
    home.write("sig", "x")
    done = home.attempt(*verifying("odd.pem", "text"))
    assert (done.returncode, done.stderr) == (
        *(1, f"tpmwire: odd.pem: no TPM has {algorithm.capitalize()} keys\n"),
    )


# --- verifying --------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("form", ["asn1", "raw"])
def test_each_form_is_verified_by_each_form_of_the_key_without_a_tpm(
    home: Home, kind: str, form: str
):
    sign(home, kind, "--format", form)
    for key in (f"{kind}.pub", f"{kind}.pem", f"{kind}.tpm"):
        good(home, *verifying(key, "text"))
        bad(home, *verifying(key, "other"))
    bad(home, *verifying("p256.pub" if kind == "rsa" else "rsa.pub", "text"))


def test_a_good_signature_can_go_without_a_word(home: Home):
    sign(home, "p256")
    assert home.run(*verifying("p256.pub", "text", "-q")) == ""
    bad(home, *verifying("p256.pub", "other", "-q"))


def test_data_and_signature_may_come_and_go_by_pipes(home: Home):
    shell = "tpmwire sign -k p256.tpm <text | tpmwire verify -k p256.pub -s - -f text"
    assert home.run("sh", "-c", shell) == "good signature\n"
    sign(home, "p256")
    good(home, "sh", "-c", "tpmwire verify -k p256.pub -s sig <text")
    good(home, "sh", "-c", "cat p256.pub | tpmwire verify -k - -s sig -f text")


def test_a_file_that_does_not_fit_into_memory_is_signed_and_verified(home: Home):
    with open(home.path / "big", "wb") as file:
        file.truncate(1 << 29)
    limited = 'ulimit -v 400000 && exec "$@"'
    command = ("tpmwire", "sign", "-k", "p256.tpm", "-f", "big", "-o", "sig")
    home.run("sh", "-c", limited, "sh", *command)
    assert "OK" in home.run(*openssl("p256.pem", "sha256", "sig", "big"))
    home.run("sh", "-c", limited, "sh", *verifying("p256.pub", "big"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one public key wanted, not 0"),
        ("hello", "no public key"),
        ("ssh-rsa AAAA", "no public key"),
        ("{rsa}{p256}", "one public key wanted, not 2"),
        ("-----BEGIN PUBLIC KEY-----\nx\n", "no public key that could be read in it"),
        ("-----BEGIN TSS2 PRIVATE KEY-----\n", "no TSS2 PRIVATE KEY in it"),
    ],
)
def test_what_is_no_public_key_is_said(home: Home, text: str, message: str):
    sign(home, "p256")
    keys = {kind: (home.path / f"{kind}.pub").read_text() for kind in KINDS}
    home.write("odd.pub", text.format(**keys))
    code, _, err = outcome(home, *verifying("odd.pub", "text"))
    assert (code, err) == (1, f"tpmwire: odd.pub: {message}\n")


def test_a_public_key_may_have_remarks_before_it(home: Home):
    sign(home, "p256")
    home.write("noted.pub", "# mine\n\n" + (home.path / "p256.pub").read_text())
    good(home, *verifying("noted.pub", "text"))


def test_an_ed25519_key_is_for_sshsig_only(home: Home):
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ed")
    sign(home, "p256")
    done = home.attempt(*verifying("ed.pub", "text"))
    assert done.returncode == 1
    assert "a key of type ssh-ed25519 cannot be used for this" in done.stderr
    for name in ("ed", "ed.pub"):
        (home.path / name).unlink()


P256_LINE = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQ"
    "PJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU="
)
"""The base point of P-256, so its private key is 1.  [SEC 2, 2.4.2]"""


def p256() -> TPMT_PUBLIC:
    return public_of(read_key(PublishedKey.read(P256_LINE).blob).plain)


def test_the_point_of_a_line_is_the_one_of_the_standard():
    public = p256()
    assert public.parameters.curveID == TPM_ECC.NIST_P256
    assert public.unique.x.hex().startswith("6b17d1f2e12c4247f8bce6e563a440f277037d81")


@given(octets=st.binary(max_size=140))
def test_whatever_octets_a_signature_has_it_is_bad(octets: bytes):
    public = p256()
    with pytest.raises((AttestationError, DecodeError)):
        verify_digest(public, bytes(32), detached.read(public, octets, TPM_ALG.SHA256))


@example(r=0, s=1)
@example(r=1, s=0)
@example(r=1 << 256, s=1)
@example(r=1, s=1 << 256)
@example(r=1, s=1)
@given(
    r=st.integers(min_value=0, max_value=1 << 264), s=st.integers(min_value=0, max_value=1 << 264)
)
def test_numbers_that_are_none_of_the_curve_are_refused_and_others_read_the_same_way(
    r: int, s: int
):
    public = p256()
    if 0 < r < 1 << 256 and 0 < s < 1 << 256:
        made = detached.ecdsa(public, r, s, TPM_ALG.SHA256)
        assert detached.read(public, detached.raw(public, made), TPM_ALG.SHA256) == made
        assert detached.read(public, detached.asn1(made), TPM_ALG.SHA256) == made
    else:
        with pytest.raises(DecodeError):
            detached.ecdsa(public, r, s, TPM_ALG.SHA256)


# --- PINs -------------------------------------------------------------------------------------


@pytest.fixture
def secured(swtpm: Swtpm, home: Home) -> Iterator[Home]:
    """The home; wrong PINs are forgiven at the end."""
    yield home
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


def test_the_pin_is_asked_for_by_askpass(secured: Home):
    command = ("tpmwire", "sign", "-k", "pin.tpm", "-f", "text", "-o", "sig")
    secured.run(*command, **secured.askpass("1234"))
    good(secured, *verifying("pin.pub", "text"))
    prompts = (secured.path / "prompts").read_text()
    assert prompts == "PIN for TPM key pin.tpm: \n"


@pytest.mark.parametrize("line", ["1234", "1234\n", "1234\r\n", "1234\nmore\n"])
def test_the_pin_is_the_first_line_of_a_file(secured: Home, line: str):
    secured.write("secret", line)
    sign(secured, "pin", "--pin-file", "secret")
    good(secured, *verifying("pin.pub", "text"))


def test_the_pin_may_come_by_a_descriptor(secured: Home):
    shell = "tpmwire sign -k pin.tpm -f text -o sig --pin-file /dev/fd/3 3<<'END'\n1234\nEND\n"
    secured.run("sh", "-c", shell)
    good(secured, *verifying("pin.pub", "text"))


def test_a_wrong_pin_is_told_with_the_tries_left_and_nothing_is_written(secured: Home):
    secured.write("secret", "4321")
    command = ("tpmwire", "sign", "-k", "pin.tpm", "-f", "text", "-o", "sig")
    said = secured.refuses(*command, "--pin-file", "secret")
    assert re.search(r"TPM_RC_AUTH_FAIL .* tries left", said)
    assert "4321" not in said
    assert not (secured.path / "sig").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "secret: its first line is empty"), ("\n1234", "secret: its first line is empty")],
)
def test_a_file_without_a_pin_is_no_try(secured: Home, content: str, message: str):
    secured.write("secret", content)
    said = secured.refuses("tpmwire", "sign", "-k", "pin.tpm", "-f", "text", "--pin-file", "secret")
    assert said == f"tpmwire: {message}\n"


def test_nobody_to_ask_is_said(secured: Home):
    said = secured.refuses("tpmwire", "sign", "-k", "pin.tpm", "-f", "text")
    assert "nobody can be asked for the PIN" in said


def test_the_terminal_asks_for_the_pin_although_the_data_comes_by_a_pipe(secured: Home):
    with Terminal(secured.path, secured.env) as terminal:
        terminal.play(
            """
            $ cat text | tpmwire sign -k pin.tpm -o sig
            PIN for TPM key pin.tpm: <*1234>
            $ tpmwire verify -k pin.pub -s sig -f text
            good signature
            """
        )


def test_octets_are_not_for_a_terminal_but_an_sshsig_is(secured: Home):
    with Terminal(secured.path, secured.env) as terminal:
        terminal.play(
            """
            $ tpmwire sign -k p256.tpm -f text
            tpmwire: these octets are not for a terminal: name a file with -o
            $ tpmwire sign -k p256.tpm -f text -n file | head -n 1
            -----BEGIN SSH SIGNATURE-----
            """
        )


def test_a_key_with_a_policy_signs_with_its_pin(swtpm: Swtpm, secured: Home):
    secured.write("bound.tpm", made_in(swtpm, Policy(policy.AuthValue()), b"1234").to_pem())
    secured.write("secret", "1234")
    sign(secured, "bound", "--pin-file", "secret")
    good(secured, *verifying("bound.tpm", "text"))


def test_the_pin_in_a_file_is_not_given_for_another_password(swtpm: Swtpm, secured: Home):
    both = Policy(policy.Secret(OWNER), policy.AuthValue())
    secured.write("owned.tpm", made_in(swtpm, both, b"1234").to_pem())
    secured.write("secret", "1234")
    command = ("tpmwire", "sign", "-k", "owned.tpm", "-f", "text", "-o", "sig")
    done = secured.attempt(*command, "--pin-file", "secret")
    assert done.returncode == 2
    assert "the policy of the key wants more than a PIN" in done.stderr


# --- wrong usage ------------------------------------------------------------------------------

SIGN, VERIFY = ("sign", "-k", "p256.tpm", "-f", "text"), ("verify", "-k", "p256.pub", "-f", "text")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("sign", "-f", "text"), "required: -k"),
        ((*SIGN, "--format", "sshsig"), "name it with -n"),
        ((*SIGN, "--format", "raw", "-n", "file"), "a namespace is for sshsig, not for raw"),
        ((*SIGN, "-n", ""), "the namespace is empty"),
        ((*SIGN, "-n", "file", "--hash", "sha384"), "an sshsig is over sha256 or sha512"),
        ((*SIGN, "--hash", "sha1"), "invalid choice"),
        ((*SIGN, "--pin-file", "-"), "standard input is for the data"),
        (("sign", "-k", "-"), "only one thing can be read from standard input"),
        (VERIFY, "required: -s"),
        ((*VERIFY, "-s", "sig", "-n", "file"), "this signature is no sshsig"),
        ((*VERIFY, "-s", "sshsig"), "tell with -n which it has to be"),
        ((*VERIFY, "-s", "sshsig", "-n", "file", "--hash", "sha512"), "tells its hash by itself"),
        (("verify", "-k", "p256.pub", "-s", "-"), "only one thing can be read"),
    ],
)
def test_wrong_usage_is_told_from_a_bad_signature(
    home: Home, command: tuple[str, ...], message: str
):
    sign(home, "p256")
    home.run("tpmwire", "sign", "-k", "p256.tpm", "-f", "text", "-o", "sshsig", "-n", "file")
    code, out, err = outcome(home, "tpmwire", *command)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("command", [("sign", "-k", "none.tpm"), ("sign", "-k", "p256.pub")])
def test_what_is_no_key_file_does_not_sign(home: Home, command: tuple[str, ...]):
    done = home.attempt("tpmwire", *command, "-f", "text")
    assert (done.returncode, done.stdout) == (1, "")
    assert command[-1] in done.stderr


def test_a_file_that_is_not_there_is_said_before_anybody_is_asked(home: Home):
    said = home.refuses("tpmwire", "sign", "-k", "pin.tpm", "-f", "none", **home.askpass("1234"))
    assert said == "tpmwire: none: No such file or directory\n"


@pytest.mark.parametrize("output", ["data", "link", "p256.tpm", "./data"])
def test_a_signature_does_not_overwrite_what_it_is_made_of(home: Home, output: str):
    data, key = home.write("data", TEXT), home.path / "p256.tpm"
    (home.path / "link").unlink(missing_ok=True)
    (home.path / "link").symlink_to("data")
    before = key.read_bytes()
    done = home.attempt("tpmwire", "sign", "-k", "p256.tpm", "-f", "data", "-o", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the signature would overwrite" in done.stderr
    assert (data.read_text(), key.read_bytes()) == (TEXT, before)


def test_a_signature_goes_where_an_older_one_is(home: Home):
    home.write("text.sig", "old")
    sign(home, "p256", "-o", "text.sig")
    good(home, *verifying("p256.pub", "text", "-s", "text.sig"))


def test_a_full_disk_is_told_by_the_name_of_the_file(home: Home):
    said = home.refuses("tpmwire", "sign", "-k", "p256.tpm", "-f", "text", "-o", "/dev/full")
    assert said == "tpmwire: /dev/full: No space left on device\n"
