"""The emulator as a private child: its state, its end, and nobody else at it."""

import errno
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tpmwire import embedded, templates
from tpmwire.client import Tpm
from tpmwire.commands import EvictControl, GetCapability
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_PT, TPM_RC, TPM_RH
from tpmwire.embedded import EmbeddedTransport
from tpmwire.errors import TpmError, TransportError
from tpmwire.transport import connect
from tpmwire.types import TPMS_SCHEME_HASH, TPMT_SIG_SCHEME

pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")

COMMAND = bytes.fromhex("80010000000c0000017b0010")
PATIENCE = 20.0  # seconds; what takes longer has failed
ECDSA = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
PERSISTENT = 0x81000001


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "state" / "tpm"


def opened(directory: Path) -> EmbeddedTransport:
    transport = connect(f"embedded:dir={directory}")
    assert isinstance(transport, EmbeddedTransport)
    return transport


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_gone(pid: int) -> bool:
    """Whether there is no such process, not even a dead one that nobody has waited for."""
    return not Path(f"/proc/{pid}").exists()


def is_free(directory: Path) -> bool:
    """Whether nobody has the lock."""
    with open(directory / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def wait_for_end(pidfd: int) -> None:
    """Wait until the process behind a descriptor has ended."""
    assert select.select([pidfd], [], [], PATIENCE)[0], "the process does not end"
    os.close(pidfd)


# --- state ------------------------------------------------------------------------------------


def test_the_state_is_ours_alone(directory: Path):
    before = os.umask(0)
    try:
        with closing(opened(directory)) as transport:
            transport.send(COMMAND)
    finally:
        os.umask(before)
    assert mode_of(directory) == 0o700
    made = {path.name: mode_of(path) for path in directory.iterdir()}
    assert made.keys() >= {"lock", "swtpm.log", "tpm2-00.permall"}
    assert set(made.values()) == {0o600}


def test_a_directory_that_was_there_keeps_its_mode_and_gets_private_files(directory: Path):
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    with closing(opened(directory)) as transport:
        transport.send(COMMAND)
    assert mode_of(directory) == 0o755
    assert {mode_of(path) for path in directory.iterdir()} == {0o600}


def test_without_a_directory_the_state_is_where_state_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", f"{tmp_path}/home")
    monkeypatch.setenv("XDG_STATE_HOME", f"{tmp_path}/xdg")
    for conf in ("embedded", "embedded:"):
        with closing(connect(conf)) as transport:
            transport.send(COMMAND)
            assert transport.directory == f"{tmp_path}/xdg/tpmwire/embedded"
    assert mode_of(tmp_path / "xdg" / "tpmwire" / "embedded") == 0o700
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert embedded.default_directory() == f"{tmp_path}/home/.local/state/tpmwire/embedded"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert embedded.default_directory() == f"{tmp_path}/home/.local/state/tpmwire/embedded"


def test_keys_survive(directory: Path):
    with Tpm(opened(directory)) as tpm, tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(templates.ECC_SIGN, auth=b"pin")
        name = srk.name
        tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=PERSISTENT))
    with Tpm(opened(directory)) as tpm:
        assert tpm.persistent(PERSISTENT).name == name
        with tpm.create_primary(templates.ECC_SRK) as srk:
            assert srk.name == name
            with srk.load(made.outPrivate, made.outPublic, auth=b"pin") as key:
                assert key.sign(bytes(32), ECDSA).sigAlg == TPM_ALG.ECDSA


def test_another_directory_is_another_tpm(tmp_path: Path):
    names = set()
    for directory in ("one", "two"):
        with Tpm(opened(tmp_path / directory)) as tpm, tpm.create_primary(templates.ECC_SRK) as srk:
            names.add(srk.name)
    assert len(names) == 2


@pytest.mark.parametrize("name", ["a directory", "with,comma", "-leading", "é", "x" * 200])
def test_a_directory_may_have_any_name(name: str, tmp_path: Path):
    with closing(EmbeddedTransport(str(tmp_path / name))) as transport:
        assert len(transport.send(COMMAND)) == 28
    assert (tmp_path / name / "tpm2-00.permall").exists()


def test_a_relative_directory_is_meant_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with closing(connect("embedded:dir=state")) as transport:
        transport.send(COMMAND)
    assert (tmp_path / "state" / "tpm2-00.permall").exists()


