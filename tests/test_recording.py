"""Recording what is said to a TPM: whole, readable by Wireshark, without secrets."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm
from hypothesis import given
from hypothesis import strategies as st
from strategies import COMMAND_CLASSES, command_authorizations, mutated, structures
from vectors import VECTORS, Vector

from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import Command, Create, GetRandom, Sign, unpack_command
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.errors import ConfError, TransportError
from tpmwire.masking import mask_command, mask_response
from tpmwire.recording import Recording, RecordingTransport
from tpmwire.templates import ECC_SIGN, ECC_SRK
from tpmwire.traces import Exchange, read_exchanges
from tpmwire.transport import connect, parse_conf
from tpmwire.types import (
    TPMS_AUTH_COMMAND,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
)
from tpmwire.wire import Encrypted

GET_RANDOM = bytes.fromhex("80010000000c0000017b0010")
RANDOM = bytes.fromhex("80010000000e00000000000201ff")
PIN = b"not for your eyes"
SCHEME = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))


class Answering:
    """A transport that gives one answer to everything, or raises it."""

    keeps_objects = True

    def __init__(self, answer: bytes | Exception = RANDOM) -> None:
        self._answer, self.closed = answer, False
        self.sent: list[bytes] = []

    def send(self, command: bytes) -> bytes:
        self.sent.append(command)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def close(self) -> None:
        self.closed = True


def exchanges(path: Path) -> list[Exchange]:
    with path.open("rb") as file:
        return list(read_exchanges(file))


def octets(path: Path) -> list[tuple[bytes | None, bytes | None]]:
    """Commands and responses of a recording; nothing in it may be stray."""
    found = exchanges(path)
    assert not any(exchange.stray for exchange in found)
    return [(e.command and e.command.octets, e.response and e.response.octets) for e in found]


def logged(swtpm: Swtpm) -> list[tuple[bytes | None, bytes | None]]:
    """What swtpm says was said to it."""
    return octets(swtpm.log)


def make_and_use_a_key(conf: str) -> None:
    """By passwords in clear, as a session would leave nothing to mask."""
    sensitive = TPMS_SENSITIVE_CREATE(userAuth=PIN)
    with Tpm(connect(conf)) as tpm, tpm.create_primary(ECC_SRK) as srk:
        made = tpm.execute(Create(parentHandle=srk, inSensitive=sensitive, inPublic=ECC_SIGN))
        with srk.load(made.outPrivate, made.outPublic) as key:
            sign = Sign(keyHandle=key, digest=bytes(32), inScheme=SCHEME)
            tpm.execute(sign, PasswordSession(PIN))


# --- what is recorded --------------------------------------------------------------------------


def test_a_recording_with_secrets_is_what_was_said(swtpm: Swtpm, tmp_path: Path):
    path, before = tmp_path / "a.pcapng", len(logged(swtpm))
    make_and_use_a_key(f"pcap:{path},secrets=yes:{swtpm.conf}")
    said = logged(swtpm)[before:]
    assert octets(path) == said
    assert len(said) >= 6
    assert PIN in path.read_bytes()


def test_a_recording_has_zeros_for_secrets_and_the_rest_as_it_was_said(
    swtpm: Swtpm, tmp_path: Path
):
    path, before = tmp_path / "a.pcapng", len(logged(swtpm))
    make_and_use_a_key(f"pcap:{path}:{swtpm.conf}")
    said = logged(swtpm)[before:]
    assert PIN in b"".join(command or b"" for command, _ in said)
    hidden = [
        ((command or b"").replace(PIN, bytes(len(PIN))), response) for command, response in said
    ]
    assert octets(path) == hidden
    assert PIN not in path.read_bytes()


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_reads_a_recording(swtpm: Swtpm, tmp_path: Path):
    path = tmp_path / "a.pcapng"
    make_and_use_a_key(f"pcap:{path}:{swtpm.conf}")
    make_and_use_a_key(f"pcap:{path}:{swtpm.conf}")
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    command = ["tshark", "-r", str(path), *checks, "-T", "fields"]
    command += ["-e", "_ws.col.Info", "-e", "tcp.checksum.status", "-e", "ip.checksum.status"]
    command += ["-e", "_ws.malformed", "-e", "frame.time_epoch"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    rows = [line.split("\t") for line in lines.splitlines()]
    names = [TPM_CC(unpack_command(command).code).name for command, _ in octets(path) if command]
    assert re.findall(r"Command TPM2_CC_(\w+)", lines) == names
    assert len(rows) == 2 * len(names)
    assert {tuple(row[1:4]) for row in rows} == {("1", "1", "")}  # both sums are good
    times = [float(row[4]) for row in rows]
    assert times == sorted(times)
    assert abs(times[-1] - path.stat().st_mtime) < 60


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="capinfos is not installed")
@pytest.mark.parametrize(("option", "comment"), [("", "zeros stand"), (",secrets=yes", "in clear")])
def test_a_recording_says_whether_it_holds_secrets(tmp_path: Path, option: str, comment: str):
    path = tmp_path / "a.pcapng"
    Recording(str(path), secrets=bool(option)).close()
    told = subprocess.run(["capinfos", path], capture_output=True, text=True, timeout=60).stdout
    assert comment in told
    assert "tpmwire" in told


def test_a_recording_is_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    before = os.umask(0)
    try:
        Recording(str(path)).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_recording_goes_on_in_a_file_that_is_there(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    for _ in range(3):
        recording = Recording(str(path))
        recording.command(GET_RANDOM)
        recording.response(RANDOM, GET_RANDOM)
        recording.close()
    assert octets(path) == [(GET_RANDOM, RANDOM)] * 3


def test_recordings_of_two_programs_at_once_are_told_apart(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    first, second = Recording(str(path)), Recording(str(path))
    first.command(GET_RANDOM)
    second.command(GET_RANDOM[:-1] + b"\x20")
    first.response(RANDOM, GET_RANDOM)
    second.response(RANDOM[:-1] + b"\0", GET_RANDOM)
    assert octets(path) == [
        (GET_RANDOM, RANDOM),
        (GET_RANDOM[:-1] + b"\x20", RANDOM[:-1] + b"\0"),
    ]
    first.close()
    second.close()


def test_a_buffer_longer_than_a_packet_is_recorded(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    long = b"\x80\x01" + (0x10000).to_bytes(4, "big") + b"\x20\0\0\1" + bytes(range(256)) * 256
    long = long[:0x10000]
    recording = Recording(str(path), secrets=True)
    recording.command(long)
    recording.response(RANDOM, long)
    recording.close()
    assert octets(path) == [(long, RANDOM)]


def test_each_message_is_in_the_file_before_the_next_one(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    recorded = []

    class Looking(Answering):
        def send(self, command: bytes) -> bytes:
            recorded.append(octets(path))
            return super().send(command)

    transport = RecordingTransport(Looking(), Recording(str(path)))
    for _ in range(2):
        assert transport.send(GET_RANDOM) == RANDOM
    assert recorded == [[(GET_RANDOM, None)], [(GET_RANDOM, RANDOM), (GET_RANDOM, None)]]
    transport.close()


# --- as a transport ----------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
def test_it_passes_on_what_the_transport_below_is_and_does(keeps: bool, tmp_path: Path):
    below = Answering()
    below.keeps_objects = keeps
    transport = RecordingTransport(below, Recording(str(tmp_path / "a")))
    assert transport.keeps_objects == keeps
    assert transport.send(GET_RANDOM) == RANDOM
    assert below.sent == [GET_RANDOM]
    transport.close()
    transport.close()
    assert below.closed


def test_a_failure_of_the_transport_below_is_passed_on_and_the_command_recorded(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    transport = RecordingTransport(Answering(TransportError(5, "broken")), Recording(str(path)))
    with pytest.raises(TransportError, match="broken"):
        transport.send(GET_RANDOM)
    transport.close()
    assert octets(path) == [(GET_RANDOM, None)]


def test_a_tpm_that_is_not_there_leaves_no_open_file(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TransportError):
        connect(f"pcap:{tmp_path / 'a'}:swtpm:path={tmp_path / 'missing'}")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "conf",
    ["pcap:", "pcap::device", "pcap:,secrets=yes:device", "pcap:a,secrets=maybe:device",
     "pcap:a,secret:device", "pcap:a:nonsense:b"],
)  # fmt: skip
def test_conf_strings_that_make_no_sense_are_refused(conf: str):
    with pytest.raises(ConfError):
        parse_conf(conf)


def test_what_is_no_recording_is_not_written_to(tmp_path: Path):
    other = tmp_path / "letter"
    other.write_text("Dear Ada")
    for path in (other, tmp_path, tmp_path / "missing" / "a"):
        with pytest.raises(TransportError, match=re.escape(str(path))):
            Recording(str(path))
    assert other.read_text() == "Dear Ada"


def test_where_there_is_no_room_the_recording_ends_whole_and_the_tpm_goes_on(tmp_path: Path):
    path = tmp_path / "a.pcapng"
    program = f"""
