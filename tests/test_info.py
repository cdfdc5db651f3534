"""tpmwire info: what it tells of a TPM, held against what tpm2-tools read from it."""

import datetime
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import LOADED_OBJECTS, LOADED_SESSIONS, Swtpm, handles

from tpmwire.attributes import TPMA_CC, TPMA_NV, TPMA_OBJECT
from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    DictionaryAttackLockReset,
    DictionaryAttackParameters,
    EvictControl,
    HierarchyChangeAuth,
    HierarchyControl,
    NV_DefineSpace,
    NV_UndefineSpace,
    unpack_command,
    unpack_response,
)
from tpmwire.commands.base import ResponseFrame
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC, TPM_PT, TPM_RC, TPM_RH, TPM_ST
from tpmwire.errors import DecodeError, TpmError
from tpmwire.inventory import Inventory, take_inventory
from tpmwire.lockout import Lockout
from tpmwire.scripts.main import main
from tpmwire.showing.inventory import (
    duration_words,
    inventory_data,
    inventory_lines,
    lockout_lines,
    public_words,
)
from tpmwire.templates import ECC_SIGN, ECC_SRK, RSA_SRK, rsa_sign
from tpmwire.transport import Transport, connect
from tpmwire.types import TPMS_NV_PUBLIC, TPMS_SCHEME_HASH, TPMT_PUBLIC, TPMT_SIG_SCHEME

SCHEME = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
SRK, INDEX = 0x81000001, 0x01C00002
NV_PUBLIC = TPMS_NV_PUBLIC(
    nvIndex=INDEX,
    nameAlg=TPM_ALG.SHA256,
    attributes=TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.AUTHREAD,
    dataSize=100,
)


@pytest.fixture(scope="module")
def furnished(swtpm: Swtpm) -> Iterator[Swtpm]:
    """A TPM with a persistent key and an NV index.  It serves one client at a time."""
    with Tpm(connect(swtpm.conf)) as tpm:
        with tpm.create_primary(ECC_SRK) as srk:
            evict = EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=SRK)
            tpm.execute(evict)
        tpm.execute(NV_DefineSpace(authHandle=TPM_RH.OWNER, auth=b"", publicInfo=NV_PUBLIC))
    yield swtpm
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=SRK, persistentHandle=SRK))
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=INDEX))


