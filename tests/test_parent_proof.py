"""tpmwire parent: what is proven of a parent in another TPM, and by what it is not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm, left_loaded, start_swtpm
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from keygen_fixtures import new_home
from ssh_fixtures import Home, need

from tpmwire.attributes import TPMA_NV, TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import NV_DefineSpace, NV_UndefineSpace, NV_Write
from tpmwire.constants import TPM_ALG, TPM_RH
from tpmwire.crypto import ecc_key
from tpmwire.names import object_name
from tpmwire.parentfile import read_parent, write_parent
from tpmwire.proof import EK_TEMPLATES
from tpmwire.transport import connect
from tpmwire.types import TPMS_NV_PUBLIC

PARENT = ("tpmwire", "parent")
UNPROVEN = 3


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Swtpm]]:
    """Two TPMs."""
    need("swtpm")
    started = [start_swtpm(tmp_path_factory.mktemp("swtpm")) for _ in range(2)]
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def homes(machines: list[Swtpm], tmp_path: Path) -> Iterator[list[Home]]:
    """The homes of somebody on each machine, who share a directory above."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    yield [new_home(tmp_path / str(n), machine.conf) for n, machine in enumerate(machines)]
    assert [left_loaded(each) for each in machines] == [()] * 2


def challenged(here: Home, there: Home, *options: str) -> None:
    """Export the parent there, and challenge it here, without a TPM."""
    there.run(*PARENT, "export", "../parent", *options)
    paths = ("-o", "../challenge", "--expect", "wanted")
    here.run(*PARENT, "challenge", "../parent", *paths, TPMWIRE_TCTI="device:/dev/none")


def verified(here: Home, *options: str) -> tuple[int, str]:
    done = here.attempt(*PARENT, "verify", "../parent", *options, TPMWIRE_TCTI="device:/dev/none")
    return done.returncode, done.stdout + done.stderr


def endorsement_name(machine: Swtpm, kind: str) -> str:
    with (
        Tpm(connect(machine.conf)) as tpm,
        tpm.create_primary(EK_TEMPLATES[kind], TPM_RH.ENDORSEMENT) as ek,
    ):
        return ek.name.hex()


@pytest.mark.parametrize("kind", EK_TEMPLATES)
def test_a_parent_is_proven_by_the_answer_and_an_endorsement_key_that_is_known(
    homes: list[Home], machines: list[Swtpm], kind: str
):
    here, there = homes
    challenged(here, there, "--ek", kind)
    code, said = verified(here)
    assert (code, said.count("NOT proven")) == (UNPROVEN, 2)
    there.run(*PARENT, "answer", "../challenge", "-o", "../answer")
    answer = ("--expect", "wanted", "--answer", "../answer")
    code, said = verified(here, *answer)
    assert (code, said.count("NOT proven")) == (UNPROVEN, 1)
    name = endorsement_name(machines[1], kind)
    code, said = verified(here, *answer, "--endorsement", name)
    assert (code, said.count("NOT proven")) == (0, 0)
    code, said = verified(here, *answer, "--endorsement", endorsement_name(machines[0], kind))
    assert (code, "endorsement_key" in said) == (1, True)


def test_no_other_tpm_answers_a_challenge(homes: list[Home]):
    here, there = homes
    challenged(here, there)
    said = here.refuses(*PARENT, "answer", "../challenge", "-o", "../answer")
    assert "from ActivateCredential" in said
    assert not (here.path.parent / "answer").exists()


def test_no_other_parent_of_the_same_tpm_answers(homes: list[Home]):
    here, there = homes
    challenged(here, there)
    other = ("--parent", "endorsement")
    said = there.refuses(*PARENT, "answer", "../challenge", "-o", "../answer", *other)
    assert "TPM_RC_INTEGRITY" in said


