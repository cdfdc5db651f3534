"""Credentials made and opened outside a TPM, with a TPM or tpm2-tools at the other end."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import attempt, needs_tools, tool
from softkeys import HASHES, STORAGE, cipher, key_of, parent_of
from test_duplication import ALL_HASHES, CIPHERS, LIVE, flipped, live_template

from tpmwire import templates
from tpmwire.client import Tpm
from tpmwire.commands import ActivateCredential, MakeCredential
from tpmwire.constants import TPM_ALG, TPM_RC
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import Credential, make_credential, open_credential
from tpmwire.errors import DecodeError, EncodeError, TpmError
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.softkeys import public_of
from tpmwire.transport import connect
from tpmwire.types import TPMT_PUBLIC

secrets = st.binary(max_size=20)
names = st.sampled_from(
    [object_name(public_of(key_of("P-256")).replace(nameAlg=a)) for a in HASHES]
)
AK = templates.ECC_SIGN
NAME = object_name(public_of(key_of("P-256")))


def activate(tpm: Tpm, ak: LoadedObject, ek: LoadedObject, made: Credential) -> bytes:
    command = ActivateCredential(
        activateHandle=ak,
        keyHandle=ek,
        credentialBlob=made.id_object,
        secret=made.encrypted_secret,
    )
    return tpm.execute(command).certInfo


@st.composite
def keys(draw: st.DrawFn) -> tuple[PrivateKey, TPMT_PUBLIC]:
    """A storage key of any kind, cipher and name algorithm, whose private part is known."""
    kind = draw(st.sampled_from(["P-256", "P-521", "RSA-2048"]))
    hash_algs = HASHES if kind == "RSA-2048" else ALL_HASHES
    symmetric, hash_alg = draw(st.sampled_from(CIPHERS)), draw(st.sampled_from(hash_algs))
    return key_of(kind, 1), parent_of(key_of(kind, 1), symmetric, hash_alg)


@given(keys(), names, secrets)
def test_a_credential_is_opened_by_the_key_that_it_is_for(
    key: tuple[PrivateKey, TPMT_PUBLIC], name: bytes, secret: bytes
):
    private, public = key
    made = make_credential(public, name, secret)
    assert open_credential(made, public, name, private) == secret


@pytest.mark.parametrize("key", LIVE)
def test_a_tpm_opens_our_credentials(key: str, swtpm: Swtpm):
    template = live_template(key)
    with (
        Tpm(connect(swtpm.conf)) as tpm,
        tpm.create_primary(AK) as ak,
        tpm.create_primary(template) as ek,
    ):

        @settings(max_examples=10)
        @given(secrets)
        def opens(secret: bytes) -> None:
            made = make_credential(ek.public, ak.name, secret)
            assert activate(tpm, ak, ek, made) == secret

        opens()
    assert left_loaded(swtpm) == ()


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048"])
@pytest.mark.parametrize("bits", [128, 256])
def test_what_a_tpm_makes_for_a_key_of_ours_we_open(kind: str, bits: int, tpm: Tpm):
    private = key_of(kind, 1)
    public = parent_of(private, cipher(bits=bits), TPM_ALG.SHA384)
    with tpm.load_external(public) as key:
        command = MakeCredential(handle=key, credential=b"a secret", objectName=NAME)
        made = tpm.execute(command)
    credential = Credential(made.credentialBlob, made.secret)
    assert open_credential(credential, public, NAME, private) == b"a secret"


# --- tpm2-tools --------------------------------------------------------------------------------

MAGIC = bytes.fromhex("badcc0de 00000001")


def written(made: Credential) -> bytes:
    """A credential as tpm2-tools keep it: their magic number, then two TPM2Bs."""
    parts = (made.id_object, made.encrypted_secret)
    return MAGIC + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def read(octets: bytes) -> Credential:
    assert octets[:8] == MAGIC
    size = int.from_bytes(octets[8:10], "big")
    other = int.from_bytes(octets[10 + size : 12 + size], "big")
    assert len(octets) == 12 + size + other
    return Credential(octets[10 : 10 + size], octets[12 + size :])


@needs_tools
@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_tpm2_tools_activate_our_credentials_and_we_activate_theirs(
    kind: str, swtpm: Swtpm, tmp_path: Path
):
    ek, ak, blob, opened = (tmp_path / name for name in ("ek", "ak", "blob", "opened"))
    srk = templates.ECC_SRK if kind == "ecc" else templates.RSA_SRK
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    tool(swtpm, "createprimary", "-Q", "-G", kind, "-a", attributes, "-c", ek)
    tool(swtpm, "create", "-Q", "-C", ek, "-G", "ecc", "-u", f"{ak}.pub", "-r", f"{ak}.priv")
    tool(swtpm, "load", "-Q", "-C", ek, "-u", f"{ak}.pub", "-r", f"{ak}.priv", "-c", ak)
    public = TPMT_PUBLIC.unpack(Path(f"{ak}.pub").read_bytes()[2:])
    private = Path(f"{ak}.priv").read_bytes()[2:]

    tool(swtpm, "readpublic", "-Q", "-c", ek, "-o", f"{ek}.pub", "-f", "tss")
    parent = TPMT_PUBLIC.unpack(Path(f"{ek}.pub").read_bytes()[2:])
    blob.write_bytes(written(make_credential(parent, object_name(public), b"from us")))
    tool(swtpm, "activatecredential", "-c", ak, "-C", ek, "-i", blob, "-o", opened)
    assert opened.read_bytes() == b"from us"

    (tmp_path / "secret").write_bytes(b"from them")
    name = object_name(public).hex()
    options = ("-u", f"{ek}.pub", "-s", tmp_path / "secret", "-n", name, "-o", blob)
    tool(swtpm, "makecredential", "-T", "none", *options)
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(srk) as key:
        assert key.public == parent
        with key.load(private, public) as loaded:
            assert activate(tpm, loaded, key, read(blob.read_bytes())) == b"from them"


@needs_tools
def test_tpm2_tools_refuse_our_credential_for_another_object(swtpm: Swtpm, tmp_path: Path):
    ek, blob, opened = (tmp_path / name for name in ("ek", "blob", "opened"))
    tool(swtpm, "createprimary", "-Q", "-G", "ecc", "-c", ek)
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(templates.ECC_SRK) as srk:
        blob.write_bytes(written(make_credential(srk.public, NAME, b"from us")))
    done = attempt(swtpm, "activatecredential", "-c", ek, "-C", ek, "-i", blob, "-o", opened)
    attempt(swtpm, "flushcontext", "-t")
    assert done.returncode
    assert "integrity check failed" in done.stderr
    assert not opened.exists()


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["P-256", "RSA-2048"])
def test_a_change_of_any_octet_is_refused(kind: str):
    private, public = key_of(kind, 1), parent_of(key_of(kind, 1), cipher())
    made = make_credential(public, NAME, b"a secret")
    changed = [replace(made, id_object=other) for other in flipped(made.id_object)]
    changed += [replace(made, encrypted_secret=other) for other in flipped(made.encrypted_secret)]
    changed += [Credential(b"", made.encrypted_secret), Credential(made.id_object, b"")]
    for other in changed:
        with pytest.raises(DecodeError):
            open_credential(other, public, NAME, private)


def test_a_tpm_refuses_a_changed_credential_too(tpm: Tpm):
    with tpm.create_primary(AK) as ak, tpm.create_primary(templates.ECC_SRK) as ek:
        made = make_credential(ek.public, ak.name, b"a secret")
        for octets in flipped(made.id_object)[2:]:
            with pytest.raises(TpmError) as caught:
                activate(tpm, ak, ek, replace(made, id_object=octets))
            assert caught.value.code == TPM_RC.INTEGRITY


def test_a_credential_is_for_one_key_and_one_name_only():
    private, public = key_of("P-256", 1), parent_of(key_of("P-256", 1), cipher())
    made = make_credential(public, NAME, b"a secret")
    stranger = key_of("P-256", 2)
    for name, key, by in (
        (NAME[:-1] + bytes([NAME[-1] ^ 1]), public, private),
        (b"", public, private),
        (NAME, public, stranger),
        (NAME, parent_of(stranger, cipher()), stranger),
    ):
        with pytest.raises(DecodeError, match="not made for this key and this Name"):
            open_credential(made, key, name, by)


def test_a_credential_is_no_longer_than_a_digest_of_the_key(tpm: Tpm):
    with tpm.create_primary(AK) as ak, tpm.create_primary(templates.ECC_SRK) as ek:
        made = make_credential(ek.public, ak.name, b"s" * 32)
        assert activate(tpm, ak, ek, made) == b"s" * 32
        with pytest.raises(EncodeError, match="longer than a digest") as caught:
            make_credential(ek.public, ak.name, b"s" * 33)
        assert "sss" not in str(caught.value)


def test_a_key_that_is_not_a_storage_key_gets_no_credential():
    for public in (
        public_of(key_of("P-256")),
        public_of(key_of("P-256"), STORAGE),
        TPMT_PUBLIC.unpack(
            bytes.fromhex("0008 000b 00030000 0000 0010 0020" + "11" * 32)
        ),  # a keyed hash that is restricted and decrypts: a parent of derived objects
    ):
        with pytest.raises(DecodeError):
            make_credential(public, NAME, b"a secret")


def test_credentials_for_the_same_secret_have_nothing_in_common():
    public = parent_of(key_of("RSA-2048", 1), cipher())
    made = [make_credential(public, NAME, b"a secret") for _ in range(4)]
    assert len({each.encrypted_secret for each in made}) == 4
    assert len({each.id_object for each in made}) == 4