def tool(swtpm: Swtpm, line: str) -> str:
    """What a program of tpm2-tools prints."""
    environment = {"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": swtpm.conf}
    return subprocess.run(
        line.split(), env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def inventory(swtpm: Swtpm) -> Inventory:
    with Tpm(connect(swtpm.conf)) as tpm:
        return take_inventory(tpm)


def told(swtpm: Swtpm) -> dict[str, Any]:
    """What `tpmwire info --json` is about to print."""
    data: dict[str, Any] = json.loads(json.dumps(inventory_data(inventory(swtpm))))
    return data


def shown(swtpm: Swtpm, capsys: pytest.CaptureFixture[str]) -> str:
    """What `tpmwire info` prints."""
    assert main(["info", "--tpm", swtpm.conf]) == 0
    return capsys.readouterr().out


def section(text: str, title: str) -> list[str]:
    """The lines of one section of the text."""
    found = re.search(rf"^{re.escape(title)} +(.*\n(?: .*\n)*)", text, re.M)
    assert found, title
    return [line.strip() for line in found[1].splitlines()]


needs_tools = pytest.mark.skipif(
    shutil.which("tpm2_getcap") is None, reason="tpm2-tools is not installed"
)


# --- against tpm2-tools ------------------------------------------------------------------------


@needs_tools
def test_the_properties_are_those_that_tpm2_tools_read(furnished: Swtpm):
    properties = told(furnished)["properties"]
    fixed = tool(furnished, "tpm2_getcap properties-fixed")
    raw = re.findall(r"^TPM2_PT_(\w+):\n  raw: (0x[0-9A-F]+|\d+)", fixed, re.M)
    variable = tool(furnished, "tpm2_getcap properties-variable")
    raw += re.findall(r"^TPM2_PT_(\w+): (0x[0-9A-F]+)$", variable, re.M)
    assert len(raw) > 50
    known = {name.removeprefix("TPM_PT_"): value for name, value in properties.items()}
    for name, value in raw:
        assert known[name] == int(value, 16), name


@needs_tools
def test_algorithms_curves_and_commands_are_those_that_tpm2_tools_read(furnished: Swtpm):
    data = told(furnished)
    algorithms = re.findall(r"^  value: +(0x\w+)", tool(furnished, "tpm2_getcap algorithms"), re.M)
    assert [each["alg"]["value"] for each in data["algorithms"]] == [int(a, 16) for a in algorithms]
    curves = re.findall(r": (0x\w+)$", tool(furnished, "tpm2_getcap ecc-curves"), re.M)
    assert [each["value"] for each in data["curves"]] == [int(curve, 16) for curve in curves]
    commands = re.findall(r"commandIndex: +(0x\w+)", tool(furnished, "tpm2_getcap commands"))
    assert [each["value"] for each in data["commands"]] == [int(code, 16) for code in commands]
    assert len(commands) > 100


@needs_tools
def test_the_banks_are_those_that_tpm2_tools_read(furnished: Swtpm):
    printed = re.findall(r"- (\w+): \[ ([\d, ]*) ?\]", tool(furnished, "tpm2_getcap pcrs"))
    wanted = {
        f"TPM_ALG_{name.upper()}": [int(number) for number in numbers.split(",")]
        for name, numbers in printed
    }
    assert told(furnished)["banks"] == wanted
    assert len(wanted) > 1


@needs_tools
def test_persistent_objects_are_those_that_tpm2_tools_read(furnished: Swtpm):
    (found,) = told(furnished)["objects"]
    listed = tool(furnished, "tpm2_getcap handles-persistent")
    assert [int(handle, 16) for handle in re.findall(r"- (0x\w+)", listed)] == [found["handle"]]
    printed = tool(furnished, f"tpm2_readpublic -c {SRK:#x}")
    assert f"name: {found['name']}\n" in printed
    assert f"x: {found['public']['unique']['x']}\n" in printed
    attributes = re.search(r"attributes:\n  value: .*\n  raw: (0x\w+)", printed)
    assert attributes
    assert found["public"]["objectAttributes"]["value"] == int(attributes[1], 16)


@needs_tools
def test_nv_indices_are_those_that_tpm2_tools_read(furnished: Swtpm):
    (found,) = told(furnished)["indices"]
    printed = tool(furnished, f"tpm2_nvreadpublic {INDEX:#x}")
    assert f"name: {found['name']}\n" in printed
    assert f"size: {found['public']['dataSize']}\n" in printed
    attributes = re.search(r"attributes:\n +friendly: (\S+)\n +value: (0x\w+)", printed)
    assert attributes
    value = int.from_bytes(bytes.fromhex(attributes[2][2:].rjust(8, "0")), "big")
    assert found["public"]["attributes"]["value"] == value
    names = [name.lower() for name in found["public"]["attributes"]["names"]]
    assert attributes[1].lower().split("|") == [name for name in names if "=" not in name]


# --- in words ----------------------------------------------------------------------------------


def test_everything_is_told_in_words(furnished: Swtpm, capsys: pytest.CaptureFixture[str]):
    text = shown(furnished, capsys)
    assert re.match(r"TPM +2\.0, level 0, revision 1\.\d\d of 20\d\d-\d\d-\d\d\n", text)
    assert section(text, "manufacturer") == ["IBM"]
    assert section(text, "model") == ["SW TPM"]
    assert section(text, "hierarchies") == [
        "owner: enabled, no password is set",
        "endorsement: enabled, no password is set",
        "platform: enabled",
        "lockout: no password is set",
    ]
    assert section(text, "persistent objects")[0] == (
        "0x81000001  ECC NIST_P256 storage key (storage root key)"
    )
    assert section(text, "NV indices") == [
        "0x01c00002  100 octets (endorsement certificate, RSA 2048)",
        "OWNERWRITE, OWNERREAD, AUTHREAD, TPM_NT=ORDINARY",
    ]
    assert "SHA256: 0-23" in section(text, "PCR banks")
    names = ", ".join(section(text, "commands")).replace(",,", ",")
    assert names.startswith("110: NV_UndefineSpaceSpecial, EvictControl, ")
    assert "NIST_P256" in section(text, "curves")[0]
    assert all(len(line) <= 100 for line in text.splitlines())


def test_it_leaves_nothing_loaded_and_changes_nothing(furnished: Swtpm):
    before = told(furnished)
    after = told(furnished)
    assert before == after
    with Tpm(connect(furnished.conf)) as tpm:
        assert handles(tpm, LOADED_OBJECTS) == handles(tpm, LOADED_SESSIONS) == ()


def test_passwords_and_switched_off_hierarchies_are_told(swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm:
        for who in (TPM_RH.OWNER, TPM_RH.LOCKOUT):
            tpm.execute(HierarchyChangeAuth(authHandle=who, newAuth=b"pw"))
        off = HierarchyControl(authHandle=TPM_RH.PLATFORM, enable=TPM_RH.ENDORSEMENT, state=False)
        tpm.execute(off)
    changed = told(swtpm)["hierarchies"]
    with Tpm(connect(swtpm.conf)) as tpm:
        password = PasswordSession(b"pw")
        for who in (TPM_RH.OWNER, TPM_RH.LOCKOUT):
            tpm.execute(HierarchyChangeAuth(authHandle=who, newAuth=b""), password)
        tpm.execute(off.replace(state=True))
    before = told(swtpm)["hierarchies"]
    assert [changed[name]["password"] for name in ("owner", "endorsement", "lockout")] == [
        True, False, True,
    ]  # fmt: skip
    assert [changed[name]["enabled"] for name in ("owner", "endorsement", "platform")] == [
        True, False, True,
    ]  # fmt: skip
    assert not any(before[name]["password"] for name in ("owner", "endorsement", "lockout"))
    assert all(before[name]["enabled"] for name in ("owner", "endorsement", "platform"))


def test_wrong_tries_are_counted_down_until_the_tpm_is_locked(swtpm: Swtpm):
    limits = DictionaryAttackParameters(
        lockHandle=TPM_RH.LOCKOUT, newMaxTries=2, newRecoveryTime=3600, lockoutRecovery=0
    )
    lines = []
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        tpm.execute(DictionaryAttackLockReset(lockHandle=TPM_RH.LOCKOUT))
        tpm.execute(limits)
        protected = ECC_SIGN.replace(objectAttributes=ECC_SIGN.objectAttributes & ~TPMA_OBJECT.noDA)
        made = srk.create(protected, auth=b"right")
        with srk.load(made.outPrivate, made.outPublic, auth=b"wrong") as key:
            for _ in range(3):
                lines.append(lockout_lines(take_inventory(tpm).lockout)[0])
                with pytest.raises(TpmError):
                    key.sign(bytes(32), SCHEME)
        tpm.execute(DictionaryAttackLockReset(lockHandle=TPM_RH.LOCKOUT))
        tpm.execute(limits.replace(newRecoveryTime=0))
        lines.append(lockout_lines(take_inventory(tpm).lockout)[0])
        tpm.execute(limits.replace(newMaxTries=3, newRecoveryTime=1000, lockoutRecovery=1000))
    assert lines == [
        "not locked: all 2 tries left",
        "not locked: 1 of 2 tries left, the next one comes back within 1 h",
        "LOCKED after 2 wrong tries: one more try within 1 h; keys with noDA still work",
        "the protection is off: any number of wrong tries is allowed",
    ]


@pytest.mark.parametrize(
    ("lockout", "lines"),
    [
        (
            Lockout(False, 0, 32, 7200, 86400),
            [
                "not locked: all 32 tries left",
                "one wrong try is forgiven every 2 h",
                "a wrong lockout password is refused for 1 d",
            ],
        ),
        (
            Lockout(True, 32, 32, 0, 0),
            [
                "LOCKED after 32 wrong tries: no more tries; keys with noDA still work",
                "a wrong lockout password is refused until the next restart",
            ],
        ),
    ],
)
def test_the_protection_against_guessing_is_told_in_words(lockout: Lockout, lines: list[str]):
    assert lockout_lines(lockout) == lines


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (1000, "16 min 40 s"), (90061, "1 d 1 h 1 min 1 s")],
)
def test_durations_are_told_in_words(seconds: int, words: str):
    assert duration_words(seconds) == words


