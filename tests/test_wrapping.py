"""Keys wrapped for the TPM of another machine: ours and those of tpm2-tools, both ways."""

import base64
import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, forgive, left_loaded, start_swtpm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from softkeys import KINDS, cipher, key_of, parent_of
from ssh_fixtures import Home, need
from test_duplication import DIGEST, check_signature, scheme_of
from test_importing import KEYGEN, PIN, fingerprint, keyfile, made, signs

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_RH
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import unwrap, wrap
from tpmwire.errors import KeyFileError
from tpmwire.importable import make_importable, make_loadable
from tpmwire.keyfile import IMPORTABLE, LOADABLE, KeyFile
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject, is_storage
from tpmwire.parentfile import read_parent, write_parent
from tpmwire.parents import load, open_parent
from tpmwire.softkeys import private_key_of, public_of, sensitive_of
from tpmwire.transport import connect
from tpmwire.types import TPMT_PUBLIC
from tpmwire.wrapped import Wrapped

SRK = "0x81000001"
ATTRIBUTES = "userwithauth|restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|noda"


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    """A home on the machine whose TPM gets the keys."""
    need("ssh-keygen", "tpm2_import")
    yield Home(tmp_path, swtpm.conf)
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)
    assert left_loaded(swtpm) == ()


@pytest.fixture
def away(home: Home) -> Home:
    """The same directory on a machine without a TPM."""
    return Home(home.path, f"swtpm:path={home.path}/nowhere")


@pytest.fixture(params=["ecc", "rsa"])
def parent(request: pytest.FixtureRequest, home: Home) -> Iterator[str]:
    """A persistent storage key of either type; its handle."""
    home.run("tpm2_createprimary", "-Q", "-G", request.param, "-a", ATTRIBUTES, "-c", "srk")
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "srk", SRK)
    home.run("tpm2_flushcontext", "-t")
    yield SRK
    home.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", SRK)


def name_of(home: Home, handle: str) -> str:
    printed = home.run("tpm2_readpublic", "-c", handle)
    return next(line[6:] for line in printed.splitlines() if line.startswith("name: "))


# --- from machine to machine -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [("-t", "ecdsa", "-b", "521"), ("-t", "rsa")], ids=["ecc", "rsa"])
def test_a_key_is_wrapped_on_one_machine_and_signs_on_the_other(
    home: Home, away: Home, parent: str, kind: tuple[str, ...]
):
    told = home.run(KEYGEN, "--export-parent", "srk.pub")
    assert told.splitlines()[-1] == name_of(home, parent)
    made(away, *kind)
    wrapped = away.run(KEYGEN, "-i", "id", "--wrap-for", "srk.pub", "-f", "sent", "-N", PIN)
    assert name_of(home, parent) in wrapped
    assert fingerprint(home, "sent.pub") == fingerprint(home, "id.pub")
    file = keyfile(home, "sent.tpm")
    assert (file.kind, file.empty_auth) == (IMPORTABLE, False)
    home.run(KEYGEN, "-q", "-i", "sent.tpm", "-f", "here", "--parent", parent)
    assert keyfile(home, "here.tpm").kind == LOADABLE
    assert (home.path / "here.pub").read_text() == (home.path / "sent.pub").read_text()
    assert signs(home, "here.tpm")
    assert not signs(home, "here.tpm", pin="4321")


def test_without_a_persistent_key_it_is_wrapped_for_the_owner_s(home: Home, away: Home):
    home.run(KEYGEN, "--export-parent", "srk.pub")
    made(away)
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-f", "sent", "-N", "")
    assert keyfile(home, "sent.tpm").parent == TPM_RH.OWNER
    home.run(KEYGEN, "-q", "-i", "sent.tpm", "-f", "here")
    assert signs(home, "here.tpm")


def test_the_file_may_take_the_place_of_the_wrapped_one(home: Home, away: Home):
    home.run(KEYGEN, "--export-parent", "srk.pub")
    made(away)
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-N", "")
    home.run(KEYGEN, "-q", "-i", "id.tpm", given="y\n")
    assert keyfile(home).kind == LOADABLE
    assert signs(home, "id.tpm")


def test_another_tpm_does_not_take_it_in_and_says_why(home: Home, away: Home, tmp_path: Path):
    home.run(KEYGEN, "--export-parent", "srk.pub")
    made(away)
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-f", "sent", "-N", "")
    directory = tmp_path / "swtpm"
    directory.mkdir()
    other = start_swtpm(directory)
    try:
        elsewhere = Home(tmp_path, other.conf)
        said = elsewhere.refuses(KEYGEN, "-i", "sent.tpm", "-f", "here")
        assert "sent.tpm: its parent is another key than when it was made" in said
        pem = (tmp_path / "sent.tpm").read_text()
        home.write("sent.tpm", pem[pem.index("-----BEGIN") :])  # without the Name of the parent
        said = elsewhere.refuses(KEYGEN, "-i", "sent.tpm", "-f", "here")
        assert "sent.tpm: it was not wrapped for this parent" in said
        assert not (tmp_path / "here.tpm").exists()
        assert left_loaded(other) == ()
    finally:
        other.process.kill()
        other.process.wait()


