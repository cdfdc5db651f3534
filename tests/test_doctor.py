"""tpmwire doctor: each thing that is made wrong is found, and nothing else."""

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm, forgive, left_loaded, start_swtpm
from ssh_fixtures import Home, agent, need
from test_roca import REAL

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import EvictControl, HierarchyChangeAuth, HierarchyControl
from tpmwire.commands.base import split_response_header
from tpmwire.constants import TPM_CC, TPM_PT, TPM_RH
from tpmwire.diagnosis.agent import Asking, check_asking
from tpmwire.diagnosis.chip import check_health, check_identity, check_lockout
from tpmwire.diagnosis.device import Device, Node, check_device
from tpmwire.diagnosis.finding import Finding, Severity
from tpmwire.diagnosis.keys import Entry, Found
from tpmwire.inventory import Inventory, PersistentObject, take_inventory
from tpmwire.keyfile import KeyFile
from tpmwire.scripts import surroundings
from tpmwire.scripts.main import main
from tpmwire.ssh.keys import public_blob, public_line
from tpmwire.templates import ECC_SRK, RSA_SIGN
from tpmwire.transport import connect
from tpmwire.types import TPMT_PUBLIC

SRK = 0x81000001


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a sound key, and one with a PIN."""
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    home.run("tpmwire-keygen", "-f", "plain", "-N", "")
    home.run("tpmwire-keygen", "-f", "pin", "-N", "1234")
    return home.path


@pytest.fixture
def home(
    swtpm: Swtpm, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """A home with these keys in .ssh, and nothing of the outer environment."""
    home = Home(tmp_path, swtpm.conf)
    (tmp_path / ".ssh").mkdir(0o700)
    for name in ("plain.tpm", "plain.pub", "pin.tpm", "pin.pub"):
        home.write(f".ssh/{name}", (made / name).read_text())
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    yield home
    assert left_loaded(swtpm) == ()


@pytest.fixture
def doctor(home: Home, capsys: pytest.CaptureFixture[str]) -> "Doctor":
    return Doctor(home, capsys)


class Doctor:
    """The subcommand, and what it has found."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def findings(self, *options: str) -> list[dict[str, str]]:
        code = main(["doctor", "--json", *options])
        told = json.loads(self._capsys.readouterr().out)
        bad = any(each["severity"] == "problem" for each in told["findings"])
        assert all(f["fix"] for f in told["findings"] if f["severity"] in ("warning", "problem"))
        assert (code, told["healthy"]) == (int(bad), not bad)
        found: list[dict[str, str]] = told["findings"]
        return found

    def problems(self, *options: str) -> list[str]:
        return [each["text"] for each in self.findings(*options) if each["severity"] == "problem"]

    def told(self, text: str, *options: str) -> dict[str, str]:
        """The only finding with these words in it."""
        (found,) = (each for each in self.findings(*options) if text in each["text"])
        return found


def path(home: Home, name: str) -> str:
    return f"{home.path}/.ssh/{name}"


# --- the TPM ----------------------------------------------------------------------------------


def test_where_all_is_well_there_is_no_problem(doctor: Doctor):
    assert doctor.problems() == []
    found = doctor.findings()
    assert {each["severity"] for each in found} <= {"fine", "note", "warning"}
    assert all(set(each) == {"severity", "subject", "text", "fix"} for each in found)


def test_the_text_has_the_same_findings(doctor: Doctor, capsys: pytest.CaptureFixture[str]):
    found = doctor.findings()
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    fixes = [line.strip() for line in lines if line.startswith(" ")]
    assert [head.split(maxsplit=1)[0].lower() for head in heads] == [f["severity"] for f in found]
    told = [f["text"].partition(" takes ")[0] for f in found]
    assert all(text in head for text, head in zip(told, heads, strict=True))
    assert fixes == [f"fix: {f['fix']}" for f in found if f["fix"]]


def test_what_is_fine_can_go_without_a_word(doctor: Doctor):
    assert "fine" in {each["severity"] for each in doctor.findings()}
    assert "fine" not in {each["severity"] for each in doctor.findings("-q")}