@pytest.mark.parametrize(
    ("public", "words"),
    [
        (ECC_SRK, "ECC NIST_P256 storage key"),
        (RSA_SRK, "RSA 2048 storage key"),
        (rsa_sign(3072), "RSA 3072 signing key"),
        (
            ECC_SIGN.replace(objectAttributes=ECC_SIGN.objectAttributes | TPMA_OBJECT.restricted),
            "ECC NIST_P256 attestation key",
        ),
    ],
)
def test_objects_are_told_by_what_they_are_for(public: TPMT_PUBLIC, words: str):
    assert public_words(public) == words


# --- other TPMs --------------------------------------------------------------------------------


class Changed:
    """A transport that changes what a TPM is asked, or what it answers."""

    keeps_objects = True

    def __init__(self, below: Transport) -> None:
        self._below = below

    def send(self, command: bytes) -> bytes:
        return self._below.send(command)

    def close(self) -> None:
        self._below.close()


class OneAtATime(Changed):
    """Gives one capability at a time, as a TPM with little memory may."""

    def send(self, command: bytes) -> bytes:
        frame = unpack_command(command)
        if frame.code == TPM_CC.GetCapability and frame.command:
            command = frame.command.replace(propertyCount=1).frame()
        return super().send(command)


class Lacking(Changed):
    """Knows only some groups of capabilities, and does not say what is at a handle."""

    def __init__(self, below: Transport, *groups: TPM_CAP) -> None:
        super().__init__(below)
        self._groups = groups

    def send(self, command: bytes) -> bytes:
        frame: Any = unpack_command(command)
        if frame.code == TPM_CC.GetCapability and frame.command.capability in self._groups:
            return super().send(command)
        return bytes.fromhex("80010000000a") + (TPM_RC.VALUE | 0x1C0).to_bytes(4, "big")