def test_a_wrong_answer_and_one_of_another_challenge_are_refused(homes: list[Home]):
    here, there = homes
    challenged(here, there)
    there.run(*PARENT, "answer", "../challenge", "-o", "../answer")
    here.write("other", "00" * 32 + "\n")
    code, said = verified(here, "--expect", "wanted", "--answer", "other")
    assert (code, "answer" in said) == (1, True)
    again = ("-o", "../challenge2", "--expect", "wanted2")
    here.run(*PARENT, "challenge", "../parent", *again)
    assert verified(here, "--expect", "wanted2", "--answer", "../answer")[0] == 1


# --- certificates ------------------------------------------------------------------------------


def certificate(
    name: str, key: Any, issuer: str, by: Any, *, ca: bool, days: int = 30
) -> x509.Certificate:
    """A certificate of a public key, issued by the holder of another."""
    now = datetime.now(UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
    builder = x509.CertificateBuilder(*reversed(names), public_key=key, serial_number=7)
    builder = builder.not_valid_before(now - timedelta(days=60))
    builder = builder.not_valid_after(now + timedelta(days=days))
    basic = x509.BasicConstraints(ca=ca, path_length=None)
    return builder.add_extension(basic, critical=True).sign(by, hashes.SHA256())


def pem(*made: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in made)


ROOT, MIDDLE, STRANGER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT_CERTIFICATE = certificate("root", ROOT.public_key(), "root", ROOT, ca=True)
MIDDLE_CERTIFICATE = certificate("middle", MIDDLE.public_key(), "root", ROOT, ca=True)


@contextmanager
def with_certificate(machine: Swtpm, der: bytes) -> Iterator[None]:
    """Have the TPM hold a certificate, with octets after it as some manufacturers leave them."""
    content = der + b"\xff" * 20
    attributes = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA
    area = TPMS_NV_PUBLIC(
        nvIndex=0x01C0000A, nameAlg=TPM_ALG.SHA256, attributes=attributes, dataSize=len(content)
    )
    with Tpm(connect(machine.conf)) as tpm:
        tpm.execute(NV_DefineSpace(authHandle=TPM_RH.OWNER, auth=b"", publicInfo=area))
        for start in range(0, len(content), 256):
            piece = content[start : start + 256]
            tpm.execute(
                NV_Write(authHandle=0x01C0000A, nvIndex=0x01C0000A, data=piece, offset=start)
            )
    try:
        yield
    finally:
        with Tpm(connect(machine.conf)) as tpm:
            tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=0x01C0000A))


def ek_key(machine: Swtpm) -> Any:
    with (
        Tpm(connect(machine.conf)) as tpm,
        tpm.create_primary(EK_TEMPLATES["ecc"], TPM_RH.ENDORSEMENT) as ek,
    ):
        return ecc_key(ek.public)


def test_a_certificate_of_the_endorsement_key_is_followed_to_a_root(
    homes: list[Home], machines: list[Swtpm]
):
    here, there = homes
    issued = certificate("ek", ek_key(machines[1]), "middle", MIDDLE, ca=False)
    with with_certificate(machines[1], issued.public_bytes(Encoding.DER)):
        challenged(here, there)
    there.run(*PARENT, "answer", "../challenge", "-o", "../answer")
    options = ("--expect", "wanted", "--answer", "../answer", "--roots", "roots")
    here.write("roots", pem(MIDDLE_CERTIFICATE, ROOT_CERTIFICATE))
    code, said = verified(here, *options)
    assert (code, "a certificate under CN=root" in said) == (0, True)
    assert verified(here, "--roots", "roots")[0] == UNPROVEN
    stranger = certificate("root", STRANGER.public_key(), "root", STRANGER, ca=True)
    for trusted in (
        pem(ROOT_CERTIFICATE),
        pem(MIDDLE_CERTIFICATE),
        pem(MIDDLE_CERTIFICATE, stranger),
    ):
        here.write("roots", trusted)
        code, said = verified(here, *options)
        assert (code, "leads to no root" in said) == (1, True)


