"""Keys that may move, by the command line: made, sent, rewrapped, taken in, and held back."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded, start_swtpm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from keygen_fixtures import PIN, keyfile, new_home, openssl_signs, persistent
from ssh_fixtures import Home, agent, need

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.commands import HierarchyChangeAuth
from tpmwire.constants import TPM_RC, TPM_RH
from tpmwire.errors import TpmError
from tpmwire.exfiltration import exfiltrate, expect
from tpmwire.keyfile import IMPORTABLE, LOADABLE, KeyFile
from tpmwire.movable import BY_ANYONE
from tpmwire.names import object_name
from tpmwire.parentfile import read_parent, write_parent
from tpmwire.templates import ECC_SIGN, ECC_SRK, RSA_SRK
from tpmwire.transport import connect

KINDS = {
    "p256": (),
    "p384": ("-b", "384"),
    "p521": ("-b", "521"),
    "rsa": ("-t", "rsa"),
}
SRK = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
KEYGEN, TPMWIRE = "tpmwire-keygen", "tpmwire"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Swtpm]]:
    """Three TPMs that know nothing of each other."""
    need("swtpm", "ssh-keygen")
    started = [start_swtpm(tmp_path_factory.mktemp("swtpm")) for _ in range(3)]
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def homes(machines: list[Swtpm], tmp_path: Path) -> Iterator[list[Home]]:
    """A home on each machine, with the parent of each in the files 0.parent, 1.parent, 2.parent."""
    made = []
    for number, machine in enumerate(machines):
        (tmp_path / str(number)).mkdir()
        made.append(new_home(tmp_path / str(number), machine.conf))
        made[-1].run(KEYGEN, "-q", "--export-parent", tmp_path / f"{number}.parent")
    yield made
    assert [left_loaded(each) for each in machines] == [()] * 3


def parent_name(number: int, home: Home) -> bytes:
    return object_name(read_parent((home.path.parent / f"{number}.parent").read_bytes()))


def made(home: Home, *options: str, pin: str = "") -> KeyFile:
    home.run(KEYGEN, "-q", "-f", "key", "-N", pin, "-C", "ada", *options)
    return keyfile(home)


def sends(home: Home, to: int, *options: str) -> tuple[Path, Path]:
    """Wrap the key for another machine's parent; the file, and that of the key of its wrapper."""
    out = home.path.parent / "sent.tpm"
    home.run(TPMWIRE, "duplicate", "key.tpm", "--to", f"../{to}.parent", "-o", out, *options)
    return out, Path(f"{out}.transit")


def takes_in(home: Home, sent: Path, *options: str | Path) -> KeyFile:
    home.run(TPMWIRE, "import", sent, "-q", "-f", "key", "-C", "ada", *options)
    return keyfile(home)


def signs(home: Home, public: bytes, pin: str = "") -> bool:
    """Whether an agent with the key signs so that ssh-keygen verifies by this public key."""
    (home.path / "signer.pub").write_bytes(public)
    home.write("text", "to be signed")
    home.write("allowed", "ada " + public.decode())
    (home.path / "text.sig").unlink(missing_ok=True)
    sign = ("ssh-keygen", "-Y", "sign", "-n", "file", "-f", "signer.pub", "text")
    with agent(home, "key.tpm", **home.askpass(pin)) as daemon:
        if home.attempt(*sign, **daemon.env).returncode:
            return False
    verify = ("ssh-keygen", "-Y", "verify", "-n", "file", "-I", "ada", "-f", "allowed")
    home.run(*verify, "-s", "text.sig", given="to be signed")
    return True


# --- made --------------------------------------------------------------------------------------


def test_a_key_is_fixed_if_nothing_else_is_said(homes: list[Home]):
    public = made(homes[0]).public
    fixed = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent
    assert public.objectAttributes & fixed == fixed
    assert public.authPolicy == b""