def test_nothing_is_signed_and_no_try_of_a_pin_is_spent(swtpm: Swtpm, doctor: Doctor):
    sent = len(swtpm.log.read_text())
    doctor.findings()
    commands = re.findall(r"SWTPM_IO_Read: length \d+\n ([0-9A-F ]+)", swtpm.log.read_text()[sent:])
    codes = {int(command.replace(" ", "")[12:20], 16) for command in commands}
    assert codes >= {TPM_CC.CreatePrimary, TPM_CC.Load, TPM_CC.FlushContext}
    assert not codes & {TPM_CC.Sign, TPM_CC.StartAuthSession}
    with Tpm(connect(swtpm.conf)) as tpm:
        assert take_inventory(tpm).lockout.failures == 0


def test_without_a_storage_key_it_is_told_what_that_costs(doctor: Doctor):
    found = doctor.told("no storage key at 0x81000001")
    assert found["text"].endswith(" ms here")
    assert "tpm2_evictcontrol" in found["fix"]
    assert doctor.told("no storage key", "--no-load")["text"].endswith("for each use")


@pytest.fixture
def persistent(swtpm: Swtpm) -> Iterator[None]:
    evict = EvictControl(auth=TPM_RH.OWNER, objectHandle=SRK, persistentHandle=SRK)
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        tpm.execute(evict.replace(objectHandle=srk))
    yield
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(evict)


def test_a_storage_key_is_found(persistent: None, doctor: Doctor):
    assert doctor.told("a storage key is at 0x81000001")["severity"] == "fine"


def test_the_password_of_the_owner_is_found_and_what_it_stops(swtpm: Swtpm, doctor: Doctor):
    change = HierarchyChangeAuth(authHandle=TPM_RH.OWNER, newAuth=b"secret")
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(change)
    try:
        assert doctor.told("the owner has a password")["severity"] == "warning"
        assert len(doctor.problems()) == 2
        assert all("it does not load: its parent: " in text for text in doctor.problems())
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            tpm.execute(change.replace(newAuth=b""), PasswordSession(b"secret"))


def test_a_hierarchy_that_is_disabled_is_found(swtpm: Swtpm, doctor: Doctor):
    control = HierarchyControl(authHandle=TPM_RH.PLATFORM, enable=TPM_RH.OWNER, state=False)
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(control)
    try:
        assert "the owner hierarchy is disabled, so no key of it works" in doctor.problems()
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            tpm.execute(control.replace(state=True))


def test_a_lockout_is_found_and_how_long_it_lasts(swtpm: Swtpm, doctor: Doctor):
    home = doctor.home
    home.write("text", "x")
    home.write("wrong", "4321")
    command = ("tpmwire", "sign", "-k", ".ssh/pin.tpm", "-f", "text", "--pin-file", "wrong")
    try:
        home.refuses(*command)
        found = doctor.told("wrong PINs were given: 2 of 3 tries left")
        assert found["severity"] == "note"
        home.refuses(*command)
        assert doctor.told("1 of 3 tries left")["severity"] == "warning"
        home.refuses(*command)
        home.refuses(*command)
        (problem,) = doctor.problems()
        assert problem.startswith("it is locked because of wrong PINs: one more try in at most ")
        assert "dictionarylockout" in doctor.told("it is locked")["fix"]
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            forgive(tpm)


def test_a_tpm_that_is_not_there_is_a_problem_and_the_rest_is_looked_at(doctor: Doctor):
    found = doctor.findings("--tpm", f"swtpm:path={doctor.home.path}/none")
    assert [each["subject"] for each in found if each["severity"] == "problem"] == ["TPM"]
    assert "agent" in {each["subject"] for each in found}


class FailedTpm:
    """A TPM in failure mode: it tells that, its properties, and nothing else.  [Part 1, 12.3]"""

    keeps_objects = False

    def send(self, command: bytes) -> bytes:
        if int.from_bytes(command[6:10], "big") == TPM_CC.GetTestResult:
            return bytes.fromhex("8001 00000010 00000000 0000 00000101")
        return bytes.fromhex("8001 0000000a 00000101")

    def close(self) -> None:
        pass


