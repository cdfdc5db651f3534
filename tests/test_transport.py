"""Ways to a TPM: conf strings, and whole commands and responses over each kind of connection."""

import contextlib
import errno
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import Swtpm
from hypothesis import given
from hypothesis import strategies as st
from peers import (
    COMMAND,
    PATIENCE,
    Mssim,
    answering,
    at_work,
    neighbours,
    packets,
    received,
    silent,
    simulator,
    swtpm_on,
    unix_server,
)

import tpmwire
from tpmwire import templates, transport
from tpmwire.client import Tpm
from tpmwire.errors import ConfError, TransportError
from tpmwire.transport import (
    ENVIRONMENT,
    MAX_RESPONSE,
    DeviceTransport,
    InterruptsHeld,
    MssimTransport,
    SocketTransport,
    Transport,
    connect,
    parse_conf,
)

REFUSAL = bytes.fromhex("80010000000a00000101")
NOBODY = 65534

needs_swtpm = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")


def response(size: int) -> bytes:
    """Return a successful response of `size` octets, no two parts of it alike."""
    body = b"".join(number.to_bytes(4, "big") for number in range(size // 4))
    return b"\x80\x01" + size.to_bytes(4, "big") + bytes(4) + body[: size - 10]


# What is wrong with an answer, and the answer.
LIES = {
    "longer than it claims": response(20) + b"\0",
    "shorter than it claims": response(20)[:-1],
    "shorter than a header": b"\x80\x01\0\0\0\6",
    "claims less than a header": b"\x80\x01\0\0\0\4" + bytes(10),
    "claims nothing": b"\x80\x01" + bytes(8),
    "claims too much": b"\x80\x01" + (MAX_RESPONSE + 1).to_bytes(4, "big") + bytes(4),
    "claims 4 GB": b"\x80\x01\xff\xff\xff\xff" + bytes(4),
    "is nothing": b"",
}
every_lie = pytest.mark.parametrize("answer", LIES.values(), ids=LIES.keys())
every_size = pytest.mark.parametrize("size", [10, 11, 4095, 4096, 4097, 8192, MAX_RESPONSE])


@contextmanager
def device() -> Iterator[tuple[DeviceTransport, socket.socket]]:
    """Open a device that is one end of a pair of packet sockets: a read brings one whole write."""
    ours, theirs = packets()
    opened = DeviceTransport("/dev/null")
    with ours:
        ours.settimeout(None)
        limit = struct.pack("@ll", int(PATIENCE), 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        os.dup2(ours.fileno(), opened._fd)
    with theirs:
        yield opened, theirs
        opened.close()


def is_closed(opened: Transport) -> bool:
    """Whether it refuses to send, and can be closed as often as one likes."""
    for _ in range(2):
        with pytest.raises(TransportError, match="the connection is closed") as caught:
            opened.send(COMMAND)
        assert caught.value.errno == errno.EBADF
    opened.close()
    opened.close()
    return True


def random_octets(opened: Transport, count: int = 16) -> bytes:
    """Ask for random octets with a command made by hand, and check the frame of the answer."""
    answer = opened.send(COMMAND[:10] + count.to_bytes(2, "big"))
    assert answer[:12] == struct.pack(">HIIH", 0x8001, 12 + count, 0, count)
    return answer[12:]


def hears_the_tpm(opened: Transport) -> bool:
    """Whether what comes is random octets, and again others."""
    return len({random_octets(opened) for _ in range(3)}) == 3


# --- conf strings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("", "known are device, swtpm, mssim, embedded"),
        ("/dev/tpm0", "'/dev/tpm0' is no way to a TPM; known are device, swtpm, mssim, embedded"),
        ("Device:/dev/tpm0", "'Device' is no way to a TPM; known are device"),
        ("swtpm:sock", "'sock' means nothing .* takes path=..., host=..., port=..."),
        ("swtpm:dir=state", "'dir=state' means nothing .* takes path=..., host=..., port=..."),
        ("swtpm:path=", "'path=' means nothing .* takes path=..., host=..., port=..."),
        ("swtpm:path=a,path=b", "takes path=... once"),
        ("swtpm:path=a,port=1", "takes path=..., or host=... and port=..."),
        ("swtpm:host=h,path=a", "takes path=..., or host=... and port=..."),
        ("swtpm:port=", "takes path=..., host=..., port=..."),
        ("swtpm:port=0", "port=0 is no port; it takes a number from 1 to 65535"),
        ("swtpm:port=65536", "a number from 1 to 65535"),
        ("swtpm:port=-1", "a number from 1 to 65535"),
        ("swtpm:port=tpm", "a number from 1 to 65535"),
        ("swtpm:port=+80", "a number from 1 to 65535"),
        ("swtpm:port=\N{ARABIC-INDIC DIGIT THREE}", "a number from 1 to 65535"),
        ("swtpm:port=" + "1" * 5000, "a number from 1 to 65535"),
        ("mssim:path=sock", "'path=sock' means nothing .* takes host=..., port=..."),
        ("mssim:host=h,host=i", "takes host=... once"),
        ("mssim:port=65535", "a number from 1 to 65534"),
        ("embedded:state", "'state' means nothing in a embedded conf string; it takes dir=..."),
        ("embedded:dir=a,dir=b", "takes dir=... once"),
        ("device:/dev/\0", "a character that can be in no name"),
        ("swtpm:path=\ud800", "a character that can be in no name"),
    ],
)
def test_a_conf_string_that_makes_no_sense_is_told_what_it_takes(conf: str, message: str):
    with pytest.raises(ConfError, match=message):
        parse_conf(conf)


PIECES = st.sampled_from(["path", "host", "port", "dir", "=", ",", ":", "2321"])


@given(
    st.text()
    | st.builds(
        "{}:{}".format,
        st.sampled_from(["device", "swtpm", "mssim", "embedded"]),
        st.lists(PIECES | st.text(max_size=2)).map("".join),
    )
)
def test_any_text_is_a_conf_string_or_a_conf_error(text: str):
    with suppress(ConfError):
        assert callable(parse_conf(text))


@pytest.mark.parametrize("conf", ["device", "device:"])
def test_a_device_without_a_name_is_that_of_the_resource_manager(
    conf: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transport, "DeviceTransport", lambda path: path)
    assert parse_conf(conf)() == "/dev/tpmrm0"


@pytest.mark.parametrize(
    ("conf", "asked"),
    [
        ("swtpm", ("localhost", 2321)),
        ("swtpm:", ("localhost", 2321)),
        ("swtpm:port=65535", ("localhost", 65535)),
        ("swtpm:host=tpm.example", ("tpm.example", 2321)),
        ("swtpm:port=1,host=::1,", ("::1", 1)),
        ("mssim", ("localhost", 2321)),
        ("mssim:host=h,port=65534", ("h", 65534)),
    ],
)
def test_an_address_has_defaults(
    conf: str, asked: tuple[str, int], monkeypatch: pytest.MonkeyPatch
):
    def refused(address: tuple[str, int], timeout: float) -> socket.socket:
        raise OSError(errno.ECONNREFUSED, f"asked for {address}")

    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(TransportError) as caught:
        connect(conf)
    assert f"asked for {asked}" in str(caught.value)


def test_the_conf_string_comes_before_the_environment_and_that_before_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transport, "DEFAULT_DEVICE", f"{tmp_path}/device")
    monkeypatch.setenv(ENVIRONMENT, f"swtpm:path={tmp_path}/environment")
    with pytest.raises(TransportError, match="/given: No such file"):
        tpmwire.open(f"swtpm:path={tmp_path}/given")
    for nothing in (None, ""):
        with pytest.raises(TransportError, match="/environment: No such file"):
            tpmwire.open(nothing)
    monkeypatch.setenv(ENVIRONMENT, "nonsense")
    with pytest.raises(ConfError, match="'nonsense' is no way to a TPM"):
        tpmwire.open()
    monkeypatch.setenv(ENVIRONMENT, "")
    with pytest.raises(TransportError, match="/device: no TPM there"):
        tpmwire.open()
    monkeypatch.delenv(ENVIRONMENT)
    with pytest.raises(TransportError, match="/device: no TPM there"):
        tpmwire.open()


