"""The agent among others: agents behind it, sshd with its host key, and users' agents."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded
from ssh_fixtures import PATIENCE, Daemon, Home, Server, agent, need, string

from tpmwire.ssh import upstream
from tpmwire.ssh.messages import MAX_MESSAGE
from tpmwire.ssh.upstream import Upstream, UpstreamError


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("ssh-agent", "ssh-add", "ssh-keygen")
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    home.run("tpmwire-keygen", "-q", "-N", "", "-C", "ada", "-f", "ada")
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "soft", "-f", "soft")
    return home.path


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm, made: Path) -> Iterator[Home]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    yield Home(tmp_path, swtpm.conf)
    assert left_loaded(swtpm) == ()


# --- agents behind it -------------------------------------------------------------------------


@contextlib.contextmanager
def other_agent(home: Home, name: str = "other") -> Iterator[Path]:
    """OpenSSH's own agent, with a key of its own."""
    path = home.path / name
    with home.start("ssh-agent", "-D", "-a", path) as process:
        try:
            while not path.exists():
                time.sleep(0.02)
            home.run("ssh-add", "-q", "soft", SSH_AUTH_SOCK=str(path))
            yield path
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
    path.unlink(missing_ok=True)


def comments(home: Home, daemon: Daemon) -> list[str]:
    listed = home.attempt("ssh-add", "-L", **daemon.env).stdout
    return [line.split(" ", 2)[2] for line in listed.splitlines() if "AAAA" in line]


def test_keys_of_another_agent_are_offered_and_used_beside_ours(home: Home):
    with other_agent(home) as path, agent(home, "--proxy", path, "ada.tpm") as daemon:
        assert comments(home, daemon) == ["ada", "soft"]
        home.run("ssh-add", "-T", "ada.pub", "soft.pub", **daemon.env)


def test_an_agent_that_comes_back_is_found_again(home: Home):
    with agent(home, "--proxy", "other", "ada.tpm") as daemon:
        assert comments(home, daemon) == ["ada"]
        for _ in range(2):
            with other_agent(home):
                assert comments(home, daemon) == ["ada", "soft"]
                home.run("ssh-add", "-T", "soft.pub", **daemon.env)
            assert comments(home, daemon) == ["ada"]


def test_a_software_key_goes_to_the_agent_that_takes_it(home: Home):
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "new", "-f", "new")
    with agent(home, "ada.tpm") as daemon:
        home.refuses("ssh-add", "new", **daemon.env)
    with other_agent(home) as path, agent(home, "--proxy", path, "ada.tpm") as daemon:
        home.run("ssh-add", "-q", "new", **daemon.env)
        assert comments(home, daemon) == ["ada", "soft", "new"]


@contextlib.contextmanager
def listening(path: Path, serve: bytes | None) -> Iterator[None]:
    """Something that takes connections; it answers each with octets, or never."""
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])
                if serve is not None:
                    taken[-1].recv(5)
                    taken[-1].sendall(serve)
                    taken[-1].shutdown(socket.SHUT_WR)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=accept)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def test_an_agent_that_hangs_keeps_ours_waiting_for_seconds_only(home: Home):
    with listening(home.path / "hangs", None), agent(home, "--proxy", "hangs", "ada.tpm") as daemon:
        start = time.monotonic()
        assert comments(home, daemon) == ["ada"]
        assert time.monotonic() - start < 2 * upstream.TALKING + 10
        start = time.monotonic()
        home.run("ssh-add", "-T", "ada.pub", **daemon.env)
        assert time.monotonic() - start < upstream.TALKING + 10


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "hung up"),
        (b"\0\0\0", "hung up"),
        (b"\0\0\0\5hell", "hung up"),
        (b"\0\0\0\0", "an answer of 0 octets"),
        ((MAX_MESSAGE + 1).to_bytes(4, "big"), f"an answer of {MAX_MESSAGE + 1} octets"),
        (b"\xff" * 4, "an answer of 4294967295 octets"),
    ],
)
def test_what_is_no_answer_is_told_and_ends_the_connection(
    tmp_path: Path, octets: bytes, said: str
):
    with listening(tmp_path / "sock", octets):
        link = Upstream(str(tmp_path / "sock")).connect()
        with pytest.raises(UpstreamError, match=said):
            link.request(b"x")
        with pytest.raises(UpstreamError, match="Bad file descriptor"):
            link.request(b"x")


def test_an_answer_is_what_was_answered(tmp_path: Path):
    with listening(tmp_path / "sock", string(b"answer")):
        link = Upstream(str(tmp_path / "sock")).connect()
        assert link.request(b"x") == b"answer"
        link.close()