def test_failure_mode_is_found():
    split_response_header(FailedTpm().send(bytes(10)))
    (found,) = check_health(Tpm(FailedTpm()))
    assert found.severity is Severity.PROBLEM
    assert "failure mode: the self-test ended with TPM_RC_FAILURE" in found.text


class DeadTpm(FailedTpm):
    """One that does not even tell that."""

    def send(self, command: bytes) -> bytes:
        return bytes.fromhex("8001 0000000a 00000101")


def test_a_tpm_that_does_not_tell_of_its_test_is_a_problem():
    (found,) = check_health(Tpm(DeadTpm()))
    assert "TPM_RC_FAILURE" in found.text


def weak_public() -> TPMT_PUBLIC:
    return RSA_SIGN.replace(unique=REAL.to_bytes(256, "big"))


def inventory(**changes: Any) -> Inventory:
    empty: dict[str, Any] = dict.fromkeys(
        ("algorithms", "curves", "commands", "banks", "policies", "objects", "indices"), ()
    )
    return Inventory(**({"properties": {}} | empty | changes))


@pytest.mark.parametrize(("minor", "severity"), [(61, Severity.PROBLEM), (62, Severity.FINE)])
def test_firmware_that_makes_weak_keys_is_found(minor: int, severity: Severity):
    letters = int.from_bytes(b"IFX\0", "big")
    properties = {TPM_PT.MANUFACTURER: letters, TPM_PT.FIRMWARE_VERSION_1: 7 << 16 | minor}
    (found,) = check_identity(inventory(properties=properties))
    assert found.severity is severity
    assert f"Infineon firmware 7.{minor}" in found.text


def test_a_persistent_key_that_can_be_computed_is_found():
    weak = PersistentObject(SRK, weak_public(), b"")
    sound = PersistentObject(SRK + 1, ECC_SRK, b"")
    silent = PersistentObject(SRK + 2, None, b"")
    found = check_identity(inventory(objects=(weak, sound, silent)))
    assert [each.text for each in found if each.severity is Severity.PROBLEM] == [
        "the key at 0x81000001 can be computed (CVE-2017-15361)"
    ]


def test_a_tpm_that_forgives_nothing_is_found():
    found = list(check_lockout(inventory(properties={TPM_PT.MAX_AUTH_FAIL: 32})))
    assert "not locked, 32 wrong PINs lock it" in [each.text for each in found]
    assert "it forgives no wrong PIN by itself" in [each.text for each in found]


# --- keys -------------------------------------------------------------------------------------


def test_keys_that_load_are_told(doctor: Doctor):
    for name in ("plain.tpm", "pin.tpm"):
        assert doctor.told(f"{path(doctor.home, name)}: it loads")["severity"] == "fine"
    assert not [each for each in doctor.findings("--no-load") if "loads" in each["text"]]


def test_a_key_of_another_tpm_is_found_and_why_it_does_not_load(
    doctor: Doctor, tmp_path_factory: pytest.TempPathFactory
):
    other = start_swtpm(tmp_path_factory.mktemp("other"))
    try:
        home = doctor.home
        home.run("tpmwire-keygen", "-f", ".ssh/other", "-N", "", "--tpm", other.conf)
    finally:
        other.process.kill()
        other.process.wait()
    (problem,) = doctor.problems()
    assert problem.startswith(f"{path(home, 'other.tpm')}: it does not load: ")
    assert "it is another TPM, or was cleared since" in problem
    assert doctor.problems("--no-load") == []


def test_a_key_that_was_damaged_is_found_beside_a_sound_one(doctor: Doctor):
    sound = KeyFile.from_pem((doctor.home.path / ".ssh/plain.tpm").read_bytes())
    damaged = sound.replace(private=sound.private[:-1] + bytes([sound.private[-1] ^ 1]))
    doctor.home.write(".ssh/plain.tpm", damaged.to_pem())
    (problem,) = doctor.problems()
    assert "plain.tpm: it does not load: " in problem
    assert "the private part is damaged" in problem