# --- opening a device -------------------------------------------------------------------------


def test_where_no_device_is_the_emulator_is_offered(tmp_path: Path):
    with pytest.raises(TransportError, match=r"tpmrm0: no TPM there.*'embedded:'") as caught:
        connect(f"device:{tmp_path}/tpmrm0")
    assert caught.value.errno == errno.ENOENT


def test_a_device_with_no_driver_behind_it_is_no_tpm():
    with socket.socket() as unopenable, pytest.raises(TransportError) as caught:
        connect(f"device:/proc/self/fd/{unopenable.fileno()}")
    assert caught.value.errno == errno.ENXIO
    assert "no TPM there" in str(caught.value)


@contextlib.contextmanager
def somebody() -> Iterator[None]:
    """Be an ordinary user."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (0, r"is root's alone; the package tpm-udev"),
        (1, r"belongs to the group daemon: 'sudo usermod -aG daemon \$USER'"),
        (54321, r"belongs to the group tss: "),  # no group has this number
    ],
)
def test_without_permission_the_group_to_join_is_named(number: int, advice: str):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to a group")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tpmrm0"
        path.touch(mode=0)
        os.chown(path, -1, number)
        os.chmod(directory, 0o755)  # as /dev can be looked into by all
        with somebody(), pytest.raises(TransportError, match=f"permission denied.*{advice}"):
            connect(f"device:{path}")


def test_where_the_group_cannot_be_seen_it_is_the_usual_one(tmp_path: Path):
    path = tmp_path / "tpmrm0"
    path.touch(mode=0)
    tmp_path.chmod(0)
    try:
        with somebody(), pytest.raises(TransportError, match="belongs to the group tss: "):
            connect(f"device:{path}")
    finally:
        tmp_path.chmod(0o700)


def test_a_device_in_use_points_to_the_one_that_serves_several(monkeypatch: pytest.MonkeyPatch):
    def busy(path: str, flags: int) -> int:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", busy)
        with pytest.raises(TransportError) as caught:
            connect("device:/dev/tpm0")
    assert caught.value.errno == errno.EBUSY
    assert "/dev/tpm0: in use by another program; /dev/tpmrm0 serves" in str(caught.value)


def test_any_other_fault_of_a_device_is_told_in_the_words_of_the_system(tmp_path: Path):
    with pytest.raises(TransportError, match=f"{tmp_path}: Is a directory"):
        connect(f"device:{tmp_path}")


def test_a_file_is_no_device_and_is_left_as_it_was(tmp_path: Path):
    path = tmp_path / "tpmrm0"
    path.write_text("something dear")
    before = open_files()
    with pytest.raises(TransportError, match="tpmrm0: not a device"):
        connect(f"device:{path}")
    assert path.read_text() == "something dear"
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("path", "keeps"), [("/dev/tpmrm0", False), ("/dev/tpmrm1", False), ("/dev/tpm0", True)]
)
def test_only_a_resource_manager_forgets_what_was_loaded(
    path: str, keeps: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transport, "_open_device", lambda path: -1)
    assert DeviceTransport(path).keeps_objects == keeps


def test_a_device_is_not_passed_on_to_other_programs():
    opened = DeviceTransport("/dev/null")
    assert not os.get_inheritable(opened._fd)
    opened.close()


# --- talking to a device ----------------------------------------------------------------------


@needs_swtpm
def test_a_tpm_behind_a_character_device_answers(tmp_path: Path):
    master, slave = pty.openpty()
    tty.setraw(slave)
    command = ["swtpm", "chardev", "--tpm2", "--fd", str(master), "--tpmstate", f"dir={tmp_path}"]
    command += ["--flags", "not-need-init,startup-clear"]
    with subprocess.Popen(command, pass_fds=[master]) as swtpm:
        os.close(master)
        opened = connect(f"device:{os.ttyname(slave)}")
        os.close(slave)
        assert hears_the_tpm(opened)
        with Tpm(opened) as tpm, tpm.create_primary(templates.RSA_SRK) as srk:
            assert len(srk.name) == 34
        swtpm.wait(PATIENCE)


@every_size
def test_a_device_takes_one_write_and_gives_the_response_in_one_read(size: int):
    with device() as (opened, other):
        for _ in range(2):
            other.send(response(size))
            assert opened.send(COMMAND) == response(size)
        assert [other.recv(4096), other.recv(4096)] == [COMMAND, COMMAND]


@every_lie
def test_a_device_that_lies_about_the_size_is_closed(answer: bytes):
    with device() as (opened, other):
        if answer:
            other.send(answer)
        other.shutdown(socket.SHUT_WR)
        with pytest.raises(TransportError, match=f"/dev/null: a response of {len(answer)} octets"):
            opened.send(COMMAND)
        assert is_closed(opened)


def test_a_device_that_takes_only_a_part_is_closed(monkeypatch: pytest.MonkeyPatch):
    write = os.write
    with device() as (opened, other), monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        with pytest.raises(TransportError, match="/dev/null: 5 of 12 octets written"):
            opened.send(COMMAND)
        assert other.recv(4096) == COMMAND[:5]
        assert is_closed(opened)


@pytest.mark.parametrize("number", [errno.ETIME, errno.EIO, errno.ENODEV, errno.EPIPE])
@pytest.mark.parametrize("call", ["read", "write"])
def test_a_device_that_fails_is_closed(call: str, number: int, monkeypatch: pytest.MonkeyPatch):
    def fail(fd: int, what: object) -> int:
        raise OSError(number, os.strerror(number))

    with device() as (opened, _), monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(TransportError, match=f"/dev/null: {os.strerror(number)}") as caught:
            opened.send(COMMAND)
        assert caught.value.errno == number
        assert is_closed(opened)


def test_a_device_that_has_no_room_is_closed():
    opened = connect("device:/dev/full")
    with pytest.raises(TransportError, match="/dev/full: No space left") as caught:
        opened.send(COMMAND)
    assert caught.value.errno == errno.ENOSPC
    assert is_closed(opened)


def test_an_interrupted_read_closes_the_device(monkeypatch: pytest.MonkeyPatch):
    def interrupt(fd: int, size: int) -> bytes:
        raise KeyboardInterrupt

    with device() as (opened, _), monkeypatch.context() as patched:
        patched.setattr(os, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            opened.send(COMMAND)
        assert is_closed(opened)


def test_the_lowest_of_all_descriptors_is_one_like_others():
    ours, theirs = packets()
    kept = os.dup(0)
    try:
        os.close(0)
        opened = DeviceTransport("/dev/null")
        assert opened._fd == 0
        os.dup2(ours.fileno(), 0)
        with ours, theirs:
            ours.settimeout(None)
            theirs.send(REFUSAL)
            assert opened.send(COMMAND) == REFUSAL
            opened.close()
        assert is_closed(opened)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(kept, 0)
        os.close(kept)


# --- sockets ----------------------------------------------------------------------------------


@every_size
@pytest.mark.parametrize("pieces", [1, 7, 4096, MAX_RESPONSE])
def test_a_response_is_put_together_of_its_pieces(size: int, pieces: int, tmp_path: Path):
    if pieces == 1:
        size = min(size, 5000)
    with unix_server(tmp_path, answering(response(size), pieces)) as opened:
        assert opened.send(COMMAND) == response(size)


@every_size
def test_the_pieces_may_be_as_small_as_they_like(size: int):
    ours, theirs = packets()
    with theirs, ThreadPoolExecutor(1) as pool:
        answer = response(min(size, 5000))
        sent = pool.submit(lambda: [theirs.send(bytes([octet])) for octet in answer])
        opened = SocketTransport(ours, "pieces")
        assert opened.send(COMMAND) == answer
        assert len(sent.result(PATIENCE)) == len(answer)
        opened.close()


def test_a_command_is_one_write():
    ours, theirs = packets()
    opened = SocketTransport(ours, "packets")
    with theirs:
        for _ in range(2):
            theirs.send(REFUSAL)
            assert opened.send(COMMAND) == REFUSAL
            assert theirs.recv(4096) == COMMAND
        opened.close()


@every_lie
def test_a_server_that_lies_about_the_size_is_left(answer: bytes, tmp_path: Path):
    wanted = f"swtpm:path={tmp_path}/sock: (a response of|the TPM hung up in the middle)"
    with unix_server(tmp_path, answering(answer)) as opened:
        with pytest.raises(TransportError, match=wanted):
            opened.send(COMMAND)
        assert is_closed(opened)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 19])
def test_a_hang_up_in_the_middle_is_told(size: int, tmp_path: Path):
    with unix_server(tmp_path, answering(response(20)[:size])) as opened:
        with pytest.raises(TransportError, match="sock: the TPM hung up in the middle") as caught:
            opened.send(COMMAND)
        assert caught.value.errno == errno.ECONNRESET
        assert is_closed(opened)


def test_a_server_that_is_gone_before_the_command_is_told(tmp_path: Path):
    ours, theirs = socket.socketpair()
    theirs.close()
    opened = SocketTransport(ours, "swtpm:path=gone")
    with pytest.raises(TransportError, match="swtpm:path=gone: Broken pipe") as caught:
        opened.send(COMMAND)
    assert caught.value.errno == errno.EPIPE
    assert is_closed(opened)


@pytest.mark.parametrize("begun", [b"", response(20)[:15]])
def test_a_server_that_says_nothing_is_left_after_a_while(
    begun: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def talk(connection: socket.socket) -> None:
        connection.sendall(begun)
        silent(connection)

    monkeypatch.setattr(transport, "TIMEOUT", 0.02)
    with unix_server(tmp_path, talk) as opened:
        with pytest.raises(TransportError, match="sock: no answer within 0 s") as caught:
            opened.send(COMMAND)
        assert caught.value.errno == errno.ETIMEDOUT
        assert is_closed(opened)


def test_an_interrupted_exchange_closes_the_socket(tmp_path: Path):
    def talk(connection: socket.socket) -> None:
        assert received(connection, len(COMMAND)) == COMMAND
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert connection.recv(1) == b""

    with unix_server(tmp_path, talk) as opened:
        with pytest.raises(KeyboardInterrupt):
            opened.send(COMMAND)
        assert is_closed(opened)


def test_the_name_of_a_socket_may_be_wrong_in_many_ways(tmp_path: Path):
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "nothing", "No such file or directory"),
        (tmp_path / "file", "Connection refused"),
        (tmp_path / "file" / "below", "Not a directory"),
        (tmp_path / ("x" * 200), "AF_UNIX path too long"),
    ):
        with pytest.raises(TransportError, match=f"swtpm:path={path}: {message}") as caught:
            connect(f"swtpm:path={path}")
        assert isinstance(caught.value.errno, int)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70, "\N{SNOWMAN}" * 70])
@pytest.mark.parametrize("kind", ["swtpm", "mssim"])
def test_the_name_of_a_host_may_be_wrong_in_many_ways(kind: str, host: str):
    with pytest.raises(TransportError, match=f"{host} port 2321: .") as caught:
        connect(f"{kind}:host={host}")
    assert isinstance(caught.value.errno, int)


def test_a_port_where_nobody_listens_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportError, match=f"127.0.0.1 port {port}: Connection refused"):
        connect(f"swtpm:host=127.0.0.1,port={port}")


def test_an_swtpm_on_a_unix_socket_answers(swtpm: Swtpm):
    opened = connect(swtpm.conf)
    assert opened.keeps_objects
    assert hears_the_tpm(opened)
    opened.close()
    assert is_closed(opened)
    again = connect(swtpm.conf)
    assert hears_the_tpm(again)
    again.close()


@needs_swtpm
def test_an_swtpm_on_tcp_answers(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = connect(f"swtpm:host=127.0.0.1,port={listener.getsockname()[1]}")
        connection, _ = listener.accept()
    with swtpm_on(connection, tmp_path):
        assert isinstance(opened, SocketTransport)
        assert opened.keeps_objects
        assert opened._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert hears_the_tpm(opened)
        opened.close()
    assert is_closed(opened)


# --- the reference simulator ------------------------------------------------------------------


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Callable[[bytes], bytes]]:
    """Send a command to a swtpm that is there for this test, and return the response."""
    if shutil.which("swtpm") is None:
        pytest.skip("swtpm is not installed")
    ours, theirs = socket.socketpair()

    def send(command: bytes) -> bytes:
        ours.sendall(command)
        header = received(ours, 10)
        return header + received(ours, int.from_bytes(header[2:6], "big") - 10)

    with swtpm_on(theirs, tmp_path), ours:
        ours.settimeout(PATIENCE)
        yield send


def test_a_simulator_is_switched_on_answers_and_is_left_in_good_order(
    bridge: Callable[[bytes], bytes],
):
    mssim = Mssim(bridge)
    with simulator(mssim) as conf:
        opened = connect(conf)
        assert opened.keeps_objects
        assert mssim.requests == [1, 11]  # power and NV
        assert hears_the_tpm(opened)
        opened.close()
    assert mssim.ended == ["by word", "by word"]
    assert is_closed(opened)


@pytest.mark.skipif(shutil.which("tpm2_getrandom") is None, reason="tpm2-tools is not installed")
def test_other_programs_find_our_simulator_one(bridge: Callable[[bytes], bytes]):
    mssim = Mssim(bridge)
    with simulator(mssim) as conf:
        command = ["tpm2_getrandom", "--hex", "--tcti", conf, "16"]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    assert len(bytes.fromhex(done.stdout.decode())) == 16
    assert mssim.requests[:2] == [1, 11]


@every_size
def test_a_response_of_any_size_comes_from_a_simulator(size: int):
    with simulator(Mssim(lambda command: response(size))) as conf:
        opened = connect(conf)
        assert opened.send(COMMAND) == response(size)
        opened.close()


def test_a_command_to_a_simulator_is_one_write():
    ours, theirs = packets()
    platform, other = packets()
    with theirs, other:
        for _ in range(8):
            other.send(b"\0")  # in pieces as well
        opened = MssimTransport(ours, platform, "mssim")
        theirs.send(len(REFUSAL).to_bytes(4, "big"))
        theirs.send(REFUSAL)
        theirs.send(bytes(4))
        assert opened.send(COMMAND) == REFUSAL
        assert theirs.recv(4096) == bytes.fromhex("00000008 00 0000000c") + COMMAND
        opened.close()


@pytest.mark.parametrize("failure", [b"\0\0\0\1", b"\xff\xff\xff\xff"])
def test_a_simulator_that_reports_a_failure_is_left(failure: bytes):
    mssim = Mssim(lambda command: REFUSAL, failure=failure)
    with simulator(mssim) as conf:
        opened = connect(conf)
        with pytest.raises(TransportError, match=r"mssim:host=.*: the simulator reports a failure"):
            opened.send(COMMAND)
        assert is_closed(opened)
    assert len(mssim.ended) == 2


@pytest.mark.parametrize(
    "answers", [[b"\0\0\0\1"], [bytes(4), b"\xff\xff\xff\xff"]], ids=["power", "NV"]
)
def test_a_simulator_that_does_not_switch_on_is_left(answers: list[bytes]):
    mssim = Mssim(lambda command: REFUSAL, platform=answers)
    refusal = pytest.raises(TransportError, match=r"mssim:host=.*: the simulator's platform port")
    with simulator(mssim) as conf, refusal:
        connect(conf)
    assert len(mssim.ended) == 2


def test_a_simulator_whose_platform_port_hangs_up_is_left():
    def talk(commands: socket.socket, platform: socket.socket) -> None:
        platform.close()
        silent(commands)

    listeners = neighbours()
    port = listeners[0].getsockname()[1]
    with at_work(*listeners, talk=talk), pytest.raises(TransportError, match=f"port={port}: "):
        connect(f"mssim:host=127.0.0.1,port={port}")


def test_a_simulator_whose_platform_port_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch):
    def talk(commands: socket.socket, platform: socket.socket) -> None:
        silent(platform)
        silent(commands)

    monkeypatch.setattr(transport, "TIMEOUT", 0.02)
    listeners = neighbours()
    port = listeners[0].getsockname()[1]
    refusal = pytest.raises(TransportError, match=f"port={port}: no answer within")
    with at_work(*listeners, talk=talk), refusal as caught:
        connect(f"mssim:host=127.0.0.1,port={port}")
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_simulator_without_a_platform_port_is_left():
    commands, platform = neighbours()
    port = commands.getsockname()[1]
    platform.close()
    refusal = pytest.raises(TransportError, match=f"port {port + 1}: Connection refused")
    with at_work(commands, talk=silent), refusal:
        connect(f"mssim:host=127.0.0.1,port={port}")


@every_lie
def test_a_simulator_that_lies_about_the_size_is_left(answer: bytes):
    with simulator(Mssim(lambda command: answer)) as conf:
        opened = connect(conf)
        with pytest.raises(TransportError, match=r"mssim:host=.*: a response of"):
            opened.send(COMMAND)
        assert is_closed(opened)


def test_a_simulator_that_claims_more_than_a_tpm_may_say_is_left_at_once():
    ours, theirs = packets()
    platform, other = packets()
    with theirs, other:
        other.send(bytes(4))
        other.send(bytes(4))
        opened = MssimTransport(ours, platform, "mssim")
        theirs.send((MAX_RESPONSE + 1).to_bytes(4, "big"))
        with pytest.raises(TransportError, match=f"a response of {MAX_RESPONSE + 1} octets"):
            opened.send(COMMAND)
        assert is_closed(opened)


# --- signals ----------------------------------------------------------------------------------

HELD = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Delivered(Exception):
    """A signal that has been delivered."""


@pytest.fixture
def delivering() -> Iterator[None]:
    def deliver(number: int, frame: object) -> None:
        raise Delivered(number)

    before = {number: signal.signal(number, deliver) for number in HELD}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


HOLD = InterruptsHeld()


def held_while(body: Callable[[], None]) -> None:
    with HOLD:
        body()


@pytest.mark.parametrize("number", HELD)
def test_a_signal_is_delivered_when_the_command_is_through(number: int, delivering: None):
    through: list[int] = []

    def body() -> None:
        signal.raise_signal(number)
        through.append(number)

    with pytest.raises(Delivered):
        held_while(body)
    assert through == [number]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_signals_that_were_held_before_are_held_afterwards(delivering: None):
    masks: list[set[int]] = []

    def body() -> None:
        held_while(lambda: signal.raise_signal(signal.SIGINT))
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    with pytest.raises(Delivered):
        held_while(body)
    assert masks == [set(HELD)]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_signal_that_comes_while_they_are_being_held_leaves_none_of_them_held(
    monkeypatch: pytest.MonkeyPatch,
):
    mask = signal.pthread_sigmask

    def tripped(how: int, signals: Sequence[int]) -> set[int]:
        before = mask(how, signals)
        if how == signal.SIG_BLOCK and signals:
            raise Delivered
        return before

    with monkeypatch.context() as patched:
        patched.setattr(signal, "pthread_sigmask", tripped)
        with pytest.raises(Delivered):
            held_while(pytest.fail)
    assert not mask(signal.SIG_BLOCK, ())
