"""Key files and structures that go from us to other people's programs, and from them to us."""

import base64
import contextlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm, forgive, left_loaded
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key
from ssh_fixtures import Home, agent, need

from tpmwire.client import Tpm
from tpmwire.keyfile import KeyFile
from tpmwire.transport import connect
from tpmwire.types import TPMS_ECC_POINT, TPMS_RSA_PARMS

TEXT = "To be, or not to be"
KINDS = {
    "p256": ("-t", "ecdsa"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "rsa": ("-t", "rsa"),
    "pin": ("-t", "ecdsa"),
}
every_kind = pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one key of each kind, and one with the PIN 1234, made by tpmwire-keygen."""
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    for kind, options in KINDS.items():
        home.run("tpmwire-keygen", *options, "-f", kind, "-N", "1234" if kind == "pin" else "")
    return home


@pytest.fixture
def home(swtpm: Swtpm, made: Home, tmp_path: Path) -> Iterator[Home]:
    """A home with the keys.  tpm2-tools leave objects loaded where no resource manager helps."""
    for file in made.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    home = Home(tmp_path, swtpm.conf)
    home.write("text", TEXT)
    yield home
    left_loaded(swtpm)


def verify(key: Any, signature: bytes, text: str) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, text.encode(), padding.PKCS1v15(), SHA256())
    else:
        key.verify(signature, text.encode(), ec.ECDSA(SHA256()))


def verifies(home: Home, kind: str, signature: str) -> bool:
    """Verify a file with a signature, and that another text would be refused."""
    key = load_ssh_public_key((home.path / f"{kind}.pub").read_bytes())
    octets = (home.path / signature).read_bytes()
    verify(key, octets, TEXT)
    with pytest.raises(InvalidSignature):
        verify(key, octets, TEXT.lower())
    return True


def signs_in_our_agent(home: Home, keyfile: str, public: Any, **env: str) -> None:
    """Check that the agent lists the key by what others know it, and signs with it."""
    with agent(home, keyfile, **env) as running:
        line = home.run("ssh-add", "-L", **running.env)
        assert load_ssh_public_key(line.encode()).public_numbers() == public.public_numbers()
        home.write("agent.pub", line)
        home.run("ssh-keygen", "-Y", "sign", "-n", "file", "-f", "agent.pub", "text", **running.env)
    home.write("allowed", f"me@example.com {line}")
    command = ("ssh-keygen", "-Y", "verify", "-n", "file", "-I", "me@example.com", "-f", "allowed")
    home.run(*command, "-s", "text.sig", given=TEXT)
    home.refuses(*command, "-s", "text.sig", given=TEXT.lower())


# --- OpenSSL ----------------------------------------------------------------------------------

PROVIDER = ("-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2")


@pytest.fixture
def openssl(home: Home) -> Home:
    need("openssl")
    _, _, modules = home.run("openssl", "version", "-m").partition(": ")
    if not (Path(modules.strip().strip('"')) / "tpm2.so").exists():
        pytest.skip("OpenSSL's provider tpm2 is not installed")
    return home


def signing(kind: str, *options: str) -> tuple[str, ...]:
    command = ("openssl", "dgst", *PROVIDER, "-sha256", "-sign", f"{kind}.tpm", "-out", "s")
    return (*command, *options, "text")


@every_kind
def test_row_12_openssl_signs_with_our_key(openssl: Home, kind: str):
    openssl.run(*signing(kind))
    assert verifies(openssl, kind, "s")


def test_openssl_signs_with_our_key_by_its_pin_and_by_no_other(swtpm: Swtpm, openssl: Home):
    openssl.refuses(*signing("pin", "-passin", "pass:4321"))
    openssl.run(*signing("pin", "-passin", "pass:1234"))
    assert verifies(openssl, "pin", "s")
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


@every_kind
def test_openssl_reads_the_public_key_that_we_wrote(openssl: Home, kind: str):
    pem = openssl.run("openssl", "pkey", *PROVIDER, "-in", f"{kind}.tpm", "-pubout")
    ours = load_ssh_public_key((openssl.path / f"{kind}.pub").read_bytes())
    assert load_pem_public_key(pem.encode()).public_numbers() == ours.public_numbers()


@pytest.mark.parametrize(
    "options",
    [("EC", "-pkeyopt", "group:P-256"), ("EC", "-pkeyopt", "group:P-384"), ("RSA",)],
    ids=["p256", "p384", "rsa"],
)
def test_a_key_made_by_openssl_signs_in_our_agent(openssl: Home, options: tuple[str, ...]):
    openssl.run("openssl", "genpkey", *PROVIDER, "-algorithm", *options, "-out", "other.tpm")
    pem = openssl.run("openssl", "pkey", *PROVIDER, "-in", "other.tpm", "-pubout")
    signs_in_our_agent(openssl, "other.tpm", load_pem_public_key(pem.encode()))


def test_a_key_made_by_openssl_with_a_pin_signs_in_our_agent(openssl: Home):
    made = ("openssl", "genpkey", *PROVIDER, "-algorithm", "EC", "-out", "other.tpm")
    openssl.run(*made, "-pkeyopt", "group:P-256", "-pkeyopt", "user-auth:1234")
    read = ("openssl", "pkey", *PROVIDER, "-in", "other.tpm", "-passin", "pass:1234")
    key = load_pem_public_key(openssl.run(*read, "-pubout").encode())
    signs_in_our_agent(openssl, "other.tpm", key, **openssl.askpass("1234"))


# --- tpm2-tools -------------------------------------------------------------------------------


@pytest.fixture
def tools(home: Home) -> Home:
    need("tpm2_create")
    return home


def primary(home: Home, algorithm: str = "ecc") -> str:
    """Derive the well-known primary key as tpm2-tools do it, and return the file of its context."""
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    home.run("tpm2_createprimary", "-C", "o", "-G", algorithm, "-a", attributes, "-c", "primary")
    home.run("tpm2_flushcontext", "-t")
    return "primary"


def made_by_tools(home: Home, parent: str, *options: str) -> Any:
    """Let tpm2_create make other.public and other.private; return the key for `cryptography`."""
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
    files = ("-u", "other.public", "-r", "other.private", "-f", "pem", "-o", "other.pem")
    home.run("tpm2_create", "-C", parent, "-a", attributes, *files, *options)
    home.run("tpm2_flushcontext", "-t")
    return load_pem_public_key((home.path / "other.pem").read_bytes())


@every_kind
def test_row_12_tpm2_load_takes_our_key_file_and_tpm2_sign_signs(tools: Home, kind: str):
    tools.run("tpm2_load", "-r", f"{kind}.tpm", "-c", "loaded")
    tools.run("tpm2_flushcontext", "-t")
    scheme = "rsassa" if kind == "rsa" else "ecdsa"
    command = ("tpm2_sign", "-c", "loaded", "-g", "sha256", "-s", scheme)
    tools.run(*command, "-f", "plain", "-o", "s", "text")
    assert verifies(tools, kind, "s")


@every_kind
def test_tpm2_load_takes_the_structures_that_we_pack(tools: Home, kind: str):
    keyfile = KeyFile.from_pem((tools.path / f"{kind}.tpm").read_bytes())
    public, private = keyfile.public.pack(), keyfile.private
    for name, octets in (("public", public), ("private", private)):
        (tools.path / name).write_bytes(len(octets).to_bytes(2, "big") + octets)
    parent = primary(tools)
    tools.run("tpm2_load", "-C", parent, "-u", "public", "-r", "private", "-c", "c", "-n", "name")


def printed(text: str) -> dict[str, str]:
    """Read the lines `name: value` of which tpm2_print makes its output."""
    return dict(re.findall(r"^(\S+): (\S+)$", text, re.M))


@every_kind
@pytest.mark.parametrize("kind_of_file", ["TSSPRIVKEY_OBJ", "TPM2B_PUBLIC", "TPMT_PUBLIC"])
def test_tpm2_print_says_of_our_key_what_we_say(tools: Home, kind: str, kind_of_file: str):
    keyfile = KeyFile.from_pem((tools.path / f"{kind}.tpm").read_bytes())
    octets = keyfile.public.pack()
    (tools.path / "TPMT_PUBLIC").write_bytes(octets)
    (tools.path / "TPM2B_PUBLIC").write_bytes(len(octets).to_bytes(2, "big") + octets)
    file = f"{kind}.tpm" if kind_of_file == "TSSPRIVKEY_OBJ" else kind_of_file
    said = tools.run("tpm2_print", "-t", kind_of_file, file)
    assert f"raw: {int(keyfile.public.objectAttributes):#x}" in said
    unique = keyfile.public.unique
    if isinstance(unique, TPMS_ECC_POINT):
        assert printed(said)["x"] == unique.x.hex()
        assert printed(said)["y"] == unique.y.hex()
    else:
        assert isinstance(keyfile.public.parameters, TPMS_RSA_PARMS)
        assert printed(said)["rsa"] == unique.hex()
        assert printed(said)["bits"] == "2048"


@pytest.mark.parametrize("algorithm", ["ecc256", "ecc384", "rsa2048"])
def test_a_key_made_by_tpm2_create_and_tpm2_encodeobject_signs_in_our_agent(
    tools: Home, algorithm: str
):
    """Some versions of tpm2_encodeobject say that there is a PIN where there is none."""
    need("tpm2_encodeobject")
    key = made_by_tools(tools, primary(tools), "-G", algorithm)
    files = ("-u", "other.public", "-r", "other.private", "-o", "other.tpm")
    tools.run("tpm2_encodeobject", "-C", "primary", *files)
    tools.run("tpm2_flushcontext", "-t")
    signs_in_our_agent(tools, "other.tpm", key, **tools.askpass(""))


def encoded_by_openssl(home: Home, parent: str, *, empty_auth: bool) -> str:
    """Write the key file with OpenSSL's ASN.1 compiler, by the grammar of the draft."""
    need("openssl")
    public, private = ((home.path / f"other.{name}").read_bytes() for name in ("public", "private"))
    grammar = f"""\
        asn1 = SEQUENCE:key
        [key]
        type = OID:2.23.133.10.1.3
        empty = EXPLICIT:0,BOOLEAN:{str(empty_auth).upper()}
        parent = INTEGER:{parent}
        pubkey = FORMAT:HEX,OCTETSTRING:{public.hex()}
        privkey = FORMAT:HEX,OCTETSTRING:{private.hex()}
    """
    home.write("grammar", textwrap.dedent(grammar))
    home.run("openssl", "asn1parse", "-genconf", "grammar", "-noout", "-out", "der")
    body = base64.encodebytes((home.path / "der").read_bytes()).decode()
    label = "TSS2 PRIVATE KEY"
    home.write("other.tpm", f"-----BEGIN {label}-----\n{body}-----END {label}-----\n")
    return "other.tpm"


def test_a_key_file_written_by_the_grammar_of_the_draft_signs_in_our_agent(tools: Home):
    key = made_by_tools(tools, primary(tools), "-G", "ecc256")
    file = encoded_by_openssl(tools, "0x40000001", empty_auth=True)
    signs_in_our_agent(tools, file, key)


def test_a_key_made_by_tpm2_create_with_a_pin_signs_in_our_agent(tools: Home):
    key = made_by_tools(tools, primary(tools), "-G", "ecc256", "-p", "1234")
    file = encoded_by_openssl(tools, "0x40000001", empty_auth=False)
    signs_in_our_agent(tools, file, key, **tools.askpass("1234"))


@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_a_key_under_a_persistent_parent_signs_in_our_agent(tools: Home, algorithm: str):
    with persistent(tools, "0x81000123", algorithm) as parent:
        key = made_by_tools(tools, parent, "-G", "ecc256")
        file = encoded_by_openssl(tools, parent, empty_auth=True)
        signs_in_our_agent(tools, file, key)


@contextlib.contextmanager
def persistent(home: Home, handle: str, algorithm: str) -> Iterator[str]:
    home.run("tpm2_evictcontrol", "-C", "o", "-c", primary(home, algorithm), handle)
    home.run("tpm2_flushcontext", "-t")
    try:
        yield handle
    finally:
        home.run("tpm2_evictcontrol", "-C", "o", "-c", handle)


def test_a_key_of_ours_under_a_persistent_parent_is_loaded_by_tpm2_load(tools: Home):
    with persistent(tools, "0x81000001", "ecc") as parent:
        tools.run("tpmwire-keygen", "-f", "srk", "-N", "")
        assert KeyFile.from_pem((tools.path / "srk.tpm").read_bytes()).parent == int(parent, 16)
        tools.run("tpm2_load", "-r", "srk.tpm", "-c", "loaded")
        tools.run("tpm2_flushcontext", "-t")
        tools.run("tpm2_sign", "-c", "loaded", "-g", "sha256", "-f", "plain", "-o", "s", "text")
        tools.run("tpm2_flushcontext", "-t")
    assert verifies(tools, "srk", "s")