@pytest.mark.parametrize("case", ["another key", "expired", "issuer is no CA"])
def test_a_certificate_that_vouches_for_nothing_is_refused(
    homes: list[Home], machines: list[Swtpm], case: str
):
    here, there = homes
    key = STRANGER.public_key() if case == "another key" else ek_key(machines[1])
    days = -1 if case == "expired" else 30
    issued = certificate("ek", key, "middle", MIDDLE, ca=False, days=days)
    ca = case != "issuer is no CA"
    middle = certificate("middle", MIDDLE.public_key(), "root", ROOT, ca=ca)
    with with_certificate(machines[1], issued.public_bytes(Encoding.DER)):
        there.run(*PARENT, "export", "../parent")
    here.write("roots", pem(middle, ROOT_CERTIFICATE))
    code, said = verified(here, "--roots", "roots")
    told = {"another key": "of another endorsement key", "expired": "not valid now"}
    assert (code, told.get(case, "leads to no root") in said) == (1, True)


def changed(here: Home, **fields: str) -> None:
    path = here.path.parent / "parent"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_parent_that_is_not_certified_or_not_fixed_is_refused(homes: list[Home]):
    here, there = homes
    there.run(*PARENT, "export", "../parent")
    told = json.loads((here.path.parent / "parent").read_text())
    public = read_parent(bytes.fromhex(told["parent"]))
    other = public.replace(objectAttributes=public.objectAttributes & ~TPMA_OBJECT.noDA)
    changed(here, parent=write_parent(other).hex())
    code, said = verified(here)
    assert (code, "of another object" in said) == (1, True)
    loose = public.objectAttributes & ~(TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent)
    changed(here, parent=write_parent(public.replace(objectAttributes=loose)).hex())
    code, said = verified(here)
    assert (code, "lacks fixedTPM" in said) == (1, True)
    flipped = told["attestation"][:-2] + f"{int(told['attestation'][-2:], 16) ^ 1:02x}"
    changed(here, parent=told["parent"], attestation=flipped)
    assert verified(here)[0] == 1
    here.write("text", "[]")
    assert "no JSON object" in here.refuses(*PARENT, "verify", "text")


def test_what_was_exported_is_a_parent_to_back_up_to(homes: list[Home]):
    here, there = homes
    there.run(*PARENT, "export", "../parent")
    here.run("tpmwire-keygen", "-q", "-f", "key", "-N", "", "--backup-to", "../parent")
    told = json.loads((here.path.parent / "parent").read_text())
    name = object_name(read_parent(bytes.fromhex(told["parent"])))
    assert f"Backup-Parent: {name.hex()}" in (here.path / "key.tpm").read_text()


def test_tpm2_tools_make_the_same_endorsement_key_and_open_our_credential(homes: list[Home]):
    need("tpm2_createek", "tpm2_activatecredential", "tpm2_startauthsession", "tpm2_policysecret")
    here, there = homes
    challenged(here, there, "--ek", "rsa")
    flush = ("tpm2_flushcontext", "-t")
    there.run("tpm2_createek", "-Q", "-G", "rsa", "-c", "ek.ctx", "-u", "ek.pub")
    there.run(*flush)
    told = json.loads((here.path.parent / "parent").read_text())
    assert (there.path / "ek.pub").read_bytes().hex() == told["endorsement_key"]
    sent = json.loads((here.path.parent / "challenge").read_text())
    credential, secret = (bytes.fromhex(sent[name]) for name in ("credential", "secret"))
    blob = b"".join(len(part).to_bytes(2, "big") + part for part in (credential, secret))
    (there.path / "blob").write_bytes(bytes.fromhex("badcc0de00000001") + blob)
    there.run("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "srk.ctx", "-a", SRK)
    there.run(*flush)
    there.run("tpm2_startauthsession", "-Q", "--policy-session", "-S", "session")
    there.run("tpm2_policysecret", "-Q", "-S", "session", "-c", "e")
    there.run("tpm2_activatecredential", "-Q", "-c", "srk.ctx", "-C", "ek.ctx", "-i", "blob",
              "-o", "answer", "-P", "session:session")  # fmt: skip
    there.run("tpm2_flushcontext", "session")
    there.run(*flush)
    wanted = (here.path / "wanted").read_text().split()[-1]
    assert (there.path / "answer").read_bytes().hex() == wanted


SRK = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