def test_the_user_is_told_that_the_old_file_still_is_the_key(home: Home, away: Home):
    home.run(KEYGEN, "--export-parent", "srk.pub")
    made(away)
    done = away.attempt(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-N", "")
    assert "id still is the key" in done.stderr


def test_what_is_wrapped_already_is_not_wrapped_again(home: Home, away: Home):
    home.run(KEYGEN, "--export-parent", "srk.pub")
    made(away)
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-N", "")
    assert "wrapped already" in away.refuses(KEYGEN, "-i", "id.tpm", "--wrap-for", "srk.pub")


@pytest.mark.parametrize("given", [("-N", "4321"), ("-N", ""), ("--pin-file", "id")])
def test_a_pin_for_a_wrapped_key_is_refused_as_it_would_not_become_its_pin(
    home: Home, away: Home, given: tuple[str, str]
):
    home.run(KEYGEN, "-q", "--export-parent", "srk.pub")
    made(away)
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-f", "sent", "-N", PIN)
    done = home.attempt(KEYGEN, "-i", "sent.tpm", "-f", "got", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "sent.tpm keeps the PIN that it was wrapped with" in done.stderr
    assert not (home.path / "got.tpm").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00\x00", b"-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_parent_is_refused(away: Home, content: bytes):
    made(away)
    (away.path / "srk.pub").write_bytes(content)
    said = away.refuses(KEYGEN, "-i", "id", "--wrap-for", "srk.pub", "-N", "")
    assert said.startswith("tpmwire-keygen: srk.pub: ")
    assert not (away.path / "id.tpm").exists()


def test_a_key_that_is_no_parent_is_refused(home: Home):
    made(home)
    home.run(KEYGEN, "-q", "-N", "", "-f", "key")
    (home.path / "srk.pub").write_bytes(write_parent(keyfile(home, "key.tpm").public))
    said = home.refuses(KEYGEN, "-i", "id", "--wrap-for", "srk.pub", "-N", "")
    assert "srk.pub: it is not the public area of a storage key" in said


# --- the parent's public area, and other people's tools ----------------------------------------


def test_tpm2_tools_read_the_parent_that_we_write(home: Home, parent: str):
    home.run(KEYGEN, "-q", "--export-parent", "ours")
    home.run("tpm2_readpublic", "-Q", "-c", parent, "-o", "theirs")
    assert (home.path / "ours").read_bytes() == (home.path / "theirs").read_bytes()
    assert "value: fixedtpm|fixedparent" in home.run("tpm2_print", "-t", "TPM2B_PUBLIC", "ours")


@pytest.mark.parametrize("form", ["tss", "tpmt", "pem"])
def test_parents_that_tpm2_tools_write_are_read(
    home: Home, away: Home, parent: str, form: str, swtpm: Swtpm
):
    home.run("tpm2_readpublic", "-Q", "-c", parent, "-f", form, "-o", "srk.pub")
    assert object_name(read_parent((home.path / "srk.pub").read_bytes())).hex() == (
        name_of(home, parent)
    )
    made(away)
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-f", "sent", "-N", PIN)
    home.run(KEYGEN, "-q", "-i", "sent.tpm", "-f", "here", "--parent", parent)
    assert signs(home, "here.tpm")


def test_openssl_reads_the_parent_that_we_write_in_pem(home: Home, parent: str):
    home.run(KEYGEN, "-q", "--export-parent", "ours.pem")
    home.run("tpm2_readpublic", "-Q", "-c", parent, "-f", "pem", "-o", "theirs.pem")
    ours, theirs = (home.run("openssl", "pkey", "-pubin", "-noout", "-text", "-in", f"{who}.pem")
                    for who in ("ours", "theirs"))  # fmt: skip
    assert ours == theirs


def test_a_parent_of_another_template_is_not_written_in_pem(home: Home):
    home.run("tpm2_createprimary", "-Q", "-G", "ecc384:null:aes128cfb", "-a", ATTRIBUTES,
             "-c", "srk")  # fmt: skip
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "srk", SRK)
    home.run("tpm2_flushcontext", "-t")
    try:
        assert "not a well-known one" in home.refuses(KEYGEN, "--export-parent", "srk.pem")
        assert not (home.path / "srk.pem").exists()
        home.run(KEYGEN, "-q", "--export-parent", "srk.pub")
    finally:
        home.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", SRK)


def test_a_file_that_stands_there_stays_unless_one_says_yes(home: Home):
    home.write("srk.pub", "precious")
    assert "nothing was changed" in home.refuses(KEYGEN, "--export-parent", "srk.pub", given="n\n")
    assert (home.path / "srk.pub").read_text() == "precious"


def test_tpm2_tools_import_and_load_what_we_have_wrapped(home: Home, away: Home, parent: str):
    home.run(KEYGEN, "-q", "--export-parent", "srk.pub")
    made(away, "-t", "ecdsa", "-m", "PEM")
    away.run(KEYGEN, "-q", "-i", "id", "--wrap-for", "srk.pub", "-f", "sent", "-N", PIN)
    parts(home, keyfile(home, "sent.tpm"))
    home.run(
        "tpm2_import", "-Q", "-C", parent, "-u", "pub", "-i", "dup", "-s", "seed", "-r", "priv"
    )
    home.run("tpm2_load", "-Q", "-C", parent, "-u", "pub", "-r", "priv", "-c", "loaded")
    home.run("tpm2_flushcontext", "-t")
    home.write("text", "to be signed")
    home.run(*("tpm2_sign", "-Q", "-c", "loaded", "-p", PIN, "-g", "sha256", "-f", "plain"),
             *("-o", "sig", "text"))  # fmt: skip
    home.run("tpm2_flushcontext", "-t")
    home.run("openssl", "pkey", "-in", "id", "-pubout", "-out", "spki")
    home.run("openssl", "dgst", "-sha256", "-verify", "spki", "-signature", "sig", "text")


def parts(home: Home, file: KeyFile) -> None:
    """Write the parts of an importable key file as tpm2_import wants them."""
    for name, octets in (
        ("pub", file.public.pack()),
        ("dup", file.private),
        ("seed", file.secret),
    ):
        (home.path / name).write_bytes(len(octets).to_bytes(2, "big") + octets)


def test_what_tpm2_duplicate_has_made_is_imported(home: Home, parent: str):
    """A key that a TPM has made, duplicated by tpm2-tools, in a file by the draft's grammar."""
    home.run("tpm2_startauthsession", "-S", "session")
    home.run("tpm2_policycommandcode", "-Q", "-S", "session", "-L", "policy", "TPM2_CC_Duplicate")
    home.run("tpm2_flushcontext", "session")
    home.run("tpm2_createprimary", "-Q", "-C", "e", "-c", "old")
    home.run("tpm2_create", "-Q", "-C", "old", "-G", "ecc256", "-L", "policy",
             *("-a", "userwithauth|sign|sensitivedataorigin", "-r", "r", "-u", "pub"))  # fmt: skip
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_load", "-Q", "-C", "old", "-r", "r", "-u", "pub", "-c", "key")
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "spki")
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_readpublic", "-Q", "-c", parent, "-o", "srk.pub")
    home.run("tpm2_startauthsession", "--policy-session", "-S", "session")
    home.run("tpm2_policycommandcode", "-Q", "-S", "session", "TPM2_CC_Duplicate")
    home.run("tpm2_duplicate", "-Q", "-C", parent, "-c", "key", "-G", "null", "-p",
             *("session:session", "-r", "dup", "-s", "seed"))  # fmt: skip
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_flushcontext", "session")
    home.write("id.pub", home.run("ssh-keygen", "-i", "-m", "PKCS8", "-f", "spki"))
    encoded(home, parent)
    home.run(KEYGEN, "-q", "-i", "sent.tpm", "-f", "here")
    assert signs(home, "here.tpm")