import resource
from tpmwire.recording import Recording, RecordingTransport
from tpmwire.errors import TransportError

class Answering:
    keeps_objects = True
    def send(self, command): return bytes.fromhex("{RANDOM.hex()}")
    def close(self): print("closed")

transport = RecordingTransport(Answering(), Recording({str(path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
for _ in range(10):
    assert transport.send(bytes.fromhex("{GET_RANDOM.hex()}")).hex() == "{RANDOM.hex()}"
try:
    transport.close()
except TransportError as error:
    print(error)
transport.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.stderr == b""
    assert done.stdout.startswith(b"closed\n")
    assert b"a.pcapng: the recording is not whole: " in done.stdout
    found = octets(path)
    assert 2 <= len(found) < 10
    assert set(found[:-1]) == {(GET_RANDOM, RANDOM)}
    assert path.stat().st_size <= 500


# --- masking -----------------------------------------------------------------------------------

MARK = b"\xde\xad\xbe\xef\xfe\xed\xfa\xce"


@pytest.mark.parametrize("vector", VECTORS[::3], ids=str)
def test_masking_changes_nothing_but_octets_to_zeros(vector: Vector):
    code = TPM_CC[vector.command]
    for whole, masked in (
        (vector.sent, mask_command(vector.sent)),
        (vector.received, mask_response(vector.received, code)),
    ):
        assert len(masked) == len(whole)
        assert all(new in (old, 0) for old, new in zip(whole, masked, strict=True))
    assert mask_command(mask_command(vector.sent)) == mask_command(vector.sent)


@given(st.sampled_from(COMMAND_CLASSES).flatmap(structures), command_authorizations())
def test_any_command_can_be_masked(command: Command[Any], authorizations: list[TPMS_AUTH_COMMAND]):
    whole = command.frame(authorizations)
    masked = mask_command(whole)
    assert len(masked) == len(whole)
    again = unpack_command(masked)
    assert again.code == command.CC
    assert [a.sessionHandle for a in again.authorizations] == [
        a.sessionHandle for a in authorizations
    ]


@pytest.mark.parametrize(
    ("session", "kept"), [(TPM_RH.RS_PW, False), (0x03000001, False), (0x02000001, True)]
)
def test_passwords_are_masked_and_hmacs_are_kept(session: int, kept: bool):
    authorization = TPMS_AUTH_COMMAND(sessionHandle=session, nonce=b"nonce", hmac=MARK)
    whole = GetRandom(bytesRequested=8).frame([authorization])
    assert mask_command(whole) == (whole if kept else whole.replace(MARK, bytes(len(MARK))))


def test_what_is_encrypted_is_kept():
    sealed = [
        v for v in VECTORS
        if any(isinstance(x, Encrypted) for x in vars(unpack_command(v.sent).command).values())
    ]  # fmt: skip
    assert len(sealed) > 2
    for vector in sealed:
        masked = unpack_command(mask_command(vector.sent)).command
        assert masked == unpack_command(vector.sent).command


@pytest.mark.parametrize(
    ("whole", "masked"),
    [
        (
            "8002 00000012 20000001 dead beef dead beef",
            "8002 00000012 20000001 0000 0000 0000 0000",
        ),
        ("8001 0000000d 0000017b 0010ff", "8001 0000000d 0000017b 000000"),  # too long
        ("8001 0000", "8001 0000"),
        ("", ""),
    ],
)
def test_a_command_that_cannot_be_read_is_masked_all_over(whole: str, masked: str):
    assert mask_command(bytes.fromhex(whole)) == bytes.fromhex(masked)


def test_a_response_that_cannot_be_read_is_masked_all_over():
    assert mask_response(RANDOM, 0x20000001) == RANDOM[:10] + bytes(4)
    assert mask_response(RANDOM + b"\1", TPM_CC.GetRandom) == RANDOM[:10] + bytes(5)
    refused = bytes.fromhex("80010000000a0000098e")
    assert mask_response(refused, TPM_CC.Sign) == refused


@given(st.data())
def test_damage_never_keeps_a_message_from_being_masked(data: st.DataObject):
    vector = data.draw(st.sampled_from(VECTORS))
    sent, received = data.draw(mutated(vector.sent)), data.draw(mutated(vector.received))
    assert len(mask_command(sent)) == len(sent)
    assert len(mask_response(received, TPM_CC[vector.command])) == len(received)


# --- the script --------------------------------------------------------------------------------


def record(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "tpmwire.scripts.main", "record", *arguments]
    variables = {k: v for k, v in os.environ.items() if k != "TPMWIRE_TCTI"} | environment
    return subprocess.run(command, capture_output=True, timeout=60, env=variables)


def test_a_program_is_run_and_recorded(swtpm: Swtpm, tmp_path: Path):
    path, key = tmp_path / "a.pcapng", tmp_path / "key"
    keygen = [
        sys.executable,
        "-m",
        "tpmwire.scripts.keygen",
        "-q",
        "-f",
        str(key),
        "-N",
        "1234abcd",
    ]
    before = len(logged(swtpm))
    done = record("--out", str(path), "--tpm", swtpm.conf, "--", *keygen)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(octets(path)) == len(logged(swtpm)) - before > 3
    assert (tmp_path / "key.tpm").exists()
    assert b"1234abcd" not in path.read_bytes()


def test_the_tpm_of_the_environment_is_recorded(swtpm: Swtpm, tmp_path: Path):
    path = tmp_path / "a.pcapng"
    program = "import tpmwire.client as c; c.open().close()"
    done = record("--out", str(path), "--", sys.executable, "-c", program, TPMWIRE_TCTI=swtpm.conf)
    assert done.returncode == 0, done.stderr
    assert octets(path) == []
    shown = "import os; print(os.environ['TPMWIRE_TCTI'])"
    done = record(
        "--out", "a", "--with-secrets", "--", sys.executable, "-c", shown, TPMWIRE_TCTI="mssim"
    )
    assert done.stdout.decode() == f"pcap:{Path.cwd() / 'a'},secrets=yes:mssim\n"


def test_the_exit_code_is_that_of_the_program_and_so_are_its_signals(tmp_path: Path):
    path = str(tmp_path / "a.pcapng")
    assert record("--out", path, "--", "sh", "-c", "exit 7").returncode == 7
    killed = record("--out", path, "--", "sh", "-c", "kill -PIPE $$")
    assert killed.returncode == -signal.SIGPIPE
    missing = record("--out", path, "--", "no-such-program-anywhere")
    assert missing.returncode == 1
    assert missing.stderr == b"tpmwire: no-such-program-anywhere: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], b"--out"),
        (["--out", "a"], b"COMMAND"),
        (["--out", "a", "--tpm", "nonsense", "--", "true"], b"no way to a TPM"),
        (["--out", "a:b", "--", "true"], b"colon or comma"),
        (["--out", "a,b", "--", "true"], b"colon or comma"),
    ],
)
def test_wrong_usage_is_an_exit_code_of_two(arguments: list[str], message: bytes):
    done = record(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