CONTENTS: dict[str, Callable[[KeyFile], bytes]] = {
    "no TSS2 PRIVATE KEY in it": lambda key: b"hello",
    "is malformed": lambda key: key.to_pem().replace("MI", "MA").encode(),
    "cannot be loaded as it is": lambda key: key.replace(kind="2.23.133.10.1.5").to_pem().encode(),
    "SSH has no use for curve": lambda key: (
        key.replace(public=key.public.replace(parameters=key.public.parameters.replace(curveID=1)))
        .to_pem()
        .encode()
    ),
}


@pytest.mark.parametrize("complaint", CONTENTS)
def test_a_file_that_is_no_usable_key_is_found_and_why(doctor: Doctor, complaint: str):
    sound = KeyFile.from_pem((doctor.home.path / ".ssh/plain.tpm").read_bytes())
    (doctor.home.path / ".ssh/plain.tpm").write_bytes(CONTENTS[complaint](sound))
    problems = doctor.problems("--no-load")
    assert len(problems) == 1
    assert complaint in problems[0]


def test_what_is_no_file_is_found(doctor: Doctor):
    (doctor.home.path / ".ssh/odd.tpm").mkdir(mode=0o700)
    assert doctor.problems() == [f"{path(doctor.home, 'odd.tpm')}: not an ordinary file"]


@pytest.mark.parametrize(
    ("mode", "severity", "text"),
    [
        (0o644, "warning", "others can read it"),
        (0o640, "warning", "others can read it"),
        (0o620, "problem", "others can replace it"),
        (0o602, "problem", "others can replace it"),
    ],
)
def test_permissions_that_are_too_wide_are_found(
    doctor: Doctor, mode: int, severity: str, text: str
):
    (doctor.home.path / ".ssh/pin.tpm").chmod(mode)
    found = doctor.told(f"{path(doctor.home, 'pin.tpm')}: {text}")
    assert found["severity"] == severity
    assert found["fix"].startswith("chmod ")
    doctor.home.run("sh", "-c", found["fix"])
    assert doctor.problems() == []
    assert not [each for each in doctor.findings() if "others can" in each["text"]]


