"""The agent's socket, with clients that are polite, hasty, rude, or somebody else's."""

import contextlib
import errno
import itertools
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ssh_fixtures import string

from tpmwire.errors import TransportError
from tpmwire.ssh import server
from tpmwire.ssh.messages import MAX_MESSAGE
from tpmwire.ssh.occasion import Peer
from tpmwire.ssh.server import AgentSocketError, listening, serve

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

PATIENCE = 60
NOBODY = 65534


def backwards(request: bytes) -> bytes:
    return request[::-1]


@contextlib.contextmanager
def serving(
    path: Path | str, answer: Callable[[bytes], bytes] = backwards
) -> Iterator[socket.socket]:
    """Serve in a thread; it ends when the listener is shut down."""
    with listening(str(path)) as listener:
        thread = threading.Thread(target=serve_until_shutdown, args=(listener, answer))
        thread.start()
        try:
            yield listener
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def serve_until_shutdown(listener: Any, answer: Callable[[bytes], bytes]) -> None:
    serve_until_the_end(listener, conversing(answer))


def serve_until_the_end(listener: Any, begin: Callable[[Peer], Any]) -> None:
    with contextlib.suppress(OSError):
        serve(listener, begin)


def conversing(answer: Callable[[bytes], bytes]) -> Callable[[Peer], Any]:
    """Make what begins conversations in which that answers."""
    return lambda peer: SimpleNamespace(answer=answer, close=lambda: None)


@contextlib.contextmanager
def client(path: Path | str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        yield connection


def receive(connection: socket.socket) -> bytes:
    """Receive one message, or nothing at the end."""
    with connection.makefile("rb", buffering=0) as stream:
        head = read_all(stream, 4)
        return read_all(stream, int.from_bytes(head, "big")) if head else b""


def read_all(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(string(request))
    return receive(connection)


def is_answered_at(path: Path | str, request: bytes = b"hello") -> bool:
    with client(path) as connection:
        return ask(connection, request) == request[::-1]


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


# --- the place --------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_only_the_owner_can_reach_the_socket_whatever_the_umask(tmp_path: Path, umask: int):
    before = os.umask(umask)
    try:
        with listening(str(tmp_path / "sock")):
            assert mode(tmp_path / "sock") == 0o600
            assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert not (tmp_path / "sock").exists()


def test_the_umask_is_restored_if_the_socket_cannot_be_made(tmp_path: Path):
    before = os.umask(0o022)
    try:
        with pytest.raises(AgentSocketError), listening(str(tmp_path / ("long" * 50))):
            pass
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_without_a_path_there_is_a_new_directory_that_is_ours_and_goes_with_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with listening() as first, listening() as second:
        for listener in (first, second):
            path = Path(listener.getsockname())
            assert path.parent.parent == tmp_path
            assert mode(path.parent) == 0o700
            assert mode(path) == 0o600
        assert first.getsockname() != second.getsockname()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", [None, ""])
def test_without_a_runtime_directory_it_is_made_where_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str | None
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    with listening() as listener:
        assert Path(listener.getsockname()).parent.parent == tmp_path


def test_a_runtime_directory_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    with pytest.raises(AgentSocketError, match=r"gone.*No such file"), listening():
        pass


def test_what_others_left_in_our_directory_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with listening() as listener:
        other = Path(listener.getsockname()).with_name("other")
        other.write_text("mine")
    assert other.read_text() == "mine"
    assert [path.name for path in other.parent.iterdir()] == ["other"]


def test_directories_on_the_way_are_made_for_the_owner_only(tmp_path: Path):
    with listening(str(tmp_path / "new" / "sock")):
        assert mode(tmp_path / "new") == 0o700


def test_a_path_is_meant_from_where_we_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with listening("sock") as listener:
        assert listener.getsockname() == str(tmp_path / "sock")
        monkeypatch.chdir("/")
    assert not (tmp_path / "sock").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("x" * 120, "too long"), ("file/sock", "Not a directory"), ("file/new/sock", "file/new")],
)
def test_a_place_where_no_socket_can_be_is_an_error_that_names_it(
    tmp_path: Path, name: str, message: str
):
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentSocketError) as caught, listening(str(tmp_path / name)):
        pass
    assert isinstance(caught.value, TransportError)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


# --- what is there already --------------------------------------------------------------------


def test_a_socket_on_which_somebody_listens_is_never_taken(tmp_path: Path):
    path = tmp_path / "sock"
    with serving(path):
        inode = path.stat().st_ino
        with pytest.raises(AgentSocketError, match="another agent") as caught, listening(str(path)):
            pass
        assert caught.value.errno == errno.EADDRINUSE
        assert path.stat().st_ino == inode
        assert is_answered_at(path)