def encoded(home: Home, parent: str) -> None:
    """Write an importable key file with OpenSSL's ASN.1 compiler."""
    public, seed, private = ((home.path / n).read_bytes().hex() for n in ("pub", "seed", "dup"))
    grammar = f"""\
        asn1 = SEQUENCE:key
        [key]
        type = OID:2.23.133.10.1.4
        empty = EXPLICIT:0,BOOLEAN:TRUE
        secret = EXPLICIT:2,FORMAT:HEX,OCTETSTRING:{seed}
        parent = INTEGER:{parent}
        pubkey = FORMAT:HEX,OCTETSTRING:{public}
        privkey = FORMAT:HEX,OCTETSTRING:{private}
    """
    home.write("grammar", textwrap.dedent(grammar))
    home.run("openssl", "asn1parse", "-genconf", "grammar", "-noout", "-out", "der")
    body = base64.encodebytes((home.path / "der").read_bytes()).decode()
    label = "TSS2 PRIVATE KEY"
    home.write("sent.tpm", f"-----BEGIN {label}-----\n{body}-----END {label}-----\n")


def test_what_is_wrapped_as_ssh_tpm_keygen_does_it_is_imported(home: Home, swtpm: Swtpm):
    """Its keys decrypt, too, wherever they come from, and its files have a description."""
    attributes = TPMA_OBJECT.sign | TPMA_OBJECT.decrypt | TPMA_OBJECT.userWithAuth
    key = key_of("P-256")
    public = public_of(key, attributes)
    with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, TPM_RH.OWNER) as opened:
        made = wrap(sensitive_of(key), public, opened.public)
    file = KeyFile(public, made.duplicate, kind=IMPORTABLE, description="ada", empty_auth=True)
    home.write("sent.tpm", file.with_secret(made.encrypted_secret).to_pem())
    home.run(KEYGEN, "-q", "-i", "sent.tpm", "-f", "id")
    openssh = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert (home.path / "id.pub").read_text() == f"{openssh} ada\n"
    assert keyfile(home).description == "ada"
    assert signs(home, "id.tpm")