def test_a_directory_in_which_others_can_write_is_found(doctor: Doctor):
    (doctor.home.path / ".ssh").chmod(0o777)
    assert doctor.problems() == [f"{doctor.home.path}/.ssh: others can replace what is in it"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_somebody_else_is_found(doctor: Doctor):
    os.chown(doctor.home.path / ".ssh/pin.tpm", 12345, 12345)
    assert doctor.problems() == [f"{path(doctor.home, 'pin.tpm')}: it belongs to user 12345"]


def test_a_key_that_can_be_computed_is_found(doctor: Doctor):
    sound = KeyFile.from_pem((doctor.home.path / ".ssh/plain.tpm").read_bytes())
    doctor.home.write(".ssh/weak.tpm", sound.replace(public=weak_public()).to_pem())
    assert doctor.problems("--no-load") == [
        f"{path(doctor.home, 'weak.tpm')}: it can be computed from the public key (CVE-2017-15361)"
    ]


def test_a_public_key_of_another_key_beside_one_is_found(doctor: Doctor):
    blob = public_blob(weak_public())
    doctor.home.write(".ssh/pin.pub", public_line(blob, "another"))
    (problem,) = doctor.problems()
    assert problem.startswith(f"{path(doctor.home, 'pin')}.pub is not the public key of ")
    (doctor.home.path / ".ssh/pin.pub").unlink()
    assert doctor.problems() == []


def test_a_key_without_a_pin_that_wrong_pins_stop_is_found(doctor: Doctor):
    text = "plain.tpm: it has no PIN, and yet wrong PINs of other keys stop it"
    assert not [each for each in doctor.findings() if text in each["text"]]
    sound = KeyFile.from_pem((doctor.home.path / ".ssh/plain.tpm").read_bytes())
    attributes = sound.public.objectAttributes & ~TPMA_OBJECT.noDA
    stopped = sound.replace(public=sound.public.replace(objectAttributes=attributes))
    doctor.home.write(".ssh/plain.tpm", stopped.to_pem())
    (doctor.home.path / ".ssh/plain.pub").unlink()
    assert doctor.told(text, "--no-load")["severity"] == "warning"


def test_no_keys_and_no_directory_are_told(doctor: Doctor):
    empty = doctor.home.path / "empty"
    empty.mkdir()
    assert doctor.told("empty: no key files", "--key-dir", str(empty))["severity"] == "note"
    none = f"{empty}/none"
    assert doctor.told(f"{none}: no such directory", "--key-dir", none)["severity"] == "note"


# --- the device -------------------------------------------------------------------------------

MANAGED = Node("/dev/tpmrm0")
SOUND = Device(
    wanted="/dev/tpmrm0",
    node=MANAGED,
    chip=Node("/dev/tpm0"),
    version="2",
    groups=frozenset({"ada", "tss"}),
    listed=frozenset({"ada", "tss"}),
)
ADA = frozenset({"ada"})
DENIED = replace(MANAGED, usable=False)

DEVICES = {
    "sound": (SOUND, "fine", "you may use it, as a member of group tss", ""),
    "root": (replace(SOUND, groups=ADA), "fine", "/dev/tpmrm0: you may use it", ""),
    "none": (
        *(replace(SOUND, node=None, chip=None, version=""), "problem"),
        *("/dev/tpmrm0: no TPM there", "firmware set-up"),
    ),
    "old kernel": (
        *(replace(SOUND, node=None), "problem"),
        *("the kernel has no resource manager", "--tpm device:/dev/tpm0"),
    ),
    "version 1.2": (
        *(replace(SOUND, version="1"), "problem", "this machine's TPM is of version 1.2"),
        "updated to 2.0",
    ),
    "a file": (
        *(replace(SOUND, node=replace(MANAGED, is_device=False)), "problem", "is no device"),
        "--tpm",
    ),
    "not a member": (
        *(replace(SOUND, node=DENIED, groups=ADA, listed=ADA), "problem"),
        *("you are not in the group tss", "sudo usermod -aG tss $USER"),
    ),
    "not logged in again": (
        *(replace(SOUND, node=DENIED, groups=ADA), "problem"),
        *("you are in the group tss, but this session is not", "log out and in again"),
    ),
    "no udev rule": (
        *(replace(SOUND, node=replace(DENIED, mode=0o600, group="root")), "problem"),
        *("only root may use it", "tpm-udev"),
    ),
    "everybody": (
        *(replace(SOUND, node=replace(MANAGED, mode=0o666)), "warning"),
        *("everybody on this machine may use the TPM", "chmod o= /dev/tpmrm0"),
    ),
    "the chip itself": (
        *(replace(SOUND, node=Node("/dev/tpm0")), "note"),
        *("/dev/tpm0 serves one program at a time", "use /dev/tpmrm0"),
    ),
}


@pytest.mark.parametrize("name", DEVICES)
def test_what_the_device_is_like_is_told(name: str):
    device, severity, text, fix = DEVICES[name]
    found = [each for each in check_device(device) if text in each.text]
    assert [each.severity.value for each in found] == [severity]
    assert fix in found[0].fix
    others = [each for each in check_device(device) if each not in found]
    assert all(each.severity is Severity.FINE for each in others)


def test_the_nodes_of_this_machine_are_read_as_they_are(monkeypatch: pytest.MonkeyPatch):
    """/dev/null is a device that everybody may use; there is none of that other name."""
    found = surroundings.device("device:/dev/null")
    assert found is not None
    assert found.node is not None
    assert (found.node.is_device, found.node.usable, found.node.mode) == (True, True, 0o666)
    assert surroundings.device("device:/dev/null/none").node is None
    file = surroundings.device(f"device:{__file__}").node
    assert file is not None
    assert not file.is_device
    assert surroundings.device("swtpm:path=x") is None
    monkeypatch.delenv("TPMWIRE_TCTI", raising=False)
    assert surroundings.device(None).wanted == "/dev/tpmrm0"


def test_a_device_that_cannot_be_used_is_not_opened(doctor: Doctor):
    assert doctor.problems("--tpm", "device:/dev/none") == ["/dev/none: no TPM there"]


# --- the agent --------------------------------------------------------------------------------


def test_without_an_agent_a_warning_is_told(doctor: Doctor):
    found = doctor.told("SSH_AUTH_SOCK is not set")
    assert (found["severity"], found["fix"]) == ("warning", 'eval "$(tpmwire-agent)"')


def test_our_agent_is_known_and_which_keys_it_lacks(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
):
    with agent(doctor.home, ".ssh/plain.tpm") as running:
        monkeypatch.setenv("SSH_AUTH_SOCK", running.env["SSH_AUTH_SOCK"])
        found = doctor.told("SSH_AUTH_SOCK leads to tpmwire-agent")
        assert found["severity"] == "fine"
        assert f"process {running.pid}), which has 1 key" in found["text"]
        lacking = doctor.told("the agent does not have")
        assert lacking["text"] == f"the agent does not have {path(doctor.home, 'pin.tpm')}"


def test_the_agent_of_openssh_is_known(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    need("ssh-agent")
    place = doctor.home.path / "theirs"
    process = doctor.home.start("ssh-agent", "-D", "-a", str(place))
    try:
        while not place.exists():
            assert process.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        found = doctor.told("SSH_AUTH_SOCK leads to ssh-agent")
        assert found["severity"] == "note"
        assert found["text"].endswith("which has 0 keys")
    finally:
        process.kill()
        process.communicate()


def test_a_socket_without_an_agent_is_a_problem(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    place = doctor.home.path / "dead"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
    assert doctor.problems() == [f"SSH_AUTH_SOCK={place}: No such file or directory"]
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    assert doctor.problems() == [f"SSH_AUTH_SOCK={place}: Connection refused"]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "nobody answers within "),
        (b"", "what answers is no agent: it lists no keys"),
        (b"\0\0\0\1\5", "what answers is no agent: it lists no keys"),
        (b"\0\0\0\5\x0c\0\0\0\1", "what answers is no agent: "),
        (b"\xff\xff\xff\xff", "what answers is no agent: it lists no keys"),
    ],
)
def test_what_does_not_answer_as_an_agent_is_a_problem(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, complaint: str
):
    place = doctor.home.path / "odd"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
    monkeypatch.setattr(surroundings, "_PATIENCE", 0.3)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            connection.recv(5)
            if answer is None:
                connection.recv(5)
            else:
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        (problem,) = doctor.problems()
        thread.join()
    assert problem.startswith(f"SSH_AUTH_SOCK={place}: {complaint}")