def test_a_directory_that_cannot_be_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(TransportError, match=f"{tmp_path}/file/state: Not a directory"):
        opened(tmp_path / "file" / "state")
    with pytest.raises(TransportError, match=f"{tmp_path}/file: File exists"):
        opened(tmp_path / "file")


def test_a_state_that_the_emulator_cannot_read_is_told_with_the_place_of_its_log(directory: Path):
    directory.mkdir(parents=True)
    (directory / "tpm2-00.permall").write_bytes(b"nonsense" * 100)
    transport = opened(directory)
    with pytest.raises(TransportError, match=f"embedded:dir={directory} \\(see swtpm.log in it\\)"):
        transport.send(COMMAND)
    assert (directory / "swtpm.log").read_text()
    assert is_gone(transport._child.pid)
    assert is_free(directory)


def test_nothing_that_was_loaded_is_there_the_next_time(directory: Path):
    first = Tpm(opened(directory))
    key = first.create_primary(templates.ECC_SIGN)
    assert not first._transport.keeps_objects
    first.close()
    with Tpm(opened(directory)) as tpm, pytest.raises(TpmError) as caught:
        tpm.persistent(key.handle)
    assert caught.value.code in (TPM_RC.HANDLE, TPM_RC.REFERENCE_H0)


# --- who can reach it -------------------------------------------------------------------------


def sockets_of(pid: int) -> set[int]:
    """Return the inodes of the sockets that a process has open."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {int(found[1]) for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}


def rows(table: str) -> list[list[str]]:
    path = Path(f"/proc/net/{table}")
    return [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []


def reachable() -> set[int]:
    """Return the inodes of the sockets that others can connect to: Unix with a name, TCP, UDP."""
    unix = {int(row[6]) for row in rows("unix") if len(row) > 7 or int(row[3], 16) & 0x10000}
    internet = {int(row[9]) for name in ("tcp", "tcp6", "udp", "udp6") for row in rows(name)}
    return unix | internet


def test_nobody_else_can_connect(directory: Path, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as named, socket.create_server(("127.0.0.1", 0)) as server:
        named.bind(str(tmp_path / "named"))
        assert {os.fstat(each.fileno()).st_ino for each in (named, server)} <= reachable()
    with closing(opened(directory)) as transport:
        transport.send(COMMAND)
        found = sockets_of(transport._child.pid)
        assert len(found) == 1
        assert not found & reachable()


# --- its end ----------------------------------------------------------------------------------

HOLDER = """
import sys
from tpmwire.transport import connect
transport = connect(f"embedded:dir={sys.argv[1]}")
transport.send(bytes.fromhex("80010000000c0000017b0010"))
print(transport._child.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_when_its_parent_is_killed(directory: Path):
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        assert not is_free(directory)
        parent.kill()
        parent.wait(PATIENCE)
        wait_for_end(pidfd)
    assert is_free(directory)
    with closing(opened(directory)) as transport:
        assert len(transport.send(COMMAND)) == 28


def test_the_state_is_locked_as_long_as_it_lives_even_without_its_parent(directory: Path):
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            parent.kill()
            parent.wait(PATIENCE)
            assert not is_free(directory)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for_end(pidfd)
    assert is_free(directory)


def test_ctrl_c_in_the_terminal_does_not_reach_it(directory: Path):
    with closing(opened(directory)) as transport:
        assert os.getsid(transport._child.pid) == transport._child.pid
        assert len(transport.send(COMMAND)) == 28


def test_closing_twice_is_closing_once(directory: Path):
    transport = opened(directory)
    pid = transport._child.pid
    transport.close()
    assert is_gone(pid)
    assert is_free(directory)
    with closing(opened(directory)) as next_one:
        transport.close()
        assert not is_free(directory)
        assert len(next_one.send(COMMAND)) == 28
    with pytest.raises(TransportError, match="the connection is closed"):
        transport.send(COMMAND)


def test_nothing_is_left_after_twenty_of_them(directory: Path):
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with closing(opened(directory)) as transport:
            pid = transport._child.pid
            transport.send(COMMAND)
        assert is_gone(pid)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def failures_counted(tpm: Tpm) -> int:
    question = GetCapability(
        capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.LOCKOUT_COUNTER, propertyCount=1
    )
    return tpm.execute(question).capabilityData.data[0].value


def use_a_protected_key(tpm: Tpm) -> None:
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(templates.ECC_SIGN, auth=b"pin")
        with srk.load(made.outPrivate, made.outPublic, auth=b"pin") as key:
            key.sign(bytes(32), ECDSA)


def test_closing_is_no_attack_for_the_emulator_and_killing_it_is(directory: Path):
    for _ in range(2):
        with Tpm(opened(directory)) as tpm:
            use_a_protected_key(tpm)
            assert failures_counted(tpm) == 0
    transport = opened(directory)
    tpm = Tpm(transport)
    use_a_protected_key(tpm)
    transport._child.kill()
    tpm.close()
    with Tpm(opened(directory)) as tpm:
        assert failures_counted(tpm) == 1


class KilledInTheMiddle:
    """A socket that has the other side killed when a command is on its way."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self._pid = connection, pid

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)
        os.kill(self._pid, signal.SIGKILL)


class InterruptedInTheMiddle(KilledInTheMiddle):
    """A socket during whose use Ctrl-C is pressed."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, os.getpid())

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)
        signal.raise_signal(signal.SIGINT)


