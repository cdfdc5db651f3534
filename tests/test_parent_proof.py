"""tpmwire parent: what is proven of a parent in another TPM, and by what it is not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded, start_swtpm
from keygen_fixtures import new_home
from ssh_fixtures import Home, need

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_RH
from tpmwire.names import object_name
from tpmwire.parentfile import read_parent, write_parent
from tpmwire.proof import EK_TEMPLATES
from tpmwire.transport import connect

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