# --- the library -------------------------------------------------------------------------------


PARENTS = {"ecc": templates.ECC_SRK, "rsa": templates.RSA_SRK}
SIGNERS = [kind for kind in KINDS if kind not in ("P-192", "P-224")]


@pytest.mark.parametrize("template", PARENTS.values(), ids=PARENTS.keys())
def test_any_key_with_any_pin_signs_in_the_tpm_once_it_is_imported(
    template: TPMT_PUBLIC, swtpm: Swtpm
):
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(template) as opened:

        @settings(max_examples=25)
        @given(st.sampled_from(SIGNERS), st.binary(max_size=32))
        def comes_in(kind: str, pin: bytes) -> None:
            key = key_of(kind)
            sent = make_importable(key, opened.public, pin=pin).to_pem()
            here = make_loadable(opened, KeyFile.from_pem(sent))
            read = KeyFile.from_pem(here.to_pem())
            assert (read.public, read.parent_name) == (here.public, opened.name)
            with load_file(tpm, opened, read, pin) as loaded:
                check_signature(key, loaded.sign(DIGEST, scheme_of(key)))

        comes_in()
    assert left_loaded(swtpm) == ()


def load_file(tpm: Tpm, opened: LoadedObject, file: KeyFile, pin: bytes) -> LoadedObject:
    return load(tpm, opened, file.private, file.public, auth=pin, parent_name=file.parent_name)


@settings(max_examples=25)
@given(st.sampled_from(SIGNERS), st.binary(max_size=32), st.sampled_from(["P-256", "RSA-2048"]))
def test_what_is_wrapped_for_a_key_is_the_key_for_whoever_has_that(
    kind: str, pin: bytes, above: str
):
    key, private = key_of(kind), key_of(above, 1)
    parent = parent_of(private, cipher())
    file = KeyFile.from_pem(make_importable(key, parent, pin=pin).to_pem())
    sensitive = unwrap(Wrapped(file.private, file.secret), file.public, parent, private)
    assert sensitive.authValue == pin
    assert sensitive.sensitive[:16] not in file.to_der()
    assert secrets(private_key_of(sensitive, file.public)) == secrets(key)


def secrets(key: PrivateKey) -> set[int]:
    """The numbers that make a private key; from the primes of an RSA key the others follow."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {key.private_numbers().private_value}
    return {key.private_numbers().p, key.private_numbers().q}


def test_what_is_not_importable_is_not_imported(swtpm: Swtpm):
    file = make_importable(key_of("P-256"), parent_of(key_of("P-256", 1), cipher()))
    with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, TPM_RH.OWNER) as opened:
        for other in (file.replace(kind=LOADABLE), file.with_secret(b"")):
            with pytest.raises(KeyFileError, match="nothing in it that could be imported"):
                make_loadable(opened, other)
        with pytest.raises(KeyFileError, match="not wrapped for this parent"):
            make_loadable(opened, file)


def test_a_secret_that_is_malformed_is_a_key_file_error():
    file = make_importable(key_of("P-256"), parent_of(key_of("P-256", 1), cipher()))
    assert file.secret
    for der in ("a2020500", "a20404020001", "a2030401ff"):
        with pytest.raises(KeyFileError, match="secret"):
            _ = file.replace(others=(bytes.fromhex(der),)).secret


@given(st.binary(max_size=200))
def test_any_octets_are_a_parent_or_a_key_file_error(octets: bytes):
    with contextlib.suppress(KeyFileError):
        assert is_storage(read_parent(octets))


@pytest.mark.parametrize("kind", ["P-384", "RSA-1024", "P-256"])
def test_a_parent_is_read_as_it_was_written(kind: str):
    public = parent_of(key_of(kind), cipher(bits=256), TPM_ALG.SHA384)
    assert read_parent(write_parent(public)) == public
    with pytest.raises(KeyFileError):
        read_parent(write_parent(public_of(key_of(kind))))