def test_a_listener_that_is_too_busy_to_accept_is_alive_all_the_same(tmp_path: Path):
    path = tmp_path / "sock"
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        stack.enter_context(client(path))  # fills the queue
        with pytest.raises(AgentSocketError, match="another agent"), listening(str(path)):
            pass
        assert busy.accept()
    assert path.exists()


def dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_a_socket_that_an_agent_left_when_it_was_killed_is_replaced(tmp_path: Path):
    dead_socket(tmp_path / "sock")
    with serving(tmp_path / "sock"):
        assert mode(tmp_path / "sock") == 0o600
        assert is_answered_at(tmp_path / "sock")
    assert not (tmp_path / "sock").exists()


def test_of_many_agents_that_find_a_dead_socket_one_gets_the_place(tmp_path: Path):
    """Each but the first finds the live one: none is robbed of its place."""
    count = 8
    for turn in range(20):
        path = tmp_path / f"sock{turn}"
        dead_socket(path)
        start, end, results = threading.Barrier(count), threading.Barrier(count), []

        def contend(path: Path = path, start: Any = start, end: Any = end, results: Any = results):
            start.wait()
            try:
                with listening(str(path)):
                    results.append("listens")
                    end.wait()
            except AgentSocketError:
                results.append("refused")
                end.wait()

        threads = [threading.Thread(target=contend) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["listens"] + ["refused"] * (count - 1)


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_link_to_file(path: Path) -> None:
    make_file(path.with_name("target"))
    path.symlink_to("target")


def make_link_to_dead_socket(path: Path) -> None:
    dead_socket(path.with_name("target"))
    path.symlink_to("target")


@pytest.mark.parametrize(
    "make",
    [
        make_file,
        make_link_to_file,
        make_link_to_dead_socket,
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("nowhere"),
    ],
    ids=["file", "link to a file", "link to a socket", "directory", "pipe", "broken link"],
)
def test_what_is_no_socket_is_never_touched(tmp_path: Path, make: Callable[[Path], None]):
    path = tmp_path / "sock"
    make(path)
    before = os.lstat(path)
    with pytest.raises(AgentSocketError, match="no socket") as caught, listening(str(path)):
        pass
    assert caught.value.errno == errno.EEXIST
    assert os.lstat(path) == before


def test_at_the_end_only_a_socket_of_our_own_is_removed(tmp_path: Path):
    path = tmp_path / "sock"
    with contextlib.ExitStack() as stack:
        with listening(str(path)):
            path.unlink()
            new = stack.enter_context(socket.socket(socket.AF_UNIX))
            new.bind(str(path))
            new.listen()
        with client(path):
            assert new.accept()


def test_at_the_end_a_link_to_our_socket_is_not_ours(tmp_path: Path):
    path = tmp_path / "sock"
    with listening(str(path)):
        path.rename(tmp_path / "moved")
        path.symlink_to("moved")
    assert path.is_symlink()


def test_a_socket_that_is_gone_already_is_no_error_at_the_end(tmp_path: Path):
    with listening(str(tmp_path / "sock")):
        (tmp_path / "sock").unlink()


def test_the_socket_is_removed_while_nobody_else_could_have_its_inode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A closed socket is dead, and another agent may put its own in the place at once."""
    path, alive = tmp_path / "sock", []
    unlink = os.unlink

    def watched(name: str) -> None:
        with client(name):
            alive.append(name)
        unlink(name)

    monkeypatch.setattr(os, "unlink", watched)
    with listening(str(path)):
        pass
    assert alive == [str(path)]
    assert not path.exists()


def test_an_error_inside_removes_the_socket_and_its_directory_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), listening():
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


# --- conversations ----------------------------------------------------------------------------


def test_requests_are_answered_in_order_however_they_are_cut(tmp_path: Path):
    requests = [b"one", b"2", b"three" * 50_000]
    stream = b"".join(map(string, requests))
    with serving(tmp_path / "sock"):
        for cuts in (range(1, 30), [4], [len(stream) - 1], []):
            with client(tmp_path / "sock") as connection:
                bounds = [0, *cuts, len(stream)]
                for start, end in itertools.pairwise(bounds):
                    connection.sendall(stream[start:end])
                assert [receive(connection) for _ in requests] == [r[::-1] for r in requests]


def test_the_largest_message_is_answered(tmp_path: Path):
    request = os.urandom(MAX_MESSAGE)
    with serving(tmp_path / "sock"):
        assert is_answered_at(tmp_path / "sock", request)


@pytest.mark.parametrize("size", [0, MAX_MESSAGE + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_message_of_no_length_or_too_much_ends_the_connection(tmp_path: Path, size: int):
    with serving(tmp_path / "sock"):
        with client(tmp_path / "sock") as connection:
            assert ask(connection, b"hello") == b"olleh"
            connection.sendall(size.to_bytes(4, "big"))
            assert connection.recv(1) == b""
        assert is_answered_at(tmp_path / "sock")


@pytest.mark.parametrize("octets", [b"", b"\0", b"\0\0\0", b"\0\0\0\5", b"\0\0\0\5hell"])
def test_who_hangs_up_in_the_middle_is_not_heard_and_leaves_the_place_to_others(
    tmp_path: Path, octets: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    heard = []

    def answer(request: bytes) -> bytes:
        heard.append(request)
        return request[::-1]

    with serving(tmp_path / "sock", answer):
        for _ in range(10):
            with client(tmp_path / "sock") as connection:
                connection.sendall(octets)
        assert is_answered_at(tmp_path / "sock")
    assert heard == [b"hello"]


def test_who_hangs_up_before_the_answer_leaves_the_place_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    asked, gone = threading.Semaphore(0), threading.Event()

    def wait(request: bytes) -> bytes:
        if request == b"large":
            asked.release()
            assert gone.wait(PATIENCE)
            return bytes(MAX_MESSAGE)
        return request[::-1]

    with serving(tmp_path / "sock", wait):
        for _ in range(2):
            with client(tmp_path / "sock") as connection:
                connection.sendall(string(b"large"))
                assert asked.acquire(timeout=PATIENCE)
        gone.set()
        assert is_answered_at(tmp_path / "sock")


def test_a_client_that_stops_reading_harms_nobody(tmp_path: Path):
    with serving(tmp_path / "sock"), client(tmp_path / "sock") as lazy:
        lazy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lazy.send(string(bytes(100_000)))
        assert is_answered_at(tmp_path / "sock")


def test_two_hundred_clients_at_once_get_their_own_answers(tmp_path: Path):
    """Each answer waits until all have been asked for."""
    count = 200
    together, answers = threading.Barrier(count, timeout=PATIENCE), {}

    def answer(request: bytes) -> bytes:
        together.wait()
        return request[::-1]

    def talk(number: int) -> None:
        with client(tmp_path / "sock") as connection:
            answers[number] = ask(connection, b"from %d" % number)

    with serving(tmp_path / "sock", answer):
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: (b"from %d" % number)[::-1] for number in range(count)}


def test_the_agent_serves_until_it_is_told_to_end(tmp_path: Path):
    reader, writer = os.pipe()
    with listening(str(tmp_path / "sock")) as listener:
        thread = threading.Thread(target=serve, args=(listener, conversing(backwards), reader))
        thread.start()
        assert is_answered_at(tmp_path / "sock")
        assert thread.is_alive()
        os.write(writer, b"x")
        thread.join(PATIENCE)
        assert not thread.is_alive()
    os.close(reader)
    os.close(writer)


def test_more_clients_than_there_is_room_for_wait_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    with serving(tmp_path / "sock"), contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(client(tmp_path / "sock")) for _ in range(3))
        assert ask(first, b"hello") == b"olleh"
        third.sendall(string(b"third"))
        assert ask(second, b"hello") == b"olleh"
        assert ask(first, b"hello") == b"olleh"
        third.setblocking(False)
        with pytest.raises(BlockingIOError):
            third.recv(1)
        third.settimeout(PATIENCE)
        second.close()
        assert receive(third) == b"driht"


def test_a_conversation_is_told_when_the_client_has_gone(tmp_path: Path):
    closed = threading.Event()

    def begin(peer: Peer) -> Any:
        return SimpleNamespace(answer=backwards, close=closed.set)

    with listening(str(tmp_path / "sock")) as listener:
        thread = threading.Thread(target=serve_until_the_end, args=(listener, begin))
        thread.start()
        with client(tmp_path / "sock") as connection:
            assert ask(connection, b"hello") == b"olleh"
            assert not closed.is_set()
        assert closed.wait(PATIENCE)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_peer_tells_whether_it_has_hung_up(tmp_path: Path):
    """One that has only said its last word still waits for the answer."""
    peers: list[Peer] = []
    asked, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def answer(request: bytes) -> bytes:
        asked.release()
        assert go_on.acquire(timeout=PATIENCE)
        return bytes([peers[-1].gone()])

    def begin(peer: Peer) -> Any:
        peers.append(peer)
        return SimpleNamespace(answer=answer, close=lambda: None)

    with listening(str(tmp_path / "sock")) as listener:
        thread = threading.Thread(target=serve_until_the_end, args=(listener, begin))
        thread.start()
        with client(tmp_path / "sock") as connection:
            connection.sendall(string(b"x") * 2)
            assert asked.acquire(timeout=PATIENCE)
            assert peers[0].pid == os.getpid()
            go_on.release()
            assert receive(connection) == b"\0"
            connection.shutdown(socket.SHUT_WR)
            assert asked.acquire(timeout=PATIENCE)
            go_on.release()
            assert receive(connection) == b"\0"
        with client(tmp_path / "sock") as connection:
            connection.sendall(string(b"x"))
            assert asked.acquire(timeout=PATIENCE)
        assert peers[1].gone()
        go_on.release()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert peers[0].gone()


# --- who may talk -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        (1000, 1000, True),
        (1000, 0, True),
        (1000, 1001, False),
        (0, 0, True),
        (0, 1000, False),
        (3_000_000_000, 3_000_000_000, True),
        (3_000_000_000, 3_000_000_001, False),
    ],
)
def test_the_agent_talks_to_its_own_user_and_to_root(
    monkeypatch: pytest.MonkeyPatch, ours: int, theirs: int, allowed: bool
):
    """The credentials are as in <sys/socket.h>: a signed and two unsigned words."""
    monkeypatch.setattr(os, "geteuid", lambda: ours)
    connection: Any = SimpleNamespace(getsockopt=lambda *_: struct.pack("@iII", 1, theirs, 1))
    assert server._allowed(server._peer(connection)) is allowed


def test_a_client_of_another_user_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Even one that the permissions would let pass."""
    asked = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return request

    with serving(tmp_path / "sock", answer):
        tmp_path.chmod(0o711)
        (tmp_path / "sock").chmod(0o666)
        if os.geteuid() == 0:
            assert talk_as(NOBODY, tmp_path) == b""
        else:
            with monkeypatch.context() as patch:
                patch.setattr(os, "geteuid", lambda: NOBODY)
                assert try_to_talk(tmp_path) == b""
        assert asked == []
        assert is_answered_at(tmp_path / "sock", b"x")


def try_to_talk(directory: Path) -> bytes:
    """Return what comes back, which is nothing if the connection ends."""
    with client(directory / "sock") as connection, contextlib.suppress(ConnectionError):
        return ask(connection, b"x")
    return b""


TALK_AS_ANOTHER = """
import contextlib, os, socket, sys
os.seteuid(int(sys.argv[1]))
connection = socket.socket(socket.AF_UNIX)
connection.connect("sock")
with contextlib.suppress(ConnectionError):
    connection.sendall(b"\\0\\0\\0\\1x")
    sys.stdout.buffer.write(connection.recv(9))
"""


def talk_as(uid: int, directory: Path) -> bytes:
    """Try to talk in a process of another user, from within the directory."""
    command = [sys.executable, "-c", TALK_AS_ANOTHER, str(uid)]
    return subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, check=True).stdout