def test_killed_in_the_middle_of_a_command_it_is_named(directory: Path):
    transport = opened(directory)
    pid = transport._child.pid
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    transport._socket = KilledInTheMiddle(transport._socket, pid)
    with pytest.raises(TransportError, match=f"embedded:dir={directory} \\(see swtpm.log in it\\)"):
        transport.send(COMMAND)
    assert is_gone(pid)
    assert is_free(directory)
    with pytest.raises(TransportError, match="the connection is closed"):
        transport.send(COMMAND)


def test_one_that_does_not_answer_is_killed_at_the_end(
    directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "CLOSE_PATIENCE", 0.05)
    transport = opened(directory)
    pid = transport._child.pid
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        transport.close()
        assert is_gone(pid)
        assert is_free(directory)
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def test_an_interrupt_while_it_is_being_closed_waits(directory: Path):
    transport = opened(directory)
    pid = transport._child.pid
    transport._socket = InterruptedInTheMiddle(transport._socket)
    with pytest.raises(KeyboardInterrupt):
        transport.close()
    assert is_gone(pid)
    assert is_free(directory)


def test_an_interrupted_command_ends_it(directory: Path):
    transport = opened(directory)
    pid = transport._child.pid
    transport._socket = InterruptedInTheMiddle(transport._socket)
    with pytest.raises(KeyboardInterrupt):
        transport.send(COMMAND)
    assert is_gone(pid)
    assert is_free(directory)


# --- several at a time ------------------------------------------------------------------------


def test_a_second_one_waits_for_the_end_of_the_first(
    directory: Path, monkeypatch: pytest.MonkeyPatch
):
    first = opened(directory)
    monkeypatch.setattr("time.sleep", lambda seconds: first.close())
    with closing(opened(directory)) as second:
        assert first._closed
        assert len(second.send(COMMAND)) == 28


def test_a_second_one_does_not_wait_for_ever(directory: Path, monkeypatch: pytest.MonkeyPatch):
    descriptors = len(os.listdir("/proc/self/fd"))
    with closing(opened(directory)) as first:
        monkeypatch.setattr(embedded, "LOCK_PATIENCE", 0.02)
        with pytest.raises(
            TransportError, match=f"{directory}: another process is using"
        ) as caught:
            opened(directory)
        assert caught.value.errno == errno.EBUSY
        assert len(first.send(COMMAND)) == 28
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_waiting_can_be_interrupted(directory: Path, monkeypatch: pytest.MonkeyPatch):
    descriptors = len(os.listdir("/proc/self/fd"))
    with closing(opened(directory)), monkeypatch.context() as patched:
        patched.setattr("time.sleep", lambda seconds: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            opened(directory)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_lock_that_the_system_refuses_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(TransportError, match=f"{directory}: No locks available"):
        opened(directory)


# --- the program ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_without_the_program_the_package_is_named(
    path: str, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Nothing is run from the current directory.
    (tmp_path / "swtpm").write_text("#!/bin/sh\n")
    (tmp_path / "swtpm").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(TransportError, match=r"needs the program swtpm.*apt install swtpm"):
        opened(directory)
    assert is_free(directory)


def test_a_program_that_does_not_start_is_named(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "swtpm"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TransportError, match=f"{program}: No such file or directory"):
        opened(directory)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert is_free(directory)


def test_a_program_found_by_a_relative_path_is_run(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = shutil.which("swtpm")
    assert program is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "swtpm").symlink_to(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin")
    with closing(opened(directory)) as transport:
        assert len(transport.send(COMMAND)) == 28