def key_with(empty_auth: bool) -> Found:
    keyfile = KeyFile(public=RSA_SIGN, private=b"", empty_auth=empty_auth)
    return Found(Entry("a.tpm", 0o100600, "ada", True), keyfile)


READY = Asking("/usr/bin/ssh-askpass", runnable=True, display=True, require="")

ASKINGS = {
    "ready": (READY, "fine"),
    "forced": (replace(READY, display=False, require="force"), "fine"),
    "no display": (replace(READY, display=False), "warning"),
    "never": (replace(READY, require="never"), "warning"),
    "none": (replace(READY, program="", runnable=False), "warning"),
    "no program": (replace(READY, runnable=False), "problem"),
}


@pytest.mark.parametrize("name", ASKINGS)
def test_whether_anybody_can_be_asked_for_a_pin_is_told_where_a_key_has_one(name: str):
    asking, severity = ASKINGS[name]
    found: list[Finding] = list(check_asking(asking, [key_with(False)]))
    assert [each.severity.value for each in found] == [severity]
    assert list(check_asking(asking, [key_with(True)])) == []


def test_the_program_that_asks_is_looked_for(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    program = doctor.home.write("ask", "#!/bin/sh\n", 0o600)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    assert doctor.problems() == [f"SSH_ASKPASS={program}: no program that can be run"]
    program.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert doctor.told(f"{program} asks for it")["severity"] == "fine"


def test_as_a_program_it_tells_by_its_exit_code(home: Home):
    assert home.attempt("tpmwire", "doctor").returncode == 0
    done = home.attempt("tpmwire", "doctor", "--tpm", "device:/dev/none")
    assert done.returncode == 1
    assert done.stdout.startswith("PROBLEM   device  /dev/none: no TPM there\n")
    assert home.attempt("tpmwire", "doctor", "--tpm", "nonsense").returncode == 2