# --- a system without means -------------------------------------------------------------------


class FaultyListener:
    """A listener whose first calls fail."""

    def __init__(self, listener: socket.socket, *errors: int) -> None:
        self.listener, self.errors = listener, list(errors)

    def fileno(self) -> int:
        return self.listener.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise OSError(self.errors.pop(0), "injected")
        return self.listener.accept()


def test_the_agent_waits_until_the_system_has_the_means_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It does so with pauses: the client waits, so accept would fail again at once."""
    errors = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED]
    pauses = []
    monkeypatch.setattr(server, "time", SimpleNamespace(sleep=pauses.append))
    with listening(str(tmp_path / "sock")) as listener:
        faulty = FaultyListener(listener, *errors)
        thread = threading.Thread(target=serve_until_shutdown, args=(faulty, backwards))
        thread.start()
        assert is_answered_at(tmp_path / "sock")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert len(pauses) == len(errors)
    assert min(pauses) > 0


def test_another_error_of_the_listener_ends_the_agent(tmp_path: Path):
    with (
        listening(str(tmp_path / "sock")) as listener,
        client(tmp_path / "sock"),
        pytest.raises(OSError, match="injected"),
    ):
        serve(FaultyListener(listener, errno.EBADF), conversing(backwards))


def test_a_client_for_whom_there_is_no_thread_is_turned_away_and_the_next_one_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    fails = [True, True, False]

    class FaultyThread(threading.Thread):
        def start(self) -> None:
            if fails.pop(0):
                raise RuntimeError("can't start new thread")
            super().start()

    faulty = SimpleNamespace(**vars(threading) | {"Thread": FaultyThread})
    monkeypatch.setattr(server, "threading", faulty)
    with serving(tmp_path / "sock"):
        for _ in range(2):
            assert try_to_talk(tmp_path) == b""
        assert is_answered_at(tmp_path / "sock")