def test_the_file_tells_the_backup_parents_before_its_pem_and_nowhere_else(homes: list[Home]):
    file = made(homes[0], "--backup-to", "../1.parent,../2.parent,../1.parent")
    names = (parent_name(1, homes[0]), parent_name(2, homes[0]))
    assert file.backups == names
    assert (file.has_policy, file.others) == (False, ())
    text = (homes[0].path / "key.tpm").read_text()
    assert text.count("Backup-Parent: ") == 2
    told = homes[0].run(TPMWIRE, "inspect", "key.tpm")
    assert all(f"to the parent {name.hex()} and no other" in told for name in names)


def test_a_file_that_tells_other_backup_parents_is_not_believed(homes: list[Home]):
    file = made(homes[0], "--backup-to", "../1.parent")
    lie = file.replace(backups=(parent_name(2, homes[0]),))
    homes[0].write("lie.tpm", lie.to_pem())
    assert parent_name(2, homes[0]).hex() not in homes[0].run(
        TPMWIRE, "inspect", "lie.tpm"
    ).replace(lie.parent_name.hex(), "")
    said = homes[0].refuses(
        *(TPMWIRE, "duplicate", "lie.tpm", "--to", "../2.parent", "-o", "out.tpm")
    )
    assert "the file does not tell which" in said


@pytest.mark.parametrize("pin", ["", PIN], ids=["no pin", "pin"])
def test_openssl_signs_with_a_key_that_may_move(homes: list[Home], pin: str):
    made(homes[0], "--backup-to", "../1.parent,../2.parent", pin=pin)
    assert openssl_signs(homes[0], pin)


def test_tpm2_tools_load_a_key_that_may_move_and_sign_with_it(homes: list[Home]):
    need("tpm2_load", "tpm2_sign")
    home = homes[0]
    made(home, "--backup-to", "../1.parent")
    home.write("text", "to be signed")
    home.run("tpm2_load", "-Q", "-r", "key.tpm", "-c", "key.ctx")
    home.run("tpm2_flushcontext", "-t")
    home.run("tpm2_sign", "-Q", "-c", "key.ctx", "-g", "sha256", "-f", "plain", "-o", "sig", "text")
    home.run("tpm2_flushcontext", "-t")
    home.write("public", home.run("ssh-keygen", "-e", "-m", "PKCS8", "-f", "key.pub"))
    home.run("openssl", "dgst", "-sha256", "-verify", "public", "-signature", "sig", "text")


def test_another_pin_leaves_where_it_may_move(homes: list[Home]):
    before = made(homes[0], "--backup-to", "../1.parent", pin=PIN)
    homes[0].run(KEYGEN, "-q", "-p", "-f", "key", "-P", PIN, "-N", "another")
    after = keyfile(homes[0])
    assert after.backups == before.backups
    sent, inner = sends(homes[0], 1)
    takes_in(homes[1], sent, "--transit-key", inner)
    public = (homes[0].path / "key.pub").read_bytes()
    assert signs(homes[1], public, "another")


def test_who_lets_a_key_go_is_warned(homes: list[Home]):
    done = homes[0].attempt(KEYGEN, "-f", "a", "-N", "", "--movable", "owner")
    assert done.returncode == 0
    assert "whoever knows the password of the owner hierarchy can take this key out" in done.stderr
    done = homes[0].attempt(KEYGEN, "-f", "b", "-N", "", "--movable", "anyone-i-understand")
    assert "no\nsafer than a key in a file" in done.stderr
    assert homes[0].attempt(KEYGEN, "-f", "c", "-N", "", "--movable", "anyone").returncode == 2
    both = ("--backup-to", "../1.parent", "--pcrs", "sha256:7")
    assert homes[0].attempt(KEYGEN, "-f", "d", "-N", "", *both).returncode == 2


def test_a_backup_parent_that_may_move_itself_is_refused(homes: list[Home]):
    parent = read_parent((homes[0].path.parent / "1.parent").read_bytes())
    loose = parent.objectAttributes & ~(TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent)
    octets = write_parent(parent.replace(objectAttributes=loose))
    (homes[0].path / "loose").write_bytes(octets)
    said = homes[0].refuses(KEYGEN, "-f", "key", "-N", "", "--backup-to", "loose")
    assert "may leave its TPM" in said