def test_an_answer_that_drips_in_does_not_take_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upstream, "TALKING", 1.0)
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\0\0\1\0")
            while not stop.wait(0.1):
                connection.sendall(b"x")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        thread = threading.Thread(target=drip)
        thread.start()
        link = Upstream(str(tmp_path / "sock")).connect()
        start = time.monotonic()
        with pytest.raises(UpstreamError, match="no answer in time"):
            link.request(b"\x0b")
        assert 0.9 < time.monotonic() - start < 5
        stop.set()
        thread.join()


def test_an_agent_that_takes_no_connection_is_not_waited_for(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as stack:
        busy.bind(str(tmp_path / "sock"))
        busy.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(str(tmp_path / "sock"))  # fills the queue
        start = time.monotonic()
        with pytest.raises(UpstreamError, match="too busy"):
            Upstream(str(tmp_path / "sock")).connect()
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("make", [lambda path: None, Path.touch], ids=["nothing", "a file"])
def test_where_there_is_no_agent_there_is_none(tmp_path: Path, make: object):
    make(tmp_path / "sock")
    with pytest.raises(UpstreamError, match=r"No such file|Connection refused"):
        Upstream(str(tmp_path / "sock")).connect()


# --- sshd with its host key -------------------------------------------------------------------


class HostKeyServer(Server):
    """An sshd whose host key is in the agent."""

    def __init__(self, home: Home, daemon: Daemon, authorized: str) -> None:
        self._agent = daemon.path
        super().__init__(home, authorized)

    def _server_config(self) -> str:
        return f"""
            HostKeyAgent {self._agent}
            HostKey {self._home.path}/ada.pub
            PidFile none
            AuthorizedKeysFile {self._home.path}/authorized_keys
            PermitRootLogin yes
            StrictModes no
            UsePAM no
        """

    def _client_config(self) -> str:
        text = super()._client_config()
        port = self._listener.getsockname()[1]
        host_key = (self._home.path / "ada.pub").read_text()
        self._home.write("known_hosts", f"[127.0.0.1]:{port} {host_key}")
        return text.replace("IdentityFile none", f"IdentityFile {self._home.path}/soft")


@pytest.mark.parametrize("options", [[], ["--only", "userauth,sshsig"]], ids=["any", "only"])
def test_sshd_uses_a_host_key_in_the_tpm_unless_the_agent_is_for_users_only(
    home: Home, options: list[str]
):
    """What sshd wants signed is the hash of a key exchange, which looks like nothing else."""
    need("sshd", "ssh")
    with agent(home, *options, "ada.tpm") as daemon:
        server = HostKeyServer(home, daemon, (home.path / "soft.pub").read_text())
        try:
            done = home.attempt("ssh", "-F", "ssh_config", "server", "echo", "hello")
        finally:
            server.close()
    expected = (255, "") if options else (0, "hello\n")
    assert (done.returncode, done.stdout) == expected, done.stderr


# --- what it is told not to sign --------------------------------------------------------------


def test_an_agent_for_logins_and_signatures_signs_these_and_nothing_else(home: Home):
    need("sshd", "ssh")
    home.write("text", "hello")
    with agent(home, "--only", "userauth,sshsig", "ada.tpm") as daemon:
        home.refuses("ssh-add", "-T", "ada.pub", **daemon.env)
        home.run("ssh-keygen", "-Y", "sign", "-n", "file", "-f", "ada.pub", "text", **daemon.env)
        assert logs_in(home, daemon)
    with agent(home, "--only", "sshsig", "ada.tpm") as daemon:
        assert not logs_in(home, daemon)


def logs_in(home: Home, daemon: Daemon) -> bool:
    for name in ("host_key", "host_key.pub"):
        (home.path / name).unlink(missing_ok=True)
    server = Server(home, (home.path / "ada.pub").read_text())
    try:
        done = home.attempt("ssh", "-F", "ssh_config", "server", "true", **daemon.env)
        return done.returncode == 0
    finally:
        server.close()


@pytest.mark.parametrize("kinds", ["", "login", "userauth,", "userauth;sshsig"])
def test_a_kind_that_is_not_known_is_wrong_usage(home: Home, kinds: str):
    done = home.attempt("tpmwire-agent", "--only", kinds, "ada.tpm")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --only" in done.stderr


@pytest.mark.parametrize("seconds", ["-1", "x", "nan", "inf"])
def test_a_time_that_is_none_is_wrong_usage(home: Home, seconds: str):
    done = home.attempt("tpmwire-agent", f"--pin-timeout={seconds}", "ada.tpm")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --pin-timeout" in done.stderr