class Circling(Changed):
    """Says for ever that there is more, and gives the same again."""

    def send(self, command: bytes) -> bytes:
        frame: Any = unpack_command(command)
        if frame.code != TPM_CC.GetCapability:
            return super().send(command)
        again = frame.command.replace(property=TPM_PT.FAMILY_INDICATOR, propertyCount=1)
        answer: Any = unpack_response(super().send(again.frame()), frame.code).response
        return ResponseFrame(
            TPM_ST.NO_SESSIONS, TPM_RC.SUCCESS, answer.replace(moreData=True)
        ).pack()


def test_a_tpm_that_tells_one_thing_at_a_time_tells_the_same(furnished: Swtpm):
    with Tpm(OneAtATime(connect(furnished.conf))) as tpm:
        slowly = take_inventory(tpm)
    assert slowly == inventory(furnished)


def test_a_tpm_that_lacks_capabilities_tells_the_others(furnished: Swtpm):
    groups = (TPM_CAP.TPM_PROPERTIES, TPM_CAP.HANDLES)
    with Tpm(Lacking(connect(furnished.conf), *groups)) as tpm:
        found = take_inventory(tpm)
    assert (found.algorithms, found.curves, found.commands, found.banks) == ((), (), (), ())
    assert [(each.handle, each.public) for each in found.objects] == [(SRK, None)]
    assert [(each.handle, each.public) for each in found.indices] == [(INDEX, None)]
    lines = dict(inventory_lines(found))
    assert lines["persistent objects"] == ["0x81000001  not told (storage root key)"]
    assert lines["commands"] == []
    json.dumps(inventory_data(found))


def test_a_tpm_that_tells_nothing_is_an_error(furnished: Swtpm):
    with Tpm(Lacking(connect(furnished.conf))) as tpm, pytest.raises(TpmError):
        take_inventory(tpm)


def test_a_tpm_that_goes_round_in_circles_is_an_error(furnished: Swtpm):
    with Tpm(Circling(connect(furnished.conf))) as tpm, pytest.raises(DecodeError):
        take_inventory(tpm)


def test_numbers_without_a_name_are_told_as_numbers():
    found = Inventory(
        properties={TPM_PT.MANUFACTURER: 0x58595A00, 0x999: 7, TPM_PT.YEAR: 0},
        algorithms=(),
        curves=(TPM_ECC.NIST_P256, 0x7777),
        commands=(TPMA_CC(0x20000123), TPMA_CC(0x1FF)),
        banks=(),
        policies=(),
        objects=(),
        indices=(),
    )
    lines, data = dict(inventory_lines(found)), inventory_data(found)
    assert lines["manufacturer"] == ["not a registered one (XYZ)"]
    assert lines["commands"] == ["2: vendor command 0x20000123, command 0x000001ff"]
    assert lines["curves"] == ["2: NIST_P256, 0x7777"]
    assert data["properties"]["0x999"] == 7
    assert data["date"] is None
    assert data["commands"][0] == {"value": 0x20000123, "name": None}
    assert found.specified_on is None


def test_the_date_is_that_of_the_day_of_the_year():
    properties = {TPM_PT.YEAR: 2021, TPM_PT.DAY_OF_YEAR: 75}
    found = Inventory(properties, (), (), (), (), (), (), ())
    assert found.specified_on == datetime.datetime.strptime("2021 75", "%Y %j").date()


def test_json_is_one_object(furnished: Swtpm, capsys: pytest.CaptureFixture[str]):
    assert main(["info", "--tpm", furnished.conf, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["manufacturer"] == {"id": "IBM", "name": "IBM"}
    assert data["lockout"]["tries_left"] == data["lockout"]["most_failures"]


def test_a_tpm_that_is_not_there_is_an_exit_code_of_one(capsys: pytest.CaptureFixture[str]):
    assert main(["info", "--tpm", "swtpm:path=/nonexistent/socket"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("tpmwire: ")