# --- moved -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["", PIN], ids=["no pin", "pin"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_spare_key_signs_in_both_tpms_as_the_same_identity(
    homes: list[Home], kind: str, pin: str
):
    here, there, _ = homes
    made(here, "--backup-to", "../1.parent", *KINDS[kind], pin=pin)
    sent, inner = sends(here, 1)
    assert KeyFile.from_pem(sent.read_bytes()).kind == IMPORTABLE
    assert (sent.stat().st_mode & 0o777, inner.stat().st_mode & 0o777) == (0o600, 0o600)
    assert takes_in(there, sent, "--transit-key", inner).kind == LOADABLE
    public = (here.path / "key.pub").read_bytes()
    assert (there.path / "key.pub").read_bytes() == public
    assert signs(here, public, pin)
    assert signs(there, public, pin)


def test_a_key_goes_over_a_machine_that_never_has_it(homes: list[Home]):
    first, between, last = homes
    made(first, "--movable", "owner", pin=PIN)
    sent, inner = sends(first, 1)
    again = first.path.parent / "again.tpm"
    between.run(TPMWIRE, "rewrap", sent, "--to", "../2.parent", "-o", again)
    said = last.refuses(TPMWIRE, "import", sent, "-f", "key", "--transit-key", inner)
    assert "the right parent is not in this TPM" in said
    said = last.refuses(TPMWIRE, "rewrap", sent, "--to", "../0.parent", "-o", "x.tpm")
    assert "its parent is another key" in said
    takes_in(last, again, "--transit-key", inner)
    assert signs(last, (first.path / "key.pub").read_bytes(), PIN)


def test_without_an_inner_wrapper_other_tools_can_take_it_in(homes: list[Home]):
    need("tpm2_import", "tpm2_load")
    here, there, _ = homes
    made(here, "--backup-to", "../1.parent")
    sent, inner = sends(here, 1, "--no-inner-wrapper")
    assert not inner.exists()
    file = KeyFile.from_pem(sent.read_bytes())
    assert "Inner-Wrapper" not in sent.read_text()
    takes_in(there, sent)
    assert signs(there, (here.path / "key.pub").read_bytes())
    der = file.public.pack()
    (there.path / "pub").write_bytes(len(der).to_bytes(2, "big") + der)
    (there.path / "dup").write_bytes(len(file.private).to_bytes(2, "big") + file.private)
    (there.path / "seed").write_bytes(len(file.secret).to_bytes(2, "big") + file.secret)
    there.run("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "srk.ctx", "-a", SRK)
    there.run("tpm2_flushcontext", "-t")
    there.run("tpm2_import", "-Q", "-C", "srk.ctx", "-u", "pub", "-i", "dup", "-s", "seed",
              "-r", "priv")  # fmt: skip
    there.run("tpm2_flushcontext", "-t")
    there.run("tpm2_load", "-Q", "-C", "srk.ctx", "-u", "pub", "-r", "priv", "-c", "key.ctx")
    there.run("tpm2_flushcontext", "-t")


def test_no_private_octet_is_in_what_is_sent_or_said_or_recorded(homes: list[Home]):
    here = homes[0]
    made(here, "--movable", "anyone-i-understand", pin=PIN)
    here.attempt(TPMWIRE, "exfiltrate", "key.tpm", "--out", "out.pem")
    key = load_pem_private_key((here.path / "out.pem").read_bytes(), None)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    (here.path / "out.pem").unlink()
    record = (TPMWIRE, "record", "--out", "r.pcapng", "--")
    to = ("--to", "../1.parent", "-o", "sent.tpm")
    said = here.attempt(*record, TPMWIRE, "duplicate", "key.tpm", *to)
    assert said.returncode == 0, said.stderr
    record = (TPMWIRE, "record", "--out", "x.pcapng", "--")
    leak = here.attempt(*record, TPMWIRE, "exfiltrate", "key.tpm")
    assert leak.returncode == 3, leak.stderr
    printed = (said.stdout + said.stderr + leak.stdout + leak.stderr).encode()
    written = [path.read_bytes() for path in here.path.iterdir() if path.is_file()]
    inner = bytes.fromhex((here.path / "sent.tpm.transit").read_text())
    for octets in (printed, *written):
        assert scalar not in octets
        assert scalar.hex().encode() not in octets.lower()
        assert PIN.encode() not in octets.replace(b"askpass", b"")
    assert inner not in (here.path / "r.pcapng").read_bytes()


# --- refused -----------------------------------------------------------------------------------


def test_a_key_goes_to_no_other_parent(homes: list[Home]):
    made(homes[0], "--backup-to", "../1.parent")
    said = homes[0].refuses(
        *(TPMWIRE, "duplicate", "key.tpm", "--to", "../2.parent", "-o", "x.tpm")
    )
    assert f"to no other parent than {parent_name(1, homes[0]).hex()}" in said


def test_a_fixed_key_goes_nowhere(homes: list[Home]):
    made(homes[0])
    said = homes[0].refuses(
        *(TPMWIRE, "duplicate", "key.tpm", "--to", "../1.parent", "-o", "x.tpm")
    )
    assert "fixed to its TPM and its parent for ever" in said


def test_a_key_that_has_moved_moves_no_further(homes: list[Home]):
    made(homes[0], "--backup-to", "../1.parent")
    sent, inner = sends(homes[0], 1)
    takes_in(homes[1], sent, "--transit-key", inner)
    said = homes[1].refuses(
        *(TPMWIRE, "duplicate", "key.tpm", "--to", "../2.parent", "-o", "x.tpm")
    )
    assert "to no other parent than" in said
    done = homes[1].attempt(TPMWIRE, "exfiltrate", "key.tpm")
    assert done.returncode == 0
    assert "TPM_RC_POLICY_FAIL" in done.stdout


def damaged(path: Path, file: KeyFile) -> Path:
    private = file.private[:-1] + bytes([file.private[-1] ^ 1])
    path.write_text(file.replace(private=private).to_pem())
    return path


def test_what_is_damaged_or_for_another_tpm_or_without_its_key_is_not_taken_in(homes: list[Home]):
    here, there, elsewhere = homes
    made(here, "--backup-to", "../1.parent")
    sent, inner = sends(here, 1)
    file = KeyFile.from_pem(sent.read_bytes())
    take = (TPMWIRE, "import", "-f", "key")
    bad = damaged(here.path.parent / "bad.tpm", file)
    said = there.refuses(*take, bad, "--transit-key", inner)
    assert "TPM_RC_INTEGRITY" in said
    said = elsewhere.refuses(*take, sent, "--transit-key", inner)
    assert "the right parent is not in this TPM" in said
    nameless = here.path.parent / "nameless.tpm"
    nameless.write_text(file.replace(parent_name=b"").to_pem())
    said = elsewhere.refuses(*take, nameless, "--transit-key", inner)
    assert "TPM_RC_INTEGRITY" in said
    wrong = here.path.parent / "wrong"
    wrong.write_text("00" * 16 + "\n")
    said = there.refuses(*take, sent, "--transit-key", wrong)
    assert re.search("TPM_RC_(INTEGRITY|SIZE)", said)
    wrong.write_text("00\n")
    assert "has 16 octets, not 1" in there.refuses(*take, sent, "--transit-key", wrong)
    assert "has come another way" in there.refuses(KEYGEN, "-i", sent, "-f", "key")
    assert not (there.path / "key.tpm").exists()
    takes_in(there, sent, "--transit-key", inner)


@pytest.fixture
def owned(machines: list[Swtpm]) -> Iterator[str]:
    """The first machine has a persistent parent, and an owner with a password."""
    with ExitStack() as stack:
        stack.enter_context(persistent(machines[0], RSA_SRK))
        change_owner(machines[0], b"", b"sesame")
        stack.callback(change_owner, machines[0], b"sesame", b"")
        yield "sesame"


def change_owner(machine: Swtpm, old: bytes, new: bytes) -> None:
    with Tpm(connect(machine.conf)) as tpm:
        owner = Entity.permanent(TPM_RH.OWNER, old)
        tpm.execute_protected(HierarchyChangeAuth(authHandle=owner, newAuth=new))


def test_a_key_of_the_owner_goes_with_the_owner_s_password_only(homes: list[Home], owned: str):
    here, there, _ = homes
    made(here, "--movable", "owner")
    duplicate = (TPMWIRE, "duplicate", "key.tpm", "--to", "../1.parent", "-o", "../sent.tpm")
    here.write("wrong", "open\n")
    here.write("right", f"{owned}\n")
    said = here.refuses(*duplicate, "--owner-auth", "wrong")
    assert "TPM_RC_BAD_AUTH" in said
    assert owned not in said
    done = here.attempt(TPMWIRE, "exfiltrate", "key.tpm")
    assert (done.returncode, "TPM_RC_BAD_AUTH" in done.stdout) == (0, True)
    here.run(*duplicate, "--owner-auth", "right")
    sent = here.path.parent / "sent.tpm"
    takes_in(there, sent, "--transit-key", f"{sent}.transit")
    assert signs(there, (here.path / "key.pub").read_bytes())
    done = here.attempt(TPMWIRE, "exfiltrate", "key.tpm", "--owner-auth", "right")
    assert done.returncode == 3


# --- tried in clear ----------------------------------------------------------------------------

TRIES = {
    "fixed": ((), TPM_RC.POLICY_FAIL),
    "backup": (("--backup-to", "../1.parent"), TPM_RC.POLICY_FAIL),
    "backups": (("--backup-to", "../1.parent,../2.parent"), TPM_RC.POLICY_FAIL),
    "owner": (("--movable", "owner"), None),
    "anyone": (("--movable", "anyone-i-understand"), None),
}


@pytest.mark.parametrize("case", TRIES)
def test_the_exit_code_tells_whether_a_key_came_out_and_the_text_which_rule_refused(
    homes: list[Home], case: str
):
    options, code = TRIES[case]
    file = made(homes[0], *options, pin=PIN)
    assert expect(file).code == code
    done = homes[0].attempt(TPMWIRE, "exfiltrate", "key.tpm", "--out", "out.pem")
    if code is None:
        assert done.returncode == 3
        assert "with its PIN" in done.stdout
        home, out = homes[0], homes[0].path / "out.pem"
        assert out.stat().st_mode & 0o777 == 0o600
        public = home.run("ssh-keygen", "-e", "-m", "PKCS8", "-f", "key.pub")
        assert home.run("openssl", "pkey", "-in", "out.pem", "-pubout") == public
    else:
        assert done.returncode == 0, done.stderr
        assert f"TPM_RC_{code.name} (session 1) from Duplicate" in done.stdout
        assert f"the rule: {expect(file).rule}" in done.stdout
        assert not (homes[0].path / "out.pem").exists()


def test_a_fixed_key_that_a_policy_would_let_go_is_refused_by_its_attributes(
    homes: list[Home], machines: list[Swtpm]
):
    template = ECC_SIGN.replace(authPolicy=BY_ANYONE.digest(ECC_SIGN.nameAlg))
    loose = template.objectAttributes & ~(TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent)
    wary = template.replace(objectAttributes=loose | TPMA_OBJECT.encryptedDuplication)
    with Tpm(connect(machines[0].conf)) as tpm:
        for each, code in ((template, TPM_RC.ATTRIBUTES), (wary, TPM_RC.SYMMETRIC)):
            with tpm.create_primary(ECC_SRK) as srk:
                new = srk.create(each)
            file = KeyFile(public=new.outPublic, private=new.outPrivate, empty_auth=True)
            outcome = exfiltrate(tpm, file)
            assert isinstance(outcome.refusal, TpmError)
            assert (outcome.refusal.code, expect(file).code) == (code, code)
            assert outcome.meets(expect(file))
